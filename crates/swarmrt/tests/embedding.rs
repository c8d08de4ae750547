//! Machines within a program: calls both ways, conversion, sources, two of them in one process.

use serde::{Deserialize, Serialize};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use swarmrt::{Atom, Builder, CallError, Engines, HostError, HostModule, Machine, Otp, Source};

fn builder() -> Builder {
    let mut builder = Builder::embedded(Otp::find(None).expect("there is an OTP"));
    if let Ok(engine) = std::env::var("SWARMRT_ENGINE") {
        builder.engines = Engines::parse(&engine).expect("an engine");
    }
    builder
}

fn compiled(name: &str, text: &str) -> (PathBuf, Vec<u8>) {
    let folder =
        std::env::temp_dir().join(format!("swarmrt-embedding-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join(format!("{name}.erl"));
    std::fs::write(
        &file,
        format!("-module({name}).\n-compile([export_all, nowarn_export_all]).\n{text}"),
    )
    .expect("written");
    let status =
        Command::new("erlc").arg("-o").arg(&folder).arg(&file).status().expect("erlc is installed");
    assert!(status.success());
    let bytes = std::fs::read(folder.join(format!("{name}.beam"))).expect("compiled");
    (folder, bytes)
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).expect("removed");
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// What a call raises, as text.
fn raised(machine: &Machine, module: &str, function: &str, arguments: impl Serialize) -> String {
    match machine.call(module, function, arguments).expect("called").wait() {
        Err(error) => error.to_string(),
        Ok(value) => panic!("{module}:{function} returned {value}"),
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Point {
    x: i64,
    y: f64,
}

const MODULE: &str = r"
double(#{x := X, y := Y}) -> #{x => 2 * X, y => 2 * Y}.
later(Value) -> receive after 30 -> Value end.
forever() -> register(forever, self()), receive stop -> stopped end.
sum(N) -> lists:sum([host:next() || _ <- lists:seq(1, N)]).
try_host(F, A) -> try apply(host, F, A) catch C:R -> {C, R} end.
parallel(N) ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), host:slow(I)} end) || I <- lists:seq(1, N)],
    [receive {P, V} -> V end || P <- Pids].
kill_me() -> exit(self(), kill), receive after infinity -> ok end.
loop(0) -> done;
loop(N) -> loop(N - 1).
";

/// A machine with [`MODULE`] and a module of Rust functions, whose `next/0` counts in `counter`.
fn machine_with_host(folder: &Path, counter: &Arc<AtomicU64>) -> Machine {
    let next = counter.clone();
    let host = HostModule::new("host")
        .function("next", 0, move |()| Ok(next.fetch_add(1, Ordering::Relaxed)))
        .function("half", 1, |(number,): (u64,)| {
            if number % 2 == 0 {
                Ok(number / 2)
            } else {
                Err(HostError::new((Atom::from("odd"), number)))
            }
        })
        .function("text", 1, |(text,): (String,)| text.parse::<u8>().map_err(HostError::from))
        .function("panics", 0, |()| -> Result<(), HostError> { panic!("as asked") })
        .blocking_function("slow", 1, |(number,): (u64,)| {
            std::thread::sleep(Duration::from_millis(20));
            Ok(number)
        });
    builder().source(Source::Folder(folder.to_owned())).host_module(host).boot().expect("it boots")
}

#[test]
fn rust_and_erlang_call_each_other() {
    let (folder, _) = compiled("embedded", MODULE);
    let counter = Arc::new(AtomicU64::new(0));
    let machine = machine_with_host(&folder, &counter);
    let point: Point = machine
        .call("embedded", "double", (Point { x: 1 << 61, y: 0.25 },))
        .unwrap()
        .wait()
        .unwrap()
        .decode()
        .unwrap();
    assert_eq!(point, Point { x: 1 << 62, y: 0.5 });
    let sum: u64 =
        machine.call("embedded", "sum", (1000,)).unwrap().wait().unwrap().decode().unwrap();
    assert_eq!(sum, 999 * 1000 / 2);
    assert_eq!(counter.load(Ordering::Relaxed), 1000);
    let values: Vec<u64> =
        machine.call("embedded", "parallel", (8,)).unwrap().wait().unwrap().decode().unwrap();
    assert_eq!(values, (1..=8).collect::<Vec<_>>());
    // Both as a future and by waiting, and while others go on.
    let calls: Vec<_> =
        (0..20).map(|number| machine.call("embedded", "later", (number,)).unwrap()).collect();
    for (number, call) in calls.into_iter().enumerate() {
        let value = if number % 2 == 0 { block_on(call) } else { call.wait() };
        assert_eq!(value.unwrap().decode::<usize>(), Ok(number));
    }
    // Long enough to be compiled meanwhile.
    assert_eq!(
        machine.call("embedded", "loop", (3_000_000,)).unwrap().wait().unwrap().to_string(),
        "done"
    );
    remove(&folder);
}

#[test]
fn errors_come_back_as_exceptions_of_the_other_side() {
    let (folder, _) = compiled("embedded_errors", MODULE);
    let machine = machine_with_host(&folder, &Arc::default());
    let tried = |function: &str, arguments: Vec<u64>| {
        machine
            .call("embedded_errors", "try_host", (Atom::from(function), arguments))
            .unwrap()
            .wait()
            .unwrap()
            .to_string()
    };
    assert_eq!(tried("half", vec![14]), "7");
    assert_eq!(tried("half", vec![15]), "{error,{odd,15}}");
    assert_eq!(tried("text", vec![15]), "{error,badarg}");
    assert_eq!(tried("panics", vec![]), "{error,{panic,<<\"as asked\">>}}");
    assert_eq!(tried("absent", vec![]), "{error,undef}");
    assert_eq!(
        raised(&machine, "host", "text", ("x",)),
        "error: <<\"invalid digit found in string\">>"
    );

    assert_eq!(raised(&machine, "erlang", "hd", (Vec::<u8>::new(),)), "error: badarg");
    assert_eq!(raised(&machine, "erlang", "throw", (Atom::from("it"),)), "throw: it");
    assert_eq!(raised(&machine, "erlang", "exit", (7,)), "exit: 7");
    assert_eq!(raised(&machine, "embedded_errors", "kill_me", ()), "the process was ended: killed");
    assert_eq!(raised(&machine, "nowhere", "absent", ()), "error: undef");
    assert!(matches!(machine.call("lists", "sum", 1), Err(CallError::Conversion(_))));
    remove(&folder);
}

#[test]
fn the_end_of_a_machine_ends_its_calls() {
    let (folder, _) = compiled("embedded_end", MODULE);
    let machine = machine_with_host(&folder, &Arc::default());
    let call = machine.call("embedded_end", "forever", ()).unwrap();
    while !machine.send("forever", Atom::from("stop")).unwrap() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(call.wait().unwrap().to_string(), "stopped");
    assert!(!machine.send("nobody", 1).unwrap());
    let call = machine.call("embedded_end", "forever", ()).unwrap();
    assert_eq!(machine.stop(), 0);
    assert!(matches!(call.wait(), Err(CallError::Halted | CallError::Ended(_))));
    remove(&folder);
}

#[test]
fn two_machines_in_one_process_do_not_see_each_other() {
    const MODULE: &str = r"
start(Value) ->
    ets:new(table, [named_table, public]),
    persistent_term:put(key, Value),
    ets:insert(table, {key, Value}),
    register(holder, self()),
    receive stop -> ok end.
held() -> {ets:lookup_element(table, key, 2), persistent_term:get(key), host:who(), length(registered()) > 10}.
work(N) -> lists:sum([X * X rem 7 || X <- lists:seq(1, N)]).
";
    let (folder, bytes) = compiled("twice", MODULE);
    let machines: Vec<Machine> = [1u64, 2]
        .map(|number| {
            let host = HostModule::new("host").function("who", 0, move |()| Ok(number));
            builder()
                .source(Source::Memory(vec![bytes.clone()]))
                .host_module(host)
                .boot()
                .expect("it boots")
        })
        .into();
    for (number, machine) in (10..).zip(&machines) {
        drop(machine.call("twice", "start", (number,)).unwrap());
        while machine.vm().names.whereis(swarmrt::term::Atom::new("holder")).is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    for (number, machine) in (1u64..).zip(&machines) {
        let held = machine.call("twice", "held", ()).unwrap().wait().unwrap();
        assert_eq!(
            held.decode::<(u64, u64, u64, bool)>(),
            Ok((number + 9, number + 9, number, true)),
            "{held}"
        );
    }
    // Both have the same function compiled, each for itself.
    let calls: Vec<_> = (0..40)
        .map(|number| machines[number % 2].call("twice", "work", (100_000,)).unwrap())
        .collect();
    for call in calls {
        assert_eq!(
            call.wait().unwrap().decode::<u64>(),
            Ok((1..=100_000u64).map(|x| x * x % 7).sum())
        );
    }
    // Native libraries are the first machine's: whichever that is of all that the tests make.
    let hashed = |machine: &Machine| {
        machine.call("crypto", "hash", (Atom::from("sha"), "x")).unwrap().wait()
    };
    let loads = machines.iter().filter(|machine| hashed(machine).is_ok()).count();
    assert!(loads <= 1, "{loads}");
    // The first one ends, the second goes on.
    assert_eq!(machines[0].stop(), 0);
    assert_eq!(
        machines[1].call("twice", "work", (10,)).unwrap().wait().unwrap().decode::<u64>(),
        Ok(21)
    );
    assert_eq!(machines[1].stop(), 0);
    remove(&folder);
}

#[test]
fn what_cannot_be_loaded_is_an_error() {
    let Err(error) = builder().source(Source::Memory(vec![b"no module".to_vec()])).boot() else {
        panic!("it booted")
    };
    assert!(error.to_string().starts_with("a module cannot be loaded"), "{error}");
}
