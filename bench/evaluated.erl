%% sequential: an expression with a recursive fun, run by erl_eval, as the shell and scripts do.
-module(evaluated).
-export([main/0]).
main() ->
    Text =
        "Count = fun(Count, Left, Sum, Alpha, Beta, Gamma) ->"
        "    case Left of"
        "        0 -> Sum + Alpha + Beta;"
        "        _ -> Delta = Sum + Left rem 7, Epsilon = Delta * 2 - Gamma, Count(Count, Left - 1, Epsilon rem 1000, Alpha, Beta, Gamma)"
        "    end"
        " end,"
        "Count(Count, 20000, 0, 1, 2, 3).",
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Expressions} = erl_parse:parse_exprs(Tokens),
    {value, Value, _} = erl_eval:exprs(Expressions, []),
    true = is_integer(Value),
    ok.
