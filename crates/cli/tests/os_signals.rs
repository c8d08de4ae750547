//! Signals of the operating system: sent to a running program, on `erl` and on SwarmRT, with the
//! same outcome.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};

/// Starts a program, and once it says `ready` sends it each signal in turn, waiting for its answer.
/// The last signal ends it. What it printed from then on, and how it ended.
fn outcome(mut command: Command, signals: &[&str]) -> (String, ExitStatus) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let id = child.id().to_string();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    out.read_line(&mut text).expect("the pipe can be read");
    assert_eq!(text, "ready\n");
    for (number, signal) in signals.iter().enumerate() {
        let sent = Command::new("kill").args(["-s", signal, &id]).status().expect("kill is there");
        assert!(sent.success());
        if number + 1 < signals.len() {
            out.read_line(&mut text).expect("the pipe can be read");
        }
    }
    out.read_to_string(&mut text).expect("the pipe can be read");
    (text, child.wait().expect("the child ends"))
}

fn both(arguments: &[&str], signals: &[&str]) -> [(String, ExitStatus); 2] {
    let mut erl = Command::new("erl");
    erl.args(arguments);
    let mut swarmrt = Command::new(common::swarmrt());
    swarmrt.arg("erl").args(arguments);
    [outcome(erl, signals), outcome(swarmrt, signals)]
}

/// Lines of logs begin with a time.
fn without_times(text: &str) -> String {
    text.lines().filter(|line| !line.contains("===")).collect::<Vec<_>>().join("\n")
}

#[test]
fn sigterm_stops_in_good_order() {
    let [theirs, ours] = both(
        &["-noshell", "-eval", "io:put_chars(\"ready\\n\"), timer:sleep(infinity)."],
        &["TERM"],
    );
    assert!(ours.0.contains("SIGTERM received - shutting down"), "{}", ours.0);
    assert_eq!(without_times(&ours.0), without_times(&theirs.0));
    assert_eq!(ours.1, theirs.1);
    assert_eq!(ours.1.code(), Some(0));
}

/// A term that is small, but for what looks at each of its parts, as `==` does.
const ENDLESS: &str = "Make = fun() -> lists:foldl(fun(_, A) -> {A, A} end, [], lists:seq(1, 60)) end, io:put_chars(\"ready\\n\"), \
    [spawn(fun() -> Make() == Make() end) || _ <- lists:seq(1, 2 * erlang:system_info(schedulers))].";

#[test]
fn sigterm_stops_what_does_not_come_to_an_end() {
    let mut command = Command::new(common::swarmrt());
    command.args(["erl", "-noinput", "-eval", ENDLESS]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("the pipe can be read");
    assert_eq!(line, "ready\n");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let sent = Command::new("kill")
        .args(["-s", "TERM", &child.id().to_string()])
        .status()
        .expect("kill is there");
    assert!(sent.success());
    let begun = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be asked for") {
            break status;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "it does not end");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    // What the processes do ends with them, so that the machine stops in good order.
    assert_eq!(status.code(), Some(0));
}

