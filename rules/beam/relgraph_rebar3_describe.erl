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

describe(State, #{out := Out, env := Profile} = Request) ->
    Root = rebar_state:dir(State),
    Projects = order(rebar_state:project_apps(State)),
    Dependencies = order(rebar_state:all_deps(State)),
    [ok = relgraph_recipe:write(filename:join(Out, file(App)), State, App) || App <- Dependencies ++ Projects],
    Names = [rebar_app_info:name(App) || App <- Dependencies],
    (general(Profile))#{
        applications =>
            [application(App, Root, Profile, {dependency, []}) || App <- Dependencies] ++
                [application(App, Root, Profile, {project, Names}) || App <- Projects],
        release => relgraph_relx:describe(State, Request)
    }.

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
