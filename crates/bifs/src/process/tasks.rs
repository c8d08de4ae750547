//! What one process has done to another: suspending, and system tasks.

use super::turns::{collect_soon, is_collection};
use super::{OK, TRUE, ask_as, is_alive};
use swarmrt_machine::process::links::Tag;
use swarmrt_machine::process::{Priority, Task, TaskWork};
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::node::own_pid;
use swarmrt_term::{Alloc, Atom, Term, Tuple, am, atom};

#[bif("erts_internal:suspend_process/2")]
fn suspend_process(p: &mut Process, pid: Term, options: Term) -> BifResult {
    let Some(pid) = own_pid(pid).filter(|&pid| pid != p.id()) else {
        return Ok(Term::atom(am::BADARG));
    };
    let mut unless = false;
    let mut waits = true;
    let mut tag = None;
    let Some(options) = options.list_to_vec() else { return Ok(Term::atom(atom!("badopt"))) };
    for option in options {
        let asynchronous =
            |pair: &Tuple| pair.arity() == 2 && pair.get(0) == Term::atom(atom!("asynchronous"));
        match option.as_atom().map(Atom::name) {
            Some("unless_suspending") => unless = true,
            Some("asynchronous") => waits = false,
            _ if let Some(pair) = option.as_tuple().filter(asynchronous) => {
                (waits, tag) = (false, Some(pair.get(1)));
            }
            _ => return Ok(Term::atom(atom!("badopt"))),
        }
    }
    let is_there = is_alive(p.vm, pid);
    if !is_there && waits && p.bif_state.is_none() {
        return Ok(Term::atom(am::BADARG));
    }
    let suspends = p.bif_state.is_some() || is_there && note_suspension(p, pid, unless);
    if !waits {
        if is_there {
            signal::send_later(p.vm, pid, Box::new(later_suspension(p.id(), suspends, tag)));
        } else {
            later_suspension(p.id(), suspends, tag)(p.vm, None);
        }
        return Ok(Term::bool(suspends || !is_there));
    }
    if !suspends {
        return Ok(Term::bool(false));
    }
    let suspend = |process: &mut Process| {
        process.suspend_once();
        Term::bool(true)
    };
    ask_as(p, pid, signal::send_later, move |process, _| suspend(process), Term::atom(am::BADARG))
}

/// Counts a suspension of `pid` by the calling process; `false` when there is one already and
/// `unless` says that it is enough.
fn note_suspension(p: &mut Process, pid: u64, unless: bool) -> bool {
    let suspending = &mut p.extra().suspending;
    match suspending.iter_mut().find(|(other, _)| *other == pid) {
        Some(_) if unless => return false,
        Some((_, count)) => *count += 1,
        None => suspending.push((pid, 1)),
    }
    true
}

/// What suspends a process when it comes to it, if it is to be suspended at all, and tells `caller`
/// under the tag.
fn later_suspension(
    caller: u64,
    suspends: bool,
    tag: Option<Term>,
) -> impl FnOnce(&'static Vm, Option<&mut Process>) + Send {
    let tag = tag.map(Tag::new);
    move |vm, process| {
        let state = if process.is_some() { atom!("suspended") } else { am::BADARG };
        if let Some(process) = process.filter(|_| suspends) {
            process.suspend_once();
        }
        if let Some(tag) = tag {
            let mut heap = swarmrt_term::FragmentHeap::new();
            let message = heap.tuple(&[tag.term(), Term::atom(state)]);
            signal::send_message(vm, Term::NONE, caller, message);
        }
    }
}

#[bif("erlang:resume_process/1")]
fn resume_process(p: &mut Process, pid: Term) -> BifResult {
    let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
    let suspending = &mut p.extra().suspending;
    let at = suspending.iter().position(|(other, _)| *other == pid).ok_or(BifExit::BADARG)?;
    suspending[at].1 -= 1;
    if suspending[at].1 == 0 {
        suspending.swap_remove(at);
    }
    if !is_alive(p.vm, pid) {
        return Err(BifExit::BADARG);
    }
    swarmrt_machine::process::resume(p.vm, pid);
    Ok(TRUE)
}

#[bif("erts_internal:request_system_task/3")]
fn request_system_task_3(p: &mut Process, pid: Term, priority: Term, request: Term) -> BifResult {
    request_system_task_4(p, p.pid(), pid, priority, request)
}

