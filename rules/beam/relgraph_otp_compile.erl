%% Compiles one application of a project that has no tool.
-module(relgraph_otp_compile).

-export([run/1]).

%% Compiles the application in `dest' into the folder `build': its grammars and modules, those that others need first; what the
%% Makefile of `c_src' makes; its specification.
-spec run(map()) -> map().
run(#{app := Name, dest := Dest0, build := Build0, code_paths := Paths, beside := Beside}) ->
    ok = code:add_pathsa([unicode:characters_to_list(Path) || Path <- Paths]),
    Dest = unicode:characters_to_list(Dest0),
    Build = unicode:characters_to_list(Build0),
    %% Headers of another application are looked for among its sources.
    ok = code:add_pathsz([unicode:characters_to_list(Path) || Path <- Beside] ++ [Dest]),
    ok = file:set_cwd(Dest),
    Ebin = filename:join(Build, "ebin"),
    ok = filelib:ensure_dir(filename:join(Ebin, "x")),
    true = code:add_patha(Ebin),
    native(),
    [grammar(File) || File <- lists:sort(filelib:wildcard("src/**/*.{xrl,yrl}"))],
    Sources = order(lists:sort(filelib:wildcard("src/**/*.erl"))),
    Emakefile = emakefile(),
    [compile(Name, File, Ebin, Emakefile) || File <- Sources],
    Modules = [module(File) || File <- Sources],
    ready(Modules, Ebin),
    specification(relgraph_otp_describe:specification("."), Modules, Ebin),
    [copy(Part, filename:join(Build, Part)) || Part <- ["include", "priv"]],
    #{}.

%% What C makes.
native() ->
    case filelib:is_regular("c_src/Makefile") of
        false ->
            ok;
        true ->
            Erts = filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "include"]),
            ok = filelib:ensure_dir("priv/x"),
            shell("make", ["-C", "c_src"], [{"ERTS_INCLUDE_DIR", Erts}])
    end.

shell(Program, Args, Env) ->
    case os:find_executable(Program) of
        false ->
            throw({relgraph, [Program, " is needed to build c_src, and is not installed"]});
        File ->
            Port = open_port({spawn_executable, File}, [
                {args, Args}, {env, Env}, exit_status, stderr_to_stdout, binary
            ]),
            case output(Port) of
                0 -> ok;
                Status -> throw({relgraph, io_lib:format("~ts in c_src failed with status ~b", [Program, Status])})
            end
    end.

output(Port) ->
    receive
        {Port, {data, Data}} ->
            io:put_chars(standard_error, Data),
            output(Port);
        {Port, {exit_status, Status}} ->
            Status
    end.

grammar(File) ->
    Options = [report, {report_errors, true}],
    Made =
        case filename:extension(File) of
            ".yrl" -> yecc:file(File, Options);
            ".xrl" -> leex:file(File, Options)
        end,
    case Made of
        error -> throw({relgraph, [File, " cannot be turned into a module"]});
        _ -> ok
    end.

%% Modules that others need while they are compiled (their behaviours and parse transforms) come first.
order(Files) ->
    Known = [{module(File), File} || File <- Files],
    {Ordered, _} = lists:foldl(fun(File, Done) -> visit(File, Known, Done) end, {[], []}, Files),
    lists:reverse(Ordered).

visit(File, Known, {Ordered, Seen}) ->
    case lists:member(File, Seen) of
        true ->
            {Ordered, Seen};
        false ->
            {ok, Text} = file:read_file(File),
            First = [Other || Module <- needed(Text), {Named, Other} <- Known, Named =:= Module, Other =/= File],
            {Before, All} = lists:foldl(fun(Other, Done) -> visit(Other, Known, Done) end, {Ordered, [File | Seen]}, First),
            {[File | Before], All}
    end.

needed(Text) ->
    Pattern = "(?:-\\s*behaviou?r\\s*\\(\\s*|parse_transform\\s*,\\s*)'?([a-zA-Z0-9_@]+)",
    case re:run(Text, Pattern, [global, {capture, [1], binary}]) of
        {match, Found} -> [binary_to_atom(Module) || [Module] <- Found];
        nomatch -> []
    end.

module(File) ->
    list_to_atom(filename:basename(File, ".erl")).

%% `make:all/0' takes its options from an Emakefile: so do we.
emakefile() ->
    case file:consult("Emakefile") of
        {ok, Terms} ->
            [{patterns(Modules), Options} || {Modules, Options} <- Terms] ++
                [{patterns(Modules), []} || Modules <- Terms, not is_tuple(Modules)];
        {error, enoent} ->
            [];
        {error, Reason} ->
            throw({relgraph, ["Emakefile:", file:format_error(Reason)]})
    end.

patterns(Module) when is_atom(Module) -> [atom_to_list(Module)];
patterns([Head | _] = Modules) when is_atom(Head) -> [atom_to_list(Module) || Module <- Modules];
patterns(Pattern) -> [Pattern].

options(File, Emakefile) ->
    Named = [
        Options
     || {Patterns, Options} <- Emakefile,
        Pattern <- Patterns,
        lists:member(File, filelib:wildcard(Pattern ++ ".erl"))
    ],
    case Named of
        [Options | _] -> [Option || Option <- Options, not is_place(Option)];
        [] -> [debug_info]
    end.

is_place({outdir, _}) -> true;
is_place(_) -> false.

compile(Name, File, Ebin, Emakefile) ->
    Folder = filename:dirname(File),
    Places = [{outdir, Ebin}, {i, "include"}, {i, "src"}, {i, Folder}],
    case compile:file(filename:absname(File), [report | options(File, Emakefile)] ++ Places) of
        {ok, _} -> ok;
        _ -> throw({relgraph, io_lib:format("could not compile ~ts", [Name])})
    end.

%% What is there compiled already, of which there is no source.
ready(Modules, Ebin) ->
    [
        copy(File, filename:join(Ebin, filename:basename(File)))
     || File <- filelib:wildcard("ebin/*.beam"),
        not lists:member(list_to_atom(filename:basename(File, ".beam")), Modules)
    ].

specification({application, Name, Properties}, Modules, Ebin) ->
    Target = filename:join(Ebin, atom_to_list(Name) ++ ".app"),
    Source = filename:join("ebin", atom_to_list(Name) ++ ".app"),
    case filelib:wildcard("src/*.app.src{,.script}") of
        [] ->
            copy(Source, Target);
        _ ->
            version(Name, proplists:get_value(vsn, Properties)),
            Filled = lists:keystore(modules, 1, Properties, {modules, lists:sort(Modules)}),
            ok = file:write_file(Target, [
                unicode:characters_to_binary(io_lib:format("~tp.~n", [{application, Name, Filled}]))
            ])
    end.

version(_Name, Version) when is_list(Version) -> ok;
version(Name, Version) ->
    Text = io_lib:format("the version of ~ts is ~tp: without a tool it must be a string, {vsn, \"1.0.0\"}", [Name, Version]),
    throw({relgraph, Text}).

copy(From, To) ->
    case filelib:is_dir(From) of
        true ->
            {ok, Names} = file:list_dir(From),
            ok = filelib:ensure_dir(filename:join(To, "x")),
            [copy(filename:join(From, Name), filename:join(To, Name)) || Name <- lists:sort(Names)];
        false ->
            case file:read_file_info(From) of
                {ok, Info} ->
                    {ok, _} = file:copy(From, To),
                    ok = file:change_mode(To, element(8, Info));
                {error, enoent} ->
                    ok
            end
    end.
