//! What a turn checks at steps of walks over terms ([`swarmrt_term::stop`]): whether the process is
//! to end, and whether the turn takes so long that another thread should become the scheduler.

use super::current_scheduler;
use crate::process::Process;
use crate::vm::Vm;
use std::cell::Cell;
use swarmrt_term::stop::{self, Stopped, Watcher};

/// Checks in one turn until the thread gives up its scheduler: a few milliseconds.
const QUESTIONS_MAX: u32 = 8;

/// Whether a process in machine code can be stopped: the stack is unwound.
const UNWINDS_NATIVE: bool = cfg!(all(target_arch = "x86_64", target_env = "gnu"));

struct Turn {
    process: *const Process,
    questions: Cell<u32>,
}

thread_local! {
    /// The dirty scheduler that this thread has become, since it gave up its scheduler in the
    /// middle of a turn.
    static GIVEN_UP: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The number of the dirty scheduler that this thread has become during the turn; `None` when asked
/// again.
pub(super) fn given_up() -> Option<usize> {
    GIVEN_UP.take()
}

/// Runs a turn's work, which ends early when the process is to end.
///
/// # Errors
/// When it has ended early: its stack was unwound.
pub(super) fn watched<R>(
    process: &mut Process,
    work: impl FnOnce(&mut Process) -> R,
) -> Result<R, Stopped> {
    let turn = Turn { process, questions: Cell::new(0) };
    let watcher = Watcher { is_to_end, subject: (&raw const turn).cast() };
    // SAFETY: the process is the caller's, and this is the only reference to it that is used
    // meanwhile.
    stop::watched(watcher, || work(unsafe { &mut *turn.process.cast_mut() }))
}

/// Has another thread become the scheduler, if processes wait for it: work of some milliseconds
/// follows, which asks nothing.
pub(crate) fn long_work_follows(vm: &Vm) {
    if GIVEN_UP.get().is_none()
        && let Some(own) = current_scheduler()
        && vm.schedulers.has_waiting(own)
    {
        GIVEN_UP.set(vm.schedulers.give_up(own));
    }
}

fn is_to_end(turn: *const ()) -> bool {
    // SAFETY: it outlives the work, which asks on its own thread; of the process only what nobody
    // changes during a walk over terms is read: its queue of signals, and its relations.
    let (turn, process) = unsafe {
        let turn = &*turn.cast::<Turn>();
        (turn, &*turn.process)
    };
    if (UNWINDS_NATIVE || !process.vm.engine().has_machine_code()) && process.has_exit_signal() {
        return true;
    }
    let asked = turn.questions.get() + 1;
    turn.questions.set(asked);
    if asked >= QUESTIONS_MAX && process.has_incoming() {
        // SAFETY: what is asked for are the signals and relations of the process, which nobody
        // changes during a walk over terms.
        unsafe { (*turn.process.cast_mut()).answer_questions(false) };
    }
    if asked >= QUESTIONS_MAX
        && GIVEN_UP.get().is_none()
        && let Some(own) = current_scheduler()
    {
        GIVEN_UP.set(process.vm.schedulers.give_up(own));
    }
    false
}
