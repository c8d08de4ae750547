//! Breakpoints: functions whose calls are traced, counted or measured (`erlang:trace_pattern/3`).
//!
//! The entry cell of a function with a breakpoint holds an address of its own
//! ([`CellKind::Breakpoint`]), so that every call comes to the interpreter, which looks the
//! breakpoint up by where it is. For *global* tracing, of calls by a function's full name, the
//! export leads to a stub with such a cell. A function without a breakpoint pays nothing.

use super::{Export, ModuleCode};
use crate::process::Process;
use crate::vm::Vm;
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use swarmrt_beam::instr::Instr;
use swarmrt_beam::specialise::CellKind;
use swarmrt_term::atom::NumberHasher;
use swarmrt_term::{Atom, Mfa, Term, am};

/// A match specification, compiled for calls.
pub trait MatchProgram: Send + Sync {
    /// Runs it on the arguments of a call that is being made, in a session of tracing.
    fn run(&self, p: &mut Process, args: &[Term], session: u32) -> Decision;
    /// What it was compiled from; lives as long as the program.
    fn source(&self) -> Term;
}

/// What a match specification says of a call.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// `false`: it is not told. `true`: it is told. Anything else is added to what is told.
    pub message: Term,
    /// That it returns is told, too.
    pub returns: bool,
    /// That it returns or fails is told, too.
    pub exceptions: bool,
}

impl Decision {
    /// Without a match specification.
    pub const TOLD: Decision =
        Decision { message: Term::bool(true), returns: false, exceptions: false };
}

/// The match specification of a breakpoint, if it has one.
pub type Pattern = Option<Arc<dyn MatchProgram>>;

/// Counts calls.
#[derive(Default)]
pub struct Counter {
    pub is_paused: AtomicBool,
    pub calls: AtomicU64,
}

/// Measures calls: the number of them and their cost, by the processes that make them.
#[derive(Default)]
pub struct Measure {
    pub is_paused: AtomicBool,
    /// By the numbers of pids.
    pub by_process: Mutex<HashMap<u64, Measured>>,
}

/// Calls of one function by one process.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Measured {
    pub calls: u64,
    /// Nanoseconds, or words allocated, in the function itself and in what it calls that is not
    /// measured.
    pub cost: u64,
}

impl Measure {
    /// Adds calls and their cost of a process.
    pub fn add(&self, pid: u64, calls: u64, cost: u64) {
        let mut all = self.by_process.lock();
        let measured = all.entry(pid).or_default();
        measured.calls += calls;
        measured.cost += cost;
    }
}

/// What one session of tracing wants of a breakpoint.
#[derive(Clone, Default)]
pub struct Point {
    pub session: u32,
    /// Calls by processes with the flag `call` are told to their tracer.
    pub call: Option<Pattern>,
    /// Calls by all processes are told to this tracer.
    pub meta: Option<(Pattern, Term)>,
    pub count: Option<Arc<Counter>>,
    pub time: Option<Arc<Measure>>,
    pub memory: Option<Arc<Measure>>,
}

impl Point {
    /// Of a session that wants nothing (yet).
    fn empty(session: u32) -> Point {
        Point { session, ..Point::default() }
    }
    fn is_empty(&self) -> bool {
        self.call.is_none()
            && self.meta.is_none()
            && self.count.is_none()
            && self.time.is_none()
            && self.memory.is_none()
    }
}

/// Whether a pattern turns something on or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    Off,
    On,
    /// Counters and measures begin anew, where there are some.
    Restart,
    /// Counters and measures rest, where there are some.
    Pause,
}

impl Switch {
    /// Changes what counts or measures; `is_paused` is its flag for resting.
    fn apply<T: Default>(self, counted: &mut Option<Arc<T>>, is_paused: fn(&T) -> &AtomicBool) {
        match self {
            Switch::Off => *counted = None,
            Switch::On => *counted = Some(Arc::default()),
            Switch::Restart => *counted = counted.take().map(|_| Arc::default()),
            Switch::Pause => {
                counted
                    .iter()
                    .for_each(|counted| is_paused(counted).store(true, Ordering::Relaxed));
            }
        }
    }
}

