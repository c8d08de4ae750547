%% The instruction bs_add, which compilers before OTP 25 write: it refuses what is no size.
-module(sizes_added).
-export([main/0]).

main() ->
    Code = [
        {function, add, 2, 2, [{label, 1}, {func_info, {atom, added}, {atom, add}, 2}, {label, 2},
            {bs_add, {f, 0}, [{x, 0}, {x, 1}, 8], {x, 2}},
            {bs_init2, {f, 0}, 0, 2, 3, {field_flags, []}, {x, 3}},
            {move, {atom, added}, {x, 0}}, return]},
        {function, guarded, 2, 4, [{label, 3}, {func_info, {atom, added}, {atom, guarded}, 2}, {label, 4},
            {bs_add, {f, 5}, [{x, 0}, {x, 1}, 1], {x, 2}},
            {move, {atom, added}, {x, 0}}, return,
            {label, 5}, {move, {atom, refused}, {x, 0}}, return]},
        {function, twice, 2, 7, [{label, 6}, {func_info, {atom, added}, {atom, twice}, 2}, {label, 7},
            {bs_add, {f, 0}, [{x, 0}, {x, 1}, 1], {x, 2}},
            {bs_add, {f, 0}, [{x, 2}, {x, 1}, 1], {x, 2}},
            {move, {atom, added}, {x, 0}}, return]}],
    {ok, added, Bin} = compile:forms({added, [{add, 2}, {guarded, 2}, {twice, 2}], [], Code, 8}, [from_asm, binary, no_postopt, report]),
    {module, added} = erlang:load_module(added, Bin),
    Sizes = [{0, 0}, {1, 2}, {-1, 2}, {1, -2}, {1, a}, {0, 1 bsl 70}, {0, -(1 bsl 70)}],
    io:format("~p~n", [[{A, B, [in(F, A, B) || F <- [add, guarded, twice]]} || {A, B} <- Sizes]]).

in(F, A, B) ->
    try added:F(A, B) catch Class:Reason:Trace -> {Class, Reason, [{M, N} || {M, N, _, _} <- lists:sublist(Trace, 1)]} end.
