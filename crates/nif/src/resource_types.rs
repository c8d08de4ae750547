//! Types of resources: a name in a module, and the functions of the library that has opened it
//! last.
//!
//! A type belongs to the library that opened it. One of the same module may take it over, with all
//! its objects. When a library is unloaded, its types lose their names; they go with their last
//! objects, and the library with its last type that has callbacks.

use crate::abi::{CText, DownFn, DtorFn, DyncallFn, Out, StopFn, TypeInit};
use crate::env::Env;
use crate::library::Loaded;
use parking_lot::{Mutex, RwLock};
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use swarmrt_term::Atom;

/// `ErlNifResourceFlags`.
const CREATE: c_int = 1;
const TAKEOVER: c_int = 2;

/// What a library does for the objects of a type.
#[derive(Clone, Copy, Default)]
pub struct Callbacks {
    pub dtor: Option<DtorFn>,
    pub stop: Option<StopFn>,
    pub down: Option<DownFn>,
    pub dyncall: Option<DyncallFn>,
}

impl Callbacks {
    fn are_none(&self) -> bool {
        self.dtor.is_none() && self.stop.is_none() && self.down.is_none() && self.dyncall.is_none()
    }
    /// The first `members` of them.
    fn read(init: &TypeInit, members: c_int) -> Callbacks {
        Callbacks {
            dtor: init.dtor.filter(|_| members > 0),
            stop: init.stop.filter(|_| members > 1),
            down: init.down.filter(|_| members > 2),
            // Only an initialiser that says that it has one is long enough.
            dyncall: if members > 3 { init.dyncall } else { None },
        }
    }
}

/// `ErlNifResourceType`.
pub struct ResourceType {
    pub module: Atom,
    pub name: Atom,
    state: RwLock<State>,
    /// Its objects, and its name.
    users: AtomicUsize,
}

struct State {
    callbacks: Callbacks,
    /// None until the library is loaded.
    owner: Option<Arc<Loaded>>,
}

/// A library that is kept from being closed.
pub struct Owner(Arc<Loaded>);

impl Owner {
    /// The caller knows that the library has a user.
    fn new(library: &Arc<Loaded>) -> Owner {
        library.add_user();
        Owner(library.clone())
    }
    /// The library's address, which is good as long as this is there.
    pub fn library(&self) -> *const Loaded {
        &raw const *self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.drop_user();
    }
}

/// A type that a library opens while it is being loaded.
pub struct Opened {
    resource_type: *const ResourceType,
    is_new: bool,
    callbacks: Callbacks,
}

/// A type by its address.
#[derive(Clone, Copy)]
struct Named(*const ResourceType);

// SAFETY: a type has locks for what changes, and is there as long as it has a name.
unsafe impl Send for Named {}

/// Those with names.
static TYPES: Mutex<Vec<Named>> = Mutex::new(Vec::new());

impl ResourceType {
    /// What is done for its objects now, and by which library, which stays loaded meanwhile.
    pub fn callbacks(&self) -> (Callbacks, Option<Owner>) {
        let state = self.state.read();
        (
            state.callbacks,
            state.owner.as_ref().filter(|_| !state.callbacks.are_none()).map(Owner::new),
        )
    }
    fn is_owned_by(&self, library: &Loaded) -> bool {
        self.state
            .read()
            .owner
            .as_ref()
            .is_some_and(|owner| std::ptr::eq(&raw const **owner, library))
    }
    /// Counts an object. The caller knows that the type is there.
    pub fn add_user(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }
    /// Changes the owner and what it does; the former owner is given up.
    fn change(&self, callbacks: Callbacks, owner: Option<Arc<Loaded>>) {
        if let Some(owner) = owner.as_ref().filter(|_| !callbacks.are_none()) {
            owner.add_user();
        }
        let before = std::mem::replace(&mut *self.state.write(), State { callbacks, owner });
        if let Some(owner) = before.owner.filter(|_| !before.callbacks.are_none()) {
            owner.drop_user();
        }
    }
}

/// One user less: the type goes with the last.
///
/// # Safety
/// The caller was counted, and does not use the type any more.
pub unsafe fn drop_user(resource_type: *const ResourceType) {
    // SAFETY: the caller's.
    unsafe {
        if (*resource_type).users.fetch_sub(1, Ordering::AcqRel) == 1 {
            (*resource_type).change(Callbacks::default(), None);
            drop(Box::from_raw(resource_type.cast_mut()));
        }
    }
}

