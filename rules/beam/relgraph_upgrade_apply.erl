%% Calls what a script applies, and knows how the usual calls are undone.
-module(relgraph_upgrade_apply).

-export([run/3]).

run(M, F, A) ->
    Undo = undo(M, F, A),
    Result = call(M, F, A),
    case failed(M, Result) of
        {true, Reason} ->
            Shown = io_lib:format("~ts", [lists:join(", ", [io_lib:format("~tp", [Arg]) || Arg <- A])]),
            throw({relgraph_upgrade, io_lib:format("~tp:~tp(~ts) failed: ~tp", [M, F, Shown, Reason])});
        false ->
            [relgraph_upgrade_script:note({undo, Phase, How}) || {Phase, How} <- Undo, done(Result)],
            Result
    end.

%% An application that is permanent ends the whole system when it does not start.
call(application, start, [App, Type]) when Type =:= permanent; Type =:= transient -> start_application(App, Type);
call(M, F, A) -> apply(M, F, A).

start_application(App, Type) ->
    case application:start(App, temporary) of
        ok ->
            Typed = fun
                ({Of, temporary}) when Of =:= App -> {App, Type};
                (Other) -> Other
            end,
            Each = fun
                (List) when is_list(List), length(List) > 0 -> lists:map(Typed, List);
                (Other) -> Other
            end,
            sys:replace_state(application_controller, fun(State) -> list_to_tuple([Each(Part) || Part <- tuple_to_list(State)]) end),
            ok;
        Error ->
            Error
    end.

%% What `application' and `supervisor' return when there was nothing to do is no failure.
failed(M, {error, Reason}) when M =:= application; M =:= supervisor; M =:= 'Elixir.Supervisor'; M =:= 'Elixir.Application' ->
    case Reason of
        {already_started, _} -> false;
        {already_loaded, _} -> false;
        {not_started, _} -> false;
        {not_loaded, _} -> false;
        already_present -> false;
        running -> false;
        restarting -> false;
        not_found -> false;
        _ -> {true, Reason}
    end;
failed(_, _) ->
    false.

done({error, _}) -> false;
done(_) -> true.

undo(application, start, [App | _]) ->
    [{early, fun() -> application:stop(App) end}];
undo(application, ensure_started, [App | _]) ->
    [{early, fun() -> application:stop(App) end}];
undo(application, stop, [App]) ->
    Type = proplists:get_value(App, proplists:get_value(started, application:info(), []), temporary),
    [{late, fun() -> started(call(application, start, [App, Type])) end}];
undo(application, load, [App]) when is_atom(App) ->
    [{early, fun() -> application:unload(App) end}];
undo(application, load, [{application, App, _}]) ->
    [{early, fun() -> application:unload(App) end}];
undo(application, unload, [App]) ->
    [{late, fun() -> application:load(App) end}];
undo(supervisor, terminate_child, [Supervisor, Id]) ->
    [{late, fun() -> restart(Supervisor, Id) end}];
undo(supervisor, restart_child, [Supervisor, Id]) ->
    [{early, fun() -> supervisor:terminate_child(Supervisor, Id) end}];
undo(supervisor, delete_child, [Supervisor, Id]) ->
    case catch supervisor:get_childspec(Supervisor, Id) of
        %% The undoing of what terminated it comes after this.
        {ok, Spec} -> [{late, fun() -> started(supervisor:start_child(Supervisor, Spec)) end}];
        _ -> []
    end;
undo(supervisor, start_child, [Supervisor, Spec]) when is_map(Spec); tuple_size(Spec) =:= 6 ->
    Id = if is_map(Spec) -> maps:get(id, Spec, undefined); true -> element(1, Spec) end,
    [
        {early, fun() ->
            _ = supervisor:terminate_child(Supervisor, Id),
            supervisor:delete_child(Supervisor, Id)
        end}
    ];
undo(_, _, _) ->
    [].

restart(Supervisor, Id) ->
    case supervisor:restart_child(Supervisor, Id) of
        {error, running} -> ok;
        {error, restarting} -> ok;
        Other -> started(Other)
    end.

started({error, {already_started, _}}) -> ok;
started({error, Reason}) -> throw({relgraph_upgrade, io_lib:format("what was stopped did not start again: ~tp", [Reason])});
started(_) -> ok.
