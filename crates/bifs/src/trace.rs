//! `erlang:trace/3`, `trace_pattern/3`, `trace_info/2`, `trace_delivered/1`.
//!
//! A tracer is a process or a port: modules as tracers are refused with `badarg`.

use crate::args::{list_of, pair_of};
use crate::ets::matchspec::{self, Dialect, Program};
use crate::process::{ask_as, wait_for_schedulers};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use swarmrt_machine::code::breakpoints::{
    Breakpoint, Decision, MatchProgram, Measure, Measured, MessageEvent, Point, Switch, Targets,
    TracePattern,
};
use swarmrt_machine::process::trace::{LEGACY, Trace, Tracing, flags};
use swarmrt_machine::vm::port_trace::{MODIFIERS, PORT_FLAGS};
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Mfa, Release, Term, am, atom};

/// The flags by their names, in the order in which they are told.
const FLAGS: [(&str, u32); 21] = [
    ("running_procs", flags::RUNNING_PROCS),
    ("running_ports", flags::RUNNING_PORTS),
    ("ports", flags::PORTS),
    ("scheduler_id", flags::SCHEDULER_ID),
    ("silent", flags::SILENT),
    ("return_to", flags::RETURN_TO),
    ("arity", flags::ARITY),
    ("garbage_collection", flags::GARBAGE_COLLECTION),
    ("exiting", flags::EXITING),
    ("running", flags::RUNNING),
    ("set_on_first_link", flags::SET_ON_FIRST_LINK),
    ("set_on_link", flags::SET_ON_LINK),
    ("set_on_first_spawn", flags::SET_ON_FIRST_SPAWN),
    ("procs", flags::PROCS),
    ("call", flags::CALL),
    ("set_on_spawn", flags::SET_ON_SPAWN),
    ("receive", flags::RECEIVE),
    ("send", flags::SEND),
    ("monotonic_timestamp", flags::MONOTONIC_TIMESTAMP),
    ("strict_monotonic_timestamp", flags::STRICT_MONOTONIC_TIMESTAMP),
    ("timestamp", flags::TIMESTAMP),
];

fn all_flags() -> u32 {
    FLAGS.into_iter().fold(0, |all, (_, flag)| all | flag)
}

/// The flag of that name; all of them for `all`.
pub(crate) fn flag_of(name: Term) -> Option<u32> {
    let name = name.as_atom()?;
    if name == am::ALL {
        return Some(all_flags());
    }
    FLAGS.into_iter().find(|&(known, _)| known == name.name()).map(|(_, flag)| flag)
}

/// The flags of a list, and the tracer if one is named.
pub(crate) fn parse(list: Term) -> Result<(u32, Option<Term>), BifExit> {
    let bad = || BifExit::Caused(atom!("badopt"));
    let (mut wanted, mut tracer) = (0, None);
    for option in list_of(list).map_err(|_| bad())? {
        if let Some((key, value)) = pair_of(option) {
            let is_tracer = key == Term::atom(atom!("tracer"))
                && (value.as_pid().is_some() || value.as_port().is_some());
            tracer = Some(value).filter(|_| is_tracer);
            tracer.ok_or_else(bad)?;
            continue;
        }
        wanted |= flag_of(option).ok_or_else(bad)?;
    }
    Ok((wanted, tracer))
}

/// Whether a process or port can be a tracer: it is there.
pub(crate) fn is_tracer(vm: &'static Vm, tracer: Term) -> bool {
    match tracer.as_pid() {
        Some(pid) => vm.processes.get(pid).is_some(),
        None => vm.ports().is_some_and(|ports| ports.is_open(vm, tracer)),
    }
}

/// Sets or clears flags. `false` when somebody else traces the process or port.
fn change(vm: &'static Vm, trace: &mut Trace, on: bool, wanted: Tracing) -> bool {
    let now = trace.of(wanted.session);
    if !on {
        if let Some(now) = now {
            trace.set(Tracing { flags: now.flags & !wanted.flags, ..now });
        }
        return true;
    }
    let other = now.filter(|now| now.tracer != wanted.tracer && is_tracer(vm, now.tracer));
    if other.is_some() {
        return false;
    }
    let before = now.map_or(0, |now| now.flags);
    trace.set(Tracing { flags: before | wanted.flags, ..wanted });
    true
}

