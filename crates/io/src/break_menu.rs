//! The menu that control-C brings, as OTP has it, wherever the keys come from.

use std::io::{self, Write};
use swarmrt_machine::{Vm, pin, signal};
use swarmrt_term::{Term, am, print};

const MENU: &str = "\nBREAK: (a)bort (A)bort with dump (c)ontinue (p)roc info (i)nfo\n       \
                    (l)oaded (v)ersion (k)ill (D)b-tables (d)istribution\n";
const CRASH_SLOGAN: &str = "Crash dump requested by user";
/// Brings the menu; in the menu it means to abort.
pub const CONTROL_C: u8 = 3;

/// What was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    Continue,
    /// The machine is halting.
    Abort,
}

/// Where the menu is shown and what is typed there.
pub trait Console {
    /// The next key; `None` at the end of the input.
    fn key(&mut self) -> Option<u8>;
    /// Shows text, whose lines end with a line feed.
    ///
    /// # Errors
    /// Writing to the device fails.
    fn show(&mut self, text: &str) -> io::Result<()>;
}

/// Asks until somebody chooses to go on or to end.
pub fn run(vm: &'static Vm, console: &mut dyn Console) -> Choice {
    loop {
        // The menu may not be shown; its keys work all the same.
        let _ = console.show(MENU);
        let key = next_key(console);
        match key {
            b'a' | CONTROL_C => {
                vm.halt(0);
                return Choice::Abort;
            }
            b'A' => {
                if let Some(inspector) = vm.inspector() {
                    inspector.crash_dump(vm, CRASH_SLOGAN);
                }
                vm.halt(1);
                return Choice::Abort;
            }
            b'c' => return Choice::Continue,
            b'k' => kill_some(vm, console),
            key => {
                let text = answer(vm, key);
                let _ = console.show(&text);
            }
        }
    }
}

/// The next key that is no space; the end of the input means to abort.
fn next_key(console: &mut dyn Console) -> u8 {
    loop {
        match console.key() {
            Some(key) if key.is_ascii_whitespace() => {}
            Some(key) => return key,
            None => return b'a',
        }
    }
}

/// What keys that ask for something get.
fn answer(vm: &'static Vm, key: u8) -> String {
    let Some(inspector) = vm.inspector() else { return String::new() };
    let mut out = Vec::new();
    let written = match key {
        b'p' => inspector.processes(vm, &mut out),
        b'i' => inspector.sizes(vm, &mut out),
        b'l' => inspector.modules(vm, &mut out),
        b'D' => inspector.tables(vm, true, &mut out),
        b'd' => inspector.nodes(vm, &mut out),
        b'v' => {
            let version = env!("CARGO_PKG_VERSION");
            writeln!(out, "SwarmRT {version} on Erlang/OTP {}", vm.config.release)
        }
        _ => {
            let key = char::from(key).escape_default();
            writeln!(out, "Invalid option '{key}'. Please enter one of the following:")
        }
    };
    // Writing to memory cannot fail.
    let _ = written;
    String::from_utf8_lossy(&out).into_owned()
}

/// Shows each process and asks whether it is to be killed.
fn kill_some(vm: &'static Vm, console: &mut dyn Console) {
    const LINE: &str = "--------------------------------------------------\n";
    let Some(inspector) = vm.inspector() else { return };
    let _ = console.show(&format!("\n\nProcess Information\n\n{LINE}"));
    for pid in vm.processes.ids() {
        let Some(section) = inspector.process(vm, pid) else { continue };
        let _ = console.show(&String::from_utf8_lossy(&section));
        let _ = console.show("(k)ill (n)ext (r)eturn:\n");
        match next_key(console) {
            b'k' => {
                // Said first: the machine may end with the process.
                let _ = console.show(&format!("{} is killed\n", print::display(Term::pid(pid))));
                let _guard = pin();
                signal::send_exit(vm, Term::NONE, pid, Term::atom(am::KILL));
            }
            b'n' => {}
            _ => return,
        }
    }
}