fn open(
    env: &mut Env,
    name: CText,
    callbacks: Callbacks,
    flags: c_int,
    tried: Out<c_int>,
) -> *const ResourceType {
    let nothing = std::ptr::null();
    let module = env.loaded().map(|library| library.module);
    let name =
        Atom::try_new(&name.bytes().iter().map(|&byte| char::from(byte)).collect::<String>());
    // Types are opened while a library is loaded, and at no other time.
    let (Some(module), Ok(name), Some(opened)) = (module, name, env.opened()) else {
        tried.put_unless_null(flags);
        return nothing;
    };
    let types = TYPES.lock();
    // SAFETY: those with names are there.
    let known = types
        .iter()
        .find(|named| unsafe { (*named.0).module == module && (*named.0).name == name });
    let (resource_type, operation) = match known {
        Some(named) if flags & TAKEOVER != 0 => (named.0, TAKEOVER),
        None if flags & CREATE != 0 => {
            let state = RwLock::new(State { callbacks: Callbacks::default(), owner: None });
            (
                Box::into_raw(Box::new(ResourceType {
                    module,
                    name,
                    state,
                    users: AtomicUsize::new(1),
                }))
                .cast_const(),
                CREATE,
            )
        }
        _ => {
            tried.put_unless_null(flags);
            return nothing;
        }
    };
    opened.push(Opened { resource_type, is_new: operation == CREATE, callbacks });
    tried.put_unless_null(operation);
    resource_type
}

/// The types that a library has opened are its own from now on.
pub fn commit(opened: Vec<Opened>, library: &Arc<Loaded>) {
    for Opened { resource_type, is_new, callbacks } in opened {
        if is_new {
            TYPES.lock().push(Named(resource_type));
        }
        // SAFETY: it has a name.
        unsafe { &*resource_type }.change(callbacks, Some(library.clone()));
    }
}

/// The library is not loaded after all.
pub fn take_back(opened: Vec<Opened>) {
    for Opened { resource_type, is_new, .. } in opened {
        if is_new {
            // SAFETY: made for the library, which has no objects.
            unsafe { drop_user(resource_type) };
        }
    }
}

/// The types of a library that is being unloaded lose their names.
pub fn orphan(library: &Loaded) {
    let orphans: Vec<Named> = {
        let mut types = TYPES.lock();
        // SAFETY: those with names are there.
        types.extract_if(.., |named| unsafe { &*named.0 }.is_owned_by(library)).collect()
    };
    for Named(resource_type) in orphans {
        // SAFETY: its name was counted.
        unsafe { drop_user(resource_type) };
    }
}

/// Makes a type, or takes one over, as `flags` allow; null when neither is possible, or no library
/// is being loaded. `tried` is what was done, or `flags` where nothing was.
#[unsafe(no_mangle)]
pub extern "C" fn enif_open_resource_type(
    env: &mut Env,
    _module: CText,
    name: CText,
    dtor: Option<DtorFn>,
    flags: c_int,
    tried: Out<c_int>,
) -> *const ResourceType {
    open(env, name, Callbacks { dtor, ..Callbacks::default() }, flags, tried)
}

/// As [`enif_open_resource_type`], with the first three callbacks of an initialiser.
///
/// # Safety
/// `init` has at least the first three functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_open_resource_type_x(
    env: &mut Env,
    name: CText,
    init: *const TypeInit,
    flags: c_int,
    tried: Out<c_int>,
) -> *const ResourceType {
    // Libraries for versions before 2.16 have a shorter initialiser.
    // SAFETY: the caller's.
    let (dtor, stop, down) = unsafe { ((*init).dtor, (*init).stop, (*init).down) };
    open(env, name, Callbacks { dtor, stop, down, dyncall: None }, flags, tried)
}

/// As [`enif_open_resource_type`], with the callbacks of an initialiser that says how many it has.
#[unsafe(no_mangle)]
pub extern "C" fn enif_init_resource_type(
    env: &mut Env,
    name: CText,
    init: &TypeInit,
    flags: c_int,
    tried: Out<c_int>,
) -> *const ResourceType {
    open(env, name, Callbacks::read(init, init.members), flags, tried)
}
