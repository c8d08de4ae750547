%% A chat room: processes that talk through one that keeps the room.
-module(chat).
-export([main/0]).

main() ->
    Main = self(),
    Room = spawn_link(fun() -> room(#{}) end),
    People = [spawn_link(fun() -> person(Main, Room, Name) end) || Name <- [ada, joe, robert]],
    [receive {joined, Pid} -> ok end || Pid <- People],
    [Pid ! {speak, io_lib:format("hello from ~p", [N])} || {N, Pid} <- lists:zip([1, 2, 3], People)],
    Heard = [receive {heard, Pid, Lines} -> {Name, lists:sort(Lines)} end || {Name, Pid} <- lists:zip([ada, joe, robert], People)],
    [io:format("~p heard ~p~n", [Name, Lines]) || {Name, Lines} <- Heard].

room(Members) ->
    receive
        {join, Name, Pid} -> Pid ! welcome, room(Members#{Name => Pid});
        {say, From, Text} ->
            [Pid ! {said, From, Text} || {Name, Pid} <- maps:to_list(Members), Name =/= From],
            room(Members)
    end.

person(Main, Room, Name) ->
    Room ! {join, Name, self()},
    receive welcome -> ok end,
    Main ! {joined, self()},
    receive {speak, Text} -> Room ! {say, Name, lists:flatten(Text)} end,
    Lines = [receive {said, From, Said} -> {From, Said} end || _ <- [1, 2]],
    Main ! {heard, self(), Lines}.
