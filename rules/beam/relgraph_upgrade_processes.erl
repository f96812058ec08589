%% Finds the processes that run a module, and suspends, migrates and resumes them.
-module(relgraph_upgrade_processes).

-export([all/1, running/2, suspend/2, resume/1, state/1, put_back/2, change_code/5, name/1, is_supervisor/1, has_children/1, callback/1]).
-export([children/1, old_code/1, in_old_code/1]).

%% How long a process may take to answer, where the script says nothing.
-define(PATIENCE, 5000).

%% Every supervised process, as `release_handler' looks for them: `{Supervisor, Id, Pid, Modules}'. A supervisor among `Suspended'
%% cannot be asked; what it said before is in the dictionary.
all(Suspended) ->
    lists:append([of_application(App, Suspended) || {App, _, _} <- application:which_applications()]).

of_application(App, Suspended) ->
    case application_controller:get_master(App) of
        Master when is_pid(Master) ->
            case application_master:get_child(Master) of
                {Root, _} when is_pid(Root) ->
                    Own = {undefined, App, Root, [callback(Root)]},
                    case has_children(Root) of
                        true -> [Own | below(Root, Suspended)];
                        false -> [Own]
                    end;
                _ ->
                    []
            end;
        _ ->
            []
    end.

below(Supervisor, Suspended) ->
    lists:append([child(Supervisor, Child, Suspended) || Child <- known_children(Supervisor, Suspended)]).

child(Supervisor, {Id, Pid, Type, Modules}, Suspended) when is_pid(Pid) ->
    Own = {Supervisor, Id, Pid, modules(Pid, Modules)},
    case Type of
        supervisor -> [Own | below(Pid, Suspended)];
        _ -> [Own]
    end;
child(_, _, _) ->
    [].

known_children(Supervisor, Suspended) ->
    Key = {relgraph_upgrade_children, Supervisor},
    case lists:member(Supervisor, Suspended) of
        true ->
            case get(Key) of
                undefined -> [];
                Known -> Known
            end;
        false ->
            Children = children(Supervisor),
            put(Key, Children),
            Children
    end.

%% The children of a supervisor; one that is not there any more has none.
children(Supervisor) ->
    try gen_server:call(Supervisor, which_children, ?PATIENCE) of
        Children when is_list(Children) -> Children;
        _ -> []
    catch
        exit:{timeout, _} ->
            throw({relgraph_upgrade, ["the supervisor ", name(Supervisor), " does not say within 5 s what its children are"]});
        exit:_ ->
            []
    end.

modules(_, Modules) when is_list(Modules) ->
    Modules;
modules(Pid, dynamic) ->
    try gen:call(Pid, self(), get_modules, ?PATIENCE) of
        {ok, Modules} when is_list(Modules) -> Modules;
        _ -> [callback(Pid)]
    catch
        _:_ -> [callback(Pid)]
    end.

%% The module that a process was started with.
callback(Pid) ->
    case initial_call(Pid) of
        {supervisor, Module, 1} -> Module;
        {Module, _, _} -> Module;
        undefined -> undefined
    end.

is_supervisor(Pid) ->
    case initial_call(Pid) of
        {supervisor, _, 1} -> true;
        _ -> false
    end.

%% What an application starts need not be a supervisor, and one that is not may end over the question for its children. Of the
%% children of supervisors, their specifications tell.
has_children(Pid) ->
    case initial_call(Pid) of
        {supervisor, _, 1} -> true;
        {'Elixir.DynamicSupervisor', _, 1} -> true;
        _ -> false
    end.

initial_call(Pid) ->
    try process_info(Pid, dictionary) of
        {dictionary, Dictionary} -> proplists:get_value('$initial_call', Dictionary);
        undefined -> undefined
    catch
        _:_ -> undefined
    end.

%% Those of some processes that run a module.
running(Module, Processes) ->
    lists:usort([Pid || {_, _, Pid, Modules} <- Processes, lists:member(Module, Modules)]).

