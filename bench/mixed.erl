%% mixed: a little of everything that programs do, each part for about as long.
-module(mixed).
-export([main/0]).
main() ->
    lists:foreach(fun(_) -> round() end, lists:seq(1, 30)).
round() ->
    5050 = lists:sum(lists:map(fun(X) -> X end, lists:seq(1, 100))),
    ok = lists_manipulated(1500),
    ok = small_messages(3000),
    ok = pattern_matching(20000),
    ok = traverse(4000),
    500500 = pair(1000),
    ok = large_structure(300),
    ok = funs(15000),
    ok = dictionary(10000),
    ok = binaries(6000),
    ok = table(5000),
    ok = floats(20000),
    ok = catches(5000),
    ok.
lists_manipulated(0) -> ok;
lists_manipulated(N) ->
    L = [N, 3, 9, 1, 7, 2],
    [_ | _] = lists:reverse(lists:sort(L ++ [a, b, {c, N}])),
    true = lists:member({c, N}, L ++ [{c, N}]),
    lists_manipulated(N - 1).
small_messages(N) ->
    Self = self(),
    Echo = spawn_link(fun() -> echo(Self) end),
    messages(N, Echo),
    Echo ! stop,
    receive stopped -> ok end.
echo(To) -> receive stop -> To ! stopped; Message -> To ! {echo, Message}, echo(To) end.
messages(0, _) -> ok;
messages(N, Echo) -> Echo ! {hello, N, [1, 2, 3]}, receive {echo, {hello, N, _}} -> messages(N - 1, Echo) end.
pattern_matching(0) -> ok;
pattern_matching(N) ->
    match({a, [N | b]}), match([1, {x, y}, N]), match({foo, 1.5, "bar"}), match({op, '+', 1, 2}),
    pattern_matching(N - 1).
match({a, [_ | c]}) -> 1;
match({a, [_ | b]}) -> 2;
match([1, {x, z} | _]) -> 3;
match([1, {x, y}, X]) when is_integer(X) -> 4;
match({foo, F, "baz"}) when F > 1.0 -> 5;
match({foo, F, "bar"}) when F > 1.0 -> 6;
match({op, '-', A, B}) -> A - B;
match({op, '+', A, B}) -> A + B.
traverse(N) -> Tree = tree(lists:seq(1, N), nil), N = count(Tree), ok.
tree([], T) -> T;
tree([K | Ks], T) -> tree(Ks, put_in((K * 7919) rem 10007, T)).
put_in(K, nil) -> {K, nil, nil};
put_in(K, {K, _, _} = T) -> T;
put_in(K, {K1, L, R}) when K < K1 -> {K1, put_in(K, L), R};
put_in(K, {K1, L, R}) -> {K1, L, put_in(K, R)}.
count(nil) -> 0;
count({_, L, R}) -> 1 + count(L) + count(R).
pair(0) -> 0;
pair(N) -> N + pair(N - 1).
large_structure(N) ->
    Self = self(),
    Data = [{K, list_to_binary(integer_to_list(K)), [K, {K}]} || K <- lists:seq(1, N)],
    Pids = [spawn_link(fun() -> Self ! {self(), length(Data)} end) || _ <- lists:seq(1, 10)],
    [N = receive {Pid, Length} -> Length end || Pid <- Pids],
    ok.
funs(N) -> Add = fun(X) -> fun(Y) -> X + Y end end, R = apply_all(N, Add, 0), R = N * (N + 1) div 2, ok.
apply_all(0, _, Sum) -> Sum;
apply_all(N, Add, Sum) -> F = Add(N), apply_all(N - 1, Add, F(Sum)).
dictionary(0) -> erase(), ok;
dictionary(N) -> put({key, N rem 100}, N), N = get({key, N rem 100}), dictionary(N - 1).
binaries(0) -> ok;
binaries(N) ->
    Packet = <<4:4, 5:4, 0, (N band 65535):16, N:32, "payload">>,
    <<4:4, H:4, _, L:16, W:32/integer, Rest/bits>> = Packet,
    {5, <<"payload">>, true} = {H, Rest, L =:= W band 65535},
    binaries(N - 1).
table(N) ->
    T = ets:new(t, []),
    [ets:insert(T, {K, K * K}) || K <- lists:seq(1, N)],
    Square = N * N,
    [{N, Square}] = ets:lookup(T, N),
    N = ets:update_counter(T, 1, {2, N - 1}),
    ets:delete(T),
    ok.
floats(N) -> X = sum_floats(N, 0.0), true = abs(X - math:log(N)) < 1.0, ok.
sum_floats(0, S) -> S;
sum_floats(N, S) -> sum_floats(N - 1, S + 1.0 / N).
catches(0) -> ok;
catches(N) ->
    {thrown, N} = try throw({thrown, N}) catch throw:T -> T end,
    {'EXIT', {badarith, _}} = (catch N / (N - N)),
    oops = try error(oops) catch error:E -> E after put(catches, N) end,
    catches(N - 1).
