//! Tracing of processes, as `erlang:trace/3` has it: events of a traced process become messages to
//! its tracers.
//!
//! A process that nobody traces has no flags, and that is all that is looked at, off the hot paths:
//! when it is taken up or put aside by a scheduler, sends by the slow way, takes over its signals,
//! links, ends or collects. Calls are traced by [breakpoints](crate::code::breakpoints).

use crate::code::breakpoints::MessageEvent;
use crate::process::Process;
use crate::process::spawn::Start;
use crate::signal;
use crate::vm::Vm;
use parking_lot::RwLock;
use std::sync::atomic::{AtomicU32, Ordering};
use swarmrt_term::etf::EncodeOptions;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Mfa, Term, am, atom};

/// What is traced, and how: the flags of `erlang:trace/3`, of which several can be set. The bits
/// are not OTP's.
pub mod flags {
    /// Messages that the process sends.
    pub const SEND: u32 = 1;
    /// Messages that arrive in its mailbox.
    pub const RECEIVE: u32 = 1 << 1;
    /// Its start and end, links and names: `procs`.
    pub const PROCS: u32 = 1 << 2;
    /// Schedulers take it up and put it aside.
    pub const RUNNING: u32 = 1 << 3;
    /// `out_exited` when it has ended.
    pub const EXITING: u32 = 1 << 4;
    /// Collections: start, end, and the sizes of the heap's parts.
    pub const GARBAGE_COLLECTION: u32 = 1 << 5;
    /// Children inherit the flags.
    pub const SET_ON_SPAWN: u32 = 1 << 6;
    /// The first child inherits the flags; the flag is cleared then.
    pub const SET_ON_FIRST_SPAWN: u32 = 1 << 7;
    /// Processes that it links to inherit the flags.
    pub const SET_ON_LINK: u32 = 1 << 8;
    /// The first process that it links to inherits the flags; the flag is cleared then.
    pub const SET_ON_FIRST_LINK: u32 = 1 << 9;
    /// Events carry the time as `erlang:timestamp/0` has it.
    pub const TIMESTAMP: u32 = 1 << 10;
    /// Events carry monotonic time.
    pub const MONOTONIC_TIMESTAMP: u32 = 1 << 11;
    /// Events carry monotonic time and a unique number that rises strictly.
    pub const STRICT_MONOTONIC_TIMESTAMP: u32 = 1 << 12;
    /// Calls of functions with a breakpoint.
    pub const CALL: u32 = 1 << 13;
    /// Calls are told with the number of their arguments instead of these.
    pub const ARITY: u32 = 1 << 14;
    /// Where traced calls return to.
    pub const RETURN_TO: u32 = 1 << 15;
    /// Calls are looked at, but not told.
    pub const SILENT: u32 = 1 << 16;
    /// Events carry the number of the scheduler.
    pub const SCHEDULER_ID: u32 = 1 << 17;
    /// As `RUNNING`.
    pub const RUNNING_PROCS: u32 = 1 << 18;
    /// Events of ports: of no effect on processes.
    pub const PORTS: u32 = 1 << 19;
    /// As `PORTS`.
    pub const RUNNING_PORTS: u32 = 1 << 20;
}

/// The session of `erlang:trace/3`; those of the module `trace` have other numbers.
pub const LEGACY: u32 = 0;

/// How a process is traced in one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tracing {
    pub session: u32,
    /// Of [`flags`].
    pub flags: u32,
    /// A pid or a port.
    pub tracer: Term,
}

impl Tracing {
    /// The settings that a process started by this one (or `linked` to it) inherits, if any, and
    /// those that this one keeps.
    fn handed_on(self, linked: bool) -> (Option<Tracing>, Tracing) {
        let has = |flags: u32| self.flags & flags != 0;
        let spent = if has(flags::SET_ON_SPAWN) {
            0
        } else if has(flags::SET_ON_FIRST_SPAWN) {
            flags::SET_ON_FIRST_SPAWN
        } else if linked && has(flags::SET_ON_LINK) {
            0
        } else if linked && has(flags::SET_ON_FIRST_LINK) {
            flags::SET_ON_FIRST_LINK
        } else {
            return (None, self);
        };
        let left = Tracing { flags: self.flags & !spent, ..self };
        (Some(left), left)
    }
}

/// How a process is traced: in no session, mostly.
#[derive(Clone, Default)]
pub struct Trace {
    /// The flags of all sessions.
    flags: u32,
    #[allow(clippy::box_collection, reason = "a process that nobody traces pays one word for it")]
    sessions: Option<Box<Vec<Tracing>>>,
}

