%% Carries out the script of a relup so that it can be undone: when an instruction fails, the node goes on as before, every process
%% with its state.
-module(relgraph_upgrade_script).

-export([run/1, vsn/1, note/1, is_running/0, exception/3]).

-import(relgraph_upgrade_processes, [name/1]).

%% What was done so far, newest first, is in the dictionary: an instruction may fail halfway.
-define(JOURNAL, relgraph_upgrade_journal).

%% `script', `libs' (of the version to install, with absolute folders), `old' (those of the version that runs), `restore' (puts the
%% environment back).
-spec run(map()) -> {ok, map()} | {error, iodata(), [iodata()]}.
run(#{script := Script} = Plan) ->
    put(?JOURNAL, []),
    try
        Modules = [M || {Step, {M, _, _}} <- Script, Step =:= load orelse Step =:= remove],
        check_old(Script),
        [note({before, M, before(M, maps:get(old, Plan))}) || M <- lists:usort(Modules)],
        State = #{
            libs => maps:get(libs, Plan),
            bins => #{},
            vsns => #{},
            suspended => [],
            stopped => [],
            unpurged => []
        },
        Last = each(Script, State),
        check_loaded(Last),
        {ok, summary(Last)}
    catch
        throw:{relgraph_upgrade, Text} -> failed(Text, Plan);
        Class:Reason:Stack -> failed(exception(Class, Reason, Stack), Plan)
    after
        erase(?JOURNAL),
        [erase(Key) || {relgraph_upgrade_children, _} = Key <- get_keys()]
    end.

failed(Text, Plan) ->
    Journal = get(?JOURNAL),
    put(?JOURNAL, closed),
    {error, Text, relgraph_upgrade_rollback:run(Journal, Plan)}.

%% Arguments are left out: they may be states, and configurations with secrets.
exception(error, #{'__exception__' := true, '__struct__' := Name} = Exception, Stack) ->
    Message = 'Elixir.Exception':message(Exception),
    io_lib:format("~tp: ~ts~ts", [Name, Message, [["\n  in ", call(Call)] || Call <- Stack]]);
exception(Class, Reason, Stack) ->
    string:trim(erl_error:format_exception(Class, Reason, [arity(Call) || Call <- Stack])).

call(Call) ->
    {M, F, A, Where} = arity(Call),
    io_lib:format("~tp:~tp/~p (~ts:~p)", [M, F, A, proplists:get_value(file, Where, ""), proplists:get_value(line, Where, 0)]).

arity({M, F, Args, Where}) when is_list(Args) -> {M, F, length(Args), Where};
arity(Call) -> Call.

%% Writes down what was done.
note(Entry) ->
    case get(?JOURNAL) of
        Journal when is_list(Journal) -> put(?JOURNAL, [Entry | Journal]);
        _ -> ok
    end.

%% Whether what is called now is called by a script that can be undone.
is_running() ->
    is_list(get(?JOURNAL)).

each([], State) ->
    State;
each([Instruction | Rest], State) ->
    Next =
        try
            eval(Instruction, State)
        catch
            throw:{relgraph_upgrade, Text} ->
                throw({relgraph_upgrade, Text});
            Class:Reason:Stack ->
                Text = exception(Class, Reason, Stack),
                throw({relgraph_upgrade, io_lib:format("~tp failed:~n~ts", [Instruction, Text])})
        end,
    each(Rest, Next).

%% A module that is to be replaced without killing anybody must have no process that runs code even older.
check_old(Script) ->
    lists:foreach(
        fun
            ({Step, {Module, soft_purge, _}}) when Step =:= load; Step =:= remove ->
                refuse_old(Module);
            (_) ->
                ok
        end,
        Script
    ).

refuse_old(Module) ->
    case code:soft_purge(Module) of
        true ->
            ok;
        false ->
            Who = relgraph_upgrade_processes:in_old_code(Module),
            fail("~tp cannot be replaced: ~ts still runs the code from before the last upgrade", [Module, Who])
    end.

%% The module as it is: its object code, to be loaded again.
before(Module, Libs) ->
    case code:is_loaded(Module) of
        false -> absent;
        {file, File} ->
            Name = atom_to_list(Module) ++ ".beam",
            {File, object(Module, [File | [filename:join([Dir, "ebin", Name]) || {_, _, Dir} <- Libs]])}
    end.

object(Module, Files) ->
    Md5 = Module:module_info(md5),
    Read = lists:flatmap(fun(File) -> read(File) end, [F || F <- lists:sublist(Files, 1), is_list(F)]),
    case [Bin || Bin <- Read, code:module_md5(Bin) =:= Md5] of
        [Bin | _] -> Bin;
        [] ->
            More = lists:flatmap(fun(File) -> read(File) end, [F || F <- lists:nthtail(1, Files), is_list(F)]),
            case [Bin || Bin <- More, code:module_md5(Bin) =:= Md5] ++ Read ++ More of
                [Bin | _] -> Bin;
                [] -> none
            end
    end.

read(File) ->
    case erl_prim_loader:get_file(File) of
        {ok, Bin, _} -> [Bin];
        error -> []
    end.

eval({load_object_code, {Lib, Vsn, Modules}}, #{libs := Libs, bins := Bins, vsns := Vsns} = State) ->
    case lists:keyfind(Lib, 1, Libs) of
        {Lib, Vsn, Dir} ->
            Read = [{Module, object_code(Dir, Module)} || Module <- Modules],
            Versions = maps:from_list([{M, {current_vsn(M), vsn(Bin)}} || {M, {_, Bin}} <- Read]),
            %% The first look is at what ran before anything was loaded.
            State#{bins := maps:merge(Bins, maps:from_list(Read)), vsns := maps:merge(Versions, Vsns)};
        {Lib, Other, _} ->
            fail("the script asks for ~ts ~ts, and the release has ~ts", [Lib, Vsn, Other]);
        false ->
            fail("the script asks for ~ts ~ts, which the release does not have", [Lib, Vsn])
    end;
eval(point_of_no_return, #{libs := Libs} = State) ->
    lists:foreach(fun path/1, Libs),
    State;
eval({suspend, Specs}, #{suspended := Suspended} = State) ->
    Already = [Pid || {_, Pids} <- Suspended, Pid <- Pids],
    Processes = relgraph_upgrade_processes:all(Already),
    More = [suspend(Spec, Processes, Already) || Spec <- Specs],
    State#{suspended := More ++ Suspended};
eval({resume, Modules}, #{suspended := Suspended} = State) ->
    {Now, Later} = lists:partition(fun({Module, _}) -> lists:member(Module, Modules) end, Suspended),
    lists:foreach(
        fun(Pid) ->
            note({resumed, Pid}),
            relgraph_upgrade_processes:resume(Pid)
        end,
        lists:usort([Pid || {_, Pids} <- Now, Pid <- Pids])
    ),
    State#{suspended := Later};
eval({code_change, Modules}, State) ->
    eval({code_change, up, Modules}, State);
eval({code_change, Mode, Modules}, #{suspended := Suspended, vsns := Vsns} = State) ->
    lists:foreach(
        fun({Module, Extra}) ->
            {Old, New} = maps:get(Module, Vsns, {undefined, undefined}),
            Vsn = if Mode =:= up -> Old; true -> {down, New} end,
            Pids = lists:usort([Pid || {M, Of} <- Suspended, M =:= Module, Pid <- Of]),
            [change_code(Pid, Module, Mode, Vsn, Extra) || Pid <- Pids]
        end,
        Modules
    ),
    State;
eval({load, {Module, Pre, Post}}, #{bins := Bins} = State) ->
    case Bins of
        #{Module := {File, Bin}} ->
            make_room(Module, Pre),
            note({loaded, Module}),
            case code:load_binary(Module, File, Bin) of
                {module, Module} -> ok;
                {error, Reason} -> fail("~tp could not be loaded: ~tp", [Module, Reason])
            end,
            after_purge(Module, Post, State);
        #{} ->
            fail("the script loads ~tp, whose code it did not read", [Module])
    end;
eval({remove, {Module, Pre, Post}}, State) ->
    make_room(Module, Pre),
    note({loaded, Module}),
    code:delete(Module),
    after_purge(Module, Post, State);
eval({purge, Modules}, State) ->
    [code:purge(Module) || Module <- Modules],
    State;
eval({stop, Modules}, #{stopped := Stopped} = State) ->
    Processes = relgraph_upgrade_processes:all([]),
    State#{stopped := [{Module, stop(Module, Processes)} || Module <- Modules] ++ Stopped};
eval({start, Modules}, #{stopped := Stopped} = State) ->
    {Now, Later} = lists:partition(fun({Module, _}) -> lists:member(Module, Modules) end, Stopped),
    Again = [Child || {_, Of} <- Now, Child <- lists:reverse(Of)],
    [relgraph_upgrade_apply:run(supervisor, restart_child, [Supervisor, Id]) || {Supervisor, Id} <- Again],
    State#{stopped := Later};
eval({apply, {M, F, A}}, State) ->
    relgraph_upgrade_apply:run(M, F, A),
    State;
eval({sync_nodes, _, _}, _) ->
    fail("the script waits for other nodes (sync_nodes), which is not supported", []);
eval(Restart, _) when Restart =:= restart_emulator; Restart =:= restart_new_emulator ->
    fail("the script restarts the system in between", []);
eval(Other, _) ->
    fail("the script has an instruction that is not known: ~tp", [Other]).

object_code(Dir, Module) ->
    File = filename:join([Dir, "ebin", atom_to_list(Module) ++ ".beam"]),
    case erl_prim_loader:get_file(File) of
        {ok, Bin, Name} -> {Name, Bin};
        error -> fail("~ts is missing", [File])
    end.

current_vsn(Module) ->
    case code:ensure_loaded(Module) of
        {module, _} -> plain(proplists:get_value(vsn, Module:module_info(attributes)));
        _ -> undefined
    end.

%% The version of a module's code as `release_handler' hands it to `code_change'.
vsn(Bin) ->
    case beam_lib:version(Bin) of
        {ok, {_, Vsn}} -> plain(Vsn);
        _ -> undefined
    end.

