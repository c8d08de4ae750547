%% Files in memory, and positions beyond the ends of files.
-module(memory_files).
-export([main/0]).

main() ->
    [begin io:format("~p~n", [Modes]), steps(Modes) end || Modes <- [[ram, read, write], [ram, read, write, binary], [ram, binary], [ram, write]]],
    io:format("~p ~p~n", [file:open("abc", [ram, no_such_mode]), file:open(no_data, [ram])]),
    io:format("~p~n", [archive()]).

steps(Modes) ->
    {ok, File} = file:open("hello", Modes),
    Steps = [fun() -> file:read(File, 2) end, fun() -> file:write(File, "XY") end, fun() -> file:position(File, 0) end,
        fun() -> file:read(File, 100) end, fun() -> file:read(File, 1) end, fun() -> file:position(File, 20) end,
        fun() -> file:read(File, 1) end, fun() -> file:write(File, <<"end">>) end, fun() -> file:position(File, {eof, 0}) end,
        fun() -> file:position(File, {bof, -1}) end, fun() -> file:position(File, {cur, -1}) end, fun() -> file:pread(File, 0, 30) end,
        fun() -> file:pread(File, [{0, 2}, {100, 3}]) end, fun() -> file:pwrite(File, [{0, "a"}, {30, "b"}]) end,
        fun() -> file:pread(File, -1, 4) end, fun() -> file:position(File, 4) end, fun() -> file:truncate(File) end,
        fun() -> file:position(File, eof) end, fun() -> file:sync(File) end, fun() -> file:advise(File, 0, 0, normal) end,
        fun() -> file:allocate(File, 0, 10) end, fun() -> ram_file:get_size(File) end, fun() -> ram_file:get_file(File) end,
        fun() -> file:close(File) end, fun() -> file:read(File, 1) end],
    [io:format("  ~p~n", [Step()]) || Step <- Steps].

%% An archive that is unpacked from memory into memory.
archive() ->
    Name = filename:join("/tmp", "memory_files-" ++ os:getpid() ++ ".tar"),
    ok = erl_tar:create(Name, [{"first", <<"one">>}, {"second", <<"two">>}], [compressed]),
    {ok, Archive} = file:read_file(Name),
    ok = file:delete(Name),
    {erl_tar:table({binary, Archive}, [compressed]), erl_tar:extract({binary, Archive}, [memory, compressed])}.
