%% A gen_server under a supervisor: it crashes, and is there again.
-module(supervised). -compile(nowarn_deprecated_catch).
-export([main/0, start_counter/0, init/1, handle_call/3, handle_cast/2]).

main() ->
    logger:set_primary_config(level, none),
    {ok, _} = supervisor:start_link({local, ?MODULE}, ?MODULE, supervisor),
    1 = gen_server:call(counter, next),
    2 = gen_server:call(counter, next),
    Before = whereis(counter),
    io:format("counted to 2~n"),
    {'EXIT', {{told_to_crash, _}, _}} = (catch gen_server:call(counter, crash)),
    After = wait_for_other(Before),
    io:format("crashed and recovered: ~p~n", [is_process_alive(After)]),
    1 = gen_server:call(counter, next),
    io:format("counting from 1 again~n").

wait_for_other(Before) ->
    case whereis(counter) of
        Pid when is_pid(Pid), Pid =/= Before -> Pid;
        _ -> timer:sleep(1), wait_for_other(Before)
    end.

start_counter() -> gen_server:start_link({local, counter}, ?MODULE, counter, []).

init(supervisor) ->
    Child = #{id => counter, start => {?MODULE, start_counter, []}},
    {ok, {#{strategy => one_for_one, intensity => 3, period => 10}, [Child]}};
init(counter) ->
    {ok, 0}.

handle_call(next, _From, N) -> {reply, N + 1, N + 1};
handle_call(crash, _From, _) -> error(told_to_crash).

handle_cast(_, N) -> {noreply, N}.