plain(Vsn) ->
    case misc_supp:is_string(Vsn) of
        true -> Vsn;
        false ->
            case Vsn of
                [One] -> One;
                _ -> Vsn
            end
    end.

path({Lib, _, Dir}) ->
    Ebin = filename:join(Dir, "ebin"),
    Before = code:lib_dir(Lib),
    case Before of
        Dir ->
            ok;
        _ ->
            note({path, Lib, Before, Ebin}),
            code:replace_path(Lib, Ebin)
    end.

suspend(Spec, Processes, Already) ->
    {Module, Timeout} =
        case Spec of
            {M, T} -> {M, T};
            M -> {M, default}
        end,
    Pids = relgraph_upgrade_processes:running(Module, Processes),
    {Module, [Pid || Pid <- Pids, suspended(Pid, Module, Timeout, Already)]}.

suspended(Pid, Module, Timeout, Already) ->
    case lists:member(Pid, Already) orelse relgraph_upgrade_processes:suspend(Pid, Timeout) of
        true -> true;
        gone -> false;
        ok ->
            note({suspended, Pid}),
            note({state, Pid, relgraph_upgrade_processes:state(Pid)}),
            true;
        {error, Text} ->
            fail("~ts, which runs ~tp, ~ts", [name(Pid), Module, Text])
    end.

