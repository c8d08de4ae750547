%% seq_trace: tokens go with messages, and the system's tracer is told.
-module(sequential_trace).
-export([main/0]).

main() ->
    show(tokens, fun tokens/0),
    show(bad, fun bad/0),
    show(exchange, fun exchange/0),
    show(print, fun print/0),
    show(spawned, fun spawned/0),
    show(names_and_aliases, fun names_and_aliases/0),
    show(exits, fun exits/0),
    show(timers, fun timers/0),
    show(lost, fun lost/0),
    show(no_tracer, fun no_tracer/0),
    show(reset, fun reset/0),
    show(kept, fun kept/0),
    show(flags, fun timestamps/0),
    show(specifications, fun specifications/0).

%% Match specifications that are only tested change no token.
specifications() ->
    Forms = [{get_seq_token}, {is_seq_trace}, {set_seq_token, none, true}, {set_seq_token, {self}, true}]
        ++ [{set_seq_token, Part, Value} || Part <- [label, send, serial], Value <- [3, true, {{1, 2}}]],
    Values = fun() -> [element(2, erlang:match_spec_test([], [{'_', [], [{message, Form}]}], trace)) || Form <- Forms] end,
    Without = Values(),
    seq_trace:set_token(label, 17),
    {Without, Values(), element(2, erlang:match_spec_test([], [{'_', [{is_seq_trace}], [true]}], trace)), seq_trace:get_token(label)}.

%% In a process of its own, with pids and times replaced by their order.
show(Name, Fun) ->
    {P, M} = spawn_monitor(fun() -> exit({result, Fun()}) end),
    receive
        {'DOWN', M, process, P, Result} -> io:format("~p: ~p~n", [Name, plain(Result, P)])
    end.

plain(Term, Main) ->
    {Plain, _} = plain1(Term, [Main]),
    Plain.
plain1(P, Seen) when is_pid(P) ->
    case string:str(lists:reverse(Seen), [P]) of
        0 -> {{pid, length(Seen) + 1}, [P | Seen]};
        N -> {{pid, N}, Seen}
    end;
plain1(R, Seen) when is_reference(R) -> {ref, Seen};
plain1([H | T], Seen) ->
    {H1, Seen1} = plain1(H, Seen),
    {T1, Seen2} = plain1(T, Seen1),
    {[H1 | T1], Seen2};
plain1(T, Seen) when is_tuple(T) ->
    {L, Seen1} = plain1(tuple_to_list(T), Seen),
    {list_to_tuple(L), Seen1};
plain1(T, Seen) -> {T, Seen}.

traced(Fun) ->
    Tracer = spawn_link(fun() -> collect([]) end),
    Old = seq_trace:set_system_tracer(Tracer),
    Tracer = seq_trace:get_system_tracer(),
    Result = Fun(),
    seq_trace:set_token([]),
    timer:sleep(30),
    Tracer = seq_trace:set_system_tracer(false),
    Tracer ! {stop, self()},
    receive {events, Events} -> {Old, Result, Events} end.

collect(Events) ->
    receive
        {stop, From} -> From ! {events, lists:reverse(Events)};
        Event -> collect([Event | Events])
    end.

attempt(Fun) -> try Fun() catch Class:Reason -> {Class, Reason} end.

tokens() ->
    A = seq_trace:get_token(),
    Infos = [{I, attempt(fun() -> seq_trace:get_token(I) end)}
             || I <- [label, serial, send, 'receive', print, timestamp, monotonic_timestamp,
                      strict_monotonic_timestamp, foo]],
    Sets = [attempt(fun() -> seq_trace:set_token(I, V) end)
            || {I, V} <- [{label, 17}, {label, {any, "term"}}, {send, true}, {send, false},
                          {send, true}, {'receive', true}, {print, true}, {timestamp, true},
                          {serial, {3, 4}}]],
    Now = [seq_trace:get_token(I) || I <- [label, serial, send, 'receive', print, timestamp]],
    B = seq_trace:get_token(),
    {sequential_trace_token, B} = process_info(self(), sequential_trace_token),
    C = seq_trace:set_token([]),
    D = seq_trace:set_token(B),
    E = seq_trace:get_token(),
    [A, Infos, Sets, Now, B, C, D, E].

bad() ->
    [attempt(F) || F <- [
        fun() -> seq_trace:set_token(foo, true) end,
        fun() -> seq_trace:set_token(send, foo) end,
        fun() -> seq_trace:set_token(serial, foo) end,
        fun() -> seq_trace:set_token(serial, {-1, 0}) end,
        fun() -> seq_trace:set_token(foo) end,
        fun() -> seq_trace:set_system_tracer(foo) end,
        fun() -> seq_trace:print(foo) end,
        fun() -> seq_trace:get_token(1) end,
        fun() -> erlang:seq_trace(sequential_trace_token, {a}) end]].

