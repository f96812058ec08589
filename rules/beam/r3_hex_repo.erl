%% Takes the place of the module of rebar3 that asks a repository of Hex packages over the network.
-module(r3_hex_repo).

-export([get_package/2, get_tarball/3]).

-spec get_package(map(), binary()) -> {ok, tuple()} | {error, term()}.
get_package(Repository, Name) ->
    relgraph_rebar3_hex:package(Repository, Name).

-spec get_tarball(map(), binary(), binary()) -> {error, term()}.
get_tarball(_Repository, _Name, _Version) ->
    {error, offline}.
