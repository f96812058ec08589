%% The environment of applications: as it was, and what cannot be written into a file.
-module(relgraph_upgrade_environment).

-export([snapshot/2, readable/1, complete/1]).

%% Returns a function that puts everything back as it is now.
snapshot(Running, Root) ->
    Loaded = [App || {App, _, _} <- application:loaded_applications()],
    Values = [{App, application:get_all_env(App)} || App <- Loaded],
    Specs = specifications(filename:join([Root, "releases", Running, "start.boot"])),
    fun() ->
        %% Versions and lists of modules, which come with the environment of a file.
        _ = application_controller:change_application_data(Specs, Values),
        lists:foreach(fun restore/1, Values)
    end.

restore({App, Values}) ->
    [application:unset_env(App, Key) || {Key, _} <- application:get_all_env(App), not lists:keymember(Key, 1, Values)],
    [application:set_env(App, Key, Value) || {Key, Value} <- Values, application:get_env(App, Key) =/= {ok, Value}].

specifications(File) ->
    case file:read_file(File) of
        {ok, Bin} ->
            {script, _, Script} = binary_to_term(Bin),
            [App || {apply, {application, load, [App]}} <- Script] ++
                [App || {kernelProcess, application_controller, {application_controller, start, [App]}} <- Script];
        {error, _} ->
            []
    end.

%% Values that a file can hold.
readable(Values) ->
    [{Key, Value} || {Key, Value} <- Values, is_readable(Value)].

is_readable(Value) when is_pid(Value); is_port(Value); is_reference(Value); is_function(Value); is_bitstring(Value), not is_binary(Value) -> false;
is_readable([Head | Tail]) -> is_readable(Head) andalso is_readable(Tail);
is_readable(Value) when is_tuple(Value) -> is_readable(tuple_to_list(Value));
is_readable(Value) when is_map(Value) -> is_readable(maps:to_list(Value));
is_readable(_) -> true.

%% Puts in place what the file could not hold.
complete(Config) ->
    [application:set_env(App, Key, Value) || {App, Values} <- Config, {Key, Value} <- Values, not is_readable(Value)].
