%% Undoes what a script did, so that the node goes on with the version that it had.
-module(relgraph_upgrade_rollback).

-export([run/2]).

-import(relgraph_upgrade_processes, [name/1]).

%% The journal has the newest entry first. Returns what could not be undone.
-spec run([term()], map()) -> [iodata()].
run(Journal, #{old := Old, script := Script} = Plan) ->
    Resumed = lists:usort([Pid || {resumed, Pid} <- Journal, is_process_alive(Pid)]),
    Suspended = lists:usort([Pid || {suspended, Pid} <- Journal, is_process_alive(Pid)]),
    [relgraph_upgrade_processes:suspend(Pid, default) || Pid <- Resumed],
    Migrated = lists:append([back(Entry, up, Resumed) || Entry <- Journal]),
    Early = [attempt(Undo) || {undo, early, Undo} <- Journal],
    [code_path(Lib, Before, Now) || {path, Lib, Before, Now} <- Journal],
    Loaded = lists:usort([Module || {loaded, Module} <- Journal]),
    Modules = [module(Module, Plan) || Module <- Loaded],
    Environment = attempt(maps:get(restore, Plan)),
    MigratedLater = lists:append([back(Entry, down, Resumed) || Entry <- Journal]),
    States = [state(Pid, Journal) || Pid <- Suspended, changed(Pid, Journal), not lists:member(Pid, Migrated ++ MigratedLater)],
    [relgraph_upgrade_processes:resume(Pid) || Pid <- Suspended],
    Late = [attempt(Undo) || {undo, late, Undo} <- Journal],
    _ = {Old, Script},
    [Problem || Problem <- Early ++ Modules ++ [Environment] ++ States ++ Late, Problem =/= ok].

%% A process that went on with its new state is migrated back. Returns those that were.
back({changed, Pid, Module, Mode, Vsn, Extra}, Mode, Resumed) ->
    case lists:member(Pid, Resumed) andalso not relgraph_upgrade_processes:is_supervisor(Pid) of
        true ->
            Other =
                case Vsn of
                    {down, Version} -> Version;
                    Version -> {down, Version}
                end,
            case relgraph_upgrade_processes:change_code(Pid, Module, Other, Extra, default) of
                ok -> [Pid];
                {error, _} -> []
            end;
        false ->
            []
    end;
back(_, _, _) ->
    [].

changed(Pid, Journal) ->
    lists:any(
        fun
            ({changed, Of, _, _, _, _}) -> Of =:= Pid;
            (_) -> false
        end,
        Journal
    ).

%% The first state that was written down is the one from before.
state(Pid, Journal) ->
    case [State || {state, Of, State} <- Journal, Of =:= Pid] of
        [] ->
            ok;
        States ->
            case relgraph_upgrade_processes:put_back(Pid, lists:last(States)) of
                ok -> ok;
                {error, Text} -> Text
            end
    end.

code_path(Lib, Before, _) when is_list(Before) ->
    code:replace_path(Lib, filename:join(Before, "ebin"));
code_path(_, _, Now) ->
    code:del_path(Now).

module(Module, #{before := Before}) ->
    case Before of
        #{Module := absent} ->
            case code:soft_purge(Module) andalso code:delete(Module) of
                true -> code:soft_purge(Module), ok;
                false -> ok
            end;
        #{Module := {_, none}} ->
            io_lib:format("~tp stays as it is now: the code that ran before is in no file", [Module]);
        #{Module := {File, Bin}} ->
            case code:is_loaded(Module) =/= false andalso Module:module_info(md5) =:= code:module_md5(Bin) of
                true -> ok;
                false -> load(Module, File, Bin, 2)
            end
    end.

%% The code from before is what is called old now. Where processes still run it, it cannot be loaded again without ending them.
load(Module, File, Bin, Attempts) ->
    case code:soft_purge(Module) of
        true ->
            case code:load_binary(Module, File, Bin) of
                {module, Module} -> ok;
                {error, Reason} -> io_lib:format("~tp could not be loaded again: ~tp", [Module, Reason])
            end;
        false ->
            Pids = relgraph_upgrade_processes:old_code(Module),
            [garbage_collect(Pid) || Pid <- Pids],
            case Attempts of
                0 ->
                    Who = lists:join(", ", [name(Pid) || Pid <- Pids]),
                    io_lib:format("~tp stays at its new code, for ~ts still runs the code from before: restart the system", [Module, Who]);
                _ ->
                    load(Module, File, Bin, Attempts - 1)
            end
    end.

attempt(Undo) ->
    try
        _ = Undo(),
        ok
    catch
        throw:{relgraph_upgrade, Text} -> Text;
        _:Reason -> io_lib:format("could not be undone: ~tp", [Reason])
    end.
