%% Native records: made, changed, matched and taken apart by instructions, with records of this module, of another, and
%% terms that are none.
-module(native_records).
-export([main/0]).
-export([x/1, upd/2, any/1, anyf/1, anyu/2, isv/1, isr/2, match/1, ext/1, extx/1, extu/1, isext/1, g/1, extm/1, is3/1, up2/3]).
-export_record([vec, need]).
-record #vec{x = 0.0, y = 0, z = [a,b]}.
-record #priv{a, b = none}.
-record #need{a, b = 2}.

t(F) -> try F() of X -> X catch C:E:S -> {C, E, hd(S)} end.
main() ->
    V = mk(1.5, 2), P = mk0(),
    O = records:create(other, rec, [{q,7},{r,8}], #{is_exported => true}),
    H = records:create(other, rec, [{q,7}], #{is_exported => false}),
    OV = records:create(other, vec, [{x,7},{z,1}], #{is_exported => true}),
    HV = records:create(other, vec, [{x,7},{z,1}], #{is_exported => false}),
    All = [V, P, O, H, OV, HV, {vec, 1}, a, #{x => 1}, 1 bsl 80],
    [io:format("~w:~n  ~p~n", [F, [t(fun() -> apply(?MODULE, F, [A|R]) end) || A <- All]])
     || {F, R} <- [{x,[]},{upd,[9]},{up2,[8,9]},{any,[]},{anyf,[]},{anyu,[9]},{isv,[]},{isr,[1]},{match,[]},{extx,[]},{extu,[]},{extm,[]},{isext,[]},{g,[]},{is3,[]},{ext,[]}]],
    io:format("~p~n", [[{records:get_module(R), records:get_name(R), records:get_field_names(R), records:is_exported(R)} || R <- [V,P,O,H]]]),
    io:format("~p ~p~n", [records:get_definition(native_records, vec), records:get_definition(native_records, priv)]),
    io:format("~p~n", [[t(fun() -> records:update(V, native_records, vec, M) end) || M <- [#{}, #{x=>1}, #{z=>1,x=>2}, #{w=>1}, #{{}=>1}]]]),
    io:format("~p~n", [{t(fun() -> records:get_definition(native_records, nope) end), t(fun() -> records:get(x, V) end), t(fun() -> records:get(w, V) end)}]),
    io:format("~p~n", [binary_to_term(term_to_binary(All)) =:= All]),
    io:format("~p~n", [lists:sort(All)]),
    io:format("~p ~p ~p~n", [mk(1.5,2) =:= V, mk(1.5,2.0) == V, mk(1.5,2.0) =:= V]),
    M = #{V => 1, P => 2, O => 3},
    io:format("~p~n", [[maps:get(K, M, none) || K <- [V, P, O, H]]]),
    T = ets:new(t, [ordered_set]), ets:insert(T, [{R} || R <- All]), io:format("~p~n", [ets:tab2list(T)]),
    Self = self(), spawn(fun() -> Self ! {r, mk(lists:seq(1,5), V)} end),
    receive {r, R} -> io:format("~p~n", [R]) end,
    io:format("~w~n", [[t(fun() -> loop(20000, V) end)]]),
    io:format("~p~n", [[is_record(X, N) || X <- All, N <- [vec, priv, rec]]]),
    io:format("~p~n", [t(fun() -> element(1, V) end)]),
    external().
loop(0, V) -> V;
loop(N, V) -> V2 = upd(V, N), {X, Y} = match(V2), true = (X =:= N), true = Y > 0, isv(V2), garbage_collect_sometimes(N), loop(N-1, V2).
garbage_collect_sometimes(N) when N rem 1000 =:= 0 -> garbage_collect();
garbage_collect_sometimes(_) -> ok.

external() ->
    io:format("~p~n", [[t(F) || F <- [
        fun() -> #native_records:vec{} end,
        fun() -> #native_records:vec{x = 3, z = 4} end,
        fun() -> #native_records:vec{w = 3} end,
        fun() -> #native_records:priv{a = 3} end,
        fun() -> #native_records:need{b = 1} end,
        fun() -> #native_records:need{a = 1, c = 1} end,
        fun() -> #native_records:need{a = 1} end,
        fun() -> #no_such_module:vec{} end]]]).

mk(X,Y) -> #vec{y=Y, x=X}.
mk0() -> #priv{a=1}.
x(V) -> V#vec.x.
upd(V,X) -> V#vec{x=X}.
up2(V,X,Z) -> V#vec{z=Z,x=X}.
any(V) -> V#_.x.
anyf(V) when V#_.x > 1 -> yes; anyf(_) -> no.
anyu(V,X) -> V#_{x=X}.
isv(V) when is_record(V, vec) -> true; isv(_) -> false.
isr(V,_) when is_record(V) -> true; isr(_,_) -> false.
match(#vec{x=X,y=Y}) -> {X,Y}; match(#priv{a=A}) -> A; match(#_{z=Z}) -> {anon, Z}; match(_) -> no.
ext(X) -> #other:rec{q=X}.
extx(V) -> V#other:rec.q.
extu(V) -> V#other:rec{q=1}.
extm(#other:rec{q=Q}) -> Q; extm(_) -> no.
isext(V) -> is_record(V, other, rec).
g(V) when V#vec.x > 1 -> big; g(_) -> small.
is3(V) when is_record(V, native_records, vec) -> y; is3(_) -> n.
