%% Where rebar3 takes dependencies from: what was fetched is taken as it is, and nothing is fetched. What is not there is
%% written down, and an empty application takes its place, so that rebar3 goes on and everything that is missing is known.
-module(relgraph_rebar3_source).

-export([use/1, missing/0, miss/2]).
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

%% What was asked for in vain: `#{app, at, parent, source}'.
-spec missing() -> [map()].
missing() ->
    lists:reverse(get_missing()).

get_missing() ->
    case get(?MODULE) of
        undefined -> [];
        Missing -> Missing
    end.

%% Writes down that a package is nowhere.
-spec miss(binary(), binary() | undefined) -> ok.
miss(Name, Version) ->
    From = ["Hex: ", Name, [[$\s, Version] || is_binary(Version)]],
    miss(Name, filename:join("_build/default/lib", Name), null, From).

miss(Name, At, Parent, Source) ->
    Missing = #{app => text(Name), at => text(At), parent => Parent, source => text(Source)},
    put(?MODULE, [Missing | [Other || #{app := App} = Other <- get_missing(), App =/= text(Name)]]),
    ok.

-spec download(string(), tuple(), tuple(), map()) -> ok | {error, term()}.
download(Folder, App, State, _) ->
    Name = rebar_app_info:name(App),
    case rebar_state:get(State, deps_dir, "lib") of
        "plugins" ->
            %% rebar3 goes on without a plugin.
            {error, {relgraph_rebar3, {no_plugin, Name}}};
        _ ->
            At = rebar_dir:make_relative_path(rebar_app_info:fetch_dir(App), rebar_dir:root_dir(State)),
            miss(Name, At, parent(rebar_app_info:parent(App)), origin(rebar_app_info:source(App))),
            empty(Folder, rebar_app_info:fetch_dir(App), rebar_app_info:dir(App), Name)
    end.

empty(Folder, Fetched, Dir, Name) ->
    Inner = lists:nthtail(length(filename:split(Fetched)), filename:split(unicode:characters_to_list(Dir))),
    Specification = {application, binary_to_atom(Name), [{vsn, "0"}, {applications, [kernel, stdlib]}]},
    File = filename:join([Folder | Inner] ++ ["src", <<Name/binary, ".app.src">>]),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, io_lib:format("~tp.~n", [Specification])).

parent(root) -> null;
parent(Name) -> text(Name).

origin(Source) when element(1, Source) =:= pkg -> ["Hex: ", element(2, Source), $\s, element(3, Source)];
origin(Source) -> io_lib:format("~0tp", [Source]).

text(Text) -> unicode:characters_to_binary(Text).

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
