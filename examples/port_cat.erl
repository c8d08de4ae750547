%% A port: another program, spoken to line by line.
-module(port_cat).
-export([main/0]).

main() ->
    Port = open_port({spawn, "cat"}, [binary, {line, 100}, exit_status]),
    [begin
         port_command(Port, [Line, $\n]),
         receive {Port, {data, {eol, Echo}}} -> io:format("cat says ~s~n", [Echo]) end
     end || Line <- ["one", "two", "three"]],
    true = port_close(Port),
    io:format("os:cmd: ~s", [os:cmd("echo done")]).
