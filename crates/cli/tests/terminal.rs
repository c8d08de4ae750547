//! The shell in a terminal: what is typed and what is shown, on `erl` and on SwarmRT.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The two ends of a new pseudo terminal of 80 columns: ours, and the program's.
fn pseudo_terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptors are filled by the call, and are nobody else's.
    unsafe {
        let opened = libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        );
        assert_eq!(opened, 0, "there is a pseudo terminal");
        (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    }
}

/// Reads until `wanted` is shown for the first time from here on.
fn read_until(terminal: &mut File, shown: &mut String, wanted: &str) {
    let start = shown.len();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !shown[start..].contains(wanted) {
        assert!(Instant::now() < deadline, "{wanted:?} is not shown: {shown:?}");
        let mut poll = libc::pollfd { fd: terminal.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure is given.
        if unsafe { libc::poll(&raw mut poll, 1, 100) } == 0 {
            continue;
        }
        let mut bytes = [0; 4096];
        let count = terminal.read(&mut bytes).unwrap_or(0);
        assert!(count > 0, "the program ended: {shown:?}");
        shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}

/// Types lines in the shell, each when the one before has been answered; everything shown after the
/// banner. Each line comes with what its answer ends with.
fn session(mut command: Command, typed: &[(&str, &str)]) -> String {
    let (mut terminal, theirs) = pseudo_terminal();
    let stdio = || Stdio::from(theirs.try_clone().expect("the descriptor can be copied"));
    command.env("TERM", "xterm").env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8");
    command.stdin(stdio()).stdout(stdio()).stderr(stdio());
    let mut child = command.spawn().expect("the program starts");
    drop(theirs);
    let mut shown = String::new();
    read_until(&mut terminal, &mut shown, "1> ");
    let banner = shown.len();
    for (line, answer) in typed {
        terminal.write_all(line.as_bytes()).expect("typed");
        read_until(&mut terminal, &mut shown, answer);
    }
    terminal.write_all(b"halt().\r").expect("typed");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}: {shown:?}");
    shown[banner..].to_owned()
}

#[test]
fn lines_are_edited_as_on_erl() {
    // The terminal of OTP 25 is another one, which draws its line otherwise on erl.
    if common::release().is_none() {
        return;
    }
    let typed = [
        ("1 + 2.\r", "2> "),
        // To the left, to the end, a character of two columns.
        ("A = \"helo\x1b[Dl\x05, 日本\".\r", "3> "),
        // Completion, and the line cleared.
        ("lists:revers\t", "lists:reverse("),
        ("\x15io:get_line(\"name: \").\r", "name: "),
        ("abc\r", "4> "),
        // A line of history.
        ("\x1b[A", "name: "),
        ("\r", "name: "),
        ("xyz\r", "5> "),
        ("{a,\r", ".. "),
        ("b}.\r", "6> "),
    ];
    let erl = session(common::oracle("erl"), &typed);
    let mut ours = common::swarmrt_command();
    ours.arg("erl");
    let swarmrt = session(ours, &typed);
    assert_eq!(erl, swarmrt);
}
