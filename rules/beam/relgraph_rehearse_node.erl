%% What a node tells of itself while an upgrade is rehearsed. Loaded into the running release; changes nothing.
-module(relgraph_rehearse_node).

-export([started/0, snapshot/1]).

%% Waits until the boot script has run to its end.
started() ->
    case init:get_status() of
        {started, _} ->
            ok;
        {starting, _} ->
            timer:sleep(100),
            started()
    end.

%% Writes what the node is to a file.
snapshot(File) ->
    ok = file:write_file(unicode:characters_to_list(File), term_to_binary(relgraph_upgrade:report())),
    ok.
