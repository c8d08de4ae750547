%% Timers: how far they reach, and what becomes of those for processes that have ended.
-module(timers).
-export([main/0]).

main() ->
    limits(),
    ended(),
    many().

%% The largest and the smallest times, to the second.
limits() ->
    End = erlang:convert_time_unit(erlang:system_info(end_time), native, millisecond),
    Start = erlang:convert_time_unit(erlang:system_info(start_time), native, millisecond),
    Now = erlang:monotonic_time(millisecond),
    io:format("~p ~p~n", [Start, End]),
    [io:format("~p ~p: ~p~n", [What, Function, starts(Function, Time, Options)])
     || Function <- [start_timer, send_after],
        {What, Time, Options} <- [{past_relative, -1, []},
                                  {far, End - Now - 10000, []},
                                  {too_far, End - Now + 10000, []},
                                  {absolute, End, [{abs, true}]},
                                  {absolute_too_far, End + 1, [{abs, true}]},
                                  {before_start, Start - 1, [{abs, true}]},
                                  {huge, 9223372036854, []},
                                  {bignum, 1 bsl 70, []},
                                  {negative_bignum, -(1 bsl 70), [{abs, true}]},
                                  {not_absolute, 1000000, [{abs, false}]}]].

starts(Function, Time, Options) ->
    try erlang:Function(Time, self(), message, Options) of
        Timer -> is_integer(erlang:cancel_timer(Timer))
    catch error:Reason -> Reason
    end.

ended() ->
    Gone = spawn(fun() -> ok end),
    wait(Gone),
    Late = erlang:start_timer(100000, Gone, x),
    io:format("~p ~p~n", [erlang:read_timer(Late), erlang:cancel_timer(Late)]),
    Pid = spawn(fun() -> receive stop -> ok end end),
    Timers = [erlang:start_timer(100000, Pid, x), erlang:send_after(100000, Pid, x)],
    Named = erlang:start_timer(100000, timers_nobody, x),
    io:format("~p~n", [[is_integer(erlang:read_timer(Timer)) || Timer <- [Named | Timers]]]),
    Pid ! stop,
    wait(Pid),
    io:format("~p~n", [[erlang:read_timer(Timer) || Timer <- Timers]]),
    io:format("~p~n", [[erlang:cancel_timer(Timer) || Timer <- Timers]]),
    io:format("~p~n", [is_integer(erlang:cancel_timer(Named))]),
    [Timer | _] = Timers,
    io:format("~p~n", [erlang:cancel_timer(Timer, [{async, true}])]),
    io:format("~p~n", [receive {cancel_timer, Timer, Result} -> Result after 1000 -> none end]),
    io:format("~p~n", [erlang:read_timer(Timer, [{async, true}])]),
    io:format("~p~n", [receive {read_timer, Timer, Answer} -> Answer after 1000 -> none end]).

wait(Pid) ->
    Monitor = monitor(process, Pid),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

%% Many timers for one process, some cancelled, some due, the rest dropped with it.
many() ->
    Self = self(),
    Pid = spawn(fun() -> collect(Self, 0) end),
    Long = [erlang:send_after(100000, Pid, tick) || _ <- lists:seq(1, 1000)],
    [erlang:send_after(N rem 3, Pid, tick) || N <- lists:seq(1, 500)],
    {Cancelled, Left} = lists:split(400, Long),
    io:format("~p~n", [lists:all(fun is_integer/1, [erlang:cancel_timer(Timer) || Timer <- Cancelled])]),
    receive {ticks, Count} -> io:format("~p~n", [Count]) end,
    exit(Pid, kill),
    wait(Pid),
    io:format("~p~n", [lists:usort([erlang:read_timer(Timer) || Timer <- Left])]).

collect(To, 500) -> To ! {ticks, 500}, collect(To, 501);
collect(To, Count) -> receive tick -> collect(To, Count + 1) end.
