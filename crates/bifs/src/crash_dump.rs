//! What the break menu shows of a machine, and crash dumps: OTP's `erl_crash.dump`, which
//! `crashdump_viewer` reads. Terms stand in a dump in the external format, one entry for each root.

use crate::{backtrace, ets, process_info, system_info, system_text};
use base64::Engine as _;
use std::ffi::CStr;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use swarmrt_machine::process::links::Watched;
use swarmrt_machine::signal::remote::{KnownNode, RemotePid};
use swarmrt_machine::vm::inspect::{DUMP_HEAD, DUMP_MODE, Inspect, dump_file};
use swarmrt_machine::{Process, Vm, pin, signal};
use swarmrt_term::etf::{self, EncodeOptions};
use swarmrt_term::word::Kind;
use swarmrt_term::{Atom, FragmentHeap, NodeInfo, Term, print};

/// How long all processes together have to tell of themselves. One that is in a native function
/// for longer is left with its pid.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of a term in the external format above which a dump says only that it is large.
const TERM_BYTES_MAX: usize = 1 << 20;

/// The machine as the break menu and crash dumps see it.
pub(crate) struct Inspector;

impl Inspect for Inspector {
    fn sizes(&self, vm: &'static Vm, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(system_text::sizes(vm).as_bytes())
    }
    fn processes(&self, vm: &'static Vm, out: &mut dyn Write) -> io::Result<()> {
        for (pid, section) in sections(vm, |process: &mut Process| {
            backtrace::dump(process, process_info::state(process))
        }) {
            write_section(pid, section, out)?;
        }
        write_ports(vm, out)
    }
    fn process(&self, vm: &'static Vm, pid: u64) -> Option<Vec<u8>> {
        let answer = ask(vm, pid, |process: &mut Process| {
            backtrace::dump(process, process_info::state(process))
        });
        answer.recv_timeout(ANSWERS_WITHIN).ok().flatten()
    }
    fn modules(&self, vm: &'static Vm, out: &mut dyn Write) -> io::Result<()> {
        let bytes = |name: Atom| vm.code.current(name).map_or(0, |module| module.range().len());
        let modules: Vec<(Atom, usize)> =
            vm.code.loaded().into_iter().map(|name| (name, bytes(name))).collect();
        let total: usize = modules.iter().map(|&(_, bytes)| bytes).sum();
        writeln!(out, "=loaded_modules\nCurrent code: {total}\nOld code: 0")?;
        for (name, bytes) in modules {
            writeln!(out, "=mod:{name}\nCurrent size: {bytes}")?;
        }
        Ok(())
    }
    fn tables(&self, vm: &'static Vm, objects: bool, out: &mut dyn Write) -> io::Result<()> {
        ets::write_tables(vm, objects, out)
    }
    fn nodes(&self, vm: &'static Vm, out: &mut dyn Write) -> io::Result<()> {
        let relations =
            if vm.is_alive() { sections(vm, relations_with_others) } else { Vec::new() };
        let relations: Vec<_> =
            relations.into_iter().filter_map(|(_, told)| told).flatten().collect();
        write_nodes(vm, &relations, out)
    }
    fn crash_dump(&self, vm: &'static Vm, slogan: &str) {
        let Some(path) = dump_file() else { return };
        // Standard error may be closed: nobody is left who could be told.
        let mut stderr = io::stderr();
        let _ = write!(stderr, "\nCrash dump is being written to: {}...", path.display());
        let _ = match write_dump(self, vm, &path, slogan) {
            Ok(()) => writeln!(stderr, "done"),
            Err(problem) => writeln!(stderr, "{problem}"),
        };
    }
}

/// Has `tell` done in the context of a process.
fn ask<T: Send + 'static>(
    vm: &'static Vm,
    pid: u64,
    tell: fn(&mut Process) -> T,
) -> Receiver<Option<T>> {
    let (sender, receiver) = channel();
    let _guard = pin();
    signal::send_call(
        vm,
        pid,
        Box::new(move |_, process| {
            // The asking thread may have stopped waiting.
            let _ = sender.send(process.map(tell));
        }),
    );
    receiver
}

/// What every process tells of itself; `None` for one that does not come to it in time.
fn sections<T: Send + 'static>(
    vm: &'static Vm,
    tell: fn(&mut Process) -> T,
) -> Vec<(u64, Option<T>)> {
    let until = Instant::now() + ANSWERS_WITHIN;
    let asked: Vec<(u64, Receiver<Option<T>>)> =
        vm.processes.ids().into_iter().map(|pid| (pid, ask(vm, pid, tell))).collect();
    let mut sections = Vec::new();
    for (pid, answer) in asked {
        match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Some(section)) => sections.push((pid, Some(section))),
            // It is gone.
            Ok(None) => {}
            Err(_) => sections.push((pid, None)),
        }
    }
    sections
}

