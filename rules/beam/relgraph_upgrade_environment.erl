%% The environment of applications: as it was, and what cannot be written into a file.
-module(relgraph_upgrade_environment).

-export([snapshot/2, readable/1, complete/1, by_hand/3]).

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

%% What was set while the system ran: neither the files of its version nor its configuration say it. It stays.
by_hand(Running, Config, Root) ->
    Specs = specifications(filename:join([Root, "releases", Running, "start.boot"])),
    Files = [{App, proplists:get_value(env, Keys, [])} || {application, App, Keys} <- Specs],
    Known = fun(App, Key) ->
        Key =:= included_applications orelse has(App, Key, Files) orelse has(App, Key, Config) orelse by_flag(App, Key)
    end,
    [
        {App, Kept}
     || {App, _, _} <- application:loaded_applications(),
        lists:keymember(App, 2, Specs),
        Kept <- [[Value || {Key, _} = Value <- application:get_all_env(App), not Known(App, Key)]],
        Kept =/= []
    ].

has(App, Key, All) ->
    lists:keymember(Key, 1, proplists:get_value(App, All, [])).

%% `-App Key Value' on the command line.
by_flag(App, Key) ->
    case init:get_argument(App) of
        {ok, Flags} -> lists:any(fun(Words) -> lists:member(atom_to_list(Key), Words) end, Flags);
        error -> false
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

is_readable(Value) when is_pid(Value); is_port(Value); is_reference(Value); is_function(Value) -> false;
is_readable([Head | Tail]) -> is_readable(Head) andalso is_readable(Tail);
is_readable(Value) when is_tuple(Value) -> is_readable(tuple_to_list(Value));
is_readable(Value) when is_map(Value) -> is_readable(maps:to_list(Value));
is_readable(_) -> true.

%% Puts in place what the file could not hold, and what was set by hand and is said by nobody else.
complete(#{values := Config, by_hand := ByHand}) ->
    [application:set_env(App, Key, Value) || {App, Values} <- Config, {Key, Value} <- Values, not is_readable(Value)],
    [
        application:set_env(App, Key, Value)
     || {App, Values} <- ByHand,
        {Key, Value} <- Values,
        application:get_env(App, Key) =:= undefined
    ].
