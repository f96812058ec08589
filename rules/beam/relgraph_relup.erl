%% Makes a relup with OTP's systools: of releases of which only the `.rel', `.app' and `.appup' files are there.
-module(relgraph_relup).

-export([run/1]).

%% `new' and `old' are names of `.rel' files without the ending, `paths' the folders of applications, `out' the file.
-spec run(map()) -> map().
run(#{new := New, old := Old, paths := Paths, out := Out}) ->
    Names = [text(Name) || Name <- Old],
    Options = [silent, noexec, {path, [text(Path) || Path <- Paths]}],
    case systools:make_relup(text(New), Names, Names, Options) of
        {ok, Relup, Module, Warnings} ->
            ok = file:write_file(text(Out), unicode:characters_to_binary(io_lib:format("~tp.~n", [Relup]))),
            #{warnings => [unicode:characters_to_binary(warning(Module, Warning)) || Warning <- Warnings]};
        {error, Module, Reason} ->
            throw({relgraph, ["no relup can be made: ", Module:format_error(Reason)]})
    end.

warning(Module, {warning, Warning}) -> warning(Module, Warning);
warning(Module, Warning) -> Module:format_warning(Warning).

text(Text) -> unicode:characters_to_list(Text).
