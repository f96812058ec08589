%% Undoes what a script did, so that the node goes on with the version that it had.
-module(relgraph_upgrade_rollback).

-export([run/2]).

-import(relgraph_upgrade_processes, [name/1]).

%% The journal has the newest entry first. Returns what could not be undone.
-spec run([term()], map()) -> [iodata()].
run(Journal, Plan) ->
    Resumed = lists:usort([Pid || {resumed, Pid} <- Journal, is_process_alive(Pid)]),
    Suspended = lists:usort([Pid || {suspended, Pid} <- Journal, is_process_alive(Pid)]),
    Before = maps:from_list([{Module, Code} || {before, Module, Code} <- Journal]),
    Loaded = lists:usort([Module || {loaded, Module} <- Journal]),
    Again = each(fun(Pid) -> again(Pid) end, Resumed),
    Up = [Pid || Entry <- Journal, Pid <- back(Entry, up, Resumed)],
    Early = each(fun(Undo) -> Undo() end, [Undo || {undo, early, Undo} <- Journal]),
    Paths = each(fun({Lib, Old, Now}) -> code_path(Lib, Old, Now) end, [{Lib, Old, Now} || {path, Lib, Old, Now} <- Journal]),
    Modules = each(fun(Module) -> module(Module, Before) end, Loaded),
    Environment = each(fun(Restore) -> Restore() end, [maps:get(restore, Plan)]),
    Down = [Pid || Entry <- Journal, Pid <- back(Entry, down, Resumed)],
    Changed = [Pid || Pid <- Suspended, changed(Pid, Journal), not lists:member(Pid, Up ++ Down)],
    States = each(fun(Pid) -> state(Pid, Journal) end, Changed),
    [relgraph_upgrade_processes:resume(Pid) || Pid <- Suspended],
    Late = each(fun(Undo) -> Undo() end, [Undo || {undo, late, Undo} <- Journal]),
    Again ++ Early ++ Paths ++ Modules ++ Environment ++ States ++ Late.

%% Goes on where something cannot be undone: nothing is to stay suspended. A function returns text where it knows what is wrong.
each(Fun, List) ->
    lists:append([attempt(fun() -> Fun(One) end) || One <- List]).

attempt(Fun) ->
    try Fun() of
        {problem, Text} -> [Text];
        _ -> []
    catch
        throw:{relgraph_upgrade, Text} -> [Text];
        Class:Reason:Stack -> [["could not be undone: ", relgraph_upgrade_script:exception(Class, Reason, lists:sublist(Stack, 3))]]
    end.

again(Pid) ->
    case relgraph_upgrade_processes:suspend(Pid, default) of
        {error, Text} -> {problem, [name(Pid), " ", Text, ", and was not changed back"]};
        _ -> ok
    end.

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
                {error, Text} -> {problem, Text}
            end
    end.

code_path(Lib, Before, _) when is_list(Before) ->
    code:replace_path(Lib, filename:join(Before, "ebin"));
code_path(_, _, Now) ->
    code:del_path(Now).

module(Module, Before) ->
    case Before of
        #{Module := absent} ->
            case code:soft_purge(Module) andalso code:delete(Module) of
                true -> code:soft_purge(Module), ok;
                false -> ok
            end;
        #{Module := {_, none}} ->
            problem("~tp stays as it is now: the code that ran before is in no file", [Module]);
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
                {error, Reason} -> problem("~tp could not be loaded again: ~tp", [Module, Reason])
            end;
        false ->
            Pids = relgraph_upgrade_processes:old_code(Module),
            [garbage_collect(Pid) || Pid <- Pids],
            case Attempts of
                0 ->
                    Who = relgraph_upgrade_processes:in_old_code(Module),
                    Why = "for ~ts still runs the code from before: restart the system",
                    problem("~tp stays at its new code, " ++ Why, [Module, Who]);
                _ ->
                    load(Module, File, Bin, Attempts - 1)
            end
    end.

problem(Format, Args) ->
    {problem, io_lib:format(Format, Args)}.
