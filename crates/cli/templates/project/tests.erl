-module({{name}}_server_tests).
-include_lib("eunit/include/eunit.hrl").

%% Each test runs with the application started. Nobody has to read the reports that one of them provokes.
server_test_() ->
    {foreach,
     fun() ->
         ok = logger:set_primary_config(level, critical),
         {ok, Started} = application:ensure_all_started({{name}}),
         Started
     end,
     fun(Started) -> [ok = application:stop(Name) || Name <- lists:reverse(Started)] end,
     [{"starts at zero", fun starts_at_zero/0},
      {"adds", fun adds/0},
      {"can be reset", fun can_be_reset/0},
      {"is restarted", fun is_restarted/0}]}.

starts_at_zero() ->
    ?assertEqual(0, {{name}}_server:value()).

adds() ->
    ?assertEqual(3, {{name}}_server:add(3)),
    ?assertEqual(5, {{name}}_server:add(2)).

can_be_reset() ->
    {{name}}_server:add(1),
    {{name}}_server:reset(),
    ?assertEqual(0, {{name}}_server:value()).

is_restarted() ->
    Before = whereis({{name}}_server),
    Monitor = monitor(process, Before),
    exit(Before, kill),
    receive {'DOWN', Monitor, process, Before, killed} -> ok end,
    ?assertNotEqual(Before, wait_for_server()).

wait_for_server() ->
    case whereis({{name}}_server) of
        undefined -> timer:sleep(1), wait_for_server();
        Pid -> Pid
    end.
