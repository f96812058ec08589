%% Says what a rebar3 project is, as rebar3 sees it.
-module(relgraph_rebar3_describe).

-export([run/1]).

%% Writes into `out' of the request what each application is compiled from (`APP.etf'), and answers with the applications in
%% the order in which rebar3 compiles them.
-spec run(map()) -> map().
run(#{out := Out} = Request) ->
    ok = filelib:ensure_dir(filename:join(Out, "x")),
    try relgraph_rebar3:run(Request) of
        State ->
            case relgraph_rebar3_source:missing() of
                [] -> describe(State, Request);
                Missing -> incomplete(Missing, Request)
            end
    catch
        Class:Reason:Stack ->
            %% What is missing may be the reason.
            case relgraph_rebar3_source:missing() of
                [] -> erlang:raise(Class, Reason, Stack);
                Missing -> incomplete(Missing, Request)
            end
    end.

incomplete(Missing, #{env := Profile}) ->
    (general(Profile))#{applications => [], release => null, missing => Missing}.

general(Profile) ->
    #{
        tool => rebar3,
        profile => Profile,
        stripping => relgraph_strip:recipe(["Attr"]),
        otp => list_to_binary(erlang:system_info(otp_release)),
        erts => list_to_binary(erlang:system_info(version))
    }.

describe(State0, #{out := Out, env := Profile} = Request) ->
    Root = rebar_state:dir(State0),
    Projects = order(rebar_state:project_apps(State0)),
    Dependencies = order(rebar_state:all_deps(State0)),
    Plugins = rebar_state:all_plugin_deps(State0),
    NoPlugins = lists:usort(plugins(State0, Projects ++ Dependencies)) -- [rebar_app_info:name(App) || App <- Plugins],
    State = relgraph_rebar3:without(NoPlugins, State0),
    [ok = relgraph_recipe:write(filename:join(Out, file(App)), State, App) || App <- Dependencies ++ Projects],
    #{pre := Pre, post := Post} = Hooks = relgraph_rebar3_hooks:asked_for(State),
    (Pre orelse Post) andalso (ok = relgraph_rebar3_hooks:write(filename:join(Out, "hooks.recipe"), State)),
    Names = [rebar_app_info:name(App) || App <- Dependencies],
    (general(Profile))#{
        applications =>
            [application(App, Root, Profile, {dependency, []}) || App <- Dependencies] ++
                [application(App, Root, Profile, {project, Names}) || App <- Projects],
        plugins => lists:usort([relative(rebar_app_info:out_dir(App), Root) || App <- Plugins]),
        no_plugins => NoPlugins,
        hooks => Hooks,
        release => relgraph_relx:describe(State, Request)
    }.

%% The names of the plugins that the project, its applications and their dependencies ask for.
plugins(State, Apps) ->
    Profiles = rebar_state:current_profiles(State),
    Own = [rebar_state:get(State, {Kind, Profile}, []) || Kind <- [plugins, project_plugins], Profile <- Profiles],
    Theirs = [rebar_app_info:get(App, {plugins, Profile}, []) || App <- Apps, Profile <- Profiles],
    rebar_state:deps_names(lists:append(Own ++ Theirs)).

order(Apps) ->
    case rebar_digraph:compile_order(Apps) of
        {ok, Ordered} -> Ordered;
        {error, Reason} -> relgraph_rebar3:say({error, {rebar_prv_install_deps, Reason}}, [])
    end.

file(App) ->
    [rebar_app_info:name(App), ".etf"].

%% An application of the project sees all dependencies.
application(App, Root, Profile, {Kind, Seen}) ->
    Needed =
        rebar_app_info:applications(App) ++
            rebar_app_info:included_applications(App) ++
            rebar_app_info:deps(App),
    Checkout = rebar_app_info:is_checkout(App),
    #{
        app => rebar_app_info:name(App),
        dest => relative(rebar_app_info:dir(App), Root),
        build => relative(rebar_app_info:out_dir(App), Root),
        manager => rebar3,
        env => Profile,
        scm => origin(Kind, Checkout),
        fetchable => Kind =:= dependency andalso not Checkout,
        compile => null,
        app_file => true,
        optional => false,
        runtime => true,
        from_umbrella => Kind =:= project,
        children => lists:usort([text(Name) || Name <- Needed] ++ Seen) -- [rebar_app_info:name(App)],
        system_env => #{},
        mix => <<>>,
        problem => null
    }.

origin(project, _) -> project;
origin(dependency, true) -> checkout;
origin(dependency, false) -> fetched.

relative(Path, Root) ->
    [Whole, Base] = [unicode:characters_to_binary(filename:absname(One)) || One <- [Path, Root]],
    case Whole of
        Base -> <<".">>;
        _ -> unicode:characters_to_binary(rebar_dir:make_relative_path(Path, Root))
    end.

text(Name) when is_atom(Name) -> atom_to_binary(Name);
text(Name) -> unicode:characters_to_binary(Name).
