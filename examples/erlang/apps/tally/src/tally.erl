%% A number that grows.
-module(tally).
-behaviour(gen_server).

-export([start_link/0, next/0]).
-export([init/1, handle_call/3, handle_cast/2]).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The number, which is one more each time.
next() ->
    gen_server:call(?MODULE, next).

init([]) ->
    application:get_env(tally, start_at).

handle_call(next, _From, Number) ->
    {reply, Number, Number + 1}.

handle_cast(_Message, Number) ->
    {noreply, Number}.
