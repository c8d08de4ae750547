%% What is on top of the stack trace when arithmetic or sending fails in a body.
-module(arithmetic_traces).
-export([main/0]).

f(F, X, Y) ->
    try F(X, Y) of
        V -> V
    catch
        C:R:St ->
            [{M, Fu, A, _}, N | _] = St,
            {C, R, M, Fu, A, element(2, N)}
    end.

id(X) -> X.

main() ->
    Fs = [{p1, fun (X, _) -> id(X + 1) end},
          {p1b,
           fun (X, _) ->
                   Y = X + 1,
                   {Y}
           end},
          {p1c,
           fun (X, _) ->
                   Y = 1 + X,
                   {Y}
           end},
          {m1,
           fun (X, _) ->
                   Y = X - 1,
                   {Y}
           end},
          {m1b,
           fun (X, _) ->
                   Y = 1 - X,
                   {Y}
           end},
          {pxy,
           fun (X, Y) ->
                   Z = X + Y,
                   {Z}
           end},
          {mxy,
           fun (X, Y) ->
                   Z = X - Y,
                   {Z}
           end},
          {t2,
           fun (X, _) ->
                   Z = X * 2,
                   {Z}
           end},
          {p100,
           fun (X, _) ->
                   Z = X + 100000000000,
                   {Z}
           end},
          {pbig,
           fun (X, _) ->
                   Z = X + (1 bsl 70),
                   {Z}
           end},
          {p59,
           fun (X, _) ->
                   Z = X + 576460752303423487,
                   {Z}
           end},
          {m59,
           fun (X, _) ->
                   Z = X - -576460752303423488,
                   {Z}
           end},
          {p0,
           fun (X, _) ->
                   Z = X + 0,
                   {Z}
           end},
          {pm1,
           fun (X, _) ->
                   Z = X + -1,
                   {Z}
           end},
          {mm1,
           fun (X, _) ->
                   Z = X - -1,
                   {Z}
           end},
          {p31,
           fun (X, _) ->
                   Z = X + 2147483648,
                   {Z}
           end},
          {pf,
           fun (X, _) ->
                   Z = X + 1.5,
                   {Z}
           end},
          {dv,
           fun (X, _) ->
                   Z = X div 2,
                   {Z}
           end},
          {bsl1,
           fun (X, _) ->
                   Z = X bsl 1,
                   {Z}
           end},
          {band1,
           fun (X, _) ->
                   Z = X band 1,
                   {Z}
           end},
          {rm,
           fun (X, _) ->
                   Z = X rem 2,
                   {Z}
           end},
          {neg,
           fun (X, _) ->
                   Z = -X,
                   {Z}
           end},
          {unary,
           fun (X, _) ->
                   Z = +X,
                   {Z}
           end},
          {bnt,
           fun (X, _) ->
                   Z = bnot X,
                   {Z}
           end},
          {last, fun (X, _) -> X + 1 end},
          {lastm, fun (X, _) -> X - 1 end},
          {atomp,
           fun (X, _) ->
                   Z = X + a,
                   {Z}
           end},
          {lista, fun (X, _) -> [X + 1] end},
          {tup, fun (X, Y) -> {X + 1, Y} end},
          {guardb,
           fun (X, _) when is_atom(X) ->
                   Z = X + 1,
                   {Z};
               (_, _) -> no
           end},
          {intk,
           fun (X, Y) when is_integer(X) ->
                   Z = X + Y,
                   {Z};
               (X, _) -> X + 1
           end},
          {float,
           fun (X, Y) ->
                   Z = X / Y,
                   {Z}
           end},
          {cmp, fun (X, _) -> X + 1 > 3 end},
          {chain, fun (X, _) -> X + 1 - 2 + 3 end},
          {ab,
           fun (X, _) ->
                   Z = abs(X),
                   {Z}
           end},
          {both,
           fun (X, _) ->
                   Z = 1 + 1 + X,
                   {Z}
           end},
          {sw,
           fun (X, _) ->
                   case X + 1 of
                       2 -> a;
                       _ -> b
                   end
           end},
          {snd,
           fun (X, _) ->
                   X ! msg,
                   ok
           end},
          {snd2,
           fun (X, _) ->
                   Z = X ! msg,
                   {Z}
           end},
          {snd3, fun (X, _) -> X ! msg end},
          {snd4,
           fun (X, _) ->
                   erlang:send(X, msg),
                   ok
           end},
          {snd5,
           fun (X, _) ->
                   erlang:send(X, msg, []),
                   ok
           end}],
    [io:format("~p: ~0p~n", [N, f(F, X, Y)])
     || {N, F} <- Fs, {X, Y} <- [{a, b}, {1, b}, {a, 1}, {nosuchname, 1}, {1.0, a}]],
    Ev = fun (S) ->
                 {ok, T, _} = erl_scan:string(S),
                 {ok, E} = erl_parse:parse_exprs(T),
                 try erl_eval:exprs(E, #{'X' => a}) catch
                     C:R:St -> {C, R, lists:sublist([{M, F, A} || {M, F, A, _} <- St], 3)}
                 end
         end,
    [io:format("~s ~0p~n", [S, Ev(S)]) || S <- ["X+1.", "1+X.", "X-1.", "X ! 1.", "X*2."]].