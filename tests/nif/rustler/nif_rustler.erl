%% Calls the library nif_rustler.so, written with the rustler crate, which lies in the current folder.
-module(nif_rustler).
-export([main/0]).
%% The functions of the library.
-export([add/2, numbers/4, wide/1, big/1, kind/1, shown/1, order/2, hash/1, phash2/1, sum_list/1,
         reversed/1, new_atom/1, existing_atom/1, odd_atom/0, optional/1, make_reference/0,
         map_round/1, map_both_ways/1, hash_map/1, mirrored/1, paired/1, widened/1, older/1,
         other_colour/1, grown/1, either/1, fails/1, result/1, doubled/1, new_binary/1, middle/1,
         io_list/1, external/1, counter/1, count/1, counter_bytes/1, watch/2, watch_and_stop/2,
         aligned/0, aligned_value/1, objects/0, dirty_cpu/1, dirty_io/1, timeslice/0,
         send_from_threads/3, spawned/1, named/1, alive/1]).
-on_load(init/0).

init() -> erlang:load_nif("./nif_rustler", 17).

main() ->
    %% From OTP 26 on maps have no order of their own.
    Format = case list_to_integer(erlang:system_info(otp_release)) of
        Release when Release >= 26 -> "~s: ~tkp~n";
        _ -> "~s: ~tp~n"
    end,
    [io:format(Format, [Name, case_of(Case)]) || {Name, Case} <- cases()],
    ok.

case_of(Case) ->
    try Case()
    catch Class:Reason -> {Class, Reason}
    end.

each(Function, Arguments) ->
    [case_of(fun() -> Function(Argument) end) || Argument <- Arguments].

