%% Instructions of relups for what OTP has none for: children of supervisors whose specifications no callback module says, and
%% consolidated protocols that are in no application.
-module(relgraph_upgrade_children).

-export([change/1, protocols/2]).
%% Called by `supervisor'.
-export([init/1]).

-import(relgraph_upgrade_processes, [name/1]).

-define(PATIENCE, 5000).

%% In the record of `supervisor': what says how it restarts, and from the end: the callback module and its argument.
-define(STRATEGY, 3).
-define(CHILDREN, 4).
-define(INTENSITY, 6).
-define(PERIOD, 7).

%% `supervisor': its name, `{application, App}' (the topmost one), or `{module, Mod}' (all with this callback module).
%% `children' and `flags': `keep', or an expression of what the new version gives to `supervisor' or to Elixir's `Supervisor'.
%% `children' may be `again': what the callback module returns by now.
%% `stop' and `start': identifiers of children. A child in both is replaced.
-spec change(map()) -> ok.
change(#{supervisor := Which} = Map) ->
    lists:foreach(fun(Supervisor) -> change(Supervisor, Map) end, found(Which)).

found(Name) when is_atom(Name) ->
    case whereis(Name) of
        undefined -> fail("there is no supervisor ~tp", [Name]);
        Pid -> [Pid]
    end;
found({application, App}) ->
    case application_controller:get_master(App) of
        Master when is_pid(Master) ->
            {Root, _} = application_master:get_child(Master),
            [Root];
        _ ->
            fail("the application ~tp does not run", [App])
    end;
found({module, Module}) ->
    lists:usort([
        Pid
     || {_, _, Pid, _} <- relgraph_upgrade_processes:all([]),
        relgraph_upgrade_processes:is_supervisor(Pid),
        relgraph_upgrade_processes:callback(Pid) =:= Module
    ]).

change(Supervisor, Map) ->
    relgraph_upgrade_processes:is_supervisor(Supervisor) orelse
        fail("~ts is no supervisor that the children of can be changed", [name(Supervisor)]),
    Saved = sys:get_state(Supervisor, ?PATIENCE),
    is_tuple(Saved) orelse fail("~ts has no children that are specified one by one", [name(Supervisor)]),
    Before = ids(Saved),
    Running = [Id || {Id, Pid, _, _} <- supervisor:which_children(Supervisor), is_pid(Pid)],
    relgraph_upgrade_script:note({undo, late, fun() -> as_before(Supervisor, Saved, Running) end}),
    specify(Supervisor, Saved, init_value(Supervisor, Saved, Map)),
    Now = ids(sys:get_state(Supervisor, ?PATIENCE)),
    Specified =
        case Map of
            #{children := keep} -> Before;
            #{children := _} -> Now;
            _ -> Before
        end,
    New = [Id || Id <- Specified, not lists:member(Id, Before)],
    Stop = maps:get(stop, Map, []),
    Start = maps:get(start, Map, []),
    Gone = [Id || Id <- Stop, not lists:member(Id, Start), not lists:member(Id, New)],
    [stop(Supervisor, Id) || Id <- lists:reverse(Now), lists:member(Id, Stop)],
    [delete(Supervisor, Id) || Id <- Now, lists:member(Id, Gone)],
    Unknown = [Id || Id <- Start, not lists:member(Id, Now)],
    Unknown =:= [] orelse fail("~ts has no child ~tp to start", [name(Supervisor), hd(Unknown)]),
    [start(Supervisor, Id) || Id <- Now, lists:member(Id, Start ++ New)],
    ok.

%% In the order in which they start.
ids(State) ->
    case element(?CHILDREN, State) of
        {Ids, Map} when is_map(Map) -> lists:reverse(Ids);
        Children when is_list(Children) -> lists:reverse([element(3, Child) || Child <- Children])
    end.

stop(Supervisor, Id) ->
    case supervisor:terminate_child(Supervisor, Id) of
        ok -> ok;
        {error, not_found} -> ok;
        {error, Reason} -> fail("the child ~tp of ~ts does not stop: ~tp", [Id, name(Supervisor), Reason])
    end.

delete(Supervisor, Id) ->
    case supervisor:delete_child(Supervisor, Id) of
        ok -> ok;
        {error, not_found} -> ok;
        {error, Reason} -> fail("the child ~tp of ~ts cannot be removed: ~tp", [Id, name(Supervisor), Reason])
    end.

start(Supervisor, Id) ->
    case supervisor:restart_child(Supervisor, Id) of
        {ok, _} -> started(Supervisor, Id);
        {ok, _, _} -> started(Supervisor, Id);
        {error, running} -> ok;
        {error, restarting} -> ok;
        {error, Reason} -> fail("the child ~tp of ~ts does not start: ~tp", [Id, name(Supervisor), Reason])
    end.

started(Supervisor, Id) ->
    relgraph_upgrade_script:note({undo, early, fun() -> supervisor:terminate_child(Supervisor, Id) end}).

%% The specifications as they were, and the same children running.
as_before(Supervisor, Saved, Running) ->
    ok = sys:suspend(Supervisor, ?PATIENCE),
    Put = relgraph_upgrade_processes:put_back(Supervisor, {ok, Saved}),
    ok = sys:resume(Supervisor, ?PATIENCE),
    case Put of
        ok -> ok;
        {error, Text} -> throw({relgraph_upgrade, Text})
    end,
    [start(Supervisor, Id) || Id <- ids(Saved), lists:member(Id, Running)].

%% What its callback module returns from now on; `keep' when that is not to change.
init_value(Supervisor, Saved, Map) ->
    case {maps:get(children, Map, keep), maps:get(flags, Map, keep)} of
        {keep, keep} -> keep;
        {again, _} -> again;
        {Children, Flags} -> init_value(children(Children, Supervisor, Saved), flags(Flags, Saved))
    end.

children(keep, Supervisor, Saved) ->
    [element(2, {ok, _} = supervisor:get_childspec(Supervisor, Id)) || Id <- ids(Saved)];
children(Expression, _, _) ->
    value(Expression).

flags(keep, State) ->
    Known = #{strategy => element(?STRATEGY, State), intensity => element(?INTENSITY, State), period => element(?PERIOD, State)},
    %% The last but two, since OTP 24.
    case element(tuple_size(State) - 2, State) of
        Shutdown when Shutdown =:= never; Shutdown =:= any_significant; Shutdown =:= all_significant ->
            Known#{auto_shutdown => Shutdown};
        _ ->
            Known
    end;
flags(Expression, _) ->
    value(Expression).

%% Options of Elixir are a list of pairs, and its children may be a module, or a module and its argument.
init_value(Children, Flags) when is_list(Flags) ->
    Options = [Option || {Key, _} = Option <- Flags, Key =/= name],
    'Elixir.Supervisor':init(Children, Options);
init_value(Children, Flags) ->
    {ok, {Flags, [specification(Child) || Child <- Children]}}.

specification(#{id := _} = Child) -> Child;
specification(Child) when tuple_size(Child) =:= 6 -> Child;
specification(Child) -> 'Elixir.Supervisor':child_spec(Child, []).

%% Has the supervisor take over what its callback module would return. The argument of a module that returns its argument is
%% replaced for good, so that the next change of code finds it; for others we stand in while it is asked.
specify(_, _, keep) ->
    ok;
specify(Supervisor, Saved, again) ->
    ok = sys:suspend(Supervisor, ?PATIENCE),
    try
        case relgraph_upgrade_processes:change_code(Supervisor, element(tuple_size(Saved) - 1, Saved), undefined, [], default) of
            ok -> ok;
            {error, Reason} -> fail("~ts does not take its new children: ~tp", [name(Supervisor), Reason])
        end
    after
        sys:resume(Supervisor, ?PATIENCE)
    end;
specify(Supervisor, Saved, {ok, _} = Value) ->
    Size = tuple_size(Saved),
    {Module, Argument} = {element(Size - 1, Saved), element(Size, Saved)},
    ok = sys:suspend(Supervisor, ?PATIENCE),
    try
        set(Supervisor, Size, ?MODULE, Value),
        case relgraph_upgrade_processes:change_code(Supervisor, Module, undefined, [], default) of
            ok ->
                ok;
            {error, Reason} ->
                set(Supervisor, Size, Module, Argument),
                fail("~ts does not take its new children: ~tp", [name(Supervisor), Reason])
        end,
        case Argument of
            {ok, {_, Specs}} when is_list(Specs), Module =:= 'Elixir.Supervisor.Default' -> set(Supervisor, Size, Module, Value);
            _ -> set(Supervisor, Size, Module, Argument)
        end
    after
        sys:resume(Supervisor, ?PATIENCE)
    end;
specify(Supervisor, _, Other) ->
    fail("the children of ~ts cannot be: ~tp", [name(Supervisor), Other]).

set(Supervisor, Size, Module, Argument) ->
    sys:replace_state(Supervisor, fun(State) -> setelement(Size, setelement(Size - 1, State, Module), Argument) end, ?PATIENCE).

init(Value) ->
    Value.

%% What an expression is: the application that starts the supervisor computes it in the same way.
value({term, Term}) -> Term;
value({call, M, F, Args}) -> apply(M, F, [value(Arg) || Arg <- Args]);
value({tuple, Elements}) -> list_to_tuple([value(Element) || Element <- Elements]);
value({list, Elements}) -> [value(Element) || Element <- Elements];
value({map, Pairs}) -> maps:from_list([{value(Key), value(Value)} || {Key, Value} <- Pairs]);
value({function, M, F, A}) -> fun M:F/A.

%% In Mix's layout a folder of the version has the consolidated protocols.
-spec protocols(string(), [module()]) -> ok.
protocols(Vsn, Modules) ->
    Paths = code:get_path(),
    Old = [Path || Path <- Paths, filename:basename(Path) =:= "consolidated"],
    Releases =
        case Old of
            [Path | _] -> filename:dirname(filename:dirname(Path));
            [] -> filename:join(os:getenv("RELEASE_ROOT", code:root_dir()), "releases")
        end,
    New = filename:join([Releases, Vsn, "consolidated"]),
    filelib:is_dir(New) orelse fail("~ts is missing", [New]),
    Read = [{Module, object(filename:join(New, atom_to_list(Module) ++ ".beam"))} || Module <- Modules],
    Before = [{Module, loaded(Module)} || Module <- Modules],
    relgraph_upgrade_script:note(
        {undo, early, fun() ->
            [put_path(Path) || Path <- lists:reverse(Old)],
            [code:del_path(New) || not lists:member(New, Old)],
            [load(Module, Code) || {Module, {_, _} = Code} <- Before]
        end}
    ),
    put_path(New),
    [code:del_path(Path) || Path <- Old, Path =/= New],
    [load(Module, Code) || {Module, Code} <- Read],
    ok.

put_path(Path) ->
    _ = code:del_path(Path),
    code:add_patha(Path).

object(File) ->
    case erl_prim_loader:get_file(File) of
        {ok, Bin, _} -> {File, Bin};
        error -> fail("~ts is missing", [File])
    end.

loaded(Module) ->
    case code:is_loaded(Module) of
        {file, File} when is_list(File) ->
            case erl_prim_loader:get_file(File) of
                {ok, Bin, _} -> {File, Bin};
                error -> none
            end;
        _ ->
            none
    end.

load(Module, {File, Bin}) ->
    code:soft_purge(Module) orelse fail("~tp cannot be replaced: a process still runs the code from before the last upgrade", [Module]),
    case code:load_binary(Module, File, Bin) of
        {module, Module} -> ok;
        {error, Reason} -> fail("~tp could not be loaded: ~tp", [Module, Reason])
    end.

-spec fail(string(), [term()]) -> no_return().
fail(Format, Args) ->
    Text = unicode:characters_to_binary(io_lib:format(Format, Args)),
    %% OTP's release handler has no use for a text of ours alone.
    case relgraph_upgrade_script:is_running() of
        true -> throw({relgraph_upgrade, Text});
        false -> throw({error, {relgraph_upgrade, Text}})
    end.
