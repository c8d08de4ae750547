//! The programs of `tests/distribution/`, each on one node with others beside it: `erl` alone shows
//! what is expected, and pairs of `erl` and SwarmRT, either way round, and of SwarmRT alone print
//! the same.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which emulator a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Erl,
    Swarmrt,
}

const PAIRS: [(Kind, Kind); 4] = [
    (Kind::Erl, Kind::Erl),
    (Kind::Swarmrt, Kind::Erl),
    (Kind::Erl, Kind::Swarmrt),
    (Kind::Swarmrt, Kind::Swarmrt),
];

fn emulator(kind: Kind) -> Command {
    match kind {
        Kind::Erl => common::oracle("erl"),
        Kind::Swarmrt => {
            let mut command = common::swarmrt_command();
            command.arg("erl");
            command
        }
    }
}

/// The command line of an emulator.
fn line(kind: Kind) -> String {
    let command = emulator(kind);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// An emulator that finds what it starts: with a release that `script/otp` installs in that release's
/// root, where `epmd` has its C library.
fn emulator_at_home(kind: Kind) -> Command {
    match (kind, common::release()) {
        (Kind::Swarmrt, Some(_)) => {
            let program = common::swarmrt().canonicalize().expect("the program exists");
            let mut command = common::oracle(&program.to_string_lossy());
            command.arg("erl");
            command
        }
        _ => emulator(kind),
    }
}

/// The command line of an emulator for a program on [`emulator_at_home`].
fn line_at_home(kind: Kind) -> String {
    match (kind, common::release()) {
        (_, None) => line(kind),
        (Kind::Erl, Some(_)) => "erl".to_owned(),
        (Kind::Swarmrt, Some(_)) => {
            let program = common::swarmrt().canonicalize().expect("the program exists");
            format!("{} erl", program.display())
        }
    }
}

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // It has ended already where the program has told it to.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn compiled(program: &str, beams: &Path) {
    let path = common::root().join(format!("tests/distribution/{program}.erl"));
    let output = common::run(common::oracle("erlc").arg("-o").arg(beams).arg(path));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("swarmrt-distribution-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    folder
}

/// What is printed, without reports of what went wrong on purpose: those have times and pids in
/// them.
fn shown(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut kept = Vec::new();
    let mut in_report = false;
    for line in text.lines() {
        if line.starts_with('=') && line.contains(" REPORT==== ") {
            in_report = true;
        } else if in_report {
            in_report = !line.is_empty();
        } else if !line.is_empty() {
            kept.push(line.to_owned());
        }
    }
    kept.push(output.status.to_string());
    kept.join("\n")
}

/// A name that no other run has.
fn unique(kind: &str, index: usize) -> String {
    // Tests of one process run side by side, some of them the same program.
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    let number = NAMES.fetch_add(1, Ordering::Relaxed);
    format!("swarmrt_{kind}_{}_{index}_{number}", std::process::id())
}

/// The part of a node's name behind the `@`.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a file of the system");
    name.trim().split('.').next().unwrap_or_default().to_owned()
}

/// Two nodes, the first of which runs a program with the name of the second.
struct Pair<'a> {
    program: &'a str,
    index: usize,
    kinds: (Kind, Kind),
    flags: &'a [&'a str],
}

