//! The programs of `tests/distribution/`, each on one node with others beside it: `erl` alone shows what is expected, and pairs of
//! `erl` and SwarmRT, either way round, and of SwarmRT alone print the same.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
    let folder = std::env::temp_dir().join(format!("swarmrt-distribution-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    folder
}

/// What is printed, without reports of what went wrong on purpose: those have times and pids in them.
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
    format!("swarmrt_{kind}_{}_{index}", std::process::id())
}

#[test]
fn signals_are_the_same_between_all_kinds_of_nodes() {
    let beams = folder("signals");
    compiled("signals", &beams);
    let mut expected = String::new();
    for (index, (here, there)) in PAIRS.into_iter().enumerate() {
        let (name, other) = (unique("here", index), unique("there", index));
        let common = ["-setcookie", &name, "-noshell", "-pa"];
        let peer = emulator(there)
            .args(["-sname", &other])
            .args(common)
            .arg(&beams)
            .args(["-eval", "io:format(\"up~n\"), receive after infinity -> ok end."])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a node can be started");
        let _peer = Peer(peer);
        let program = format!(
            "[_, Host] = string:split(atom_to_list(node()), \"@\"),
             Peer = list_to_atom(\"{other}@\" ++ Host),
             Ping = fun F(0) -> ok; F(N) -> case net_adm:ping(Peer) of pong -> ok; pang -> timer:sleep(100), F(N - 1) end end,
             Ping(200), signals:main(Peer), halt()."
        );
        let output =
            common::run(emulator(here).args(["-sname", &name]).args(common).arg(&beams).args(["-eval", &program]));
        let shown = shown(&output);
        if index == 0 {
            assert!(!shown.contains(" hangs: ") && !shown.contains(" failed: "), "{shown}");
            expected = shown;
        } else {
            assert_eq!(shown, expected, "{here:?} with {there:?}");
        }
    }
    let _ = std::fs::remove_dir_all(beams);
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
            line(there),
            beams.display()
        );
        let mut command = emulator(here);
        command
            .env("PEER", peer)
            .env("NAMELESS", line(there))
            .args(["-sname", &name, "-setcookie", &name, "-noshell", "-pa"])
            .arg(&beams)
            .args(["-kernel", "prevent_overlapping_partitions", "false"])
            .args(["-eval", "connections:main(x), halt()."]);
        let shown = shown(&common::run(&mut command));
        if index == 0 {
            assert!(!shown.contains(" hangs: ") && !shown.contains(" failed: "), "{shown}");
            expected = shown;
        } else {
            assert_eq!(shown, expected, "{here:?} with {there:?}");
        }
    }
    let _ = std::fs::remove_dir_all(beams);
}