/// Clears and sets flags as a match specification asks, with that tracer or without any. Whether
/// anything changed; `None` when there is no such process.
pub(crate) fn change_traced(
    p: &mut Process,
    whom: Term,
    session: u32,
    (off, on): (u32, u32),
    tracer: Option<Term>,
) -> Option<bool> {
    let set = move |process: &mut Process| {
        let before = process.trace.of(session);
        match tracer {
            None => process.trace.end(session),
            Some(tracer) => {
                let flags = before.map_or(0, |now| now.flags) & !off | on;
                process.trace.set(Tracing { session, flags, tracer });
            }
        }
        before != process.trace.of(session)
    };
    let whom = whom.as_atom().map_or(Some(whom), |name| p.vm.names.whereis(name))?;
    if whom == p.pid() {
        return Some(set(p));
    }
    let pid = whom.as_pid().filter(|&pid| p.vm.processes.get(pid).is_some())?;
    let changing = move |_: &'static Vm, process: Option<&mut Process>| {
        if let Some(process) = process {
            set(process);
        }
    };
    signal::send_look(p.vm, pid, Box::new(changing));
    Some(true)
}

/// `{M, F, A, {File, Line}}` of the caller of a function that is being traced.
pub(crate) fn caller_line(p: &mut Process) -> Term {
    let call = p.traced_caller().wrapping_sub(size_of::<swarmrt_beam::instr::Instr>());
    let Some(located) = p.vm.code.located(call) else { return Term::atom(am::UNDEFINED) };
    let source = match located.source {
        Some((file, line)) => {
            let file = p.string(&file);
            p.tuple(&[file, Term::small(i64::from(line))])
        }
        None => Term::atom(am::UNDEFINED),
    };
    let mfa = located.mfa;
    p.tuple(&[
        Term::atom(mfa.module),
        Term::atom(mfa.function),
        Term::small(i64::from(mfa.arity)),
        source,
    ])
}

#[bif("erts_internal:trace/3")]
fn trace(p: &mut Process, whom: Term, how: Term, list: Term) -> BifResult {
    let (wanted, named) = parse(list)?;
    let on = how.as_bool().ok_or(BifExit::BADARG)?;
    let tracer = named.unwrap_or(p.pid());
    trace_for(p, whom, on, Tracing { session: LEGACY, flags: wanted, tracer })
}

/// As `trace/3`, in a session.
pub(crate) fn trace_in_session(
    p: &mut Process,
    whom: Term,
    how: Term,
    list: Term,
    session: u32,
    tracer: Option<Term>,
) -> BifResult {
    let on = how.as_bool().ok_or(BifExit::BADARG)?;
    let (flags, named) = parse(list)?;
    // The tracer of a session that has one is that of all.
    if tracer.is_some() && named.is_some() {
        return Err(BifExit::BADARG);
    }
    let tracer = tracer.or(named).unwrap_or(p.pid());
    trace_for(p, whom, on, Tracing { session, flags, tracer })
}

