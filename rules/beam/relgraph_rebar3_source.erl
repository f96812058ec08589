%% Where rebar3 takes dependencies from: what was fetched is taken as it is, and nothing is fetched.
-module(relgraph_rebar3_source).

-export([use/1]).
-export([init/2, lock/2, download/4, needs_update/2, make_vsn/2]).

%% Makes rebar3 use this for all kinds of sources. The request may say what the history of a folder gives as its version.
-spec use(map()) -> ok.
use(Request) ->
    _ = application:load(rebar),
    {ok, Resources} = application:get_env(rebar, resources),
    ok = application:set_env(rebar, resources, [{Type, ?MODULE} || {Type, _} <- Resources]),
    persistent_term:put(?MODULE, maps:get(history, Request, [])).

%% The callbacks of `rebar_resource_v2'.

-spec init(atom(), tuple()) -> {ok, tuple()}.
init(pkg, State) ->
    %% rebar3 asks its state for the names of repositories.
    {ok, Own} = rebar_pkg_resource:init(pkg, State),
    {ok, rebar_resource_v2:new(pkg, ?MODULE, rebar_resource_v2:find_resource_state(pkg, [Own]))};
init(Type, _State) ->
    {ok, rebar_resource_v2:new(Type, ?MODULE, #{})}.

-spec lock(tuple(), map()) -> tuple().
lock(App, _) ->
    rebar_app_info:source(App).

%% rebar3 would say of every failure that it failed to fetch and copy.
-spec download(string(), tuple(), tuple(), map()) -> no_return().
download(_Folder, App, _State, _) ->
    relgraph_rebar3_hex:missing(
        rebar_app_info:name(App),
        rebar_app_info:parent(App),
        rebar_app_info:source(App)
    ).

-spec needs_update(tuple(), map()) -> boolean().
needs_update(_App, _) ->
    false.

%% Steps do not see the history: what it says of this application was found out before.
-spec make_vsn(tuple(), map()) -> {plain, string()} | {error, string()}.
make_vsn(App, _) ->
    History = persistent_term:get(?MODULE, []),
    Key =
        case rebar_app_info:original_vsn(App) of
            {_, short} -> short;
            {_, long} -> long;
            _ -> version
        end,
    case lists:keyfind(Key, 1, History) of
        {Key, Version} -> {plain, unicode:characters_to_list(Version)};
        false -> {error, "the version is to come from the history, and there is none"}
    end.
