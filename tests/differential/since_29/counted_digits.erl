%% Arithmetic with large integers counts as work.
-module(counted_digits).
-export([main/0, id/1]).

main() ->
    Number = fun(Digits) -> id(1) bsl (64 * Digits) end,
    [io:format("~p ~p: ~p~n", [Op, length(Args), [Least =< Count || Count <- counts(Op, Args)]])
     || {Op, Args, Least} <- [
            {'*', [Number(1), 7], 1}, {'*', [Number(100), Number(50)], 322}, {'div', [Number(100), 7], 7}, {'rem', [Number(100), 7], 7},
            {'+', [Number(1000), Number(75)], 63}, {'-', [Number(1000), Number(75)], 63}, {'-', [Number(1000)], 63},
            {'band', [Number(100), Number(75)], 7}, {'bor', [Number(1000), 1], 63}, {'bxor', [Number(100), 1], 7}, {'bnot', [Number(1000)], 63},
            {'bsl', [Number(100), 1], 7}, {'bsr', [Number(1000), 1], 63}]].

id(Term) -> Term.

counts(Op, Args) -> [in_code(Op, Args), called(Op, Args)].

called(Op, Args) ->
    counted(fun() -> apply(erlang, Op, Args) end).

in_code('-', [A]) -> counted(fun() -> -A end);
in_code('bnot', [A]) -> counted(fun() -> bnot A end);
in_code('*', [A, B]) -> counted(fun() -> A * B end);
in_code('div', [A, B]) -> counted(fun() -> A div B end);
in_code('rem', [A, B]) -> counted(fun() -> A rem B end);
in_code('+', [A, B]) -> counted(fun() -> A + B end);
in_code('-', [A, B]) -> counted(fun() -> A - B end);
in_code('band', [A, B]) -> counted(fun() -> A band B end);
in_code('bor', [A, B]) -> counted(fun() -> A bor B end);
in_code('bxor', [A, B]) -> counted(fun() -> A bxor B end);
in_code('bsl', [A, B]) -> counted(fun() -> A bsl B end);
in_code('bsr', [A, B]) -> counted(fun() -> A bsr B end).

counted(Operation) ->
    erlang:yield(),
    {reductions, Before} = process_info(self(), reductions),
    Operation(),
    {reductions, After} = process_info(self(), reductions),
    After - Before.
