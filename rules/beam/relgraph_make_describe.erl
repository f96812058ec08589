%% Says what an erlang.mk project is, as make sees it.
-module(relgraph_make_describe).

-export([run/1]).

%% What is asked of each Makefile. Names of dependencies may differ from those of their folders.
-define(ASKED, [
    {project, "$(PROJECT)"},
    {needs, "$(ALL_DEPS_DIRS)"},
    {plugins, "$(DEP_EARLY_PLUGINS) $(DEP_PLUGINS)"},
    {otp, "$(OTP_DEPS) $(LOCAL_DEPS)"},
    {inner, "$(ALL_APPS_DIRS)"},
    {local, "$(LOCAL_DEPS_DIRS)"},
    {folder, "$(DEPS_DIR)"},
    {makefiles, "$(MAKEFILE_LIST)"}
]).

-record(asking, {root, env, keep, found = #{}, order = []}).

%% Answers with the applications, each after those it needs, and writes how each is built into `out' (`APP.etf').
-spec run(map()) -> map().
run(#{cwd := Cwd, out := Out, env := Profile} = Request) ->
    Root = unicode:characters_to_list(Cwd),
    Env = env(Request),
    {Values, Exported} = answer(Root, Root, root, Env),
    Passed = [{Name, Value} || {Name, Value} <- maps:to_list(Exported), Value =/= os:getenv(Name, "")],
    Asking0 = #asking{root = Root, env = Passed, keep = Env},
    Folders = folders(needs, Values) ++ plugins(Values),
    Name = maps:get(project, Values, "the project"),
    Asking1 = lists:foldl(fun(Folder, Acc) -> visit(Folder, dep, Name, Acc) end, Asking0, Folders),
    Asking2 = lists:foldl(fun(Folder, Acc) -> visit(Folder, app, Name, Acc) end, Asking1, folders(inner, Values)),
    All = maps:put(Root, {root, Values}, Asking2#asking.found),
    Own = [Root || filelib:is_dir(filename:join(Root, "src"))],
    Order = lists:reverse(Asking2#asking.order) ++ Own,
    ok = filelib:ensure_dir(filename:join(Out, "x")),
    [
        ok = file:write_file(filename:join(Out, name(Folder, All) ++ ".etf"), relgraph_terms:encode(recipe(Folder, All, Passed)))
     || Folder <- Order
    ],
    #{
        tool => <<"erlang.mk">>,
        profile => Profile,
        applications => [application(Folder, Root, All, Order, Passed, Profile) || Folder <- Order],
        shared => shared(Order, All, Root),
        beside => beside(Values, Root),
        release => null,
        stripping => relgraph_strip:recipe(["Attr"]),
        otp => list_to_binary(erlang:system_info(otp_release)),
        erts => list_to_binary(erlang:system_info(version))
    }.

%% The variables that the user sets and lets through, and no other of his.
env(#{keep := Keep}) ->
    Known = [unicode:characters_to_list(Name) || Name <- Keep],
    [{Name, false} || {Name, _} <- os:env(), not lists:member(Name, Known)].

visit(Folder, Kind, Parent, #asking{found = Found, root = Root} = Asking) ->
    case is_map_key(Folder, Found) of
        true ->
            Asking;
        false ->
            filelib:is_dir(Folder) orelse
                relgraph_make:say(
                    "dependency `~ts` of `~ts` is not there: no folder ~ts~n"
                    "hint: run `make deps` to fetch it",
                    [filename:basename(Folder), Parent, relative(Folder, Root)]
                ),
            {Values, _} = answer(Folder, Root, Kind, Asking#asking.keep ++ Asking#asking.env),
            Asking1 = Asking#asking{found = Found#{Folder => {Kind, Values}}},
            Name = maps:get(project, Values, filename:basename(Folder)),
            Needed = folders(needs, Values) ++ plugins(Values),
            Asking2 = lists:foldl(fun(Needs, Acc) -> visit(Needs, dep, Name, Acc) end, Asking1, Needed),
            Asking3 = lists:foldl(
                fun(App, Acc) -> visit(App, within(Kind), Name, Acc) end, Asking2, local(Kind, Folder, Values)
            ),
            Asking3#asking{order = [Folder | Asking3#asking.order]}
    end.

answer(Folder, Root, Kind, Env) ->
    %% What an earlier make left would have it begin to build.
    [file:delete(File) || File <- filelib:wildcard(filename:join(Folder, "*.d"))],
    filelib:is_regular(filename:join(Folder, "Makefile")) orelse
        filelib:is_regular(filename:join(Folder, "makefile")) orelse
        filelib:is_regular(filename:join(Folder, "GNUmakefile")) orelse
        relgraph_make:say("no Makefile in ~ts: `make deps` writes one where a dependency has none", [relative(Folder, Root)]),
    case relgraph_make:ask(Folder, kind(Kind), Env, ?ASKED) of
        {failed, Said} ->
            relgraph_make:say(
                "make cannot say what ~ts is:~n~ts~nhint: dependencies are not fetched while building: run `make deps` first",
                [relative(Folder, Root), Said]
            );
        Answer ->
            Answer
    end.

%% What make hands down to those that it calls: an application in the folder of a dependency is told of both.
kind(root) -> ["SKIP_DEPS=1"];
kind(dep) -> ["SKIP_DEPS=1", "IS_DEP=1"];
kind(app) -> ["SKIP_DEPS=1", "IS_APP=1"];
kind(app_of_dep) -> ["SKIP_DEPS=1", "IS_DEP=1", "IS_APP=1"].

within(dep) -> app_of_dep;
within(app_of_dep) -> app_of_dep;
within(_) -> app.

recipe(Folder, All, Env) ->
    {Kind, _} = maps:get(Folder, All),
    %% The goal of the project itself would be its release.
    Targets =
        case Kind of
            root -> ["app"];
            _ -> []
        end,
    #{arguments => kind(Kind), targets => Targets, env => Env}.

name(Folder, All) ->
    case maps:get(Folder, All) of
        {_, #{project := [_ | _] = Name}} -> Name;
        _ -> filename:basename(Folder)
    end.

application(Folder, Root, All, Order, Env, Profile) ->
    {Kind, Values} = maps:get(Folder, All),
    {_, Top} = maps:get(Root, All),
    %% An application in `apps/' is built when the dependencies of the project are.
    Given =
        case lists:member(Folder, folders(inner, Top)) of
            true -> folders(needs, Top) ++ plugins(Top);
            false -> []
        end,
    Needed = folders(needs, Values) ++ plugins(Values) ++ local(Kind, Folder, Values) ++ Given,
    Children = [name(Needs, All) || Needs <- lists:usort(Needed), Needs =/= Folder, lists:member(Needs, Order)],
    #{
        app => text(name(Folder, All)),
        dest => text(relative(Folder, Root)),
        build => text(relative(Folder, Root)),
        manager => make,
        env => Profile,
        scm => origin(Kind, Folder, Values, Root),
        fetchable => Kind =:= dep,
        compile => null,
        app_file => filelib:is_dir(filename:join(Folder, "src")),
        optional => false,
        runtime => true,
        from_umbrella => Kind =:= app orelse Kind =:= app_of_dep,
        children => [text(Name) || Name <- Children ++ string:lexemes(maps:get(otp, Values, ""), " ")],
        system_env => maps:from_list([{text(Name), text(Value)} || {Name, Value} <- Env]),
        mix => <<>>,
        problem => null
    }.

%% Applications in `apps/'. A dependency is told of those of the project, and builds its own.
local(root, _, Values) ->
    folders(inner, Values);
local(Kind, _, Values) when Kind =:= app; Kind =:= app_of_dep ->
    folders(local, Values);
local(dep, Folder, Values) ->
    Own = [App || App <- folders(inner, Values), lists:prefix(Folder ++ "/", App)],
    lists:usort(folders(local, Values) ++ Own).

origin(root, _, _, _) -> project;
origin(app_of_dep, _, _, _) -> fetched;
origin(app, Folder, _, Root) ->
    case lists:prefix(filename:join(Root, "apps") ++ "/", Folder) of
        true -> project;
        false -> fetched
    end;
origin(dep, _, _, _) -> fetched.

%% Makefiles that are not in the folder of the application that includes them.
shared(Order, All, Root) ->
    lists:usort([
        text(relative(File, Root))
     || Folder <- Order,
        {_, #{makefiles := List}} <- [maps:get(Folder, All)],
        Name <- string:lexemes(List, " "),
        File <- [absolute(Name, Folder)],
        not lists:prefix(Folder ++ "/", File),
        lists:prefix(Root ++ "/", File),
        filelib:is_regular(File)
    ]).

%% Hidden folders beside the dependencies: what Mix needs to build one of them without the network.
beside(#{folder := Deps}, Root) ->
    [text(relative(Folder, Root)) || Folder <- filelib:wildcard(filename:join(Deps, ".*")), filelib:is_dir(Folder)];
beside(_, _) ->
    [].

folders(Key, Values) ->
    [absolute(Name, "/") || Name <- string:lexemes(maps:get(Key, Values, ""), " \t")].

%% `rabbit_common/mk/rabbitmq-build.mk': a file of a dependency.
plugins(#{plugins := Plugins, folder := Deps}) ->
    lists:usort([
        filename:join(absolute(Deps, "/"), hd(filename:split(Plugin)))
     || Plugin <- string:lexemes(Plugins, " \t"), lists:member($/, Plugin)
    ]);
plugins(_) ->
    [].

%% Without `..' in it.
absolute(Path, From) ->
    Parts = lists:foldl(
        fun
            ("..", [_ | [_ | _] = Above]) -> Above;
            (".", Above) -> Above;
            (Part, Above) -> [Part | Above]
        end,
        [],
        filename:split(filename:absname(Path, From))
    ),
    filename:join(lists:reverse(Parts)).

relative(Path, Root) ->
    case string:prefix(Path, Root) of
        nomatch -> Path;
        [] -> ".";
        "/" ++ Short -> Short
    end.

text(Text) -> unicode:characters_to_binary(Text).
