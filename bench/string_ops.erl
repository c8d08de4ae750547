%% sequential: the string module over lists and binaries, with characters beyond ASCII.
-module(string_ops).
-export([main/0]).
main() ->
    Line = "key=some value; näme = Ünïcode; x=1; empty=; last=end  ",
    Text = lists:append(lists:duplicate(400, Line)),
    Binary = unicode:characters_to_binary(Text),
    repeat(15, fun() -> work(Text), work(Binary) end).
repeat(0, _) -> ok;
repeat(N, F) -> F(), repeat(N - 1, F).
work(Text) ->
    Parts = string:split(Text, ";", all),
    1601 = length(Parts),
    Pairs = [string:split(Part, "=") || Part <- Parts],
    1601 = length([ok || [_, _] <- Pairs]) + length([ok || [_] <- Pairs]),
    Names = [string:trim(Name) || [Name | _] <- Pairs],
    400 = length([ok || Name <- Names, string:equal(Name, "näme")]),
    400 = length([ok || Name <- Names, string:equal(string:uppercase(Name), "NÄME")]),
    22000 = string:length(Text),
    2400 = length([ok || Word <- string:lexemes(Text, "; "), string:find(Word, "e") =/= nomatch]),
    Joined = lists:join(",", Names),
    true = string:length(Joined) > 1600,
    Text1 = string:replace(Text, "some", "many", all),
    22000 = string:length(Text1),
    "  dne=tsal" = lists:flatten([[C] || C <- string:to_graphemes(string:slice(string:reverse(Text), 0, 10))]),
    ok.
