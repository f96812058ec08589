%% Moves a running release to another version and back. `bin/NAME' loads this into the node and calls it; relups call `children/1'
%% and `protocols/2'.
-module(relgraph_upgrade).

-export([command/3, perform/0, children/1, protocols/2, report/0]).

-define(LOCK, ?MODULE).
-define(PLAN, relgraph_upgrade_plan).

%% Carries out a command in the node. Options: `root', the folder of the release; `beams', our own modules as `{Module, File, Binary}'.
%% Returns what there is to say on the standard output, or what went wrong.
-spec command(string(), [string()], map()) -> {ok, iodata()} | {error, iodata()}.
command(Command, Args, Options) ->
    Caller = self(),
    %% What runs here may print, and must not end with the terminal that asked.
    {Pid, Ref} = spawn_monitor(fun() ->
        case whereis(user) of
            undefined -> ok;
            User -> group_leader(User, self())
        end,
        Caller ! {self(), guarded(Command, Args, Options)}
    end),
    receive
        {Pid, Answer} ->
            demonitor(Ref, [flush]),
            Answer;
        {'DOWN', Ref, _, _, Reason} ->
            {error, io_lib:format("the upgrade ended unexpectedly: ~tp", [Reason])}
    end.

guarded(Command, Args, Options) ->
    try register(?LOCK, self()) of
        true ->
            try
                {ok, printable(run(Command, Args, Options))}
            catch
                throw:{relgraph_upgrade, Text} ->
                    {error, printable(Text)};
                Class:Reason:Stack ->
                    {error, printable(relgraph_upgrade_script:exception(Class, Reason, Stack))}
            end
    catch
        error:badarg -> {error, "another command changes the versions of this system right now"}
    end.

%% Modules of Elixir as people write them.
printable(Text) ->
    re:replace(unicode:characters_to_binary(Text), "'Elixir\\.([A-Za-z0-9_.?!]+)'", "\\1", [global, unicode, {return, binary}]).

run(Command, Args, #{root := Root} = Options) ->
    case os:getenv("RELEASE_ROOT") of
        false -> ok;
        Root -> ok;
        Other -> fail("the system that runs is that of ~ts, not of ~ts", [Other, Root])
    end,
    relgraph_upgrade_books:open(Root),
    [relgraph_upgrade_package:remove_tree(Left) || Left <- filelib:wildcard(filename:join([Root, "releases", ".upgrade-*"]))],
    run_open(Command, Args, Options).

run_open("releases", [], _) ->
    All = relgraph_upgrade_books:all(),
    Width = lists:max([length(Vsn) || {_, Vsn, _} <- All]),
    [[Name, " ", string:pad(Vsn, Width), " ", atom_to_list(Status), "\n"] || {Name, Vsn, Status} <- All];
run_open("unpack", [Given], Options) ->
    {Name, Vsn} = unpack(Given, Options),
    [Name, " ", Vsn, " is unpacked\n"];
run_open("install", [Vsn], Options) ->
    Line = install(Vsn, Options),
    case relgraph_upgrade_books:permanent() of
        Vsn -> [Line, "; permanent\n"];
        Other -> [Line, "; not permanent: a restart brings back ", Other, "\n"]
    end;
run_open("upgrade", [Given | Rest], Options) ->
    #{name := Name} = relgraph_upgrade_books:running(),
    case {relgraph_upgrade_books:find(Given), relgraph_upgrade_package:find(Given, maps:get(root, Options), Name)} of
        {#{}, _} ->
            move(Given, Rest, Options);
        {none, none} ->
            {_, Vsn} = unpack(Given, Options),
            move(Vsn, Rest, Options);
        {none, File} ->
            Vsn = relgraph_upgrade_package:version(File),
            case relgraph_upgrade_books:find(Vsn) of
                #{status := Status} when Status =:= current; Status =:= permanent -> ok;
                _ -> unpack(File, Options)
            end,
            move(Vsn, Rest, Options)
    end;
run_open("downgrade", [Vsn | Rest], Options) ->
    move(Vsn, Rest, Options);
run_open("commit", [], Options) ->
    #{vsn := Vsn} = relgraph_upgrade_books:running(),
    run_open("commit", [Vsn], Options);
run_open("commit", [Vsn], #{root := Root}) ->
    #{vsn := Running, name := Name} = relgraph_upgrade_books:running(),
    Vsn =:= Running orelse fail("~ts does not run: install it first (~ts runs)", [Vsn, Running]),
    writable(Root),
    commit(Vsn, Root),
    [Name, " ", Vsn, " is permanent\n", left()];
run_open("remove", [Vsn], #{root := Root}) ->
    case relgraph_upgrade_books:find(Vsn) of
        none ->
            unknown(Vsn);
        #{status := Status} when Status =:= permanent; Status =:= current ->
            fail("~ts is ~p and cannot be removed", [Vsn, Status]);
        #{name := Name} = Release ->
            writable(Root),
            Count = relgraph_upgrade_package:remove(Release, Root),
            [Name, " ", Vsn, " is removed, with ", count(Count, "application"), "\n"]
    end;
run_open(Command, _, _) ->
    Usage = #{
        "releases" => "",
        "unpack" => " FILE|VERSION",
        "install" => " VERSION",
        "upgrade" => " FILE|VERSION [--restart]",
        "downgrade" => " VERSION [--restart]",
        "commit" => " [VERSION]",
        "remove" => " VERSION"
    },
    fail("usage: ~ts~ts", [Command, maps:get(Command, Usage, "")]).

unpack(Given, #{root := Root}) ->
    #{name := Name} = relgraph_upgrade_books:running(),
    case relgraph_upgrade_package:find(Given, Root, Name) of
        none ->
            case relgraph_upgrade_books:find(Given) of
                none ->
                    Where = "neither a file of that name, nor releases/~ts-~ts.tar.gz",
                    fail("there is no ~ts, and no package of it: " ++ Where, [Given, Name, Given]);
                #{} ->
                    {Name, Given}
            end;
        File ->
            writable(Root),
            {Name, relgraph_upgrade_package:unpack(File, Root)}
    end.

%% To a version, for good.
move(Vsn, Rest, #{root := Root} = Options) ->
    lists:member(Rest, [[], ["--restart"]]) orelse run_open("upgrade", [], Options),
    #{vsn := Running, name := Name} = relgraph_upgrade_books:running(),
    Found = relgraph_upgrade_books:find(Vsn),
    Found =/= none orelse unknown(Vsn),
    case {Vsn =:= Running, relgraph_upgrade_books:permanent()} of
        {true, Vsn} ->
            [Name, " ", Vsn, " runs already and is permanent\n"];
        {true, _} ->
            run_open("commit", [Vsn], Options);
        {false, Permanent} ->
            case relgraph_upgrade_relup:script(Running, Vsn, Root) of
                {restart, _} ->
                    restart(Vsn, Running, Rest, Permanent, Options);
                {ok, _} ->
                    Line = install(Vsn, Options),
                    commit(Vsn, Root),
                    [Line, "; permanent\n", left()]
            end
    end.

%% Another runtime cannot be loaded into this one.
restart(Vsn, Running, Rest, Permanent, #{root := Root}) ->
    #{name := Name} = relgraph_upgrade_books:running(),
    writable(Root),
    case Permanent of
        Vsn ->
            ok;
        _ ->
            relgraph_upgrade_books:make_permanent_later(Vsn, Root),
            relgraph_upgrade_files:scripts(Vsn, Running, Root)
    end,
    Said = [Name, " ", Running, " -> ", Vsn, ": needs another runtime system, so it takes effect at the next start; permanent\n"],
    case {Rest, heart()} of
        {["--restart"], true} ->
            spawn(fun() ->
                timer:sleep(500),
                init:reboot()
            end),
            [Said, "heart starts it now\n"];
        {["--restart"], false} ->
            [Said, "heart does not watch this system: stop it and start it again\n"];
        _ ->
            Said
    end.

heart() ->
    whereis(heart) =/= undefined.

install(Vsn, #{root := Root} = Options) ->
    #{vsn := Running, name := Name, libs := Old} = relgraph_upgrade_books:running(),
    Found = relgraph_upgrade_books:find(Vsn),
    Found =/= none orelse unknown(Vsn),
    Vsn =/= Running orelse fail("~ts ~ts runs already", [Name, Vsn]),
    #{libs := Libs} = Found,
    Script =
        case relgraph_upgrade_relup:script(Running, Vsn, Root) of
            {ok, S} -> S;
            {restart, _} -> fail("from ~ts to ~ts the system has to be restarted: `upgrade` prepares that", [Running, Vsn])
        end,
    Private = private(Root),
    try
        [ok = file:write_file(filename:join(Private, atom_to_list(M) ++ ".beam"), Bin) || {M, _, Bin} <- maps:get(beams, Options)],
        Dir = filename:join([Root, "releases", Vsn]),
        [{ok, Config}, Now] = relgraph_upgrade_config:evaluate_all(
            [#{vsn => Vsn, root => Root, libs => Libs}, #{vsn => Running, root => Root, libs => Old}], Private
        ),
        check(Vsn),
        relgraph_upgrade_relup:stand_in(Running, Vsn, Dir, Private, Config),
        Plan = #{
            script => Script,
            libs => Libs,
            old => Old,
            vsn => Vsn,
            root => Root,
            values => Config,
            %% Where the configuration of now cannot be evaluated any more, nobody knows what was set by hand.
            by_hand => [Kept || {ok, Known} <- [Now], Kept <- relgraph_upgrade_environment:by_hand(Running, Known, Root)],
            restore => relgraph_upgrade_environment:snapshot(Running, Root)
        },
        Loaded = erlang:monotonic_time(millisecond),
        Summary = perform(Plan, Vsn, Private),
        Ended = erlang:monotonic_time(millisecond),
        #{modules := Modules, migrated := Migrated, unpurged := Unpurged} = Summary,
        relgraph_upgrade_books:unpurged(Unpurged),
        io_lib:format("~ts ~ts -> ~ts: ~ts, ~ts migrated, ~p ms", [
            Name, Running, Vsn, count(Modules, "module"), processes(Migrated), Ended - Loaded
        ])
    after
        relgraph_upgrade_package:remove_tree(Private)
    end.

perform(Plan, Vsn, Private) ->
    ?PLAN = ets:new(?PLAN, [named_table, public]),
    try
        ets:insert(?PLAN, {plan, Plan}),
        Install = fun() -> release_handler:install_release(Vsn, [{update_paths, true}]) end,
        case relgraph_upgrade_books:with_folder(Private, Install) of
            {ok, _, _} ->
                ets:lookup_element(?PLAN, summary, 2);
            {error, {relgraph_upgrade, Text, []}} ->
                fail("~ts~n~ts goes on as before", [Text, maps:get(vsn, relgraph_upgrade_books:running())]);
            {error, {relgraph_upgrade, Text, Problems}} ->
                fail("~ts~nNot everything could be undone:~ts", [Text, [["\n  ", Problem] || Problem <- Problems]]);
            {error, Reason} ->
                (maps:get(restore, Plan))(),
                fail("OTP's release handler does not install ~ts: ~ts", [Vsn, reason(Reason)])
        end
    after
        ets:delete(?PLAN)
    end.

reason({'EXIT', {Reason, [_ | _] = Stack}}) -> relgraph_upgrade_script:exception(exit, Reason, Stack);
reason(Reason) -> io_lib:format("~tp", [Reason]).

%% The only instruction of the script that the release handler is given.
perform() ->
    Plan = ets:lookup_element(?PLAN, plan, 2),
    relgraph_upgrade_environment:complete(Plan),
    case relgraph_upgrade_script:run(Plan) of
        {ok, Summary} -> ets:insert(?PLAN, {summary, Summary});
        {error, Text, Problems} -> throw({error, {relgraph_upgrade, Text, Problems}})
    end.

check(Vsn) ->
    case release_handler:check_install_release(Vsn) of
        {ok, _, _} ->
            ok;
        {error, {old_processes, Module}} ->
            Who = relgraph_upgrade_processes:in_old_code(Module),
            fail("~tp cannot be replaced: ~ts still runs the code from before the last upgrade", [Module, Who]);
        {error, {no_such_file, File}} ->
            fail("~ts is missing", [File]);
        {error, Reason} ->
            fail("OTP's release handler refuses ~ts: ~tp", [Vsn, Reason])
    end.

commit(Vsn, Root) ->
    Before = relgraph_upgrade_books:permanent(),
    case release_handler:make_permanent(Vsn) of
        ok -> ok;
        {error, Reason} -> fail("~ts could not be made permanent: ~tp", [Vsn, Reason])
    end,
    relgraph_upgrade_books:relocatable(Root),
    relgraph_upgrade_files:scripts(Vsn, Before, Root),
    relgraph_upgrade_files:environment(Vsn, Root).

%% Processes that go on with code from before.
left() ->
    Left = [Module || {Module, _} <- code:all_loaded(), erlang:check_old_code(Module), not code:soft_purge(Module)],
    [io_lib:format("~tp: ~ts still runs the code from before\n", [M, relgraph_upgrade_processes:in_old_code(M)]) || M <- lists:sort(Left)].

%% A folder of our own, which shows at once whether we may write at all.
private(Root) ->
    Folder = filename:join([Root, "releases", ".upgrade-" ++ os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive]))]),
    case file:make_dir(Folder) of
        ok ->
            ok = file:change_mode(Folder, 8#700),
            Folder;
        {error, Reason} ->
            not_writable(Root, Reason)
    end.

writable(Root) ->
    relgraph_upgrade_package:remove_tree(private(Root)).

not_writable(Root, Reason) ->
    fail("~ts/releases cannot be written to by the user that the system runs as: ~ts", [Root, file:format_error(Reason)]).

unknown(Vsn) ->
    Known = lists:join(", ", [V || {_, V, _} <- relgraph_upgrade_books:all()]),
    fail("there is no version ~ts here (there are: ~ts)", [Vsn, Known]).

count(1, Word) -> ["1 ", Word];
count(N, Word) -> [integer_to_list(N), " ", Word, "s"].

processes(1) -> "1 process";
processes(N) -> [integer_to_list(N), " processes"].

%% Called by relups: gives a supervisor the children of the new version.
children(Map) ->
    relgraph_upgrade_children:change(Map).

%% Called by relups of releases in Mix's layout: loads the consolidated protocols of a version.
protocols(Vsn, Modules) ->
    relgraph_upgrade_children:protocols(Vsn, Modules).

report() ->
    relgraph_upgrade_report:all().

fail(Format, Args) ->
    throw({relgraph_upgrade, io_lib:format(Format, Args)}).