/// What `erlang:trace_pattern/3` asks for.
#[derive(Clone)]
pub struct TracePattern {
    pub session: u32,
    pub switch: Switch,
    pub pattern: Pattern,
    /// Calls of the functions themselves; without it, and without what follows, calls by the full
    /// name.
    pub local: bool,
    /// The tracer of all processes' calls.
    pub meta: Option<Term>,
    pub count: bool,
    pub time: bool,
    pub memory: bool,
}

impl TracePattern {
    /// Whether calls by the full name are meant.
    pub fn is_global(&self) -> bool {
        !(self.local || self.meta.is_some() || self.count || self.time || self.memory)
    }

    /// Changes the breakpoint of a function.
    fn apply(&self, point: &mut Point) {
        if self.local {
            point.call = (self.switch != Switch::Off).then(|| self.pattern.clone());
        }
        if let Some(tracer) = self.meta {
            point.meta = (self.switch != Switch::Off).then(|| (self.pattern.clone(), tracer));
        }
        if self.count {
            self.switch.apply(&mut point.count, |count| &count.is_paused);
        }
        if self.time {
            self.switch.apply(&mut point.time, |time| &time.is_paused);
        }
        if self.memory {
            self.switch.apply(&mut point.memory, |memory| &memory.is_paused);
        }
    }
}

/// The functions that a pattern is for: all that are not told apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Targets {
    pub module: Option<Atom>,
    pub function: Option<Atom>,
    pub arity: Option<u32>,
}

impl Targets {
    fn matches(&self, function: Atom, arity: u32) -> bool {
        self.function.is_none_or(|wanted| wanted == function)
            && self.arity.is_none_or(|wanted| wanted == arity)
    }
}

/// The messages that a pattern can be set for (`trace_pattern(send, …)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageEvent {
    Send,
    Receive,
}

/// Whether messages are told, and what says so of each.
pub type MessagePattern = (bool, Pattern);

/// Where a breakpoint is.
enum Place {
    /// At the function itself: all calls come to it.
    Function,
    /// Between an export and its function.
    Export {
        export: &'static Export,
        /// Where the export led to; it leads to the stub while somebody traces.
        target: AtomicPtr<Instr>,
        /// An instruction before the cell, the cell, and one that is never run.
        stub: Box<[Instr; 3]>,
    },
}

/// A function whose calls somebody wants to know of.
pub struct Breakpoint {
    pub mfa: Mfa,
    /// Behind the cell.
    address: usize,
    place: Arc<Place>,
    points: Vec<Point>,
}

// SAFETY: stubs never change once made.
unsafe impl Send for Place {}
// SAFETY: stubs never change once made.
unsafe impl Sync for Place {}

impl Breakpoint {
    /// The address behind its cell.
    pub fn address(&self) -> usize {
        self.address
    }
    /// What each session wants of it.
    pub fn points(&self) -> &[Point] {
        &self.points
    }
    /// What one session wants of it.
    pub fn of(&self, session: u32) -> Option<&Point> {
        self.points.iter().find(|point| point.session == session)
    }
    /// Whether it is told of calls by the full name only.
    pub fn is_global(&self) -> bool {
        matches!(*self.place, Place::Export { .. })
    }
    /// Where a call goes on behind the stub of an export: past a cell. `None` where the breakpoint
    /// is at the function itself.
    pub fn target(&self) -> Option<*const Instr> {
        let Place::Export { export, target, stub } = &*self.place else { return None };
        let now = export.entry();
        let is_stub = std::ptr::eq(now, past_cell(stub));
        Some(if is_stub { target.load(Ordering::Acquire) } else { now })
    }
}

fn past_cell(stub: &[Instr; 3]) -> *const Instr {
    &raw const stub[2]
}

/// What a process that runs a fun begins with, as far as tracing is concerned.
const APPLY_FUN: Mfa = Mfa { module: am::ERLANG, function: am::APPLY, arity: 2 };

