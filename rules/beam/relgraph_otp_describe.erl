%% Says what a project is that has no tool: applications as OTP lays them out.
-module(relgraph_otp_describe).

-export([run/1, specification/1]).

%% Answers with the applications in the folders that the request names.
-spec run(map()) -> map().
run(#{folders := Folders, out := Out, env := Environment}) ->
    Found = [{Folder, specification(unicode:characters_to_list(Folder))} || Folder <- Folders],
    Known = [Name || {_, {application, Name, _}} <- Found],
    [duplicate(Name, Found) || Name <- lists:usort(Known -- lists:usort(Known))],
    ok = filelib:ensure_dir(filename:join(Out, "x")),
    [ok = file:write_file(filename:join(Out, [atom_to_list(Name), ".etf"]), term_to_binary(Name)) || Name <- Known],
    #{
        tool => otp,
        profile => Environment,
        applications => [application(Folder, Spec, Environment) || {Folder, Spec} <- Found],
        release => null,
        stripping => relgraph_strip:recipe(["Attr"]),
        otp => list_to_binary(erlang:system_info(otp_release)),
        erts => list_to_binary(erlang:system_info(version))
    }.

duplicate(Name, Found) ->
    Folders = [Folder || {Folder, {application, Other, _}} <- Found, Other =:= Name],
    throw({relgraph, io_lib:format("application ~ts is there twice: in ~ts", [Name, lists:join(" and ", Folders)])}).

application(Folder, {application, Name, Properties}, Environment) ->
    Needed =
        proplists:get_value(applications, Properties, []) ++
            proplists:get_value(included_applications, Properties, []),
    #{
        app => Name,
        dest => Folder,
        build => <<"_build/lib/", (atom_to_binary(Name))/binary>>,
        manager => otp,
        env => Environment,
        scm => project,
        fetchable => false,
        compile => null,
        app_file => true,
        optional => false,
        runtime => true,
        from_umbrella => false,
        children => lists:usort([atom_to_binary(App) || App <- Needed]) -- [atom_to_binary(Name)],
        system_env => #{},
        mix => <<>>,
        problem => null
    }.

%% The specification of the application in a folder: from `src/NAME.app.src', which `src/NAME.app.src.script' may change, or
%% `ebin/NAME.app'.
-spec specification(string()) -> {application, atom(), [tuple()]}.
specification(Folder) ->
    case {find(Folder, "src/*.app.src"), find(Folder, "src/*.app.src.script"), find(Folder, "ebin/*.app")} of
        {[File], [], _} -> read(File, file:consult(File));
        {Files, [Script], _} -> read(Script, script(Files, Script));
        {[], [], [File]} -> read(File, file:consult(File));
        {Sources, _, Ready} -> several(Folder, Sources ++ Ready)
    end.

find(Folder, Pattern) ->
    [filename:join(Folder, File) || File <- lists:sort(filelib:wildcard(Pattern, Folder))].

%% A script sees what the file that it changes says as `CONFIG', as with rebar3.
script(Files, Script) ->
    Config =
        case Files of
            [File] ->
                case file:consult(File) of
                    {ok, Found} -> Found;
                    _ -> []
                end;
            _ ->
                []
        end,
    case file:script(Script, [{'CONFIG', Config}, {'SCRIPT', Script}]) of
        {ok, Terms} when is_list(Terms) -> {ok, Terms};
        {ok, Term} -> {ok, [Term]};
        Error -> Error
    end.

read(_File, {ok, [{application, Name, Properties} = Specification]}) when is_atom(Name), is_list(Properties) ->
    Specification;
read(File, {ok, _}) ->
    throw({relgraph, [File, ": this is no application specification: {application, NAME, PROPERTIES}"]});
read(File, {error, Reason}) ->
    throw({relgraph, [File, $:, file:format_error(Reason)]}).

several(Folder, []) ->
    throw({relgraph, ["there is no application in ", Folder]});
several(Folder, Files) ->
    throw({relgraph, ["several application specifications in ", Folder, ": ", lists:join(", ", Files)]}).