exchange() ->
    Echo = spawn_link(fun() -> echo() end),
    Plain = spawn_link(fun() -> echo() end),
    traced(fun() ->
                   seq_trace:set_token(label, 1),
                   seq_trace:set_token(send, true),
                   seq_trace:set_token('receive', true),
                   Echo ! {self(), one},
                   A = receive {Echo, X} -> X end,
                   T1 = seq_trace:get_token(),
                   Echo ! {self(), two},
                   B = receive {Echo, Y} -> Y end,
                   T2 = seq_trace:get_token(),
                   seq_trace:set_token([]),
                   Plain ! {self(), three},
                   C = receive {Plain, Z} -> Z end,
                   {A, B, C, T1, T2, seq_trace:get_token()}
           end).

echo() ->
    receive
        {From, What} ->
            From ! {self(), {What, seq_trace:get_token(label)}},
            echo()
    end.

print() ->
    traced(fun() ->
                   seq_trace:set_token(label, 5),
                   seq_trace:print(not_wanted),
                   seq_trace:set_token(print, true),
                   A = seq_trace:print({some, [term]}),
                   B = seq_trace:print(5, same_label),
                   C = seq_trace:print(6, other_label),
                   {A, B, C}
           end).

spawned() ->
    traced(fun() ->
                   seq_trace:set_token(label, 7),
                   seq_trace:set_token(send, true),
                   Self = self(),
                   P = spawn(fun() -> Self ! {self(), seq_trace:get_token()} end),
                   receive {P, Token} -> {Token, seq_trace:get_token()} end
           end).

names_and_aliases() ->
    Echo = spawn_link(fun() -> echo() end),
    register(the_echo, Echo),
    traced(fun() ->
                   seq_trace:set_token(send, true),
                   seq_trace:set_token('receive', true),
                   the_echo ! {self(), a},
                   receive {Echo, _} -> ok end,
                   {the_echo, node()} ! {self(), b},
                   receive {Echo, _} -> ok end,
                   erlang:send(Echo, {self(), c}, []),
                   receive {Echo, _} -> ok end,
                   Alias = alias(),
                   Echo ! {Alias, d},
                   receive {Echo, D} -> D end
           end).

exits() ->
    process_flag(trap_exit, true),
    Echo = spawn_link(fun() -> receive {die, Why} -> exit(Why) end end),
    traced(fun() ->
                   M = monitor(process, Echo),
                   seq_trace:set_token(label, 9),
                   seq_trace:set_token(send, true),
                   seq_trace:set_token('receive', true),
                   Echo ! {die, badly},
                   A = receive {'EXIT', Echo, R1} -> R1 end,
                   T1 = seq_trace:get_token(label),
                   B = receive {'DOWN', M, _, _, R2} -> R2 end,
                   T2 = seq_trace:get_token(label),
                   {A, B, T1, T2}
           end).

timers() ->
    traced(fun() ->
                   seq_trace:set_token(label, 11),
                   seq_trace:set_token(send, true),
                   seq_trace:set_token('receive', true),
                   erlang:send_after(1, self(), hello),
                   receive hello -> ok end,
                   seq_trace:get_token()
           end).

lost() ->
    traced(fun() ->
                   seq_trace:set_token(label, 13),
                   self() ! one,
                   receive one -> ok end,
                   A = seq_trace:get_token(label),
                   receive after 1 -> ok end,
                   B = seq_trace:get_token(label),
                   {A, B}
           end).

no_tracer() ->
    seq_trace:set_token(send, true),
    self() ! one,
    receive one -> seq_trace:get_token(send) end.

reset() ->
    seq_trace:set_token(label, 15),
    self() ! one,
    Self = self(),
    Helper = spawn_link(fun() -> receive go -> seq_trace:reset_trace(), Self ! done end end),
    seq_trace:set_token([]),
    seq_trace:set_token(label, 16),
    Helper ! go,
    receive done -> ok end,
    A = seq_trace:get_token(),
    receive one -> {A, seq_trace:get_token()} end.

%% Tokens stay with messages that wait through collections and while others are taken.
kept() ->
    seq_trace:set_token(label, <<"binary label that is not small: ", 0:4000>>),
    [self() ! {N, lists:duplicate(N, x)} || N <- lists:seq(1, 20)],
    seq_trace:set_token([]),
    self() ! {21, []},
    garbage_collect(),
    Got = [receive {N, _} ->
                   garbage_collect(),
                   case seq_trace:get_token(label) of
                       {label, L} -> byte_size(L);
                       [] -> []
                   end
           end || N <- [3, 1, 21, 2] ++ lists:seq(4, 20)],
    {Got, seq_trace:get_token()}.

timestamps() ->
    {_, _, Events} =
        traced(fun() ->
                       [begin
                            seq_trace:set_token([]),
                            seq_trace:set_token(send, true),
                            seq_trace:set_token(Flag, true),
                            self() ! Flag,
                            receive Flag -> ok end
                        end || Flag <- [timestamp, monotonic_timestamp, strict_monotonic_timestamp]]
               end),
    [case Event of
         {seq_trace, 0, {send, S, _, _, M}, {A, B, C}} when is_integer(A + B + C) -> {S, M, three};
         {seq_trace, 0, {send, S, _, _, M}, {A, B}} when is_integer(A + B) -> {S, M, two};
         {seq_trace, 0, {send, S, _, _, M}, A} when is_integer(A) -> {S, M, one};
         Other -> Other
     end || Event <- Events].
