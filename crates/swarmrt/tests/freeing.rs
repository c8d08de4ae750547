//! Machines that are freed: nothing of them is left. In a program of its own, as it counts the
//! process's threads and memory.

use std::process::Command;
use std::time::{Duration, Instant};
use swarmrt::{Builder, CallError, Engines, HostModule, Kept, Machine, Otp, OwnedTerm, Source};

/// Does a little of everything that a machine may keep something for.
const MODULE: &str = r#"
use() ->
    Table = ets:new(table, [public, named_table]),
    true = ets:insert(Table, [{N, lists:seq(1, 20)} || N <- lists:seq(1, 20_000)]),
    Ordered = ets:new(ordered, [ordered_set, public]),
    true = ets:insert(Ordered, [{N, integer_to_binary(N)} || N <- lists:seq(1, 5_000)]),
    persistent_term:put(key, lists:duplicate(1000, <<"value">>)),
    persistent_term:put(key, other),
    Counters = counters:new(10, []),
    persistent_term:put(counters, Counters),
    _ = [spawn(fun() -> wait(binary:copy(<<N>>, 100_000)) end) || N <- lists:seq(1, 50)],
    erlang:send_after(1_000_000, self(), never),
    erlang:start_timer(1_000_000, spawn(fun() -> wait(none) end), never),
    {ok, Listening} = gen_tcp:listen(0, [binary, {active, true}]),
    {ok, Number} = inet:port(Listening),
    {ok, Socket} = gen_tcp:connect({127,0,0,1}, Number, [binary]),
    {ok, Accepted} = gen_tcp:accept(Listening),
    {ok, Other} = socket:open(inet, stream, tcp),
    keep([Listening, Socket, Accepted, Other]),
    "here\n" = os:cmd("echo here"),
    Port = open_port({spawn, "cat"}, [binary]),
    true = port_connect(Port, keep(Port)),
    {ok, File} = file:open("/dev/null", [write, raw]),
    keep(File),
    {module, M} = code:load_binary(other, "other", other(1)),
    1 = M:value(),
    {module, M} = code:load_binary(other, "other", other(2)),
    [_ | _] = M:literal(),
    _ = code:purge(M),
    fib(24) + host:seven().

wait(Kept) -> receive never -> Kept end.
keep(Kept) -> spawn(fun() -> wait(Kept) end).
fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).

other(N) ->
    Forms = [
        {attribute, 1, module, other},
        {attribute, 1, export, [{value, 0}, {literal, 0}]},
        {function, 1, value, 0, [{clause, 1, [], [], [{integer, 1, N}]}]},
        {function, 1, literal, 0, [{clause, 1, [], [], [erl_parse:abstract([a, "b", {c}])]}]}
    ],
    {ok, other, Binary} = compile:forms(Forms, []),
    Binary.

literal() -> {text, [1, 2, 3], #{key => value}}.
function() -> fun literal/0.
"#;

fn compiled() -> Vec<u8> {
    let folder = std::env::temp_dir().join(format!("swarmrt-freeing-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("freed.erl");
    let text = format!("-module(freed).\n-compile([export_all, nowarn_export_all]).\n{MODULE}");
    std::fs::write(&file, text).expect("written");
    let status = Command::new("erlc").arg("-o").arg(&folder).arg(&file).status();
    assert!(status.expect("erlc is installed").success());
    let bytes = std::fs::read(folder.join("freed.beam")).expect("compiled");
    std::fs::remove_dir_all(&folder).expect("removed");
    bytes
}

fn booted(module: &[u8]) -> Machine {
    let mut builder = Builder::embedded(Otp::find(None).expect("there is an OTP"));
    if let Ok(engine) = std::env::var("SWARMRT_ENGINE") {
        builder.engines = Engines::parse(&engine).expect("an engine");
    }
    let host = HostModule::new("host").function("seven", 0, |(): ()| Ok(7));
    builder
        .host_module(host)
        .source(Source::Memory(vec![module.to_vec()]))
        .boot()
        .expect("it boots")
}

/// How a machine comes to its end: in good order, or with all its processes there.
#[derive(Clone, Copy)]
enum End {
    Stop,
    Halt,
}

fn use_and_free(module: &[u8], end: End) {
    let machine = booted(module);
    let outcome = machine.call("freed", "use", ()).expect("called").wait().expect("it returns");
    assert_eq!(outcome.decode::<i64>().expect("a number"), 46_368 + 7);
    drop(outcome);
    let status = match end {
        End::Stop => machine.stop(),
        End::Halt => {
            let halted = machine.call("erlang", "halt", (0,)).expect("called").wait();
            assert!(matches!(halted, Err(CallError::Halted)), "{halted:?}");
            machine.wait()
        }
    };
    assert_eq!(status, 0);
    if let Err((_, why)) = machine.free() {
        panic!("{why}");
    }
}

/// Of `/proc/self/status`: a number.
fn status(item: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is a status");
    let line = status.lines().find_map(|line| line.strip_prefix(item)).expect("an item");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("there are descriptors").count()
}

/// Bytes that are allocated and not freed.
fn allocated_bytes() -> usize {
    // SAFETY: it only reads what the allocator counts.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

#[test]
fn nothing_is_left_of_machines_that_are_freed() {
    let module = compiled();
    // It runs on all the while.
    let other = booted(&module);
    // What is made once for all machines is there then.
    for end in [End::Stop, End::Halt, End::Stop] {
        use_and_free(&module, end);
    }
    let (threads, files, bytes) = (status("Threads:"), open_files(), allocated_bytes());
    const MORE: usize = 6;
    for _ in 0..MORE / 2 {
        use_and_free(&module, End::Stop);
        use_and_free(&module, End::Halt);
    }
    // A thread may be at its end.
    let until = Instant::now() + Duration::from_secs(20);
    while status("Threads:") > threads && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(status("Threads:") <= threads, "{} threads, {threads} before", status("Threads:"));
    assert_eq!(open_files(), files);
    // About 10 KB were left of each when this was written; a module or a heap that stays is more.
    const LEFT_BYTES_MAX: usize = 64 << 10;
    let left = || allocated_bytes().saturating_sub(bytes) / MORE;
    // What threads of the other machine could have seen is freed once those have looked elsewhere.
    while left() >= LEFT_BYTES_MAX && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
        swarmrt_machine::pin().flush();
    }
    assert!(left() < LEFT_BYTES_MAX, "{} bytes are left of each", left());
    let fib = other.call("freed", "fib", (20,)).expect("called").wait().expect("it returns");
    assert_eq!(fib.decode::<i64>().expect("a number"), 6_765);
    what_is_in_use_is_kept(&module);
}

fn what_is_in_use_is_kept(module: &[u8]) {
    let machine = booted(module);
    let Err((machine, Kept::Running)) = machine.free() else { panic!("it runs") };
    let get = |function| -> OwnedTerm {
        machine.call("freed", function, ()).expect("called").wait().expect("it returns")
    };
    let (literal, function) = (get("literal"), get("function"));
    assert_eq!(machine.stop(), 0);
    let Err((machine, Kept::InUse)) = machine.free() else { panic!("terms are left") };
    assert_eq!(literal.to_string(), "{text,[1,2,3],#{key=>value}}");
    assert_eq!(function.to_string(), "#Fun<freed.2.66254458>");
    drop((literal, function));
    assert!(machine.free().is_ok());
    let machine = booted(module);
    machine.stop();
    assert!(machine.vm().is_halting());
    assert!(matches!(machine.free(), Err((_, Kept::ForGood(_)))), "its internals were handed out");
}
