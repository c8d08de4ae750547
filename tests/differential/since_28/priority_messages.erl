%% Priority messages: aliases, links and monitors with the option.
-module(priority_messages).
-export([main/0]).
t(L, F) -> io:format("~s ~0p~n",[L, try F() catch C:R:S -> {C,R,[{M,F1,A,I} || {M,F1,A,I} <- lists:sublist(S,1)]} end]).
msgs() -> {messages, M} = process_info(self(), messages), flush(), M.
flush() -> receive _ -> flush() after 0 -> ok end.
main() ->
 A = alias([priority]), Me = self(),
 t("p1", fun() -> Me ! a, Me ! b, erlang:send(A, c, [priority]), erlang:send(A, d, [priority]), erlang:send(A, e, []), A ! f, msgs() end),
 t("p2", fun() -> B = alias([]), Me ! a, erlang:send(B, c, [priority]), msgs() end),
 t("p3", fun() -> Me ! a, erlang:send(Me, c, [priority]), msgs() end),
 t("p4", fun() -> process_info(self(), priority_messages) end),
 t("p5", fun() -> process_flag(trap_exit,true), Me ! a, exit(A, boo, [priority]), exit(Me, hoo, []), exit(Me, goo, [priority]), exit(A, foo, []), exit(A, zoo), X = msgs(), X end),
 t("p6", fun() -> Me ! a, P = spawn(fun() -> receive x -> ok end end), R = monitor(process, P, [priority]), P ! x, timer:sleep(50), [E1,E2] = msgs(), {element(1,E1), E2, is_reference(R)} end),
 t("p7", fun() -> Me ! a, P = spawn(fun() -> receive x -> ok end end), link(P, [priority]), P ! x, timer:sleep(50), [E1,E2] = msgs(), {element(1,E1), E2} end),
 t("p8", fun() -> Me ! a, P = spawn_opt(fun() -> receive x -> ok end end, [{link,[priority]}]), P ! x, timer:sleep(50), [E1,E2] = msgs(), {element(1,E1), E2} end),
 t("p9", fun() -> Me ! a, {P,_} = spawn_opt(fun() -> receive x -> ok end end, [{monitor,[priority]}]), P ! x, timer:sleep(50), [E1,E2] = msgs(), {element(1,E1), E2} end),
 t("p10", fun() -> unalias(A), process_info(self(), priority_messages) end),
 t("p11", fun() -> erlang:send(A, c, [priority]), msgs() end),
 t("p12", fun() -> B = alias([reply, priority]), erlang:send(B, c, [priority]), erlang:send(B, d, [priority]), {msgs(), unalias(B)} end),
 t("p13", fun() -> B = alias([priority]), S = spawn(fun() -> timer:sleep(50), Me ! x1, timer:sleep(20), erlang:send(B, prio, [priority]), timer:sleep(20), Me ! want end), Me ! o1, Me ! o2, R1 = receive prio -> got after 1000 -> none end, R2 = receive want -> got after 1000 -> none end, {R1,R2,msgs(), is_pid(S)} end),
 t("p14", fun() -> B = alias([priority]), Ref = make_ref(), Me ! o1, erlang:send(B, {prio,1}, [priority]), R = receive {Ref, X} -> X; {prio, N} -> N after 100 -> none end, {R, msgs()} end),
 t("p15", fun() -> exit(A, boo) end),
 t("p16", fun() -> exit(make_ref(), boo) end),
 t("p17", fun() -> exit_signal(Me, hello), exit_signal(Me, hello2, []), exit_signal(Me, hello2, [priority]), msgs() end),
 t("p18", fun() -> erlang:send(Me, x, [foo]) end),
 t("p19", fun() -> link(spawn(fun() -> ok end), [priority|foo]) end),
 t("p20", fun() -> P = spawn(fun() -> receive x -> ok end end), link(P,[priority]), link(P), Me ! a, P ! x, timer:sleep(50), [E1,E2] = msgs(), {element(1,E1), E2} end),
 t("p20", fun() -> P = spawn(fun() -> receive x -> ok end end), link(P,[]), link(P,[priority]), Me ! a, P ! x, timer:sleep(50), [E1|_] = msgs(), E1 end),
 t("p21", fun() -> erlang:monitor(process, Me, [foo]) end),
 t("p22", fun() -> alias([foo]) end),
 ok.
