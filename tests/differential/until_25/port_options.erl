%% Names and options of ports, good and bad ones, what becomes of the ports, and how errors are explained;
%% variables of the environment with strange names.
-module(port_options).
-export([main/0]).

r(M, F, A) ->
    try apply(M, F, A) of
        P when is_port(P) -> {port, fin(P)};
        V -> V
    catch
        C:R:St ->
            [{M1, F1, Ar, I} | _] = St,
            {C, R, {M1, F1, ar(Ar)}, ex(R, St, I)}
    end.

ar(L) when is_list(L) -> length(L);
ar(X) -> X.

ex(R, [{M, F, _, _} | _] = St, I) ->
    case lists:keyfind(error_info, 1, I) of
        {_, #{module := Mo} = Inf} ->
            {maps:get(cause, Inf, none),
             try Mo:(maps:get(function, Inf, format_error))(R, St) catch _:X -> {bad, X} end};
        false -> {M, F}
    end.

fin(P) ->
    receive
        {P, {data, D}} -> [D | fin(P)];
        {P, eof} ->
            catch port_close(P),
            [eof];
        {P, {exit_status, S}} -> [{status, S} | fin(P)];
        {'EXIT', P, R} -> [{exit, R}]
        after 300 -> catch port_close(P), [timeout]
    end.

main() ->
    process_flag(trap_exit, true),
    Sh = "/bin/sh",
    L = [{{spawn, "echo a"}, O}
         || O
                <- [[],
                    [foo],
                    [{args, []}],
                    [{arg0, "x"}],
                    [{args, ["x"]}],
                    x,
                    [a | b],
                    [{packet, 3}],
                    [{packet, 2}, {line, 10}],
                    [{line, 0}],
                    [{line, 10}, {packet, 1}],
                    [{cd, ""}],
                    [{env, x}],
                    [{env, [{"A", "x"}]}],
                    [{env, [{"A=B", "x"}]}],
                    [{env, [{"", "x"}]}],
                    [{env, [{"A", x}]}],
                    [{env, [{"A", false}]}],
                    [{env, [{"A=", false}]}],
                    [{env, ["A"]}],
                    [{env, [{"A", true}]}],
                    [{env, [{"A", 1}]}],
                    [{env, [{a, "x"}]}],
                    [{env, [{"A\000", "x"}]}],
                    [{env, [{"A", "x\000"}]}],
                    [{env, []}],
                    [in],
                    [in, out],
                    [binary],
                    [eof],
                    [exit_status],
                    [hide],
                    [overlapped_io],
                    [{parallelism, true}],
                    [{parallelism, x}],
                    [{busy_limits_port, {1, 2}}],
                    [{busy_limits_port, disabled}],
                    [{busy_limits_port, x}],
                    [{busy_limits_msgq, x}],
                    [{busy_limits_port, {2, 1}}],
                    [stderr_to_stdout],
                    [use_stdio],
                    [stream],
                    [{foo, 1}],
                    [1],
                    [{stream, 1}],
                    [{in, 1}],
                    [binary, binary],
                    [{arg0, 1}],
                    [{args, x}],
                    [{args, [1]}],
                    [{env, [{"A", "x"} | y]}],
                    [{line, 1 bsl 70}],
                    [{line, a}]]]
            ++
            %% What it writes would come when it likes, among the lines of this program.
            [{{spawn, "true"}, [nouse_stdio]}]
            ++
            [{{spawn_executable, Sh}, O}
             || O
                    <- [[{args, ["-c", "echo a"]}],
                        [{args, [<<"-c">>, <<"echo b">>]}],
                        [{args, []}, exit_status],
                        [{args, x}],
                        [{args, ["-c" | x]}],
                        [{args, ["a\000b"]}],
                        [{arg0, "x"}, {args, ["-c", "echo $0"]}],
                        [{arg0, "x\000"}],
                        [{args, [a, b]}],
                        [{args, ["-c", ["echo ", <<"z">>]]}]]]
                ++
                [{N, []}
                 || N
                        <- [port_options_file,
                            [],
                            "port_options_file",
                            {spawn, ""},
                            {spawn, foo},
                            {spawn, []},
                            {spawn, <<"echo q">>},
                            {spawn, 1},
                            {spawn},
                            {spawn, "a", "b"},
                            {spawn_executable, "/tmp"},
                            {spawn_executable, "/nonexist"},
                            {spawn_executable, "/etc/passwd"},
                            {spawn_executable, ""},
                            {spawn_executable, 1},
                            {spawn_executable, <<"/bin/true">>},
                            {spawn_executable, "/bin/true\000"},
                            {spawn_driver, "efile"},
                            {spawn_driver, "nosuch"},
                            {spawn_driver, 1},
                            {fd, 0, a},
                            {fd, -1, -1},
                            {fd, 0, 100000},
                            {fd, 1},
                            {vanilla, "x"},
                            "/etc/hostname",
                            '/etc/hostname',
                            {spawn, "a\000b"}]]
                    ++
                    [{"port_options.tmp", [out]},
                     {"port_options.tmp", [in]},
                     {'tmp.x', [in]},
                     {{spawn_executable, "/tmp"}, [exit_status]},
                     {{spawn_executable, "/etc/passwd"}, [exit_status]},
                     {port_options_file, [eof]}],
    [io:format("~0p: ~0p~n", [X, r(erlang, open_port, [N, O])]) || {N, O} = X <- L],
    file:delete("port_options.tmp"),
    file:delete("port_options_file"),
    [io:format("os ~0p: ~0p~n", [{F, A}, r(os, F, A)])
     || {F, A}
            <- [{putenv, ["", "x"]},
                {putenv, ["A=B", "x"]},
                {putenv, ["A", "x"]},
                {getenv, ["A"]},
                {getenv, [""]},
                {getenv, ["A=B"]},
                {unsetenv, [""]},
                {unsetenv, ["A=B"]},
                {putenv, [a, "x"]},
                {putenv, ["A", x]},
                {getenv, [a]},
                {putenv, ["A\000", "x"]},
                {putenv, ["A", "x\000"]},
                {putenv, ["=A", "x"]},
                {getenv, ["=A"]},
                {unsetenv, ["A"]},
                {getenv, ["A"]},
                {getenv, ["A", d]},
                {putenv, ["Ä", "ö"]},
                {getenv, ["Ä"]},
                {putenv, [[55296], "x"]},
                {putenv, ["A", [-1]]},
                {cmd, ["echo a"]},
                {cmd, [<<"echo b">>]},
                {cmd, [""]},
                {cmd, ["a\000b"]},
                {cmd, [a]},
                {cmd, [1]},
                {find_executable, ["sh"]},
                {find_executable, ["/bin/sh"]},
                {find_executable, [""]},
                {find_executable, ["nosuch"]},
                {set_signal, [foo, x]},
                {set_signal, [sigterm, x]},
                {set_signal, [sigusr2, default]}]],
    P = open_port({spawn, "cat"}, []),
    [io:format("port ~0p: ~0p~n", [{F, A}, r(erlang, F, [P | A])])
     || {F, A}
            <- [
                {port_command, ["a", [x]]},
                {port_command, ["a", x]},
                {port_control, [a, b]},
                {port_control, [1, "x"]},
                {port_control, [-1, "x"]},
                {port_call, [1, x]},
                {port_call, [a, x]},
                {port_connect, [x]},
                {port_connect, [P]},
                {port_info, [foo]},
                {port_info, [1]},
                {port_info, [os_pid, x]},
                {link, []},
                {port_close, []},
                {port_close, []},
                {port_command, ["x"]},
                {port_control, [1, ""]},
                {port_connect, [self()]},
                {port_info, []},
                {port_info, [name]},
                {port_info, [foo]},
                {link, []}]],
    [io:format("bad ~0p: ~0p~n", [{F, A}, r(erlang, F, A)])
     || {F, A}
            <- [{port_command, [x, "a"]},
                {port_command, [self(), "a"]},
                {port_close, [x]},
                {port_close, [1]},
                {port_control, [x, 1, ""]},
                {port_call, [x, 1, 2]},
                {port_connect, [x, self()]},
                {port_info, [x]},
                {port_info, [1]},
                {port_info, [x, name]},
                {port_info, [1, name]},
                {port_to_list, [x]},
                {list_to_port, ["x"]},
                {list_to_port, ["#Port<0.1>"]}]].