fn trace_for(p: &mut Process, whom: Term, on: bool, wanted: Tracing) -> BifResult {
    if on && !is_tracer(p.vm, wanted.tracer) {
        return Err(BifExit::BADARG);
    }
    let vm = p.vm;
    if let Some(pid) = whom.as_pid() {
        return trace_one(p, pid, on, wanted);
    }
    if whom.as_port().is_some() {
        let is_open = vm.ports().is_some_and(|ports| ports.is_open(vm, whom));
        let changed =
            is_open && vm.port_traces.change(Some(whom), |trace| change(vm, trace, on, wanted));
        return if changed { Ok(Term::small(1)) } else { Err(BifExit::BADARG) };
    }
    let whom = whom.as_atom().ok_or(BifExit::BADARG)?;
    let (existing, new, kinds) = match whom.name() {
        "all" => (true, true, [true, true]),
        "existing" => (true, false, [true, true]),
        "new" => (false, true, [true, true]),
        "processes" => (true, true, [true, false]),
        "existing_processes" => (true, false, [true, false]),
        "new_processes" => (false, true, [true, false]),
        "ports" => (true, true, [false, true]),
        "existing_ports" => (true, false, [false, true]),
        "new_ports" => (false, true, [false, true]),
        _ => return Err(BifExit::BADARG),
    };
    let [processes, ports] = kinds;
    let asks = |mask: u32| wanted.flags & mask != 0;
    let (of_processes, of_ports) = (asks(!PORT_FLAGS | MODIFIERS), asks(PORT_FLAGS));
    if new && processes && of_processes {
        vm.trace_new.change(|trace| change_new(trace, on, wanted));
    }
    if new && ports && of_ports {
        vm.port_traces.change(None, |trace| change_new(trace, on, wanted));
    }
    let mut count = 0;
    if existing && processes && of_processes {
        for pid in vm.processes.ids() {
            if pid == p.id() {
                count += i64::from(change(vm, &mut p.trace, on, wanted));
            } else if Term::pid(pid) != wanted.tracer || !on {
                let changing = move |_: &'static Vm, process: Option<&mut Process>| {
                    if let Some(process) = process {
                        change(vm, &mut process.trace, on, wanted);
                    }
                };
                count += i64::from(signal::send_look(vm, pid, Box::new(changing)));
            }
        }
    }
    if existing && ports && of_ports {
        let open = vm.ports().map_or(Vec::new(), |ports| ports.all(vm));
        for port in open {
            let changed = vm.port_traces.change(Some(port), |trace| change(vm, trace, on, wanted));
            count += i64::from(changed);
        }
    }
    Ok(Term::small(count))
}

/// Sets or clears flags of what comes later.
fn change_new(trace: &mut Trace, on: bool, wanted: Tracing) {
    let now = trace.of(wanted.session).map_or(0, |now| now.flags);
    let flags = if on { now | wanted.flags } else { now & !wanted.flags };
    trace.set(Tracing { flags, ..wanted });
}

fn trace_one(p: &mut Process, pid: u64, on: bool, wanted: Tracing) -> BifResult {
    let changed = if pid == p.id() {
        Term::bool(change(p.vm, &mut p.trace, on, wanted))
    } else {
        let changing = move |process: &mut Process, _: &mut FragmentHeap| {
            Term::bool(change(process.vm, &mut process.trace, on, wanted))
        };
        ask_as(p, pid, signal::send_look, changing, Term::bool(false))?
    };
    if changed == Term::bool(true) { Ok(Term::small(1)) } else { Err(BifExit::BADARG) }
}

/// Trace messages are sent when things happen, so those of what has happened are on their way
/// already.
#[bif("erlang:trace_delivered/1")]
fn trace_delivered(p: &mut Process, tracee: Term) -> BifResult {
    if tracee.as_pid().is_none() && tracee != Term::atom(am::ALL) {
        return Err(BifExit::BADARG);
    }
    let reference = p.make_ref();
    let message = p.tuple(&[Term::atom(atom!("trace_delivered")), tracee, reference]);
    signal::send_message(p.vm, Term::NONE, p.id(), message);
    Ok(reference)
}

// ---- Calls ----

/// A match specification of `trace_pattern`.
struct CallProgram(Program);

impl MatchProgram for CallProgram {
    fn run(&self, p: &mut Process, args: &[Term], session: u32) -> Decision {
        let args = p.list(args);
        self.0.decide(p, args, session)
    }
    fn source(&self) -> Term {
        self.0.source()
    }
}

