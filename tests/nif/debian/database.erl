%% sqlite3: a linked-in driver, which works on threads of its own and answers with terms.
-module(database).
-export([main/0]).

main() ->
    File = "/tmp/database-" ++ os:getpid(),
    {ok, _} = sqlite3:open(db, [{file, File}]),
    io:format("~p~n", [sqlite3:create_table(db, people, [{id, integer, [{primary_key, [asc, autoincrement]}]}, {name, text}, {age, integer}, {share, double}])]),
    io:format("~p ~p~n", [sqlite3:list_tables(db), sqlite3:table_info(db, people)]),
    [io:format("~p~n", [sqlite3:write(db, people, [{name, Name}, {age, Age}, {share, Share}])]) || {Name, Age, Share} <- [{"Ada", 36, 0.5}, {<<"B\x{e9}la"/utf8>>, 1 bsl 40, 1.0e10}, {null, -1, 0.0}]],
    io:format("~p~n", [sqlite3:read_all(db, people)]),
    io:format("~p~n", [sqlite3:read(db, people, {name, "Ada"})]),
    io:format("~p~n", [sqlite3:sql_exec(db, "select count(*), sum(age) from people where age > ?", [0])]),
    io:format("~p~n", [sqlite3:update(db, people, {id, 1}, [{age, 37}])]),
    io:format("~p~n", [sqlite3:delete(db, people, {id, 2})]),
    io:format("~p~n", [sqlite3:sql_exec(db, "select nothing from nowhere")]),
    {ok, Statement} = sqlite3:prepare(db, "select name, age from people where age < :limit"),
    io:format("~p ~p ~p~n", [sqlite3:bind(db, Statement, [{":limit", 100}]), sqlite3:columns(db, Statement), sqlite3:next(db, Statement)]),
    io:format("~p~n", [sqlite3:finalize(db, Statement)]),
    [sqlite3:sql_exec(db, "insert into people (name, age) values (?, ?)", ["p" ++ integer_to_list(N), N]) || N <- lists:seq(1, 300)],
    io:format("~p~n", [sqlite3:sql_exec(db, "select count(*), max(age) from people")]),
    io:format("~p~n", [sqlite3:close(db)]),
    file:delete(File).