/// The breakpoints of a machine.
#[derive(Default)]
pub struct Breakpoints {
    /// By the address behind the cell.
    by_address: RwLock<HashMap<usize, Arc<Breakpoint>, BuildHasherDefault<NumberHasher>>>,
    /// The stubs of exports that have or had one, by their numbers: a process may stand at one.
    stubs: Mutex<HashMap<u32, Arc<Place>>>,
    /// What is asked for modules that are loaded (`on_load`), one for each session.
    pub on_load: Mutex<Vec<TracePattern>>,
    /// Whether `erlang:apply/2` has one: processes that run a fun then begin with a call of it.
    at_fun_starts: AtomicBool,
    /// What sessions want to know of messages, where they do not want to know of all.
    messages: RwLock<Vec<(MessageEvent, u32, MessagePattern)>>,
}

// SAFETY: tracers are pids and ports, which are no addresses.
unsafe impl Send for TracePattern {}

impl Breakpoints {
    /// The breakpoint at the address behind a cell; `None` when it is gone.
    pub fn at(&self, ip: *const Instr) -> Option<Arc<Breakpoint>> {
        self.by_address.read().get(&(ip as usize)).cloned()
    }
    /// The tracer of all processes' calls of a function is gone: nobody is told any more.
    pub(crate) fn forget_meta_tracer(&self, of: &Breakpoint, session: u32) {
        let mut all = self.by_address.write();
        let Some(known) = all.get_mut(&of.address) else { return };
        let mut points = known.points.clone();
        for point in points.iter_mut().filter(|point| point.session == session) {
            if let Some((_, tracer)) = &mut point.meta {
                *tracer = Term::NIL;
            }
        }
        let (mfa, address, place) = (known.mfa, known.address, known.place.clone());
        *known = Arc::new(Breakpoint { mfa, address, place, points });
    }
    /// Whether the start of a process with a fun is a call that somebody wants to know of.
    pub(crate) fn at_fun_starts(&self) -> bool {
        self.at_fun_starts.load(Ordering::Acquire)
    }
    /// What a session wants to know of messages; `None` for all.
    pub fn of_messages(&self, event: MessageEvent, session: u32) -> Option<MessagePattern> {
        let all = self.messages.read();
        all.iter().find(|known| (known.0, known.1) == (event, session)).map(|known| known.2.clone())
    }
    /// Says what a session wants to know of messages; without anything, of all.
    pub fn set_messages(&self, event: MessageEvent, session: u32, wanted: Option<MessagePattern>) {
        let mut all = self.messages.write();
        all.retain(|known| (known.0, known.1) != (event, session));
        all.extend(wanted.map(|wanted| (event, session, wanted)));
    }
    /// All of them, in no order.
    pub fn all(&self) -> Vec<Arc<Breakpoint>> {
        self.by_address.read().values().cloned().collect()
    }
    /// Changes what a session wants of the breakpoint at an address, which is made if there is
    /// none. Returns whether there was one, and whether there is one now.
    fn change(
        &self,
        ip: *const Instr,
        (mfa, place): (Mfa, &Arc<Place>),
        session: u32,
        change: impl FnOnce(&mut Point),
    ) -> (bool, bool) {
        let mut all = self.by_address.write();
        let mut points = all.get(&(ip as usize)).map_or(Vec::new(), |known| known.points.clone());
        let was = !points.is_empty();
        let at = points.iter().position(|point| point.session == session).unwrap_or_else(|| {
            points.push(Point::empty(session));
            points.len() - 1
        });
        change(&mut points[at]);
        points.retain(|point| !point.is_empty());
        let is = !points.is_empty();
        // Who stands at a stub has to find out where it leads.
        if is || matches!(**place, Place::Export { .. }) {
            let breakpoint = Breakpoint { mfa, address: ip as usize, place: place.clone(), points };
            all.insert(ip as usize, Arc::new(breakpoint));
        } else {
            all.remove(&(ip as usize));
        }
        (was, is)
    }
}