fn write_section(pid: u64, section: Option<Vec<u8>>, out: &mut dyn Write) -> io::Result<()> {
    match section {
        Some(section) => out.write_all(&section),
        None => writeln!(out, "=proc:{}\nState: Running", print::display(Term::pid(pid))),
    }
}

/// What a process has to do with processes of other nodes: for each the node, and a line.
fn relations_with_others(process: &mut Process) -> Vec<(Atom, String)> {
    let own = print::display(process.pid()).to_string();
    let pid_text =
        |pid: RemotePid| print::display(pid.to_term(&mut FragmentHeap::new())).to_string();
    let mut lines = Vec::new();
    for (_, monitor) in process.relations.monitors.iter() {
        match monitor.watched {
            Watched::Remote { pid, .. } => {
                lines.push((pid.node, format!("Remote monitoring: {own} {}", pid_text(pid))));
            }
            Watched::RemoteName { name, node, .. } => {
                let (name_text, node_text) = (Term::atom(name), Term::atom(node));
                let watched =
                    format!("{{{}, {}}}", print::display(name_text), print::display(node_text));
                lines.push((node, format!("Remote monitoring: {own} {watched}")));
            }
            _ => {}
        }
    }
    if let Some(remote) = &process.relations.remote {
        for watcher in remote.monitored_by.values() {
            let text = format!("Remotely monitored by: {own} {}", pid_text(watcher.pid));
            lines.push((watcher.pid.node, text));
        }
        for (&pid, _) in remote.links.iter().filter(|(_, link)| link.unlinking.is_none()) {
            lines.push((pid.node, format!("Remote link: {own} {}", pid_text(pid))));
        }
    }
    lines
}

/// This node, and those that it knows, with lines about each.
pub(crate) fn write_nodes(
    vm: &'static Vm,
    relations: &[(Atom, String)],
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "=node:{}", print::display(Term::atom(NodeInfo::this().name)))?;
    if !vm.is_alive() {
        return writeln!(out, "=no_distribution");
    }
    let known = vm.remote().map(|remote| remote.known()).unwrap_or_default();
    let order = |node: &KnownNode| match node.controller {
        Some(_) if node.is_visible => (0, "visible_node"),
        Some(_) => (1, "hidden_node"),
        None => (2, "not_connected"),
    };
    let mut known: Vec<KnownNode> = known;
    known.sort_by_key(|node| (order(node).0, node.name.name()));
    for node in known {
        writeln!(out, "={}:{}", order(&node).1, node.name.index())?;
        writeln!(out, "Name: {}", print::display(Term::atom(node.name)))?;
        if let Some(controller) = node.controller {
            writeln!(out, "Controller: {}", print::display(controller))?;
            writeln!(out, "Creation: {}", node.creation)?;
        }
        for (_, line) in relations.iter().filter(|(name, _)| *name == node.name) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn write_ports(vm: &'static Vm, out: &mut dyn Write) -> io::Result<()> {
    vm.ports().map_or(Ok(()), |ports| ports.describe(vm, out))
}

/// A process in a crash dump: its section, and those that hold terms.
struct Dumped {
    section: Vec<u8>,
    terms: Vec<u8>,
}

/// The terms of a process that stand in its dump, and what stands for each.
struct Roots {
    heap: Vec<u8>,
    count: usize,
}

impl Roots {
    /// A reference to an entry of the heap with this term, or the term itself where it is short.
    fn add(&mut self, term: Term) -> String {
        if matches!(term.kind(), Kind::MatchContext(_) | Kind::Special(_)) {
            return "Sa word of the machine".to_owned();
        }
        if term.is_nil() {
            return "N".to_owned();
        }
        let Some(bytes) = etf::encode_within(term, &EncodeOptions::default(), TERM_BYTES_MAX)
        else {
            return "Sa large term".to_owned();
        };
        self.count += 1;
        let address = self.count * size_of::<u64>();
        let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
        // Writing to memory cannot fail.
        let _ = writeln!(self.heap, "{address:X}:E{:X}:{text}", bytes.len());
        format!("H{address:X}")
    }
}

fn dumped(process: &mut Process) -> Dumped {
    let state = process_info::state(process);
    let mut section = backtrace::dump_without_stack(process, state);
    let ip = process.ip as usize;
    // Writing to memory cannot fail.
    let _ = writeln!(section, "Program counter: 0x{ip:016x} ({})", backtrace::place(process, ip));
    let mut terms = Vec::new();
    // Writing to memory cannot fail.
    if !process_info::hides(process) {
        let _ = write_terms(process, &mut terms);
    }
    Dumped { section, terms }
}

fn write_terms(process: &Process, out: &mut Vec<u8>) -> io::Result<()> {
    let pid = print::display(process.pid()).to_string();
    let mut roots = Roots { heap: Vec::new(), count: 0 };
    if !process.mailbox.is_empty() {
        writeln!(out, "=proc_messages:{pid}")?;
        for message in process.mailbox.iter() {
            writeln!(out, "{}:N", roots.add(message))?;
        }
    }
    if !process.dictionary.is_empty() {
        writeln!(out, "=proc_dictionary:{pid}")?;
        for (key, value) in process.dictionary.iter() {
            let mut heap = swarmrt_term::FragmentHeap::new();
            let pair = [key, value].map(|term| swarmrt_heap::copy_whole(term, &mut heap));
            let pair = swarmrt_term::Alloc::tuple(&mut heap, &pair);
            writeln!(out, "{}", roots.add(pair))?;
        }
    }
    writeln!(out, "=proc_stack:{pid}")?;
    let mut number = 0;
    let mut lines = Vec::new();
    backtrace::each_slot(process, |slot| {
        let line = match slot {
            backtrace::Slot::Return { at, address } => {
                number = 0;
                format!(
                    "0x{at:016x}:SReturn addr 0x{address:X} ({})",
                    backtrace::place(process, address)
                )
            }
            backtrace::Slot::Catch(handler) => {
                number += 1;
                format!(
                    "y{}:SCatch 0x{handler:X} ({})",
                    number - 1,
                    backtrace::place(process, handler)
                )
            }
            backtrace::Slot::Value(term) => {
                number += 1;
                format!("y{}:{}", number - 1, roots.add(term))
            }
        };
        lines.push(line);
    });
    for line in lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "=proc_heap:{pid}")?;
    out.write_all(&roots.heap)
}