change_code(Pid, Module, Mode, Vsn, Extra) ->
    note({changed, Pid, Module, Mode, Vsn, Extra}),
    case relgraph_upgrade_processes:change_code(Pid, Module, Vsn, Extra, default) of
        ok ->
            ok;
        {error, Reason} ->
            case is_process_alive(Pid) of
                true ->
                    fail("~tp:code_change(~tp, …) of ~ts failed: ~ts", [Module, Vsn, name(Pid), reason(Reason)]);
                false ->
                    fail("~tp:code_change(~tp, …) ended the process ~p: ~ts", [Module, Vsn, Pid, reason(Reason)])
            end
    end.

reason({'EXIT', {Reason, [_ | _] = Stack}}) -> ["\n", exception(error, Reason, lists:sublist(Stack, 3))];
reason({'EXIT', Reason}) -> reason(Reason);
reason(Reason) -> io_lib:format("~tp", [Reason]).

make_room(Module, soft_purge) -> refuse_old(Module);
make_room(Module, _) -> code:purge(Module).

after_purge(Module, Post, #{unpurged := Unpurged} = State) ->
    Rest = lists:keydelete(Module, 1, Unpurged),
    case code:soft_purge(Module) of
        true -> State#{unpurged := Rest};
        false -> State#{unpurged := [{Module, Post} | Rest]}
    end.

stop(Module, Processes) ->
    Of = [
        {Supervisor, Id}
     || {Supervisor, Id, _, Modules} <- Processes, is_pid(Supervisor), Id =/= undefined, lists:member(Module, Modules)
    ],
    [relgraph_upgrade_apply:run(supervisor, terminate_child, [Supervisor, Id]) || {Supervisor, Id} <- Of],
    lists:reverse(Of).

%% Whether what runs now is what was to be loaded.
check_loaded(#{bins := Bins}) ->
    Loaded = lists:usort([Module || {loaded, Module} <- get(?JOURNAL)]),
    [
        fail("~tp is not the code that was loaded", [Module])
     || Module <- Loaded,
        #{Module := {_, Bin}} <- [Bins],
        code:is_loaded(Module) =/= false,
        Module:module_info(md5) =/= code:module_md5(Bin)
    ].

summary(#{unpurged := Unpurged}) ->
    Journal = get(?JOURNAL),
    #{
        modules => length(lists:usort([Module || {loaded, Module} <- Journal])),
        migrated => length(lists:usort([Pid || {changed, Pid, _, _, _, _} <- Journal])),
        unpurged => Unpurged
    }.

fail(Format, Args) ->
    throw({relgraph_upgrade, io_lib:format(Format, Args)}).
