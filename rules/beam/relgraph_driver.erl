%% Runs one request inside one VM: reads the request, does the work with the project's own tool, writes the answer.
%%
%% The VM loads what every request needs and waits at the FIFO `go' until somebody writes to it. Then the request is there:
%% the file `request' of Erlang terms (`{Key, Value}.'). The answer is one JSON object in the file that it names `response'. A
%% failed request prints what the tool would print and leaves with status 1.
-module(relgraph_driver).

-export([main/1]).

-compile({no_auto_import, [halt/1]}).

%% What carries out a request. Those of Mix are there only when the VM has Elixir.
operation(describe) -> 'Elixir.Relgraph.Describe';
operation(config) -> 'Elixir.Relgraph.Config';
operation(compile) -> 'Elixir.Relgraph.Compile';
operation(consolidate) -> 'Elixir.Relgraph.Consolidate';
operation(boot) -> 'Elixir.Relgraph.Boot';
operation(release_steps) -> 'Elixir.Relgraph.Release';
operation(describe_rebar3) -> relgraph_rebar3_describe;
operation(compile_rebar3) -> relgraph_rebar3_compile;
operation(hooks_rebar3) -> relgraph_rebar3_hooks;
operation(release_rebar3) -> relgraph_relx;
operation(release_otp) -> relgraph_otp_release;
operation(describe_erlang_mk) -> relgraph_make_describe;
operation(compile_erlang_mk) -> relgraph_make_compile;
operation(describe_otp) -> relgraph_otp_describe;
operation(compile_otp) -> relgraph_otp_compile;
operation(relup) -> relgraph_relup.

%% Entry point: where the gate and the request are.
-spec main([string() | binary()]) -> no_return().
main([Folder]) ->
    Elixir = is_list(code:lib_dir(elixir)),
    relgraph_preload:run(),
    Elixir andalso 'Elixir.Relgraph.Mix':start(),
    {ok, Gate} = file:open(filename:join(Folder, "go"), [read, raw]),
    {ok, _} = file:read(Gate, 1),
    {ok, Terms} = file:consult(filename:join(Folder, "request")),
    Request = maps:from_list(Terms),
    try
        prepare(Request, Elixir),
        Recorder = relgraph_trace:start(known(Request)),
        try (operation(maps:get(op, Request))):run(Request) of
            Answer -> respond(Request, Answer, Recorder)
        catch
            Failed:Why:Where ->
                %% What was looked for in vain may be the reason.
                respond(Request, #{}, Recorder),
                erlang:raise(Failed, Why, Where)
        end
    of
        ok -> halt(0)
    catch
        Class:Reason:Stack -> fail(Class, Reason, Stack, Elixir)
    end.

respond(Request, Answer, Recorder) ->
    All = maps:merge(Answer, facts(Request, relgraph_trace:stop(Recorder))),
    ok = file:write_file(maps:get(response, Request), relgraph_json:encode(All)).

%% A module in the working directory is nobody's module; looking for each of them there would be an input of every step.
prepare(#{cwd := Cwd} = Request, Elixir) ->
    code:del_path("."),
    Elixir andalso 'Elixir.Relgraph.Mix':prepare(Request),
    ok = file:set_cwd(unicode:characters_to_list(Cwd)).

%% Where the toolchain lies: its content is part of every key.
known(#{prefix := Prefix}) ->
    [unicode:characters_to_list([Prefix, $/, Dir, $/]) || Dir <- ["otp", "elixir", "driver", "rebar3"]].

facts(#{prefix := Prefix}, #{reads := Reads} = Trace) ->
    Trace#{
        %% What stays absolute is something of the system.
        reads := [[Kind, inside(Path, Prefix)] || {Kind, Path} <- Reads],
        loaded => lists:sort([
            [atom_to_binary(Module), Short]
         || {Module, File} <- code:all_loaded(),
            is_list(File),
            Path <- [unicode:characters_to_binary(File)],
            Short <- [inside(Path, Prefix)],
            Short =/= Path
        ])
    }.

inside(Path, Prefix) ->
    Size = byte_size(Prefix),
    case Path of
        <<Prefix:Size/binary, $/, Short/binary>> -> Short;
        _ -> Path
    end.

%% What was meant for the user is said without a stack trace. A task that left with {shutdown, 1} has said why already.
fail(exit, {shutdown, _}, _Stack, _Elixir) ->
    halt(1);
fail(throw, {relgraph, Message}, _Stack, _Elixir) ->
    io:put_chars(standard_error, [Message, $\n]),
    halt(1);
fail(Class, Reason, Stack, true) ->
    'Elixir.Relgraph.Mix':fail(Class, Reason, Stack),
    halt(1);
fail(Class, Reason, Stack, false) ->
    io:put_chars(standard_error, [erl_error:format_exception(Class, Reason, Stack), $\n]),
    halt(1).

%% Output goes through the group leader: let it drain.
halt(Status) ->
    erlang:halt(Status, [{flush, true}]).
