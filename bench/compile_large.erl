%% sequential: OTP's compiler on a large module.
-module(compile_large).
-export([main/0]).
main() ->
    Forms = [{attribute, 1, module, big_generated}, {attribute, 1, export, [{f(N), 1} || N <- lists:seq(1, 150)]} | [function(N) || N <- lists:seq(1, 150)]],
    {ok, big_generated, Bin} = compile:forms(Forms, []),
    true = byte_size(Bin) > 10000,
    ok.
f(N) -> list_to_atom("f" ++ integer_to_list(N)).
function(N) ->
    Text = io_lib:format("~s(X) when X > ~b -> Y = X * ~b + 1, case Y rem 7 of 0 -> {zero, Y}; 1 -> [Y, ~b]; 2 -> <<Y:32, (X band 255):8>>; _ -> try lists:map(fun(Z) -> Z + Y end, [X, Y, ~b]) catch _:R -> {error, R} end end; ~s(X) -> {small, X}.", [f(N), N, N, N, N, f(N)]),
    {ok, Tokens, _} = erl_scan:string(lists:flatten(Text)),
    {ok, Form} = erl_parse:parse_form(Tokens),
    Form.
