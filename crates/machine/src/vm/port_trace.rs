//! Tracing of ports (`erlang:trace(Port, true, [send, 'receive', ports, running_ports])`): messages
//! to and from them, their beginning and end, links and names, and when they run: while a callback
//! of their driver does, on whatever thread, or what was asked of them is done.
//!
//! Who traces which port is kept beside the ports, which are many: they ask whether any is traced.

use crate::code::breakpoints::MessageEvent;
use crate::process::Process;
use crate::process::trace::{Trace, Tracing, flags, tell};
use crate::vm::Vm;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, atom};

/// The flags that ask for events of ports, or say how these are told.
pub const PORT_FLAGS: u32 = MODIFIERS | flags::PORTS | flags::RUNNING_PORTS;
/// Flags that count for processes and for ports.
pub const MODIFIERS: u32 = flags::SILENT
    | flags::TIMESTAMP
    | flags::MONOTONIC_TIMESTAMP
    | flags::STRICT_MONOTONIC_TIMESTAMP
    | flags::SCHEDULER_ID
    | flags::RECEIVE
    | flags::SEND;

/// Who traces the ports of a machine.
#[derive(Default)]
pub struct PortTraces {
    /// Whether any port, or those to come, are traced.
    is_on: AtomicBool,
    state: Mutex<State>,
    /// Turns that have begun while any port was traced.
    turns: Mutex<HashMap<u64, Underway>>,
}

#[derive(Default)]
struct State {
    by_port: HashMap<u64, Trace>,
    new: Trace,
}

impl PortTraces {
    /// Whether [`Vm::trace_port`] may have something to tell.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }
    /// How a port is traced.
    pub fn of(&self, port: Term) -> Trace {
        self.state.lock().by_port.get(&port.raw()).cloned().unwrap_or_default()
    }
    /// How ports are traced that will be opened.
    pub fn new_ports(&self) -> Trace {
        self.state.lock().new.clone()
    }
    /// Changes how a port is traced; without one, those that will be opened.
    pub fn change<R>(&self, port: Option<Term>, change: impl FnOnce(&mut Trace) -> R) -> R {
        let mut state = self.state.lock();
        let result = match port {
            Some(port) => change(state.by_port.entry(port.raw()).or_default()),
            None => change(&mut state.new),
        };
        self.changed(&mut state);
        result
    }
    fn changed(&self, state: &mut State) {
        state.by_port.retain(|_, trace| trace.is_on());
        self.is_on.store(state.new.is_on() || !state.by_port.is_empty(), Ordering::Relaxed);
    }
    /// Ends what a session traces.
    pub fn end_session(&self, session: u32) {
        let mut state = self.state.lock();
        state.new.end(session);
        state.by_port.values_mut().for_each(|trace| trace.end(session));
        self.changed(&mut state);
    }
}

/// While it is there, a port runs.
pub struct PortTurn {
    vm: &'static Vm,
    port: Term,
}

/// What a port does in its turn (0 where it was not asked to), and how many threads at once: what
/// one of them begins while another is not done is part of the same turn.
struct Underway {
    what: Term,
    threads: usize,
}

impl Drop for PortTurn {
    fn drop(&mut self) {
        // Told before another turn can begin.
        let mut turns = self.vm.port_traces.turns.lock();
        let underway = turns.get_mut(&self.port.raw()).expect("the turn has begun");
        underway.threads -= 1;
        if underway.threads == 0 {
            let what = underway.what;
            turns.remove(&self.port.raw());
            self.vm.trace_port(self.port, flags::RUNNING_PORTS, atom!("out"), &[what]);
        }
    }
}

