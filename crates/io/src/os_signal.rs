//! Signals of the operating system: `os:set_signal/2`, and the messages that `erl_signal_server`
//! gets.
//!
//! The handler does the one thing that a handler may: it writes the signal's number into a pipe. A
//! thread reads the pipe and sends `{notify, sigterm}` and the like; what then happens is the
//! business of OTP's `erl_signal_handler`.

use crate::break_menu::{self, Console};
use std::io::{Read, Write};
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, atom};

/// The signals that programs may ask for, as OTP names them.
const SIGNALS: [(&str, i32); 13] = [
    ("sighup", libc::SIGHUP),
    ("sigquit", libc::SIGQUIT),
    ("sigabrt", libc::SIGABRT),
    ("sigalrm", libc::SIGALRM),
    ("sigterm", libc::SIGTERM),
    ("sigusr1", libc::SIGUSR1),
    ("sigusr2", libc::SIGUSR2),
    ("sigchld", libc::SIGCHLD),
    ("sigstop", libc::SIGSTOP),
    ("sigtstp", libc::SIGTSTP),
    ("sigcont", libc::SIGCONT),
    ("sigwinch", libc::SIGWINCH),
    ("sigint", libc::SIGINT),
];

/// Those that are handled from the start.
const HANDLED_FROM_START: [i32; 3] = [libc::SIGTERM, libc::SIGUSR1, libc::SIGQUIT];

/// What SIGINT does as long as no program asks for it (`+B`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Interrupt {
    /// Asks what to do now.
    #[default]
    Menu,
    Ignore,
    /// Ends the machine as the operating system does.
    End,
}

/// How long the machine may be without the end of a turn before SIGTERM ends it at once.
const STUCK_FOR: Duration = Duration::from_millis(800);

/// The exit code of who is ended by SIGTERM, as shells show it.
const EXIT_TERMINATED: i32 = 128 + libc::SIGTERM;

/// Where the handler writes; -1 as long as nobody reads.
static PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(number: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands over valid information. That a program of a port has ended is not
    // for Erlang code to know, so only what somebody sent counts.
    if number == libc::SIGCHLD && unsafe { (*info).si_code } > 0 {
        return;
    }
    let byte = number as u8;
    // SAFETY: `write` is async-signal-safe, the byte is on the stack, and `errno` is put back as it
    // was.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1);
        *errno = before;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Disposition {
    Handle,
    Ignore,
    Default,
}

fn set_disposition(number: i32, disposition: Disposition) {
    // SAFETY: the structure is filled as `sigaction` wants it. It refuses SIGSTOP, which as in OTP
    // is no error.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = match disposition {
            Disposition::Handle => {
                note as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize
            }
            // Really ignored, children could not be waited for; by default, nothing else happens.
            Disposition::Ignore if number == libc::SIGCHLD => libc::SIG_DFL,
            Disposition::Ignore => libc::SIG_IGN,
            Disposition::Default => libc::SIG_DFL,
        };
        action.sa_flags = libc::SA_RESTART
            | if disposition == Disposition::Handle { libc::SA_SIGINFO } else { 0 };
        libc::sigaction(number, &raw const action, std::ptr::null_mut());
    }
}

/// Waits until a stopping machine is gone. Where no scheduler comes to the end of a turn for long,
/// because all of them are in built-ins that take forever, nobody is left to stop it in good order.
fn end_when_stuck(vm: &'static Vm) {
    const LOOKS: u32 = 8;
    let mut stuck = 0;
    let mut before = None;
    while stuck < LOOKS {
        std::thread::sleep(STUCK_FOR / LOOKS);
        let now = vm.schedulers.turns_while_busy();
        stuck = if now.is_some() && now == before { stuck + 1 } else { 0 };
        before = now;
    }
    let _ = writeln!(
        std::io::stderr(),
        "swarmrt: ended by SIGTERM: no scheduler came to the end of a turn"
    );
    // SAFETY: nothing is to be done at exit: what would have to do it cannot.
    unsafe { libc::_exit(EXIT_TERMINATED) };
}

