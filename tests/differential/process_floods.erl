%% Processes that start others without end do not outrun them: what was started has its turn before the starter's next.
-module(process_floods).
-export([main/0]).

-define(STARTED, 200000).
-define(CHECKED, 1000).
%% A turn is 4000 reductions long, and one to start a process.
-define(AT_ONCE_MAX, 60000).

main() ->
    Main = self(),
    [spawn(fun() -> Main ! {most, flood(?STARTED, 0)} end) || _ <- [1, 2]],
    io:format("~p~n", [[receive {most, Most} -> Most < ?AT_ONCE_MAX end || _ <- [1, 2]]]).

flood(0, Most) -> Most;
flood(Left, Most) when Left rem ?CHECKED =:= 0 ->
    spawn(fun() -> ok end),
    flood(Left - 1, max(Most, erlang:system_info(process_count)));
flood(Left, Most) ->
    spawn(fun() -> ok end),
    flood(Left - 1, Most).