/// Notes the options of `trace_pattern` in `wanted`; `None` for wrong ones.
fn pattern_options(p: &Process, list: Term, wanted: &mut TracePattern) -> Option<()> {
    let mut global = false;
    for option in list_of(list).ok()? {
        if let Some((key, tracer)) = pair_of(option) {
            let is_meta = key == Term::atom(atom!("meta"))
                && (tracer.as_pid().is_some() || tracer.as_port().is_some());
            wanted.meta = Some(tracer).filter(|_| is_meta);
            wanted.meta?;
            continue;
        }
        match option.as_atom()?.name() {
            "local" => wanted.local = true,
            "meta" => wanted.meta = Some(wanted.meta.unwrap_or(p.pid())),
            "global" => {
                global = true;
                continue;
            }
            "call_count" => wanted.count = true,
            "call_time" => wanted.time = true,
            "call_memory" if p.vm.release() >= Release::R26 => wanted.memory = true,
            _ => return None,
        }
    }
    (!global || wanted.is_global()).then_some(())
}

/// The functions that `{M, F, A}` names, where `_` at the end stands for all.
fn targets_of(functions: Term) -> Option<Targets> {
    let parts = functions.as_tuple().filter(|parts| parts.arity() == 3)?;
    let any = Term::atom(am::UNDERSCORE);
    let named = parts.elements().iter().take_while(|&&part| part != any).count();
    if parts.elements()[named..].iter().any(|&part| part != any) {
        return None;
    }
    let atom = |at: usize| parts.get(at).as_atom();
    let arity = match parts.get(2) {
        arity if arity == any => None,
        arity => Some(arity.as_small()?),
    };
    Some(Targets {
        module: atom(0).map(Some)?.filter(|_| named > 0),
        function: atom(1).map(Some)?.filter(|_| named > 1),
        // One that no function has matches none.
        arity: arity.map(|arity| u32::try_from(arity).unwrap_or(u32::MAX)),
    })
}

/// `send` or `'receive'`.
fn message_event(name: Term) -> Option<MessageEvent> {
    match name.as_atom()?.name() {
        "send" => Some(MessageEvent::Send),
        "receive" => Some(MessageEvent::Receive),
        _ => None,
    }
}

#[bif("erts_internal:trace_pattern/3")]
fn trace_pattern(p: &mut Process, functions: Term, pattern: Term, options: Term) -> BifResult {
    set_trace_pattern(p, LEGACY, None, functions, pattern, options)
}

/// `trace_pattern/3` in a session, whose tracer is that of meta tracing there.
pub(crate) fn set_trace_pattern(
    p: &mut Process,
    session: u32,
    tracer: Option<Term>,
    functions: Term,
    pattern: Term,
    options: Term,
) -> BifResult {
    if p.bif_state.is_some() {
        return wait_for_schedulers(p, Term::NIL);
    }
    let mut compiled: Option<Arc<dyn MatchProgram>> = None;
    let switch = if let Some(on) = pattern.as_bool() {
        if on { Switch::On } else { Switch::Off }
    } else if pattern.is_nil() {
        Switch::On
    } else if pattern == Term::atom(atom!("restart")) {
        Switch::Restart
    } else if pattern == Term::atom(atom!("pause")) {
        Switch::Pause
    } else {
        let program = matchspec::compile(p.vm, pattern, Dialect::Trace);
        let program = program.map_err(|_| BifExit::Caused(atom!("match_spec")))?;
        compiled = Some(Arc::new(CallProgram(program)));
        Switch::On
    };
    let mut wanted = TracePattern {
        session,
        switch,
        pattern: compiled,
        local: false,
        meta: None,
        count: false,
        time: false,
        memory: false,
    };
    pattern_options(p, options, &mut wanted).ok_or(BifExit::Caused(atom!("badopt")))?;
    if let Some(tracer) = tracer {
        wanted.meta = wanted.meta.map(|_| tracer);
    }
    let measures = wanted.count || wanted.time || wanted.memory;
    if wanted.pattern.is_some() && !wanted.local && wanted.meta.is_none() && measures {
        return Err(BifExit::Caused(atom!("call_count")));
    }
    let _permission = p.change_code()?;
    if functions == Term::atom(atom!("on_load")) {
        let mut defaults = p.vm.breakpoints.on_load.lock();
        set_default(&mut defaults, wanted);
        return Ok(Term::small(0));
    }
    if let Some(event) = message_event(functions) {
        if !options.is_nil() || matches!(wanted.switch, Switch::Restart | Switch::Pause) {
            return Err(BifExit::BADARG);
        }
        let on = wanted.switch == Switch::On;
        let all = on && wanted.pattern.is_none();
        let pattern = (!all).then_some((on, wanted.pattern));
        p.vm.breakpoints.set_messages(event, session, pattern);
        return Ok(Term::small(1));
    }
    let targets = targets_of(functions).ok_or(BifExit::BADARG)?;
    let matched = p.vm.set_trace_pattern(targets, &wanted);
    // Who runs machine code at the moment gets to know at the end of its turn.
    wait_for_schedulers(p, Term::small(matched as i64))
}

