//! `erlang:load_nif/2`: loading a library for the version of a module that calls it, first or in
//! place of an older one.

use crate::abi::{DIRTY_CPU, DIRTY_IO, Entry, MAJOR, MINOR, VM_VARIANT};
use crate::calls;
use crate::env::{Env, claim};
use crate::library::{Description, File, Loaded};
use crate::resource_types;
use std::any::Any;
use std::collections::HashSet;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use swarmrt_machine::bif::BifKind;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::code::natives::{Library, Native, NifEntry};
use swarmrt_machine::schedule::blocking::Blocking;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Term, am, stop};

/// Why a library is not loaded: the atom and the text of OTP.
struct Refused(&'static str, String);

fn bad_lib<T>(text: String) -> Result<T, Refused> {
    Err(Refused("bad_lib", text))
}

/// The bytes of a file's name.
fn path_bytes(path: Term) -> Option<Vec<u8>> {
    if let Some(bits) = path.as_bits() {
        return bits.is_binary().then(|| bits.to_bytes().into_owned());
    }
    let mut text = String::new();
    for item in path.list_to_vec()? {
        match item.as_atom() {
            Some(atom) => text.push_str(atom.name()),
            None => text
                .push(item.as_small().and_then(|code| char::from_u32(u32::try_from(code).ok()?))?),
        }
    }
    (!text.contains('\0')).then(|| text.into_bytes())
}

#[bif("erlang:load_nif/2")]
fn load_nif(p: &mut Process, path: Term, info: Term) -> BifResult {
    let path = path_bytes(path).ok_or(BifExit::BADARG)?;
    let _permission = p.change_code()?;
    // As in OTP, no other process runs while a library takes over from an older one, but on dirty
    // schedulers.
    let blocks = upgrades(p) && p.vm.schedulers.wanted_online() > 1;
    if blocks && !p.blocks_others(Blocking::Normal) {
        return Err(BifExit::Yield);
    }
    // The library is called, and what it calls may not be unwound through it.
    let loaded = stop::unwatched(|| load(p, &path, info));
    if blocks {
        p.vm.schedulers.unblock(p.id(), Blocking::Normal);
    }
    let Err(Refused(kind, text)) = loaded else { return Ok(Term::atom(am::OK)) };
    let text = p.string(&text);
    let reason = p.tuple(&[Term::atom(Atom::new(kind)), text]);
    Ok(p.tuple(&[Term::atom(am::ERROR), reason]))
}

/// The version of a module that calls, and the one before it.
struct Versions {
    version: Arc<ModuleCode>,
    /// None where the calling one is the older.
    before: Option<Option<Arc<ModuleCode>>>,
}

/// The versions of the module that calls; `None` where it is not known.
fn versions(p: &Process) -> Option<Versions> {
    let version = p.vm.code.module_at(p.ip as usize)?;
    let slot = p.vm.code.slot(version.name).unwrap_or_default();
    let is = |other: &Option<Arc<ModuleCode>>| {
        other.as_ref().is_some_and(|other| Arc::ptr_eq(other, &version))
    };
    let before = if slot.is_past(&version) {
        None
    } else if is(&slot.on_load) {
        Some(slot.current.or(slot.old))
    } else {
        Some(slot.old)
    };
    Some(Versions { version, before })
}

/// Whether the caller's module has a library in an older version, and none in its own.
fn upgrades(p: &Process) -> bool {
    let Some(Versions { version, before: Some(Some(before)) }) = versions(p) else { return false };
    version.natives.library().is_none() && before.natives.library().is_some()
}

fn load(p: &mut Process, path: &[u8], info: Term) -> Result<(), Refused> {
    let text = "load_nif/2 must be explicitly called from the NIF module. It cannot be called through apply/3.";
    let Some(Versions { version, before }) = versions(p) else { return bad_lib(text.to_owned()) };
    let module = version.name;
    let Some(before) = before else {
        return Err(Refused(
            "old_code",
            format!("Calling load_nif from old module '{module}' not allowed"),
        ));
    };
    if version.link_library(p.vm.bifs) {
        return Ok(());
    }
    if !claim(p.vm) {
        let text = "Failed to load NIF library: 'another machine of the program has loaded native libraries'";
        return Err(Refused("load_failed", text.to_owned()));
    }
    crate::library::wait_until_closed(p.vm);
    if version.natives.library().is_some() {
        return Err(Refused(
            "reload",
            "NIF library already loaded (reload disallowed since OTP 20).".to_owned(),
        ));
    }
    let (file, description) = open(p, path, module)?;
    let natives = functions_of(p, &version, &description)?;
    let library =
        Loaded::new(module, String::from_utf8_lossy(path).into_owned(), file, &description);
    let mut env = Env::bound(p, &raw const *library);
    env.begin_loading();
    let called = call_load(&mut env, &library, &description, before.as_deref(), info);
    let opened = env.opened().map(std::mem::take).unwrap_or_default();
    drop(env);
    if let Err(refused) = called {
        resource_types::take_back(opened);
        library.discard();
        return Err(refused);
    }
    resource_types::commit(opened, &library);
    crate::system::note_loaded(&library);
    version.natives.set_library(library.clone());
    for (number, kind, address) in natives {
        let library: Arc<dyn Library> = library.clone();
        let native = Native::Library(Arc::new(NifEntry {
            call: calls::call_of(kind),
            address,
            kind,
            library,
        }));
        version.natives.fill(number, native);
    }
    Ok(())
}

/// Loads the file and reads its entry.
fn open(p: &Process, path: &[u8], module: Atom) -> Result<(File, Description), Refused> {
    let name = String::from_utf8_lossy(path);
    let file = File::open(path).map_err(|why| {
        let of = if why.contains(&*name) { String::new() } else { format!(" {name}") };
        Refused("load_failed", format!("Failed to load NIF library{of}: '{why}'"))
    })?;
    // As OTP, which knows systems whose symbols all begin so.
    let init = file.symbol(c"nif_init").or_else(|_| file.symbol(c"_nif_init")).map_err(|why| {
        Refused("bad_lib", format!("Failed to find library init function: '{why}'"))
    })?;
    let mut taints = p.vm.code.taints.lock();
    if !taints.contains(&module) {
        taints.insert(0, module);
    }
    drop(taints);
    // SAFETY: a function of that name and shape is what makes a file a library of native functions.
    let entry =
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> *const Entry>(init)() };
    if entry.is_null() {
        return bad_lib("Library init-call unsuccessful".to_owned());
    }
    // SAFETY: it is what `nif_init` has returned, and the file is open.
    let description = unsafe { Description::read(entry) };
    let (major, minor) = (description.major, description.minor);
    if (major, minor) > (MAJOR, MINOR) {
        return bad_lib(format!(
            "That '{module}' NIF library needs {} or newer. Either try to recompile the NIF lib or use a newer erts runtime.",
            description.min_erts
        ));
    }
    // Version 2.5 was an experiment with maps.
    if major < 2 || (major, minor) == (2, 5) {
        return bad_lib(format!(
            "That old NIF library ({major}.{minor}) is not compatible with this erts runtime ({MAJOR}.{MINOR}). Try recompile the NIF lib."
        ));
    }
    if let Some(variant) =
        description.vm_variant.as_deref().filter(|&variant| variant != VM_VARIANT)
    {
        return bad_lib(format!(
            "Library ({variant}) not compiled for this vm variant ({VM_VARIANT})."
        ));
    }
    if description.name != module.name() {
        return bad_lib(format!(
            "Library module name '{}' does not match calling module '{module}'",
            description.name
        ));
    }
    Ok((file, description))
}

