//! Built-ins that make, end, relate and address processes.

mod flags;
mod links;
mod listing;
mod monitors;
mod names;
mod returning;
mod send;
mod spawn;
mod tasks;
mod turns;

pub use flags::{default_max_heap_size, max_heap_map, max_heap_size, max_heap_term};
pub(crate) use listing::{listing_costs, living};
pub(crate) use monitors::{MonitorOptions, monitor_ref};
pub use spawn::remote_spawn_options;
pub use turns::collect_soon;

use std::any::Any;
use std::sync::Arc;
use swarmrt_machine::process::table::ProcessCell;
use swarmrt_machine::process::{in_native, run_state};
use swarmrt_machine::schedule::Errand;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::node::own_pid;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Release, Term, am, atom};

const OK: Term = Term::atom(am::OK);
const TRUE: Term = Term::atom(am::TRUE);

fn as_name(term: Term) -> Option<Atom> {
    term.as_atom().filter(|&name| name != am::UNDEFINED)
}

/// A list of options that is none, or has a wrong one.
pub(crate) fn bad_option() -> BifExit {
    BifExit::Caused(atom!("badopt"))
}

/// Whether an option asks for priority messages, which OTP 28 brought.
fn is_priority(vm: &Vm, option: Term) -> bool {
    option == Term::atom(atom!("priority")) && vm.release() >= Release::R28
}

fn is_alive(vm: &Vm, pid: u64) -> bool {
    vm.processes.get(pid).is_some_and(|cell| cell.shared.state.load() != run_state::EXITED)
}

#[bif("erlang:is_process_alive/1")]
fn is_process_alive(p: &mut Process, pid: Term) -> BifResult {
    let pid = own_pid(pid).ok_or(BifExit::BADARG)?;
    if pid == p.id() {
        return Ok(TRUE);
    }
    let has_looked = |cell: &ProcessCell| {
        // In this order: once the signals that we sent have been taken, it runs until it has
        // handled them.
        cell.shared.incoming.peek().is_null() && cell.shared.state.load() == run_state::WAITING
    };
    if p.bif_state.is_none() && p.vm.processes.get(pid).is_some_and(has_looked) {
        return Ok(TRUE);
    }
    // Asked as a signal: what we sent before has then been taken into account.
    ask_as(p, pid, signal::send_question, |_, _| Term::bool(true), Term::bool(false))
}

/// Has `question` answered in the context of another process, and waits for the answer. `gone` is
/// the answer when there is no such process.
pub fn ask(
    p: &mut Process,
    pid: u64,
    question: impl FnOnce(&mut Process) -> Term + Send + 'static,
    gone: Term,
) -> BifResult {
    ask_as(p, pid, signal::send_call, move |process, _| question(process), gone)
}

/// As [`ask`], by a signal of a kind, for answers that are built: on a heap that is there until the
/// answer was copied.
pub fn ask_as(
    p: &mut Process,
    pid: u64,
    send: fn(&'static Vm, u64, signal::Call) -> bool,
    question: impl FnOnce(&mut Process, &mut FragmentHeap) -> Term + Send + 'static,
    gone: Term,
) -> BifResult {
    if let Some(state) = p.bif_state.take() {
        return awaited(p, state);
    }
    if !is_alive(p.vm, pid) {
        return Ok(gone);
    }
    let number = p.expect_reply();
    let asker = p.id();
    send(
        p.vm,
        pid,
        Box::new(move |vm, process| {
            let mut heap = FragmentHeap::new();
            let answer = match process {
                Some(process) if !process.exit_pending => question(process, &mut heap),
                _ => gone,
            };
            signal::send_reply(vm, asker, number, answer);
        }),
    );
    signal::lend_priority(p, pid);
    p.bif_state = Some(Box::new(number));
    Err(BifExit::Wait)
}

/// The reply that a built-in waits for, whose number is its state.
fn awaited(p: &mut Process, state: Box<dyn Any + Send>) -> BifResult {
    let number = *state.downcast::<u64>().expect("a built-in finds its own state");
    p.take_reply(number).ok_or_else(|| {
        p.bif_state = Some(Box::new(number));
        BifExit::Wait
    })
}

/// Waits until every scheduler has had a turn since, and returns `result`, an atom: processes that
/// were to have the next turns have begun them then. Does not wait where the schedulers are blocked.
pub(crate) fn wait_for_schedulers(p: &mut Process, result: Term) -> BifResult {
    if let Some(state) = p.bif_state.take() {
        return awaited(p, state);
    }
    if p.vm.schedulers.runs_alone() {
        return Ok(result);
    }
    let number = p.expect_reply();
    // A scheduler is between two turns twice: there is a turn between the two.
    Passing { vm: p.vm, asker: p.id(), number, result }.ask(2);
    p.bif_state = Some(Box::new(number));
    Err(BifExit::Wait)
}

/// A process that waits until every scheduler has been between two turns.
#[derive(Clone, Copy)]
struct Passing {
    vm: &'static Vm,
    asker: u64,
    number: u64,
    result: Term,
}

impl Passing {
    /// Waits for them so many times, and then answers.
    fn ask(self, times: u32) {
        /// Dropped when the last scheduler has been there.
        struct Round(Passing, u32);
        impl Drop for Round {
            fn drop(&mut self) {
                // Of a machine that ends, nothing is left to ask.
                if !self.0.vm.is_shutting_down() {
                    self.0.ask(self.1);
                }
            }
        }
        if times > 0 {
            let round = Round(self, times - 1);
            let errand: Errand = Arc::new(move || {
                let _ = &round;
            });
            self.vm.schedulers.on_each(&errand);
        } else {
            let _guard = swarmrt_machine::pin();
            signal::send_reply(self.vm, self.asker, self.number, self.result);
        }
    }
}

#[bif("erts_internal:is_process_alive/2")]
fn is_process_alive_2(p: &mut Process, pid: Term, reference: Term) -> BifResult {
    let pid = own_pid(pid).ok_or(BifExit::BADARG)?;
    let alive = Term::bool(is_alive(p.vm, pid));
    let message = p.tuple(&[reference, alive]);
    signal::send_message(p.vm, p.pid(), p.id(), message);
    Ok(OK)
}

#[bif("erts_internal:is_system_process/1")]
fn is_system_process(p: &mut Process, pid: Term) -> BifResult {
    let pid = own_pid(pid).ok_or(BifExit::BADARG)?;
    Ok(Term::bool(p.vm.is_system_process(pid)))
}

/// Looks at the signals of a process that is in a function on a dirty scheduler. Whoever sends a signal
/// has done so already; OTP's processes for it, which alone may ask, do it for whoever asks them.
#[bif("erts_internal:dirty_process_handle_signals/1")]
fn dirty_process_handle_signals(p: &mut Process, pid: Term) -> BifResult {
    let is_handler = p.initial.module == atom!("erts_dirty_process_signal_handler");
    if !is_handler || !p.vm.is_system_process(p.id()) {
        return Err(BifExit::NOTSUP);
    }
    let Some(pid) = own_pid(pid) else { return Ok(Term::bool(false)) };
    let _guard = swarmrt_machine::pin();
    Ok(Term::atom(match in_native::look_at_signals(p.vm, pid) {
        None => atom!("noproc"),
        Some(false) => am::NORMAL,
        Some(true) => am::OK,
    }))
}

#[bif("erts_internal:is_process_executing_dirty/1")]
fn is_process_executing_dirty(_p: &mut Process, _pid: Term) -> BifResult {
    Ok(Term::bool(false))
}
