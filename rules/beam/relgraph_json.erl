%% Writes JSON: the versions of OTP and Elixir that relgraph drives do not all have a module for it.
-module(relgraph_json).

-export([encode/1]).

%% Encodes maps, lists, binaries (strings), atoms, integers, booleans and null (`nil', `undefined').
-spec encode(term()) -> iodata().
encode(nil) -> <<"null">>;
encode(null) -> <<"null">>;
encode(undefined) -> <<"null">>;
encode(true) -> <<"true">>;
encode(false) -> <<"false">>;
encode(Atom) when is_atom(Atom) -> string(atom_to_binary(Atom));
encode(Integer) when is_integer(Integer) -> integer_to_binary(Integer);
encode(Binary) when is_binary(Binary) -> string(Binary);
encode(Tuple) when is_tuple(Tuple) -> encode(tuple_to_list(Tuple));
encode(List) when is_list(List) ->
    [$[, lists:join($,, [encode(Item) || Item <- List]), $]];
encode(Map) when is_map(Map) ->
    Pairs = [[string(key(Key)), $:, encode(Value)] || {Key, Value} <- lists:sort(maps:to_list(Map))],
    [${, lists:join($,, Pairs), $}].

key(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
key(Binary) when is_binary(Binary) -> Binary.

string(Binary) ->
    [$", [escape(Char) || Char <- characters(Binary)], $"].

%% What is no UTF-8 is shown as Erlang shows it.
characters(Binary) ->
    case unicode:characters_to_list(Binary) of
        Chars when is_list(Chars) -> Chars;
        _ -> lists:flatten(io_lib:format("~w", [Binary]))
    end.

escape($") -> <<"\\\"">>;
escape($\\) -> <<"\\\\">>;
escape(Char) when Char < 16#20 -> io_lib:format("\\u~4.16.0b", [Char]);
escape(Char) -> <<Char/utf8>>.
