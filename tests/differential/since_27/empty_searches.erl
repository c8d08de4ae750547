%% Searches in nothing, and no copies.
-module(empty_searches).
-export([main/0]).
t(L, F) -> io:format("~s ~0p~n",[L, try F() catch C:R:S -> {C,R,[{M,F1,A,I} || {M,F1,A,I} <- lists:sublist(S,1)]} end]).
main() ->
 [t("1", fun() -> binary:F(<<>>,foobar) end) || F <- [match,matches]],
 [t("2", fun() -> binary:F(<<"abc">>,foobar,[{scope,{0,0}}]) end) || F <- [match,matches]],
 [t("3", fun() -> binary:F(<<>>,<<>>) end) || F <- [match,matches]],
 [t("4", fun() -> binary:F(<<"a">>,[]) end) || F <- [match,matches]],
 [t("4", fun() -> binary:F(<<>>,[]) end) || F <- [match,matches]],
 t("5", fun() -> binary:copy(<<1:1>>,0) end), t("6", fun() -> binary:copy(<<1,2:3>>,0) end),t("7", fun() -> binary:copy(<<>>,0) end),t("8", fun() -> binary:copy(a,0) end),
 t("9", fun() -> binary:split(<<>>,foo) end), t("10", fun() -> binary:replace(<<>>,foo,<<>>) end), ok.