#[test]
fn sigint_asks_what_to_do() {
    let run = |flags: &[&str], typed: &'static [u8]| {
        // Whoever runs the tests in the background may have it ignored, and that is inherited.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(common::swarmrt()).arg("erl").args(flags).args([
            "-noinput",
            "-eval",
            "io:put_chars(\"ready\\n\"), timer:sleep(infinity).",
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut text = String::new();
        out.read_line(&mut text).expect("the pipe can be read");
        let sent = Command::new("kill")
            .args(["-s", "INT", &child.id().to_string()])
            .status()
            .expect("kill is there");
        assert!(sent.success());
        // Whoever is gone does not read it.
        let _ = child.stdin.take().expect("piped").write_all(typed);
        out.read_to_string(&mut text).expect("the pipe can be read");
        (text, child.wait().expect("the child ends"))
    };
    let (text, status) = run(&[], b"v\nx\np\ni\nl\nD\nd\nk\nn\nr\na\n");
    for part in [
        "BREAK: (a)bort",
        "SwarmRT",
        "Invalid option 'x'",
        "=proc:<0.0.0>\nState: Waiting\nName: init",
        "=port:#Port<",
        "=memory\ntotal: ",
        "=mod:lists\nCurrent size: ",
        "Table: ac_tab",
        "{{env,kernel,net_ticktime},60}",
        "=node:'nonode@nohost'\n=no_distribution",
        "(k)ill (n)ext (r)eturn:",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert_eq!(status.code(), Some(0));
    // Who kills `init` ends the machine.
    let (text, status) = run(&[], b"k\nk\nr\nc\n");
    assert!(text.contains("<0.0.0> is killed"), "{text}");
    assert_ne!(status.code(), Some(0));
    let (_, status) = run(&["+Bd"], b"");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
}

#[test]
fn sigterm_stops_what_run_runs() {
    let folder = std::env::temp_dir().join(format!("swarmrt-signals-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let program = folder.join("waits.erl");
    std::fs::write(&program, "-module(waits).\n-export([main/0]).\nmain() -> io:put_chars(\"ready\\n\"), receive never -> ok end.\n").expect("written");
    let mut command = Command::new(common::swarmrt());
    command.arg("run").arg(&program);
    let (text, status) = outcome(command, &["TERM"]);
    let _ = std::fs::remove_dir_all(&folder);
    assert!(text.contains("SIGTERM received - shutting down"), "{text}");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn handlers_get_the_signals_that_they_ask_for() {
    let program = r#"
        Self = self(),
        Server = spawn(fun F() -> receive M -> Self ! M, F() end end),
        unregister(erl_signal_server),
        register(erl_signal_server, Server),
        Handled = [sighup, sigalrm, sigusr2, sigchld, sigtstp],
        ok = lists:foreach(fun(S) -> ok = os:set_signal(S, handle) end, Handled),
        ok = os:set_signal(sigabrt, ignore),
        io:put_chars("ready\n"),
        Loop = fun Loop() -> receive M -> io:format("~p~n", [M]), Loop() end end,
        Loop().
    "#;
    // An ignored signal has no answer; one handled does. KILL ends the program.
    let [theirs, ours] = both(
        &["-noshell", "-eval", program],
        &["HUP", "ALRM", "USR1", "USR2", "CHLD", "TSTP", "TERM", "QUIT", "KILL"],
    );
    assert_eq!(ours, theirs);
    assert!(ours.0.contains("{notify,sigtstp}"), "{}", ours.0);
}

#[test]
fn dispositions_can_be_changed() {
    let program = r#"
        ok = os:set_signal(sigterm, ignore),
        ok = os:set_signal(sighup, default),
        io:put_chars("ready\n"),
        [] = os:cmd("kill -s TERM " ++ os:getpid()),
        io:put_chars("still here\n"),
        timer:sleep(infinity).
    "#;
    let [theirs, ours] = both(&["-noshell", "-eval", program], &["CHLD", "HUP"]);
    assert_eq!(ours, theirs);
    assert_eq!(ours.0, "ready\nstill here\n");
}

#[test]
fn children_are_no_signals() {
    let program = r#"
        Self = self(),
        unregister(erl_signal_server),
        register(erl_signal_server, spawn(fun F() -> receive M -> Self ! M, F() end end)),
        ok = os:set_signal(sigchld, handle),
        "hello\n" = os:cmd("echo hello"),
        ok = os:set_signal(sigchld, ignore),
        "hello\n" = os:cmd("echo hello"),
        receive M -> io:format("~p~n", [M]) after 100 -> ok end,
        io:put_chars("ready\n"),
        timer:sleep(infinity).
    "#;
    let [theirs, ours] = both(&["-noshell", "-eval", program], &["KILL"]);
    assert_eq!(ours, theirs);
}