impl Pair<'_> {
    /// What the program prints.
    fn run(&self, beams: &Path) -> String {
        let name = |side: &str| unique(&format!("{}_{side}", self.program), self.index);
        let (name, other) = (name("here"), name("there"));
        let host = host();
        let filled = |flag: &&str| {
            flag.replace("%HERE%", &format!("{name}@{host}"))
                .replace("%THERE%", &format!("{other}@{host}"))
        };
        let flags: Vec<String> = self.flags.iter().map(filled).collect();
        let common = ["-setcookie", &name, "-noshell", "-pa"];
        let peer = emulator(self.kinds.1)
            .args(["-sname", &other])
            .args(common)
            .arg(beams)
            .args(&flags)
            .args(["-eval", "receive after infinity -> ok end."])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a node can be started");
        let _peer = Peer(peer);
        let program = self.program;
        let eval = format!(
            "[_, Host] = string:split(atom_to_list(node()), \"@\"),
             Peer = list_to_atom(\"{other}@\" ++ Host),
             Ping = fun F(0) -> ok; F(N) ->
                 case net_adm:ping(Peer) of pong -> ok; pang -> timer:sleep(100), F(N - 1) end
             end,
             Started = fun F(0) -> ok; F(N) ->
                 Applications = rpc:call(Peer, application, which_applications, []),
                 case is_list(Applications) andalso lists:keymember(stdlib, 1, Applications) of
                     true -> ok;
                     false -> timer:sleep(100), F(N - 1)
                 end
             end,
             Ping(200), Started(200), {program}:main(Peer), halt()."
        );
        let mut command = emulator(self.kinds.0);
        command.args(["-sname", &name]).args(common).arg(beams).args(&flags).args(["-eval", &eval]);
        shown(&common::run(&mut command))
    }
}

/// Runs a program on pairs of nodes: it prints on each what it prints on the first.
fn same_on(program: &str, beams: &Path, pairs: &[(Kind, Kind)], flags: &[&str]) {
    let mut expected = None;
    for (index, &kinds) in pairs.iter().enumerate() {
        let shown = Pair { program, index, kinds, flags }.run(beams);
        let is_whole = !shown.contains(" hangs: ") && !shown.contains(" failed: ");
        assert!(is_whole, "{kinds:?}: {shown}");
        let expected = expected.get_or_insert_with(|| shown.clone());
        assert_eq!(shown, *expected, "{kinds:?}");
    }
}

/// As [`same_on`], for a program that is compiled into a folder of its own.
fn same_in(area: &str, program: &str, pairs: &[(Kind, Kind)], flags: &[&str]) {
    let beams = folder(area);
    compiled(program, &beams);
    same_on(program, &beams, pairs, flags);
    let _ = std::fs::remove_dir_all(beams);
}

#[test]
fn signals_are_the_same_between_all_kinds_of_nodes() {
    same_in("signals", "signals", &PAIRS, &[]);
}

#[test]
fn priority_messages_are_the_same_between_all_kinds_of_nodes() {
    let number = common::release().and_then(|release| release.parse::<u32>().ok());
    if number.is_none_or(|number| number < 28) {
        eprintln!("skipped: OTP 28 brought priority messages");
        return;
    }
    same_in("priority", "priority", &PAIRS, &[]);
}

#[test]
fn processes_wait_for_a_busy_connection_on_all_kinds_of_nodes() {
    same_in("busy", "busy", &PAIRS, &[]);
}

#[test]
fn messages_that_are_no_terms_are_found_when_they_are_looked_at() {
    same_in("unreadable", "unreadable", &PAIRS, &[]);
}

#[test]
fn signals_are_the_same_over_tls() {
    let beams = folder("tls");
    compiled("signals", &beams);
    compiled("certificate", &beams);
    let options = beams.join("ssl.conf");
    let mut make = emulator(Kind::Erl);
    make.args(["-noshell", "-pa"]).arg(&beams).args(["-s", "certificate", "make"]).arg(&beams);
    assert!(
        common::run(&mut make).status.success() && options.is_file(),
        "a certificate can be made"
    );
    let options = options.to_string_lossy();
    let flags = ["-proto_dist", "inet_tls", "-ssl_dist_optfile", &options];
    same_on("signals", &beams, &PAIRS[1..], &flags);
    let _ = std::fs::remove_dir_all(beams);
}

#[test]
fn signals_are_the_same_over_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: there is no IPv6");
        return;
    }
    same_in("ipv6", "signals", &PAIRS, &["-proto_dist", "inet6_tcp"]);
}

#[test]
fn global_groups_have_their_own_names() {
    let groups = "[{one, ['%HERE%', '%THERE%']}]";
    same_in("groups", "groups", &PAIRS, &["-kernel", "global_groups", groups]);
}

