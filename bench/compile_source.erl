%% sequential: scanning, parsing and compiling source text that is made here.
-module(compile_source).
-export([main/0]).
-define(FUNCTIONS, 40).
main() ->
    Names = lists:seq(1, ?FUNCTIONS),
    Text = lists:flatten(["-module(made).\n-export([", lists:join(",", [io_lib:format("f~b/2", [N]) || N <- Names]), "]).\n", [source(N) || N <- Names]]),
    {ok, Tokens, _} = erl_scan:string(Text),
    Forms = forms(Tokens, []),
    {ok, made, Code} = compile:forms(Forms, [binary, report]),
    {module, made} = code:load_binary(made, "made.erl", Code),
    {30, [4, 5, 6]} = made:f1([1, 2, 3], 10),
    {error, badarith} = made:f7([a], 1),
    code:delete(made),
    code:purge(made),
    ok.
forms([], Forms) -> lists:reverse(Forms);
forms(Tokens, Forms) ->
    {Form, [Dot | Rest]} = lists:splitwith(fun(Token) -> element(1, Token) =/= dot end, Tokens),
    {ok, Parsed} = erl_parse:parse_form(Form ++ [Dot]),
    forms(Rest, [Parsed | Forms]).
source(N) ->
    io_lib:format(
        "f~b(List, Y) ->\n"
        "    try\n"
        "        More = [X + 3 || X <- List, is_list(List), X =/= 1000 * ~b],\n"
        "        State = #{name => ~b, list => More, {key, ~b} => <<~b:16, \"text\">>},\n"
        "        case State of\n"
        "            #{{key, ~b} := <<A:8, B:8, Rest/binary>>} when A * 256 + B =:= ~b, byte_size(Rest) =:= 4 ->\n"
        "                Fun = fun(Z) when Z > 0 -> Z * length(More); (Z) -> -Z end,\n"
        "                {Fun(Y), More};\n"
        "            #{name := Name} -> {Name, Y};\n"
        "            _ -> if Y > ~b -> high; Y < 0 -> low; true -> middle end\n"
        "        end\n"
        "    catch\n"
        "        error:Reason -> {error, Reason};\n"
        "        throw:{thrown, What} -> What\n"
        "    end.\n",
        [N, N, N, N, N, N, N, N]
    ).
