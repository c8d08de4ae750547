//! What happens when a process calls a function with a breakpoint, and when such a call returns or
//! fails.
//!
//! That a call returns is told by a frame that is pushed between the caller's return address and
//! the callee: the callee returns to a cell of the machine's own, behind which the interpreter
//! tells the tracer, drops the frame and returns to the caller.

use crate::code::breakpoints::{Breakpoint, Decision, Measure, Pattern, Point};
use crate::process::Process;
use crate::process::trace::{Tracing, flags};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use swarmrt_beam::instr::Instr;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Mfa, Term, am, atom};

/// The frames that traced calls push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// Tells that the call returns: module, function, arity, tracer (`true` for the process's), and
    /// the session.
    Returns,
    /// Tells that the call returns or fails; holds the same.
    Exceptions,
    /// Tells where the call returns to. Holds nothing.
    ReturnTo,
    /// Goes on measuring the caller: its address, 0 for none, and the session.
    Measured,
    /// Stands for the caller of a built-in in tail position, which is not over before the built-in
    /// is: the address of the call, and the words of its frame, which follow.
    TailCall,
}

/// The address of the call that a [`FrameKind::TailCall`] stands for.
///
/// # Safety
/// The words behind the cell of such a frame are at `words`.
unsafe fn caller_in(words: *const u64) -> usize {
    // SAFETY: the caller's; the first is an address.
    unsafe { *words.cast::<Term>() }.as_small().unwrap_or_default() as usize
}

impl FrameKind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [FrameKind; 5] = [
        FrameKind::Returns,
        FrameKind::Exceptions,
        FrameKind::ReturnTo,
        FrameKind::Measured,
        FrameKind::TailCall,
    ];

    /// Words behind the cell.
    const fn words(self) -> usize {
        match self {
            FrameKind::Returns | FrameKind::Exceptions => 5,
            FrameKind::ReturnTo => 0,
            FrameKind::Measured | FrameKind::TailCall => 2,
        }
    }
}

/// The measured function that a process is in, in one session.
#[derive(Clone, Copy, Debug)]
pub struct Measuring {
    session: u32,
    /// The address of its breakpoint; 0 for a caller that is not measured.
    address: usize,
    since_ns: u64,
    /// Words of the heap at that time, or after the last collection.
    since_words: usize,
}

/// The words that a call pushes, in the order in which they are pushed: none of them is a term on a
/// heap.
pub type Frames = SmallVec<[u64; 8]>;

/// Who is told of a call, and how.
#[derive(Clone, Copy)]
enum Told {
    /// The tracer of the process.
    Process(Tracing),
    /// The tracer of the breakpoint.
    Meta(Term),
}

impl Process {
    /// The process has called a function with a breakpoint, with these arguments: tells and counts
    /// what is wanted. The frames returned are to be pushed.
    #[cold]
    pub fn call_at_breakpoint(&mut self, breakpoint: &Breakpoint, args: &[Term]) -> Frames {
        let mut frames = Frames::new();
        let is_sensitive = self.extra.as_ref().is_some_and(|extra| extra.sensitive);
        for point in breakpoint.points() {
            let calls_traced =
                self.trace.of(point.session).filter(|tracing| tracing.flags & flags::CALL != 0);
            if let (Some(pattern), Some(tracing), false) = (&point.call, calls_traced, is_sensitive)
            {
                let told = Told::Process(tracing);
                self.tell_call(breakpoint, pattern, told, point.session, args, &mut frames);
            }
            if let (Some((pattern, tracer)), false) = (&point.meta, is_sensitive)
                && !tracer.is_nil()
            {
                let told = Told::Meta(*tracer);
                self.tell_call(breakpoint, pattern, told, point.session, args, &mut frames);
            }
            if let Some(count) = &point.count
                && !count.is_paused.load(Ordering::Relaxed)
            {
                count.calls.fetch_add(1, Ordering::Relaxed);
            }
            if calls_traced.is_some() {
                self.measure_call(breakpoint, point, &mut frames);
            }
        }
        self.has_traced_frames |= !frames.is_empty();
        frames
    }

