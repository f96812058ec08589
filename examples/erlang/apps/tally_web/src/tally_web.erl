%% What a page would show.
-module(tally_web).

-export([page/0]).

page() ->
    iolist_to_binary(io_lib:format("<p>~b</p>", [tally:next()])).
