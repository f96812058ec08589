%% What `release_handler' knows of versions, and the files that it is kept in.
-module(relgraph_upgrade_books).

-export([open/1, all/0, find/1, running/0, permanent/0, libs/1, with_folder/2, unpurged/1, make_permanent_later/2]).
-export([relocatable/1, write_whole/3]).

%% Places in the state of `release_handler', and in what it knows of a release.
-define(UNPURGED, 2).
-define(ROOT, 3).
-define(FOLDER, 4).
-define(RELEASES, 5).
-define(VSN, 3).
-define(ERTS, 4).
-define(LIBS, 5).
-define(STATUS, 6).

%% Makes the release handler ready: it knows the release of `Root', by absolute folders, and what each version consists of.
-spec open(file:filename()) -> ok.
open(Root) ->
    case whereis(release_handler) of
        undefined ->
            case application:ensure_all_started(sasl) of
                {ok, _} -> ok;
                {error, _} -> fail("the release has no application `sasl', which does upgrades", [])
            end;
        _ ->
            ok
    end,
    State = sys:get_state(release_handler),
    case State of
        _ when element(1, State) =:= state, is_list(element(?UNPURGED, State)), is_list(element(?RELEASES, State)) ->
            [expected(Release) || Release <- element(?RELEASES, State)];
        _ ->
            fail("this version of OTP keeps its books in a way that is not known", [])
    end,
    Folder = filename:join(Root, "releases"),
    Releases =
        case element(?FOLDER, State) of
            Folder -> element(?RELEASES, State);
            _ -> read(Folder, element(?RELEASES, State))
        end,
    Whole = [whole(Release, Root) || Release <- Releases],
    change(fun(S) -> setelement(?RELEASES, setelement(?FOLDER, setelement(?ROOT, S, Root), Folder), Whole) end).

expected(Release) when element(1, Release) =:= release, tuple_size(Release) =:= ?STATUS -> ok;
expected(_) -> fail("this version of OTP keeps its books in a way that is not known", []).

%% The runtime is not the release's own, so that OTP looked for its books elsewhere.
read(Folder, Default) ->
    case file:consult(filename:join(Folder, "RELEASES")) of
        {ok, [Releases]} -> Releases;
        _ -> Default
    end.

whole(Release, Root) ->
    Vsn = element(?VSN, Release),
    {Erts, Libs} =
        case {element(?ERTS, Release), element(?LIBS, Release)} of
            {E, [_ | _] = L} when is_list(E) -> {E, L};
            {E, L} -> of_rel(Vsn, Root, {E, L})
        end,
    setelement(?ERTS, setelement(?LIBS, Release, [lib(Lib, Root) || Lib <- Libs]), Erts).

%% Without RELEASES, the .rel file says what a version consists of.
of_rel(Vsn, Root, Default) ->
    Files = filelib:wildcard(filename:join([Root, "releases", Vsn, "*.rel"])),
    Found = [
        {Erts, [{element(1, App), element(2, App), "lib/" ++ atom_to_list(element(1, App)) ++ "-" ++ element(2, App)} || App <- Apps]}
     || File <- Files,
        {ok, [{release, {_, Of}, {erts, Erts}, Apps}]} <- [file:consult(File)],
        Of =:= Vsn
    ],
    case Found of
        [One | _] -> One;
        [] -> Default
    end.

%% A release may have been moved, and may use a runtime that is not its own.
lib({App, Vsn, Dir}, Root) ->
    Name = atom_to_list(App) ++ "-" ++ Vsn,
    Own = filename:join([Root, "lib", Name]),
    Known = filename:join(Root, Dir),
    System = filename:join([code:lib_dir(), Name]),
    Loaded =
        case code:lib_dir(App) of
            {error, _} -> [];
            Now -> [Now || filename:basename(Now) =:= Name]
        end,
    case [Found || Found <- [Own, Known, System | Loaded], filelib:is_dir(Found)] of
        [Found | _] -> {App, Vsn, Found};
        [] -> {App, Vsn, Own}
    end.

change(Fun) ->
    sys:replace_state(release_handler, Fun, infinity),
    ok.

releases() ->
    element(?RELEASES, sys:get_state(release_handler, infinity)).