/// The size that a dump may have.
fn bytes_max() -> u64 {
    let limit = std::env::var("ERL_CRASH_DUMP_BYTES").ok();
    limit.and_then(|limit| limit.trim().parse().ok()).unwrap_or(u64::MAX)
}

/// Writes no more than so many bytes; what is beyond is left out without an error, as in OTP.
struct Limited<W> {
    inner: W,
    left: u64,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.inner.write_all(&bytes[..count])?;
        self.left -= count as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn write_dump(inspector: &Inspector, vm: &'static Vm, path: &Path, slogan: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(DUMP_MODE).open(path)?;
    let mut out = BufWriter::new(Limited { inner: file, left: bytes_max() });
    writeln!(out, "{DUMP_HEAD}{}\nSlogan: {slogan}", local_time())?;
    write!(out, "System version: {}", system_info::system_version(vm))?;
    writeln!(out, "Taints: \nAtoms: {}", Atom::count())?;
    inspector.sizes(vm, &mut out)?;
    let processes = sections(vm, dumped);
    let mut terms = Vec::new();
    for (pid, process) in processes {
        let section = process.map(|process| {
            terms.push(process.terms);
            process.section
        });
        write_section(pid, section, &mut out)?;
    }
    write_ports(vm, &mut out)?;
    inspector.tables(vm, false, &mut out)?;
    inspector.nodes(vm, &mut out)?;
    inspector.modules(vm, &mut out)?;
    for terms in terms {
        out.write_all(&terms)?;
    }
    writeln!(out, "=atoms")?;
    for atom in Atom::all() {
        writeln!(out, "{}", print::display(Term::atom(atom)))?;
    }
    writeln!(out, "=end")?;
    out.flush()
}

/// As `ctime` writes it, without the end of the line.
fn local_time() -> String {
    /// What `ctime_r` wants.
    const CTIME_BYTES: usize = 26;
    let mut buffer = [0; CTIME_BYTES];
    // SAFETY: `time` takes a null pointer.
    let now = unsafe { libc::time(std::ptr::null_mut()) };
    // SAFETY: the buffer has the room that `ctime_r` is documented to want.
    let text = unsafe { libc::ctime_r(&raw const now, buffer.as_mut_ptr()) };
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, hence the buffer with a string that ends in a zero byte.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim_end().to_owned()
}
