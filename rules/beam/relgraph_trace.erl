%% Records what a step read: files, folders, environment variables, and programs that it started.
%%
%% Every file operation of the VM ends in `prim_file', every look at the environment in `os', every program in
%% `erlang:open_port/2'. Tracing calls of these finds inputs that nobody declared. Paths may be relative and the working
%% directory may move, so events carry timestamps and are put in order before paths are resolved.
-module(relgraph_trace).

-export([start/1, stop/1]).

-define(FLAGS, [call, strict_monotonic_timestamp]).

%% The functions that read, each with what reading by it means.
reads() ->
    #{
        {open, 2} => content,
        {read_file, 1} => content,
        {copy, 3} => content,
        {read_link, 1} => content,
        {read_link_all, 1} => content,
        {list_dir, 1} => listing,
        {list_dir_all, 1} => listing,
        {list_dir, 2} => listing,
        {read_file_info, 1} => kind,
        {read_file_info, 2} => kind,
        {read_link_info, 1} => kind,
        {read_link_info, 2} => kind
    }.

%% Starts recording in this VM, without what happens in the folders `Known'. Returns the recorder to give to stop/1.
-spec start([string()]) -> pid().
start(Known) ->
    {ok, Cwd} = file:get_cwd(),
    Recorder = spawn(fun() -> record(#{reads => reads(), events => [], seen => #{}, checking => false}) end),
    {module, prim_file} = code:ensure_loaded(prim_file),
    pattern(prim_file, set_cwd, 1),
    [pattern(prim_file, Name, Arity, silent(Known, Arity)) || {Name, Arity} <- maps:keys(reads())],
    [pattern(os, Name, Arity) || {Name, Arity} <- [{getenv, 0}, {getenv, 1}, {env, 0}]],
    pattern(erlang, open_port, 2),
    %% The one calls the other from inside, which is not seen.
    [pattern(os, cmd, Arity) || Arity <- [1, 2]],
    pattern('Elixir.Code', fetch_docs, 1),
    pattern('Elixir.Module.ParallelChecker', verify, 2, [{'_', [], [{return_trace}]}]),
    erlang:trace(all, true, [{tracer, Recorder} | ?FLAGS]),
    put(relgraph_cwd, text(Cwd)),
    Recorder.

%% Stops recording; returns `#{reads => [{Kind, Path}], env => [Name], programs => [[Word]], docs => [Module]}'.
-spec stop(pid()) -> map().
stop(Recorder) ->
    erlang:trace(all, false, ?FLAGS),
    Delivered = erlang:trace_delivered(all),
    receive
        {trace_delivered, all, Delivered} -> ok
    end,
    Recorder ! {stop, self()},
    receive
        {recorded, Events} -> summarize(Events, get(relgraph_cwd))
    end.

pattern(Module, Name, Arity) ->
    pattern(Module, Name, Arity, true).

pattern(Module, Name, Arity, Spec) ->
    erlang:trace_pattern({Module, Name, Arity}, Spec, []).

%% Loading the code of Erlang and Elixir makes most of the calls. The paths are character lists, whose beginning a match
%% specification can tell: these calls cost no message.
silent(Known, Arity) ->
    Rest = lists:duplicate(Arity - 1, '_'),
    Quiet = [{[Folder ++ '_' | Rest], [], [{message, false}]} || Folder <- Known],
    Quiet ++ [{'_', [], []}].

%% Absolute paths come by the thousand (code loading looks through every folder): they are kept once. Relative ones and
%% moves of the working directory are all kept, with their time.
record(#{checking := Checking} = State) ->
    receive
        {trace_ts, _, call, {'Elixir.Module.ParallelChecker', _, _}, _} ->
            record(State#{checking := []});
        {trace_ts, _, return_from, {'Elixir.Module.ParallelChecker', _, _}, _, _} ->
            [unload(Path) || is_list(Checking), Path <- Checking],
            record(State#{checking := false});
        {trace_ts, _, call, {Module, Name, Args}, Time} ->
            record(keep(State, event(State, Module, Name, Args), Time));
        {stop, From} ->
            From ! {recorded, [Event || {_, Event} <- lists:sort(maps:get(events, State))]}
    end.

keep(State, none, _Time) ->
    State;
keep(#{events := Events, seen := Seen, checking := Checking} = State, Event, Time) ->
    Once = is_once(Event),
    case Once andalso is_map_key(Event, Seen) of
        true ->
            State;
        false ->
            {Kept, Checked} = checked(Event, Checking),
            Now =
                case Once of
                    true -> Seen#{Kept => true};
                    false -> Seen
                end,
            State#{events := [{Time, Kept} | Events], seen := Now, checking := Checked}
    end.

%% When all is compiled, Elixir's compiler looks at the modules that were called, for its warnings. It loads those that are
%% not Elixir's to see their exports, though nothing in them runs: what is first read then is only looked at.
checked({read, content, Path} = Event, Checking) when is_list(Checking) ->
    case filename:extension(Path) of
        <<".beam">> -> {{read, checked, Path}, [Path | Checking]};
        _ -> {Event, Checking}
    end;
checked(Event, Checking) ->
    {Event, Checking}.

%% Should something call them later after all, they are read again, and that counts.
unload(Path) ->
    Module = binary_to_atom(filename:basename(Path, <<".beam">>)),
    %% Not `code:which/1': of what is not loaded it finds the file, in all folders of the code path.
    case code:is_loaded(Module) of
        {file, File} when is_list(File) ->
            case text(File) of
                Path -> code:purge(Module) andalso code:delete(Module);
                _ -> false
            end;
        _ ->
            false
    end.

is_once({cwd, _}) -> false;
is_once({read, _, Path}) -> filename:pathtype(Path) =:= absolute;
is_once({program, _, Folder}) -> filename:pathtype(Folder) =:= absolute;
is_once(_) -> true.

event(_, prim_file, set_cwd, [Path]) ->
    {cwd, text(Path)};
event(_, prim_file, open, [Path, Modes]) when is_list(Modes) ->
    %% A file opened only for writing is an output.
    Writes = [Mode || Mode <- Modes, Mode =:= write orelse Mode =:= append orelse Mode =:= exclusive],
    case Writes =/= [] andalso not lists:member(read, Modes) of
        true -> none;
        false -> {read, content, text(Path)}
    end;
event(#{reads := Reads}, prim_file, Name, [Path | _] = Args) when is_binary(Path); is_list(Path) ->
    %% What is neither is an open file, which was seen when it was opened.
    case Reads of
        #{{Name, length(Args)} := Kind} -> {read, Kind, text(Path)};
        _ -> none
    end;
event(_, os, getenv, [Name]) ->
    {env, text(Name)};
event(_, os, _, []) ->
    {env, <<"*">>};
%% The shell of os:cmd/1 is told by its input what to do.
event(_, os, cmd, [Command | _]) ->
    {program, [text(Command)]};
event(_, erlang, open_port, [{spawn, Command}, Options]) ->
    program([text(Command)], Options);
event(_, erlang, open_port, [{spawn_executable, File}, Options]) ->
    program([text(File) | arguments(Options)], Options);
event(_, 'Elixir.Code', fetch_docs, [Module]) when is_atom(Module) ->
    {docs, atom_to_binary(Module)};
event(_, _, _, _) ->
    none.

%% The folder that a program is started in is what it works on.
program(Words, Options) when is_list(Options) ->
    case lists:keyfind(cd, 1, Options) of
        {cd, Folder} when is_list(Folder); is_binary(Folder) -> {program, Words, text(Folder)};
        _ -> {program, Words}
    end;
program(Words, _) ->
    {program, Words}.

arguments(Options) when is_list(Options) ->
    case lists:keyfind(args, 1, Options) of
        {args, Args} when is_list(Args) -> [text(Arg) || Arg <- Args];
        _ -> []
    end;
arguments(_) ->
    [].

text(Chars) ->
    case unicode:characters_to_binary(Chars) of
        Text when is_binary(Text) -> Text;
        _ -> unicode:characters_to_binary(io_lib:format("~tp", [Chars]))
    end.

summarize(Events, Cwd) ->
    Start = #{reads => #{}, env => #{}, programs => #{}, docs => #{}},
    {Found, _} = lists:foldl(fun add/2, {Start, Cwd}, Events),
    maps:map(fun(_, Set) -> lists:sort(maps:keys(Set)) end, Found).

add({cwd, Path}, {Found, Cwd}) ->
    {Found, expand(Path, Cwd)};
add({read, Kind, Path}, {Found, Cwd}) ->
    {put(reads, {Kind, expand(Path, Cwd)}, Found), Cwd};
add({env, Name}, {Found, Cwd}) ->
    {put(env, Name, Found), Cwd};
add({program, Command}, {Found, Cwd}) ->
    {put(programs, Command, Found), Cwd};
add({program, [Name | _] = Command, Folder}, {Found, Cwd}) ->
    Started = put(programs, Command, Found),
    %% What git is asked about is found out from its arguments.
    case filename:basename(Name) of
        <<"git">> -> {Started, Cwd};
        _ -> {put(reads, {tree, expand(Folder, Cwd)}, Started), Cwd}
    end;
add({docs, Module}, {Found, Cwd}) ->
    {put(docs, Module, Found), Cwd}.

put(Key, Item, Found) ->
    #{Key := Set} = Found,
    Found#{Key := Set#{Item => true}}.

%% The absolute path without `.' and `..'.
expand(Path, Cwd) ->
    Parts = lists:foldl(fun part/2, [], filename:split(filename:absname(Path, Cwd))),
    filename:join(lists:reverse(Parts)).

part(<<".">>, Parts) -> Parts;
part(<<"..">>, [Root]) -> [Root];
part(<<"..">>, [_ | Parts]) -> Parts;
part(Part, Parts) -> [Part | Parts].