    fn tell_call(
        &mut self,
        breakpoint: &Breakpoint,
        pattern: &Pattern,
        told: Told,
        session: u32,
        args: &[Term],
        frames: &mut Frames,
    ) {
        let mfa = breakpoint.mfa;
        let args: SmallVec<[Term; 8]> = args
            .iter()
            .map(|&arg| match arg.as_match_context() {
                Some(context) => {
                    let (offset, end) = (context.offset(), context.end());
                    self.heap.part(context.original(), offset, end - offset)
                }
                None => arg,
            })
            .collect();
        let decision =
            pattern.as_ref().map_or(Decision::TOLD, |program| program.run(self, &args, session));
        let (how, tracer) = match told {
            Told::Process(before) => {
                // What the specification has changed counts, but a tracer that it took away is told
                // of this call.
                let now = self.trace.of(session).unwrap_or(before);
                if now.flags & flags::SILENT != 0 {
                    return;
                }
                (now.flags, before.tracer)
            }
            Told::Meta(tracer) => (flags::CALL | flags::TIMESTAMP, tracer),
        };
        if decision.message != Term::bool(false) {
            let mut heap = FragmentHeap::new();
            let shown = if how & flags::ARITY != 0 {
                Term::small(args.len() as i64)
            } else {
                heap.list(&args)
            };
            let called = [Term::atom(mfa.module), Term::atom(mfa.function), shown];
            let mut rest = vec![heap.tuple(&called)];
            rest.extend((decision.message != Term::bool(true)).then_some(decision.message));
            if !self.tell(&mut heap, tracer, how, atom!("call"), &rest) {
                match told {
                    Told::Process(_) => self.trace.end(session),
                    Told::Meta(_) => self.vm.breakpoints.forget_meta_tracer(breakpoint, session),
                }
                return;
            }
            if how & flags::RETURN_TO != 0
                && !breakpoint.is_global()
                && !self.tells_where_it_returns(frames)
            {
                frames.push(self.vm.code.traced_frame(FrameKind::ReturnTo) as u64);
            }
        }
        if decision.returns || decision.exceptions {
            let kind = if decision.exceptions { FrameKind::Exceptions } else { FrameKind::Returns };
            let tracer = match told {
                Told::Process(_) => Term::bool(true),
                Told::Meta(tracer) => tracer,
            };
            let words = [
                Term::small(i64::from(session)),
                tracer,
                Term::small(i64::from(mfa.arity)),
                Term::atom(mfa.function),
                Term::atom(mfa.module),
            ];
            frames.extend(words.map(Term::raw));
            frames.push(self.vm.code.traced_frame(kind) as u64);
        }
    }

    /// Whether there is a frame that tells where the call returns to, right above the caller's.
    fn tells_where_it_returns(&self, frames: &Frames) -> bool {
        let mut found = frames.contains(&(self.vm.code.traced_frame(FrameKind::ReturnTo) as u64));
        self.traced_frames(|kind| found |= kind == FrameKind::ReturnTo);
        found
    }

    /// Calls `visit` with the kinds of the frames of traced calls at the top of the stack. Returns
    /// the return address behind them: the caller's.
    fn traced_frames(&self, mut visit: impl FnMut(FrameKind)) -> usize {
        let (mut at, base) = (self.heap.stop, self.heap.stack_base());
        while at < base {
            // SAFETY: between the stack pointer and its base.
            let word = unsafe { *at } as usize;
            let Some(kind) = self.vm.code.frame_kind(word as *const Instr) else { return word };
            if kind == FrameKind::TailCall {
                // SAFETY: two terms stand behind the cell of such a frame.
                return unsafe { caller_in(at.add(1)) } + size_of::<Instr>();
            }
            visit(kind);
            // SAFETY: a frame lies on the stack as a whole.
            at = unsafe { at.add(1 + kind.words()) };
        }
        0
    }

    /// The address in the code of the caller of the function that is being entered, behind its call;
    /// 0 for none.
    pub fn traced_caller(&self) -> usize {
        self.traced_frames(|_| ())
    }

    /// The function that the caller of the function that is being entered is.
    pub fn calling_function(&self) -> Option<Mfa> {
        // The return address names the cell behind the call; the call itself is before it.
        let call = self.traced_caller().checked_sub(size_of::<Instr>())?;
        self.vm.code.locate(call, |location| location.mfa)
    }

