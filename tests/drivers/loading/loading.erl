%% erl_ddll: loading, unloading, reloading and monitoring a driver by several processes.
-module(loading).
-export([main/0]).

-define(DRV, loading_drv).
-define(OTHERS, "others").

main() ->
    process_flag(trap_exit, true),
    lists:foreach(
      fun(Case) -> io:format("~s: ~0p~n", [Case, steps(Case)]) end,
      [arguments, errors, texts, counts, pending, reload, reload_fails, reload_refused, kill, forced, ends,
       inconsistent, by_iolist, anybody, monitors, linked_in, permanent]).

steps(arguments) ->
    [catch_(fun() -> erl_ddll:try_load(Path, Name, Options) end)
     || {Path, Name, Options} <-
            [{".", ?DRV, x}, {".", ?DRV, [x]}, {".", ?DRV, [{monitor, x}]}, {".", ?DRV, [{reload, x}]},
             {".", ?DRV, [{driver_options, [x]}]}, {".", ?DRV, [{driver_options, kill_ports}]}, {".", '', []}, {1, ?DRV, []},
             {".", 1, []}, {".", ?DRV, [{monitor, pending} | x]}]]
    ++ [catch_(fun() -> erl_ddll:try_unload(?DRV, Options) end) || Options <- [x, [x], [{kill_ports, true}], [{monitor, x}]]]
    ++ [catch_(fun() -> erl_ddll:monitor(Kind, What) end)
        || {Kind, What} <- [{process, {?DRV, loaded}}, {driver, ?DRV}, {driver, {?DRV, x}}, {driver, {1, loaded}}]]
    ++ [catch_(fun() -> erl_ddll:demonitor(x) end), erl_ddll:demonitor(make_ref()), catch_(fun() -> erl_ddll:info(?DRV, x) end),
        catch_(fun() -> erl_ddll:info(?DRV, processes) end)];
steps(errors) ->
    [erl_ddll:try_load(".", no_such_drv, []), erl_ddll:try_load("fails", ?DRV, []), erl_ddll:try_load("named", ?DRV, []),
     erl_ddll:try_load("without", ?DRV, []),
     %% What else has failed has numbers, too.
     case erl_ddll:try_load("text", ?DRV, []) of {error, {open_error, Number}} when Number < -10 -> erl_ddll:format_error({open_error, Number}) end, erl_ddll:try_load(".", ?DRV, [{reload, pending}]),
     erl_ddll:try_unload(?DRV, []), listed()];
steps(texts) ->
    [catch_(fun() -> erl_ddll:format_error(Error) end)
     || Error <- [inconsistent, linked_in_driver, permanent, not_loaded, not_loaded_by_this_process, not_pending, already_loaded,
                  pending_reload, pending_process, load_cancelled, no_error, no_driver_init, driver_init_failed, bad_driver_name,
                  driver_name_to_long, driver_incorrect_version, no_ddll_available, unspecified_error, symbol_not_found, unloaded,
                  {open_error, -10}, {open_error, -3}, {open_error, -9999}, {open_error, x}, x, 1]];
steps(counts) ->
    load([]),
    Other = other(),
    call(Other, fun() -> load([]) end),
    Counts = [load([]), users(), unload([]), users(), call(Other, fun() -> unload([{monitor, pending_driver}]) end), users(),
              call(Other, fun() -> unload([]) end)],
    Port = open(),
    [Counts, item(port_count), all(), unload([{monitor, pending}]), item(processes), listed(), close(Port), got(), listed(), stop(Other)];
steps(pending) ->
    load([]),
    Other = other(),
    call(Other, fun() -> load([]) end),
    First = unload([{monitor, pending}]),
    Awaiting = item(awaiting_unload) =:= [{self(), 1}],
    Second = call(Other, fun() -> unload([{monitor, pending_driver}]) end),
    [First, Awaiting, Second, got(), call(Other, fun got/0), listed(), stop(Other)];
steps(reload) ->
    load([]),
    Other = other(),
    call(Other, fun() -> load([]) end),
    Refused = load([{reload, pending_driver}]),
    Port = open(),
    Granted = load([{reload, pending}, {monitor, pending}]),
    During = [users(), item(awaiting_load) =:= [{self(), 1}], load([{reload, pending}]), load([]), users()],
    Nothing = got(),
    Closed = close(Port),
    [Refused, Granted, During, Nothing, Closed, got(), users(), unload([]), unload([]), call(Other, fun() -> unload([]) end), gone(), stop(Other)];
steps(reload_fails) ->
    load([]),
    Port = open(),
    Granted = erl_ddll:try_load("fails", ?DRV, [{reload, pending}, {monitor, pending}]),
    Monitor = erl_ddll:monitor(driver, {?DRV, unloaded_only}),
    [status(Granted), is_reference(Monitor), close(Port), got(), listed(), catch_(fun users/0)];
steps(reload_refused) ->
    Other = other(),
    call(Other, fun() -> load([]) end),
    Result = [load([{reload, pending}]), load([{reload, pending_driver}])],
    Port = call(Other, fun open/0),
    call(Other, fun() -> unload([]) end),
    [Result, load([{reload, pending}]), call(Other, fun() -> close(Port) end), gone(), stop(Other)];
steps(kill) ->
    load([{driver_options, [kill_ports]}]),
    Port = open(),
    Options = item(driver_options),
    Reload = load([{driver_options, [kill_ports]}, {reload, pending_driver}, {monitor, pending_driver}]),
    Told = normal(got(), [Port]),
    Again = open(),
    [Options, Reload, Told, is_port(Again), close(Again), unload([{monitor, pending_driver}]), got(), listed()];
