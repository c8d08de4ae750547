%% Ports of files: what is written is in the file at once.
-module(written_files).
-export([main/0]).

main() ->
    process_flag(trap_exit, true),
    File = filename:join("/tmp", "swarmrt-written-" ++ os:getpid()),
    Port = open_port(File, [out]),
    [begin
        Port ! {self(), {command, Text}},
        io:format("~p~n", [file:read_file(File)])
    end || Text <- ["one ", "two ", <<"three">>]],
    port_close(Port),
    io:format("~p~n", [file:read_file(File)]),
    file:delete(File).
