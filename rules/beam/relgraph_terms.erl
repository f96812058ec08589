%% Terms as bytes that go into a key.
-module(relgraph_terms).

-export([encode/1]).

%% The same term gives the same bytes, in whatever order a VM came to know the atoms in it.
-spec encode(term()) -> binary().
encode(Term) ->
    try
        term_to_binary(Term, [deterministic])
    catch
        error:badarg -> term_to_binary(Term)
    end.