steps(forced) ->
    load([]),
    Ports = [open(), open()],
    Unload = unload([kill_ports, {monitor, pending}]),
    [Unload, normal(got(), Ports), listed(), catch_(fun open/0)];
steps(ends) ->
    Other = other(),
    call(Other, fun() -> load([{driver_options, [kill_ports]}]) end),
    Port = open(),
    Monitor = erl_ddll:monitor(driver, {?DRV, unloaded}),
    [is_reference(Monitor), stop(Other), normal(got(), [Port]), listed()];
steps(inconsistent) ->
    load([]),
    Results = [erl_ddll:try_load("fails", ?DRV, []), load([{driver_options, [kill_ports]}]), load([{driver_options, [kill_ports]}, {reload, pending}])],
    [Results, erl_ddll:try_load("./", ?DRV, []), catch_(fun() -> erl_ddll:try_load('.', ?DRV, []) end), erl_ddll:try_load(["."], "loading_drv", []), erl_ddll:load_driver(".", ?DRV), unload([]), unload([]), unload([]), gone()];
steps(by_iolist) ->
    Name = ["loading", <<"_">>, $d, "rv"],
    Load = erl_ddll:try_load(".", Name, []),
    Monitor = erl_ddll:monitor(driver, {Name, loaded}),
    [Load, is_reference(Monitor), got(), erl_ddll:info(Name, processes) =:= [{self(), 1}], status(erl_ddll:try_unload(Name, [])), gone()];
steps(anybody) ->
    %% One that is used by ports only may be unloaded by anybody.
    Other = other(),
    call(Other, fun() -> load([]) end),
    Port = open(),
    Refused = unload([]),
    stop(Other),
    [Refused, item(processes), item(port_count), unload([]), load([]), users(), unload([]), close(Port), gone()];
steps(monitors) ->
    Before = [erl_ddll:monitor(driver, {?DRV, When}) || When <- [loaded, unloaded, unloaded_only]],
    Missing = got(),
    load([]),
    Port = open(),
    Loaded = erl_ddll:monitor(driver, {?DRV, loaded}),
    Unloaded = [erl_ddll:monitor(driver, {?DRV, When}) || When <- [unloaded, unloaded_only, unloaded]],
    There = got(),
    Awaiting = item(awaiting_unload) =:= [{self(), 3}],
    erl_ddll:demonitor(hd(Unloaded)),
    Less = item(awaiting_unload) =:= [{self(), 2}],
    unload([]),
    Cancelled = erl_ddll:monitor(driver, {?DRV, loaded}),
    Before2 = got(),
    Again = load([]),
    After = got(),
    unload([]),
    [length(Before), Missing, is_reference(Loaded), There, Awaiting, Less, is_reference(Cancelled), Before2, Again, After, close(Port), got(), listed()];
steps(linked_in) ->
    [erl_ddll:try_load(".", ram_file_drv, []), erl_ddll:try_unload(ram_file_drv, []), erl_ddll:info(ram_file_drv),
     is_reference(erl_ddll:monitor(driver, {ram_file_drv, unloaded})), is_reference(erl_ddll:monitor(driver, {ram_file_drv, loaded})), got()];
steps(permanent) ->
    load([]),
    Port = open(),
    Monitors = [erl_ddll:monitor(driver, {?DRV, When}) || When <- [unloaded, unloaded_only]],
    port_control(Port, 0, []),
    [length(Monitors), got(), all(), load([]), load([{reload, pending}]), unload([]), close(Port), listed(),
     is_reference(erl_ddll:monitor(driver, {?DRV, loaded})), got()].

catch_(Fun) ->
    try Fun() catch Class:Reason -> {Class, Reason} end.

load(Options) -> status(erl_ddll:try_load(".", ?DRV, Options)).
unload(Options) -> status(erl_ddll:try_unload(?DRV, Options)).

status({ok, Status, Reference}) when is_reference(Reference) -> {ok, Status, monitored};
status(Other) -> Other.

%% How often each user has loaded it; who that is differs from run to run.
users() -> lists:sort([Count || {_, Count} <- item(processes)]).
item(Item) -> erl_ddll:info(?DRV, Item).
all() -> [case Pair of {processes, Users} when is_list(Users) -> {processes, length(Users)}; _ -> Pair end || Pair <- erl_ddll:info(?DRV)].
listed() -> {ok, Names} = erl_ddll:loaded_drivers(), lists:member("loading_drv", Names).

gone() ->
    Reference = erl_ddll:monitor(driver, {?DRV, unloaded}),
    receive {'DOWN', Reference, driver, _, Why} -> Why after 2000 -> still_there end.

open() -> open_port({spawn_driver, ?DRV}, []).
close(Port) -> unlink(Port), port_close(Port).

%% What has come, without what differs from run to run.
got() -> lists:sort(got(300)).
got(Time) ->
    receive
        {Kind, Reference, driver, Name, What} when is_reference(Reference) -> [{Kind, Name, What} | got(100)];
        {'EXIT', Port, Why} when is_port(Port) -> [{'EXIT', Port, Why} | got(100)];
        {'EXIT', _, _} -> got(100);
        Other -> [Other | got(100)]
    after Time -> []
    end.
normal(Messages, Ports) ->
    [case Message of {'EXIT', Port, Why} -> {'EXIT', lists:member(Port, Ports), Why}; _ -> Message end || Message <- Messages].

other() -> spawn_link(fun other_loop/0).
other_loop() ->
    process_flag(trap_exit, true),
    receive
        {From, Fun} -> From ! {self(), catch_(Fun)}, other_loop();
        stop -> ok
    end.
call(Pid, Fun) ->
    Pid ! {self(), Fun},
    receive {Pid, Result} -> Result end.
stop(Pid) ->
    Monitor = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, Why} -> Why end.
