%% Hooks of a rebar3 project that belong to none of its applications.
-module(relgraph_rebar3_hooks).

-export([asked_for/1, write/2, run/1]).

%% Whether there are hooks before and after the applications of the project are compiled. rebar3 has taken away what is the
%% business of an application in the project's folder.
-spec asked_for(tuple()) -> #{pre := boolean(), post := boolean()}.
asked_for(State) ->
    Opts = rebar_state:opts(State),
    Artifacts = rebar_opts:get(Opts, artifacts, []) =/= [],
    #{pre => any(pre_hooks, pre, Opts), post => any(post_hooks, post, Opts) orelse Artifacts}.

any(Kind, Type, Opts) ->
    Commands = [element(tuple_size(Hook) - 1, Hook) || Hook <- rebar_opts:get(Opts, Kind, []), is_tuple(Hook)],
    Providers = proplists:get_value(Type, rebar_opts:get(Opts, provider_hooks, []), []),
    lists:member(compile, Commands) orelse proplists:is_defined(compile, Providers).

%% Writes what they need into a file.
-spec write(file:name_all(), tuple()) -> ok.
write(File, State) ->
    file:write_file(File, relgraph_terms:encode(State)).

%% Runs those of the type `pre' or `post'.
-spec run(map()) -> map().
run(#{recipe := File, type := Type, code_paths := Paths} = Request) ->
    ok = relgraph_rebar3_source:use(Request),
    {ok, Bytes} = file:read_file(File),
    State = binary_to_term(Bytes),
    put(relgraph_no_plugins, rebar_state:get(State, relgraph_no_plugins, [])),
    ok = rebar_log:init(command_line, rebar_log:default_level()),
    rebar_paths:set_paths([plugins], State),
    ok = code:add_pathsa([unicode:characters_to_list(Path) || Path <- Paths]),
    try
        rebar_hooks:run_all_hooks(rebar_state:dir(State), Type, compile, rebar_state:providers(State), State),
        Type =:= post andalso artifacts(State),
        #{}
    catch
        Class:Reason:Stack when Class =/= exit -> relgraph_rebar3:say(Reason, {Class, Stack})
    end.

artifacts(State) ->
    case rebar_state:has_all_artifacts(State) of
        true -> ok;
        {false, File} -> relgraph_rebar3:say({error, {rebar_prv_compile, {missing_artifact, File}}}, [])
    end.
