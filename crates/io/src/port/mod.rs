//! Ports: the table of them, and what processes can do to one. What stands behind a port is its
//! [`Driver`].

mod builtins;
mod busy;
pub mod driver;
pub mod poller;
use swarmrt_term::atom::NumberHasher;
pub use swarmrt_term::binary::iodata;
use swarmrt_term::binary::{IoPart, io_parts};
mod descriptors;
pub mod input;
mod options;
mod program;
mod ram_file;
mod start;
mod tty;

use driver::{Driver, DriverFactory, LinkedIn, Request, Written};
pub use options::Options;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use swarmrt_machine::process::few::Few;
use swarmrt_machine::process::links::RefValue;
use swarmrt_machine::signal::address::Delivery;
use swarmrt_machine::signal::remote::{Busy, SharedChannel};
use swarmrt_machine::vm::ports::PortHost;
use swarmrt_machine::{Process, Vm, signal};
use swarmrt_term::node::port_number_bits;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Release, Term, am, atom};

/// An open port.
pub struct Port {
    pub term: Term,
    /// As `port_info(Port, name)` gives it.
    pub name: Box<str>,
    pub options: Options,
    pub os_pid: Option<u32>,
    state: Mutex<State>,
    driver: Arc<dyn Driver>,
}

// With its two counts. The allocator's next size is 320.
const _: () = assert!(size_of::<Port>() + 16 <= 256);

struct State {
    owner: u64,
    links: Few<()>,
    /// Who monitors: number of the reference → pid.
    monitors: Few<u64>,
    registered: Option<Atom>,
    open: bool,
    input_bytes: u64,
    output_bytes: u64,
    data: Option<FragmentHeapTerm>,
    /// The connection to another node that the port feeds.
    channel: Option<SharedChannel>,
    /// The owner has asked for the end of the port, and is told when it has come.
    tells_closed: bool,
    /// Processes that are suspended until the driver is not busy any more.
    suspended: Vec<u64>,
}

/// A term kept outside any process.
pub struct FragmentHeapTerm {
    term: Term,
    /// `None` where the term is a word.
    _heap: Option<Box<FragmentHeap>>,
}

impl FragmentHeapTerm {
    fn of(term: Term) -> FragmentHeapTerm {
        if term.is_immediate() {
            return FragmentHeapTerm { term, _heap: None };
        }
        let mut heap = Box::new(FragmentHeap::new());
        let term = swarmrt_heap::copy_whole(term, &mut *heap);
        FragmentHeapTerm { term, _heap: Some(heap) }
    }
}

type PortsByNumber = HashMap<u64, Arc<Port>, BuildHasherDefault<NumberHasher>>;

/// Parts of the table of ports: ports of one part are rarely used by two schedulers at once.
const PARTS: usize = 64;

/// Open ports by their numbers. Every command looks here, so that a lock of the whole table would go
/// from one processor's cache to the other's with each.
struct Table {
    parts: [Part; PARTS],
    /// How many there are: each new one asks.
    count: AtomicUsize,
}

#[derive(Default)]
#[repr(align(64))]
struct Part(RwLock<PortsByNumber>);

impl Default for Table {
    fn default() -> Table {
        Table { parts: std::array::from_fn(|_| Part::default()), count: AtomicUsize::new(0) }
    }
}

