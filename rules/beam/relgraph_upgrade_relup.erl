%% The scripts of relups.
-module(relgraph_upgrade_relup).

-export([script/3, stand_in/5, text/1]).

%% How to get from one version to another. The newer of the two has the relup.
-spec script(string(), string(), file:filename()) -> {ok, [term()]} | {restart, [term()]}.
script(From, To, Root) ->
    File = fun(Vsn) -> filename:join([Root, "releases", Vsn, "relup"]) end,
    Found =
        case in(File(To), 2, From) of
            none -> in(File(From), 3, To);
            Script -> Script
        end,
    case Found of
        none ->
            Why = "nothing says how to get from ~ts to ~ts: no relup of either does~ts. `relgraph upgrade` makes one",
            throw({relgraph_upgrade, io_lib:format(Why, [From, To, known(To, File(To))])});
        _ ->
            case [Step || Step <- Found, Step =:= restart_emulator orelse Step =:= restart_new_emulator] of
                [] -> {ok, Found};
                _ -> {restart, Found}
            end
    end.

%% What the relup of the version that is wanted is about instead.
known(To, File) ->
    case file:consult(File) of
        {ok, [{_, [_ | _] = Up, _}]} -> io_lib:format(" (that of ~ts is for ~ts)", [To, lists:join(", ", [Vsn || {Vsn, _, _} <- Up])]);
        _ -> ""
    end.

in(File, Part, Vsn) ->
    case file:consult(File) of
        {ok, [{_, _, _} = Relup]} ->
            case lists:keyfind(Vsn, 1, element(Part, Relup)) of
                {Vsn, _, Script} -> Script;
                false -> none
            end;
        {error, enoent} ->
            none;
        {error, Reason} ->
            throw({relgraph_upgrade, io_lib:format("~ts cannot be read: ~ts", [File, file:format_error(Reason)])});
        _ ->
            throw({relgraph_upgrade, io_lib:format("~ts is no relup", [File])})
    end.

%% What the release handler finds in the place of the version's own folder: a script that has us do the work, and the configuration
%% with the values of now.
stand_in(From, To, Dir, Private, Config) ->
    Folder = filename:join(Private, To),
    ok = file:make_dir(Folder),
    {ok, _} = file:copy(filename:join(Dir, "start.boot"), filename:join(Folder, "start.boot")),
    Script = [{apply, {relgraph_upgrade, perform, []}}, point_of_no_return],
    write(filename:join(Folder, "relup"), {To, [{From, [], Script}], []}),
    write(filename:join(Folder, "sys.config"), [{App, relgraph_upgrade_environment:readable(Values)} || {App, Values} <- Config]).

write(File, Term) ->
    ok = file:write_file(File, text(Term)).

%% A term as a file has it. Characters beyond Latin-1 are escaped.
text(Term) ->
    io_lib:format("%% coding: latin-1~n~w.~n", [Term]).
