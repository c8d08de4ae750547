%% A counter: a server with one number as its state.
-module({{name}}_server).
-behaviour(gen_server).
-export([start_link/0, add/1, value/0, reset/0]).
-export([init/1, handle_call/3, handle_cast/2]).

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% Adds a number; the new value.
-spec add(integer()) -> integer().
add(Number) ->
    gen_server:call(?MODULE, {add, Number}).

-spec value() -> integer().
value() ->
    gen_server:call(?MODULE, value).

-spec reset() -> ok.
reset() ->
    gen_server:cast(?MODULE, reset).

init([]) ->
    {ok, 0}.

handle_call({add, Number}, _From, Value) ->
    {reply, Value + Number, Value + Number};
handle_call(value, _From, Value) ->
    {reply, Value, Value}.

handle_cast(reset, _Value) ->
    {noreply, 0}.