/// The library's functions: the number of the function that each is for, where it runs, and its
/// address.
fn functions_of(
    p: &Process,
    version: &ModuleCode,
    description: &Description,
) -> Result<Vec<(usize, BifKind, *const c_void)>, Refused> {
    let mut natives = Vec::with_capacity(description.functions.len());
    let mut numbers = HashSet::new();
    for function in &description.functions {
        let (name, arity) = (function.name.lossy(), function.arity);
        let shown = format!("{}:{name}/{arity}", version.name);
        let number = Atom::existing(&name).and_then(|name| version.function_number(name, arity));
        let Some(number) = number else { return bad_lib(format!("Function not found {shown}")) };
        if !version.may_be_native(&p.vm.code, number) {
            return bad_lib(format!("Function not declared as nif {shown}"));
        }
        let kind = match function.flags {
            0 => BifKind::Normal,
            DIRTY_CPU => BifKind::DirtyCpu,
            DIRTY_IO => BifKind::DirtyIo,
            flags => return bad_lib(format!("Illegal flags field value {flags} for NIF {shown}")),
        };
        if !numbers.insert(number) {
            return bad_lib(format!("Duplicate NIF entry for {shown}"));
        }
        natives.push((number, kind, function.function as *const c_void));
    }
    Ok(natives)
}

/// Has the library ready itself: `load`, or `upgrade` where an older version of the module has one.
fn call_load(
    env: &mut Env,
    library: &Arc<Loaded>,
    description: &Description,
    before: Option<&ModuleCode>,
    info: Term,
) -> Result<(), Refused> {
    // Its own address, as the library may ask for its data meanwhile.
    let data = library.data.as_ptr();
    let older =
        before.and_then(|before| before.natives.library()).map(|older| &**older as &dyn Any);
    let older = older.and_then(|older| older.downcast_ref::<Loaded>());
    if let Some(older) = older {
        let Some(upgrade) = description.upgrade else {
            return Err(Refused(
                "upgrade",
                "Upgrade not supported by this NIF library.".to_owned(),
            ));
        };
        let mut older_data = older.data.load(Ordering::Acquire);
        // SAFETY: the library's own function, as its entry says.
        let veto = unsafe { upgrade(env, data, &raw mut older_data, info) };
        if veto != 0 {
            return Err(Refused("upgrade", format!("Library upgrade-call unsuccessful ({veto}).")));
        }
        older.data.store(older_data, Ordering::Release);
    } else if let Some(load) = description.load {
        // SAFETY: the library's own function, as its entry says.
        let veto = unsafe { load(env, data, info) };
        if veto != 0 {
            return Err(Refused("load", format!("Library load-call unsuccessful ({veto}).")));
        }
    }
    Ok(())
}
