%% Compares what a node tells of itself (`relgraph_upgrade:report/0') with what it was, and with what another one is that came to
%% the same version in another way.
-module(relgraph_rehearse_compare).

-export([modules/2, old_code/1, processes/4, tree/2, config/2, releases/2, ended/2]).

%% Every module that both have loaded is the same.
modules(#{modules := Now}, #{modules := Like}) ->
    Known = maps:from_list(Like),
    [
        io_lib:format("the module ~ts is not the one of this version", [name(Module)])
     || {Module, Md5} <- Now,
        not ours(Module),
        Other <- [maps:get(Module, Known, Md5)],
        Other =/= Md5
    ].

%% What upgrades and what rehearses comes from the newest version.
ours(Module) -> lists:prefix("relgraph_", atom_to_list(Module)).

old_code(#{processes := Processes}) ->
    [
        io_lib:format("the process ~ts still runs the old code of ~ts", [process(Process), name(Module)])
     || #{old_code := Old} = Process <- Processes,
        Module <- Old,
        not ours(Module)
    ].

%% Every supervised process that has a place in both versions is still the same one, but for those of applications that are
%% restarted on purpose.
processes(#{processes := Before}, #{processes := Now}, #{processes := Like}, Restarted) ->
    Alive = maps:from_list([{Pid, true} || #{pid := Pid} <- Now]),
    Places = maps:from_list([{Path, true} || #{path := Path} <- Like, Path =/= none]),
    [
        io_lib:format("the process ~ts was ended or restarted", [process(Process)])
     || #{pid := Pid, path := [App | _] = Path} = Process <- Before,
        not lists:member(App, Restarted),
        lists:last(Path) =/= undefined,
        maps:is_key(Path, Places),
        not maps:is_key(Pid, Alive)
    ].

%% Children that come and go: that they went may have been their own wish.
ended(#{processes := Before}, #{processes := Now}) ->
    Alive = maps:from_list([{Pid, true} || #{pid := Pid} <- Now]),
    [
        io_lib:format("~ts, which comes and goes, has ended meanwhile", [process(Process)])
     || #{pid := Pid, path := [_ | _] = Path} = Process <- Before,
        lists:last(Path) =:= undefined,
        not maps:is_key(Pid, Alive)
    ].

%% The same applications run, with the same children in the same order.
tree(#{supervision := Now}, #{supervision := Like}) ->
    Apps = lists:usort([App || {App, _} <- Now ++ Like]),
    lists:append([tree(App, proplists:get_value(App, Now), proplists:get_value(App, Like)) || App <- Apps]).

tree(App, Now, undefined) when Now =/= undefined ->
    [io_lib:format("the application ~ts runs, and would not", [name(App)])];
tree(App, undefined, Like) when Like =/= undefined ->
    [io_lib:format("the application ~ts does not run, and would", [name(App)])];
tree(App, Now, Like) ->
    children([name(App)], Now, Like).

children(_, Same, Same) ->
    [];
children(Path, {Id, _, _, Now}, {Id, _, _, Like}) ->
    {Has, Would} = {fixed(Now), fixed(Like)},
    case {ids(Has), ids(Would)} of
        {Ids, Ids} ->
            Pairs = lists:zip(Has, Would),
            lists:append([child(Path ++ [name(element(1, One))], One, Other) || {One, Other} <- Pairs]);
        {Ids, Others} ->
            [
                io_lib:format("the children of ~ts are ~ts, and would be ~ts", [
                    lists:join(" / ", Path), listed(Ids), listed(Others)
                ])
            ]
    end;
children(Path, _, _) ->
    [io_lib:format("~ts is another supervisor", [lists:join(" / ", Path)])].

child(Path, {_, Type, Modules, _}, {_, Type2, Modules2, _}) when Type =/= Type2; Modules =/= Modules2 ->
    [io_lib:format("~ts is a ~p of ~tp, and would be a ~p of ~tp", [lists:join(" / ", Path), Type, Modules, Type2, Modules2])];
child(Path, One, Other) ->
    children(Path, One, Other).

%% Children without a name of their own come and go.
fixed(Children) -> [Child || {Id, _, _, _} = Child <- Children, Id =/= undefined].

ids(Children) -> [Id || {Id, _, _, _} <- Children].

listed([]) -> "none";
listed(Ids) -> lists:join(", ", [name(Id) || Id <- Ids]).

%% The configuration is what it would be. Values may be secrets and are not shown.
config(#{environment := Now}, #{environment := Like}) ->
    Apps = lists:usort([App || {App, _} <- Now, lists:keymember(App, 1, Like)]),
    lists:append([config(App, proplists:get_value(App, Now), proplists:get_value(App, Like)) || App <- Apps]).

config(App, Now, Like) ->
    Keys = lists:usort([Key || {Key, _} <- Now ++ Like]),
    lists:append([
        case {lists:keyfind(Key, 1, Now), lists:keyfind(Key, 1, Like)} of
            {Same, Same} -> [];
            {false, _} -> [io_lib:format("the configuration ~ts ~ts is missing", [name(App), name(Key)])];
            {_, false} -> [io_lib:format("the configuration ~ts ~ts would not be there", [name(App), name(Key)])];
            _ -> [io_lib:format("the configuration ~ts ~ts has another value than it would have", [name(App), name(Key)])]
        end
     || Key <- Keys
    ]).

%% The release handler has the version as the one that starts.
releases(#{releases := Releases}, Vsn) ->
    case [Version || {_, Version, _, permanent} <- Releases] of
        [Vsn] -> [];
        Others -> [io_lib:format("the permanent version is ~ts, and should be ~ts", [lists:join(", ", Others), Vsn])]
    end.

process(#{name := Name}) when is_atom(Name), Name =/= none -> name(Name);
process(#{path := [_ | _] = Path, pid := Pid}) -> [lists:join(" / ", [name(Part) || Part <- Path]), " ", pid_to_list(Pid)];
process(#{module := Module, pid := Pid}) -> [pid_to_list(Pid), " (", name(Module), ")"].

%% Modules of Elixir as they are written there.
name(Atom) when is_atom(Atom) ->
    case atom_to_list(Atom) of
        "Elixir." ++ Rest -> Rest;
        Text -> Text
    end;
name(Other) ->
    io_lib:format("~tp", [Other]).
