%% What goes between two nodes, how fast: measured on the first, which runs measure/3, with the second, Peer.
-module(nodes).
-export([measure/3, sink/0, echo/0, take/0]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(LARGE_BYTES, (64 bsl 20)).

%% Prints what a row measures, a number: calls, messages or bytes a second, or microseconds.
measure(Row, Peer, Seconds) ->
    true = connected(Peer, 200),
    _ = row(Row, Peer, 500),
    io:format("~.2f~n", [float(row(Row, Peer, Seconds * 1000))]).

connected(_, 0) -> false;
connected(Peer, Tries) -> net_adm:ping(Peer) =:= pong orelse begin timer:sleep(50), connected(Peer, Tries - 1) end.

row("rpc-call", Peer, Ms) ->
    rate(fun() -> Peer = rpc:call(Peer, erlang, node, []) end, Ms);
row("gen-call", Peer, Ms) ->
    {ok, Server} = rpc:call(Peer, gen_server, start, [?MODULE, none, []]),
    rate(fun() -> 7 = gen_server:call(Server, 7) end, Ms);
row("small-1", Peer, Ms) ->
    small(1, Peer, Ms);
row("small-100", Peer, Ms) ->
    small(100, Peer, Ms);
row("large", Peer, Ms) ->
    Taker = spawn(Peer, ?MODULE, take, []),
    Large = binary:copy(<<7>>, ?LARGE_BYTES),
    ?LARGE_BYTES * rate(fun() -> large(Taker, Large) end, Ms);
row("beside-large", Peer, Ms) ->
    Large = binary:copy(<<7>>, ?LARGE_BYTES),
    Taker = spawn(Peer, ?MODULE, take, []),
    Echo = spawn(Peer, ?MODULE, echo, []),
    Sender = spawn_link(fun() -> forever(fun() -> large(Taker, Large) end) end),
    Times = lists:sort(beside(Echo, erlang:monotonic_time(millisecond) + Ms)),
    unlink(Sender),
    exit(Sender, kill),
    lists:nth(max(1, length(Times) * 99 div 100), Times).

%% Calls of a fun a second.
rate(Fun, Ms) ->
    Begin = erlang:monotonic_time(microsecond),
    Count = calls(Fun, Begin + Ms * 1000, 0),
    Count * 1000000 / (erlang:monotonic_time(microsecond) - Begin).

calls(Fun, End, Count) ->
    Fun(),
    case erlang:monotonic_time(microsecond) of
        Now when Now < End -> calls(Fun, End, Count + 1);
        _ -> Count + 1
    end.

forever(Fun) -> Fun(), forever(Fun).

%% Messages a second of so many pairs of processes, until the last one has arrived.
small(Pairs, Peer, Ms) ->
    Begin = erlang:monotonic_time(microsecond),
    End = Begin + Ms * 1000,
    Senders = [spawn_monitor(fun() -> exit({sent, sent(spawn(Peer, ?MODULE, sink, []), End, 0)}) end) || _ <- lists:seq(1, Pairs)],
    Counts = [receive {'DOWN', Ref, process, Pid, {sent, Count}} -> Count end || {Pid, Ref} <- Senders],
    lists:sum(Counts) * 1000000 / (erlang:monotonic_time(microsecond) - Begin).

sent(Sink, End, Count) ->
    [Sink ! {m, N} || N <- lists:seq(Count, Count + 99)],
    case erlang:monotonic_time(microsecond) of
        Now when Now < End -> sent(Sink, End, Count + 100);
        _ ->
            Sink ! {self(), all},
            receive {Sink, Got} when Got =:= Count + 100 -> Got end
    end.

sink() -> sink(0).
sink(Count) ->
    receive
        {m, Count} -> sink(Count + 1);
        {From, all} -> From ! {self(), Count}
    end.

large(Taker, Large) ->
    Taker ! {self(), Large},
    receive {Taker, ?LARGE_BYTES} -> ok end.

take() ->
    receive {From, Large} -> From ! {self(), byte_size(Large)} end,
    take().

%% Microseconds of round trips, one after the other with a pause between them.
beside(Echo, End) ->
    Begin = erlang:monotonic_time(microsecond),
    Echo ! {self(), Begin},
    receive {Echo, Begin} -> ok end,
    Time = erlang:monotonic_time(microsecond) - Begin,
    receive after 1 -> ok end,
    case erlang:monotonic_time(millisecond) of
        Now when Now < End -> [Time | beside(Echo, End)];
        _ -> [Time]
    end.

echo() ->
    receive {From, What} -> From ! {self(), What} end,
    echo().

init(State) -> {ok, State}.
handle_call(What, _, State) -> {reply, What, State}.
handle_cast(_, State) -> {noreply, State}.