impl Trace {
    /// Whether anybody traces it.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.flags != 0
    }
    /// The flags of all sessions.
    pub fn flags(&self) -> u32 {
        self.flags
    }
    /// Whether one of these flags is set in some session.
    #[inline(always)]
    pub fn wants(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
    /// The settings of the sessions that trace it.
    pub fn sessions(&self) -> &[Tracing] {
        self.sessions.as_deref().map_or(&[], Vec::as_slice)
    }
    /// The settings of one session.
    pub fn of(&self, session: u32) -> Option<Tracing> {
        self.sessions().iter().find(|tracing| tracing.session == session).copied()
    }
    /// Replaces the settings of a session; without a flag there are none.
    pub fn set(&mut self, tracing: Tracing) {
        let sessions = self.sessions.get_or_insert_default();
        sessions.retain(|other| other.session != tracing.session);
        if tracing.flags != 0 {
            sessions.push(tracing);
        }
        if sessions.is_empty() {
            self.sessions = None;
        }
        self.flags = self.sessions().iter().fold(0, |all, tracing| all | tracing.flags);
    }
    /// Ends the tracing in a session.
    pub fn end(&mut self, session: u32) {
        self.set(Tracing { session, flags: 0, tracer: Term::NIL });
    }
    /// What a process inherits that this one has started or is `linked` to.
    pub fn hand_on(&mut self, linked: bool) -> Trace {
        let mut handed_on = Trace::default();
        for tracing in self.sessions().to_vec() {
            let (inherited, left) = tracing.handed_on(linked);
            self.set(left);
            if let Some(inherited) = inherited {
                handed_on.set(inherited);
            }
        }
        handed_on
    }
}

/// The trace settings that new processes start with.
#[derive(Default)]
pub struct TraceNew {
    flags: AtomicU32,
    trace: RwLock<Trace>,
}

impl TraceNew {
    /// The current settings.
    #[inline]
    pub fn get(&self) -> Trace {
        if self.flags.load(Ordering::Acquire) == 0 {
            Trace::default()
        } else {
            self.trace.read().clone()
        }
    }
    /// Changes the settings.
    pub fn change(&self, change: impl FnOnce(&mut Trace)) {
        let mut trace = self.trace.write();
        change(&mut trace);
        self.flags.store(trace.flags, Ordering::Release);
    }
}

impl Vm {
    /// Sends a message about a traced process to a tracer, a pid or a port, which gets it in the
    /// external format. `false` when it is gone.
    pub fn tell_tracer(&'static self, tracer: Term, message: Term) -> bool {
        if let Some(pid) = tracer.as_pid() {
            return signal::send_message(self, Term::NONE, pid, message);
        }
        let Some(ports) = self.ports() else { return false };
        let bytes = swarmrt_term::etf::encode(message, &EncodeOptions::default());
        ports.command(self, tracer, &bytes)
    }
}

/// The time of an event, as the flags ask for it.
pub(crate) fn timestamp(vm: &Vm, wanted: u32, heap: &mut FragmentHeap) -> Option<Term> {
    if wanted & flags::TIMESTAMP != 0 {
        let us = vm.clock.system_ns() / 1000;
        let parts =
            [us / 1_000_000_000_000, us / 1_000_000 % 1_000_000, us % 1_000_000].map(Term::small);
        return Some(heap.tuple(&parts));
    }
    if wanted & flags::STRICT_MONOTONIC_TIMESTAMP != 0 {
        let (time, number) =
            (heap.int(vm.clock.monotonic_ns()), heap.uint(vm.unique_integers.next_monotonic()));
        return Some(heap.tuple(&[time, number]));
    }
    if wanted & flags::MONOTONIC_TIMESTAMP != 0 {
        return Some(heap.int(vm.clock.monotonic_ns()));
    }
    None
}

/// Tells a tracer of an event of a process or port, in the way that the flags ask for: `{trace,
/// Tracee, Event, …}`. `false` when the tracer is gone.
pub(crate) fn tell(
    vm: &'static Vm,
    (tracee, scheduler): (Term, u32),
    heap: &mut FragmentHeap,
    (tracer, wanted): (Term, u32),
    event: Atom,
    rest: &[Term],
) -> bool {
    let mut elements = vec![Term::atom(atom!("trace")), tracee, Term::atom(event)];
    elements.extend(rest);
    if wanted & flags::SCHEDULER_ID != 0 {
        elements.push(Term::small(i64::from(scheduler)));
    }
    if let Some(time) = timestamp(vm, wanted, heap) {
        elements[0] = Term::atom(atom!("trace_ts"));
        elements.push(time);
    }
    let message = heap.tuple(&elements);
    vm.tell_tracer(tracer, message)
}

