%% Releases of projects that no tool makes releases of: what `systools' makes, with the configuration that lies in `config' or
%% `rel'.
-module(relgraph_otp_release).

-export([run/1]).

%% Writes below the folder `out' of the request what belongs below `releases' and the specifications of applications.
-spec run(map()) -> map().
run(#{release := Name, out := Out0, roots := Roots} = Request) ->
    Out = unicode:characters_to_list(Out0),
    Modes = maps:get(applications, Request),
    Goals = [App || {App, _} <- Modes],
    Found = resolve([kernel, stdlib | Goals], "the release", Request, []),
    Version = version(Request, Found),
    Erts = unicode:characters_to_list(maps:get(erts, Request)),
    Folder = filename:join([Out, "releases", Version]),
    ok = filelib:ensure_dir(filename:join(Folder, "x")),
    Apps = [App#{mode => mode(App, Modes, Found)} || App <- lists:reverse(Found)],
    Stubs = [stub(App, Request) || App <- Apps],
    boot("start", {atom_to_list(Name), Version}, Erts, [specification(App) || App <- Apps], Stubs, Folder),
    Clean = [
        case lists:member(App, [kernel, stdlib]) of
            true -> {App, Vsn};
            false -> {App, Vsn, none}
        end
     || #{name := App, vsn := Vsn} <- Apps
    ],
    boot("start_clean", {"start_clean", "1.0"}, Erts, Clean, Stubs, Folder),
    ok = file:rename(filename:join(Folder, "start.rel"), filename:join(Folder, atom_to_list(Name) ++ ".rel")),
    [ok = file:delete(filename:join(Folder, "start_clean" ++ End)) || End <- [".rel", ".script"]],
    [specified(App, Out) || App <- Apps],
    releases(Name, Version, Erts, Apps, Out),
    configuration(Folder, Request),
    #{
        name => atom_to_binary(Name),
        version => text(Version),
        erts_version => text(Erts),
        applications => [answer(App, Roots) || App <- Apps],
        runtime_config => null,
        reboot => false,
        overlays => [],
        templates => <<"rel">>
    }.

version(#{version := Version}, _) ->
    unicode:characters_to_list(Version);
version(#{release := Name, applications := [{First, _} | _]}, Found) ->
    Named = [Vsn || App <- [Name, First], #{name := N, vsn := Vsn} <- Found, N =:= App],
    hd(Named).

%% All that an application needs before it. The newest comes first.
resolve([], _, _, Found) ->
    Found;
resolve([Name | Rest], By, Request, Found) ->
    case [App || #{name := N} = App <- Found, N =:= Name] of
        [_] ->
            resolve(Rest, By, Request, Found);
        [] ->
            case application(Name, Request) of
                {ok, #{needs := Needs, optional := Optional} = App} ->
                    There = [O || O <- Optional, application(O, Request) =/= missing],
                    Before = resolve(Needs ++ There, ["`", atom_to_list(Name), "`"], Request, Found),
                    resolve(Rest, By, Request, [App | Before]);
                missing ->
                    throw({relgraph, [By, " needs the application `", atom_to_list(Name), "`, which is not there"]})
            end
    end.

application(Name, #{compiled := Compiled, libraries := Libraries}) ->
    Dirs = [Dir || {N, Dir} <- Compiled, N =:= Name] ++ installed(Name, Libraries),
    case Dirs of
        [Dir0 | _] ->
            Dir = unicode:characters_to_list(Dir0),
            {ok, [{application, Name, Properties}]} =
                file:consult(filename:join([Dir, "ebin", atom_to_list(Name) ++ ".app"])),
            Optional = proplists:get_value(optional_applications, Properties, []),
            Included = proplists:get_value(included_applications, Properties, []),
            {ok, #{
                name => Name,
                vsn => proplists:get_value(vsn, Properties, ""),
                dir => Dir,
                included => Included,
                optional => Optional,
                needs => (proplists:get_value(applications, Properties, []) -- Optional) ++ Included
            }};
        [] ->
            missing
    end.

installed(Name, Libraries) ->
    [
        filename:dirname(filename:dirname(File))
     || File <- lists:reverse(
            filelib:wildcard(filename:join([unicode:characters_to_list(Libraries), atom_to_list(Name) ++ "-*", "ebin", atom_to_list(Name) ++ ".app"]))
        )
    ].

%% What is only part of another application is loaded, and started by that one.
mode(#{name := Name}, Modes, Found) ->
    Included = lists:any(fun(#{included := Names}) -> lists:member(Name, Names) end, Found),
    case lists:keyfind(Name, 1, Modes) of
        {_, Mode} -> Mode;
        false when Included -> load;
        false -> permanent
    end.

specification(#{name := Name, vsn := Vsn, mode := permanent}) -> {Name, Vsn};
specification(#{name := Name, vsn := Vsn, mode := Mode}) -> {Name, Vsn, Mode}.

%% Only whether a module is there is asked, so that empty files do.
stub(#{name := Name, dir := Dir}, #{prefix := Prefix}) ->
    Stub = filename:join([unicode:characters_to_list(Prefix), "stubs", atom_to_list(Name), "ebin"]),
    {ok, Files} = file:list_dir(filename:join(Dir, "ebin")),
    ok = filelib:ensure_dir(filename:join(Stub, "x")),
    [
        case filename:extension(File) of
            ".beam" -> ok = file:write_file(filename:join(Stub, File), <<>>);
            ".app" -> {ok, _} = file:copy(filename:join([Dir, "ebin", File]), filename:join(Stub, File));
            _ -> ok
        end
     || File <- Files
    ],
    Stub.

boot(Script, Release, Erts, Specifications, Paths, Folder) ->
    Term = {release, Release, {erts, Erts}, Specifications},
    Rel = filename:join(Folder, Script ++ ".rel"),
    ok = file:write_file(Rel, unicode:characters_to_binary(io_lib:format("%% coding: utf-8~n~tp.~n", [Term]))),
    Options = [{path, [Folder | Paths]}, {outdir, Folder}, silent, no_warn_sasl],
    case systools:make_script(filename:join(Folder, Script), Options) of
        {ok, _, _} -> ok;
        {error, Module, Error} -> throw({relgraph, Module:format_error(Error)})
    end.

specified(#{name := Name, vsn := Vsn, dir := Dir}, Out) ->
    File = filename:join("ebin", atom_to_list(Name) ++ ".app"),
    To = filename:join([Out, "lib", atom_to_list(Name) ++ "-" ++ Vsn, File]),
    ok = filelib:ensure_dir(To),
    {ok, _} = file:copy(filename:join(Dir, File), To).

%% What release_handler(3) must know of the first version to replace it later.
releases(Name, Version, Erts, Apps, Out) ->
    Libraries = [{App, Vsn, "lib/" ++ atom_to_list(App) ++ "-" ++ Vsn} || #{name := App, vsn := Vsn} <- Apps],
    Term = [{release, atom_to_list(Name), Version, Erts, Libraries, permanent}],
    ok = file:write_file(
        filename:join([Out, "releases", "RELEASES"]),
        unicode:characters_to_binary(io_lib:format("%% coding: utf-8~n~tp.~n", [Term]))
    ),
    ok = file:write_file(filename:join([Out, "releases", "start_erl.data"]), [Erts, " ", Version]).

configuration(Folder, Request) ->
    Sys = found(sys_config, Request, ["config/sys.config.src", "config/sys.config", "rel/sys.config.src", "rel/sys.config"]),
    taken(Sys, Folder, "sys.config", <<"[].\n">>),
    [check(Sys) || Sys =/= "", filename:extension(Sys) =/= ".src"],
    VmArgs = found(vm_args, Request, ["config/vm.args.src", "config/vm.args", "rel/vm.args.src", "rel/vm.args"]),
    taken(VmArgs, Folder, "vm.args", <<"## Flags of the VM. The start script sets the name of the node and the cookie.\n">>),
    Env = found(["config/env.sh", "rel/env.sh"]),
    [taken(Env, Folder, "env.sh", <<>>) || Env =/= ""].

%% What relx.config names must be there. It keeps the name that the start script looks for.
found(Key, Request, Usual) ->
    case Request of
        #{Key := Named} ->
            File = unicode:characters_to_list(Named),
            filelib:is_regular(File) orelse throw({relgraph, ["relx.config names ", File, ", which is not there"]}),
            File;
        _ ->
            found(Usual)
    end.

found(Files) ->
    case [File || File <- Files, filelib:is_regular(File)] of
        [File | _] -> File;
        [] -> ""
    end.

taken("", Folder, Name, Default) ->
    ok = file:write_file(filename:join(Folder, Name), Default);
taken(File, Folder, Name, _Default) ->
    {ok, Bytes} = file:read_file(File),
    End =
        case filename:extension(File) of
            ".src" -> ".src";
            _ -> ""
        end,
    ok = file:write_file(filename:join(Folder, Name ++ End), Bytes).

%% A node that cannot read its configuration does not start: better said now.
check(File) ->
    case file:consult(File) of
        {ok, [List]} when is_list(List) -> ok;
        {ok, _} -> throw({relgraph, [File, ": a configuration is one list: [{application, [{key, value}]}]."]});
        {error, Reason} -> throw({relgraph, [File, $:, file:format_error(Reason)]})
    end.

answer(#{name := Name, vsn := Vsn, dir := Dir, mode := Mode}, Roots) ->
    Otp = lists:any(fun(Root) -> lists:prefix(unicode:characters_to_list(Root), Dir) end, Roots),
    #{name => atom_to_binary(Name), version => text(Vsn), mode => Mode, otp => Otp, path => text(Dir)}.

text(Text) -> unicode:characters_to_binary(Text).
