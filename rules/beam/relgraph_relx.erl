%% Releases of rebar3 projects. rebar3 and relx do what `rebar3 release' does, but for one thing: no application is copied.
%%
%% rebar3 runs its own `release' with two modules replaced. Compiling does nothing, for every application is compiled; and
%% what rebar3 hands to relx comes here. relx's own modules then resolve the release and assemble it from folders in which
%% modules are empty files, because relgraph puts the real ones into the release by their digests. What remains in the output
%% folder are the files that relx makes: scripts, boot files, configuration, overlays.
-module(relgraph_relx).

-export([describe/2, run/1]).
%% What stands in for modules of rebar3.
-export([compile_init/1, compile_do/1, build_release/3]).

-define(REQUEST, relgraph_relx_request).
-define(ANSWER, relgraph_relx_answer).

%% What the project says about the release of the request: what must be known before anything is compiled. `null' when it says
%% nothing about releases at all.
-spec describe(tuple(), map()) -> map() | null.
describe(State, Request) ->
    case relx_config(State) of
        [] -> null;
        Config -> describe(State, Config, Request)
    end.

describe(State, Config0, Request) ->
    {Config, Libraries} = lists:mapfoldl(fun outside/2, #{}, [unversioned(Term) || Term <- Config0]),
    Named = [Name || Term <- Config0, {Name, _} <- declared(Term)],
    Name = maps:get(release, Request, undefined),
    Answer = #{
        releases => [atom_to_binary(N) || N <- ordered(Named)],
        history => lists:any(fun history/1, [Vsn || T <- Config0, {N, Vsn} <- declared(T), N =:= Name]),
        include_erts => false,
        system_libs => true,
        include_src => false,
        excluded => #{},
        strip => false
    },
    case lists:member(Name, Named) of
        true -> maps:merge(maps:merge(Answer, declaration(State, Config, Name)), Libraries);
        false -> Answer
    end.

declaration(State0, Config, Name) ->
    put(?REQUEST, {describe, Name}),
    stand_in(relx, [{build_release, 3, build_release}]),
    %% Hooks are for the release itself.
    Bare = lists:foldl(
        fun(Key, State) -> rebar_state:set(State, Key, []) end,
        rebar_state:all_deps(rebar_state:project_apps(State0, []), []),
        [pre_hooks, post_hooks, provider_hooks]
    ),
    State = rebar_state:set(Bare, relx, Config),
    release(rebar_state:command_parsed_args(State, {[{relname, atom_to_list(Name)}], []})),
    erase(?ANSWER).

release(State) ->
    try rebar_relx:do(release, State) of
        {ok, _} -> ok;
        Error -> relgraph_rebar3:say(Error, [])
    catch
        error:Reason:Stack -> relgraph_rebar3:say(Reason, {error, Stack})
    end.

%% What rebar3 takes for the configuration of relx.
relx_config(State) ->
    case rebar_state:get(State, relx, []) of
        [] ->
            File = filename:join(rebar_dir:root_dir(State), "relx.config"),
            case file:consult(File) of
                {ok, Config} ->
                    %% rebar3 warns where both are there, and finds the terms in its state from now on.
                    ok = file:delete(File),
                    Config;
                {error, enoent} -> [];
                {error, Reason} -> throw({relgraph, ["relx.config:", file:format_error(Reason)]})
            end;
        Config ->
            Config
    end.

%% Names and versions that a term of the configuration declares.
declared(Term) when is_tuple(Term), element(1, Term) =:= release, tuple_size(Term) > 2 ->
    case element(2, Term) of
        {Name, Vsn} -> [{Name, Vsn}];
        {Name, Vsn, _Extend} -> [{Name, Vsn}];
        _ -> []
    end;
declared(_) ->
    [].

%% A version may come from a program, which is not asked twice.
unversioned(Term) when is_tuple(Term), element(1, Term) =:= release, tuple_size(Term) > 2 ->
    case element(2, Term) of
        {Name, _} -> setelement(2, Term, {Name, "0"});
        {Name, _, {extend, {Other, _}}} -> setelement(2, Term, {Name, "0", {extend, {Other, "0"}}});
        {Name, _, Extend} -> setelement(2, Term, {Name, "0", Extend});
        _ -> Term
    end;
unversioned(Term) ->
    Term.

history(Vsn) when Vsn =:= git; Vsn =:= "git"; Vsn =:= semver; Vsn =:= "semver" -> true;
history({cmd, Command}) -> string:find(Command, "git") =/= nomatch;
history({Kind, _}) -> lists:member(Kind, [git, semver]);
history(_) -> false.

%% Folders of other installations are not there to be looked at: they are said, and left out.
outside({include_erts, Path}, Found) when is_list(Path) ->
    {{include_erts, true}, Found#{include_erts => unicode:characters_to_binary(Path)}};
outside({system_libs, Path}, Found) when is_list(Path) ->
    {{system_libs, true}, Found#{system_libs => unicode:characters_to_binary(Path)}};
outside(Term, Found) when is_tuple(Term), element(1, Term) =:= release, tuple_size(Term) > 3 ->
    %% The configuration that is the release's own comes last.
    {Own, More} = lists:mapfoldl(fun outside/2, Found, element(tuple_size(Term), Term)),
    {setelement(tuple_size(Term), Term, Own), More};
outside(Term, Found) ->
    {Term, Found}.

ordered([]) -> [];
ordered([Name | Rest]) -> [Name | ordered([Other || Other <- Rest, Other =/= Name])].

%% Makes the release. What relx makes is left in the folder `out'.
-spec run(map()) -> map().
run(#{release := Name} = Request) ->
    put(?REQUEST, {build, Request}),
    _ = application:load(rebar),
    {ok, Providers} = application:get_env(rebar, providers),
    Replaced = [replaced(Provider) || Provider <- Providers],
    ok = application:set_env(rebar, providers, Replaced),
    stand_in(relx, [{build_release, 3, build_release}]),
    stand_in(relgraph_compiled, [{init, 1, compile_init}, {do, 1, compile_do}]),
    ok = relgraph_rebar3:run(Request, ["release", "-n", atom_to_list(Name)]),
    erase(?ANSWER).

replaced(rebar_prv_compile) -> relgraph_compiled;
replaced(Provider) -> Provider.

%% A module whose functions are those of this one.
stand_in(Module, Functions) ->
    Forms =
        [
            {attribute, 1, module, Module},
            {attribute, 1, export, [{Name, Arity} || {Name, Arity, _} <- Functions]}
        ] ++
            [calls(Name, Arity, Own) || {Name, Arity, Own} <- Functions],
    {ok, Module, Binary} = compile:forms(Forms),
    code:purge(Module),
    {module, Module} = code:load_binary(Module, atom_to_list(Module), Binary),
    ok.

calls(Name, Arity, Own) ->
    Arguments = [{var, 1, list_to_atom("A" ++ integer_to_list(N))} || N <- lists:seq(1, Arity)],
    Call = {call, 1, {remote, 1, {atom, 1, ?MODULE}, {atom, 1, Own}}, Arguments},
    {function, 1, Name, Arity, [{clause, 1, Arguments, [], [Call]}]}.

%% In the place of rebar3's `compile'.
-spec compile_init(tuple()) -> {ok, tuple()}.
compile_init(State) ->
    Provider = providers:create([
        {name, compile},
        {module, relgraph_compiled},
        {bare, true},
        {deps, [install_deps]},
        {example, ""},
        {short_desc, ""},
        {desc, ""},
        {opts, []}
    ]),
    {ok, rebar_state:add_provider(State, Provider)}.

-spec compile_do(tuple()) -> {ok, tuple()}.
compile_do(State0) ->
    State = rebar_state:merge_all_deps(State0, [compiled(App) || App <- rebar_state:all_deps(State0)]),
    Apps = [compiled(App) || App <- rebar_state:project_apps(State)],
    {Config, _} = lists:mapfoldl(fun outside/2, #{}, relx_config(State)),
    {ok, rebar_state:set(rebar_state:project_apps(State, Apps), relx, Config)}.

%% The version of an application is what its compilation wrote.
compiled(App) ->
    Name = binary_to_list(rebar_app_info:name(App)),
    File = filename:join([rebar_app_info:out_dir(App), "ebin", Name ++ ".app"]),
    case file:consult(File) of
        {ok, [{application, _, Properties}]} ->
            rebar_app_info:vsn(App, proplists:get_value(vsn, Properties));
        {error, _} ->
            App
    end.

%% In the place of relx.
-spec build_release(atom(), map(), tuple()) -> {ok, tuple()}.
build_release(Name, Apps, State) ->
    case get(?REQUEST) of
        {describe, Name} -> put(?ANSWER, declaration(configured(Name, State)));
        {build, Request} -> put(?ANSWER, build(configured(Name, State), Apps, Request))
    end,
    {ok, State}.

%% The newest version of the release, and the state with the configuration that is the release's own.
configured(Name, State) ->
    Versions = [Vsn || {Other, Vsn} <- maps:keys(rlx_state:configured_releases(State)), Other =:= Name],
    Newer = fun(A, B) -> rlx_util:parsed_vsn_lte(rlx_util:parse_vsn(B), rlx_util:parse_vsn(A)) end,
    case lists:sort(Newer, Versions) of
        [Vsn | _] ->
            Release = rlx_state:get_configured_release(State, Name, Vsn),
            {ok, Own} = lists:foldl(fun rlx_config:load/2, {ok, State}, rlx_release:config(Release)),
            {Release, Own, State};
        [] ->
            throw({relgraph, io_lib:format("relx is told of no release `~ts'", [Name])})
    end.

declaration({_Release, State, _}) ->
    Strip = rlx_state:debug_info(State) =:= strip andalso rlx_state:mode(State) =/= dev,
    #{
        include_erts => rlx_state:include_erts(State),
        system_libs => rlx_state:system_libs(State),
        include_src => rlx_state:include_src(State) =/= false,
        excluded => maps:from_list([
            {atom_to_binary(App), [atom_to_binary(Module) || Module <- Modules]}
         || {App, Modules} <- rlx_state:exclude_modules(State)
        ]),
        strip => Strip
    }.

build({Release, _, State0}, Apps, #{prefix := Prefix} = Request) ->
    {ok, Resolved, State1} = rlx_resolve:solve_release(
        wanted(Release, Request),
        rlx_state:available_apps(settings(State0, Request), Apps)
    ),
    Name = rlx_release:name(Resolved),
    State = settings(State1, Request),
    Applications = rlx_release:applications(Resolved),
    Stubs = filename:join(to_list(Prefix), "stubs"),
    {ok, Stubbed} = rlx_release:realize(Resolved, [stub(App, Stubs, State, Request) || App <- Applications]),
    Dir = filename:join(rlx_state:base_output_dir(State), Name),
    {ok, _} = rlx_assemble:do(Stubbed, assembling(State, Resolved, Stubs)),
    Warnings = [warning(Unknown) || Unknown <- unknown_variables(State, Resolved)],
    materialise(State, Resolved, Dir),
    _ = rlx_overlay:render(Resolved, State),
    clean(Dir, Applications),
    #{
        name => atom_to_binary(Name),
        version => text(rlx_release:vsn(Resolved)),
        erts_version => text(rlx_release:erts(Resolved)),
        applications => [
            application(App, Specification, Prefix)
         || {App, Specification} <- lists:zip(Applications, rlx_release:app_specs(Resolved))
        ],
        runtime_config => null,
        reboot => false,
        overlays => [],
        templates => <<>>,
        dir => text(Dir),
        warnings => Warnings
    }.

%% What release.yaml says wins.
wanted(Release, #{applications := Modes} = Request) ->
    Version =
        case Request of
            #{version := Said} -> unicode:characters_to_list(Said);
            _ -> rlx_release:vsn(Release)
        end,
    Goals = lists:foldl(
        fun({Name, _} = Goal, All) -> lists:keystore(Name, 1, All, Goal) end,
        rlx_release:goals(Release),
        rlx_release:parse_goals(Modes)
    ),
    New = rlx_release:parsed_goals(rlx_release:new(rlx_release:name(Release), Version), Goals),
    rlx_release:config(rlx_release:erts(New, rlx_release:erts(Release)), rlx_release:config(Release)).

%% A release of relgraph is complete wherever it is put: nothing in it is a link to the folder that it was built in.
settings(State0, #{include_erts := Erts} = Request) ->
    State = rlx_state:include_erts(rlx_state:mode(State0, prod), erts(Erts)),
    case Request of
        #{libraries := Folder} -> rlx_state:system_libs(State, unicode:characters_to_list(Folder));
        _ -> State
    end.

erts(Path) when is_binary(Path) -> unicode:characters_to_list(Path);
erts(Wanted) -> Wanted.

%% What relx is not to do: modules are stripped, the runtime is included, and calls are checked in other steps.
assembling(State0, Release, Stubs) ->
    State1 = rlx_state:debug_info(State0, keep),
    State = rlx_state:check_for_undefined_functions(State1, false),
    case rlx_state:include_erts(State) of
        false ->
            State;
        _ ->
            Root = filename:join(Stubs, "runtime"),
            Bin = filename:join([Root, "erts-" ++ rlx_release:erts(Release), "bin"]),
            [touch(filename:join(Bin, File)) || File <- ["erl", "dyn_erl"]],
            rlx_state:include_erts(State, Root)
    end.

%% A folder with the specification of an application and with empty modules. What is neither compiled here nor part of OTP is
%% nobody else's to copy, and stays as it is; so does what relx is told not to copy.
stub(#{name := Name, dir := Dir} = App, Stubs, State, #{prefix := Prefix} = Request) ->
    Ours = lists:keymember(Name, 1, maps:get(compiled, Request)),
    Otp = lists:any(fun(Root) -> below(Dir, filename:join(Prefix, Root)) end, ["otp", "runtime"]),
    case Ours orelse (Otp andalso rlx_state:system_libs(State) =/= false) of
        true ->
            Stub = filename:join(Stubs, atom_to_list(Name)),
            Ebin = filename:join(to_list(Dir), "ebin"),
            {ok, Files} = file:list_dir(Ebin),
            [stub_file(File, Ebin, filename:join(Stub, "ebin")) || File <- Files],
            App#{dir := unicode:characters_to_binary(Stub)};
        false ->
            App
    end.

stub_file(File, From, To) ->
    case filename:extension(File) of
        ".beam" ->
            touch(filename:join(To, File));
        ".app" ->
            ok = filelib:ensure_dir(filename:join(To, File)),
            {ok, _} = file:copy(filename:join(From, File), filename:join(To, File)),
            ok;
        _ ->
            ok
    end.

touch(File) ->
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, <<>>).

%% An overlay may read or change what lies in the release: that is put there, where otherwise relgraph would do it later.
materialise(State, Release, Dir) ->
    Vars = rlx_overlay:generate_overlay_vars(State, Release),
    Root = rlx_state:root_dir(State),
    Sources =
        [filename:absname(rendered(Vars, From), Root) || {Kind, From, _} <- rlx_state:overlay(State), Kind =/= chmod] ++
            [filename:absname(rendered(Vars, Path), Dir) || {chmod, _, Path} <- rlx_state:overlay(State)],
    Places =
        [
            {filename:join([Dir, "lib", atom_to_list(Name) ++ "-" ++ Vsn]), to_list(From)}
         || #{name := Name, vsn := Vsn, dir := From} <- rlx_release:applications(Release),
            rlx_state:system_libs(State) =/= false orelse not below(From, code:lib_dir())
        ] ++
            [
                {filename:join([Dir, "erts-" ++ Erts]), filename:join(code:root_dir(), "erts-" ++ Erts)}
             || rlx_state:include_erts(State) =/= false, Erts <- [rlx_release:erts(Release)]
            ],
    [put_there(fixed(Source), Place) || Source <- Sources, Place <- Places],
    ok.

rendered(Vars, Path) ->
    to_list(rlx_overlay:render_string(Vars, unicode:characters_to_binary(Path))).

%% The part of a path before the first wildcard.
fixed(Path) ->
    {Plain, _} = lists:splitwith(
        fun(Part) -> not lists:any(fun(Char) -> lists:member(Char, "*?[{") end, Part) end, filename:split(Path)
    ),
    filename:join(Plain).

put_there(Source, {To, From}) ->
    case {below(Source, To), below(To, Source)} of
        {true, _} ->
            Rest = lists:nthtail(length(filename:split(To)), filename:split(Source)),
            copy(filename:join([From | Rest]), Source);
        {false, true} ->
            [copy(filename:join(From, Part), filename:join(To, Part)) || Part <- ["bin", "ebin", "include", "priv"]];
        {false, false} ->
            ok
    end.

copy(From, To) ->
    case filelib:is_file(From) of
        true ->
            ok = filelib:ensure_dir(To),
            rlx_file_utils:copy(From, To, [recursive, {file_info, [mode, time]}]);
        false ->
            ok
    end.

%% Takes away what stands for something else.
clean(Dir, Applications) ->
    [
        clean_empty(filename:join([Dir, "lib", atom_to_list(Name) ++ "-" ++ Vsn, "ebin"]))
     || #{name := Name, vsn := Vsn} <- Applications
    ],
    [clean_empty(filename:join(Bin, "")) || Bin <- filelib:wildcard(filename:join(Dir, "erts-*/bin"))],
    ok.

clean_empty(Folder) ->
    [file:delete(File) || File <- filelib:wildcard(filename:join(Folder, "*")), filelib:file_size(File) =:= 0].

%% bbmustache writes nothing where it knows no variable. Inside of a section, names may be the section's own.
unknown_variables(State, Release) ->
    Vars = rlx_overlay:generate_overlay_vars(State, Release),
    Root = rlx_state:root_dir(State),
    lists:append([
        unknown(filename:absname(rendered(Vars, From), Root), rendered(Vars, From), Vars)
     || {template, From, _} <- rlx_state:overlay(State)
    ]).

unknown(File, Name, Vars) ->
    case file:read_file(File) of
        {ok, Text} ->
            Lines = lists:enumerate(binary:split(Text, <<"\n">>, [global])),
            Sections = binary:match(Text, [<<"{{#">>, <<"{{^">>]) =/= nomatch,
            [
                {Name, N, Var}
             || not Sections, {N, Line} <- Lines, Var <- variables(Line), not known(Var, Vars)
            ];
        {error, _} ->
            []
    end.

warning({File, Line, Variable}) ->
    Form = "~ts:~b: there is no variable `~ts`: nothing is written in its place",
    text(io_lib:format(Form, [File, Line, Variable])).

variables(Line) ->
    case re:run(Line, "{{[{&]?\\s*([A-Za-z0-9_@]+)", [global, {capture, [1], binary}]) of
        {match, Found} -> lists:append(Found);
        nomatch -> []
    end.

known(Var, Vars) ->
    lists:any(fun(Key) -> is_atom(Key) andalso atom_to_binary(Key) =:= Var end, proplists:get_keys(Vars)).

application(#{name := Name, vsn := Vsn, dir := Dir}, Specification, Prefix) ->
    Mode =
        case Specification of
            {_, _, Type} when is_atom(Type) -> Type;
            {_, _, Type, _} -> Type;
            _ -> permanent
        end,
    #{
        name => atom_to_binary(Name),
        version => text(Vsn),
        mode => Mode,
        otp => lists:any(fun(Root) -> below(Dir, filename:join(Prefix, Root)) end, ["otp", "runtime"]),
        path => text(Dir)
    }.

below(Path, Folder) ->
    lists:prefix(filename:split(to_list(Folder)), filename:split(to_list(Path))).

to_list(Path) -> unicode:characters_to_list(Path).

text(Text) -> unicode:characters_to_binary(Text).
