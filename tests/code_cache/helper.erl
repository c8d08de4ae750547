%% A function that calls a fun, so that its callers have it inside. VERSION says which of two it is.
-module(helper).
-export([fold/3]).

fold(F, A, [H | T]) -> fold(F, changed(F(H, A), H), T);
fold(_, A, []) -> {?VERSION, A, "a literal of the helper"}.

-if(?VERSION =:= 1).
changed(A, _) -> A.
-else.
changed(A, H) -> try helping(A, H) catch error:Why -> {Why, A} end.
helping(A, H) -> element(1, {A, H, "another literal of the helper", 2.5}).
-endif.
