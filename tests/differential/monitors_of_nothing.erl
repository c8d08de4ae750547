%% Monitors of what is not there: names, names on other nodes, pids of an earlier time.
-module(monitors_of_nothing).
-export([main/0]).
main() -> N = node(), 
  [begin R = (catch monitor(K, I)), receive {'DOWN', R, K2, W, X} -> io:format("~p~n", [{K, I, K2, W, X}]) after 100 -> io:format("~p~n", [{K, I, case R of {'EXIT', {Z,_}} -> Z; _ -> none end}]) end end || {K, I} <- [{process, nope}, {process, {nope, N}}, {port, nope}, {port, {nope, N}}, {port, {nope, 'x@y'}}, {port, "a"}, {process, {nope, 'x@y'}}]],
  [E | T] = lists:reverse(binary_to_list(term_to_binary(self()))),
  P = binary_to_term(list_to_binary(lists:reverse([case E of 0 -> 1; 1 -> 2; _ -> E-1 end | T]))),
  Old = binary_to_term(<<131, 89, 100, (byte_size(atom_to_binary(N))):16, (atom_to_binary(N))/binary, 4711:32, 77:32>>),
  O = monitor(port, Old), receive {'DOWN', O, port, Old, X1} -> io:format("~p~n", [X1]) after 500 -> io:format("nothing~n") end,
  M = monitor(process, P), receive {'DOWN', M, process, P, Y} -> io:format("~p~n", [Y]) after 500 -> io:format("hangs~n") end.