/// Changes what is asked for modules that are loaded.
fn set_default(defaults: &mut Vec<TracePattern>, wanted: TracePattern) {
    let session = wanted.session;
    let before = defaults.iter().position(|known| known.session == session);
    let before = before.map(|at| defaults.remove(at));
    let merged = match (before, wanted.switch) {
        (Some(before), Switch::Off) if wanted.is_global() != before.is_global() => before,
        (Some(mut before), Switch::Off) if !before.is_global() => {
            before.local &= !wanted.local;
            before.meta = before.meta.filter(|_| wanted.meta.is_none());
            before.count &= !wanted.count;
            before.time &= !wanted.time;
            before.memory &= !wanted.memory;
            if before.is_global() {
                return;
            }
            before
        }
        (_, Switch::Off) => return,
        (Some(before), _) if !before.is_global() && !wanted.is_global() => TracePattern {
            local: before.local || wanted.local,
            meta: wanted.meta.or(before.meta),
            count: before.count || wanted.count,
            time: before.time || wanted.time,
            memory: before.memory || wanted.memory,
            ..wanted
        },
        _ => wanted,
    };
    defaults.push(merged);
}

// ---- Questions ----

fn flags_list(heap: &mut impl Alloc, set: u32) -> Term {
    let names: Vec<Term> = FLAGS
        .iter()
        .filter(|(_, flag)| set & flag != 0)
        .map(|(name, _)| Term::atom(Atom::new(name)))
        .collect();
    heap.list(&names)
}

/// `trace_info` of a process: its flags, or its tracer.
fn info_of(
    heap: &mut impl Alloc,
    vm: &'static Vm,
    item: Term,
    trace: &Trace,
    session: u32,
) -> Option<Term> {
    let now = trace.of(session).filter(|now| is_tracer(vm, now.tracer));
    let value = match item.as_atom().map(Atom::name) {
        Some("flags") => flags_list(heap, now.map_or(0, |now| now.flags)),
        Some("tracer") => now.map_or(Term::NIL, |now| now.tracer),
        _ => return None,
    };
    Some(heap.tuple(&[item, value]))
}

#[bif("erlang:trace_info/2")]
fn trace_info(p: &mut Process, whom: Term, item: Term) -> BifResult {
    trace_info_in(p, LEGACY, whom, item)
}

/// `trace_info/2` in a session.
pub(crate) fn trace_info_in(p: &mut Process, session: u32, whom: Term, item: Term) -> BifResult {
    if let Some(pid) = whom.as_pid() {
        if !matches!(item.as_atom().map(Atom::name), Some("flags" | "tracer")) {
            return Err(BifExit::BADARG);
        }
        let vm = p.vm;
        if pid == p.id() {
            let trace = p.trace.clone();
            return info_of(p, vm, item, &trace, session).ok_or(BifExit::BADARG);
        }
        let question = move |process: &mut Process, heap: &mut FragmentHeap| {
            let trace = process.trace.clone();
            info_of(heap, vm, item, &trace, session).unwrap_or(Term::NIL)
        };
        return ask_as(p, pid, signal::send_look, question, Term::atom(am::UNDEFINED));
    }
    if whom == Term::atom(am::NEW) || whom == Term::atom(atom!("new_processes")) {
        let (vm, trace) = (p.vm, p.vm.trace_new.get());
        return info_of(p, vm, item, &trace, session).ok_or(BifExit::BADARG);
    }
    if whom == Term::atom(atom!("new_ports")) {
        let (vm, trace) = (p.vm, p.vm.port_traces.new_ports());
        return info_of(p, vm, item, &trace, session).ok_or(BifExit::BADARG);
    }
    if whom.as_port().is_some() {
        let vm = p.vm;
        if !vm.ports().is_some_and(|ports| ports.is_open(vm, whom)) {
            return Ok(Term::atom(am::UNDEFINED));
        }
        let trace = vm.port_traces.of(whom);
        return info_of(p, vm, item, &trace, session).ok_or(BifExit::BADARG);
    }
    if whom == Term::atom(atom!("on_load")) {
        return default_info(p, session, item);
    }
    if let Some(event) = message_event(whom) {
        if item != Term::atom(atom!("match_spec")) {
            return Err(BifExit::BADARG);
        }
        let value = match p.vm.breakpoints.of_messages(event, session) {
            None | Some((true, None)) => Term::bool(true),
            Some((false, _)) => Term::bool(false),
            Some((true, Some(program))) => swarmrt_heap::copy_whole(program.source(), p),
        };
        return Ok(p.tuple(&[item, value]));
    }
    function_info(p, session, whom, item)
}

