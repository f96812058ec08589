%% Compiles one application of an erlang.mk project, with make, in its own folder.
-module(relgraph_make_compile).

-export([run/1]).

%% The recipe says how make is called; `keep' names the variables of the user that it sees, `clean' whether an earlier make
%% left something in the folder.
-spec run(map()) -> map().
run(#{recipe := File, dest := Dest, keep := Keep, clean := Clean, app := App}) ->
    {ok, Bytes} = file:read_file(File),
    #{arguments := Arguments, targets := Targets, env := Given} = binary_to_term(Bytes),
    Known = [unicode:characters_to_list(Name) || Name <- Keep],
    Env = [{Name, false} || {Name, _} <- os:env(), not lists:member(Name, Known)] ++ Given,
    Folder = unicode:characters_to_list(Dest),
    [built(relgraph_make:build(Folder, Arguments, Env, ["clean"]), App) || Clean],
    built(relgraph_make:build(Folder, Arguments, Env, Targets), App),
    #{}.

built(ok, _) -> ok;
built({failed, Status}, App) -> relgraph_make:say("make could not build ~ts: status ~b", [App, Status]).