#[test]
fn slaves_of_common_test_are_nodes_of_the_same_kind() {
    if !common::otp_root().join("lib").read_dir().is_ok_and(|mut libraries| {
        libraries.any(|library| {
            library.is_ok_and(|library| library.path().join("ebin/ct_slave.beam").is_file())
        })
    }) {
        eprintln!("skipped: there is no ct_slave");
        return;
    }
    let beams = folder("slaves");
    compiled("slaves", &beams);
    let shown_by = |kind: Kind| {
        let mut command = emulator(kind);
        if kind == Kind::Swarmrt {
            // Programs that it starts find SwarmRT under the name of `erl`.
            command = common::swarmrt_command();
            command.args(["exec", "erl"]);
        }
        let name = unique("slaves", kind as usize);
        command.args(["-noshell", "-sname", &name, "-setcookie", &name, "-pa"]).arg(&beams);
        shown(&common::run(command.args(["-s", "slaves", "main", "-s", "init", "stop"])))
    };
    let expected = shown_by(Kind::Erl);
    assert!(expected.contains("{already_started,not_started,[]}"), "{expected}");
    assert_eq!(shown_by(Kind::Swarmrt), expected);
    let _ = std::fs::remove_dir_all(beams);
}

#[test]
fn a_distributed_application_moves_when_its_node_is_gone() {
    let distributed = "[{failover, 1000, ['%THERE%', '%HERE%']}]";
    let flags = ["-kernel", "distributed", distributed, "-kernel", "logger_level", "critical"];
    same_in("failover", "failover", &PAIRS, &flags);
}