/// Requests are {Type, Id, …}; the requester gets {Type, Id, Result}. The process has its next turn
/// with the priority of the request, if that is higher than its own.
#[bif("erts_internal:request_system_task/4")]
fn request_system_task_4(
    p: &mut Process,
    requester: Term,
    pid: Term,
    priority: Term,
    request: Term,
) -> BifResult {
    let (Some(requester), Some(pid)) = (requester.as_pid(), own_pid(pid)) else {
        return Err(BifExit::BADARG);
    };
    let priority = match priority.as_atom() {
        Some(name) if name == atom!("inherit") => Some(p.priority),
        name => name.and_then(Priority::of),
    };
    let priority = priority.ok_or(BifExit::BADARG)?;
    let request =
        request.as_tuple().filter(|request| request.arity() >= 2).ok_or(BifExit::BADARG)?;
    let kind = request.get(0).as_atom().ok_or(BifExit::BADARG)?;
    // The kind of collection, or the module.
    let argument = request.elements().get(2).and_then(|argument| argument.as_atom());
    let id = Tag::new(request.get(1));
    // Done between two turns of the process, when nothing of its state is in an engine's registers.
    let work: fn(&mut Process, Option<Atom>) -> Option<Term> = match kind.name() {
        "garbage_collect"
            if request.elements().get(2).is_some_and(|&kind| !is_collection(kind)) =>
        {
            return Err(BifExit::BADARG);
        }
        "garbage_collect" => |process, kind| {
            if process.extra.as_ref().is_some_and(|extra| extra.defers_collections) {
                return None;
            }
            collect_soon(process, kind != Some(atom!("minor")));
            Some(Term::bool(true))
        },
        "check_process_code" => |process, module| {
            let uses = module.is_some_and(|module| crate::code::uses_old_code(process, module));
            Some(Term::bool(uses))
        },
        // Nothing but the answer.
        "system_task_test" => |_, _| Some(Term::bool(true)),
        _ => return Err(BifExit::BADARG),
    };
    let is_check = kind.name() == "check_process_code";
    let answer = move |vm: &'static Vm, result: Term| {
        let mut heap = swarmrt_term::FragmentHeap::new();
        let message = heap.tuple(&[Term::atom(kind), id.term(), result]);
        signal::send_message(vm, Term::NONE, requester, message);
    };
    let send = if is_check { signal::send_look } else { signal::send_call };
    send(
        p.vm,
        pid,
        Box::new(move |vm, process| match process {
            // Nobody waits for the end of the function.
            Some(process) if is_check && process.is_in_native() => {
                let result = work(process, argument).unwrap_or(Term::bool(false));
                answer(vm, result);
            }
            Some(process) => process.add_task(Box::new(SystemTask {
                vm,
                work,
                argument,
                priority,
                answer: Some(answer),
                again: is_check,
            })),
            None => answer(vm, Term::bool(false)),
        }),
    );
    signal::lend(p.vm, pid, priority);
    Ok(OK)
}

/// A request that waits for the end of a turn. It is answered even if the process ends before that.
struct SystemTask<A: FnOnce(&'static Vm, Term)> {
    vm: &'static Vm,
    /// `None` when it is to be tried again after the next turn.
    work: fn(&mut Process, Option<Atom>) -> Option<Term>,
    argument: Option<Atom>,
    priority: Priority,
    answer: Option<A>,
    /// A process in old code has one more turn to leave it: a turn that ends in a call of the
    /// reloaded module ends in old code, and purging must not kill every process that calls it
    /// often.
    again: bool,
}

impl<A: FnOnce(&'static Vm, Term) + Send + 'static> TaskWork for SystemTask<A> {
    fn run(mut self: Box<Self>, process: &mut Process) -> Option<Task> {
        let Some(result) = (self.work)(process, self.argument) else { return Some(self) };
        if result == Term::bool(true) && std::mem::take(&mut self.again) {
            return Some(self);
        }
        if let Some(answer) = self.answer.take() {
            answer(self.vm, result);
        }
        None
    }
    fn priority(&self) -> Priority {
        self.priority
    }
}

impl<A: FnOnce(&'static Vm, Term)> Drop for SystemTask<A> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(self.vm, Term::bool(false));
        }
    }
}
