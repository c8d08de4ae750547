%% A chat server: 10,000 users in 200 rooms, each a process, who talk until each has said 6 lines.
-module(chat).
-export([main/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-behaviour(gen_server).
-define(USERS, 10_000).
-define(ROOMS, 200).
-define(LINES, 6).
-define(KEPT_LINES, 50).

main(_) ->
    Rooms = list_to_tuple([element(2, {ok, _} = gen_server:start_link(?MODULE, Number, [])) || Number <- lists:seq(1, ?ROOMS)]),
    Self = self(),
    Users = [spawn_link(fun() -> join(Self, Number, element(1 + Number rem ?ROOMS, Rooms)) end) || Number <- lists:seq(1, ?USERS)],
    lists:foreach(fun(User) -> receive {joined, User} -> ok end end, Users),
    lists:foreach(fun(User) -> User ! talk end, Users),
    Heard = lists:sum([receive {done, User, Lines} -> Lines end || User <- Users]),
    Members = ?USERS div ?ROOMS,
    Heard = ?USERS * ?LINES * Members,
    Kept = lists:sum([gen_server:call(Room, kept) || Room <- tuple_to_list(Rooms)]),
    Kept = ?ROOMS * ?KEPT_LINES,
    lists:foreach(fun gen_server:stop/1, tuple_to_list(Rooms)).

%% A user.
join(Main, Number, Room) ->
    Name = <<"user ", (integer_to_binary(Number))/binary>>,
    ok = gen_server:call(Room, {join, Name}, infinity),
    Main ! {joined, self()},
    receive talk -> ok end,
    Expected = ?LINES * (?USERS div ?ROOMS),
    talk(Main, Name, Room, 1, Expected, #{}).

talk(Main, _, _, _, 0, Heard) ->
    Main ! {done, self(), lists:sum(maps:values(Heard))};
talk(Main, Name, Room, Line, Missing, Heard) ->
    case Line =< ?LINES of
        true -> gen_server:cast(Room, {say, Name, text(Name, Line)});
        false -> ok
    end,
    receive
        {said, From, Text} when byte_size(Text) > 10 ->
            talk(Main, Name, Room, Line + 1, Missing - 1, maps:update_with(From, fun(N) -> N + 1 end, 1, Heard))
    end.

text(Name, Line) ->
    iolist_to_binary([Name, " says: this is my line number ", integer_to_list(Line), ", and it is "
        "long enough that it is not copied from heap to heap."]).

%% A room.
init(Number) -> {ok, #{number => Number, members => #{}, lines => queue:new(), kept => 0}}.

handle_call({join, Name}, {Pid, _}, #{members := Members} = State) ->
    Monitor = monitor(process, Pid),
    {reply, ok, State#{members := Members#{Name => {Pid, Monitor}}}};
handle_call(kept, _, #{kept := Kept} = State) ->
    {reply, Kept, State}.

handle_cast({say, From, Text}, #{members := Members} = State) ->
    maps:foreach(fun(_, {Pid, _}) -> Pid ! {said, From, Text} end, Members),
    {noreply, keep({From, Text}, State)}.

keep(Line, #{lines := Lines, kept := ?KEPT_LINES} = State) ->
    {_, Fewer} = queue:out(Lines),
    State#{lines := queue:in(Line, Fewer)};
keep(Line, #{lines := Lines, kept := Kept} = State) ->
    State#{lines := queue:in(Line, Lines), kept := Kept + 1}.

handle_info({'DOWN', Monitor, process, Pid, _}, #{members := Members} = State) ->
    {noreply, State#{members := maps:filter(fun(_, Member) -> Member =/= {Pid, Monitor} end, Members)}}.
