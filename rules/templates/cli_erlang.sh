  daemon_attach) shift; set -- attach "$@" ;;
  remsh) shift; set -- remote "$@" ;;
#--
if [ -r "$REL_VSN_DIR/env.sh" ]; then
  # shellcheck source=/dev/null
  . "$REL_VSN_DIR/env.sh"
fi
#--
usage () {
  cat << END
Usage: $RELEASE_PROG COMMAND [ARGS]

Commands that start the system:

    start            Starts the system (also: foreground)
    console          Starts the system with a shell
    console_clean    Starts a shell that has the code of the release, and none of its applications
    daemon           Starts the system as a daemon

Commands for the running system:

    attach           Attaches to the shell of the daemon (Ctrl+D detaches; also: daemon_attach)
    remote           Connects to it via a remote shell (also: remote_console, remsh)
    rpc "EXPR"       Evaluates Erlang expressions on it, and prints the last value unless it is ok
    ping             Prints pong when it can be reached
    pid              Prints its operating system PID
    restart          Restarts it without ending the operating system process
    stop             Stops it

Commands that change the version of the running system:

    releases         Lists the versions that are here
    unpack FILE      Puts an upgrade package here (or VERSION: releases/@@NAME@@-VERSION.tar.gz)
    install VERSION  Moves the system to a version that is here; a restart brings the old one back
    commit           Makes the version that runs the one that starts
    upgrade FILE     Unpacks, installs and commits (also: VERSION)
    downgrade VERSION
                     Installs and commits a version that was there before
    remove VERSION   Removes an old version

Commands that need no running system:

    eval "EXPR"      Evaluates Erlang expressions on a new, non-booted system; what follows is init:get_plain_arguments()
    version          Prints the name and the version to be started
    describe         Prints what the release is made of and how it would be started
    apply FILE       Makes a new version beside this one, from a patch of plain files (--activate: to be started next)
    help             Prints this text
END
}
#--
# In a file that ends in .src, \${NAME} and \${NAME:-default} are replaced by variables of the environment; what comes of it may
# hold secrets, hence the mode.
replaced () {
  SOURCE=$1.src
  TARGET=$RELEASE_TMP/$RELEASE_NAME-$RELEASE_VSN-$(rand)-${1##*/}
  mkdir -p "$RELEASE_TMP" 2> /dev/null || true
  if ! (umask 077 && awk '{
    rest = $0; line = ""
    while (match(rest, /[$][{][^}]*[}]/)) {
      name = substr(rest, RSTART + 2, RLENGTH - 3); instead = ""
      if (at = index(name, ":-")) { instead = substr(name, at + 2); name = substr(name, 1, at - 1) }
      value = ENVIRON[name]
      line = line substr(rest, 1, RSTART - 1) (value == "" ? instead : value)
      rest = substr(rest, RSTART + RLENGTH)
    }
    print line rest
  }' "$SOURCE" > "$TARGET") 2> /dev/null; then
    fail "Cannot start release because it could not write $TARGET. Set RELEASE_TMP to a folder that can be written to"
  fi
}

need_sys_config () {
  if [ -z "$RELEASE_SYS_CONFIG" ] && [ -f "$REL_VSN_DIR/sys.config.src" ]; then
    replaced "$REL_VSN_DIR/sys.config"
    RELEASE_SYS_CONFIG=${TARGET%.config}
  fi
  RELEASE_SYS_CONFIG=${RELEASE_SYS_CONFIG:-$REL_VSN_DIR/sys}
  if [ ! -e "$RELEASE_VM_ARGS" ] && [ -f "$RELEASE_VM_ARGS.src" ]; then
    replaced "$RELEASE_VM_ARGS"
    RELEASE_VM_ARGS=$TARGET
  fi
  export RELEASE_SYS_CONFIG RELEASE_VM_ARGS
}

# Starts the system with more flags; what comes later on a command line of the VM wins.
start () {
  check_distribution
  need_sys_config
  if [ "$RELEASE_DISTRIBUTION" = none ]; then need_cookie optional; else need_cookie make; fi
  set -- -boot "$REL_VSN_DIR/$RELEASE_BOOT_SCRIPT" -boot_var RELEASE_LIB "$RELEASE_ROOT/lib" \
    -mode "$RELEASE_MODE" -config "$RELEASE_SYS_CONFIG" -args_file "$RELEASE_VM_ARGS" "$@"
  if [ "$RELEASE_DISTRIBUTION" != none ]; then set -- "-$RELEASE_DISTRIBUTION" "$RELEASE_NODE" "$@"; fi
  if [ -n "$RELEASE_COOKIE" ]; then set -- -setcookie "$RELEASE_COOKIE" "$@"; fi
  vm "$@"
}
#--
start_daemon () {
  mkdir -p "$RELEASE_TMP/pipe" "$RELEASE_TMP/log" 2> /dev/null ||
    fail "Cannot start the daemon because it could not write $RELEASE_TMP. \
Set RELEASE_TMP to a folder that can be written to"
  RUN_ERL=$RELEASE_ROOT/erts-$ERTS_VSN/bin/run_erl
  [ -x "$RUN_ERL" ] || RUN_ERL=$(command -v run_erl) || fail "the release brings no runtime, and run_erl is not in PATH"
  exec "$RUN_ERL" -daemon "$RELEASE_TMP/pipe/" "$RELEASE_TMP/log" "exec \"$RELEASE_ROOT/bin/@@NAME@@\" console"
}
#--
# Runs Erlang code in a VM of its own that has the code of the release and starts none of its applications.
clean () {
  CODE=$1
  shift
  vm -boot "$REL_VSN_DIR/$RELEASE_BOOT_SCRIPT_CLEAN" -boot_var RELEASE_LIB "$RELEASE_ROOT/lib" \
    -mode interactive -noshell -noinput -eval "$CODE" "$@"
}