impl Table {
    fn part(&self, id: u64) -> &RwLock<PortsByNumber> {
        &self.parts[id as usize % PARTS].0
    }
    fn get(&self, id: u64) -> Option<Arc<Port>> {
        self.part(id).read().get(&id).cloned()
    }
    fn has(&self, id: u64) -> bool {
        self.part(id).read().contains_key(&id)
    }
    fn insert(&self, id: u64, port: Arc<Port>) {
        if self.part(id).write().insert(id, port).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn remove(&self, id: u64) {
        if self.part(id).write().remove(&id).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
    /// All ports, in the order of their numbers.
    fn all(&self) -> Vec<Arc<Port>> {
        let mut ports: Vec<Arc<Port>> = self
            .parts
            .iter()
            .flat_map(|part| part.0.read().values().cloned().collect::<Vec<_>>())
            .collect();
        ports.sort_unstable_by_key(|port| port.term.as_port());
        ports
    }
}

/// The ports of a machine.
#[derive(Default)]
pub struct Ports {
    drivers: RwLock<BTreeMap<&'static str, DriverFactory>>,
    linked_in: RwLock<BTreeMap<String, Arc<dyn LinkedIn>>>,
    table: Table,
    next: AtomicU64,
    writing: (Mutex<usize>, Condvar),
}

impl Ports {
    /// The machine's, made on the first call.
    pub fn of(vm: &'static Vm) -> &'static Ports {
        vm.extension::<Ports>()
    }
    /// The port, if it is open.
    pub fn get(&self, port: Term) -> Option<Arc<Port>> {
        self.table.get(port.as_port()?)
    }
    /// Open ports.
    pub fn count(&self) -> usize {
        self.table.count()
    }
    /// All open ports, in the order in which they were opened.
    pub fn all(&self) -> Vec<Term> {
        self.table.all().iter().map(|port| port.term).collect()
    }
    /// Makes a driver known under its name, for `open_port({spawn_driver, Name}, _)`.
    pub fn add_driver(&self, name: &'static str, factory: DriverFactory) {
        self.drivers.write().insert(name, factory);
    }
    /// Makes a driver known that was loaded, or takes it back.
    pub fn set_linked_in(&self, name: &str, driver: Option<Arc<dyn LinkedIn>>) {
        let mut drivers = self.linked_in.write();
        match driver {
            Some(driver) => drivers.insert(name.to_owned(), driver),
            None => drivers.remove(name),
        };
    }
    fn linked_in(&self, name: &str) -> Option<Arc<dyn LinkedIn>> {
        self.linked_in.read().get(name).cloned()
    }
    /// The names of the machine's own drivers that are drivers in OTP, too, and no programs.
    pub fn driver_names(&self, release: Release) -> Vec<&'static str> {
        let is_driver = |name: &&str| *name != "inet_gethost";
        let drivers = self.drivers.read().keys().copied().filter(is_driver).collect::<Vec<_>>();
        let terminal = (release < Release::R26).then_some("tty_sl");
        drivers.into_iter().chain(["ram_file_drv"]).chain(terminal).collect()
    }
    fn driver(&self, name: &str) -> Option<DriverFactory> {
        self.drivers.read().get(name).copied()
    }

    /// A new open port with this driver, owned by and linked to a process.
    pub fn open(
        &self,
        vm: &'static Vm,
        owner: u64,
        name: String,
        options: Options,
        os_pid: Option<u32>,
        driver: Arc<dyn Driver>,
    ) -> Arc<Port> {
        let id = self.next_id();
        let mut links = Few::default();
        links.insert(owner, ());
        let state = State {
            owner,
            links,
            monitors: Few::default(),
            registered: None,
            open: true,
            input_bytes: 0,
            output_bytes: 0,
            data: None,
            channel: None,
            tells_closed: false,
            suspended: Vec::new(),
        };
        let port = Arc::new(Port {
            term: Term::port(id),
            name: name.into_boxed_str(),
            options,
            os_pid,
            state: Mutex::new(state),
            driver,
        });
        self.table.insert(id, port.clone());
        vm.trace_port_opened(port.term, owner, &port.name);
        port
    }
    /// A number that no open port has. After the highest they begin anew.
    fn next_id(&self) -> u64 {
        loop {
            let id = Self::number_after(self.next.fetch_add(1, Ordering::Relaxed));
            if !self.table.has(id) {
                return id;
            }
        }
    }
    fn number_after(number: u64) -> u64 {
        number.wrapping_add(1) & ((1 << port_number_bits()) - 1)
    }
    fn next_number(&self, from: Option<u64>) -> u64 {
        if let Some(from) = from {
            self.next.store(from.wrapping_sub(1), Ordering::Relaxed);
        }
        let mut free = Self::number_after(self.next.load(Ordering::Relaxed));
        while self.table.has(free) {
            free = Self::number_after(free);
        }
        free
    }

    /// Notes that bytes wait to be written (or have been): the end of the run waits for them.
    pub fn note_writing(&self, more: bool) {
        let mut writing = self.writing.0.lock();
        if more {
            *writing += 1;
        } else {
            *writing -= 1;
            if *writing == 0 {
                self.writing.1.notify_all();
            }
        }
    }
}

fn error_name(problem: &std::io::Error) -> Term {
    Term::atom(Atom::new(crate::posix::name(problem.raw_os_error().unwrap_or(libc::EIO))))
}

impl Port {
    /// The pid of the owner, as a number.
    pub fn owner(&self) -> u64 {
        self.state.lock().owner
    }

    /// Sends `{Port, Message}` to the owner.
    fn tell_owner(&self, vm: &'static Vm, build: impl FnOnce(&mut FragmentHeap) -> Term) {
        let _guard = swarmrt_machine::pin();
        let mut heap = FragmentHeap::new();
        let inner = build(&mut heap);
        let message = heap.tuple(&[self.term, inner]);
        let owner = self.owner();
        vm.trace_port_sends(self.term, owner, message);
        signal::send_message(vm, self.term, owner, message);
    }

    /// Sends `{Port, Message}` for each message to the owner, all of them before it is woken.
    fn tell_owner_together(
        &self,
        vm: &'static Vm,
        build: impl FnOnce(&mut FragmentHeap) -> Vec<Term>,
    ) {
        let _guard = swarmrt_machine::pin();
        let mut heap = FragmentHeap::new();
        let inner = build(&mut heap);
        let messages: Vec<Term> =
            inner.into_iter().map(|inner| heap.tuple(&[self.term, inner])).collect();
        let owner = self.owner();
        messages.iter().for_each(|&message| vm.trace_port_sends(self.term, owner, message));
        signal::send_together(vm, self.term, owner, &messages);
    }

    /// Sends the owner `{Port, {data, Data}}`. `eol` says of lines whether this is the end of one;
    /// it is `None` for other framings.
    pub fn data_arrived(&self, vm: &'static Vm, bytes: &[u8], eol: Option<bool>) {
        self.note_input(vm, bytes.len());
        self.tell_owner(vm, |heap| self.data_message(heap, bytes, eol));
    }

    /// `{data, Data}`; `eol` says of lines whether it is the end of one.
    fn data_message(&self, heap: &mut FragmentHeap, bytes: &[u8], eol: Option<bool>) -> Term {
        let data =
            if self.options.binary { heap.binary(bytes) } else { heap.byte_list(bytes, Term::NIL) };
        let data = match eol {
            Some(true) => heap.tuple(&[Term::atom(atom!("eol")), data]),
            Some(false) => heap.tuple(&[Term::atom(atom!("noeol")), data]),
            None => data,
        };
        heap.tuple(&[Term::atom(am::DATA), data])
    }

    /// Hands over what a process writes.
    pub fn write(self: &Arc<Self>, vm: &'static Vm, from: u64, parts: &mut [IoPart]) -> Written {
        self.driver.output_parts(&Request { vm, port: self, from }, parts)
    }

    fn ready(self: &Arc<Self>, vm: &'static Vm, ready: driver::Ready) {
        let _turn = vm.port_turn(self.term, None);
        self.driver.ready(vm, self, ready);
    }

    /// Counts bytes that have come in.
    pub fn note_input(&self, vm: &'static Vm, bytes: usize) {
        self.state.lock().input_bytes += bytes as u64;
        vm.statistics.bytes_in.add(bytes);
    }

    /// Counts bytes on their way out.
    pub fn note_output(&self, vm: &'static Vm, bytes: usize) {
        self.state.lock().output_bytes += bytes as u64;
        vm.statistics.bytes_out.add(bytes);
    }

    /// Ends the port: everybody linked or monitoring is told.
    pub fn close(&self, vm: &'static Vm, reason: Term) {
        self.end(vm, reason, true);
    }

    /// Ends the port when its driver has nothing more to do: its owner's link goes without a
    /// signal.
    pub fn retire(&self, vm: &'static Vm) {
        self.retire_with(vm, Term::atom(am::NORMAL));
    }

    /// As [`Port::retire`], with the reason for everybody else.
    pub fn retire_with(&self, vm: &'static Vm, reason: Term) {
        self.end(vm, reason, false);
    }

    /// The driver of a closed port has written everything.
    pub fn finished(&self, vm: &'static Vm) {
        if std::mem::take(&mut self.state.lock().tells_closed) {
            self.tell_owner(vm, |_| Term::atom(am::CLOSED));
        }
    }

    fn end(&self, vm: &'static Vm, reason: Term, tells_links: bool) {
        let _guard = swarmrt_machine::pin();
        let (links, monitors, registered, channel) = {
            let mut state = self.state.lock();
            if !std::mem::replace(&mut state.open, false) {
                return;
            }
            let (links, monitors) =
                (std::mem::take(&mut state.links), std::mem::take(&mut state.monitors));
            (links, monitors, state.registered.take(), state.channel.take())
        };
        if let Some(id) = self.term.as_port() {
            Ports::of(vm).table.remove(id);
        }
        if let Some(name) = registered {
            vm.names.unregister(name);
        }
        vm.trace_port_closed(self.term, reason);
        let late: Vec<bool> =
            monitors.iter().map(|(reference, _)| self.driver.comes_too_late(reference)).collect();
        self.driver.close(vm, self);
        if let Some(channel) = channel {
            channel.closed(vm, reason);
        }
        let owner = self.owner();
        for pid in links.keys() {
            if tells_links || pid != owner {
                signal::send_link_exit(vm, self.term, pid, reason);
            } else {
                signal::send_unlink(vm, self.term, pid);
            }
        }
        for ((reference, &pid), is_late) in monitors.iter().zip(late) {
            let reason = if is_late { Term::atom(am::NOPROC) } else { reason };
            signal::send_down(vm, self.term, pid, reference, reason);
        }
        self.wake_writers(vm);
        if !self.driver.lingers() {
            self.finished(vm);
        }
    }
}

/// A command as tracers see it: what is to be written is a binary.
fn shown_command(heap: &mut FragmentHeap, command: Term) -> Term {
    let data = command
        .as_tuple()
        .filter(|pair| pair.arity() == 2 && pair.get(0) == Term::atom(am::COMMAND))
        .and_then(|pair| iodata(pair.get(1)));
    match data {
        Some(bytes) => {
            let data = heap.binary(&bytes);
            heap.tuple(&[Term::atom(am::COMMAND), data])
        }
        None => command,
    }
}

/// The ports of a machine, as processes reach them.
pub struct Host;

impl PortHost for Host {
    fn send(&self, vm: &'static Vm, from: Term, port: Term, message: Term) {
        let Some(port) = Ports::of(vm).get(port) else { return };
        // {Owner, Command}; anything else is a badsig.
        let pair = message.as_tuple().filter(|pair| pair.arity() == 2);
        let asked = pair.map(|pair| pair.get(1));
        let name = asked.and_then(|asked| {
            asked.as_atom().or_else(|| asked.as_tuple()?.elements().first()?.as_atom())
        });
        let what = match name {
            Some(am::CLOSE) => "close",
            Some(am::CONNECT) => "connect",
            _ => "command",
        };
        let _turn = vm.port_turn(port.term, Some(what));
        let is_owner = pair.is_some_and(|pair| pair.get(0).as_pid() == Some(port.owner()));
        let bad = |vm: &'static Vm| {
            if let Some(pid) = from.as_pid() {
                signal::send_exit(vm, port.term, pid, Term::atom(atom!("badsig")));
            }
        };
        let Some(command) = asked.filter(|_| is_owner) else { return bad(vm) };
        vm.trace_port_receives(port.term, port.owner(), |heap| shown_command(heap, command));
        if command == Term::atom(am::CLOSE) {
            port.state.lock().tells_closed = true;
            port.close(vm, Term::atom(am::NORMAL));
            return;
        }
        let Some(pair) = command.as_tuple().filter(|pair| pair.arity() == 2) else {
            return bad(vm);
        };
        match pair.get(0).as_atom() {
            Some(am::COMMAND) => {
                let from = from.as_pid().unwrap_or_else(|| port.owner());
                if !io_parts(pair.get(1))
                    .is_some_and(|mut parts| port.write(vm, from, &mut parts) == Written::Done)
                {
                    bad(vm);
                }
            }
            Some(am::CONNECT) => match pair.get(1).as_pid() {
                Some(new) => {
                    port.tell_owner(vm, |_| Term::atom(am::CONNECTED));
                    port.state.lock().owner = new;
                }
                None => bad(vm),
            },
            _ => bad(vm),
        }
    }

    fn send_by(&self, p: &mut Process, port: Term, message: Term, busy: Busy) -> Delivery {
        let waits = |port: &Arc<Port>| busy != Busy::Ignore && port.holds_back(message);
        if let Some(port) = Ports::of(p.vm).get(port).filter(waits) {
            if busy == Busy::Refuse {
                return Delivery::WouldSuspend;
            }
            port.suspend(p);
            return Delivery::Suspended;
        }
        p.trace_in_port(atom!("out"));
        self.send(p.vm, p.pid(), port, message);
        p.trace_in_port(atom!("in"));
        Delivery::Done
    }

    fn all(&self, vm: &'static Vm) -> Vec<Term> {
        Ports::of(vm).all()
    }

    fn is_open(&self, vm: &'static Vm, port: Term) -> bool {
        Ports::of(vm).get(port).is_some_and(|port| port.state.lock().open)
    }

    fn command(&self, vm: &'static Vm, port: Term, bytes: &[u8]) -> bool {
        let Some(port) = Ports::of(vm).get(port) else { return false };
        let mut heap = FragmentHeap::new();
        let data = heap.binary(bytes);
        if let Some(mut parts) = io_parts(data) {
            // What the driver does not take is lost, as a message to a process that is not there.
            let _ = port.write(vm, port.owner(), &mut parts);
        }
        true
    }

    fn next_number(&self, vm: &'static Vm, from: Option<u64>) -> u64 {
        Ports::of(vm).next_number(from)
    }

    fn link(&self, vm: &'static Vm, pid: u64, port: Term) -> bool {
        let Some(port) = Ports::of(vm).get(port) else { return false };
        let (is_open, is_new) = {
            let mut state = port.state.lock();
            let is_open = state.open;
            (is_open, is_open && state.links.insert(pid, ()).is_none())
        };
        if is_new {
            vm.trace_port_event(port.term, "getting_linked", &[Term::pid(pid)]);
        }
        is_open
    }

    fn unlink(&self, vm: &'static Vm, pid: u64, port: Term) {
        if let Some(port) = Ports::of(vm).get(port)
            && port.state.lock().links.remove(pid).is_some()
        {
            vm.trace_port_event(port.term, "getting_unlinked", &[Term::pid(pid)]);
        }
    }

    fn exit(&self, vm: &'static Vm, from: Term, port: Term, reason: Term, linked: bool) {
        let Some(port) = Ports::of(vm).get(port) else { return };
        if linked {
            let was =
                from.as_pid().is_some_and(|pid| port.state.lock().links.remove(pid).is_some());
            let owner = from.as_pid() == Some(port.owner());
            // The end of a linked process ends the port; a normal end only when it was the owner's.
            if was && (reason != Term::atom(am::NORMAL) || owner) {
                port.close(vm, reason);
            }
            return;
        }
        if reason != Term::atom(am::NORMAL) || from.as_pid() == Some(port.owner()) {
            let is_kill = reason == Term::atom(am::KILL);
            if is_kill {
                port.driver.drop_queue();
            }
            port.close(vm, if is_kill { Term::atom(am::KILLED) } else { reason });
        }
    }

    fn monitor(&self, vm: &'static Vm, pid: u64, port: Term, reference: RefValue) -> bool {
        let Some(port) = Ports::of(vm).get(port) else { return false };
        port.driver.note_monitor(reference.id);
        let mut state = port.state.lock();
        if state.open {
            state.monitors.insert(reference.id, pid);
        }
        state.open
    }

    fn demonitor(&self, vm: &'static Vm, port: Term, reference: u64) {
        if let Some(port) = Ports::of(vm).get(port) {
            port.state.lock().monitors.remove(reference);
        }
    }

    fn attach(&self, vm: &'static Vm, port: Term, channel: SharedChannel) -> bool {
        let Some(port) = Ports::of(vm).get(port) else { return false };
        {
            let mut state = port.state.lock();
            if !state.open || state.channel.is_some() {
                return false;
            }
            state.channel = Some(channel.clone());
        }
        let attached = port.driver.attach(vm, &port, channel);
        if !attached {
            port.state.lock().channel = None;
        }
        attached
    }

    fn channel_filled(&self, vm: &'static Vm, port: Term) {
        if let Some(port) = Ports::of(vm).get(port) {
            port.driver.channel_filled(vm, &port);
        }
    }

    fn close(&self, vm: &'static Vm, port: Term, reason: Term) {
        if let Some(port) = Ports::of(vm).get(port) {
            port.close(vm, reason);
        }
    }

    fn count(&self, vm: &'static Vm) -> usize {
        Ports::of(vm).count()
    }

    fn describe(&self, vm: &'static Vm, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let shown = |term: Term| swarmrt_term::print::display(term).to_string();
        for port in Ports::of(vm).table.all() {
            // The driver takes the port's lock within its own.
            let queued = port.driver.queued_bytes();
            let state = port.state.lock();
            let open = if state.open { "CONNECTED" } else { "CLOSING" };
            writeln!(out, "=port:{}\nState: {open}", shown(port.term))?;
            writeln!(out, "Slot: {}", port.term.as_port().unwrap_or_default())?;
            writeln!(out, "Connected: {}", shown(Term::pid(state.owner)))?;
            if let Some(name) = state.registered {
                writeln!(out, "Registered as: {}", shown(Term::atom(name)))?;
            }
            let links: Vec<String> = state.links.keys().map(|pid| shown(Term::pid(pid))).collect();
            if !links.is_empty() {
                writeln!(out, "Links: {}", links.join(", "))?;
            }
            writeln!(out, "Port controls linked-in driver: {}", port.name)?;
            writeln!(out, "Input: {}\nOutput: {}", state.input_bytes, state.output_bytes)?;
            writeln!(out, "Queue: {queued}")?;
        }
        Ok(())
    }

    fn close_all(&self, vm: &'static Vm) {
        let ports = Ports::of(vm);
        for port in ports.all().into_iter().filter_map(|port| ports.get(port)) {
            port.close(vm, Term::atom(am::NORMAL));
        }
    }

    fn flush(&self, vm: &'static Vm, patience: Option<Duration>) {
        const LOOK_AGAIN: Duration = Duration::from_millis(1);
        let ports = Ports::of(vm);
        let (mut before, mut since) = ((0, 0), Instant::now());
        loop {
            let open = ports.all().into_iter().filter_map(|port| ports.get(port));
            let queued = open.map(|port| port.driver.queued_bytes()).sum();
            let mut writing = ports.writing.0.lock();
            let left: (usize, usize) = (*writing, queued);
            if left != before {
                (before, since) = (left, Instant::now());
            }
            if left == (0, 0) || patience.is_some_and(|patience| since.elapsed() > patience) {
                return;
            }
            // Notified of the last of `writing`; what is queued is asked for again.
            ports.writing.1.wait_for(&mut writing, LOOK_AGAIN);
        }
    }

    fn set_name(&self, vm: &'static Vm, port: Term, name: Option<Atom>) -> bool {
        let Some(port) = Ports::of(vm).get(port) else { return false };
        let mut state = port.state.lock();
        if name.is_some() && (state.registered.is_some() || !state.open) {
            return false;
        }
        let before = std::mem::replace(&mut state.registered, name);
        drop(state);
        if let Some(name) = name {
            vm.trace_port_event(port.term, "register", &[Term::atom(name)]);
        } else if let Some(before) = before {
            vm.trace_port_event(port.term, "unregister", &[Term::atom(before)]);
        }
        true
    }
}
