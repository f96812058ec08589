%% What runs, as a term. Never fails: what cannot be found out is left out.
-module(relgraph_upgrade_report).

-export([all/0]).

-define(PATIENCE, 1000).

-spec all() -> map().
all() ->
    Trees = [{App, tree(App)} || {App, _, _} <- lists:sort(safe(fun application:which_applications/0, []))],
    Paths = maps:from_list(lists:append([paths(Tree, [App]) || {App, {_, _, _, _, _} = Tree} <- Trees])),
    Old = [Module || {Module, _} <- code:all_loaded(), erlang:check_old_code(Module)],
    #{
        modules => lists:sort([{Module, md5(Module)} || {Module, _} <- code:all_loaded()]),
        processes => [process(Pid, Paths, Old) || Pid <- processes(), is_process_alive(Pid)],
        supervision => [{App, shown(Tree)} || {App, Tree} <- Trees],
        environment => [{App, lists:sort(application:get_all_env(App))} || {App, _, _} <- lists:sort(application:loaded_applications())],
        applications => lists:sort([{App, Vsn} || {App, _, Vsn} <- application:loaded_applications()]),
        releases => safe(fun() -> gen_server:call(release_handler, which_releases, ?PATIENCE) end, [])
    }.

safe(Fun, Default) ->
    try
        Fun()
    catch
        _:_ -> Default
    end.

md5(Module) ->
    safe(fun() -> Module:module_info(md5) end, none).

%% `{Id, Pid, Type, Modules, Children}'.
tree(App) ->
    safe(
        fun() ->
            Master = application_controller:get_master(App),
            true = is_pid(Master),
            {Root, _} = application_master:get_child(Master),
            Children =
                case relgraph_upgrade_processes:has_children(Root) of
                    true -> below(Root);
                    false -> []
                end,
            {App, Root, supervisor, [relgraph_upgrade_processes:callback(Root)], Children}
        end,
        none
    ).

%% What `supervisor' lists, in the order in which it starts.
below(Pid) ->
    Children = safe(fun() -> gen_server:call(Pid, which_children, ?PATIENCE) end, []),
    [
        {Id, Child, Type, Modules,
            case Type =:= supervisor andalso is_pid(Child) of
                true -> below(Child);
                false -> []
            end}
     || {Id, Child, Type, Modules} <- lists:reverse(if is_list(Children) -> Children; true -> [] end)
    ].

shown({Id, _, Type, Modules, Children}) -> {Id, Type, Modules, [shown(Child) || Child <- Children]};
shown(none) -> none.

paths({_, Pid, _, Modules, Children}, Path) ->
    Own = [{Pid, {lists:reverse(Path), Modules}} || is_pid(Pid)],
    Own ++ lists:append([paths(Child, [element(1, Child) | Path]) || Child <- Children]).

process(Pid, Paths, Old) ->
    Callback = relgraph_upgrade_processes:callback(Pid),
    {Path, Modules} = maps:get(Pid, Paths, {none, []}),
    #{
        pid => Pid,
        name => safe(fun() -> {registered_name, Name} = process_info(Pid, registered_name), Name end, none),
        module => Callback,
        behaviour => safe(fun() -> {current_function, {Module, _, _}} = process_info(Pid, current_function), Module end, none),
        modules => Modules,
        path => Path,
        vsn => vsn(Callback),
        old_code => [Module || Module <- Old, safe(fun() -> erlang:check_process_code(Pid, Module) end, false) =:= true]
    }.

vsn(Module) ->
    safe(
        fun() ->
            {file, _} = code:is_loaded(Module),
            proplists:get_value(vsn, Module:module_info(attributes))
        end,
        none
    ).
