%% The top supervisor: restarts the server when it fails.
-module({{name}}_sup).
-behaviour(supervisor).
-export([start_link/0, init/1]).

start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

init([]) ->
    Flags = #{strategy => one_for_one, intensity => 5, period => 10},
    Server = #{id => {{name}}_server, start => {{{name}}_server, start_link, []}},
    {ok, {Flags, [Server]}}.
