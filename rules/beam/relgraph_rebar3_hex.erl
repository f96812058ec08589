%% Answers rebar3's questions about Hex packages by those that are fetched and locked, for steps have no network.
-module(relgraph_rebar3_hex).

-export([package/2]).

%% The releases of a package, as rebar3's own client of Hex returns them: the one that is locked, else the one that is there.
-spec package(map(), binary()) -> {ok, {200, map(), [map()] | map()}} | {error, not_found}.
package(_Repository, Name) ->
    Locked = [
        {App, Version, Inner, Outer}
     || {App, {pkg, Package, Version, Inner, Outer}, _} <- rebar_config:consult_lock_file("rebar.lock"),
        Package =:= Name
    ],
    case releases(Name, Locked) of
        [] -> {error, not_found};
        Releases -> {ok, {200, #{}, shape(Name, Releases)}}
    end.

releases(_, [{App, Version, Inner, Outer} | _]) ->
    Metadata = metadata(App),
    [release(Version, Inner, Outer, Metadata)];
releases(Name, []) ->
    case metadata(Name) of
        #{<<"version">> := Version} = Metadata -> [release(Version, <<>>, <<>>, Metadata)];
        _ -> []
    end.

release(Version, Inner, Outer, Metadata) ->
    #{
        version => Version,
        inner_checksum => Inner,
        outer_checksum => Outer,
        dependencies => [dependency(One) || One <- maps:get(<<"requirements">>, Metadata, [])]
    }.

%% What the package says of itself lies beside its sources.
metadata(App) ->
    Folders = ["_build/default/lib", "_build/default/plugins", "_checkouts"],
    Files = [filename:join([Folder, App, "hex_metadata.config"]) || Folder <- Folders],
    case [Terms || File <- Files, {ok, Terms} <- [file:consult(File)]] of
        [Terms | _] -> maps:from_list(Terms);
        [] -> #{}
    end.

%% Requirements come in two forms, by the tool that made the package.
dependency({Name, Properties}) ->
    dependency([{<<"name">>, Name} | Properties]);
dependency(Properties) ->
    Name = proplists:get_value(<<"name">>, Properties),
    #{
        package => Name,
        app => proplists:get_value(<<"app">>, Properties, Name),
        requirement => proplists:get_value(<<"requirement">>, Properties)
    }.

%% rebar3 3.24 came with a client whose answer has the name as well.
shape(Name, Releases) ->
    {ok, Version} = application:get_key(rebar, vsn),
    case ec_semver:gte(Version, "3.24.0") of
        true -> #{name => Name, repository => <<"hexpm">>, releases => Releases};
        false -> Releases
    end.