impl Vm {
    /// Changes what a session wants of the breakpoint of a function, by its number in the module.
    /// Returns whether it has one now and had none.
    fn change_breakpoint(
        &'static self,
        module: &ModuleCode,
        function: usize,
        session: u32,
        change: impl FnOnce(&mut Point),
    ) -> bool {
        let known = &module.code.functions[function];
        let mfa = Mfa { module: module.name, function: known.name, arity: known.arity };
        let ip = module.past_cell(known.entry);
        let place = Arc::new(Place::Function);
        let (was, is) = self.breakpoints.change(ip, (mfa, &place), session, change);
        if was != is {
            if is {
                module.breakpoints.fetch_add(1, Ordering::AcqRel);
            } else {
                module.breakpoints.fetch_sub(1, Ordering::AcqRel);
            }
            self.engine().set_breakpoint(self, module, function, is);
        }
        is && !was
    }

    /// Functions of a module have breakpoints that had none: machine code that goes past them is
    /// not entered any more.
    fn breakpoints_were_set(&'static self, module: &ModuleCode) {
        self.engine().forget_machine_code(self, Some(module));
        // Other modules may have functions inlined: they look whether exports were changed.
        for (mfa, _) in module.exports_of() {
            let export = self.code.export(mfa);
            export.set_entry(export.entry());
        }
    }

    /// Changes what a session wants of the breakpoint between an export and its function.
    fn change_export_breakpoint(
        &'static self,
        export: &'static Export,
        session: u32,
        change: impl FnOnce(&mut Point),
    ) {
        let place = self
            .breakpoints
            .stubs
            .lock()
            .entry(export.number)
            .or_insert_with(|| {
                let native = self.code.no_code(CellKind::Breakpoint);
                let stub = Box::new([Instr::Nop, Instr::Cell { native }, Instr::Nop]);
                Arc::new(Place::Export { export, target: AtomicPtr::default(), stub })
            })
            .clone();
        let Place::Export { target, stub, .. } = &*place else {
            unreachable!("exports have stubs")
        };
        let stub = past_cell(stub);
        let leads_there = std::ptr::eq(export.entry(), stub);
        if !leads_there {
            target.store(export.entry().cast_mut(), Ordering::Release);
        }
        let (_, is) = self.breakpoints.change(stub, (export.mfa, &place), session, change);
        if is != leads_there {
            export.set_entry(if is { stub } else { target.load(Ordering::Acquire) });
        }
    }

    /// Has calls that go past the cells of functions made by name where those have breakpoints:
    /// calls of built-ins, and the start of a process with a fun.
    fn note_calls_without_cells(&'static self) {
        let mut traced = HashSet::new();
        let mut at_fun_starts = false;
        for known in self.breakpoints.all().iter().filter(|known| !known.points.is_empty()) {
            traced.extend(self.bifs.number(known.mfa));
            at_fun_starts |= known.mfa == APPLY_FUN;
        }
        self.breakpoints.at_fun_starts.store(at_fun_starts, Ordering::Release);
        let mut is_news = false;
        for (number, _) in (0..).zip(self.bifs.iter()) {
            is_news |= self.bifs.set_breakpoint(number, traced.contains(&number));
        }
        if is_news {
            self.engine().forget_machine_code(self, None);
        }
    }

    /// Sets or clears breakpoints of the current versions of modules. Returns how many functions
    /// were meant.
    pub fn set_trace_pattern(&'static self, functions: Targets, wanted: &TracePattern) -> usize {
        let names = functions.module.map_or_else(|| self.code.loaded(), |name| vec![name]);
        let modules = names.into_iter().filter_map(|name| self.code.current(name));
        let matched = modules.map(|module| self.set_in_module(&module, functions, wanted)).sum();
        self.note_calls_without_cells();
        matched
    }

