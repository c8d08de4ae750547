//! A driver under its name: who uses it, who waits for it, and what is to become of it.

use super::loaded::Loaded;
use std::sync::Arc;
use swarmrt_io::port::Ports;
use swarmrt_machine::process::links::RefValue;
use swarmrt_machine::schedule::deferred;
use swarmrt_machine::{Vm, pin, signal};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, atom};

/// What is to become of a driver. `forced`: its ports are killed, and no new ones are opened.
#[derive(Clone, PartialEq, Eq)]
pub enum Status {
    Loaded,
    Unloading {
        forced: bool,
    },
    /// To be loaded again from this path, with this option.
    Reloading {
        forced: bool,
        path: String,
        kill_ports: bool,
    },
    Permanent,
}

/// What a process that monitors a driver waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    Load,
    Unload,
    /// Goes on when unloading is cancelled.
    UnloadOnly,
}

/// What a process has to do with a driver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has loaded it. The reference is not counted while the driver is being loaded again.
    User {
        is_counted: bool,
    },
    Awaits(Awaited, RefValue),
}

/// One thing that a process has to do with a driver; it may have several.
pub struct Entry {
    pub pid: u64,
    pub role: Role,
}

/// A driver under its name.
pub struct Known {
    pub loaded: Arc<Loaded>,
    pub path: String,
    /// Its ports are killed when nobody uses it any more.
    pub kill_ports: bool,
    pub status: Status,
    pub references: usize,
    /// The newest last.
    pub entries: Vec<Entry>,
}

/// What stands in the way of loading or unloading.
pub enum Refused {
    Named(&'static str),
    Linker(String),
}

/// `pending_driver` is refused, or not waited for, while other processes use the driver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    PendingDriver,
    Pending,
}

impl Known {
    /// Whether the driver's ports are killed, and no new ones are opened.
    pub fn is_forced(&self) -> bool {
        matches!(
            self.status,
            Status::Unloading { forced: true } | Status::Reloading { forced: true, .. }
        )
    }
    /// One reference less. After the last the driver is settled later, when no lock is held.
    pub fn drop_reference(&mut self) {
        self.references -= 1;
        if self.references == 0 {
            deferred::defer(super::registry::settle, 0);
        }
    }
    /// How often the driver is loaded, by all processes together.
    pub fn users(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.role, Role::User { .. })).count()
    }
    /// The process has loaded the driver once more; for `is_counted` see [`Role::User`].
    pub fn add_user(&mut self, pid: u64, is_counted: bool) {
        self.entries.push(Entry { pid, role: Role::User { is_counted } });
        self.references += usize::from(is_counted);
    }
    /// Takes back the last time that the process has loaded the driver; `false` when it has not.
    pub fn remove_user(&mut self, pid: u64) -> bool {
        let is_use = |entry: &Entry| entry.pid == pid && matches!(entry.role, Role::User { .. });
        let Some(at) = self.entries.iter().rposition(is_use) else { return false };
        if self.entries.remove(at).role == (Role::User { is_counted: true }) {
            self.drop_reference();
        }
        true
    }
    /// The process waits for this from now on. Returns the monitor's reference.
    pub fn add_monitor(&mut self, vm: &'static Vm, pid: u64, awaited: Awaited) -> RefValue {
        let reference = vm.next_ref();
        self.entries.push(Entry { pid, role: Role::Awaits(awaited, reference) });
        reference
    }
    /// Tells those who wait for one of these, who wait no longer. The newest is told first.
    pub fn notify(&mut self, vm: &'static Vm, awaited: &[Awaited], kind: Atom, build: Tag<'_>) {
        let name = Term::atom(Atom::new(&self.loaded.name));
        let is_told = |role: Role| matches!(role, Role::Awaits(what, _) if awaited.contains(&what));
        let told: Vec<Entry> = self.entries.extract_if(.., |entry| is_told(entry.role)).collect();
        for entry in told.iter().rev() {
            if let Role::Awaits(_, reference) = entry.role {
                notify(vm, entry.pid, kind, reference, name, build);
            }
        }
    }
    /// Tells those who wait for the unloading that the driver was loaded once more.
    pub fn unload_cancelled(&mut self, vm: &'static Vm) {
        let tag = Term::atom(atom!("unload_cancelled"));
        self.notify(vm, &[Awaited::Unload], atom!("UP"), &|_| tag);
    }
    /// Tells those who wait for the reloading that it will not take place.
    pub fn load_cancelled(&mut self, vm: &'static Vm) {
        let tag = Term::atom(atom!("load_cancelled"));
        self.notify(vm, &[Awaited::Load], atom!("DOWN"), &|_| tag);
    }
    /// Nobody uses it any more.
    pub fn begin_unloading(&mut self, vm: &'static Vm) {
        if matches!(self.status, Status::Reloading { .. }) {
            self.load_cancelled(vm);
        }
        self.status = Status::Unloading { forced: false };
    }
    /// Opens no ports of the driver from now on. Nothing happens to a driver that is neither
    /// unloaded nor reloaded.
    pub fn force(&mut self, vm: &'static Vm) {
        if let Status::Unloading { forced } | Status::Reloading { forced, .. } = &mut self.status {
            *forced = true;
            Ports::of(vm).set_linked_in(&self.loaded.name, None);
        }
    }
}

/// What a notification ends with.
pub type Tag<'a> = &'a dyn Fn(&mut FragmentHeap) -> Term;

/// Sends `{Kind, Reference, driver, Name, Tag}`.
pub fn notify(
    vm: &'static Vm,
    pid: u64,
    kind: Atom,
    reference: RefValue,
    name: Term,
    tag: Tag<'_>,
) {
    let _guard = pin();
    let mut heap = FragmentHeap::new();
    let (reference, tag) = (reference.to_term(&mut heap), tag(&mut heap));
    let words = [Term::atom(kind), reference, Term::atom(atom!("driver")), name, tag];
    let message = heap.tuple(&words);
    signal::send_message(vm, Term::atom(atom!("system")), pid, message);
}

impl Known {
    /// The driver is to be loaded again from `path`, once all references are gone.
    ///
    /// # Errors
    /// `pending_process`, `inconsistent` or `not_loaded_by_this_process`, as `erl_ddll:try_load/3`
    /// has them.
    pub fn begin_reloading(
        &mut self,
        pid: u64,
        path: &str,
        kill_ports: bool,
        when: When,
    ) -> Result<(), Refused> {
        let is_mine = self
            .entries
            .iter()
            .any(|entry| entry.pid == pid && matches!(entry.role, Role::User { .. }));
        if when == When::PendingDriver && !(is_mine && self.users() == 1) {
            return Err(Refused::Named("pending_process"));
        }
        if self.kill_ports != kill_ports {
            return Err(Refused::Named("inconsistent"));
        }
        if !is_mine {
            return Err(Refused::Named("not_loaded_by_this_process"));
        }
        self.status = Status::Reloading { forced: false, path: path.to_owned(), kill_ports };
        self.remove_user(pid);
        // The others' uses are of the driver that is to come.
        let mut counted = 0;
        for entry in &mut self.entries {
            if entry.role == (Role::User { is_counted: true }) {
                entry.role = Role::User { is_counted: false };
                counted += 1;
            }
        }
        (0..counted).for_each(|_| self.drop_reference());
        self.add_user(pid, false);
        Ok(())
    }
}