impl Process {
    /// Tells the tracers that want these events `{trace, Pid, Event, …}`; `rest` makes what follows
    /// the event.
    #[cold]
    pub fn trace_event(
        &mut self,
        wanted: u32,
        event: Atom,
        rest: impl FnOnce(&mut FragmentHeap, &Process) -> Vec<Term>,
    ) {
        self.trace_event_if(wanted, event, rest, |_, _| Term::bool(true));
    }

    /// As [`trace_event`](Self::trace_event), where `decide` says it of a session: `false` for no
    /// event, anything but `true` is added to it.
    fn trace_event_if(
        &mut self,
        wanted: u32,
        event: Atom,
        rest: impl FnOnce(&mut FragmentHeap, &Process) -> Vec<Term>,
        decide: impl Fn(&mut Process, u32) -> Term,
    ) {
        let tracings: Vec<Tracing> = self.trace.sessions().to_vec();
        let tracings = tracings.into_iter().filter(|tracing| tracing.flags & wanted != 0);
        let mut heap = FragmentHeap::new();
        let rest = rest(&mut heap, self);
        for tracing in tracings {
            let said = decide(self, tracing.session);
            if said == Term::bool(false) {
                continue;
            }
            let mut all = rest.clone();
            all.extend((said != Term::bool(true)).then_some(said));
            // A tracer that is gone ends the tracing.
            if !self.tell(&mut heap, tracing.tracer, tracing.flags, event, &all) {
                self.trace.end(tracing.session);
            }
        }
    }

    /// Tells a tracer of an event, in the way that the flags ask for. `false` when it is gone.
    pub(crate) fn tell(
        &self,
        heap: &mut FragmentHeap,
        tracer: Term,
        wanted: u32,
        event: Atom,
        rest: &[Term],
    ) -> bool {
        // A tracer is not told of its own events, as in OTP.
        if tracer == self.pid() {
            return true;
        }
        let scheduler = self.shared().scheduler.load(Ordering::Relaxed) + 1;
        tell(self.vm, (self.pid(), scheduler), heap, (tracer, wanted), event, rest)
    }

    /// The built-in that a process between two turns is in: it waits there, or a dirty scheduler
    /// runs it.
    pub fn current_built_in(&self) -> Option<Mfa> {
        if self.ip.is_null() {
            return None;
        }
        if self.waits_for_connection() {
            // As in OTP: what is left to do is to return.
            let function = atom!("bif_return_trap");
            return Some(Mfa { module: am::ERLANG, function, arity: 2 });
        }
        // `erlang:hibernate/0` is an instruction of its caller in OTP.
        self.called_built_in().filter(|called| !is_hibernate_0(called))
    }

    /// Whether the process is in `erlang:hibernate/0`, which returns to its caller.
    pub fn hibernates_in_place(&self) -> bool {
        self.called_built_in().is_some_and(|called| is_hibernate_0(&called))
    }

    fn called_built_in(&self) -> Option<Mfa> {
        if self.ip.is_null() {
            return None;
        }
        // SAFETY: a process's instruction pointer points at an instruction.
        unsafe { *self.ip }.called_bif().map(|(bif, _)| self.vm.bifs.mfa(bif))
    }

    /// The function that the process is in: a built-in, or else that of the code; `None` before its
    /// first turn.
    pub(crate) fn current_function(&self) -> Option<Mfa> {
        if self.ip.is_null() {
            return None;
        }
        let found = self
            .current_built_in()
            .or_else(|| self.vm.code.locate(self.ip as usize, |location| location.mfa));
        let at_start =
            [self.vm.code.apply_entry(), self.vm.code.apply_fun_entry()].contains(&self.ip);
        Some(found.filter(|_| !at_start).unwrap_or(self.initial))
    }
    fn traced_function(&self, heap: &mut FragmentHeap) -> Term {
        let Some(mfa) = self.current_function() else { return Term::small(0) };
        heap.mfa(mfa)
    }

    /// A scheduler takes the process up (`in`) or puts it aside (`out`).
    #[cold]
    pub fn trace_scheduled(&mut self, event: Atom) {
        const RUNNING: u32 = flags::RUNNING | flags::RUNNING_PROCS;
        if self.trace.wants(RUNNING) {
            self.trace_event(RUNNING, event, |heap, process| vec![process.traced_function(heap)]);
        }
    }

    /// The process is about to have a port run (`out`), or goes on itself (`in`), in one turn.
    #[inline]
    pub fn trace_in_port(&mut self, event: Atom) {
        if self.trace.wants(flags::RUNNING_PROCS) {
            self.trace_event(flags::RUNNING_PROCS, event, |heap, process| {
                vec![process.traced_function(heap)]
            });
        }
    }