    fn set_in_module(
        &'static self,
        module: &ModuleCode,
        functions: Targets,
        wanted: &TracePattern,
    ) -> usize {
        let (is_global, session) = (wanted.is_global(), wanted.session);
        let mut matched = 0;
        for (mfa, _) in
            module.exports_of().filter(|(mfa, _)| functions.matches(mfa.function, mfa.arity))
        {
            let export = self.code.export(mfa);
            matched += usize::from(is_global);
            if is_global && wanted.switch == Switch::On {
                let pattern = wanted.pattern.clone();
                self.change_export_breakpoint(export, session, |point| point.call = Some(pattern));
            } else if (is_global || wanted.switch == Switch::On)
                && self.export_breakpoint_of(mfa).is_some()
            {
                // Both ways of tracing exclude each other.
                self.change_export_breakpoint(export, session, |point| point.call = None);
            }
        }
        if is_global && wanted.switch != Switch::On {
            return matched;
        }
        let mut is_news = false;
        for (number, function) in module.code.functions.iter().enumerate() {
            if !functions.matches(function.name, function.arity) {
                continue;
            }
            matched += usize::from(!is_global);
            let entry = module.past_cell(function.entry);
            let is_there = self.breakpoints.at(entry).is_some();
            if is_global {
                if is_there {
                    let clear = |point: &mut Point| *point = Point::empty(session);
                    self.change_breakpoint(module, number, session, clear);
                }
            } else if is_there || wanted.switch == Switch::On {
                let apply = |point: &mut Point| wanted.apply(point);
                is_news |= self.change_breakpoint(module, number, session, apply);
            }
        }
        if is_news {
            self.breakpoints_were_set(module);
        }
        matched
    }

    /// The version of a module that was current is to be replaced or deleted: its breakpoints go.
    pub(crate) fn before_replacement(&'static self, name: Atom) {
        if !self.breakpoints.by_address.read().is_empty()
            && let Some(module) = self.code.current(name)
        {
            self.clear_breakpoints(&module);
        }
    }

    /// Sets the breakpoints that are asked for modules that are loaded.
    pub(crate) fn set_default_breakpoints(&'static self, name: Atom) {
        let wanted = self.breakpoints.on_load.lock().clone();
        let functions = Targets { module: Some(name), ..Targets::default() };
        for pattern in &wanted {
            self.set_trace_pattern(functions, pattern);
        }
    }

    /// Ends what a session wants of breakpoints, which is over.
    pub fn end_breakpoints_of(&'static self, session: u32) {
        self.breakpoints.on_load.lock().retain(|known| known.session != session);
        for event in [MessageEvent::Send, MessageEvent::Receive] {
            self.breakpoints.set_messages(event, session, None);
        }
        for known in self.breakpoints.all().iter().filter(|known| known.of(session).is_some()) {
            self.clear_breakpoint(known, session);
        }
        self.note_calls_without_cells();
    }

    /// Forgets what a session wants of a breakpoint.
    fn clear_breakpoint(&'static self, known: &Breakpoint, session: u32) {
        let clear = |point: &mut Point| *point = Point::empty(session);
        if let Place::Export { export, .. } = &*known.place {
            return self.change_export_breakpoint(export, session, clear);
        }
        let Some(module) = self.code.module_at(known.address) else { return };
        if let Some(function) = module.function_number(known.mfa.function, known.mfa.arity) {
            self.change_breakpoint(&module, function, session, clear);
        }
    }

    /// Forgets the breakpoints of the current version of a module, and those of its exports.
    fn clear_breakpoints(&'static self, module: &ModuleCode) {
        let is_meant = |known: &Arc<Breakpoint>| {
            known.mfa.module == module.name
                && (known.is_global() || module.range().contains(&known.address))
        };
        for known in self.breakpoints.all().iter().filter(|known| is_meant(known)) {
            for point in known.points() {
                self.clear_breakpoint(known, point.session);
            }
        }
        self.note_calls_without_cells();
    }

    /// The breakpoint of a function of the current version of its module.
    pub fn breakpoint_of(&self, mfa: Mfa) -> Option<Arc<Breakpoint>> {
        let module = self.code.current(mfa.module)?;
        let number = module.function_number(mfa.function, mfa.arity)?;
        self.breakpoints.at(module.past_cell(module.code.functions[number].entry))
    }
    /// The breakpoint between an export and its function.
    pub fn export_breakpoint_of(&self, mfa: Mfa) -> Option<Arc<Breakpoint>> {
        let export = self.code.existing_export(mfa)?;
        let stubs = self.breakpoints.stubs.lock();
        let Place::Export { stub, .. } = &**stubs.get(&export.number)? else { return None };
        std::ptr::eq(export.entry(), past_cell(stub))
            .then(|| self.breakpoints.at(past_cell(stub)))?
    }
}
