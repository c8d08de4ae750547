%% Raw files: what the operations on a closed one yield, and those with sizes and positions that are none.
-module(raw_files).
-export([main/0]).

main() ->
    Name = filename:join("/tmp", "raw_files-" ++ os:getpid()),
    {ok, Closed} = file:open(Name, [raw, write, read, binary]),
    ok = file:write(Closed, <<"hello">>),
    ok = file:close(Closed),
    [shown(Operation, Arguments, Closed) || {Operation, Arguments} <- operations() ++ [{copy, ["/dev/null"]}, {read_file_info, []}, {close, []}]],
    io:format("~p~n", [prim_file:get_handle(Closed)]),
    {ok, File} = file:open(Name, [raw, write, read, binary]),
    [shown(Operation, Arguments, File) || {Operation, Arguments} <- operations() ++ refused()],
    {ok, Reading} = file:open(Name, [raw, read, binary]),
    [shown(Operation, Arguments, Reading) || {Operation, Arguments} <- operations()],
    [ok = file:close(Open) || Open <- [File, Reading]],
    ok = file:delete(Name).

operations() ->
    [{position, [0]}, {write, [<<"a">>]}, {read, [1]}, {read_line, []}, {pread, [0, 1]}, {pread, [[{0, 1}, {100, 1}]]}, {pwrite, [0, <<"a">>]},
     {pwrite, [[{0, <<"a">>}]]}, {sync, []}, {datasync, []}, {truncate, []}, {advise, [0, 0, normal]}, {advise, [0, 0, no_such_advice]}].

refused() ->
    [{read, [-1]}, {read, [0]}, {read, [1 bsl 70]}, {pread, [-1, 1]}, {pread, [0, -1]}, {pread, [1 bsl 70, 1]}, {pwrite, [-1, <<"a">>]}, {position, [-1]},
     {position, [{cur, -100}]}, {position, [1 bsl 70]}, {position, [nowhere]}, {write, [not_bytes]}, {advise, [-1, 0, normal]}, {allocate, [-1, 1]}].

shown(Operation, Arguments, File) ->
    io:format("~p~p: ~p~n", [Operation, Arguments, try apply(file, Operation, [File | Arguments]) catch Class:Reason -> {Class, Reason} end]).