/// What is known of how a function is traced.
#[derive(Default)]
struct Known {
    traced: Option<Atom>,
    /// The specification of calls: `[]` where there is none.
    pattern: Option<Term>,
    meta: Option<(Term, Term)>,
    count: Option<u64>,
    /// Processes, and what was measured of them.
    time: Option<Vec<(u64, Measured)>>,
    memory: Option<Vec<(u64, Measured)>>,
}

impl Known {
    fn of(p: &mut Process, breakpoints: &[Arc<Breakpoint>], session: u32) -> Known {
        let mut known = Known::default();
        for breakpoint in breakpoints {
            let Some(point) = breakpoint.of(session) else { continue };
            known.add(p, breakpoint.is_global(), point);
        }
        known
    }
    fn add(&mut self, p: &mut Process, is_global: bool, point: &Point) {
        let source = |p: &mut Process, program: &Option<Arc<dyn MatchProgram>>| {
            program
                .as_ref()
                .map_or(Term::NIL, |program| swarmrt_heap::copy_whole(program.source(), p))
        };
        if let Some(pattern) = &point.call {
            self.traced = Some(if is_global { atom!("global") } else { atom!("local") });
            self.pattern = Some(source(p, pattern));
        }
        if let Some((pattern, tracer)) = &point.meta {
            self.meta = Some((*tracer, source(p, pattern)));
        }
        self.count =
            point.count.as_ref().map(|count| count.calls.load(Ordering::Relaxed)).or(self.count);
        let rows = |measure: &Arc<Measure>| {
            let all = measure.by_process.lock();
            all.iter().map(|(&pid, &of)| (pid, of)).collect()
        };
        self.time = point.time.as_ref().map(rows).or(self.time.take());
        self.memory = point.memory.as_ref().map(rows).or(self.memory.take());
    }

    fn item(&self, p: &mut Process, item: &str) -> Option<Term> {
        let none = Term::bool(false);
        Some(match item {
            "traced" => self.traced.map_or(none, Term::atom),
            "match_spec" => self.pattern.unwrap_or(none),
            "meta" => match self.meta {
                Some((tracer, _)) => tracer,
                None if p.vm.release() >= Release::R29 => none,
                None => Term::NIL,
            },
            "meta_match_spec" => self.meta.map_or(none, |(_, pattern)| pattern),
            "call_count" => match self.count {
                Some(count) => p.uint(count),
                None => none,
            },
            "call_time" => self.time.as_ref().map_or(none, |rows| {
                measured(p, rows, |us| vec![us / 1_000_000, us % 1_000_000], 1000)
            }),
            "call_memory" if p.vm.release() >= Release::R26 => {
                self.memory.as_ref().map_or(none, |rows| measured(p, rows, |words| vec![words], 1))
            }
            "all" => {
                let items = [
                    "traced",
                    "match_spec",
                    "meta",
                    "meta_match_spec",
                    "call_memory",
                    "call_time",
                    "call_count",
                ];
                let pairs: Vec<Term> = items
                    .into_iter()
                    .filter_map(|name| {
                        let mut value = self.item(p, name)?;
                        // Here, and not by itself, no tracer is `false`.
                        if name == "meta" && value.is_nil() {
                            value = none;
                        }
                        Some(p.tuple(&[Term::atom(Atom::new(name)), value]))
                    })
                    .collect();
                p.list(&pairs)
            }
            _ => return None,
        })
    }
    fn is_traced(&self) -> bool {
        self.traced.is_some()
            || self.meta.is_some()
            || self.count.is_some()
            || self.time.is_some()
            || self.memory.is_some()
    }
}

