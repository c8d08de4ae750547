//! `erl_ddll`: loading and unloading drivers.
//!
//! A driver stays as long as a process uses it that has loaded it, and as long as it has ports.

use super::{DriverEntry, Loaded, MAJOR, MARKER, MINOR};
use crate::library::File;
use parking_lot::{Mutex, ReentrantMutex};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use swarmrt_io::port::Ports;
use swarmrt_io::port::iodata;
use swarmrt_machine::process::{OnExit, Watcher};
use swarmrt_machine::{BifResult, Process, Raise, Vm, bif};
use swarmrt_term::{Alloc, Atom, Term, am, atom};

/// Those that are loaded, by their names.
static LOADED: LazyLock<Mutex<HashMap<String, Arc<Loaded>>>> = LazyLock::new(Mutex::default);
/// What the dynamic linker has said, by the numbers that stand for it in errors.
static PROBLEMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Texts for the errors that have names.
const TEXTS: [(&str, &str); 8] = [
    ("inconsistent", "Driver name and/or driver path is inconsistent with currently loaded driver"),
    ("linked_in_driver", "Driver is statically linked and cannot be loaded or unloaded"),
    ("permanent", "DDLL driver is permanent an can not be unloaded/loaded"),
    ("not_loaded", "DDLL driver is not loaded"),
    ("not_loaded_by_this_process", "DDLL driver was not loaded by this process"),
    ("not_pending", "DDLL load not pending for this driver name"),
    ("already_loaded", "DDLL driver is already loaded successfully"),
    ("pending_reload", "Driver reloading is already pending"),
];

fn text_of(term: Term) -> Option<String> {
    if let Some(atom) = term.as_atom() {
        return Some(atom.name().to_owned());
    }
    iodata(term).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn error(p: &mut Process, reason: Term) -> BifResult {
    Ok(p.tuple(&[Term::atom(am::ERROR), reason]))
}

fn ok(p: &mut Process, status: &str) -> BifResult {
    let status = Term::atom(Atom::new(status));
    Ok(p.tuple(&[Term::atom(am::OK), status]))
}

/// What the linker has said, as an error that `format_error` knows.
fn opaque(p: &mut Process, text: String) -> BifResult {
    let mut problems = PROBLEMS.lock();
    problems.push(text);
    let number = Term::small(-(problems.len() as i64) - 100);
    drop(problems);
    let reason = p.tuple(&[Term::atom(atom!("open_error")), number]);
    error(p, reason)
}

#[bif("erl_ddll:try_load/3")]
fn try_load(p: &mut Process, path: Term, name: Term, options: Term) -> BifResult {
    let (Some(path), Some(name)) = (text_of(path), text_of(name)) else { return Err(Raise::BADARG) };
    options.list_to_vec().ok_or(Raise::BADARG)?;
    if Ports::of(p.vm).driver_names().contains(&name.as_str()) {
        return error(p, Term::atom(atom!("linked_in_driver")));
    }
    let mut all = LOADED.lock();
    if let Some(known) = all.get(&name) {
        *known.users.lock().entry(p.id()).or_default() += 1;
        let pid = p.id();
        forget_at_exit(p, &name, pid);
        return ok(p, "already_loaded");
    }
    let file = match File::open(format!("{}/{name}", path.trim_end_matches('/')).as_bytes()) {
        Ok(file) => file,
        Err(why) => {
            drop(all);
            return opaque(p, why);
        }
    };
    let Ok(init) = file.symbol(c"driver_init") else {
        drop(all);
        return error(p, Term::atom(atom!("no_driver_init")));
    };
    // SAFETY: a function of that name and shape is what makes a file a driver.
    let entry = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> *const DriverEntry>(init)() };
    // SAFETY: it is what the driver has returned, and the file is open.
    let Some(description) = (unsafe { entry.as_ref() }) else { return error(p, Term::atom(atom!("bad_driver_init"))) };
    let is_known = description.marker == MARKER && description.major >= 2 && (description.major, description.minor) <= (MAJOR, MINOR);
    if !is_known {
        return error(p, Term::atom(atom!("driver_incorrect_version")));
    }
    if description.name.lossy() != name {
        return error(p, Term::atom(atom!("inconsistent")));
    }
    // SAFETY: the library's own function.
    if description.init.is_some_and(|init| unsafe { init() } != 0) {
        return error(p, Term::atom(atom!("driver_init_failed")));
    }
    let loaded = Arc::new(Loaded {
        name: name.clone(),
        entry,
        lock: ReentrantMutex::new(()),
        file: Mutex::new(Some(file)),
        users: Mutex::new(HashMap::from([(p.id(), 1)])),
        ports: AtomicUsize::new(0),
        permanent: AtomicBool::new(false),
    });
    all.insert(name.clone(), loaded.clone());
    drop(all);
    let mut taints = p.vm.code.taints.lock();
    if !taints.contains(&Atom::new(&name)) {
        taints.insert(0, Atom::new(&name));
    }
    drop(taints);
    Ports::of(p.vm).set_linked_in(&name, Some(loaded));
    let pid = p.id();
    forget_at_exit(p, &name, pid);
    ok(p, "loaded")
}