%% `gone' when it ended meanwhile.
suspend(Pid, Timeout) ->
    try sys:suspend(Pid, timeout(Timeout)) of
        ok -> ok
    catch
        exit:{Reason, _} when Reason =:= timeout ->
            %% It will come to the message some day, and must go on then.
            spawn(fun() -> catch sys:resume(Pid, infinity) end),
            {error, ["does not answer within ", integer_to_list(timeout(Timeout)), " ms"]};
        exit:_ ->
            case is_process_alive(Pid) of
                true -> {error, "cannot be suspended: it does not understand system messages"};
                false -> gone
            end
    end.

timeout(default) -> ?PATIENCE;
timeout(Timeout) -> Timeout.

resume(Pid) ->
    catch sys:resume(Pid, ?PATIENCE),
    ok.

%% What a suspended process has as its state.
state(Pid) ->
    try
        {ok, sys:get_state(Pid, ?PATIENCE)}
    catch
        _:_ -> none
    end.

%% Gives a suspended process a state that it had. What a supervisor knows of its children's processes is of now.
put_back(Pid, {ok, Saved}) ->
    Put =
        case {is_supervisor(Pid), callback(Pid)} of
            {true, _} -> fun(Now) -> supervisor_state(Now, Saved) end;
            {false, gen_event} -> fun(Now) -> handler_state(Now, Saved) end;
            _ -> fun(_) -> Saved end
        end,
    try
        sys:replace_state(Pid, Put, ?PATIENCE),
        ok
    catch
        _:_ -> {error, ["the state of ", name(Pid), " could not be put back"]}
    end;
put_back(_, none) ->
    ok.

%% An event manager asks for each of its handlers.
handler_state({Module, Id, _} = Now, Saved) ->
    case [Handler || {M, I, _} = Handler <- Saved, M =:= Module, I =:= Id] of
        [Handler] -> Handler;
        _ -> Now
    end.

%% In the record of `supervisor': children, dynamics and restarts are its 4th, 5th and 8th element.
supervisor_state(Now, Saved) when is_tuple(Now), is_tuple(Saved), tuple_size(Now) =:= tuple_size(Saved) ->
    Children = with_processes(element(4, Saved), element(4, Now)),
    setelement(8, setelement(5, setelement(4, Saved, Children), element(5, Now)), element(8, Now));
supervisor_state(#{children := Children}, #{children := _} = Saved) ->
    %% Elixir's DynamicSupervisor.
    Saved#{children := Children};
supervisor_state(_, Saved) ->
    Saved.

with_processes({Ids, Saved}, {_, Now}) when is_map(Saved), is_map(Now) ->
    Keep = fun(Id, Child) ->
        case Now of
            #{Id := Other} -> setelement(2, Child, element(2, Other));
            %% Deleted meanwhile: what it was is over.
            #{} -> setelement(2, Child, undefined)
        end
    end,
    {Ids, maps:map(Keep, Saved)};
with_processes(Saved, _) ->
    Saved.

change_code(Pid, Module, Vsn, Extra, Timeout) ->
    try sys:change_code(Pid, Module, Vsn, Extra, timeout(Timeout)) of
        ok -> ok;
        {error, Reason} -> {error, Reason}
    catch
        exit:{timeout, _} -> {error, {no_answer_within, timeout(Timeout)}};
        _:Reason -> {error, Reason}
    end.

%% How people know a process.
name(Pid) when is_pid(Pid) ->
    case catch process_info(Pid, registered_name) of
        {registered_name, Name} -> io_lib:format("~tp", [Name]);
        _ -> io_lib:format("~p (~tp)", [Pid, callback(Pid)])
    end;
name(Other) ->
    io_lib:format("~tp", [Other]).

%% Processes that run code of a module that is neither its newest nor gone.
old_code(Module) ->
    case erlang:check_old_code(Module) of
        true -> [Pid || Pid <- processes(), Pid =/= self(), catch_check(Pid, Module)];
        false -> []
    end.

%% Their names.
in_old_code(Module) ->
    case old_code(Module) of
        [] -> "a process";
        Pids -> lists:join(", ", [name(Pid) || Pid <- Pids])
    end.

catch_check(Pid, Module) ->
    try
        erlang:check_process_code(Pid, Module) =:= true
    catch
        _:_ -> false
    end.