    /// A call has returned to a frame of its own, whose words are at the top of the stack. Tells
    /// what is wanted; returns how many words to drop.
    #[cold]
    pub fn traced_return(&mut self, cell: *const Instr, value: Term) -> usize {
        let kind = self.vm.code.frame_kind(cell).expect("the cell of a frame");
        match kind {
            FrameKind::Returns | FrameKind::Exceptions => {
                self.tell_end(self.heap.stop, atom!("return_from"), value);
            }
            FrameKind::ReturnTo => self.tell_where_it_returned(self.traced_caller()),
            FrameKind::Measured => self.measure_return(self.heap.stop),
            FrameKind::TailCall => {
                // SAFETY: two terms stand behind the cell of such a frame.
                let [_, frame] =
                    unsafe { *self.heap.stop.cast::<[Term; FrameKind::TailCall.words()]>() };
                return kind.words() + frame.as_small().unwrap_or_default() as usize;
            }
        }
        kind.words()
    }

    /// An exception leaves all calls whose frames lie below `until`, for the handler at that address
    /// if there is one.
    #[cold]
    pub fn traced_raise(&mut self, until: *const u64, handler: Option<*const Instr>) {
        let mut at = self.heap.stop.cast_const();
        let mut tells_where = false;
        while at < until {
            // SAFETY: between the stack pointer and its base.
            let word = unsafe { *at };
            // SAFETY: `until` is at most the base of the stack.
            at = unsafe { at.add(1) };
            match self.vm.code.frame_kind(word as *const Instr) {
                Some(FrameKind::Exceptions) => {
                    let mut heap = FragmentHeap::new();
                    let (class, reason) = (self.exception.class, self.exception.reason);
                    let value = if class == am::THROW && handler.is_none() {
                        let reason = heap.tuple(&[Term::atom(am::NOCATCH), reason]);
                        heap.tuple(&[Term::atom(am::ERROR), reason])
                    } else {
                        heap.tuple(&[Term::atom(class), reason])
                    };
                    self.tell_end(at, atom!("exception_from"), value);
                }
                Some(FrameKind::Measured) => self.measure_return(at),
                Some(FrameKind::ReturnTo) => tells_where = true,
                Some(FrameKind::Returns | FrameKind::TailCall) | None => {}
            }
        }
        if let Some(handler) = handler
            && tells_where
        {
            self.tell_where_it_returned(handler as usize + size_of::<Instr>());
        }
    }

    /// Tells that a call has ended whose frame's words begin at `words`.
    fn tell_end(&mut self, words: *const u64, event: Atom, value: Term) {
        // SAFETY: five terms stand behind the cell of such a frame.
        let [module, function, arity, tracer, session] =
            unsafe { *words.cast::<[Term; FrameKind::Returns.words()]>() };
        let session = session.as_small().unwrap_or_default() as u32;
        let (how, to) = if tracer == Term::bool(true) {
            match self.trace.of(session) {
                Some(now) if now.flags & flags::CALL != 0 && now.flags & flags::SILENT == 0 => {
                    (now.flags, now.tracer)
                }
                _ => return,
            }
        } else {
            (flags::CALL | flags::TIMESTAMP, tracer)
        };
        let mut heap = FragmentHeap::new();
        let called = heap.tuple(&[module, function, arity]);
        if !self.tell(&mut heap, to, how, event, &[called, value]) && tracer == Term::bool(true) {
            self.trace.end(session);
        }
    }

    fn tell_where_it_returned(&mut self, address: usize) {
        if self.trace.wants(flags::RETURN_TO) {
            let call = address.saturating_sub(size_of::<Instr>());
            let mfa = self.vm.code.locate(call, |location| location.mfa);
            self.trace_event(flags::RETURN_TO, atom!("return_to"), |heap, _| {
                vec![mfa.map_or(Term::atom(am::UNDEFINED), |mfa| heap.mfa(mfa))]
            });
        }
    }