impl Vm {
    /// A port runs from now on: it does what it was asked to, as `command`, or its driver looks at
    /// what has happened.
    #[inline]
    pub fn port_turn(&'static self, port: Term, what: Option<&'static str>) -> Option<PortTurn> {
        self.port_traces.is_on().then(|| {
            let what = what.map_or(Term::small(0), |what| Term::atom(Atom::new(what)));
            let mut turns = self.port_traces.turns.lock();
            let underway = turns.entry(port.raw()).or_insert(Underway { what, threads: 0 });
            underway.threads += 1;
            if underway.threads == 1 {
                self.trace_port(port, flags::RUNNING_PORTS, atom!("in"), &[what]);
            }
            PortTurn { vm: self, port }
        })
    }
    /// Has a port do what the process asks for. Who traces the process with `running_procs` is told
    /// that it is out meanwhile.
    pub fn in_port<R>(
        p: &mut Process,
        port: Term,
        what: &'static str,
        work: impl FnOnce(&mut Process) -> R,
    ) -> R {
        p.trace_in_port(atom!("out"));
        let turn = p.vm.port_turn(port, Some(what));
        let result = work(p);
        drop(turn);
        p.trace_in_port(atom!("in"));
        result
    }
    /// Tells who traces a port of an event, if the port is traced with one of the flags.
    #[cold]
    pub fn trace_port(&'static self, port: Term, wanted: u32, event: Atom, rest: &[Term]) {
        let trace = self.port_traces.of(port);
        let mut heap = FragmentHeap::new();
        // Match specifications for messages are those of processes; that none are told counts.
        let is_told = |tracing: &&Tracing| {
            let event = match wanted {
                flags::SEND => MessageEvent::Send,
                flags::RECEIVE => MessageEvent::Receive,
                _ => return true,
            };
            let pattern = self.breakpoints.of_messages(event, tracing.session);
            pattern.is_none_or(|(on, _)| on)
        };
        let wants = |tracing: &&Tracing| tracing.flags & wanted != 0;
        let tracings = trace.sessions().iter().filter(wants).filter(is_told);
        for &Tracing { session, flags, tracer } in tracings {
            // A tracer that is gone ends the tracing.
            if tracer != port && !tell(self, (port, 0), &mut heap, (tracer, flags), event, rest) {
                self.port_traces.change(Some(port), |trace| trace.end(session));
            }
        }
    }
    /// A port is about to send a message.
    #[inline]
    pub fn trace_port_sends(&'static self, port: Term, to: u64, message: Term) {
        if self.port_traces.is_on() {
            let is_there = self.processes.get(to).is_some();
            let event =
                if is_there { atom!("send") } else { atom!("send_to_non_existing_process") };
            self.trace_port(port, flags::SEND, event, &[message, Term::pid(to)]);
        }
    }
    /// A process commands a port to do something: `{Pid, Command}`.
    #[inline]
    pub fn trace_port_receives(
        &'static self,
        port: Term,
        from: u64,
        command: impl FnOnce(&mut FragmentHeap) -> Term,
    ) {
        if self.port_traces.is_on() {
            let mut heap = FragmentHeap::new();
            let command = command(&mut heap);
            let message = heap.tuple(&[Term::pid(from), command]);
            self.trace_port(port, flags::RECEIVE, atom!("receive"), &[message]);
        }
    }
    /// One of the events of `ports`.
    #[inline]
    pub fn trace_port_event(&'static self, port: Term, event: &'static str, rest: &[Term]) {
        if self.port_traces.is_on() {
            self.trace_port(port, flags::PORTS, Atom::new(event), rest);
        }
    }
    /// A port has been opened by a process, and is linked with it.
    pub fn trace_port_opened(&'static self, port: Term, owner: u64, name: &str) {
        if self.port_traces.is_on() {
            let new = self.port_traces.new_ports();
            self.port_traces.change(Some(port), |trace| *trace = new);
            let (owner, name) = (Term::pid(owner), Term::atom(Atom::new(name)));
            self.trace_port_event(port, "open", &[owner, name]);
            self.trace_port_event(port, "getting_linked", &[owner]);
        }
    }
    /// A port has ended.
    pub fn trace_port_closed(&'static self, port: Term, reason: Term) {
        if self.port_traces.is_on() {
            self.trace_port_event(port, "closed", &[reason]);
            self.port_traces.change(Some(port), |trace| *trace = Trace::default());
        }
    }
}
