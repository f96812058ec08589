%% Asks GNU make what an erlang.mk project is, and has it build one application.
-module(relgraph_make).

-export([ask/4, build/4, say/2]).

%% Variables of a shell that mean nothing to those below it.
-define(OWN, ["PWD", "OLDPWD", "SHLVL", "_", "MAKELEVEL", "MAKEFLAGS", "MFLAGS", "MAKE_TERMOUT", "MAKE_TERMERR"]).

%% What the Makefile in a folder says: values of expressions by name, and the variables that it exports.
-spec ask(file:name(), [string()], [{string(), string()}], [{atom(), string()}]) ->
    {#{atom() => string()}, #{string() => string()}} | {failed, unicode:chardata()}.
ask(Folder, Arguments, Env, Expressions) ->
    Answer = filename:join(Folder, ".relgraph-answer"),
    Infos = [["$(info relgraph:", atom_to_list(Name), "=", Expression, ")"] || {Name, Expression} <- Expressions],
    Rule = lists:flatten(["relgraph-ask: ; ", Infos, "@env -0 > .relgraph-answer"]),
    Eval = ["-s", "--no-print-directory", "--eval", Rule | Arguments] ++ ["relgraph-ask"],
    case make(Folder, Eval, Env, fun(_) -> ok end) of
        {0, Said} ->
            {ok, Exported} = file:read_file(Answer),
            ok = file:delete(Answer),
            {values(Said), exported(Exported)};
        {_, Said} ->
            {failed, Said}
    end.

%% Builds the targets in a folder; what make says goes to the terminal.
-spec build(file:name(), [string()], [{string(), string()}], [string()]) -> ok | {failed, integer()}.
build(Folder, Arguments, Env, Targets) ->
    case make(Folder, ["--no-print-directory" | Arguments ++ Targets], Env, fun(Text) -> io:put_chars(Text) end) of
        {0, _} -> ok;
        {Status, _} -> {failed, Status}
    end.

-spec say(io:format(), [term()]) -> no_return().
say(Format, Arguments) ->
    throw({relgraph, io_lib:format(Format, Arguments)}).

make(Folder, Arguments, Env, Show) ->
    Make =
        case os:find_executable("make") of
            false -> say("the project is built by make, which is not in PATH: install GNU make", []);
            Found -> Found
        end,
    Port = open_port({spawn_executable, Make}, [
        {args, ["-C", Folder | Arguments]}, {env, Env}, binary, stderr_to_stdout, exit_status, use_stdio
    ]),
    collect(Port, Show, []).

collect(Port, Show, Said) ->
    receive
        {Port, {data, Data}} ->
            Show(Data),
            collect(Port, Show, [Said, Data]);
        {Port, {exit_status, Status}} ->
            {Status, unicode:characters_to_list(iolist_to_binary(Said))}
    end.

values(Said) ->
    maps:from_list([
        {list_to_existing_atom(Name), string:trim(tl(Value))}
     || "relgraph:" ++ Rest <- string:split(Said, "\n", all),
        {Name, Value} <- [lists:splitwith(fun(Char) -> Char =/= $= end, Rest)]
    ]).

exported(Bytes) ->
    maps:from_list([
        {unicode:characters_to_list(Name), unicode:characters_to_list(Value)}
     || Line <- binary:split(Bytes, <<0>>, [global, trim_all]),
        [Name, Value] <- [binary:split(Line, <<"=">>)],
        not lists:member(unicode:characters_to_list(Name), ?OWN)
    ]).
