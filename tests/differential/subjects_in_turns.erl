%% re:run/2,3 checks that a subject is UTF-8 in turns: the reductions that it takes, and what is found
%% wherever a character stands.
-module(subjects_in_turns).
-export([main/0]).

main() ->
    Long = binary:copy(<<"abc\n">>, 100000),
    Wide = binary:copy(<<"a\x{20ac}\x{10348}\n"/utf8>>, 115000),
    [io:format("~p: ~p~n", [What, turns(Subject, Options)]) || {What, Subject, Options} <-
        [{small, <<"abc">>, [unicode]}, {bytes, Long, []}, {long, Long, [unicode]}, {wide, <<Wide/binary, "b">>, [unicode]},
         {offset, Long, [unicode, {offset, 1000}]},
         {unaligned, unaligned(Long), [unicode]}, {list, binary_to_list(binary:part(Long, 0, 2000)), [unicode]}]],
    {ok, Compiled} = re:compile("b", [unicode]),
    io:format("~p~n", [[re:run(Long, Compiled, [{capture, first, Kind}]) || Kind <- [index, list, binary]]]),
    io:format("~p~n", [length(re:split(binary:part(Long, 0, 4000), "b", [unicode]))]),
    %% An end in an error after a turn hangs or stops OTP 25 and 27, so these are short.
    io:format("~p~n", [[fails(fun() -> re:run(Subject, <<"b">>, [unicode, {offset, Offset}]) end) || {Subject, Offset} <-
        [{<<"abc", 200>>, 0}, {<<200, "abc">>, 0}, {<<"\x{20ac}b"/utf8>>, 1}, {<<"\x{20ac}b"/utf8>>, 3}]]]).

%% Whether others had a turn, and whether the call counted a reduction for ten characters or so.
turns(Subject, Options) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        receive go -> ok end,
        {reductions, Before} = process_info(self(), reductions),
        Result = try re:run(Subject, <<"b">>, Options) catch error:Reason -> Reason end,
        {reductions, After} = process_info(self(), reductions),
        exit({Result, After - Before})
    end),
    erlang:trace(Pid, true, [running]),
    Pid ! go,
    {Result, Reductions} = receive {'DOWN', Monitor, _, _, Info} -> Info end,
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    {Result, Reductions > 20000, outs() > 5}.

outs() ->
    receive
        {trace, _, out, {erlang, re_run_trap, 3}} -> 1 + outs();
        {trace, _, _, _} -> outs()
    after 0 -> 0
    end.

unaligned(Bytes) -> <<_:1, Part/binary>> = <<0:1, Bytes/binary>>, Part.

fails(Fun) ->
    try Fun() catch error:Reason:Trace -> {Reason, setelement(3, erlang:delete_element(4, hd(Trace)), length(element(3, hd(Trace))))} end.
