%% What `bin/NAME' runs in a system of its own to have the running one upgrade itself.
-module(relgraph_upgrade_client).

-export([main/4]).

%% Puts our modules into the node, has it carry out the command, prints the answer and ends. `Beams': `[{Module, File, Binary}]'.
main(Node, Beams, Command, Args) ->
    [io:setopts(Device, [{encoding, unicode}]) || Device <- [standard_io, standard_error]],
    Root = os:getenv("RELEASE_ROOT"),
    case rpc:call(Node, erlang, whereis, [relgraph_upgrade]) of
        undefined ->
            Missing = [Beam || {Module, _, Bin} = Beam <- Beams, loaded(Node, Module) =/= code:module_md5(Bin)],
            Loaded = [rpc:call(Node, code, load_binary, [Module, File, Bin]) || {Module, File, Bin} <- Missing],
            case [Other || Other <- Loaded, element(1, Other) =/= module] of
                [] -> answer(rpc:call(Node, relgraph_upgrade, command, [Command, Args, #{root => Root, beams => Beams}]));
                [Wrong | _] -> failed(io_lib:format("the node does not load what upgrades it: ~tp", [Wrong]))
            end;
        {badrpc, _} ->
            failed([atom_to_list(Node), " does not answer: it is not running, or its cookie or its name is another"]);
        _ ->
            failed("another command changes the versions of this system right now")
    end.

loaded(Node, Module) ->
    case rpc:call(Node, code, is_loaded, [Module]) of
        {file, _} -> rpc:call(Node, Module, module_info, [md5]);
        _ -> none
    end.

answer({ok, Text}) ->
    io:put_chars(printable(Text)),
    halt(0);
answer({error, Text}) ->
    failed(Text);
answer({badrpc, Reason}) ->
    failed(io_lib:format("the node did not answer to the end: ~tp", [Reason])).

failed(Text) ->
    io:put_chars(standard_error, ["ERROR: ", string:trim(printable(Text)), "\n"]),
    halt(1).

printable(Text) when is_binary(Text) -> unicode:characters_to_list(Text);
printable(Text) -> unicode:characters_to_list(Text).
