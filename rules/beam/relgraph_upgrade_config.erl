%% What the configuration of a version is when it boots: `sys.config', what it includes, and what the providers of Elixir make of it.
%% Providers run in a system of their own, with the version's own code, as at a boot.
-module(relgraph_upgrade_config).

-export([evaluate_all/2, main/0]).
%% The last of the providers.
-export([load/2]).

-define(PATIENCE, 120000).

%% The configurations of versions, side by side; the first one has to be there. `Private' is a folder that only we can read, with our
%% modules in it.
-spec evaluate_all([map()], file:filename()) -> [{ok, [{atom(), [{atom(), term()}]}]} | error].
evaluate_all([First | Others], Private) ->
    Waiting = [spawn_monitor(fun() -> exit({evaluated, catch {ok, evaluate(Other, Private)}}) end) || Other <- Others],
    Config = evaluate(First, Private),
    [{ok, Config} | [evaluated(Ref) || {_, Ref} <- Waiting]].

evaluated(Ref) ->
    receive
        {'DOWN', Ref, _, _, {evaluated, {ok, Config}}} -> {ok, Config};
        {'DOWN', Ref, _, _, _} -> error
    end.

evaluate(#{vsn := Vsn, root := Root} = Release, Parent) ->
    Dir = filename:join([Root, "releases", Vsn]),
    Private = filename:join(Parent, "config-" ++ Vsn),
    Text = text(Dir),
    Config = included(consult(Text, filename:join(Dir, "sys.config")), Dir),
    case proplists:get_value(config_provider_init, proplists:get_value(elixir, Config, [])) of
        #{providers := _} ->
            ok = file:make_dir(Private),
            ok = private(filename:join(Private, "sys.config"), Text),
            ok = private(filename:join(Private, "boot.config"), relgraph_upgrade_relup:text(without_providers(Config))),
            provided(Vsn, Dir, Private, Parent, Release);
        _ ->
            Config
    end.

%% The boot script of Mix would run providers, too.
without_providers(Config) ->
    Elixir = proplists:get_value(elixir, Config),
    lists:keyreplace(elixir, 1, Config, {elixir, lists:keydelete(config_provider_init, 1, Elixir)}).

text(Dir) ->
    Source = filename:join(Dir, "sys.config.src"),
    File = filename:join(Dir, "sys.config"),
    case {file:read_file(Source), file:read_file(File)} of
        {{ok, Text}, _} -> replaced(Text, <<>>);
        {_, {ok, Text}} -> Text;
        {_, {error, enoent}} -> <<"[].\n">>;
        {_, {error, Reason}} -> fail("~ts cannot be read: ~ts", [File, file:format_error(Reason)])
    end.

%% `${NAME}' and `${NAME:-default}', as the script of the release replaces them.
replaced(Text, Done) ->
    case re:run(Text, <<"[$][{]([^}]*)[}]">>, [{capture, all, index}]) of
        {match, [{At, Length}, {Inside, InsideLength}]} ->
            {Name, Default} =
                case binary:split(binary:part(Text, Inside, InsideLength), <<":-">>) of
                    [N, D] -> {N, D};
                    [N] -> {N, <<>>}
                end,
            Value =
                case os:getenv(unicode:characters_to_list(Name)) of
                    false -> Default;
                    "" -> Default;
                    V -> unicode:characters_to_binary(V)
                end,
            Rest = binary:part(Text, At + Length, byte_size(Text) - At - Length),
            replaced(Rest, <<Done/binary, (binary:part(Text, 0, At))/binary, Value/binary>>);
        nomatch ->
            <<Done/binary, Text/binary>>
    end.

consult(Text, File) ->
    Chars =
        case unicode:characters_to_list(Text) of
            L when is_list(L) -> L;
            _ -> binary_to_list(Text)
        end,
    Parsed =
        case erl_scan:string(Chars) of
            {ok, Tokens, _} -> erl_parse:parse_term(Tokens);
            {error, Wrong, _} -> {error, Wrong}
        end,
    case Parsed of
        {ok, Config} when is_list(Config) -> Config;
        {ok, _} -> fail("~ts is not a list", [File]);
        {error, {Line, Module, What}} -> fail("~ts:~tp: ~ts", [File, Line, Module:format_error(What)])
    end.

%% A text in the list names another file: of the current folder, or of the folder of sys.config. Later values win.
included(Config, Dir) ->
    lists:foldl(
        fun
            ({App, Values}, All) ->
                Known = proplists:get_value(App, All, []),
                lists:keystore(App, 1, All, {App, lists:foldl(fun set/2, Known, Values)});
            (Name, All) when is_list(Name) ->
                lists:foldl(
                    fun({App, Values}, So) ->
                        Known = proplists:get_value(App, So, []),
                        lists:keystore(App, 1, So, {App, lists:foldl(fun set/2, Known, Values)})
                    end,
                    All,
                    other(Name, Dir)
                );
            (_, All) ->
                All
        end,
        [],
        Config
    ).

set({Key, Value}, Values) -> lists:keystore(Key, 1, Values, {Key, Value});
set(_, Values) -> Values.

other(Name, Dir) ->
    WithEnding =
        case filename:extension(Name) of
            ".config" -> Name;
            _ -> Name ++ ".config"
        end,
    Files = [WithEnding, filename:join(Dir, WithEnding)],
    case [Text || File <- Files, {ok, Text} <- [file:read_file(File)]] of
        [Text | _] -> [Pair || {_, _} = Pair <- consult(Text, WithEnding)];
        [] -> fail("sys.config includes ~ts, which cannot be read", [Name])
    end.

provided(Vsn, Dir, Private, Parent, #{root := Root, libs := Libs}) ->
    Out = filename:join(Private, "config.etf"),
    ok = private(filename:join(Private, "libs.etf"), term_to_binary([filename:join(D, "ebin") || {_, _, D} <- Libs])),
    Boot =
        case filelib:is_regular(filename:join(Dir, "start_clean.boot")) of
            true -> ["-boot", filename:join(Dir, "start_clean")];
            false -> ["-boot", "start_clean"]
        end,
    Args =
        Boot ++
            ["-boot_var", "RELEASE_LIB", filename:join(Root, "lib"), "-mode", "interactive", "-noshell", "-noinput"] ++
            ["-config", filename:join(Private, "boot"), "-pa", Parent, "-s", atom_to_list(?MODULE), "main"],
    Env = [
        {"RELEASE_VSN", Vsn},
        {"RELEASE_SYS_CONFIG", filename:join(Private, "sys")},
        {"RELEASE_ROOT", Root},
        {"RELGRAPH_UPGRADE_FOLDER", Private},
        {"ERL_CRASH_DUMP_SECONDS", "0"}
    ],
    Erl = filename:join(os:getenv("BINDIR", filename:join(code:root_dir(), "bin")), "erlexec"),
    Port = open_port({spawn_executable, Erl}, [{args, Args}, {env, Env}, exit_status, stderr_to_stdout, binary, hide]),
    case collect(Port, []) of
        {0, Said} ->
            case file:read_file(Out) of
                {ok, Bin} -> binary_to_term(Bin);
                {error, _} -> fail("the configuration of ~ts was not evaluated:~n~ts", [Vsn, Said])
            end;
        {_, Said} ->
            fail("the configuration of ~ts could not be evaluated:~n~ts", [Vsn, string:trim(Said)])
    end.

collect(Port, Said) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Said, Data]);
        {Port, {exit_status, Status}} -> {Status, printable(Said)}
    after ?PATIENCE ->
        case erlang:port_info(Port, os_pid) of
            {os_pid, Pid} -> os:cmd("kill -9 " ++ integer_to_list(Pid));
            undefined -> ok
        end,
        fail("the configuration could not be evaluated within ~p s:~n~ts", [?PATIENCE div 1000, printable(Said)])
    end.

