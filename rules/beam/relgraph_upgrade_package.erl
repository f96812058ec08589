%% Upgrade packages: puts one into the root of the release, and removes versions from it.
-module(relgraph_upgrade_package).

-export([find/3, version/1, unpack/2, remove/2, remove_tree/1]).

%% The package that a user means by a path or a version.
-spec find(string(), file:filename(), string()) -> file:filename() | none.
find(Given, Root, Name) ->
    Releases = filename:join(Root, "releases"),
    Files = [
        filename:absname(Given),
        filename:join(Releases, Name ++ "-" ++ Given ++ ".tar.gz"),
        filename:join([Releases, Given, Name ++ ".tar.gz"])
    ],
    case [File || File <- Files, filelib:is_regular(File)] of
        [File | _] -> File;
        [] -> none
    end.

%% What a package holds: `{Name, Vsn}', and its applications.
-spec inside(file:filename()) -> {string(), string(), [tuple()], string()}.
inside(File) ->
    Names =
        case erl_tar:table(File, [compressed]) of
            {ok, Table} -> Table;
            {error, Reason} -> fail("~ts cannot be read: ~ts", [File, erl_tar:format_error(Reason)])
        end,
    case [Name || Name <- Names, filename:dirname(Name) =:= "releases", filename:extension(Name) =:= ".rel"] of
        [Rel] ->
            {ok, [{Rel, Text}]} = erl_tar:extract(File, [memory, compressed, {files, [Rel]}]),
            case parsed(Text) of
                {release, {Name, Vsn}, {erts, _}, Apps} -> {Name, Vsn, Apps, Rel};
                _ -> fail("~ts in ~ts says nothing about a release", [Rel, File])
            end;
        _ ->
            fail(
                "~ts is no upgrade package: it has no releases/NAME-VERSION.rel. `relgraph upgrade` makes one; the package of a "
                "build is put in the place of a release that does not run",
                [File]
            )
    end.

%% The version that a package leads to.
version(File) ->
    element(2, inside(File)).

parsed(Text) ->
    Chars = unicode:characters_to_list(Text),
    case erl_scan:string(Chars) of
        {ok, Tokens, _} ->
            case erl_parse:parse_term(Tokens) of
                {ok, Term} -> Term;
                _ -> none
            end;
        _ ->
            none
    end.

%% Everything is complete beside its place before any of it is put there, so that what is there is whole.
%% A version that is there and does not run is replaced: its package may have been made again.
-spec unpack(file:filename(), file:filename()) -> string().
unpack(File, Root) ->
    {Name, Vsn, Apps, Rel} = inside(File),
    #{name := Own} = relgraph_upgrade_books:running(),
    Name =:= Own orelse fail("~ts is a package of ~ts, and this is ~ts", [File, Name, Own]),
    Known = relgraph_upgrade_books:find(Vsn),
    case Known of
        #{status := Status} when Status =:= current; Status =:= permanent ->
            fail("~ts is ~p: its package cannot be unpacked over it", [Vsn, Status]);
        _ ->
            ok
    end,
    Draft = filename:join([Root, "releases", ".unpack-" ++ os:getpid()]),
    remove_tree(Draft),
    try
        unpack(File, Root, Draft, Vsn, Apps, Rel, Known)
    after
        remove_tree(Draft)
    end,
    Vsn.

unpack(File, Root, Draft, Vsn, Apps, Rel, Known) ->
    case erl_tar:extract(File, [compressed, {cwd, Draft}]) of
        ok -> ok;
        {error, Reason} -> fail("~ts could not be unpacked: ~ts", [File, erl_tar:format_error(Reason)])
    end,
    Folder = filename:join([Draft, "releases", Vsn]),
    filelib:is_dir(Folder) orelse fail("~ts has no releases/~ts", [File, Vsn]),
    RelFile = filename:join(Folder, filename:basename(Rel)),
    {ok, _} = file:copy(filename:join(Draft, Rel), RelFile),
    Libs = list(filename:join(Draft, "lib")),
    %% Packages of Distillery lie in the folder of the version.
    To = filename:join([Root, "releases", Vsn]),
    packages_out(To, Root),
    Used = [Lib || {_, V, _} <- relgraph_upgrade_books:all(), V =/= Vsn, Lib <- names(relgraph_upgrade_books:libs(V))],
    Needed = [atom_to_list(element(1, App)) ++ "-" ++ element(2, App) || App <- Apps],
    Missing = [Lib || Lib <- (Needed -- Libs) -- Used, not filelib:is_dir(filename:join(code:lib_dir(), Lib))],
    Missing =:= [] orelse fail("~ts needs ~ts, which neither it nor the release has", [File, lists:join(", ", Missing)]),
    Shared = [Lib || Lib <- Libs, lists:member(Lib, Used), filelib:is_dir(filename:join([Root, "lib", Lib]))],
    Other = [Lib || Lib <- Shared, differs(filename:join([Draft, "lib", Lib]), filename:join([Root, "lib", Lib]))],
    Other =:= [] orelse
        fail("~ts has another lib/~ts than the versions that are here: an application that changed needs a new version", [File, hd(Other)]),
    Known =:= none orelse remove(Known, Root),
    Own = Libs -- Shared,
    [remove_tree(filename:join([Root, "lib", Lib])) || Lib <- Own],
    [place(filename:join([Draft, "lib", Lib]), filename:join([Root, "lib", Lib])) || Lib <- Own],
    Erts = [Name || Name <- list(Draft), lists:prefix("erts-", Name)],
    [place(filename:join(Draft, Name), filename:join(Root, Name)) || Name <- Erts],
    %% What lies there was left by somebody who was interrupted.
    remove_tree(To),
    rename(Folder, To),
    Dirs = [{element(1, App), element(2, App), filename:join(Root, "lib")} || App <- Apps, is_own(App, Root)],
    case release_handler:set_unpacked(filename:join(To, filename:basename(Rel)), Dirs) of
        {ok, Vsn} -> ok;
        {error, Why} -> fail("OTP's release handler does not take ~ts: ~tp", [Vsn, Why])
    end,
    relgraph_upgrade_books:open(Root),
    relgraph_upgrade_books:relocatable(Root).

is_own(App, Root) ->
    filelib:is_dir(filename:join([Root, "lib", atom_to_list(element(1, App)) ++ "-" ++ element(2, App)])).

names(Libs) ->
    [atom_to_list(App) ++ "-" ++ Vsn || {App, Vsn, _} <- Libs].

%% Whether two folders of an application have other code. An appup says how to get there, and is none.
differs(One, Other) ->
    Files = fun(Dir) ->
        [
            {lists:nthtail(length(Dir), File), Text}
         || File <- lists:sort(filelib:wildcard(filename:join(Dir, "**"))),
            filename:extension(File) =/= ".appup",
            {ok, Text} <- [file:read_file(File)]
        ]
    end,
    Files(One) =/= Files(Other).

packages_out(To, Root) ->
    Ending = "-" ++ filename:basename(To) ++ ".tar.gz",
    Place = fun(File) -> filename:join([Root, "releases", filename:basename(File, ".tar.gz") ++ Ending]) end,
    [rename(File, Place(File)) || File <- filelib:wildcard(filename:join(To, "*.tar.gz"))].

place(From, To) ->
    case filelib:is_dir(To) of
        true ->
            ok;
        false ->
            _ = filelib:ensure_dir(To),
            rename(From, To)
    end.

rename(From, To) ->
    case file:rename(From, To) of
        ok -> ok;
        {error, Reason} -> fail("~ts could not be put in its place: ~ts", [To, file:format_error(Reason)])
    end.

%% Removes a version, and the applications that no other has.
remove(#{vsn := Vsn, libs := Libs, erts := Erts}, Root) ->
    Others = [relgraph_upgrade_books:find(V) || {_, V, _} <- relgraph_upgrade_books:all(), V =/= Vsn],
    Used = [{App, V} || #{libs := Of} <- Others, {App, V, _} <- Of],
    Lib = filename:join(Root, "lib"),
    Unused = [Dir || {App, V, Dir} <- Libs, not lists:member({App, V}, Used), filename:dirname(Dir) =:= Lib],
    case release_handler:set_removed(Vsn) of
        ok -> ok;
        {error, Reason} -> fail("OTP's release handler does not remove ~ts: ~tp", [Vsn, Reason])
    end,
    relgraph_upgrade_books:relocatable(Root),
    [remove_tree(Dir) || Dir <- Unused],
    remove_tree(filename:join([Root, "releases", Vsn])),
    [remove_tree(filename:join(Root, "erts-" ++ Erts)) || not lists:any(fun(#{erts := E}) -> E =:= Erts end, Others)],
    length(Unused).

remove_tree(Path) ->
    case file:read_link_info(Path) of
        {ok, Info} when element(3, Info) =:= directory ->
            [remove_tree(filename:join(Path, Name)) || Name <- list(Path)],
            file:del_dir(Path);
        {ok, _} ->
            file:delete(Path);
        {error, _} ->
            ok
    end.

list(Dir) ->
    case file:list_dir(Dir) of
        {ok, Names} -> lists:sort(Names);
        {error, _} -> []
    end.

fail(Format, Args) ->
    throw({relgraph_upgrade, io_lib:format(Format, Args)}).
