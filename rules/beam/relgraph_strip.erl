%% How OTP strips modules.
-module(relgraph_strip).

-export([recipe/1]).

%% Which chunks `beam_lib:strip_files/2' leaves, in which order, and whether it compresses: a module that has every chunk goes in.
-spec recipe([string()]) -> map().
recipe(More) ->
    {ok, [{_, Stripped}]} = beam_lib:strip_files([sample(More)], More),
    {ok, _, Chunks} = beam_lib:all_chunks(Stripped),
    #{
        chunks => [list_to_binary(Id) || {Id, _} <- Chunks],
        compress => binary:part(Stripped, 0, 2) =:= <<31, 139>>
    }.

sample(More) ->
    {ok, _, Binary} = compile:forms([{attribute, 1, module, relgraph_sample}], [debug_info]),
    {ok, _, Chunks} = beam_lib:all_chunks(Binary),
    Known = ["Attr", "CInf", "StrT", "LitT", "LocT", "Line", "Type", "Meta", "Dbgi", "Docs", "Abst", "FunT", "ExpT", "ImpT" | More],
    Missing = lists:usort(Known) -- [Id || {Id, _} <- Chunks],
    {ok, Whole} = beam_lib:build_module(Chunks ++ [{Id, <<"x">>} || Id <- Missing]),
    Whole.
