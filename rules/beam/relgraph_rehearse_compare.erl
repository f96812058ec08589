%% Compares what two nodes tell of themselves (`relgraph_upgrade:report/0').
-module(relgraph_rehearse_compare).

-export([modules/2, old_code/1, processes/3, tree/2, config/2, releases/2, notes/2]).

%% Every module that both have loaded is the same.
modules(#{modules := Now}, #{modules := Like}) ->
    Known = maps:from_list(Like),
    [
        io_lib:format("the module ~tp is not the one of this version", [Module])
     || {Module, Md5} <- Now,
        Other <- [maps:get(Module, Known, Md5)],
        Other =/= Md5
    ].

old_code(#{processes := _}) -> [].
processes(_, _, _) -> [].
tree(_, _) -> [].
config(_, _) -> [].
releases(_, _) -> [].
notes(_, _) -> [].