    /// The address of the call that is to return to the cell at `at` on the stack; `None` for the
    /// frame of a traced call, which is no caller.
    pub(crate) fn call_of_frame(&self, at: *const u64) -> Option<usize> {
        // SAFETY: a return address on the stack.
        let cell = unsafe { *at } as *const Instr;
        match self.vm.code.frame_kind(cell) {
            None => Some(cell as usize - size_of::<Instr>()),
            // SAFETY: two terms stand behind the cell of such a frame.
            Some(FrameKind::TailCall) => Some(unsafe { caller_in(at.add(1)) }),
            Some(_) => None,
        }
    }

    /// The words of the frame that stands for a caller which has called a built-in in tail position,
    /// by the instruction at `call`, and has a frame of so many words.
    pub fn tail_call_frame(&mut self, call: *const Instr, frame: u16) -> [u64; 3] {
        self.has_traced_frames = true;
        let [frame, call] = [i64::from(frame), call as i64].map(|word| Term::small(word).raw());
        [frame, call, self.vm.code.traced_frame(FrameKind::TailCall) as u64]
    }

    // ---- Measuring ----

    fn measure_call(&mut self, breakpoint: &Breakpoint, point: &Point, frames: &mut Frames) {
        let measures = [&point.time, &point.memory];
        let active = |measure: &&Arc<Measure>| !measure.is_paused.load(Ordering::Relaxed);
        let measures: SmallVec<[&Arc<Measure>; 2]> =
            measures.into_iter().flatten().filter(active).collect();
        if measures.is_empty() {
            return;
        }
        let before = self.measure_until_now(point.session, breakpoint.address());
        measures.iter().for_each(|measure| measure.add(self.id(), 1, 0));
        // A tail call goes on in the frame that is there.
        let mut is_there = false;
        self.traced_frames(|_| is_there = true);
        if !is_there && frames.is_empty() {
            let words = [i64::from(point.session), before as i64].map(Term::small);
            frames.extend(words.map(Term::raw));
            frames.push(self.vm.code.traced_frame(FrameKind::Measured) as u64);
        }
    }

    fn measure_return(&mut self, words: *const u64) {
        // SAFETY: two terms stand behind the cell of such a frame.
        let [address, session] = unsafe { *words.cast::<[Term; FrameKind::Measured.words()]>() };
        let (address, session) = (address.as_small(), session.as_small());
        if let (Some(address), Some(session)) = (address, session) {
            self.measure_until_now(session as u32, address as usize);
        }
    }

    /// Adds what was spent until now to the function that the process was in; from now on it is in
    /// the one whose breakpoint is at `address`. Returns the address before.
    fn measure_until_now(&mut self, session: u32, address: usize) -> usize {
        let now = self.measuring_now(session, address);
        let all = &mut self.extra().measuring;
        let Some(known) = all.iter_mut().find(|known| known.session == session) else {
            all.push(now);
            return 0;
        };
        let before = std::mem::replace(known, now);
        self.add_measured(before, now);
        before.address
    }

    fn measuring_now(&self, session: u32, address: usize) -> Measuring {
        let since_ns = self.vm.clock.since_start_ns();
        Measuring { session, address, since_ns, since_words: self.heap.occupied_words() }
    }

    fn add_measured(&self, measuring: Measuring, now: Measuring) {
        if measuring.address == 0 {
            return;
        }
        let breakpoint = self.vm.breakpoints.at(measuring.address as *const Instr);
        let Some(point) = breakpoint.as_ref().and_then(|known| known.of(measuring.session)) else {
            return;
        };
        if let Some(time) = &point.time {
            time.add(self.id(), 0, now.since_ns.saturating_sub(measuring.since_ns));
        }
        if let Some(memory) = &point.memory {
            let words = now.since_words.saturating_sub(measuring.since_words);
            memory.add(self.id(), 0, words as u64);
        }
    }

    /// A turn or a collection begins, where what was spent until now `counts`, or ends. Time between
    /// turns is nobody's, and what a collection frees was allocated.
    #[cold]
    pub(crate) fn measure_again(&mut self, counts: bool) {
        let Some(extra) = &self.extra else { return };
        for known in extra.measuring.clone() {
            let now = self.measuring_now(known.session, known.address);
            if counts {
                self.add_measured(known, now);
            }
            let all = &mut self.extra().measuring;
            all.iter_mut()
                .filter(|other| other.session == known.session)
                .for_each(|other| *other = now);
        }
    }
}