cases() ->
    Terms = [a, <<"b">>, 1.5, fun lists:map/2, 1, 1 bsl 80, [], [x], #{}, self(), make_ref(), {}, {1, 2}],
    Wide = [0, -1, 1 bsl 63, -(1 bsl 63), 1 bsl 64, 1 bsl 126, -(1 bsl 126), 1 bsl 127, 1.5],
    Large = maps:from_list([{N, N} || N <- lists:seq(1, 100)]),
    Person = #{'__struct__' => 'Elixir.SwarmRT.Person', name => <<"Ada">>, age => 36},
    [{"add", fun() -> each(fun({A, B}) -> add(A, B) end, [{1, 2}, {1 bsl 62, 1}, {a, 1}, {1 bsl 70, 1}, {-5, 3}]) end},
     {"numbers", fun() -> each(fun({A, B, C, D}) -> numbers(A, B, C, D) end,
                               [{255, -1, 1 bsl 63, 1}, {256, 0, 0, 0.0}, {0, 1 bsl 31, 0, 0.0}, {0, 0, -1, 0.0}, {0, 0, 0, x}]) end},
     {"wide", fun() -> each(fun wide/1, Wide) end},
     {"big", fun() -> each(fun big/1, Wide) end},
     {"kind", fun() -> each(fun kind/1, Terms) end},
     {"shown", fun() -> each(fun shown/1, [a, 'A b', 1, -1.5, "text", <<"bin">>, {1, [x | y]}, #{a => 1}, 1 bsl 80, <<1:3>>]) end},
     {"order", fun() -> each(fun({A, B}) -> order(A, B) end, [{1, 1.0}, {a, b}, {[2], [1]}, {#{a => 1}, #{a => 1}}]) end},
     {"hash", fun() -> [hash(T) =:= hash(T) || T <- Terms] end},
     {"phash2", fun() -> [phash2(T) =:= erlang:phash2(T, 1 bsl 32) || T <- Terms, not is_pid(T), not is_reference(T)] end},
     {"sum", fun() -> each(fun sum_list/1, [[], [1, 2, 3], [a], x]) end},
     {"improper", fun() -> case_of(fun() -> sum_list([1 | 2]) end) end},
     {"reversed", fun() -> each(fun reversed/1, [[], [1, 2], x]) end},
     {"atoms", fun() -> [new_atom(<<"some new atom">>), existing_atom(<<"lists">>), existing_atom(<<"not there at all">>), odd_atom()] end},
     {"long atom", fun() -> new_atom(binary:copy(<<"x">>, 256)) end},
     {"unicode", fun() -> new_atom(<<"\x{e9}\x{2603}"/utf8>>) end},
     {"optional", fun() -> each(fun optional/1, [2, 3, nil, undefined, x]) end},
     {"reference", fun() -> is_reference(make_reference()) end},
     {"maps", fun() -> each(fun map_round/1, [#{1 => 1, <<"old">> => 2}, #{1 => 1}, #{a => b}, x]) end},
     {"large map", fun() -> {Size, Sum, Changed} = map_round(Large#{<<"old">> => 5}), {Size, Sum, map_size(Changed)} end},
     {"both ways", fun() -> each(fun map_both_ways/1, [#{}, #{a => 1, b => 2}, Large]) end},
     {"hash map", fun() -> hash_map(#{<<"a">> => [1, 2], <<"b">> => []}) end},
     {"derived map", fun() -> each(fun mirrored/1, [#{x => 1, y => 2}, #{x => 1}, #{x => 1, y => a}]) end},
     {"derived tuple", fun() -> each(fun paired/1, [{1, <<"up">>}, {1}, {1, 2}]) end},
     {"derived record", fun() -> each(fun widened/1, [{range, 1, 2}, {other, 1, 2}]) end},
     {"derived struct", fun() -> each(fun older/1, [Person, Person#{age := -1}, maps:remove('__struct__', Person)]) end},
     {"enums", fun() -> {each(fun other_colour/1, [red, dark_green, blue]),
                         each(fun grown/1, [nothing, {circle, 1}, {rectangle, #{width => 1, height => 2}}, {circle}]),
                         each(fun either/1, [17, <<"text">>, x])} end},
     {"errors", fun() -> each(fun fails/1, [<<"badarg">>, <<"atom">>, <<"raise_atom">>, <<"raise_term">>, <<"term">>, <<"exception">>, <<>>]) end},
     {"panic", fun() -> fails(<<"panic">>) end},
     {"results", fun() -> each(fun result/1, [1, -1]) end},
     {"doubled", fun() -> each(fun doubled/1, [<<>>, <<"ab">>, x, <<1:3>>]) end},
     {"large doubled", fun() -> erlang:md5(doubled(binary:copy(<<"0123456789">>, 1000))) end},
     {"new binary", fun() -> [new_binary(0), new_binary(5), erlang:md5(new_binary(10000))] end},
     {"middle", fun() -> [middle(<<"abcdefgh">>), byte_size(middle(new_binary(1000)))] end},
     {"io list", fun() -> each(fun io_list/1, [["ab", [<<"cd">>], $e], <<"x">>, [a]]) end},
     {"external", fun() -> external({Terms, #{a => Person}}) =:= {{Terms, #{a => Person}}, 0} end},
     {"counters", fun() -> C = counter(5), {count(C), count(C), byte_size(counter_bytes(C)), C =:= binary_to_term(term_to_binary(C))} end},
     {"no counter", fun() -> each(fun count/1, [x, make_ref(), element(2, aligned())]) end},
     {"aligned", fun() -> {Is, Object} = aligned(), {Is, aligned_value(Object)} end},
     {"destructor", fun destructor/0},
     {"binary of an object", fun binary_of_an_object/0},
     {"monitors", fun monitors/0},
     {"dirty", fun() -> {dirty_cpu(100), dirty_io(<<"abc">>)} end},
     {"timeslice", fun() -> timeslice() end},
     {"threads", fun threads/0},
     {"spawned", fun() -> ok = spawned(21), receive 42 -> doubled end end},
     {"named", fun() -> [is_pid(named(init)), named(nobody_at_all), alive(self()), alive(ended())] end},
     {"objects left", fun objects_left/0}].

ended() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, _, _, _} -> Pid end.

destructor() ->
    Self = self(),
    spawn(fun() -> Self ! {made, [counter(N) || N <- lists:seq(1, 3)]} end),
    receive {made, Objects} -> 3 = length(Objects) end,
    garbage_collect(),
    %% The counters belong to the process that has made them, which is gone: nobody is told.
    {Pid, Monitor} = spawn_monitor(fun() -> lonely(), garbage_collect(), receive {destroyed, 9} -> exit(told) end end),
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end.

lonely() -> count(counter(8)).

%% The bytes keep the object.
binary_of_an_object() ->
    Bytes = bytes_of_a_counter(),
    garbage_collect(),
    Kept = receive {destroyed, 77} -> no after 50 -> yes end,
    {Kept, Bytes =:= binary:copy(<<"x">>, 100)}.

bytes_of_a_counter() -> counter_bytes(counter(77)).

monitors() ->
    Counter = counter(3),
    Pid = spawn(fun() -> receive stop -> ok end end),
    true = watch(Counter, Pid),
    Stopped = watch_and_stop(Counter, Pid),
    Pid ! stop,
    Told = receive {down, Pid, 3} -> told end,
    Again = receive {down, _, _} -> again after 20 -> once end,
    {Stopped, Told, Again, watch(Counter, Pid), count(Counter)}.

threads() ->
    Term = #{list => lists:seq(1, 100), binary => binary:copy(<<"y">>, 500), number => 1 bsl 100},
    ok = send_from_threads(Term, 8, 200),
    Numbers = [begin
        Own = [receive {from_thread, Thread, Number, Term} -> Number end || Number <- lists:seq(0, 199)],
        receive {done, Thread} -> Own =:= lists:seq(0, 199) end
    end || Thread <- lists:seq(0, 7)],
    Numbers.

objects_left() ->
    garbage_collect(),
    objects_left(100).

objects_left(0) -> objects();
objects_left(N) ->
    case objects() of
        0 -> 0;
        _ -> receive after 10 -> objects_left(N - 1) end
    end.

add(_, _) -> erlang:nif_error(not_loaded).
numbers(_, _, _, _) -> erlang:nif_error(not_loaded).
wide(_) -> erlang:nif_error(not_loaded).
big(_) -> erlang:nif_error(not_loaded).
kind(_) -> erlang:nif_error(not_loaded).
shown(_) -> erlang:nif_error(not_loaded).
order(_, _) -> erlang:nif_error(not_loaded).
hash(_) -> erlang:nif_error(not_loaded).
phash2(_) -> erlang:nif_error(not_loaded).
sum_list(_) -> erlang:nif_error(not_loaded).
reversed(_) -> erlang:nif_error(not_loaded).
new_atom(_) -> erlang:nif_error(not_loaded).
existing_atom(_) -> erlang:nif_error(not_loaded).
odd_atom() -> erlang:nif_error(not_loaded).
optional(_) -> erlang:nif_error(not_loaded).
make_reference() -> erlang:nif_error(not_loaded).
map_round(_) -> erlang:nif_error(not_loaded).
map_both_ways(_) -> erlang:nif_error(not_loaded).
hash_map(_) -> erlang:nif_error(not_loaded).
mirrored(_) -> erlang:nif_error(not_loaded).
paired(_) -> erlang:nif_error(not_loaded).
widened(_) -> erlang:nif_error(not_loaded).
older(_) -> erlang:nif_error(not_loaded).
other_colour(_) -> erlang:nif_error(not_loaded).
grown(_) -> erlang:nif_error(not_loaded).
either(_) -> erlang:nif_error(not_loaded).
fails(_) -> erlang:nif_error(not_loaded).
result(_) -> erlang:nif_error(not_loaded).
doubled(_) -> erlang:nif_error(not_loaded).
new_binary(_) -> erlang:nif_error(not_loaded).
middle(_) -> erlang:nif_error(not_loaded).
io_list(_) -> erlang:nif_error(not_loaded).
external(_) -> erlang:nif_error(not_loaded).
counter(_) -> erlang:nif_error(not_loaded).
count(_) -> erlang:nif_error(not_loaded).
counter_bytes(_) -> erlang:nif_error(not_loaded).
watch(_, _) -> erlang:nif_error(not_loaded).
watch_and_stop(_, _) -> erlang:nif_error(not_loaded).
aligned() -> erlang:nif_error(not_loaded).
aligned_value(_) -> erlang:nif_error(not_loaded).
objects() -> erlang:nif_error(not_loaded).
dirty_cpu(_) -> erlang:nif_error(not_loaded).
dirty_io(_) -> erlang:nif_error(not_loaded).
timeslice() -> erlang:nif_error(not_loaded).
send_from_threads(_, _, _) -> erlang:nif_error(not_loaded).
spawned(_) -> erlang:nif_error(not_loaded).
named(_) -> erlang:nif_error(not_loaded).
alive(_) -> erlang:nif_error(not_loaded).
