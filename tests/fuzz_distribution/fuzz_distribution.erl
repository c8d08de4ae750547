%% Messages of a peer made at random, sent to an erl node and to a SwarmRT node: both have to keep the connection or to close
%% it, and what reaches a process has to be the same. `run/1` is the driver, `sink/0` what runs on each of the two nodes.
%%
%% The driver speaks the handshake of a node. A case is one message, whole or in fragments, made of valid parts some of which
%% are then changed: as a term (another value, operation or number of elements) or in its bytes. After each case a probe goes to
%% the same process, whose answer says what the process has got since the last one. Where the connection is closed, the next
%% case begins with a new one.
-module(fuzz_distribution).
-export([run/1, sink/0]).

-define(MARK, "fuzz_distribution answers").

%% ---- On the nodes ----

%% Starts the process that gets the messages; another one when it has ended. Its number is so high that no pid with a byte
%% changed is that of a process of the system, and the same on both nodes: a changed byte may become the other node's.
sink() ->
    [short_lived() || _ <- lists:seq(1, 20000)],
    spawn(fun keep/0).

short_lived() ->
    {Pid, Ref} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Ref, process, Pid, _} -> Pid end.

keep() ->
    [_, Number, _] = string:lexemes(pid_to_list(short_lived()), "<.>"),
    case list_to_integer(Number) rem 1024 of
        677 ->
            {Pid, Ref} = spawn_monitor(fun() ->
                register(sink, self()),
                process_flag(trap_exit, true),
                got({alias(), alias(), 0}, [])
            end),
            receive {'DOWN', Ref, process, Pid, _} -> keep() end;
        _ -> keep()
    end.

got({Alias, Once, Count} = Given, Got) ->
    receive
        {probe, To, Number} ->
            Text = term_to_binary({self(), Alias, Once, Count}),
            Said = term_to_binary([shown(Term) || Term <- lists:reverse(Got)], [deterministic]),
            Answer = case byte_size(Said) < 30000 of true -> Said; false -> erlang:md5(Said) end,
            Whole = <<?MARK, Number:32, (byte_size(Text)):32, Text/binary, (byte_size(Answer)):32, Answer/binary>>,
            erlang:send(To, Whole, [noconnect]),
            got(Given, []);
        Term -> got(Given, [Term | Got])
    end.

%% What differs between the two nodes is left out.
shown(Term) when is_pid(Term) -> of_node(Term, pid);
shown(Term) when is_reference(Term) -> of_node(Term, reference);
shown(Term) when is_port(Term) -> of_node(Term, port);
shown(Term) when is_atom(Term) -> case is_same(Term) of true -> Term; false -> atom_of_a_node end;
shown(Term) when is_function(Term) ->
    {function, [erlang:fun_info(Term, Item) || Item <- [module, type, arity]]};
shown(Term) when is_tuple(Term) -> list_to_tuple(shown(tuple_to_list(Term)));
shown(Term) when is_map(Term) -> maps:from_list(shown(maps:to_list(Term)));
shown([Head | Tail]) -> [shown(Head) | shown(Tail)];
shown(Term) -> Term.

%% Numbers of the nodes under test, whose names may have been changed, differ.
of_node(Term, Kind) ->
    case lists:member($@, atom_to_list(node(Term))) andalso is_same(node(Term)) of true -> Term; false -> Kind end.

is_same(Atom) ->
    Text = atom_to_list(Atom),
    (string:find(Text, "fz") =:= nomatch andalso string:find(Text, "@") =:= nomatch)
        orelse lists:prefix("fuzz", Text) orelse lists:prefix("third", Text).

%% ---- The driver ----

%% Names of the two nodes, of which that of erl begins so, the cookie, the seed, and the limit.
run([One, Other, Cookie, Seed, Kind, Limit]) ->
    rand:seed(exsss, list_to_integer(Seed)),
    Until = case Kind of
        "messages" -> {messages, list_to_integer(Limit)};
        "seconds" -> {time, erlang:monotonic_time(second) + list_to_integer(Limit)}
    end,
    Nodes = [One, Other],
    State = #{nodes => Nodes, cookie => Cookie, seed => Seed, closed => 0, known => 0},
    cases(0, Until, connected(State, 0)).

cases(Number, Until, State) ->
    case is_over(Number, Until) of
        true ->
            io:format("~p messages, ~p connections closed by both, ~p known differences~n",
                      [Number, maps:get(closed, State), maps:get(known, State)]),
            ok;
        false -> one(Number, Until, State)
    end.