/// `{Pid, Calls, …}` for each process, where what follows is made of its cost in larger units.
fn measured(
    p: &mut Process,
    rows: &[(u64, Measured)],
    parts: impl Fn(u64) -> Vec<u64>,
    unit: u64,
) -> Term {
    let rows: Vec<Term> = rows
        .iter()
        .map(|&(pid, of)| {
            let mut row = vec![Term::pid(pid), Term::small(of.calls as i64)];
            row.extend(parts(of.cost / unit).into_iter().map(|part| Term::small(part as i64)));
            p.tuple(&row)
        })
        .collect();
    p.list(&rows)
}

/// The function that `{M, F, A}` names.
pub(crate) fn traced_mfa(whom: Term) -> Option<Mfa> {
    let parts = whom.as_tuple().filter(|tuple| tuple.arity() == 3)?;
    let arity = u32::try_from(parts.get(2).as_small()?).ok()?;
    Some(Mfa { module: parts.get(0).as_atom()?, function: parts.get(1).as_atom()?, arity })
}

/// What is traced of a function.
fn function_info(p: &mut Process, session: u32, whom: Term, item: Term) -> BifResult {
    let mfa = traced_mfa(whom).ok_or(BifExit::BADARG)?;
    let name = item.as_atom().ok_or(BifExit::BADARG)?;
    let found: Vec<_> =
        p.vm.export_breakpoint_of(mfa).into_iter().chain(p.vm.breakpoint_of(mfa)).collect();
    let known = Known::of(p, &found, session);
    let said = known.item(p, name.name());
    if said.is_none() && p.vm.release() >= Release::R29 {
        return Err(BifExit::BADARG);
    }
    let value = if known.is_traced() {
        said.ok_or(BifExit::BADARG)?
    } else {
        let exists = p.vm.bifs.number(mfa).is_some()
            || p.vm
                .code
                .current(mfa.module)
                .is_some_and(|code| code.function_number(mfa.function, mfa.arity).is_some());
        if exists { Term::bool(false) } else { Term::atom(am::UNDEFINED) }
    };
    Ok(p.tuple(&[item, value]))
}

/// What is asked for modules that are loaded.
fn default_info(p: &mut Process, session: u32, item: Term) -> BifResult {
    let name = item.as_atom().ok_or(BifExit::BADARG)?;
    let found = {
        let defaults = p.vm.breakpoints.on_load.lock();
        defaults.iter().find(|known| known.session == session).cloned()
    };
    let mut known = Known::default();
    if let Some(wanted) = found {
        let point = Point {
            session,
            call: (wanted.local || wanted.is_global()).then(|| wanted.pattern.clone()),
            meta: wanted.meta.map(|tracer| (wanted.pattern.clone(), tracer)),
            ..Point::default()
        };
        known.add(p, wanted.is_global(), &point);
        let on = Term::bool(true);
        let flag = match name.name() {
            "call_count" if wanted.count => Some(on),
            "call_time" if wanted.time => Some(on),
            "call_memory" if wanted.memory => Some(on),
            _ => None,
        };
        if let Some(on) = flag {
            return Ok(p.tuple(&[item, on]));
        }
    }
    let value = known.item(p, name.name()).ok_or(BifExit::BADARG)?;
    let is_said = known.is_traced() && !(name.name() == "meta" && known.meta.is_none());
    let value = if is_said { value } else { Term::bool(false) };
    Ok(p.tuple(&[item, value]))
}
