%% processes: a gen_server under a hundred clients.
-module(gen_many).
-export([main/0, init/1, handle_call/3, handle_cast/2]).
-define(CLIENTS, 100).
-define(CALLS, 3000).
main() ->
    {ok, Server} = gen_server:start_link(?MODULE, [], []),
    Parent = self(),
    Clients = [spawn_link(fun() -> Parent ! {self(), client(?CALLS, K, Server, 0)} end) || K <- lists:seq(1, ?CLIENTS)],
    Sums = [receive {Client, Sum} -> Sum end || Client <- Clients],
    %% Every call was given a number of its own.
    Count = ?CLIENTS * ?CALLS,
    Total = Count * (Count + 1) div 2,
    Total = lists:sum(Sums),
    #{1 := ?CALLS, ?CLIENTS := ?CALLS} = gen_server:call(Server, counts),
    gen_server:stop(Server).
client(0, _, _, Sum) -> Sum;
client(N, K, Server, Sum) -> client(N - 1, K, Server, Sum + gen_server:call(Server, {next, K}, infinity)).
init([]) -> {ok, {0, #{}}}.
handle_call({next, K}, _, {N, Counts}) -> {reply, N + 1, {N + 1, Counts#{K => maps:get(K, Counts, 0) + 1}}};
handle_call(counts, _, {_, Counts} = State) -> {reply, Counts, State}.
handle_cast(_, State) -> {noreply, State}.
