//! Tracing of processes, as `erlang:trace/3` has it: events of a traced process become messages to
//! its tracer.
//!
//! A process that nobody traces has no flags, and that is all that is looked at, off the hot paths:
//! when it is taken up or put aside by a scheduler, sends by the slow way, takes over its signals,
//! links, ends or collects.

use crate::process::Process;
use crate::process::spawn::Start;
use crate::signal;
use crate::vm::Vm;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, atom};

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
    /// The flags that ask for events.
    pub const EVENTS: u32 = SEND | RECEIVE | PROCS | RUNNING | EXITING | GARBAGE_COLLECTION;
}

/// How a process is traced.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Trace {
    /// Of [`flags`]; 0 when nobody traces it.
    pub flags: u32,
    /// The number of the tracer's pid.
    pub tracer: u64,
}

impl Trace {
    /// Whether one of these flags is set.
    #[inline(always)]
    pub fn wants(self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// The settings that a process started by this one (or `linked` to it) inherits, and the
    /// settings that this one keeps.
    pub fn handed_on(self, linked: bool) -> (Trace, Trace) {
        let (always, once) = (flags::SET_ON_SPAWN, flags::SET_ON_FIRST_SPAWN);
        let (always_linked, once_linked) = (flags::SET_ON_LINK, flags::SET_ON_FIRST_LINK);
        let spent = if self.wants(always) {
            0
        } else if self.wants(once) {
            once
        } else if linked && self.wants(always_linked) {
            0
        } else if linked && self.wants(once_linked) {
            once_linked
        } else {
            return (Trace::default(), self);
        };
        let left = Trace { flags: self.flags & !spent, tracer: self.tracer };
        (left, left)
    }
}

/// The trace settings that new processes start with.
#[derive(Default)]
pub struct TraceNew {
    flags: AtomicU32,
    tracer: AtomicU64,
}

impl TraceNew {
    /// The current settings; without flags nobody traces new processes.
    #[inline]
    pub fn get(&self) -> Trace {
        let flags = self.flags.load(Ordering::Acquire);
        if flags == 0 {
            Trace::default()
        } else {
            Trace { flags, tracer: self.tracer.load(Ordering::Relaxed) }
        }
    }
    /// Replaces the settings.
    pub fn set(&self, trace: Trace) {
        self.tracer.store(trace.tracer, Ordering::Relaxed);
        self.flags.store(trace.flags, Ordering::Release);
    }
}

/// The time of an event, as the flags ask for it.
pub(crate) fn timestamp(vm: &Vm, wanted: u32, heap: &mut FragmentHeap) -> Option<Term> {
    if wanted & flags::STRICT_MONOTONIC_TIMESTAMP != 0 {
        let (time, number) =
            (heap.int(vm.clock.monotonic_ns()), heap.uint(vm.next_monotonic_unique()));
        return Some(heap.tuple(&[time, number]));
    }
    if wanted & flags::MONOTONIC_TIMESTAMP != 0 {
        return Some(heap.int(vm.clock.monotonic_ns()));
    }
    if wanted & flags::TIMESTAMP != 0 {
        let us = vm.clock.system_ns() / 1000;
        let parts =
            [us / 1_000_000_000_000, us / 1_000_000 % 1_000_000, us % 1_000_000].map(Term::small);
        return Some(heap.tuple(&parts));
    }
    None
}

impl Process {
    /// Tells the tracer `{trace, Pid, Event, …}`; `rest` makes what follows the event.
    #[cold]
    pub fn trace_event(
        &mut self,
        event: Atom,
        rest: impl FnOnce(&mut FragmentHeap, &Process) -> Vec<Term>,
    ) {
        // A tracer is not told of its own events, as in OTP.
        if self.trace.tracer == self.id() {
            return;
        }
        let mut heap = FragmentHeap::new();
        let mut elements = vec![Term::atom(atom!("trace")), self.pid(), Term::atom(event)];
        elements.extend(rest(&mut heap, self));
        if let Some(time) = timestamp(self.vm, self.trace.flags, &mut heap) {
            elements[0] = Term::atom(atom!("trace_ts"));
            elements.push(time);
        }
        let message = heap.tuple(&elements);
        // A tracer that is gone ends the tracing.
        if !signal::send_message(self.vm, Term::NONE, self.trace.tracer, message) {
            self.trace = Trace::default();
        }
    }

    /// The built-in that a process between two turns is in: it waits there, or a dirty scheduler
    /// runs it.
    pub fn current_built_in(&self) -> Option<swarmrt_term::Mfa> {
        if self.ip.is_null() {
            return None;
        }
        if self.waits_for_connection() {
            // As in OTP: what is left to do is to return.
            let function = atom!("bif_return_trap");
            return Some(swarmrt_term::Mfa { module: am::ERLANG, function, arity: 2 });
        }
        // SAFETY: a process's instruction pointer points at an instruction.
        unsafe { *self.ip }.called_bif().map(|(bif, _)| self.vm.bifs.mfa(bif))
    }

    /// The function that the process is in: a built-in, or else that of the code; `None` before its
    /// first turn.
    pub(crate) fn current_function(&self) -> Option<swarmrt_term::Mfa> {
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
        if self.trace.wants(flags::RUNNING) {
            self.trace_event(event, |heap, process| vec![process.traced_function(heap)]);
        }
    }

    /// The process has sent a message.
    #[cold]
    pub fn trace_sent(&mut self, to: Term, message: Term, delivered: bool) {
        if self.trace.wants(flags::SEND) {
            self.trace_event(
                if delivered { atom!("send") } else { atom!("send_to_non_existing_process") },
                |_, _| vec![message, to],
            );
        }
    }

    /// A message has arrived in the mailbox.
    #[cold]
    pub fn trace_received(&mut self, message: Term) {
        if self.trace.wants(flags::RECEIVE) {
            self.trace_event(atom!("receive"), |_, _| vec![message]);
        }
    }

    /// One of the events of `procs` about another process, port or name.
    #[inline]
    pub fn trace_procs(&mut self, event: &'static str, about: Term) {
        if self.trace.wants(flags::PROCS) {
            self.trace_event(Atom::new(event), |_, _| vec![about]);
        }
    }

    /// `spawn` in the parent, `spawned` in the child: what it starts with.
    #[cold]
    pub(crate) fn trace_spawn(&mut self, event: &'static str, other: Term, start: Start) {
        if self.trace.wants(flags::PROCS) {
            self.trace_event(Atom::new(event), |heap, _| {
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
            self.trace_event(atom!("exit"), |_, _| vec![reason]);
        }
    }

    /// Nothing is left of the process.
    #[cold]
    pub(crate) fn trace_exited(&mut self) {
        if self.trace.wants(flags::EXITING) {
            self.trace_event(atom!("out_exited"), |_, _| vec![Term::small(0)]);
        }
    }

    /// A collection starts or ends.
    #[cold]
    pub(crate) fn trace_collection(&mut self, event: &'static str) {
        if !self.trace.wants(flags::GARBAGE_COLLECTION) {
            return;
        }
        self.trace_event(Atom::new(event), |heap, process| {
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
