%% The files and variables that say which version starts, besides those of `release_handler'.
-module(relgraph_upgrade_files).

-export([scripts/3, environment/2]).

%% Puts the start scripts that a version brings (`releases/VSN/bin') in their place, and keeps those of the version before.
scripts(Vsn, Before, Root) ->
    Brought = filename:join([Root, "releases", Vsn, "bin"]),
    case file:list_dir(Brought) of
        {ok, Names} -> [script(Name, Brought, Before, Root) || Name <- lists:sort(Names)];
        {error, _} -> ok
    end.

script(Name, Brought, Before, Root) ->
    Place = filename:join([Root, "bin", Name]),
    Kept = filename:join([Root, "releases", Before, "bin", Name]),
    case {file:read_file(Place), filelib:is_regular(Kept), filelib:is_dir(filename:dirname(filename:dirname(Kept)))} of
        {{ok, Old}, false, true} ->
            ok = filelib:ensure_dir(Kept),
            relgraph_upgrade_books:write_whole(Kept, Old, 8#755);
        _ ->
            ok
    end,
    {ok, New} = file:read_file(filename:join(Brought, Name)),
    filelib:ensure_dir(Place),
    relgraph_upgrade_books:write_whole(Place, New, 8#755).

%% What `init:restart' starts again reads these variables.
environment(Vsn, Root) ->
    Dir = filename:join([Root, "releases", Vsn]),
    [os:putenv("RELEASE_VSN", Vsn) || os:getenv("RELEASE_VSN") =/= false],
    case os:getenv("RELEASE_SYS_CONFIG") of
        false -> ok;
        _ ->
            Config = sys_config(Vsn, Dir, Root),
            os:putenv("RELEASE_SYS_CONFIG", Config),
            %% `release_handler' has it read the file of the version itself.
            init:make_permanent(filename:join(Dir, "start"), Config)
    end,
    ok.

%% One that providers write to is copied first, as the start script does.
sys_config(Vsn, Dir, Root) ->
    File = filename:join(Dir, "sys.config"),
    case file:read_file(File) of
        {ok, Text} ->
            case binary:match(Text, <<"RUNTIME_CONFIG=true">>) of
                nomatch ->
                    filename:join(Dir, "sys");
                _ ->
                    Tmp = os:getenv("RELEASE_TMP", filename:join(Root, "tmp")),
                    Name = "upgrade-" ++ Vsn ++ "-" ++ os:getpid() ++ ".runtime",
                    Copy = filename:join(Tmp, Name),
                    _ = filelib:ensure_dir(Copy),
                    relgraph_upgrade_books:write_whole(Copy ++ ".config", Text, 8#600),
                    Copy
            end;
        {error, _} ->
            filename:join(Dir, "sys")
    end.
