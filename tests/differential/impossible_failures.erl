%% The compiler knows that a built-in cannot fail and reads its result where it would have failed.
-module(impossible_failures).
-export([main/0]).

main() ->
    Maps = [#{}, #{abc => 1}, #{abc => 1, def => 2}, #{jkl => 1}, #{jkl => 1, def => 1}, #{abc => 1, mno => 1}],
    io:format("~p~n", [[f(Map) || _ <- lists:seq(1, 200), Map <- Maps]]),
    io:format("~p~n", [[after_call(Map) || _ <- lists:seq(1, 200), Map <- Maps]]).

after_call(Map0) ->
    Map = #{} = maps:remove(nothing, Map0),
    {f(Map), f(Map)}.

f(#{} = Map) ->
    case case Abc = is_map_key(abc, Map) of
             false -> false;
             _ -> is_map_key(def, Map)
         end of
        true -> {def, ghi, abc};
        false ->
            case case Jkl = is_map_key(jkl, Map) of
                     false -> false;
                     _ -> is_map_key(def, Map)
                 end of
                true -> {def, ghi, jkl};
                false ->
                    case case Abc of
                             false -> false;
                             _ -> is_map_key(mno, Map)
                         end of
                        true -> {mno, nil, abc};
                        false ->
                            case Jkl of
                                true -> {jkl, nil, nil};
                                false -> error
                            end
                    end
            end
    end.
