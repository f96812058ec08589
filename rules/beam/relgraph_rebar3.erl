%% rebar3 in this VM: a provider that runs after rebar3 has found applications and dependencies.
%%
%% rebar3 itself reads the configuration, applies profiles and overrides, finds applications and puts them in order. What it
%% knows then is handed to the provider's caller.
-module(relgraph_rebar3).

-export([run/1, run/2, say/2, without/2]).
-export([init/1, do/1, format_error/1]).

%% Runs rebar3 in the profile that the request names, up to the point where everything is known and nothing is compiled.
-spec run(map()) -> tuple().
run(Request) ->
    _ = application:load(rebar),
    {ok, Providers} = application:get_env(rebar, providers),
    ok = application:set_env(rebar, providers, Providers ++ [?MODULE]),
    run(Request, ["relgraph"]),
    erase(relgraph_state).

%% Runs a command of rebar3 in the profile that the request names.
-spec run(map(), [string()]) -> ok.
run(#{env := Profile} = Request, Command) ->
    ok = relgraph_rebar3_source:use(Request),
    Whole =
        case Profile of
            default -> Command;
            _ -> ["as", atom_to_list(Profile) | Command]
        end,
    try rebar3:run(Whole) of
        {ok, _} -> ok;
        Error -> ended(Error)
    catch
        Class:Reason:Stack when Class =/= exit -> say(Reason, {Class, Stack})
    end.

%% rebar3 ends at the first package that no repository has.
-spec ended(term()) -> no_return().
ended({error, {_, {missing_package, {Name, Version, _}}}} = Error) ->
    nowhere(Name, Version, Error);
ended({error, {_, {missing_package, Name, Version}}} = Error) ->
    nowhere(Name, Version, Error);
ended({error, {_, {missing_package, Name}}} = Error) ->
    nowhere(Name, undefined, Error);
ended(Error) ->
    say(Error, []).

-spec nowhere(term(), term(), term()) -> no_return().
nowhere(Name, Version, Error) when is_binary(Name) ->
    ok = relgraph_rebar3_source:miss(Name, Version),
    say(Error, []);
nowhere(_, _, Error) ->
    say(Error, []).

%% Ends the request with what rebar3 says about an error.
-spec say(term(), term()) -> no_return().
say(rebar_abort, _) ->
    exit({shutdown, 1});
say({error, rebar_abort}, _) ->
    exit({shutdown, 1});
say({error, {rebar_hooks, {bad_provider, _, _, _}} = Reason}, _) ->
    Missing =
        case get(relgraph_no_plugins) of
            Names when is_list(Names), Names =/= [] ->
                ["\nplugins that are asked for and not there: ", lists:join(", ", Names)];
            _ ->
                []
        end,
    Hint = "\nhint: a plugin brings it: `rebar3 get-deps` fetches the plugins of a project",
    throw({relgraph, [told(rebar_hooks:format_error(element(2, Reason))), Missing, Hint]});
say({error, {Module, Reason}}, Where) when is_atom(Module) ->
    _ = code:ensure_loaded(Module),
    case erlang:function_exported(Module, format_error, 1) of
        true -> throw({relgraph, told(Module:format_error(Reason))});
        false -> unknown({Module, Reason}, Where)
    end;
say({error, Text}, Where) when is_list(Text) ->
    case io_lib:deep_char_list(Text) of
        true -> throw({relgraph, told(Text)});
        false -> unknown(Text, Where)
    end;
say(Reason, Where) ->
    unknown(Reason, Where).

%% The state of rebar3, with the names of plugins that are not there.
-spec without([binary()], tuple()) -> tuple().
without([], State) -> State;
without(NoPlugins, State) -> rebar_state:set(State, relgraph_no_plugins, NoPlugins).

%% The user knows no path of the sandbox.
told(Text) ->
    {ok, Cwd} = file:get_cwd(),
    ["===> ", string:replace(unicode:characters_to_binary(Text), unicode:characters_to_binary([Cwd, $/]), "", all)].

unknown(Reason, {Class, Stack}) ->
    erlang:raise(Class, Reason, Stack);
unknown(Reason, _) ->
    error(Reason).

%% The provider.

-spec init(tuple()) -> {ok, tuple()}.
init(State) ->
    Provider = providers:create([
        {name, relgraph},
        {module, ?MODULE},
        {bare, true},
        {deps, [install_deps]},
        {example, ""},
        {short_desc, ""},
        {desc, ""},
        {opts, []}
    ]),
    {ok, rebar_state:add_provider(State, Provider)}.

-spec do(tuple()) -> {ok, tuple()}.
do(State) ->
    put(relgraph_state, State),
    {ok, State}.

-spec format_error(term()) -> iolist().
format_error(Reason) ->
    io_lib:format("~tp", [Reason]).
