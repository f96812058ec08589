%% What one application is compiled from, as rebar3 found it: written by the description, read by the compilation, so that
%% rebar3 finds it once and what concerns another application is none of its business.
-module(relgraph_recipe).

-export([write/3, read/1]).

%% Keys of rebar.config that are about other things than compiling.
-define(OTHER, [
    alias,
    cover_enabled,
    cover_excl_mods,
    cover_export_enabled,
    cover_opts,
    ct_opts,
    dialyzer,
    dist_node,
    edoc_opts,
    escript_emu_args,
    escript_incl_apps,
    escript_incl_extra,
    escript_incl_priv,
    escript_main_app,
    escript_name,
    escript_shebang,
    eunit_opts,
    eunit_tests,
    profiles,
    relx,
    shell,
    xref_checks,
    xref_extra_paths,
    xref_ignores,
    xref_queries,
    xref_warnings
]).

%% Writes it to a file.
-spec write(file:name_all(), tuple(), tuple()) -> ok.
write(File, State, App) ->
    Own = rebar_app_info:opts(App, less(rebar_app_info:opts(App), App)),
    Lone = rebar_app_info:default(Own, dict:new()),
    file:write_file(File, relgraph_terms:encode({alone(State), Lone})).

%% The state of rebar3 and the application.
-spec read(file:name_all()) -> {tuple(), tuple()}.
read(File) ->
    {ok, Bytes} = file:read_file(File),
    binary_to_term(Bytes).

%% rebar3's state without applications.
alone(State0) ->
    State1 = rebar_state:project_apps(State0, []),
    State2 = rebar_state:deps_to_build(State1, []),
    State3 = rebar_state:all_deps(State2, []),
    State4 = rebar_state:lock(State3, []),
    State5 = rebar_state:default(State4, dict:new()),
    Opts = rebar_state:opts(State5),
    Keys = [Key || Key <- dict:fetch_keys(Opts), is_tuple(Key) orelse lists:member(Key, ?OTHER)],
    State6 = rebar_state:opts(State5, erase(Opts, Keys)),
    rebar_state:code_paths(State6, all_deps, []).

less(Opts, _App) ->
    erase(Opts, ?OTHER).

erase(Opts, Keys) ->
    lists:foldl(fun dict:erase/2, Opts, Keys).
