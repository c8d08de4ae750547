%% Who is told of the end of a port: also the process that closes it.
-module(port_closing).
-export([main/0]).
main() -> process_flag(trap_exit,true), P=open_port({spawn,"cat"},[]), port_close(P), receive X -> io:format("~p~n",[X]) after 300 -> io:format("none~n") end,
 P2=open_port({spawn,"cat"},[]), Me=self(), spawn(fun() -> port_close(P2), Me ! closed end), [receive Y -> io:format("~p~n",[Y]) after 300 -> io:format("none~n") end || _ <- [1,2]],
 P3=open_port({spawn,"cat"},[]), P3 ! {self(), close},  [receive Z -> io:format("~p~n",[Z]) after 300 -> io:format("none~n") end || _ <- [1,2]],
 {ok,L}=gen_tcp:listen(0,[]), gen_tcp:close(L), receive X4 -> io:format("~p~n",[X4]) after 300 -> io:format("none~n") end,
 _=open_port({spawn,"true"},[]), receive X5 -> io:format("~p~n",[X5]) after 300 -> io:format("none~n") end.