    /// The process has sent a message.
    #[cold]
    pub fn trace_sent(&mut self, to: Term, message: Term, delivered: bool) {
        if self.trace.wants(flags::SEND) {
            let event =
                if delivered { atom!("send") } else { atom!("send_to_non_existing_process") };
            self.trace_event_if(
                flags::SEND,
                event,
                |_, _| vec![message, to],
                |process, session| process.said_of(MessageEvent::Send, session, &[to, message]),
            );
        }
    }

    /// A message has arrived in the mailbox, from a process or port where that is known.
    #[cold]
    pub fn trace_received(&mut self, message: Term, from: Term) {
        if self.trace.wants(flags::RECEIVE) {
            let undefined = Term::atom(am::UNDEFINED);
            let sender = if from.as_pid().is_some() || from.as_port().is_some() {
                [Term::atom(self.vm.node().name), from]
            } else if let Some(external) = from.as_external() {
                [Term::atom(external.node()), from]
            } else {
                [Term::atom(atom!("system")), undefined]
            };
            let args = [sender[0], sender[1], message];
            self.trace_event_if(
                flags::RECEIVE,
                atom!("receive"),
                |_, _| vec![message],
                |process, session| process.said_of(MessageEvent::Receive, session, &args),
            );
        }
    }

    /// What the pattern for messages of a session says of one.
    fn said_of(&mut self, event: MessageEvent, session: u32, args: &[Term]) -> Term {
        match self.vm.breakpoints.of_messages(event, session) {
            None | Some((true, None)) => Term::bool(true),
            Some((false, _)) => Term::bool(false),
            Some((true, Some(program))) => program.run(self, args, session).message,
        }
    }

    /// One of the events of `procs` about another process, port or name.
    #[inline]
    pub fn trace_procs(&mut self, event: &'static str, about: Term) {
        if self.trace.wants(flags::PROCS) {
            self.trace_event(flags::PROCS, Atom::new(event), |_, _| vec![about]);
        }
    }

    /// `spawn` in the parent, `spawned` in the child: what it starts with.
    #[cold]
    pub(crate) fn trace_spawn(&mut self, event: &'static str, other: Term, start: Start) {
        if self.trace.wants(flags::PROCS) {
            self.trace_event(flags::PROCS, Atom::new(event), |heap, _| {
                let start = match start {
                    Start::Apply { module, function, args } => {
                        [Term::atom(module), Term::atom(function), args]
                    }
                    Start::Fun(fun) => [
                        Term::atom(am::ERLANG),
                        Term::atom(am::APPLY),
                        heap.list(&[fun, Term::NIL]),
                    ],
                };
                let start = heap.tuple(&start);
                vec![other, start]
            });
        }
    }

    /// The process ends.
    #[cold]
    pub(crate) fn trace_exit(&mut self) {
        if self.trace.wants(flags::PROCS) {
            let reason = self.exception.reason;
            self.trace_event(flags::PROCS, atom!("exit"), |_, _| vec![reason]);
        }
    }

    /// The process is scheduled in or out while it ends, or nothing is left of it.
    #[cold]
    pub(crate) fn trace_ending(&mut self, event: Atom) {
        if self.trace.wants(flags::EXITING) {
            self.trace_event(flags::EXITING, event, |_, _| vec![Term::small(0)]);
        }
    }

    /// Nothing is left of the process.
    pub(crate) fn trace_exited(&mut self) {
        self.trace_ending(atom!("out_exited"));
    }

    /// A collection starts or ends.
    #[cold]
    pub(crate) fn trace_collection(&mut self, event: &'static str) {
        if !self.trace.wants(flags::GARBAGE_COLLECTION) {
            return;
        }
        self.trace_event(flags::GARBAGE_COLLECTION, Atom::new(event), |heap, process| {
            let of = &process.heap;
            let [young, old] = of.off_heap_lists().map(|list| list.bytes / 8);
            let figures = [
                ("old_heap_block_size", of.old_words()),
                ("heap_block_size", of.block_words()),
                ("mbuf_size", of.fragment_words()),
                ("recent_size", of.recent_words()),
                ("stack_size", of.stack_words()),
                ("old_heap_size", of.old_used_words()),
                ("heap_size", of.used_words()),
                ("bin_vheap_size", young),
                ("bin_vheap_block_size", of.off_heap_limit_words()),
                ("bin_old_vheap_size", old),
                ("bin_old_vheap_block_size", of.off_heap_limit_words()),
                ("wordsize", size_of::<Term>()),
            ];
            let pairs = figures.map(|(name, value)| {
                heap.tuple(&[Term::atom(Atom::new(name)), Term::small(value as i64)])
            });
            vec![heap.list(&pairs)]
        });
    }
}

fn is_hibernate_0(function: &Mfa) -> bool {
    *function == Mfa { module: am::ERLANG, function: atom!("hibernate"), arity: 0 }
}
