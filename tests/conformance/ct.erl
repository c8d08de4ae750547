%% What OTP's suites call of common_test, for the conformance runner.
-module(ct).
-compile({no_auto_import, [get/1]}).
-export([fail/1, fail/2, comment/1, comment/2, log/1, log/2, log/3, pal/1, pal/2, pal/3, print/1, print/2, print/3]).
-export([timetrap/1, sleep/1, get_config/1, get_config/2, get_timetrap_info/0, get_progname/0, capture_start/0, capture_stop/0, capture_get/0, abort_current_testcase/1]).

fail(Reason) -> exit({test_case_failed, Reason}).
fail(Format, Args) -> fail(lists:flatten(io_lib:format(Format, Args))).
comment(_) -> ok.
comment(_, _) -> ok.
log(_) -> ok.
log(_, _) -> ok.
log(_, _, _) -> ok.
pal(_) -> ok.
pal(_, _) -> ok.
pal(_, _, _) -> ok.
print(_) -> ok.
print(_, _) -> ok.
print(_, _, _) -> ok.
timetrap(_) -> infinity.
sleep({minutes, N}) -> timer:sleep(N * 60000);
sleep({seconds, N}) -> timer:sleep(N * 1000);
sleep(N) -> timer:sleep(N).
get_config(_) -> undefined.
get_config(_, Default) -> Default.
get_timetrap_info() -> {infinity, {false, 1}}.
get_progname() ->
    {ok, [[Name | _] | _]} = init:get_argument(progname),
    Name.
capture_start() -> ok.
capture_stop() -> ok.
capture_get() -> [].
abort_current_testcase(Reason) -> fail(Reason).
