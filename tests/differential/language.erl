%% The language and the libraries in many small steps, each with its result or its exception.
-module(language).
-export([main/0]).
-record(r, {a, b = 2, c}).
p(X) -> io:format("~p~n", [X]).
t(F) -> try p({ok, F()}) catch C:R:S -> p({C, R, [{M,Fn,A} || {M,Fn,A,_} <- S, M =/= erl_eval]}) end.
main() -> spawn_main(fun run/0).

%% In a process of its own: stack traces do not end in the runtime then.
spawn_main(F) -> {_, Ref} = spawn_monitor(F), receive {'DOWN', Ref, process, _, Reason} -> io:format("~p~n", [Reason]) end.

run() ->
    t(fun() -> 1 / 0 end), t(fun() -> 1 + a end), t(fun() -> element(5, {a}) end), t(fun() -> hd([]) end),
    t(fun() -> list_to_atom("x" ++ [300]) end), t(fun() -> atom_to_list(5) end), t(fun() -> throw(x) end), t(fun() -> exit(y) end),
    t(fun() -> error({a, b}) end), t(fun() -> error(foo, [1, 2]) end), t(fun() -> lists:nth(9, [1]) end),
    t(fun() -> #{a => 1, b => 2}#{c := 3} end), t(fun() -> (fun(X) -> X end)(1, 2) end), t(fun() -> apply(nomod, nofun, [1]) end),
    t(fun() -> maps:get(x, #{}) end), t(fun() -> binary_to_integer(<<"12x">>) end), t(fun() -> list_to_integer("zz", 36) end),
    t(fun() -> <<1:3, 2:5/little, "abc", 3.14/float, (<<5, 6>>)/binary>> end),
    t(fun() -> <<A:12/little-signed, B:4, R/bitstring>> = <<1, 2, 3, 4>>, {A, B, R} end),
    t(fun() -> [X * 2 || X <- lists:seq(1, 5), X rem 2 =:= 1] end), t(fun() -> << <<X:4>> || X <- [1, 2, 3] >> end),
    t(fun() -> [X || <<X:2>> <= <<16#1b>>] end), t(fun() -> R = #r{a = 1}, R#r{c = R#r.b} end),
    t(fun() -> X = 5, case X of 4 -> a end end), t(fun() -> if 1 > 2 -> x end end), t(fun() -> {a, _} = {b, 1} end),
    t(fun() -> catch error(x) end), t(fun() -> (catch throw(x)) end), t(fun() -> (catch exit(x)) end),
    t(fun() -> try throw(a) catch throw:a -> caught after p(after_run) end end),
    t(fun() -> io_lib:format("~10.3f|~-10s|~10s|~5..0b|~.16b|~e|~g|~w|~p|~c~n", [3.14159, "ab", "cd", 42, 255, 1.5, 2.5, {x, "s"}, [1, 2], $a]) end),
    t(fun() -> [float_to_list(F, [short]) || F <- [1.0, 0.1, 1.0e22, 1.5e-7, 123456789.123, 1.0e100]] end),
    t(fun() -> [string:to_float(S) || S <- ["1,5x", "-1,53e-1", <<"+1.5E2,5">>, "7.9e+,", ",5", "1,", "1,e5", ["2", <<",5">>]]] end), t(fun() -> list_to_float("1,5") end),
    t(fun() -> [float_to_list(F) || F <- [1.0, 0.1]] end), t(fun() -> {round(2.5), trunc(-2.7), floor(-2.5), ceil(2.1), round(1.0e20)} end),
    t(fun() -> lists:sort([b, 1, {a}, "x", <<1>>, 1.0, #{}, fun lists:map/2, []]) end),
    t(fun() -> {1 == 1.0, 1 =:= 1.0, #{1 => a} == #{1.0 => a}, 0.0 =:= -0.0, [1] < [1, 2], {a} < {a, b}, a < b} end),
    t(fun() -> erlang:phash2({a, 1, "x", <<1, 2>>, 1.5, 1 bsl 70, #{a => 1}}) end),
    t(fun() -> term_to_binary({a, 1, -1, 1 bsl 40, 1.5, "str", [a | b], <<1, 2, 3>>, <<1:3>>, #{x => y}}) end),
    t(fun() -> binary_to_term(term_to_binary(lists:seq(1, 40))) end),
    t(fun() -> lists:sort(maps:to_list(maps:from_list([{I, I * I} || I <- lists:seq(1, 40)]))) end),
    t(fun() -> M = maps:from_list([{{k, I}, I} || I <- lists:seq(1, 100)]), {map_size(M), maps:get({k, 50}, M), lists:sum(maps:values(M)), map_size(maps:without([{k, I} || I <- lists:seq(1, 90)], M))} end),
    t(fun() -> lists:foldl(fun(X, A) -> X * A end, 1, lists:seq(1, 30)) end), t(fun() -> (1 bsl 100) div 12345678901234567890 end), t(fun() -> -(1 bsl 64) rem 1000 end),
    t(fun() -> [1 bsl 61, (1 bsl 61) - 1, -(1 bsl 61), -(1 bsl 61) - 1, (1 bsl 61) * 2, 16#7fffffffffffffff + 1] end),
    t(fun() -> string:uppercase("straße") end), t(fun() -> string:split("a,b,c", ",", all) end), t(fun() -> string:pad("x", 5, both) end), t(fun() -> unicode:characters_to_binary("héllo→") end),
    t(fun() -> unicode:characters_to_list(<<"h", 195, 169>>) end), t(fun() -> string:tokens("a b  c", " ") end),
    t(fun() -> re:run("hello world", "(o) (w)", [{capture, all, list}]) end), t(fun() -> re:replace("abc", "b", "X", [{return, list}]) end),
    t(fun() -> binary:split(<<"a,b,c">>, <<",">>, [global]) end), t(fun() -> binary:matches(<<"abcabc">>, [<<"ab">>, <<"c">>]) end),
    t(fun() -> base64:encode("hello") end), t(fun() -> calendar:gregorian_days_to_date(738000) end), t(fun() -> lists:keysort(2, [{a, 3}, {b, 1}, {c, 2}]) end),
    t(fun() -> {ok, T, _} = erl_scan:string("foo(X) -> X + 1."), T end), t(fun() -> {ok, T, _} = erl_scan:string("1 + 2 * 3."), {ok, E} = erl_parse:parse_exprs(T), erl_eval:exprs(E, []) end),
    t(fun() -> spawn_monitor(fun() -> exit(bye) end), receive {'DOWN', _, process, _, R} -> R end end),
    t(fun() -> process_flag(trap_exit, true), P = spawn_link(fun() -> exit(bye) end), receive {'EXIT', P, R} -> R end end),
    t(fun() -> receive after 10 -> timeout end end), t(fun() -> self() ! a, self() ! b, receive b -> ok end, receive X -> X end end),
    t(fun() -> ets:new(x, [named_table, ordered_set]), ets:insert(x, [{I, I} || I <- lists:seq(1, 10)]), {ets:select(x, [{{'$1', '$2'}, [{'>', '$1', 7}], ['$2']}]), ets:first(x), ets:last(x), ets:next(x, 3), ets:info(x, size)} end),
    t(fun() -> ets:lookup(nope, 1) end), t(fun() -> put(a, 1), put(b, 2), {get(a), erase(b), get()} end),
    t(fun() -> {rand:uniform(10) =< 10, is_float(rand:uniform())} end), t(fun() -> rand:seed(exsss, {1, 2, 3}), [rand:uniform(100) || _ <- lists:seq(1, 5)] end),
    t(fun() -> zlib:uncompress(zlib:compress("hello hello hello")) end), t(fun() -> zlib:gunzip(zlib:gzip("abc")) end), t(fun() -> erlang:md5("abc") end), t(fun() -> erlang:crc32("abc") end),
    t(fun() -> lists:flatten(io_lib:format("~ts ~tp", ["żółć", "żółć"])) end), t(fun() -> io_lib:format("~p", [lists:seq(1, 60)]) end), t(fun() -> queue:to_list(queue:in(1, queue:new())) end),
    t(fun() -> F = fun Fact(0) -> 1; Fact(N) -> N * Fact(N - 1) end, F(20) end), t(fun() -> filename:join(["a", "b", "/c"]) end), t(fun() -> file:read_file("/nonexistent") end),
    t(fun() -> sets:to_list(sets:from_list([1, 2, 3, 2])) end), t(fun() -> gb_trees:to_list(gb_trees:from_orddict([{1, a}, {2, b}])) end), t(fun() -> array:to_list(array:from_list([1, 2, 3])) end), t(fun() -> dict:to_list(dict:from_list([{a, 1}, {b, 2}])) end),
    t(fun() -> timer:tc(fun() -> ok end), ok end), t(fun() -> erlang:fun_info(fun main/0, arity) end), t(fun() -> is_function(fun main/0, 0) end), t(fun() -> proplists:get_value(a, [{a, 1}]) end),
    t(fun() -> try error(badarg) catch error:badarg:S -> is_list(S) end end), t(fun() -> lists:sort(maps:fold(fun(K, V, A) -> [{K, V} | A] end, [], #{a => 1, b => 2})) end), t(fun() -> math:sqrt(2) + math:pi() end), t(fun() -> math:log(0) end),
    t(fun() -> erlang:make_tuple(3, x) end), t(fun() -> setelement(2, {a, b, c}, z) end), t(fun() -> erlang:append_element({a}, b) end), t(fun() -> bit_size(<<1:13>>) end), t(fun() -> tuple_to_list({1, 2}) end), t(fun() -> [1, 2, 3] -- [2] end),
    t(fun() -> list_to_tuple(lists:seq(1, 3)) end), t(fun() -> integer_to_list(-255, 16) end), t(fun() -> erlang:display_string("") end), ok.
