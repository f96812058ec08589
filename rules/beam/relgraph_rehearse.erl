%% Rehearses an upgrade: starts the new release and looks at it, starts the old one, moves it to the new one and back by its own
%% script, and compares what the node tells of itself.
%%
%% The plan is a file of Erlang terms, the answer the file `answer' beside it: what was done, or `failures'.
-module(relgraph_rehearse).

-export([main/1]).

-define(POLL, 200).

-spec main([string()]) -> no_return().
main([File]) ->
    {ok, Terms} = file:consult(File),
    Given = maps:from_list([{Key, texts(Value)} || {Key, Value} <- Terms]),
    #{work := Work, patience := Patience, restarted := Restarted} = Given,
    Plan = Given#{restarted := [list_to_atom(App) || App <- Restarted]},
    Self = self(),
    {Runner, Ref} = spawn_monitor(fun() -> rehearse(Plan#{owner => Self, deadline => deadline(Patience)}) end),
    Answer = wait(Runner, Ref, [], #{}),
    ok = file:write_file(filename:join(Work, "answer"), relgraph_json:encode(Answer)),
    erlang:halt(0, [{flush, true}]).

%% What the runner has started is ended here, however it ended.
wait(Runner, Ref, Started, Answer) ->
    receive
        {started, Pid} ->
            wait(Runner, Ref, [Pid | Started], Answer);
        {answer, New} ->
            wait(Runner, Ref, Started, New);
        {'DOWN', Ref, process, Runner, Reason} ->
            [os:cmd("kill -KILL " ++ integer_to_list(Pid) ++ " 2> /dev/null") || Pid <- Started],
            case Reason of
                normal -> Answer;
                {failed, Failures, Output} -> #{failures => [bin(Text) || Text <- Failures], output => bin(Output)};
                _ -> #{failures => [bin(io_lib:format("the rehearsal itself failed: ~tp", [Reason]))], output => <<>>}
            end
    end.

rehearse(#{old := Old, new := New, owner := Owner} = Plan0) ->
    Plan = Plan0#{epmd => epmd(Plan0)},
    {Fresh, Start} = timed(fun() -> look_at_new(Plan) end),
    {Node, StartOld} = timed(fun() -> start("old", Old, Plan) end),
    Before = snapshot("before", Node, Plan),
    Script = script(Node, Plan),
    {Way, Up} = timed(fun() -> upgrade(Node, Plan) end),
    alive(Script, Plan),
    {Node2, UpNotes, After, CheckUp} = after_upgrade(Way, Node, Before, Fresh, Plan),
    alive(Script, Plan),
    {_, Down} = timed(fun() -> control(Node2, ["downgrade", Old], "the way back", Plan) end),
    Node3 = again(Way, Node2, Old, Plan),
    {DownNotes, CheckDown} = timed(fun() -> check("after the way back", Way, After, Before, Node3, Old, Plan) end),
    Used = ended(Script, Plan),
    stop(Node3, Plan),
    #{modules := Modules} = Fresh,
    #{processes := Processes} = After,
    Stages = [
        {"start " ++ New, Start},
        {"start " ++ Old, StartOld},
        {"upgrade", Up},
        {"check upgrade", CheckUp},
        {"downgrade", Down},
        {"check downgrade", CheckDown}
        | [{"script", Ms} || Ms <- Used]
    ],
    Owner ! {answer, #{
        from => bin(Old),
        to => bin(New),
        stages => [#{name => bin(Name), milliseconds => Ms} || {Name, Ms} <- Stages],
        modules => length(Modules),
        processes => length([Path || #{path := [_ | _] = Path} <- Processes]),
        notes => [bin(Note) || Note <- UpNotes ++ DownNotes]
    }}.

%% The new release as it is when nothing came before it.
look_at_new(#{new := New} = Plan) ->
    Node = start("new", New, Plan),
    Fresh = snapshot("fresh", Node, Plan),
    stop(Node, Plan),
    Fresh.

upgrade(Node, Plan) ->
    Said = control(Node, ["upgrade", package(Node, Plan)], "the upgrade", Plan),
    case string:find(Said, "next start") of
        nomatch -> running;
        _ -> restarted
    end.

%% relx's script wants it where the release handler has it, and its version.
package(#{kind := relx, root := Root}, #{work := Work, new := New, release := Release}) ->
    File = filename:join([Root, "releases", New, Release ++ ".tar.gz"]),
    ok = filelib:ensure_dir(File),
    {ok, _} = file:copy(filename:join(Work, "package.tar.gz"), File),
    New;
package(_, #{work := Work}) ->
    filename:join(Work, "package.tar.gz").

%% What is restarted is compared as it starts.
after_upgrade(Way, Node, Before, Fresh, #{new := New} = Plan) ->
    Node2 = again(Way, Node, New, Plan),
    {Notes, Ms} = timed(fun() -> check("after the upgrade", Way, Before, Fresh, Node2, New, Plan) end),
    {Node2, Notes, snapshot("after", Node2, Plan), Ms}.

again(running, Node, _, _) ->
    Node;
again(restarted, Node, Vsn, Plan) ->
    stop(Node, Plan),
    start("old", Vsn, Plan).

%% --- What is compared

%% `Before' is the node before the step, `Like' a node that had come to the same version another way.
check(When, Way, Before, Like, Node, Vsn, Plan) ->
    Now = settled(Node, 25, Plan),
    Failures = lists:append([
        relgraph_rehearse_compare:modules(Now, Like),
        relgraph_rehearse_compare:old_code(Now),
        [Text || running <- [Way], Text <- relgraph_rehearse_compare:processes(Before, Now, Like, maps:get(restarted, Plan))],
        relgraph_rehearse_compare:tree(Now, Like),
        relgraph_rehearse_compare:config(lasting(Node, Now), lasting(Node, Like)),
        relgraph_rehearse_compare:releases(Now, Vsn)
    ]),
    case Failures of
        [] -> [[When, ": ", Text] || running <- [Way], Text <- relgraph_rehearse_compare:ended(Before, Now)];
        _ -> fail([[When, ": ", Text] || Text <- Failures], log(Node))
    end.

%% The release handler alone, that relx's script asks, forgets what kernel has set when it started and asks for at no other time.
lasting(#{kind := relx}, #{environment := Environment} = Snapshot) ->
    AtStart = fun
        ({kernel, Values}) -> {kernel, [Value || {Key, _} = Value <- Values, Key =/= connect_all, Key =/= logger]};
        (Other) -> Other
    end,
    Snapshot#{environment := lists:map(AtStart, Environment)};
lasting(_, Snapshot) ->
    Snapshot.

%% A process that runs old code may be about to end.
settled(Node, Tries, Plan) ->
    Now = snapshot("now", Node, Plan),
    case relgraph_rehearse_compare:old_code(Now) of
        [_ | _] when Tries > 0 ->
            timer:sleep(?POLL),
            settled(Node, Tries - 1, Plan);
        _ ->
            Now
    end.

%% --- Nodes

%% An epmd of our own, that ends with us.
epmd(#{port := Port, old := Old} = Plan) ->
    Root = root("old", Plan),
    [Erts | _] = filelib:wildcard(filename:join([Root, "erts-*", "bin", "epmd"])) ++ [os:find_executable("epmd")],
    is_list(Erts) orelse fail(["there is no epmd in the release " ++ Old ++ ", nor in PATH"], ""),
    Program = open_port({spawn_executable, Erts}, [{args, ["-port", Port, "-address", "127.0.0.1"]} | port_options(Plan)]),
    keep(Program, Plan),
    Program.

keep(Port, #{owner := Owner}) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} -> Owner ! {started, Pid};
        undefined -> ok
    end.

root(Which, #{work := Work}) -> filename:join(Work, Which).

start(Which, Vsn, #{release := Release} = Plan) ->
    Root = root(Which, Plan),
    Program = filename:join([Root, "bin", Release]),
    filelib:is_regular(Program) orelse fail([["the release has no bin/", Release]], ""),
    Kind = kind(Root),
    Log = filename:join(maps:get(work, Plan), Which ++ ".log"),
    %% What a script prints must not fill a pipe that nobody reads.
    Line = "exec \"$0\" \"$2\" > \"$1\" 2>&1",
    Command = case Kind of relx -> "foreground"; _ -> "start" end,
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Line, Program, Log, Command]} | port_options(Plan)]),
    keep(Port, Plan),
    Node = #{program => Program, root => Root, kind => Kind, port => Port, log => Log, vsn => Vsn},
    up(Node, Plan),
    Node.

%% Whose script it is, and in what language that evaluates expressions.
kind(Root) ->
    case {filelib:is_regular(filename:join([Root, "bin", "install_upgrade.escript"])), filelib:wildcard(filename:join([Root, "lib", "elixir-*"]))} of
        {true, _} -> relx;
        {false, []} -> erlang;
        {false, _} -> elixir
    end.

%% Until it answers and has started everything.
up(#{port := Port} = Node, Plan) ->
    #{driver := Driver, installer := Installer} = Plan,
    Beams = lists:sort(filelib:wildcard(filename:join(Installer, "*.beam"))),
    Files = [filename:rootname(File) || File <- [filename:join(Driver, "relgraph_rehearse_node.beam") | Beams]],
    case rpc(Node, load(Node, Files), Plan) of
        {0, _} ->
            case rpc(Node, call(Node, "started", []), Plan) of
                {0, _} -> ok;
                {_, Said} -> fail([["it did not come up: ", Said]], log(Node))
            end;
        {_, Said} ->
            receive
                {Port, {exit_status, Status}} ->
                    fail([io_lib:format("~ts ended with status ~b while it started", [maps:get(vsn, Node), Status])], log(Node))
            after ?POLL ->
                late(Plan) andalso fail([[maps:get(vsn, Node), " did not come up in time: ", Said]], log(Node)),
                up(Node, Plan)
            end
    end.

stop(#{port := Port} = Node, Plan) ->
    control(Node, ["stop"], "stopping", Plan),
    receive
        {Port, {exit_status, _}} -> ok
    after 30000 ->
        fail([[maps:get(vsn, Node), " did not stop"]], log(Node))
    end.

control(#{program := Program} = Node, Args, What, Plan) ->
    case run(Program, Args, Plan) of
        {0, Said} -> Said;
        {Status, Said} -> fail([io_lib:format("~ts failed (status ~b): ~ts", [What, Status, string:trim(Said)])], log(Node))
    end.

snapshot(Name, Node, #{work := Work} = Plan) ->
    File = filename:join(Work, Name ++ ".snapshot"),
    case rpc(Node, call(Node, "snapshot", [File]), Plan) of
        {0, _} ->
            {ok, Bytes} = file:read_file(File),
            binary_to_term(Bytes);
        {_, Said} ->
            fail([["the node does not tell of itself: ", Said]], log(Node))
    end.

%% relx's script ends well whatever came of it. All expressions here are `ok' in the end.
rpc(#{program := Program, kind := relx}, Expression, Plan) ->
    {Status, Said} = run(Program, ["eval", Expression], Plan),
    case lists:last(["" | string:lexemes(Said, "\n")]) of
        "ok" -> {Status, Said};
        _ -> {max(Status, 1), Said}
    end;
rpc(#{program := Program}, Expression, Plan) ->
    run(Program, ["rpc", Expression], Plan).

%% Expressions in the language of the release.
load(#{kind := elixir}, Files) ->
    ["for f <- [", lists:join(", ", [quoted(File) || File <- Files]),
     "], do: {:module, _} = :code.load_abs(:unicode.characters_to_list(f))"];
load(_, Files) ->
    ["[{module, _} = code:load_abs(F) || F <- [", lists:join(", ", [quoted(File) || File <- Files]), "]], ok."].

call(#{kind := elixir}, Function, Args) ->
    [":relgraph_rehearse_node.", Function, "(", lists:join(", ", [quoted(Arg) || Arg <- Args]), ")"];
call(_, Function, Args) ->
    ["relgraph_rehearse_node:", Function, "(", lists:join(", ", [quoted(Arg) || Arg <- Args]), ")."].

quoted(Text) -> io_lib:format("~tp", [lists:flatten(Text)]).

%% --- The user's script

script(_, #{script := false}) ->
    none;
script(#{root := Root, program := Program}, #{work := Work} = Plan) ->
    Log = filename:join(Work, "script.log"),
    Line = "cd \"$1\" && exec sh -eu \"$0\" > \"$2\" 2>&1",
    Args = ["-c", Line, filename:join(Work, "script"), filename:join(Work, "project"), Log],
    Options = [{args, Args} | port_options(Plan#{env := [{"RELEASE_ROOT", Root}, {"RELEASE_BIN", Program} | maps:get(env, Plan)]})],
    Port = open_port({spawn_executable, "/bin/sh"}, Options),
    keep(Port, Plan),
    {Port, Log, erlang:monotonic_time(millisecond)}.

%% It may have ended well, and must not have failed.
alive(none, _) ->
    ok;
alive({Port, Log, _}, _) ->
    receive
        {Port, {exit_status, 0}} -> self() ! {Port, {exit_status, 0}}, ok;
        {Port, {exit_status, Status}} -> fail([io_lib:format("the script failed (status ~b)", [Status])], read(Log))
    after 0 ->
        ok
    end.

ended(none, _) ->
    [];
ended({Port, Log, Began} = Script, Plan) ->
    alive(Script, Plan),
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} -> os:cmd("kill -TERM " ++ integer_to_list(Pid));
        undefined -> ok
    end,
    %% Told to end it may do so with any status.
    receive
        {Port, {exit_status, _}} -> ok
    after 5000 ->
        fail(["the script did not end when it was told to"], read(Log))
    end,
    [erlang:monotonic_time(millisecond) - Began].

%% --- Programs

%% The VM that we are must not be seen by those that are started.
port_options(#{env := Env, port := Port, work := Work}) ->
    Own = [
        {"ERL_EPMD_PORT", Port},
        {"ERL_EPMD_ADDRESS", "127.0.0.1"},
        {"HOME", filename:join(Work, "home")},
        {"RELEASE_TMP", filename:join(Work, "tmp")},
        {"RELEASE_NODE", "rehearsal@localhost"},
        {"RELEASE_DISTRIBUTION", "sname"},
        {"RELEASE_COOKIE", "rehearsal"}
    ],
    Not = [{Name, false} || Name <- ["ROOTDIR", "BINDIR", "EMU", "PROGNAME", "ERL_LIBS"]],
    [{env, Not ++ Own ++ [{Name, Value} || {Name, Value} <- Env]}, exit_status, stderr_to_stdout, hide, binary].

run(Program, Args, Plan) ->
    Port = open_port({spawn_executable, Program}, [{args, [unicode:characters_to_list(Arg) || Arg <- Args]} | port_options(Plan)]),
    collect(Port, [], Plan).

collect(Port, Said, Plan) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Said, Data], Plan);
        {Port, {exit_status, Status}} -> {Status, unicode:characters_to_list(iolist_to_binary(Said))}
    after left(Plan) ->
        fail(["the rehearsal takes too long; `upgrades: rehearse: timeout:` in release.yaml gives it more time"], Said)
    end.

deadline(Patience) -> erlang:monotonic_time(millisecond) + 1000 * list_to_integer(Patience).

left(#{deadline := Deadline}) -> max(0, Deadline - erlang:monotonic_time(millisecond)).

late(Plan) -> left(Plan) =:= 0.

timed(Fun) ->
    Began = erlang:monotonic_time(millisecond),
    Result = Fun(),
    {Result, erlang:monotonic_time(millisecond) - Began}.

%% The end of what a program printed.
log(#{log := Log}) -> read(Log).

read(File) ->
    case file:read_file(File) of
        {ok, Bytes} -> binary:part(Bytes, max(0, byte_size(Bytes) - 4000), min(4000, byte_size(Bytes)));
        _ -> <<>>
    end.

-spec fail([unicode:chardata()], unicode:chardata()) -> no_return().
fail(Failures, Output) -> exit({failed, Failures, Output}).

bin(Text) ->
    case unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> iolist_to_binary(io_lib:format("~tp", [Text]))
    end.

texts(Value) when is_binary(Value) -> unicode:characters_to_list(Value);
texts({Key, Value}) -> {texts(Key), texts(Value)};
texts(Values) when is_list(Values) -> [texts(Value) || Value <- Values];
texts(Value) -> Value.