/// Standard input and output, where the menu comes when SIGINT does. Keys are read to the end of
/// their line.
struct StandardStreams;

impl Console for StandardStreams {
    fn key(&mut self) -> Option<u8> {
        let mut key = [0];
        matches!(std::io::stdin().read(&mut key), Ok(1)).then_some(key[0])
    }
    fn show(&mut self, text: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }
}

/// Whether a program has asked for SIGINT.
static INTERRUPT_IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Tells `erl_signal_server`. While there is none, SIGTERM ends the machine without asking anybody.
fn tell(vm: &'static Vm, number: u8) {
    let Some((name, _)) = SIGNALS.into_iter().find(|&(_, known)| known == i32::from(number)) else {
        return;
    };
    let _guard = swarmrt_machine::pin();
    let Some(server) = vm.names.whereis(atom!("erl_signal_server")) else {
        if i32::from(number) == libc::SIGTERM {
            vm.halt(EXIT_TERMINATED);
        }
        return;
    };
    let mut heap = FragmentHeap::new();
    let message = heap.tuple(&[Term::atom(atom!("notify")), Term::atom(Atom::new(name))]);
    if let Some(pid) = server.as_pid() {
        signal::send_message(vm, Term::NONE, pid, message);
    }
}

/// Has the machine handle SIGTERM, SIGUSR1, SIGQUIT and SIGINT, and others when programs ask for
/// them.
///
/// # Errors
/// When there is no pipe or no thread to be had.
pub fn handle(vm: &'static Vm, interrupt: Interrupt) -> std::io::Result<()> {
    let (mut reader, writer) = std::io::pipe()?;
    let writer = writer.into_raw_fd();
    // The handler must not wait; a full pipe has plenty of signals to tell of already.
    // SAFETY: the descriptor is open.
    unsafe { libc::fcntl(writer, libc::F_SETFL, libc::O_NONBLOCK) };
    PIPE.store(writer, Ordering::SeqCst);
    vm.keep_because("it is told of the operating system's signals");
    vm.start_thread("os signals", move || {
        let mut number = [0];
        while reader.read_exact(&mut number).is_ok() {
            if i32::from(number[0]) == libc::SIGINT && !INTERRUPT_IS_TOLD.load(Ordering::Relaxed) {
                break_menu::run(vm, &mut StandardStreams);
                continue;
            }
            tell(vm, number[0]);
            if i32::from(number[0]) == libc::SIGTERM {
                // Without a thread for it, the machine only stops in good order.
                let _ = vm.start_thread("sigterm", move || end_when_stuck(vm));
            }
        }
    })?;
    for number in HANDLED_FROM_START {
        set_disposition(number, Disposition::Handle);
    }
    match interrupt {
        Interrupt::Menu => set_disposition(libc::SIGINT, Disposition::Handle),
        Interrupt::Ignore => set_disposition(libc::SIGINT, Disposition::Ignore),
        Interrupt::End => {}
    }
    Ok(())
}

#[bif("os:set_signal/2")]
fn set_signal(_p: &mut Process, signal: Term, option: Term) -> BifResult {
    let disposition = match option.as_atom().map(Atom::name) {
        Some("handle") => Disposition::Handle,
        Some("ignore") => Disposition::Ignore,
        Some("default") => Disposition::Default,
        _ => return Err(BifExit::Caused(atom!("badopt"))),
    };
    let name = signal.as_atom().ok_or(BifExit::BADARG)?;
    let (_, number) =
        SIGNALS.into_iter().find(|&(known, _)| known == name.name()).ok_or(BifExit::BADARG)?;
    if number == libc::SIGINT {
        INTERRUPT_IS_TOLD.store(disposition == Disposition::Handle, Ordering::Relaxed);
    }
    set_disposition(number, disposition);
    Ok(Term::atom(am::OK))
}