# The expressions in RELEASE_EXPR, evaluated by Call. The last value is printed unless it is ok.
EVALUATE='
  Say = fun(Text) -> io:put_chars(standard_error, ["ERROR: ", Text, "\n"]), halt(1) end,
  Parsed = case erl_scan:string(string:trim(os:getenv("RELEASE_EXPR"), trailing, " \t\r\n.") ++ " .") of
    {ok, Tokens, _} -> erl_parse:parse_exprs(Tokens);
    {error, Wrong, _} -> {error, Wrong}
  end,
  Exprs = case Parsed of
    {ok, Good} -> Good;
    {error, {_, Module, Reason}} -> Say(Module:format_error(Reason))
  end,
  try Call(Exprs) of
    {value, ok, _} -> halt(0);
    {value, Value, _} -> io:format("~tp~n", [Value]), halt(0);
    {badrpc, nodedown} -> Say("the system does not answer: it is not running, or its cookie or its name is another");
    {badrpc, Failed} -> Say(io_lib:format("~tp", [Failed]))
  catch
    Class:Raised:Stack -> Say(erl_error:format_exception(Class, Raised, Stack))
  end.'

# Becomes a hidden node that runs Erlang code.
connect () {
  need_connection
  CODE=$1
  clean "$NODE_NAME$CODE" -hidden -setcookie "$RELEASE_COOKIE" \
    "-$RELEASE_DISTRIBUTION" "rpc-$(rand)-$RELEASE_NODE" -dist_listen false
}

rpc () {
  RELEASE_EXPR=$1
  export RELEASE_EXPR
  connect "Call = fun(Exprs) -> rpc:call(Node, erl_eval, exprs, [Exprs, []]) end, $EVALUATE"
}

# For the commands whose call is ours: what can go wrong is the connection.
control () {
  connect "case rpc:call(Node, $1, $2, []) of
    {badrpc, _} ->
      io:put_chars(standard_error, \"ERROR: $RELEASE_COMMAND failed: is $RELEASE_NODE running, and with this cookie?\\n\"), halt(1);
    ok -> halt(0);
    Text -> io:put_chars([Text, \"\\n\"]), halt(0)
  end."
}

ping () {
  connect 'case net_adm:ping(Node) of
    pong -> io:put_chars("pong\n"), halt(0);
    pang -> io:put_chars(standard_error, ["ERROR: ", atom_to_list(Node),
      " does not answer: it is not running, or its cookie or its name is another\n"]), halt(1)
  end.'
}

remote () {
  need_connection
  vm -boot "$REL_VSN_DIR/$RELEASE_BOOT_SCRIPT_CLEAN" -boot_var RELEASE_LIB "$RELEASE_ROOT/lib" -mode interactive \
    -hidden -setcookie "$RELEASE_COOKIE" "-$RELEASE_DISTRIBUTION" "rem-$(rand)-$RELEASE_NODE" -dist_listen false \
    -remsh "$RELEASE_NODE"
}
#--
COMMAND=$1
if [ $# -gt 0 ]; then shift; fi
case $COMMAND in
  start) start -noshell -noinput +Bd -extra "$@" ;;
  console) start -extra "$@" ;;
  console_clean) RELEASE_BOOT_SCRIPT=$RELEASE_BOOT_SCRIPT_CLEAN RELEASE_MODE=interactive start -extra "$@" ;;
  daemon) start_daemon ;;
  eval)
    [ -n "$1" ] || fail "EVAL expects an expression as argument"
    RELEASE_EXPR=$1
    shift
    export RELEASE_EXPR
    need_sys_config
    clean "Call = fun(Exprs) -> erl_eval:exprs(Exprs, []) end, $EVALUATE" \
      -config "$RELEASE_SYS_CONFIG" -args_file "$RELEASE_VM_ARGS" -extra "$@"
    ;;
  rpc)
    [ -n "$1" ] || fail "RPC expects an expression as argument"
    rpc "$1"
    ;;
  remote) remote ;;
  restart | stop) control init "$COMMAND" ;;
  pid) control os getpid ;;
  ping) ping ;;
  releases | unpack | install | upgrade | downgrade | commit | remove) versions "$COMMAND" "$@" ;;
  attach) attach ;;
  version) echo "$RELEASE_NAME $RELEASE_VSN" ;;
  describe) describe ;;
  help | -h | --help) usage ;;
  *)
    usage >&2
    [ -z "$COMMAND" ] || fail "Unknown command $COMMAND"
    ;;
esac
