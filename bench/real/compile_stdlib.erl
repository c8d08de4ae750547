%% OTP's compiler over 60 modules of stdlib, in one process.
-module(compile_stdlib).
-export([prepare/1, main/1]).
-define(MODULES, 60).

prepare(_) ->
    case length(real:sources(stdlib)) >= ?MODULES of
        true -> ok;
        false -> {missing, "the sources of stdlib are not there (erlang-src)"}
    end.

main(_) ->
    Files = lists:sublist(real:sources(stdlib), ?MODULES),
    lists:foreach(fun compile/1, Files).

compile(File) ->
    Includes = [{i, filename:join(code:lib_dir(A), F)} || A <- [stdlib, kernel], F <- ["include", "src"]],
    {ok, _, Code} = compile:file(File, [binary | Includes]),
    true = is_binary(Code).