/// A process that ends uses no driver any more.
fn forget_at_exit(p: &mut Process, name: &str, pid: u64) {
    let name = name.to_owned();
    let call = Box::new(move |vm: &'static Vm| {
        let Some(driver) = LOADED.lock().get(&name).cloned() else { return };
        driver.users.lock().remove(&pid);
        unload_unused(vm, &driver);
    });
    let id = p.vm.next_ref().id;
    p.extra().on_exit.insert(id, OnExit { watcher: Watcher::Hidden, call });
}

/// Closes a driver that nobody uses.
fn unload_unused(vm: &'static Vm, driver: &Arc<Loaded>) -> bool {
    if driver.permanent.load(Ordering::Acquire) || driver.ports.load(Ordering::Acquire) > 0 || !driver.users.lock().is_empty() {
        return false;
    }
    LOADED.lock().remove(&driver.name);
    Ports::of(vm).set_linked_in(&driver.name, None);
    if let Some(finish) = driver.entry().finish {
        // SAFETY: the library's own function.
        unsafe { finish() };
    }
    drop(driver.file.lock().take());
    true
}

#[bif("erl_ddll:try_unload/2")]
fn try_unload(p: &mut Process, name: Term, options: Term) -> BifResult {
    let Some(name) = text_of(name) else { return Err(Raise::BADARG) };
    options.list_to_vec().ok_or(Raise::BADARG)?;
    let Some(driver) = LOADED.lock().get(&name).cloned() else {
        let linked = Ports::of(p.vm).driver_names().contains(&name.as_str());
        return error(p, Term::atom(if linked { atom!("linked_in_driver") } else { atom!("not_loaded") }));
    };
    if driver.permanent.load(Ordering::Acquire) {
        return error(p, Term::atom(atom!("permanent")));
    }
    {
        let mut users = driver.users.lock();
        let Some(count) = users.get_mut(&p.id()) else { return error(p, Term::atom(atom!("not_loaded_by_this_process"))) };
        *count -= 1;
        if *count == 0 {
            users.remove(&p.id());
        }
    }
    let has_users = !driver.users.lock().is_empty();
    match unload_unused(p.vm, &driver) {
        true => ok(p, "unloaded"),
        false if has_users => ok(p, "pending_process"),
        false => ok(p, "pending_driver"),
    }
}

#[bif("erl_ddll:loaded_drivers/0")]
fn loaded_drivers(p: &mut Process) -> BifResult {
    let mut names: Vec<String> = LOADED.lock().keys().cloned().collect();
    names.extend(Ports::of(p.vm).driver_names().into_iter().map(str::to_owned));
    let names: Vec<Term> = names.iter().map(|name| p.string(name)).collect();
    let names = p.list(&names);
    Ok(p.tuple(&[Term::atom(am::OK), names]))
}

#[bif("erl_ddll:info/2")]
fn info(p: &mut Process, name: Term, item: Term) -> BifResult {
    let (Some(name), Some(item)) = (text_of(name), item.as_atom()) else { return Err(Raise::BADARG) };
    let Some(driver) = LOADED.lock().get(&name).cloned() else {
        let linked = Ports::of(p.vm).driver_names().contains(&name.as_str());
        return match item.name() {
            "linked_in_driver" if linked => Ok(Term::bool(true)),
            "processes" | "port_count" | "awaiting_load" | "awaiting_unload" if linked => Ok(Term::atom(atom!("undefined"))),
            _ => Err(Raise::BADARG),
        };
    };
    Ok(match item.name() {
        "processes" => {
            let users: Vec<(u64, usize)> = driver.users.lock().iter().map(|(&pid, &count)| (pid, count)).collect();
            let users: Vec<Term> = users.into_iter().map(|(pid, count)| p.tuple(&[Term::pid(pid), Term::small(count as i64)])).collect();
            p.list(&users)
        }
        "driver_options" | "awaiting_load" | "awaiting_unload" => Term::NIL,
        "port_count" => Term::small(driver.ports.load(Ordering::Acquire) as i64),
        "linked_in_driver" => Term::bool(false),
        "permanent" => Term::bool(driver.permanent.load(Ordering::Acquire)),
        _ => return Err(Raise::BADARG),
    })
}

#[bif("erl_ddll:format_error_int/1")]
fn format_error_int(p: &mut Process, reason: Term) -> BifResult {
    let number = reason.as_tuple().filter(|pair| pair.arity() == 2).and_then(|pair| pair.get(1).as_small());
    let known = number.and_then(|number| usize::try_from(-number - 101).ok()).and_then(|at| PROBLEMS.lock().get(at).cloned());
    let named = || reason.as_atom().and_then(|atom| TEXTS.iter().find(|(name, _)| *name == atom.name())).map(|(_, text)| (*text).to_owned());
    let text = known.or_else(named).unwrap_or_else(|| "Unspecified error".to_owned());
    Ok(p.string(&text))
}