%% `{Name, Vsn, Status}', the newest first.
all() ->
    [{element(2, Release), element(?VSN, Release), element(?STATUS, Release)} || Release <- releases()].

-spec find(string()) -> map() | none.
find(Vsn) ->
    case lists:keyfind(Vsn, ?VSN, releases()) of
        false -> none;
        {release, Name, Vsn, Erts, Libs, Status} -> #{name => Name, vsn => Vsn, erts => Erts, libs => Libs, status => Status}
    end.

%% The version that runs.
running() ->
    Releases = releases(),
    case [Vsn || {release, _, Vsn, _, _, current} <- Releases] ++ [Vsn || {release, _, Vsn, _, _, permanent} <- Releases] of
        [Vsn | _] -> find(Vsn);
        [] -> fail("OTP's release handler does not know which version runs", [])
    end.

%% The version that starts next.
permanent() ->
    case [Vsn || {release, _, Vsn, _, _, permanent} <- releases()] of
        [Vsn | _] -> Vsn;
        [] -> none
    end.

libs(Vsn) ->
    maps:get(libs, find(Vsn)).

%% Has the release handler look for a version's files in another folder while a function runs.
with_folder(Folder, Fun) ->
    Own = element(?FOLDER, sys:get_state(release_handler, infinity)),
    change(fun(S) -> setelement(?FOLDER, S, Folder) end),
    try
        Fun()
    after
        change(fun(S) -> setelement(?FOLDER, S, Own) end)
    end.

%% Modules whose old code somebody still runs.
unpurged(Modules) ->
    change(fun(S) ->
        Known = element(?UNPURGED, S),
        setelement(?UNPURGED, S, Modules ++ [One || {M, _} = One <- Known, not lists:keymember(M, 1, Modules)])
    end).

%% Has a version start next time, while the one that runs goes on.
make_permanent_later(Vsn, Root) ->
    #{vsn := Running} = running(),
    Status = fun
        (Release) when element(?VSN, Release) =:= Vsn -> setelement(?STATUS, Release, permanent);
        (Release) when element(?VSN, Release) =:= Running -> setelement(?STATUS, Release, current);
        (Release) when element(?STATUS, Release) =:= permanent -> setelement(?STATUS, Release, old);
        (Release) -> Release
    end,
    change(fun(S) -> setelement(?RELEASES, S, lists:map(Status, element(?RELEASES, S))) end),
    #{erts := Erts} = find(Vsn),
    Disk = fun
        (Release) when element(?STATUS, Release) =:= current -> setelement(?STATUS, Release, old);
        (Release) -> Release
    end,
    write_releases(lists:map(Disk, releases()), Root),
    write_whole(filename:join([Root, "releases", "start_erl.data"]), [Erts, " ", Vsn], 8#644).

%% Writes folders of RELEASES so that the release can be moved.
relocatable(Root) ->
    case file:consult(filename:join([Root, "releases", "RELEASES"])) of
        {ok, [Releases]} -> write_releases(Releases, Root);
        _ -> ok
    end.

write_releases(Releases, Root) ->
    Prefix = Root ++ "/",
    Relative = fun({App, Vsn, Dir}) ->
        case lists:prefix(Prefix, Dir) of
            true -> {App, Vsn, lists:nthtail(length(Prefix), Dir)};
            false -> {App, Vsn, Dir}
        end
    end,
    Terms = [setelement(?LIBS, Release, lists:map(Relative, element(?LIBS, Release))) || Release <- Releases],
    Text = unicode:characters_to_binary(io_lib:format("%% coding: utf-8~n~tp.~n", [Terms])),
    write_whole(filename:join([Root, "releases", "RELEASES"]), Text, 8#644).

%% Puts a complete file in the place of another at once.
write_whole(File, Data, Mode) ->
    Draft = filename:join(filename:dirname(File), "." ++ filename:basename(File) ++ "." ++ os:getpid()),
    case file:write_file(Draft, Data) of
        ok ->
            _ = file:change_mode(Draft, Mode),
            ok = file:rename(Draft, File);
        {error, Reason} ->
            fail("~ts could not be written: ~ts", [File, file:format_error(Reason)])
    end.

fail(Format, Args) ->
    throw({relgraph_upgrade, io_lib:format(Format, Args)}).
