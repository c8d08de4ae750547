//! A driver that was loaded from a file, and how it opens ports.

use super::entry::{
    Data, DriverEntry, MAJOR, MAJOR_MIN, MARKER, MINOR, USE_INIT_ACK, USE_PORT_LOCKING,
};
use super::port::LoadedPort;
use super::registry;
use crate::library::File;
use parking_lot::{Mutex, ReentrantMutex};
use std::ffi::{CString, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use swarmrt_io::port::driver::{LinkedIn, Started};
use swarmrt_io::port::{Options, Ports};
use swarmrt_machine::Vm;
use swarmrt_term::stop;

/// Callbacks that have it in common are called one at a time.
pub type CallbackLock = Arc<ReentrantMutex<()>>;

/// A driver that was loaded from a file. It stays open as long as the registry counts references.
pub struct Loaded {
    pub name: String,
    entry: *const DriverEntry,
    lock: CallbackLock,
    file: Mutex<Option<File>>,
    pub ports: AtomicUsize,
}

// SAFETY: the entry is the library's, which does not change it.
unsafe impl Send for Loaded {}
// SAFETY: the entry is the library's, which does not change it.
unsafe impl Sync for Loaded {}

/// Why a driver cannot be loaded.
pub enum Problem {
    /// By the name that the error has.
    Named(&'static str),
    /// What the dynamic linker says.
    Linker(String),
}

impl Loaded {
    /// Opens `path` with the ending of shared libraries, and has the driver ready itself.
    ///
    /// # Errors
    /// When there is no such file, or it is no driver of this name.
    pub fn open(path: &str, name: &str) -> Result<Arc<Loaded>, Problem> {
        let file = File::open(path.as_bytes()).map_err(|why| {
            // Numbers of errors are kept for their texts: without the path there are few.
            let full = format!("{path}.so");
            let short = why.strip_prefix(&full).map(|rest| rest.trim_start_matches([':', ' ']));
            Problem::Linker(short.filter(|rest| !rest.is_empty()).unwrap_or(&why).to_owned())
        })?;
        let init = file.symbol(c"driver_init").or_else(|_| file.symbol(c"_driver_init"));
        let init = init.map_err(|_| Problem::Named("no_driver_init"))?;
        // SAFETY: a function of that name and shape is what makes a file a driver.
        let entry = unsafe {
            std::mem::transmute::<*mut c_void, extern "C" fn() -> *const DriverEntry>(init)()
        };
        // SAFETY: it is what the driver has returned, and the file is open.
        let description = unsafe { entry.as_ref() }.ok_or(Problem::Named("driver_init_failed"))?;
        let version = (description.major, description.minor);
        if description.marker != MARKER || description.major < MAJOR_MIN || version > (MAJOR, MINOR)
        {
            return Err(Problem::Named("driver_incorrect_version"));
        }
        if description.name.lossy() != name {
            return Err(Problem::Named("bad_driver_name"));
        }
        // SAFETY: the library's own function.
        if stop::unwatched(|| description.init.is_some_and(|init| unsafe { init() } != 0)) {
            return Err(Problem::Named("driver_init_failed"));
        }
        Ok(Arc::new(Loaded {
            name: name.to_owned(),
            entry,
            lock: Arc::default(),
            file: Mutex::new(Some(file)),
            ports: AtomicUsize::new(0),
        }))
    }

    /// What the driver says of itself.
    pub fn entry(&self) -> &DriverEntry {
        // SAFETY: the file is open as long as anybody has a reference to the driver.
        unsafe { &*self.entry }
    }

    /// What a new port's callbacks are called under.
    pub fn callback_lock(&self) -> CallbackLock {
        if self.entry().flags & USE_PORT_LOCKING != 0 { Arc::default() } else { self.lock.clone() }
    }

    /// Tells the driver that it is over, and closes the file. Nobody has a reference any more.
    pub fn close(&self) {
        if let Some(finish) = self.entry().finish {
            // SAFETY: the library's own function.
            stop::unwatched(|| unsafe { finish() });
        }
        drop(self.file.lock().take());
    }
}

impl LinkedIn for Loaded {
    fn start(
        self: Arc<Self>,
        vm: &'static Vm,
        owner: u64,
        command: String,
        options: Options,
    ) -> Started {
        // A driver opens no ports any more once its ports are killed.
        let Some(reference) = registry::reference(&self) else { return Started::Refused(None) };
        if options.exit_status {
            return Started::Refused(None);
        }
        let text = CString::new(command.clone()).unwrap_or_default();
        let is_binary = options.binary;
        let driver = LoadedPort::new(reference, owner, is_binary);
        let shell = Ports::of(vm).open(vm, owner, command, options, None, driver.clone());
        driver.opened(&shell);
        let later = (self.entry().flags & USE_INIT_ACK != 0).then(|| vm.next_ref());
        if let Some(reference) = later {
            driver.wait_for_acknowledgement(reference);
        }
        let mut problem = 0;
        let data = driver.call_as(owner, || {
            let Some(start) = self.entry().start else { return std::ptr::null_mut() };
            // SAFETY: the library's own function. The text is there during the call.
            unsafe {
                *libc::__errno_location() = 0;
                let data = start(driver.handle(), text.as_ptr().cast_mut());
                problem = *libc::__errno_location();
                driver.set_data(data);
                data
            }
        });
        if let Some(failure) = start_failure(data, problem) {
            driver.give_up(vm);
            shell.retire(vm);
            return Started::Refused(failure);
        }
        driver.settle(vm);
        later.map_or_else(
            || Started::Port(shell.clone()),
            |reference| Started::Later(shell.clone(), reference),
        )
    }
}

/// Why a port does not open for which `start` returns this, while `errno` is the given one: the
/// number of an error, or else wrong arguments. `None`: it opens.
pub fn start_failure(data: Data, errno: i32) -> Option<Option<i32>> {
    match data as isize {
        -1 => Some(Some(libc::EINVAL)),
        -2 => Some(Some(errno)),
        -3 => Some(None),
        _ => None,
    }
}

/// Counts an open port.
pub fn count_port(loaded: &Loaded, more: bool) {
    if more {
        loaded.ports.fetch_add(1, Ordering::AcqRel);
    } else {
        loaded.ports.fetch_sub(1, Ordering::AcqRel);
    }
}
