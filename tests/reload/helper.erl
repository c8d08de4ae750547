%% What reload_helper loads again and again: a function that calls funs, as small as those of `lists`, which callers have inside
%% when they are machine code. The number of the version stands where VERSION does.
-module(helper).
-export([version/0, fold/3]).

%% Found in the file by its bytes, all four of which have to be there.
-define(VERSION, 16#12345678).

version() -> ?VERSION.

%% What the fun makes of the list, with the number of the version that has called it.
fold(F, A, L) when is_function(F, 2) -> fold_1(F, A, L).

fold_1(F, A, [H | T]) -> fold_1(F, F(H, A), T);
fold_1(_, A, []) -> [?VERSION | A].
