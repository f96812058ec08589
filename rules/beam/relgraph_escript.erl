%% Takes a tool that is an escript apart, so that a VM can load its modules as it loads any others.
-module(relgraph_escript).

-export([unpack/1]).

%% Writes the applications in the archive of the escript `File' into `Folder'. What is no such escript leaves it empty.
-spec unpack([string()]) -> ok.
unpack([File, Folder]) ->
    case escript:extract(File, []) of
        {ok, Sections} ->
            [{ok, _} = zip:unzip(Archive, [{cwd, Folder}]) || {archive, Archive} <- Sections],
            ok;
        {error, _} ->
            ok
    end.
