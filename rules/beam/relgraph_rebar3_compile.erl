%% Compiles one application of a rebar3 project, with rebar3's own compilers and hooks.
-module(relgraph_rebar3_compile).

-export([run/1]).

%% Compiles the application of `recipe' into the folder that this names. `code_paths' are the folders of modules that it sees,
%% `beside' the sources of other applications of the project, where rebar3 looks for what they include.
-spec run(map()) -> map().
run(#{recipe := File, code_paths := Paths, beside := Beside} = Request) ->
    ok = relgraph_rebar3_source:use(Request),
    {State, App} = relgraph_recipe:read(File),
    put(relgraph_no_plugins, rebar_state:get(State, relgraph_no_plugins, [])),
    ok = rebar_log:init(command_line, rebar_log:default_level()),
    rebar_paths:set_paths([plugins], State),
    ok = code:add_pathsa([unicode:characters_to_list(Path) || Path <- Paths]),
    ok = code:add_pathsz([unicode:characters_to_list(Path) || Path <- Beside]),
    Dir = rebar_app_info:dir(App),
    try
        rebar_prv_compile:copy_app_dirs(App, Dir, rebar_app_info:out_dir(App)),
        true = code:add_pathz(unicode:characters_to_list(Dir)),
        rebar_prv_compile:compile(State, rebar_state:providers(State), App),
        #{}
    catch
        Class:Reason:Stack when Class =/= exit -> relgraph_rebar3:say(Reason, {Class, Stack})
    end.
