//! Whatever code runs, a process can be killed and the machine stopped within a second:
//! `tests/ending/ending.erl`, and the signal of the operating system. What was sent is out then.

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A folder with the compiled program.
fn compiled(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("swarmrt-ending-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let source = common::root().join("tests/ending/ending.erl");
    let status = common::oracle("erlc")
        .arg("-o")
        .arg(&folder)
        .arg(source)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("erlc is installed").success());
    folder
}

fn swarmrt(folder: &Path) -> Command {
    let mut command = Command::new(common::swarmrt());
    command.current_dir(folder).env("ERL_CRASH_DUMP", "/dev/null");
    command
}

#[test]
fn work_that_takes_for_ever_ends_with_its_process() {
    let folder = compiled("work");
    // One thread of each works at a time.
    let at_once = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    common::side_by_side(&["interp", "baseline", "tiered:1", "jit"], at_once, |engine| {
        let output = swarmrt(&folder)
            .arg("run")
            .arg(format!("--engine={engine}"))
            .arg("ending.beam")
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            (text.as_ref(), output.status.code()),
            ("all ended\n", Some(0)),
            "{engine}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
    let _ = std::fs::remove_dir_all(folder);
}

/// Every scheduler, and every thread that could be one, walks a term that has no end.
#[test]
fn sigterm_ends_a_machine_whose_threads_all_work() {
    let pair = "P = fun() -> lists:foldl(fun(_, T) -> {T, T} end, 1, lists:seq(1, 64)) end, ";
    for (what, work, processes) in [
        ("comparing on a few threads", "P() =:= P()", 4),
        ("comparing on every thread", "P() =:= P()", 40),
        ("hashing", "erlang:phash2(P())", 40),
        (
            "multiplying",
            "X = 1 bsl (P2 = 16000000), lists:foldl(fun(_, Y) -> (X * X) bsr P2 end, 1, lists:seq(1, 1000))",
            4,
        ),
    ] {
        let code = format!(
            "{pair} [spawn(fun() -> {work} end) || _ <- lists:seq(1, {processes})], io:format(\"ready~n\")."
        );
        let mut child = Command::new(common::swarmrt())
            .args(["erl", "-noshell", "-eval", &code])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(1500));
        let started = Instant::now();
        // SAFETY: the child is ours, and has not been waited for.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
        let deadline = started + Duration::from_secs(10);
        while child.try_wait().expect("it can be asked").is_none() {
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{what}: still there");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // OTP's own shutdown of an idle node takes 1.04 s: `user_sup` waits a second for `user`.
        assert!(started.elapsed() < Duration::from_millis(2500), "{what}: {:?}", started.elapsed());
    }
}

/// What was given to a socket arrives, though the machine halts at once and the peer reads later.
#[test]
fn a_halt_waits_for_sockets() {
    const BYTES: usize = 16 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    let program = format!(
        "{{ok, Socket}} = gen_tcp:connect({{127, 0, 0, 1}}, {port}, [binary]),
         ok = gen_tcp:send(Socket, binary:copy(<<7>>, {BYTES})), halt()."
    );
    let mut machine = Command::new(common::swarmrt())
        .args(["erl", "-noshell", "-eval", &program])
        .spawn()
        .expect("it runs");
    let (mut socket, _) = listener.accept().expect("it connects");
    std::thread::sleep(Duration::from_millis(500));
    let mut arrived = Vec::new();
    socket.read_to_end(&mut arrived).expect("it is closed");
    assert_eq!(arrived.len(), BYTES);
    assert!(machine.wait().expect("it ends").success());
}