is_over(Number, {messages, Count}) -> Number >= Count;
is_over(_, {time, End}) -> erlang:monotonic_time(second) >= End.

one(Number, Until, #{sockets := Sockets, environments := Environments} = State) ->
    Before = rand:export_seed(),
    Cases = [begin rand:seed(Before), message(Environment) end || Environment <- Environments],
    put(last, {Number, hd(Cases)}),
    [send(Socket, Case) || {Socket, {_, Case}} <- lists:zip(Sockets, Cases)],
    Results = [probed(Socket, Environment, Number) || {Socket, Environment} <- lists:zip(Sockets, Environments)],
    case [Result || {Result, _} <- Results] of
        [closed, closed] ->
            close(Sockets),
            Closed = maps:get(closed, State) + 1,
            cases(Number + 1, Until, connected(State#{closed := Closed}, Number + 1));
        [Same, Same] ->
            New = [Environment || {_, Environment} <- Results],
            cases(Number + 1, Until, State#{environments := New});
        Different ->
            Bytes = iolist_to_binary([Packets || {_, Packets} <- Cases]),
            differs(Different, Cases, Bytes, Number, Until, State)
    end.

differs(Different, Cases, Bytes, Number, Until, #{sockets := Sockets, known := Known} = State) ->
    case is_known(Different, Bytes) of
        true ->
            close(Sockets),
            cases(Number + 1, Until, connected(State#{known := Known + 1}, Number + 1));
        false -> failed(Different, Cases, Number, State)
    end.

%% What OTP takes and SwarmRT refuses: references without numbers, for which OTP reads beyond them.
is_known([{open, _}, closed], Bytes) -> binary:match(Bytes, [<<90, 0, 0>>, <<114, 0, 0>>]) =/= nomatch;
is_known(_, _) -> false.

failed(Different, Cases, Number, #{nodes := Nodes} = State) ->
    %% A node that crashes closes its connections first.
    timer:sleep(1000),
    [is_up(Node) orelse ended(Node) || Node <- Nodes],
    [io:format("~s: ~p~n  ~p~n  ~s~n", [Node, said(Result), Term, binary:encode_hex(iolist_to_binary(Packets))])
     || {Node, Result, {Term, Packets}} <- lists:zip3(Nodes, Different, Cases)],
    io:format("message ~p of seed ~s: the nodes differ~n", [Number, maps:get(seed, State)]),
    halt(1).

said({open, Answer}) ->
    try {open, binary_to_term(Answer)} catch _:_ -> {open, {md5, Answer}} end;
said(Other) -> Other.

%% Connections to both nodes.
connected(#{nodes := Nodes, cookie := Cookie} = State, Number) ->
    Name = "fuzz" ++ integer_to_list(Number) ++ "@" ++ host(hd(Nodes)),
    Sockets = [connect(Node, Name, Cookie) || Node <- Nodes],
    Blank = [#{fake => list_to_atom(Name), node => list_to_atom(Node)} || Node <- Nodes],
    Probed = [probed(Socket, Environment, Number) || {Socket, Environment} <- lists:zip(Sockets, Blank)],
    [{open, _}, {open, _}] = [Result || {Result, _} <- Probed],
    Environments = [Environment || {_, Environment} <- Probed],
    Lengths = lists:usort([Words || #{alias := {reference_of, Words, _}} <- Environments]),
    State#{sockets => Sockets, environments => [Environment#{is_alike => length(Lengths) =:= 1} || Environment <- Environments]}.

close(Sockets) -> [gen_tcp:close(Socket) || Socket <- Sockets].

%% Sends a probe; what the process has got before it, or 'closed'.
probed(Socket, #{fake := Fake} = Environment, Number) ->
    Pid = pid(Fake, 5, 0, 17),
    _ = gen_tcp:send(Socket, framed([<<131, 68, 0>>, plain({6, {pid, Pid}, '', sink}),
                                     plain({probe, {pid, Pid}, Number})])),
    answer(Socket, Environment, Number, <<>>).

answer(Socket, Environment, Number, Got) ->
    case binary:match(Got, <<?MARK, Number:32>>) of
        {At, Length} ->
            Start = At + Length,
            case Got of
                <<_:Start/binary, Size:32, Text:Size/binary, Size2:32, Answer:Size2/binary, _/binary>> ->
                    {{open, Answer}, told(Environment, Text)};
                _ -> more(Socket, Environment, Number, Got)
            end;
        nomatch -> more(Socket, Environment, Number, Got)
    end.

more(Socket, Environment, Number, Got) ->
    case gen_tcp:recv(Socket, 0, 20000) of
        {ok, Bytes} -> answer(Socket, Environment, Number, <<Got/binary, Bytes/binary>>);
        {error, timeout} -> {hangs, Environment};
        {error, _} -> {closed, Environment}
    end.

%% Pids and references of the node, as the bytes behind their tag and node. Where references have other lengths on the two nodes
%% (`is_alike`), no bytes of a message that has one are changed: a change would fall on other parts of it.
told(Environment, <<131, 104, 4, Rest/binary>>) ->
    {Pid, Rest1} = identifier(Rest),
    {Alias, Rest2} = identifier(Rest1),
    {Once, _} = identifier(Rest2),
    Environment#{sink => Pid, alias => Alias, once => Once}.

identifier(<<88, Rest/binary>>) ->
    {_, <<Numbers:12/binary, Behind/binary>>} = skipped_atom(Rest),
    {{pid_of, Numbers}, Behind};
identifier(<<90, Words:16, Rest/binary>>) ->
    Length = 4 + 4 * Words,
    {_, <<Numbers:Length/binary, Behind/binary>>} = skipped_atom(Rest),
    {{reference_of, Words, Numbers}, Behind}.

skipped_atom(<<119, Length, Name:Length/binary, Rest/binary>>) -> {Name, Rest};
skipped_atom(<<100, Length:16, Name:Length/binary, Rest/binary>>) -> {Name, Rest}.

send(Socket, Packets) -> [gen_tcp:send(Socket, framed(Packet)) || Packet <- Packets].

framed(Packet) -> [<<(iolist_size(Packet)):32>>, Packet].

host(Node) -> tl(string:find(Node, "@")).

%% A node has ended. `erl` does so on some messages: its status is another one.
ended(Node) ->
    {Number, {Term, Packets}} = get(last),
    io:format("~s has ended, at message ~p: ~p~n  ~s~n", [Node, Number, Term, binary:encode_hex(iolist_to_binary(Packets))]),
    halt(case string:prefix(Node, "erl") of nomatch -> 1; _ -> 3 end).

is_up(Node) ->
    case erl_epmd:port_please(hd(string:split(Node, "@")), {127, 0, 0, 1}) of {port, _, _} -> true; noport -> false end.

connect(Node, Name, Cookie) ->
    Port = case erl_epmd:port_please(hd(string:split(Node, "@")), {127, 0, 0, 1}) of
        {port, Number, _} -> Number;
        noport -> ended(Node)
    end,
    Options = [binary, {active, false}, {packet, 2}, {nodelay, true}],
    Socket = case gen_tcp:connect({127, 0, 0, 1}, Port, Options) of
        {ok, New} -> New;
        {error, _} -> ended(Node)
    end,
    Flags = element(2, erts_internal:get_dflags()),
    _ = gen_tcp:send(Socket, [$N, <<Flags:64, 17:32, (length(Name)):16>>, Name]),
    case gen_tcp:recv(Socket, 0, 5000) of
        {ok, <<"sok", _/binary>>} -> ok;
        {error, closed} -> ended(Node)
    end,
    {ok, <<$N, _:64, Challenge:32, _/binary>>} = gen_tcp:recv(Socket, 0, 5000),
    Digest = erlang:md5([Cookie, integer_to_list(Challenge)]),
    ok = gen_tcp:send(Socket, [$r, <<99:32>>, Digest]),
    {ok, <<$a, _/binary>>} = gen_tcp:recv(Socket, 0, 5000),
    ok = inet:setopts(Socket, [{packet, raw}]),
    Socket.

%% ---- Messages ----

%% The parts of the message as terms, and its packets. Which numbers are drawn does not depend on the environment.
message(Environment) ->
    {Danger, Parts} = parts(Environment),
    Changed = case any(6) of
        1 when Danger =:= unread -> [extra_element(hd(Parts)) | tl(Parts)];
        1 when Danger =:= control -> [hd(changed_parts([hd(Parts)], Environment)) | tl(Parts)];
        1 -> changed_parts(Parts, Environment);
        _ -> Parts
    end,
    {Packets, IsWhole} = packets(Changed, Changed =:= Parts),
    %% A byte that is changed in the pid of who is to end, or to be linked, might be that of a process of the system. erl crashes
    %% on fragments of what is no term.
    Mutated = case Danger =:= safe andalso IsWhole =/= fragments andalso any(3) of
        1 -> [mutated(Packet) || Packet <- Packets];
        _ -> Packets
    end,
    {{IsWhole, Changed}, Mutated}.

extra_element(Control) -> erlang:append_element(Control, 1).

any(Count) -> rand:uniform(Count).
one_of(List) -> lists:nth(any(length(List)), List).

%% What may be changed (anything; anything but bytes; values of the control message; nothing but its number of elements), and the
%% control message, and the payload where there is one.
parts(#{fake := Fake} = Environment) ->
    From = {pid, pid(Fake, 5, 0, 17)},
    Sink = own(sink, Environment),
    Alias = own(alias, Environment),
    Ref = {reference, Fake, 17, [any(1000), 2, 3]},
    Value = value(3, Environment),
    Token = {1, any(100), any(1000), From, any(1000)},
    Own = {reference, maps:get(node, Environment), 99, [1, 2, 3]},
    case any(30) of
        N when N =< 4 -> {safe, [{22, From, Sink}, Value]};
        5 -> {safe, [{2, '', Sink}, Value]};
        N when N =< 9 -> {safe, [{6, From, '', sink}, Value]};
        10 -> {case maps:get(is_alike, Environment) of true -> safe; false -> danger end, [{33, From, Alias}, Value]};
        11 -> {unread, [{34, From, Alias, Token}, Value]};
        12 -> {unread, [{23, From, Sink, Token}, Value]};
        13 -> {unread, [{16, From, '', sink, Token}, Value]};
        14 -> {danger, [{1, From, Sink}]};
        15 -> {danger, [{35, any(3), From, Sink}]};
        16 -> {danger, [{36, any(3), From, Sink}]};
        17 -> {danger, [{3, From, Sink, Value}]};
        18 -> {danger, [{8, From, Sink, Value}]};
        %% OTP does not look at the payload, as there is no such link or monitor.
        19 -> {unread, [{24, From, Sink}, a_reason]};
        20 -> {danger, [{26, From, Sink}, Value]};
        21 -> {unread, [{27, From, Sink, Token}, Value]};
        22 -> {safe, [{19, From, one_of([Sink, sink]), Ref}]};
        23 -> {safe, [{20, From, one_of([Sink, sink]), Ref}]};
        24 -> {safe, [{21, From, Sink, Own, Value}]};
        25 -> {unread, [{28, From, Sink, Own}, a_reason]};
        %% Another process looks at the payload, at any time.
        26 -> {control, [{29, Ref, From, From, {lists, reverse, 1}, one_of([[], [link], [monitor], [{priority, low}]])}, [[a]]]};
        27 -> {control, [{31, Own, Sink, 0, one_of([From, noproc])}]};
        28 -> {danger, [{7, From, Sink}]};
        29 -> {danger, [{37, any(64) - 1, From, one_of([Sink, Alias, sink])}, Value]};
        30 -> {unread, [{37, any(64) - 1, From, one_of([Sink, Alias, sink]), Token}, Value]}
    end.

own(What, #{node := Node} = Environment) ->
    case maps:get(What, Environment) of
        {pid_of, Numbers} -> {raw, [<<88>>, atom_bytes(Node, 1), Numbers]};
        {reference_of, Words, Numbers} -> {raw, [<<90, Words:16>>, atom_bytes(Node, 1), Numbers]}
    end.

changed_parts([Control | Payload], Environment) ->
    case any(8) of
        1 -> [Control | Payload ++ [extra]];
        2 when Payload =/= [] -> [Control];
        2 -> [Control, extra];
        3 -> [value(1, Environment) | Payload];
        %% It would be its token.
        4 when element(1, Control) =:= 37 -> [Control | Payload];
        4 -> [erlang:append_element(Control, value(1, Environment)) | Payload];
        5 -> [erlang:delete_element(tuple_size(Control), Control) | Payload];
        6 -> [setelement(1, Control, one_of([plain_operation(any(45) - 1), -1, 1 bsl 70, ok])) | Payload];
        _ -> [setelement(any(tuple_size(Control) - 1) + 1, Control, value(1, Environment)) | Payload]
    end.

%% OTP does not look at tokens before it uses them, and crashes. OTP 27 closes the connection for a monitor's end without the
%% payload (28) whatever it is for, and OTP 25 does not.
plain_operation(Number) ->
    case lists:member(Number, [12, 13, 16, 18, 23, 25, 27, 28, 30, 32, 34]) of true -> 38; false -> Number end.

value(Depth, Environment) when Depth > 0 ->
    case any(26) of
        1 -> [value(Depth - 1, Environment) || _ <- lists:seq(1, any(4))];
        2 -> list_to_tuple([value(Depth - 1, Environment) || _ <- lists:seq(1, any(4))]);
        3 -> {map, [{N, value(Depth - 1, Environment)} || N <- lists:seq(1, any(40))]};
        4 -> {improper, value(Depth - 1, Environment), value(0, Environment)};
        _ -> value(0, Environment)
    end;
value(_, #{fake := Fake} = Environment) ->
    case any(24) of
        1 -> any(256) - 1;
        2 -> any(1 bsl 31) - 1;
        3 -> -any(1 bsl 31);
        4 -> any(1 bsl 62) - (1 bsl 61);
        5 -> (any(1 bsl 60) bsl any(2200)) * one_of([1, -1]);
        6 -> one_of([0.0, -0.0, 1.5, -1.0e300, 5.0e-324]);
        7 -> one_of(['', a, true, 'ÿ', 'λ字', list_to_atom(lists:duplicate(255, $x))]);
        8 -> list_to_atom("fuzzed_" ++ integer_to_list(any(400)));
        9 -> [];
        10 -> [any(255) || _ <- lists:seq(1, any(300))];
        11 -> crypto_free_bytes(any(100) - 1);
        12 -> crypto_free_bytes(any(2000));
        13 -> {bits, crypto_free_bytes(any(30)), any(9) - 1};
        14 -> {pid, pid(Fake, any(1000), any(8), 17)};
        15 -> {pid, pid('third@nowhere', any(1 bsl 32) - 1, any(1 bsl 32) - 1, any(5) - 1)};
        16 -> {pid, pid(maps:get(node, Environment), any(1000), 0, 3)};
        17 -> {reference, Fake, any(4), [any(1 bsl 32) - 1 || _ <- lists:seq(1, any(6))]};
        18 -> {port, Fake, any(1 bsl 40), any(4)};
        19 -> {export, one_of([lists, no_such_module]), one_of([map, foo]), any(256) - 1};
        20 -> {function, Fake, any(3)};
        21 -> {map, [{one_of([a, b, 1]), x} || _ <- lists:seq(1, any(3))]};
        22 ->
            One = one_of([sink, alias, once]),
            own(case maps:get(is_alike, Environment) of true -> One; false -> sink end, Environment);
        23 -> {};
        24 -> <<>>
    end.

%% Bytes of the same generator.
crypto_free_bytes(Count) -> << <<(any(256) - 1)>> || _ <- lists:seq(1, Count) >>.

pid(Node, Number, Serial, Creation) -> {Node, <<Number:32, Serial:32, Creation:32>>}.

%% ---- Bytes ----

%% The packets of a message: what it says of atoms, and how it is cut, is drawn here.
packets(Parts, IsValid) ->
    put(listed, []),
    IsCached = any(3) > 1,
    put(is_cached, IsCached),
    %% On control messages in fragments that are not valid, or have old forms of identifiers, erl crashes; OTP 29 does so on
    %% all with operation 37.
    IsCut = any(12) =:= 1 andalso IsValid andalso length(Parts) > 1 andalso element(1, hd(Parts)) =/= 37,
    put(has_old_forms, not IsCut),
    [Control | Payload] = [iolist_to_binary(bytes(Part)) || Part <- Parts],
    Body = [Control | Payload],
    Head = head(lists:reverse(get(listed))),
    case any(12) of
        _ when IsCut -> {fragments(Head, Control, iolist_to_binary(Payload)), fragments};
        2 when not IsCached -> {[[<<112>>, [[<<131>>, plain_bytes(Part)] || Part <- Parts]]], passed_through};
        _ -> {[[<<131, 68>>, Head, Body]], whole}
    end.

%% In order, and the control message in the first one: on others erl crashes.
fragments(Head, Control, Payload) ->
    Sequence = any(1 bsl 40),
    Pieces = case pieces(Payload, byte_size(Payload) div any(4) + 1) of [] -> [<<>>]; Some -> Some end,
    [{First, Piece} | Others] = lists:zip(lists:seq(length(Pieces), 1, -1), Pieces),
    [[<<131, 69, Sequence:64, First:64>>, Head, Control, Piece]
     | [[<<131, 70, Sequence:64, Number:64>>, Part] || {Number, Part} <- Others]].

pieces(<<>>, _) -> [];
pieces(Body, Cut) when byte_size(Body) =< Cut -> [Body];
pieces(Body, Cut) ->
    <<Piece:Cut/binary, Rest/binary>> = Body,
    [Piece | pieces(Rest, Cut)].

%% The list of atoms of a message: each new in its place, or said to be there already.
head([]) -> <<0>>;
head(Atoms) ->
    Entries = [{any(8) - 1, any(256) - 1, any(40) > 1, atom_to_binary(Atom)} || Atom <- Atoms],
    IsLong = lists:any(fun({_, _, _, Name}) -> byte_size(Name) > 255 end, Entries),
    Flags = [case IsNew of true -> 8 bor Segment; false -> Segment end || {Segment, _, IsNew, _} <- Entries]
        ++ [case IsLong of true -> 1; false -> 0 end],
    [<<(length(Atoms))>>, halves(Flags), [entry(Entry, IsLong) || Entry <- Entries]].

halves([Low, High | Rest]) -> [<<High:4, Low:4>> | halves(Rest)];
halves([Low]) -> [<<Low>>];
halves([]) -> [].

entry({_, Place, false, _}, _) -> <<Place>>;
entry({_, Place, true, Name}, true) -> <<Place, (byte_size(Name)):16, Name/binary>>;
entry({_, Place, true, Name}, false) -> <<Place, (byte_size(Name)), Name/binary>>.

%% Without the list of atoms, and always in the same form.
plain({A, B, C, D}) -> [<<104, 4>>, plain(A), plain(B), plain(C), plain(D)];
plain({A, B, C}) -> [<<104, 3>>, plain(A), plain(B), plain(C)];
plain({pid, {Node, Numbers}}) -> [<<88>>, atom_bytes(Node, 1), Numbers];
plain(Atom) when is_atom(Atom) -> atom_bytes(Atom, 1);
plain(Number) when Number < 256 -> <<97, Number>>;
plain(Number) -> <<98, Number:32>>.

plain_bytes(Part) ->
    put(is_cached, false),
    bytes(Part).

bytes({raw, Bytes}) -> Bytes;
bytes({pid, {Node, <<Number:32, Serial:32, Creation:32>> = Numbers}}) ->
    case get(has_old_forms) andalso any(12) of
        1 -> [<<103>>, bytes(Node), <<Number:32, Serial:32, Creation>>];
        _ -> [<<88>>, bytes(Node), Numbers]
    end;
bytes({reference, Node, Creation, Words}) ->
    Numbers = [<<Word:32>> || Word <- Words],
    case get(has_old_forms) andalso any(12) of
        1 -> [<<114, (length(Words)):16>>, bytes(Node), <<Creation>>, Numbers];
        2 -> [<<101>>, bytes(Node), hd(Numbers), <<Creation>>];
        _ -> [<<90, (length(Words)):16>>, bytes(Node), <<Creation:32>>, Numbers]
    end;
bytes({port, Node, Number, Creation}) ->
    case get(has_old_forms) andalso any(3) of
        1 -> [<<102>>, bytes(Node), <<Number:32, Creation>>];
        2 -> [<<89>>, bytes(Node), <<Number:32, Creation:32>>];
        _ -> [<<120>>, bytes(Node), <<Number:64, Creation:32>>]
    end;
bytes({export, Module, Function, Arity}) -> [<<113>>, bytes(Module), bytes(Function), <<97, Arity>>];
bytes({function, Node, Free}) ->
    Inner = [<<1, 0:128, 7:32, Free:32>>, bytes(no_such_module), <<97, 7, 97, 9>>,
             bytes({pid, pid(Node, 5, 0, 17)}), [bytes(N) || N <- lists:seq(1, Free)]],
    [<<112, (iolist_size(Inner) + 4):32>>, Inner];
bytes({map, Pairs}) -> [<<116, (length(Pairs)):32>>, [[bytes(Key), bytes(Value)] || {Key, Value} <- Pairs]];
bytes({improper, Head, Tail}) -> [<<108, 1:32>>, bytes(Head), bytes(Tail)];
bytes({bits, Bytes, Count}) -> [<<77, (byte_size(Bytes)):32, Count>>, Bytes];
bytes([]) -> <<106>>;
bytes(List) when is_list(List) ->
    IsText = lists:all(fun(Item) -> is_integer(Item) andalso Item >= 0 andalso Item < 256 end, List),
    case any(2) of
        1 when IsText -> [<<107, (length(List)):16>>, List];
        _ -> [<<108, (length(List)):32>>, [bytes(Item) || Item <- List], <<106>>]
    end;
bytes(Tuple) when is_tuple(Tuple) ->
    Items = [bytes(Item) || Item <- tuple_to_list(Tuple)],
    case any(20) of
        1 -> [<<105, (tuple_size(Tuple)):32>>, Items];
        _ -> [<<104, (tuple_size(Tuple))>>, Items]
    end;
bytes(Binary) when is_binary(Binary) -> [<<109, (byte_size(Binary)):32>>, Binary];
bytes(Float) when is_float(Float) ->
    case any(3) of
        1 -> [<<99>>, string:pad(io_lib:format("~.20e", [Float]), 31, trailing, 0)];
        _ -> <<70, Float:64/float>>
    end;
bytes(Atom) when is_atom(Atom) -> atom_bytes(Atom, any(12));
bytes(Number) when is_integer(Number) -> integer_bytes(Number).

integer_bytes(Number) when Number >= 0, Number < 256 ->
    case any(8) of 1 -> <<98, Number:32>>; 2 -> big(Number, any(3)); _ -> <<97, Number>> end;
integer_bytes(Number) when Number >= -(1 bsl 31), Number < 1 bsl 31 ->
    case any(8) of 1 -> big(Number, 4); _ -> <<98, Number:32>> end;
integer_bytes(Number) -> big(Number, 1).

big(Number, Least) ->
    Sign = case Number < 0 of true -> 1; false -> 0 end,
    Digits = binary:encode_unsigned(abs(Number), little),
    Padding = binary:copy(<<0>>, max(0, Least - byte_size(Digits))),
    Size = byte_size(Digits) + byte_size(Padding),
    case Size > 255 orelse any(10) =:= 1 of
        true -> [<<111, Size:32, Sign>>, Digits, Padding];
        false -> [<<110, Size, Sign>>, Digits, Padding]
    end.

%% The names of the nodes are never in the list: they differ.
atom_bytes(Atom, How) ->
    Name = atom_to_binary(Atom),
    case get(is_cached) =:= true andalso How > 4 of
        true -> listed(Atom);
        false when How =:= 2; byte_size(Name) > 255 -> [<<118, (byte_size(Name)):16>>, Name];
        false when How =:= 3 -> latin1(Atom, <<100>>, 16);
        false when How =:= 4 -> latin1(Atom, <<115>>, 8);
        false -> [<<119, (byte_size(Name))>>, Name]
    end.

latin1(Atom, Tag, Bits) ->
    Name = [Char band 255 || Char <- atom_to_list(Atom)],
    [Tag, <<(length(Name)):Bits>>, Name].

listed(Atom) ->
    Listed = get(listed),
    case [At || {At, Known} <- lists:zip(lists:seq(length(Listed) - 1, 0, -1), Listed), Known =:= Atom] of
        [At | _] -> <<82, At>>;
        [] ->
            put(listed, [Atom | Listed]),
            <<82, (length(Listed))>>
    end.

mutated(Packet) ->
    Bytes = iolist_to_binary(Packet),
    Size = byte_size(Bytes),
    At = any(Size) - 1,
    <<Front:At/binary, Byte, Behind/binary>> = Bytes,
    case any(7) of
        1 -> [Front, Behind];
        2 -> [Front, no_internal_tag(any(256) - 1), Byte, Behind];
        3 -> [Front, no_internal_tag(Byte bxor (1 bsl (any(8) - 1))), Behind];
        4 -> [Front, one_of([0, 1, 127, 128, 255]), Behind];
        5 when At > 1 -> Front;
        6 -> [Front, Byte, Behind, any(256) - 1];
        %% Not any byte: it might be the one that the other node has there.
        _ -> [Front, no_internal_tag(Byte bxor any(255)), Behind]
    end.

%% Tags of OTP's own tables, which it reads in what other nodes send, too: places of atoms, and addresses.
no_internal_tag(Byte) when Byte >= 73, Byte =< 76 -> 0;
no_internal_tag(Byte) -> Byte.