printable(Said) ->
    Bin = iolist_to_binary(Said),
    case unicode:characters_to_list(Bin) of
        List when is_list(List) -> List;
        _ -> binary_to_list(Bin)
    end.

%% Runs in the other system.
main() ->
    try
        Private = os:getenv("RELGRAPH_UPGRADE_FOLDER"),
        {ok, Libs} = file:read_file(filename:join(Private, "libs.etf")),
        code:add_pathsz([Lib || Lib <- binary_to_term(Libs), not lists:member(Lib, code:get_path())]),
        {ok, _} = application:ensure_all_started(elixir),
        File = unicode:characters_to_binary(filename:join(Private, "sys.config")),
        {ok, [Config]} = file:consult(File),
        #{providers := Providers} = Provider = proplists:get_value(config_provider_init, proplists:get_value(elixir, Config)),
        Last = {?MODULE, {Private, Provider}},
        application:set_env(elixir, config_provider_init, Provider#{providers := Providers ++ [Last], config_path := File}),
        'Elixir.Config.Provider':boot(fun() -> ok end),
        halt(0)
    catch
        Class:Reason:Stack ->
            io:setopts(standard_error, [{encoding, unicode}]),
            io:put_chars(standard_error, complaint(Class, Reason, Stack)),
            halt(1)
    end.

%% What a provider raises has been said by Elixir.
complaint(error, #{'__exception__' := true}, _) -> "";
complaint(Class, Reason, Stack) -> [erl_error:format_exception(Class, Reason, Stack), "\n"].

%% What all other providers have made, kept for the system that asked.
load(Config, {Private, Provider}) ->
    Booted =
        case Provider of
            #{reboot_system_after_config := true} -> [{config_provider_booted, {booted, nil}}];
            #{} -> []
        end,
    Elixir = lists:foldl(fun set/2, proplists:get_value(elixir, Config, []), Booted),
    Whole = lists:keystore(elixir, 1, Config, {elixir, Elixir}),
    ok = private(filename:join(Private, "config.etf"), term_to_binary(Whole)),
    Config.

private(File, Data) ->
    {ok, Device} = file:open(File, [write, raw]),
    ok = file:change_mode(File, 8#600),
    ok = file:write(Device, Data),
    file:close(Device).

fail(Format, Args) ->
    throw({relgraph_upgrade, io_lib:format(Format, Args)}).
