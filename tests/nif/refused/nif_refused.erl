%% Loads libraries that are refused, from the current folder.
-module(nif_refused).
-export([main/0, nothing/1]).

main() ->
    Names = ["./missing", "./no_library", "./refused_1.so" | ["./refused_" ++ integer_to_list(N) || N <- lists:seq(1, 10)]],
    [io:format("~s: ~s~n", [Name, shown(load(Name))]) || Name <- Names],
    io:format("~p ~p~n", [catch_error(fun() -> load(17) end), apply(erlang, load_nif, ["./refused_0", 0])]),
    io:format("~p~n", [catch_error(fun() -> nothing(x) end)]),
    io:format("~p ~p ~p~n", [load("./refused_0"), nothing(x), load("./refused_0")]),
    {_, Beam, File} = code:get_object_code(?MODULE),
    {module, ?MODULE} = code:load_binary(?MODULE, File, Beam),
    io:format("~p ~p~n", [nothing(y), load("./refused_0")]).

load(Name) -> erlang:load_nif(Name, 0).

%% The newest version of the interface is a matter of the machine.
shown({error, {Kind, Text}}) -> io_lib:format("~p ~ts", [Kind, re:replace(Text, "runtime \\([0-9.]*\\)", "runtime", [{return, list}])]);
shown(Other) -> io_lib:format("~p", [Other]).

catch_error(Fun) ->
    try Fun() catch error:Reason -> Reason end.

nothing(_) -> erlang:nif_error(not_loaded).
