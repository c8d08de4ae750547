//! What callers are told.

use super::state::{Sender, Waiter};
use std::collections::VecDeque;
use std::io;
use swarmrt_io::port::Port;
use swarmrt_io::port::driver::tell;
use swarmrt_io::posix;
use swarmrt_machine::Vm;
use swarmrt_machine::schedule::timer::TimerKey;
use swarmrt_machine::signal::Draft;
use swarmrt_term::Alloc;
use swarmrt_term::etf::DecodeOptions;
use swarmrt_term::{Atom, Term, am, atom, etf};

/// What is to be done once the state is no longer locked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Nothing,
    ClosePort,
    /// Input may wait for the channel.
    ReadChannel,
}

/// An error of a request: a number of the system's, or a name that is none.
pub(super) enum Failure {
    System(i32),
    Named(&'static str),
}

impl From<i32> for Failure {
    fn from(number: i32) -> Failure {
        Failure::System(number)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::System(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl Failure {
    pub(super) const INVALID: Failure = Failure::System(libc::EINVAL);
    /// What OTP calls an operation that it does not know.
    pub(super) const UNKNOWN_REQUEST: Failure = Failure::Named("exbadport");
    pub(super) fn name(&self) -> &'static str {
        match self {
            Failure::System(number) => posix::name(*number),
            Failure::Named(name) => name,
        }
    }
}

pub(super) type Reply = Result<Vec<u8>, Failure>;

pub(super) fn finish(vm: &'static Vm, port: &Port, after: After) {
    if after == After::ClosePort {
        port.retire(vm);
    }
}

pub(super) fn take_waiter(waiters: &mut VecDeque<Waiter>, number: u16) -> Option<Waiter> {
    let at = waiters.iter().position(|waiter| waiter.number == number)?;
    waiters.remove(at)
}

pub(super) fn cancel(vm: &'static Vm, timer: Option<TimerKey>) {
    if let Some(timer) = timer {
        vm.timers.cancel(timer);
    }
}

/// `{error, Name}`
pub(super) fn error(heap: &mut impl Alloc, name: &str) -> Term {
    heap.tuple(&[Term::atom(am::ERROR), Term::atom(Atom::new(name))])
}

/// `{inet_async, Port, Number, Result}`
pub(super) fn done(
    vm: &'static Vm,
    port: &Port,
    caller: u64,
    number: u16,
    result: impl FnOnce(&mut Draft) -> Term,
) {
    tell(vm, port, caller, |heap| {
        let result = result(heap);
        heap.tuple(&[
            Term::atom(atom!("inet_async")),
            port.term,
            Term::small(number.into()),
            result,
        ])
    });
}

pub(super) fn failed(vm: &'static Vm, port: &Port, waiter: &Waiter, name: &str) {
    done(vm, port, waiter.caller, waiter.number, |heap| error(heap, name));
}

/// `{inet_reply, Port, Status}`, since OTP 27 with the sender's reference.
pub(super) fn reply(
    vm: &'static Vm,
    port: &Port,
    sender: &Sender,
    status: impl FnOnce(&mut Draft) -> Term,
) {
    tell(vm, port, sender.caller, |heap| {
        let status = status(heap);
        let mut elements = vec![Term::atom(atom!("inet_reply")), port.term, status];
        let resolver = vm.code.term_resolver();
        if let Ok((reference, _)) =
            etf::decode(&sender.reference, heap, &resolver, DecodeOptions::default())
        {
            elements.push(reference);
        }
        heap.tuple(&elements)
    });
}
