//! Which drivers are loaded, by whom, and what is to become of them: the rules of `erl_ddll`.
//!
//! A driver is referenced by each time that a process has loaded it, by its ports, and by work that
//! is under way. When the last reference has gone it is unloaded, and loaded again if that was
//! asked for. That is put off to where nothing of the driver is running.

pub use super::known::{Awaited, Refused, When};
use super::known::{Entry, Known, Role, Status, notify};
use super::loaded::{Loaded, Problem};
use super::port;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use swarmrt_io::port::Ports;
use swarmrt_machine::process::links::RefValue;
use swarmrt_machine::process::{OnExit, Watcher};
use swarmrt_machine::{Process, Vm};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, atom};

#[derive(Default)]
struct Registry {
    /// The newest last.
    drivers: Vec<Known>,
    /// Processes whose end is noticed.
    watched: HashSet<u64>,
}

/// Held while a library's own `driver_init`, `init` and `finish` run: they are loaded one at a
/// time.
static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(Mutex::default);

/// What `try_load` and `try_unload` answer: the status, and the reference of the monitor.
pub type Done = (&'static str, Option<RefValue>);

/// The options of `try_load`.
pub struct LoadOptions {
    pub kill_ports: bool,
    pub monitors: bool,
    pub reload: Option<When>,
}

/// Keeps a driver open.
pub struct Reference(Arc<Loaded>);

impl Reference {
    /// The driver that is kept open.
    pub fn loaded(&self) -> &Arc<Loaded> {
        &self.0
    }
    /// One more, as long as this one is there.
    pub fn another(&self) -> Reference {
        if let Some(known) = REGISTRY.lock().of(&self.0) {
            known.references += 1;
        }
        Reference(self.0.clone())
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        if let Some(known) = REGISTRY.lock().of(&self.0) {
            known.drop_reference();
        }
    }
}

/// A reference for a new port.
pub fn reference(loaded: &Arc<Loaded>) -> Option<Reference> {
    let mut registry = REGISTRY.lock();
    let known = registry.of(loaded).filter(|known| !known.is_forced())?;
    known.references += 1;
    Some(Reference(loaded.clone()))
}

impl Registry {
    fn of(&mut self, loaded: &Arc<Loaded>) -> Option<&mut Known> {
        self.drivers.iter_mut().find(|known| Arc::ptr_eq(&known.loaded, loaded))
    }
    fn named(&mut self, name: &str) -> Option<&mut Known> {
        self.drivers.iter_mut().find(|known| known.loaded.name == name)
    }
    /// Has the end of a process noticed.
    fn watch(&mut self, p: &mut Process) {
        let pid = p.id();
        if self.watched.insert(pid) {
            let call = Box::new(move |vm: &'static Vm| process_ended(vm, pid));
            let id = p.vm.next_ref().id;
            p.extra().on_exit.insert(id, OnExit { watcher: Watcher::Hidden, call });
        }
    }
}

/// Kills the ports of a driver, which stays open meanwhile.
fn kill_ports(vm: &'static Vm, hold: Reference) {
    port::of_driver(hold.loaded()).iter().for_each(|port| port.kill(vm));
}

/// `erl_ddll:try_load/3`: the status, and the reference of a monitor where one was asked for.
///
/// # Errors
/// The names of errors of that function, or what the dynamic linker says.
pub fn try_load(
    p: &mut Process,
    path: &str,
    name: &str,
    options: &LoadOptions,
) -> Result<Done, Refused> {
    if !crate::env::claim(p.vm) {
        return Err(Refused::Named("no_ddll_available"));
    }
    if Ports::of(p.vm).driver_names(p.vm.release()).contains(&name) {
        return Err(Refused::Named("linked_in_driver"));
    }
    let mut registry = REGISTRY.lock();
    let Some(known) = registry.named(name) else {
        if options.reload.is_some() {
            return Err(Refused::Named("not_loaded"));
        }
        load_first(p, &mut registry, path, name, options.kill_ports)?;
        return Ok(("loaded", None));
    };
    let is_same = |known: &Known| known.path == path && known.kill_ports == options.kill_ports;
    let pid = p.id();
    let (status, monitors) = match (&known.status, options.reload) {
        (Status::Permanent, _) => return Err(Refused::Named("permanent")),
        (Status::Loaded, Some(when)) => {
            known.begin_reloading(pid, path, options.kill_ports, when)?;
            let status = match when {
                When::PendingDriver => "pending_driver",
                When::Pending => "pending_process",
            };
            (status, options.monitors)
        }
        (Status::Loaded | Status::Unloading { .. }, None) => {
            if !is_same(known) {
                return Err(Refused::Named("inconsistent"));
            }
            if known.status != Status::Loaded {
                if known.is_forced() {
                    Ports::of(p.vm).set_linked_in(name, Some(known.loaded.clone()));
                }
                known.status = Status::Loaded;
                known.unload_cancelled(p.vm);
            }
            known.add_user(pid, true);
            ("already_loaded", false)
        }
        (Status::Unloading { .. }, Some(_)) => {
            return Err(Refused::Named("not_loaded_by_this_process"));
        }
        (Status::Reloading { .. }, Some(_)) => return Err(Refused::Named("pending_reload")),
        (Status::Reloading { path: new, kill_ports, .. }, None) => {
            if new != path || *kill_ports != options.kill_ports {
                return Err(Refused::Named("inconsistent"));
            }
            // As OTP, which gives a reference even where none was asked for.
            known.add_user(pid, false);
            ("pending_driver", true)
        }
    };
    let kills = options.reload.is_some() && known.kill_ports;
    Ok((status, finish_request(p, registry, name, kills, monitors.then_some(Awaited::Load))))
}

/// Kills the driver's ports where that is due, and adds a monitor.
fn finish_request(
    p: &mut Process,
    mut registry: parking_lot::MutexGuard<'_, Registry>,
    name: &str,
    kills: bool,
    awaited: Option<Awaited>,
) -> Option<RefValue> {
    registry.watch(p);
    let known = registry.named(name)?;
    // The driver stays until the monitor is there.
    known.references += 1;
    let hold = Reference(known.loaded.clone());
    if kills {
        known.force(p.vm);
        known.references += 1;
        let hold = Reference(known.loaded.clone());
        drop(registry);
        kill_ports(p.vm, hold);
        registry = REGISTRY.lock();
    }
    let reference =
        awaited.and_then(|awaited| Some(registry.of(&hold.0)?.add_monitor(p.vm, p.id(), awaited)));
    drop(registry);
    drop(hold);
    reference
}

fn load_first(
    p: &mut Process,
    registry: &mut Registry,
    path: &str,
    name: &str,
    kill_ports: bool,
) -> Result<(), Refused> {
    let loaded = Loaded::open(path, name).map_err(|problem| match problem {
        Problem::Named(name) => Refused::Named(name),
        Problem::Linker(text) => Refused::Linker(text),
    })?;
    let mut known = Known {
        loaded: loaded.clone(),
        path: path.to_owned(),
        kill_ports,
        status: Status::Loaded,
        references: 0,
        entries: Vec::new(),
    };
    known.add_user(p.id(), true);
    registry.drivers.push(known);
    registry.watch(p);
    taint(p.vm, name);
    Ports::of(p.vm).set_linked_in(name, Some(loaded));
    Ok(())
}

fn taint(vm: &'static Vm, name: &str) {
    let mut taints = vm.code.taints.lock();
    if !taints.contains(&Atom::new(name)) {
        taints.insert(0, Atom::new(name));
    }
}

/// `erl_ddll:try_unload/2`; `kills` is the option `kill_ports`.
///
/// # Errors
/// The names of errors of that function.
pub fn try_unload(
    p: &mut Process,
    name: &str,
    kills: bool,
    monitor: Option<When>,
) -> Result<Done, Refused> {
    let mut registry = REGISTRY.lock();
    let Some(known) = registry.named(name) else {
        let is_linked_in = Ports::of(p.vm).driver_names(p.vm.release()).contains(&name);
        return Err(Refused::Named(if is_linked_in { "linked_in_driver" } else { "not_loaded" }));
    };
    if known.status == Status::Permanent {
        return Err(Refused::Named("permanent"));
    }
    // One that nobody uses any more may be unloaded by anybody.
    if known.users() > 0 && !known.remove_user(p.id()) {
        return Err(Refused::Named("not_loaded_by_this_process"));
    }
    let kills = kills || known.kill_ports;
    if known.users() > 0 {
        let awaited = (monitor == Some(When::Pending)).then_some(Awaited::Unload);
        return Ok(("pending_process", finish_request(p, registry, name, false, awaited)));
    }
    known.begin_unloading(p.vm);
    let kills = kills && known.loaded.ports.load(Ordering::Acquire) > 0;
    let awaited = monitor.map(|_| Awaited::Unload);
    Ok(("pending_driver", finish_request(p, registry, name, kills, awaited)))
}

/// A process that has loaded or monitored drivers has ended.
fn process_ended(vm: &'static Vm, pid: u64) {
    let mut registry = REGISTRY.lock();
    registry.watched.remove(&pid);
    let mut killed = Vec::new();
    for known in registry.drivers.iter_mut().filter(|known| known.status != Status::Permanent) {
        // Before its references go: the last one has the driver looked at again.
        let uses = |entry: &&Entry| entry.pid != pid && matches!(entry.role, Role::User { .. });
        let is_unused = !known.entries.iter().any(|entry| uses(&entry));
        if is_unused {
            known.begin_unloading(vm);
        }
        while known.remove_user(pid) {}
        known.entries.retain(|entry| entry.pid != pid);
        if is_unused && known.kill_ports && known.loaded.ports.load(Ordering::Acquire) > 0 {
            known.force(vm);
            known.references += 1;
            killed.push(Reference(known.loaded.clone()));
        }
    }
    drop(registry);
    killed.into_iter().for_each(|hold| kill_ports(vm, hold));
}

/// Unloads the drivers without references, and loads those again that are to be.
pub fn settle(_: u64) {
    let vm = crate::env::vm();
    let mut registry = REGISTRY.lock();
    let is_over = |known: &Known| {
        known.references == 0 && !matches!(known.status, Status::Loaded | Status::Permanent)
    };
    while let Some(at) = registry.drivers.iter().position(is_over) {
        let mut known = registry.drivers.remove(at);
        Ports::of(vm).set_linked_in(&known.loaded.name, None);
        known.loaded.close();
        let tag = Term::atom(atom!("unloaded"));
        known.notify(vm, &[Awaited::Unload, Awaited::UnloadOnly], atom!("DOWN"), &|_| tag);
        if let Status::Reloading { path, kill_ports, .. } = known.status.clone() {
            reload(vm, &mut registry, known, path, kill_ports);
        }
    }
}

fn reload(
    vm: &'static Vm,
    registry: &mut Registry,
    mut known: Known,
    path: String,
    kill_ports: bool,
) {
    let opened = Loaded::open(&path, &known.loaded.name);
    let loaded = match opened {
        Ok(loaded) => loaded,
        Err(problem) => {
            let why = |heap: &mut FragmentHeap| {
                let why = match &problem {
                    Problem::Named(name) => Term::atom(Atom::new(name)),
                    Problem::Linker(text) => super::errors::numbered(heap, text),
                };
                heap.tuple(&[Term::atom(atom!("load_failure")), why])
            };
            return known.notify(vm, &[Awaited::Load], atom!("DOWN"), &why);
        }
    };
    known.loaded = loaded.clone();
    (known.path, known.kill_ports, known.status) = (path, kill_ports, Status::Loaded);
    let mut users = 0;
    for entry in &mut known.entries {
        if let Role::User { is_counted } = &mut entry.role {
            *is_counted = true;
            users += 1;
        }
    }
    known.references = users;
    Ports::of(vm).set_linked_in(&known.loaded.name, Some(loaded));
    let tag = Term::atom(atom!("loaded"));
    known.notify(vm, &[Awaited::Load], atom!("UP"), &|_| tag);
    registry.drivers.push(known);
}

/// Keeps a driver for the rest of the run.
pub fn make_permanent(loaded: &Arc<Loaded>) {
    let vm = crate::env::vm();
    let mut registry = REGISTRY.lock();
    let Some(known) = registry.of(loaded) else { return };
    let all = [Awaited::Load, Awaited::Unload, Awaited::UnloadOnly];
    let tag = Term::atom(atom!("permanent"));
    for awaited in all {
        known.notify(vm, &[awaited], atom!("UP"), &|_| tag);
    }
    known.entries.clear();
    known.references += 1;
    known.status = Status::Permanent;
}

/// Monitors a driver, or says at once what is known already. `given` is the name in that case.
pub fn monitor(p: &mut Process, name: &str, given: Term, awaited: Awaited) -> RefValue {
    let mut registry = REGISTRY.lock();
    let known = registry.named(name);
    let answer = match known.as_ref().map(|known| &known.status) {
        None if Ports::of(p.vm).driver_names(p.vm.release()).contains(&name) => {
            Some(("UP", "permanent"))
        }
        None => Some(("DOWN", "unloaded")),
        Some(Status::Permanent) => Some(("UP", "permanent")),
        Some(Status::Loaded) if awaited == Awaited::Load => Some(("UP", "loaded")),
        Some(Status::Unloading { .. }) if awaited == Awaited::Load => {
            Some(("DOWN", "load_cancelled"))
        }
        Some(_) => None,
    };
    if let (None, Some(known)) = (answer, known) {
        let reference = known.add_monitor(p.vm, p.id(), awaited);
        registry.watch(p);
        return reference;
    }
    drop(registry);
    let reference = p.vm.next_ref();
    let (kind, tag) = answer.unwrap_or(("DOWN", "unloaded"));
    let tag = Term::atom(Atom::new(tag));
    notify(p.vm, p.id(), Atom::new(kind), reference, given, &|_| tag);
    reference
}

/// `erl_ddll:demonitor/1`, for the process that has made the monitor.
pub fn demonitor(pid: u64, reference: RefValue) {
    for known in &mut REGISTRY.lock().drivers {
        known.entries.retain(|entry| {
            entry.pid != pid
                || !matches!(entry.role, Role::Awaits(_, known) if known.id == reference.id)
        });
    }
}

/// The names of all that were loaded, the oldest first.
pub fn names() -> Vec<String> {
    REGISTRY.lock().drivers.iter().map(|known| known.loaded.name.clone()).collect()
}

/// What `erl_ddll:info/2` says of a driver that was loaded.
pub struct Info {
    pub is_permanent: bool,
    pub kill_ports: bool,
    pub ports: usize,
    /// Processes and how often each, the oldest first.
    pub users: Vec<(u64, usize)>,
    pub awaiting_load: Vec<(u64, usize)>,
    pub awaiting_unload: Vec<(u64, usize)>,
}

/// `None` for a driver that was not loaded, be it one of ours.
pub fn info(name: &str) -> Option<Info> {
    let mut registry = REGISTRY.lock();
    let known = registry.named(name)?;
    let count = |is_meant: &dyn Fn(Role) -> bool| {
        // In the order of each process's newest entry.
        let mut counts: Vec<(u64, usize)> = Vec::new();
        for entry in known.entries.iter().rev().filter(|entry| is_meant(entry.role)) {
            match counts.iter_mut().find(|(pid, _)| *pid == entry.pid) {
                Some((_, count)) => *count += 1,
                None => counts.push((entry.pid, 1)),
            }
        }
        counts.reverse();
        counts
    };
    let awaits = |is_load: bool| move |role| matches!(role, Role::Awaits(what, _) if (what == Awaited::Load) == is_load);
    Some(Info {
        is_permanent: known.status == Status::Permanent,
        kill_ports: known.kill_ports,
        ports: known.loaded.ports.load(Ordering::Acquire),
        users: count(&|role| matches!(role, Role::User { .. })),
        awaiting_load: count(&awaits(true)),
        awaiting_unload: count(&awaits(false)),
    })
}
