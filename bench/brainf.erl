%% sequential: an interpreter of a very small language, compiled to tuples, its tape a zipper.
-module(brainf).
-export([main/0]).
main() ->
    Nested = "++++++++[>++++++++[>++++++++[>++++++++[>++++++++[>+>+<<-]>[-]<<-]<-]<-]<-]>>>>>>.",
    Adder = "++++++++++[>++++++++++[>++++++++++[>++++++++++[>++++++++++[>+++<-]<-]<-]<-]<-]>>>>>[-]++++++++[>++++++++<-]>+.",
    repeat(40, fun() -> [0] = execute(Nested) end),
    repeat(25, fun() -> "A" = execute(Adder) end),
    "Hello World!\n" = execute("++++++++[>++++[>++>+++>+++>+<<<<-]>+>+>->>+[<]<-]>>.>---.+++++++..+++.>>.<-.<.+++.------.--------.>>+.>++."),
    ok.
repeat(0, _) -> ok;
repeat(N, F) -> F(), repeat(N - 1, F).
execute(Text) ->
    {Code, []} = parse(Text, []),
    {_, _, _, Out} = run(Code, [], 0, [], []),
    lists:reverse(Out).
parse([$[ | T], Code) -> {Body, Rest} = parse(T, []), parse(Rest, [{loop, Body} | Code]);
parse([$] | T], Code) -> {lists:reverse(Code), T};
parse([$+ | T], [{add, N} | Code]) -> parse(T, [{add, N + 1} | Code]);
parse([$+ | T], Code) -> parse(T, [{add, 1} | Code]);
parse([$- | T], Code) -> parse(T, [{add, -1} | Code]);
parse([$> | T], Code) -> parse(T, [right | Code]);
parse([$< | T], Code) -> parse(T, [left | Code]);
parse([$. | T], Code) -> parse(T, [out | Code]);
parse([], Code) -> {lists:reverse(Code), []}.
run([], Left, Cell, Right, Out) -> {Left, Cell, Right, Out};
run([{add, N} | Code], Left, Cell, Right, Out) -> run(Code, Left, (Cell + N) band 255, Right, Out);
run([right | Code], Left, Cell, [Next | Right], Out) -> run(Code, [Cell | Left], Next, Right, Out);
run([right | Code], Left, Cell, [], Out) -> run(Code, [Cell | Left], 0, [], Out);
run([left | Code], [Next | Left], Cell, Right, Out) -> run(Code, Left, Next, [Cell | Right], Out);
run([left | Code], [], Cell, Right, Out) -> run(Code, [], 0, [Cell | Right], Out);
run([out | Code], Left, Cell, Right, Out) -> run(Code, Left, Cell, Right, [Cell | Out]);
run([{loop, _} | Code], Left, 0, Right, Out) -> run(Code, Left, 0, Right, Out);
run([{loop, Body} | _] = Code, Left, Cell, Right, Out) ->
    {Left1, Cell1, Right1, Out1} = run(Body, Left, Cell, Right, Out),
    run(Code, Left1, Cell1, Right1, Out1).