/// A node that answers to `answers`, for programs from outside.
fn answering(kind: Kind, index: usize, beams: &Path) -> (Peer, String) {
    let name = unique("answering", index);
    let ready = beams.join(&name);
    let eval = "register(answers, spawn(fun Loop() ->
             receive {From, hello} -> From ! {world, <<0:800>>} end, Loop()
         end)),
         ok = file:write_file(os:getenv(\"READY\"), []),
         receive after infinity -> ok end.";
    let node = emulator(kind)
        .env("READY", &ready)
        .args(["-sname", &name, "-setcookie", &name, "-noshell", "-eval", eval])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a node can be started");
    let node = Peer(node);
    for _ in 0..600 {
        if ready.is_file() {
            return (node, name);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{kind:?} does not start");
}

/// Where `ei` is: headers and library.
fn erl_interface() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/lib/erlang/lib").ok()?.flatten();
    let mut folders = found.map(|entry| entry.path());
    let is_it = |folder: &PathBuf| folder.join("include/ei.h").is_file();
    folders.find(|folder| folder.to_string_lossy().contains("/erl_interface-") && is_it(folder))
}

#[test]
fn c_nodes_and_erl_call_reach_a_node() {
    let Some(interface) = erl_interface() else {
        eprintln!("skipped: erl_interface is not installed");
        return;
    };
    let folder = folder("cnode");
    let program = folder.join("cnode");
    let source = common::root().join("tests/distribution/cnode.c");
    let mut compiler = Command::new("cc");
    compiler.arg("-I").arg(interface.join("include")).arg("-o").arg(&program).arg(source);
    compiler.arg("-L").arg(interface.join("lib")).args(["-lei", "-lpthread"]);
    let output = common::run(&mut compiler);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (index, kind) in [Kind::Erl, Kind::Swarmrt].into_iter().enumerate() {
        let (_node, name) = answering(kind, index, &folder);
        let full = format!("{name}@{}", host());
        let output = common::run(Command::new(&program).args(["c_node", &name, &full]));
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said, "sum 6\nanswer world, and 100 bytes\n", "{kind:?}");
        let mut call = Command::new("erl_call");
        call.args(["-n", &name, "-c", &name, "-a", "lists sum [[1,2,3]]"]);
        let output = common::run(&mut call);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "6", "{kind:?}");
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_remote_shell_runs_on_the_other_node() {
    let folder = folder("remsh");
    for (index, (here, there)) in PAIRS.into_iter().enumerate() {
        let (_node, name) = answering(there, 10 + index, &folder);
        let full = format!("{name}@{}", host());
        // A shell on another node needs a terminal; `script` makes one.
        let own = unique("remsh", index);
        let shell = format!("{} -sname {own} -setcookie {name} -remsh {full}", line(here));
        let input = "node(group_leader()) =:= node(), {answer, node(), 6 * 7}.\r";
        let mut script = Command::new("script");
        script.args(["-qec", &shell, "/dev/null"]).env("TERM", "xterm");
        let said = with_input(&mut script, input, &format!("{{answer,{full},42}}"));
        assert_eq!(said, Ok(()), "{here:?} to {there:?}");
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// Repeats `input` until the program shows the text.
///
/// # Errors
/// What it shows instead.
fn with_input(command: &mut Command, input: &str, text: &str) -> Result<(), String> {
    use std::io::{Read, Write};
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = Peer(child.expect("a program can be started"));
    let mut stdin = child.0.stdin.take().expect("piped");
    let mut stdout = child.0.stdout.take().expect("piped");
    let (sender, shown) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = stdout.read(&mut bytes) {
            all.extend_from_slice(&bytes[..count]);
            if sender.send(String::from_utf8_lossy(&all).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut last = String::new();
    for _ in 0..60 {
        // What comes before the shell is there is lost.
        let _ = stdin.write_all(input.as_bytes()).and_then(|()| stdin.flush());
        while let Ok(so_far) = shown.recv_timeout(std::time::Duration::from_millis(500)) {
            if so_far.replace(['\r', '\n'], "").contains(text) {
                return Ok(());
            }
            last = so_far;
        }
    }
    Err(last)
}

#[test]
fn crash_dumps_tell_of_other_nodes() {
    let folder = folder("dump");
    let (_node, name) = answering(Kind::Erl, 20, &folder);
    let full = format!("{name}@{}", host());
    let own = unique("dumping", 0);
    let eval = format!(
        "pong = net_adm:ping('{full}'), net_kernel:connect_node('nobody@nowhere'),
         Pid = rpc:call('{full}', erlang, whereis, [answers]),
         spawn(fun() -> link(Pid), monitor(process, Pid), monitor(process, {{a_name, '{full}'}}, []),
             erlang:display(ready), receive after infinity -> ok end end),
         timer:sleep(500), halt(\"on purpose\")."
    );
    let mut command = emulator(Kind::Swarmrt);
    command.args(["-sname", &own, "-setcookie", &name, "-noshell", "-eval", &eval]);
    let output = common::run(command.current_dir(&folder).env_remove("ERL_CRASH_DUMP"));
    let dump = std::fs::read_to_string(folder.join("erl_crash.dump"));
    let dump = dump.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let at = dump.find("=visible_node:").expect("the other node is there");
    let section: Vec<&str> =
        dump[at..].lines().skip(1).take_while(|line| !line.starts_with('=')).collect();
    assert_eq!(section[0], format!("Name: '{full}'"), "{section:?}");
    assert!(section[1].starts_with("Controller: #Port<0."), "{section:?}");
    assert!(section[2].starts_with("Creation: "), "{section:?}");
    let has = |start: &str| section.iter().any(|line| line.starts_with(start));
    assert!(has("Remote link: <0.") && has("Remote monitoring: <0."), "{section:?}");
    assert!(dump.contains("=not_connected:"), "the node that is not there");
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn bad_peers_lose_their_connection() {
    let pairs =
        [(Kind::Erl, Kind::Erl), (Kind::Erl, Kind::Swarmrt), (Kind::Swarmrt, Kind::Swarmrt)];
    same_in("bad_peer", "bad_peer", &pairs, &[]);
}

#[test]
fn connections_come_and_go_as_between_nodes_of_otp() {
    let beams = folder("connections");
    compiled("connections", &beams);
    compiled("peer_up", &beams);
    let mut expected = String::new();
    for (index, (here, there)) in PAIRS.into_iter().enumerate() {
        let name = unique("first", index);
        let peer = format!(
            "{} -sname %NAME% -setcookie {name} -noshell %FLAGS% -s peer_up up -pa {}",
            line_at_home(there),
            beams.display()
        );
        let mut command = emulator_at_home(here);
        command
            .env("PEER", peer)
            .env("NAMELESS", line_at_home(there))
            .args(["-sname", &name, "-setcookie", &name, "-noshell", "-pa"])
            .arg(&beams)
            .args(["-kernel", "prevent_overlapping_partitions", "false"])
            .args(["-eval", "connections:main(x), halt()."]);
        let shown = shown(&common::run_within(&mut command, std::time::Duration::from_mins(3)));
        if index == 0 {
            let is_whole = !shown.contains(" hangs: ") && !shown.contains(" failed: ");
            assert!(is_whole, "{shown}");
            expected = shown;
        } else {
            assert_eq!(shown, expected, "{here:?} with {there:?}");
        }
    }
    let _ = std::fs::remove_dir_all(beams);
}

/// Where the node that is ready with this file writes its log.
fn log_of(ready: &Path) -> PathBuf {
    ready.with_extension("log")
}

/// A node for `fuzz_distribution`, once it is ready.
fn fuzzed(kind: Kind, name: &str, cookie: &str, beams: &Path) -> Peer {
    let ready = beams.join(name);
    let eval = "fuzz_distribution:sink(),
         ok = file:write_file(os:getenv(\"READY\"), []),
         receive after infinity -> ok end.";
    let node = emulator(kind)
        .env("READY", &ready)
        .args(["-sname", name, "-setcookie", cookie, "-noshell", "-pa"])
        .arg(beams)
        .args(["-eval", eval])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(log_of(&ready)).expect("a file can be made"))
        .stderr(Stdio::null())
        .spawn()
        .expect("a node can be started");
    let node = Peer(node);
    for _ in 0..600 {
        if ready.is_file() {
            return node;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{kind:?} does not start");
}

/// Messages made at random: `script/fuzz-distribution` goes on with other seeds.
#[test]
fn random_messages_do_the_same_as_on_erl() {
    let beams = folder("fuzz");
    let source = common::root().join("tests/fuzz_distribution/fuzz_distribution.erl");
    let output = common::run(common::oracle("erlc").arg("-o").arg(&beams).arg(source));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let cookie = unique("fuzz", 0);
    let [erl, swarmrt] = ["erl", "swr"].map(|kind| format!("{kind}{:07}", std::process::id()));
    let _erl = fuzzed(Kind::Erl, &erl, &cookie, &beams);
    let _swarmrt = fuzzed(Kind::Swarmrt, &swarmrt, &cookie, &beams);
    let mut driver = common::oracle("erl");
    let eval = format!(
        "{{ok, Host}} = inet:gethostname(),
         Nodes = [\"{erl}@\" ++ Host, \"{swarmrt}@\" ++ Host],
         fuzz_distribution:run(Nodes ++ [\"{cookie}\", \"1\", \"messages\", \"3000\"]), halt()."
    );
    driver.args(["-noshell", "-pa"]).arg(&beams).args(["-eval", &eval]);
    let output = common::run(&mut driver);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("3000 messages"), "{said}");
    // Both tell why they have closed connections, sooner or later.
    let is_told = |name: &str| {
        // Names of atoms may be there in Latin-1.
        let log = std::fs::read(log_of(&beams.join(name))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.contains("got a corrupted ") && log.contains("Invalid distribution message")
    };
    let tries = 0..600;
    let mut waited = tries.map(|_| std::thread::sleep(std::time::Duration::from_millis(50)));
    let all_told = waited.any(|()| is_told(&erl) && is_told(&swarmrt));
    assert!(all_told, "no log entries: erl {}, SwarmRT {}", is_told(&erl), is_told(&swarmrt));
    let _ = std::fs::remove_dir_all(beams);
}
