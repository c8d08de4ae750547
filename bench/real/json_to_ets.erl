%% Decodes 80,000 lines of JSON (by `json` where OTP has it, else by the decoder below), keeps them in ETS, asks for sums.
-module(json_to_ets).
-export([prepare/1, main/1]).
-define(LINES, 80_000).

prepare(Folder) ->
    {ok, File} = file:open(path(Folder), [write, raw, delayed_write]),
    lists:foreach(fun(N) -> ok = file:write(File, line(N)) end, lists:seq(1, ?LINES)),
    ok = file:close(File).

line(N) ->
    io_lib:format(
        "{\"id\": ~b, \"user\": {\"name\": \"user ~b\", \"mail\": \"u~b@example.org\", \"tags\": [\"a~b\", \"b\\u00e9~b\", \"\\\"quoted\\\"\"]}, "
        "\"total\": ~b.~2..0b, \"paid\": ~s, \"note\": null, \"items\": [~s]}\n",
        [N, N rem 5000, N rem 5000, N rem 7, N rem 11, N rem 900, N rem 100, atom_to_list(N rem 3 =:= 0),
            lists:join(", ", [io_lib:format("{\"sku\": \"X-~b\", \"count\": ~b, \"price\": ~b}", [N * I rem 300, I, N * I rem 97]) || I <- lists:seq(1, 1 + N rem 5)])]
    ).

main(Folder) ->
    {ok, Text} = file:read_file(path(Folder)),
    Decode = decoder(),
    Orders = ets:new(orders, [set, public, {read_concurrency, true}]),
    Users = ets:new(users, [ordered_set, public]),
    Skus = ets:new(skus, [set, public]),
    keep(Text, Decode, Orders, Users, Skus),
    ?LINES = ets:info(Orders, size),
    5000 = ets:info(Users, size),
    Paid = ets:select_count(Orders, [{{'_', '_', '_', true, '_'}, [], [true]}]),
    Paid = ?LINES div 3,
    Large = ets:select(Orders, [{{'$1', '$2', '$3', '_', '_'}, [{'>', '$3', 890.0}], [{{'$1', '$2'}}]}]),
    true = length(Large) > 100,
    Total = ets:foldl(fun({_, _, Amount, _, _}, Sum) -> Sum + Amount end, 0.0, Orders),
    true = Total > 1.0e7,
    Most = lists:reverse(lists:sort([{Count, Sku} || {Sku, Count, _} <- ets:tab2list(Skus)])),
    300 = length(Most),
    lists:foreach(fun({Id, Name}) -> [{Name, _}] = ets:lookup(Users, Name), true = ets:member(Orders, Id) end, Large).

keep(<<>>, _, _, _, _) -> ok;
keep(Text, Decode, Orders, Users, Skus) ->
    [Line, Rest] = binary:split(Text, <<"\n">>),
    #{<<"id">> := Id, <<"user">> := #{<<"name">> := Name, <<"tags">> := [_, _, <<"\"quoted\"">>]}, <<"total">> := Total, <<"paid">> := Paid, <<"items">> := Items} =
        Decode(Line),
    true = ets:insert_new(Orders, {Id, Name, Total, Paid, Items}),
    _ = ets:update_counter(Users, Name, {2, 1}, {Name, 0}),
    lists:foreach(
        fun(#{<<"sku">> := Sku, <<"count">> := Count, <<"price">> := Price}) ->
            _ = ets:update_counter(Skus, Sku, [{2, Count}, {3, Count * Price}], {Sku, 0, 0})
        end,
        Items
    ),
    keep(Rest, Decode, Orders, Users, Skus).

path(Folder) -> filename:join(Folder, "orders.json").

decoder() ->
    case code:ensure_loaded(json) of
        {module, json} -> fun json:decode/1;
        {error, _} -> fun decode/1
    end.

decode(Text) ->
    {Value, Rest} = value(space(Text)),
    <<>> = space(Rest),
    Value.

space(<<C, Rest/binary>>) when C =:= $\s; C =:= $\n; C =:= $\r; C =:= $\t -> space(Rest);
space(Text) -> Text.

value(<<"{", Rest/binary>>) -> object(space(Rest), []);
value(<<"[", Rest/binary>>) -> array(space(Rest), []);
value(<<"\"", Rest/binary>>) -> string(Rest, Rest, 0);
value(<<"true", Rest/binary>>) -> {true, Rest};
value(<<"false", Rest/binary>>) -> {false, Rest};
value(<<"null", Rest/binary>>) -> {null, Rest};
value(Text) -> number(Text, Text, 0, integer).

object(<<"}", Rest/binary>>, []) -> {#{}, Rest};
object(<<"\"", Text/binary>>, Members) ->
    {Key, Rest1} = string(Text, Text, 0),
    <<":", Rest2/binary>> = space(Rest1),
    {Value, Rest3} = value(space(Rest2)),
    All = [{Key, Value} | Members],
    case space(Rest3) of
        <<",", Rest4/binary>> -> object(space(Rest4), All);
        <<"}", Rest4/binary>> -> {maps:from_list(All), Rest4}
    end.

array(<<"]", Rest/binary>>, []) -> {[], Rest};
array(Text, Values) ->
    {Value, Rest1} = value(Text),
    case space(Rest1) of
        <<",", Rest2/binary>> -> array(space(Rest2), [Value | Values]);
        <<"]", Rest2/binary>> -> {lists:reverse(Values, [Value]), Rest2}
    end.

%% `Length` bytes of `Text` are plain.
string(Text, <<"\"", Rest/binary>>, Length) -> {binary:part(Text, 0, Length), Rest};
string(Text, <<"\\", Rest/binary>>, Length) -> escaped(Rest, binary:part(Text, 0, Length));
string(Text, <<_, Rest/binary>>, Length) -> string(Text, Rest, Length + 1).

escaped(<<"u", Digits:4/binary, Rest/binary>>, Before) -> after_escape(Rest, <<Before/binary, (binary_to_integer(Digits, 16))/utf8>>);
escaped(<<C, Rest/binary>>, Before) -> after_escape(Rest, <<Before/binary, (plain(C))>>).

after_escape(Text, Before) ->
    {More, Rest} = string(Text, Text, 0),
    {<<Before/binary, More/binary>>, Rest}.

plain($n) -> $\n;
plain($t) -> $\t;
plain($r) -> $\r;
plain($b) -> $\b;
plain($f) -> $\f;
plain(C) -> C.

number(Text, <<C, Rest/binary>>, Length, Kind) when C >= $0, C =< $9; C =:= $-; C =:= $+ -> number(Text, Rest, Length + 1, Kind);
number(Text, <<C, Rest/binary>>, Length, _) when C =:= $.; C =:= $e; C =:= $E -> number(Text, Rest, Length + 1, float);
number(Text, Rest, Length, integer) when Length > 0 -> {binary_to_integer(binary:part(Text, 0, Length)), Rest};
number(Text, Rest, Length, float) -> {binary_to_float(binary:part(Text, 0, Length)), Rest}.
