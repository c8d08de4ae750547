%% Calls the library nif_families.so, which lies in the current folder.
-module(nif_families).
-export([main/0]).
-export([nothing/1, sum/1, normal/0, dirty_cpu/0, dirty_io/0, raise/1, raise_dirty/1, type/1, number/1, text/1, order/2, pairs/1, binaries/1, room/1,
         queue/1, new_object/1, value_of/1, bytes_of/1, destroyed/0, generation/0, watch/2, unwatch/1, call_object/1, open_pipe/2,
         write_pipe/2, read_pipe/1, stop_pipe/1, send_from_threads/1, send_self/1, times/0]).
-on_load(init/0).

init() -> erlang:load_nif("./nif_families", 0).

main() ->
    [case_of(Name, Case) || {Name, Case} <- cases()],
    ok.

case_of(Name, Case) ->
    Result = try
        Case()
    catch
        Class:Reason:Trace ->
            {M, F, A, _} = hd(Trace),
            {Class, Reason, {M, F, if is_list(A) -> length(A); true -> A end}}
    end,
    io:format("~s: ~tp~n", [Name, Result]).

cases() ->
    Terms = [a, <<"b">>, <<1:3>>, 1.5, fun lists:map/2, fun() -> ok end, 1, 1 bsl 80, [], [x], #{}, self(), make_ref(), {}, {1, 2}],
    Numbers = [0, -1, 1 bsl 31, -(1 bsl 31), 1 bsl 32, 1 bsl 61, -(1 bsl 61), 1 bsl 63, -(1 bsl 63), 1 bsl 64, 1.5, 1.0e300, -0.0, x],
    Large = maps:from_list([{N, {N}} || N <- lists:seq(1, 100)]),
    [{"identity", fun() -> nothing(Terms) =:= Terms end},
     {"scheduled", fun() -> [sum(N) || N <- [0, 1, 1000, 123456]] end},
     {"scheduled error", fun() -> sum(not_a_number) end},
     {"threads", fun() -> {normal(), dirty_cpu(), dirty_io()} end},
     {"raise", fun() -> raise({reason, [1, 2]}) end},
     {"raise dirty", fun() -> raise_dirty(<<"reason">>) end},
     {"badarg", fun() -> pairs(not_a_map) end},
     {"types", fun() -> [type(Term) || Term <- Terms] end},
     {"numbers", fun() -> [number(Number) || Number <- Numbers] end},
     {"texts", fun() -> [text(Text) || Text <- ["text", "longer than twelve", [256], [a], 'an atom', '\x{e9}', '\x{2603}', [], <<"b">>, {1, "x"}]] end},
     {"order", fun() -> [order(A, B) || {A, B} <- [{1, 1.0}, {a, b}, {[1], [0, 2]}, {{}, []}, {<<1>>, <<1, 0>>}, {#{a => 1}, #{a => 1}}]] end},
     {"pairs", fun() -> {Size, F, B, Map} = pairs(#{a => 1, b => [2], 3 => x}), {Size, lists:sort(F), F =:= lists:reverse(B), lists:sort(maps:to_list(Map))} end},
     {"many pairs", fun() -> {Size, F, B, Map} = pairs(Large), {Size, lists:sort(F) =:= lists:sort(maps:to_list(Large)), F =:= lists:reverse(B), Map =:= Large} end},
     {"no pairs", fun() -> pairs(#{}) end},
     {"binaries", fun() -> [binaries(Data) || Data <- [<<>>, <<"short">>, [<<"io">>, $l, ["ist"]], binary:part(<<"xxpartyy">>, 2, 4)]] end},
     {"large binaries", fun() -> erlang:phash2(binaries(binary:copy(<<"0123456789">>, 1000))) end},
     {"unaligned", fun() -> <<_:3, Rest/bitstring>> = <<7:3, "unaligned">>, binaries(<<Rest/bitstring>>) end},
     {"room", fun() -> erlang:phash2(room(lists:seq(1, 30))) end},
     {"queue", fun() -> [queue(Vector) || Vector <- [[<<"abcdef">>], [<<"ab">>, <<"cd">>, binary:copy(<<"e">>, 100)], [<<I>> || I <- lists:seq(1, 80)]]] end},
     {"short queue", fun() -> queue([<<"a">>]) end},
     {"objects", fun() -> O = new_object(17), {is_reference(O), value_of(O), bytes_of(O), call_object(O), O =:= nothing(O), call_object(make_ref())} end},
     {"no object", fun() -> value_of(make_ref()) end},
     {"sent object", fun sent_object/0},
     {"destroyed", fun destroyed_objects/0},
     {"monitors", fun monitors/0},
     {"select", fun select/0},
     {"threads' messages", fun messages/0},
     {"own message", fun() -> Sent = send_self({some, [<<"message">>]}), receive {some, _} = Message -> {Sent, Message} end end},
     {"times", fun times/0},
     {"nifs", fun() -> length(module_info(nifs)) end}].

sent_object() ->
    Self = self(),
    Object = new_object(5),
    spawn_link(fun() -> receive O -> Self ! {value_of(O), O} end end) ! Object,
    receive {Value, Back} -> {Value, Back =:= Object, binary_to_term(term_to_binary(Object)) =:= Object} end.

destroyed_objects() ->
    erlang:garbage_collect(),
    timer:sleep(20),
    Before = destroyed(),
    Pid = spawn(fun() -> [new_object(N) || N <- lists:seq(1, 100)], receive stop -> ok end end),
    Pid ! stop,
    wait_until(fun() -> destroyed() - Before =:= 100 end).

wait_until(Condition) -> wait_until(Condition, 400).
wait_until(_, 0) -> false;
wait_until(Condition, Tries) -> Condition() orelse begin timer:sleep(5), wait_until(Condition, Tries - 1) end.

monitors() ->
    Object = new_object(1),
    Pid = spawn(fun() -> receive stop -> ok end end),
    Watched = watch(Object, Pid),
    Pid ! stop,
    Told = receive {down, Pid, Which} -> Which after 2000 -> nothing end,
    Other = spawn(fun() -> receive stop -> ok end end),
    Again = [watch(Object, Other), unwatch(Object), unwatch(Object)],
    Other ! stop,
    {Watched, Told, Again, watch(Object, Pid), receive {down, _, _} -> told after 50 -> quiet end}.

select() ->
    Object = new_object(2),
    Ref = make_ref(),
    Asked = open_pipe(Object, Ref),
    Quiet = receive {select, _, _, _} -> told after 30 -> quiet end,
    Written = write_pipe(Object, <<"data">>),
    Told = receive {select, Object, Ref, Event} -> Event after 2000 -> nothing end,
    {Asked, Quiet, Written, Told, read_pipe(Object), read_pipe(Object), stop_pipe(Object)}.

messages() ->
    Joined = send_from_threads(200),
    All = [receive {Thread, N, "text"} -> {Thread, N} after 2000 -> nothing end || _ <- lists:seq(1, 1600)],
    InOrder = [[N || {Thread, N} <- All, Thread =:= Wanted] =:= lists:seq(1, 200) || Wanted <- lists:seq(0, 7)],
    {Joined, InOrder}.

nothing(_) -> erlang:nif_error(not_loaded).
sum(_) -> erlang:nif_error(not_loaded).
normal() -> erlang:nif_error(not_loaded).
dirty_cpu() -> erlang:nif_error(not_loaded).
dirty_io() -> erlang:nif_error(not_loaded).
raise(_) -> erlang:nif_error(not_loaded).
raise_dirty(_) -> erlang:nif_error(not_loaded).
type(_) -> erlang:nif_error(not_loaded).
number(_) -> erlang:nif_error(not_loaded).
text(_) -> erlang:nif_error(not_loaded).
order(_, _) -> erlang:nif_error(not_loaded).
pairs(_) -> erlang:nif_error(not_loaded).
binaries(_) -> erlang:nif_error(not_loaded).
room(_) -> erlang:nif_error(not_loaded).
queue(_) -> erlang:nif_error(not_loaded).
new_object(_) -> erlang:nif_error(not_loaded).
value_of(_) -> erlang:nif_error(not_loaded).
bytes_of(_) -> erlang:nif_error(not_loaded).
destroyed() -> erlang:nif_error(not_loaded).
generation() -> erlang:nif_error(not_loaded).
watch(_, _) -> erlang:nif_error(not_loaded).
unwatch(_) -> erlang:nif_error(not_loaded).
call_object(_) -> erlang:nif_error(not_loaded).
open_pipe(_, _) -> erlang:nif_error(not_loaded).
write_pipe(_, _) -> erlang:nif_error(not_loaded).
read_pipe(_) -> erlang:nif_error(not_loaded).
stop_pipe(_) -> erlang:nif_error(not_loaded).
send_from_threads(_) -> erlang:nif_error(not_loaded).
send_self(_) -> erlang:nif_error(not_loaded).
times() -> erlang:nif_error(not_loaded).
