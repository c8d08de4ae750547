%% processes: gen_server calls.
-module(gen_call).
-export([main/0, init/1, handle_call/3, handle_cast/2]).
main() -> {ok, P} = gen_server:start_link(?MODULE, [], []), calls(100000, P), gen_server:stop(P).
calls(0, _) -> ok;
calls(N, P) -> ok = gen_server:call(P, N), calls(N - 1, P).
init([]) -> {ok, 0}.
handle_call(_, _, S) -> {reply, ok, S + 1}.
handle_cast(_, S) -> {noreply, S}.
