%% Compiles OTP modules from source, deterministically, and prints the MD5 of each: the same under any runtime.
-module(self_hosting).
-export([main/1]).

main(Files) ->
    [one(File) || File <- Files],
    ok.

one(File) ->
    Dir = filename:dirname(File),
    App = filename:dirname(Dir),
    Lib = filename:dirname(App),
    Includes = [{i, Dir}, {i, filename:join(App, "include")}, {i, filename:join(Lib, "kernel-8.5.3/include")} | includes(Lib)],
    Result =
        case catch compile:file(File, [binary, deterministic, nowarn_deprecated_function | Includes]) of
            {ok, _, Binary} when is_binary(Binary) -> md5(Binary);
            {ok, _, Binary, _} when is_binary(Binary) -> md5(Binary);
            Other -> io_lib:format("~0p", [Other])
        end,
    io:format("~s ~s~n", [filename:basename(File), Result]).

includes(Lib) ->
    [{i, Path} || App <- ["stdlib", "kernel", "compiler"], Dir <- filelib:wildcard(filename:join(Lib, App ++ "-*")), Path <- [filename:join(Dir, "include"), filename:join(Dir, "src")]].

md5(Binary) -> [io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= erlang:md5(Binary)].
