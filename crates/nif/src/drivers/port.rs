//! A port of a driver that was loaded: its callbacks are the methods of [`Driver`].
//!
//! A port is known to the library by its number. Its callbacks are called one at a time, together
//! with those of all ports of the driver unless that says otherwise. What a callback does that ends
//! a port is done when the outermost callback of the thread has returned.

use super::entry::{Data, DriverEntry, DriverVector, Handle, IoSlice, SOFT_BUSY};
use super::loaded::{CallbackLock, Loaded, count_port};
use super::ports::{HeldLock, has_ended};
use super::queues::{DriverBinary, Queue};
use super::registry::Reference;
use super::{messages, select};
use crate::abi::Monitor;
use parking_lot::Mutex;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_uint;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use swarmrt_io::port::driver::{Answer, Driver, Request, Written};
use swarmrt_io::port::{Port, Ports};
use swarmrt_machine::schedule::timer::TimerKey;
use swarmrt_machine::{Vm, pin, signal};
use swarmrt_term::reference::RefValue;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, atom, stop};

/// What stands behind a port of such a driver.
pub struct LoadedPort {
    pub loaded: Arc<Loaded>,
    /// Given up when the port has ended.
    reference: Mutex<Option<Reference>>,
    lock: CallbackLock,
    data: AtomicUsize,
    number: AtomicU64,
    shell: OnceLock<Weak<Port>>,
    /// The process for which a callback is called; 0 when it is for none.
    caller: AtomicU64,
    pub control_binary: AtomicBool,
    is_busy: AtomicBool,
    pub is_binary: bool,
    phase: Mutex<Phase>,
    /// How the port is to end when the callback has returned.
    ending: Mutex<Option<Ending>>,
    pub queue: Mutex<Queue>,
    pub timer: Mutex<Option<TimerKey>>,
    pub monitors: Mutex<HashMap<u64, (Monitor, u64)>>,
    under_way: Mutex<UnderWay>,
    pub os_pid: AtomicU32,
    pub queue_limits: Mutex<QueueLimits>,
    /// The lock that the library shares with other threads.
    pub data_lock: Mutex<Option<HeldLock>>,
    /// What the answer to the owner goes by that waits for the port to be open.
    opening: Mutex<Option<RefValue>>,
    /// The port while it lingers.
    kept: Mutex<Option<Arc<Port>>>,
    me: Weak<LoadedPort>,
}

/// What a driver has set as limits of its queue of commands, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueLimits {
    pub low: usize,
    pub high: usize,
}

impl Default for QueueLimits {
    fn default() -> QueueLimits {
        QueueLimits { low: 4096, high: 8192 }
    }
}

impl QueueLimits {
    /// `ERL_DRV_BUSY_MSGQ_DISABLED`.
    const DISABLED: usize = usize::MAX;
    const MIN: usize = 1;
    const MAX: usize = usize::MAX - 1;

    /// With these in place of its own; the low limit is no higher than the high one.
    pub fn with(self, low: Option<usize>, high: Option<usize>) -> QueueLimits {
        if low == Some(Self::DISABLED) || high == Some(Self::DISABLED) {
            return QueueLimits { low: Self::DISABLED, high: Self::DISABLED };
        }
        let within = |limit: usize| limit.clamp(Self::MIN, Self::MAX);
        match (low.map(within), high.map(within)) {
            (None, None) => self,
            (Some(low), None) => QueueLimits { low, high: self.high.max(low) },
            (None, Some(high)) => QueueLimits { low: self.low.min(high), high },
            (Some(low), Some(high)) => QueueLimits { low: low.min(high), high },
        }
    }
}

/// Callbacks that have not returned, or whose requests are not done yet.
#[derive(Default)]
struct UnderWay {
    callbacks: usize,
    /// Monitors of the port that were asked for meanwhile: numbers of their references.
    monitors: Vec<u64>,
}

/// How far a port has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// Closed for processes, until its queue is empty. The port is kept meanwhile.
    Lingering,
    Closed,
}

/// How a driver ends its port.
pub enum Ending {
    /// As at the end of a file.
    Eof,
    Reason(Term),
    /// The owner's link goes without a signal.
    Exit(Term),
}

/// The ports of drivers, by their numbers.
static OPEN: LazyLock<Mutex<HashMap<u64, Arc<LoadedPort>>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// How many callbacks the thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// The ports that are to be looked at when the outermost callback has returned.
    static UNSETTLED: RefCell<Vec<Arc<LoadedPort>>> = const { RefCell::new(Vec::new()) };
}

/// The port that a library names.
pub fn open_port(handle: Handle) -> Option<Arc<LoadedPort>> {
    OPEN.lock().get(&(handle as u64)).cloned()
}

/// The ports of a driver.
pub fn of_driver(loaded: &Arc<Loaded>) -> Vec<Arc<LoadedPort>> {
    let mut ports: Vec<_> =
        OPEN.lock().values().filter(|port| Arc::ptr_eq(&port.loaded, loaded)).cloned().collect();
    ports.sort_unstable_by_key(|port| port.number());
    ports
}

/// Does what the callback that has returned has asked for other ports.
fn settle_others(vm: &'static Vm) {
    while DEPTH.get() == 0
        && let Some(port) = UNSETTLED.with_borrow_mut(Vec::pop)
    {
        port.settle_now(vm);
    }
}

impl LoadedPort {
    /// A port of the driver that the reference keeps open; it is not known by a number yet.
    /// `caller` is the process for which `start` is called, or 0.
    pub fn new(reference: Reference, caller: u64, is_binary: bool) -> Arc<LoadedPort> {
        let loaded = reference.loaded().clone();
        count_port(&loaded, true);
        Arc::new_cyclic(|me| LoadedPort {
            lock: loaded.callback_lock(),
            loaded,
            reference: Mutex::new(Some(reference)),
            data: AtomicUsize::new(0),
            number: AtomicU64::new(0),
            shell: OnceLock::new(),
            caller: AtomicU64::new(caller),
            control_binary: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            is_binary,
            phase: Mutex::new(Phase::Open),
            ending: Mutex::new(None),
            queue: Mutex::default(),
            timer: Mutex::new(None),
            monitors: Mutex::default(),
            under_way: Mutex::default(),
            os_pid: AtomicU32::new(0),
            queue_limits: Mutex::default(),
            data_lock: Mutex::new(None),
            opening: Mutex::new(None),
            kept: Mutex::new(None),
            me: me.clone(),
        })
    }

    /// Makes it known under the number of its port.
    pub fn opened(self: &Arc<Self>, shell: &Arc<Port>) {
        self.number.store(shell.term.as_port().unwrap_or(0), Ordering::Release);
        let _ = self.shell.set(Arc::downgrade(shell));
        OPEN.lock().insert(self.number(), self.clone());
    }

    /// The number of the port's term; 0 before [`opened`](Self::opened).
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }
    /// The number as the library has it.
    pub fn handle(&self) -> Handle {
        self.number() as Handle
    }
    /// The port for processes, also when it is closed for them.
    pub fn shell(&self) -> Option<Arc<Port>> {
        self.shell.get()?.upgrade()
    }
    /// Whether the port is neither closed nor lingering.
    pub fn is_open(&self) -> bool {
        *self.phase.lock() == Phase::Open
    }
    /// Whether it was closed with something left to write.
    pub fn has_lingered(&self) -> bool {
        self.kept.lock().is_some()
    }
    /// The process for which a callback is called.
    pub fn caller(&self) -> Option<u64> {
        Some(self.caller.load(Ordering::Acquire)).filter(|&caller| caller != 0)
    }
    /// Sets what the library is called with.
    pub fn set_data(&self, data: Data) {
        self.data.store(data as usize, Ordering::Release);
    }
    /// What the library is called with.
    pub fn data(&self) -> Data {
        self.data.load(Ordering::Acquire) as Data
    }
    /// Keeps the driver open as long as work for the port is under way.
    pub fn hold(&self) -> Option<Reference> {
        self.reference.lock().as_ref().map(Reference::another)
    }
    /// A reference to the lock that the library shares with other threads, if the port has one.
    pub fn hold_data_lock(&self) -> Option<HeldLock> {
        self.data_lock.lock().as_ref().map(HeldLock::another)
    }

    /// Calls a function of the library that is called for `caller`. Nothing is settled afterwards.
    pub fn call_as<R>(&self, caller: u64, call: impl FnOnce() -> R) -> R {
        let _one_at_a_time = self.lock.lock();
        self.caller.store(caller, Ordering::Release);
        DEPTH.set(DEPTH.get() + 1);
        let result = stop::unwatched(call);
        DEPTH.set(DEPTH.get() - 1);
        self.caller.store(0, Ordering::Release);
        result
    }

    /// Calls back, and does afterwards what the library has asked for. `None` when the port has
    /// ended.
    pub fn with_entry<R>(
        &self,
        vm: &'static Vm,
        call: impl FnOnce(&DriverEntry, Data) -> R,
    ) -> Option<R> {
        self.with_entry_as(vm, 0, call)
    }

    /// As [`with_entry`](Self::with_entry), for what nobody has asked the port for: tracers are told
    /// that it runs.
    pub fn in_turn<R>(
        &self,
        vm: &'static Vm,
        call: impl FnOnce(&DriverEntry, Data) -> R,
    ) -> Option<R> {
        let _turn = self.shell().and_then(|shell| vm.port_turn(shell.term, None));
        self.with_entry(vm, call)
    }

    fn with_entry_as<R>(
        &self,
        vm: &'static Vm,
        caller: u64,
        call: impl FnOnce(&DriverEntry, Data) -> R,
    ) -> Option<R> {
        self.under_way.lock().callbacks += 1;
        let result = self.call_as(caller, || {
            let is_there = match *self.phase.lock() {
                Phase::Open => true,
                Phase::Lingering => caller == 0,
                Phase::Closed => false,
            };
            is_there.then(|| call(self.loaded.entry(), self.data()))
        });
        self.settle(vm);
        let mut under_way = self.under_way.lock();
        under_way.callbacks -= 1;
        under_way.monitors.clear();
        result
    }

    /// Does what callbacks have asked for, unless the thread is still in one.
    pub fn settle(&self, vm: &'static Vm) {
        if DEPTH.get() > 0 {
            return self.settle_later();
        }
        self.settle_now(vm);
        settle_others(vm);
    }

    fn settle_later(&self) {
        if let Some(me) = self.me.upgrade() {
            UNSETTLED.with_borrow_mut(|ports| ports.push(me));
        }
    }

    fn settle_now(&self, vm: &'static Vm) {
        let phase = *self.phase.lock();
        let ending = self.ending.lock().take();
        match (phase, ending) {
            (Phase::Open, Some(ending)) => self.end_now(vm, ending),
            (Phase::Lingering, ending) if ending.is_some() || self.queued_bytes() == 0 => {
                self.terminate(vm);
            }
            _ => {}
        }
    }

    /// Has the owner wait for [`LoadedPort::acknowledge`], which answers by this reference.
    pub fn wait_for_acknowledgement(&self, reference: RefValue) {
        *self.opening.lock() = Some(reference);
    }

    /// Answers the owner that waits, if it does: with the port, or with why it is not open.
    pub fn acknowledge(&self, vm: &'static Vm, problem: Option<Atom>) -> bool {
        let Some(shell) = self.shell() else { return false };
        let Some(reference) = self.opening.lock().take() else { return false };
        let _guard = pin();
        let mut heap = FragmentHeap::new();
        let reference = reference.to_term(&mut heap);
        let message = heap.tuple(&[reference, problem.map_or(shell.term, Term::atom)]);
        signal::send_message(vm, shell.term, shell.owner(), message);
        true
    }

    fn end_now(&self, vm: &'static Vm, ending: Ending) {
        let Some(shell) = self.shell() else { return };
        if let Ending::Eof = ending
            && shell.options.eof
        {
            messages::tell_owner(vm, &shell, |_| Term::atom(atom!("eof")));
            return;
        }
        // What is still to be written is given up.
        self.drop_queue();
        match ending {
            Ending::Eof => shell.close(vm, Term::atom(swarmrt_term::am::NORMAL)),
            Ending::Reason(reason) => shell.close(vm, reason),
            Ending::Exit(reason) => shell.retire_with(vm, reason),
        }
        // An owner that still waits for the port to open finds it closed.
        self.acknowledge(vm, None);
    }

    /// Ends the port now, or when the callback has returned that asks for it.
    pub fn end(&self, vm: &'static Vm, ending: Ending) {
        // The first one holds: the port is gone for what comes after it.
        self.ending.lock().get_or_insert(ending);
        self.settle(vm);
    }

    /// Ends the port because its driver is to go.
    pub fn kill(&self, vm: &'static Vm) {
        self.end(vm, Ending::Reason(Term::atom(atom!("driver_unloaded"))));
    }

    /// Its `start` has failed: the driver is not told of the end.
    pub fn give_up(&self, vm: &'static Vm) {
        *self.phase.lock() = Phase::Closed;
        self.forget(vm);
    }

    /// The end of the port for its driver.
    fn terminate(&self, vm: &'static Vm) {
        let lingered = {
            let _one_at_a_time = self.lock.lock();
            let before = std::mem::replace(&mut *self.phase.lock(), Phase::Closed);
            if before == Phase::Closed {
                return;
            }
            self.cancel_timer(vm);
            if let Some(stop) = self.loaded.entry().stop {
                DEPTH.set(DEPTH.get() + 1);
                // SAFETY: the library's own function.
                stop::unwatched(|| unsafe { stop(self.data()) });
                DEPTH.set(DEPTH.get() - 1);
            }
            before == Phase::Lingering
        };
        self.forget(vm);
        if lingered {
            Ports::of(vm).note_writing(false);
            if let Some(shell) = self.kept.lock().take() {
                shell.finished(vm);
            }
        }
    }

    fn cancel_timer(&self, vm: &'static Vm) {
        if let Some(key) = self.timer.lock().take() {
            vm.timers.cancel(key);
        }
    }

    /// Takes the port off everything that knows it.
    fn forget(&self, vm: &'static Vm) {
        self.cancel_timer(vm);
        self.queue.lock().clear();
        select::forget(self.number());
        OPEN.lock().remove(&self.number());
        count_port(&self.loaded, false);
        let (reference, lock) = (self.reference.lock().take(), self.data_lock.lock().take());
        drop((reference, lock));
        // What it has asked for is of no use any more.
        *self.ending.lock() = None;
    }

    fn take_monitors_off(&self) {
        for (monitor, pid) in std::mem::take(&mut *self.monitors.lock()).into_values() {
            crate::resources::take_off(monitor.id, pid);
        }
    }

    /// Says whether writers are to wait; those that wait go on when it is no longer so.
    pub fn set_busy(&self, vm: &'static Vm, is_busy: bool) {
        let was_busy = self.is_busy.swap(is_busy, Ordering::SeqCst);
        if was_busy
            && !is_busy
            && let Some(shell) = self.shell()
        {
            shell.wake_writers(vm);
        }
    }

    /// What a control or call function has answered: in the buffer that it was given, or in one of
    /// its own.
    fn answer(length: isize, given: *mut u8, buffer: *mut u8, frees: bool) -> Option<Vec<u8>> {
        let length = usize::try_from(length).ok()?;
        if buffer.is_null() || length == 0 {
            return Some(Vec::new());
        }
        // SAFETY: by the interface so many bytes are in the buffer, which is ours or of
        // `driver_alloc`.
        unsafe {
            let bytes = std::slice::from_raw_parts(buffer, length).to_vec();
            if frees && !std::ptr::eq(given, buffer) {
                libc::free(buffer.cast());
            }
            Some(bytes)
        }
    }
}

/// Room for short answers, as OTP has it.
const CONTROL_BYTES: usize = 64;
const CALL_BYTES: usize = 256;

impl Driver for LoadedPort {
    fn output(&self, request: &Request<'_>, mut bytes: Vec<u8>) -> Written {
        request.port.note_output(request.vm, bytes.len());
        self.with_entry_as(request.vm, request.from, |entry, data| {
            if let Some(outputv) = entry.outputv {
                let binary = DriverBinary::copied(&bytes);
                let mut slice = IoSlice { base: DriverBinary::bytes(binary), length: bytes.len() };
                let mut shown = binary;
                let mut vector = DriverVector {
                    count: 1,
                    size: bytes.len(),
                    slices: &raw mut slice,
                    binaries: &raw mut shown,
                };
                // SAFETY: the library's own function. The vector is there during the call.
                unsafe {
                    outputv(data, &raw mut vector);
                    super::queues::driver_free_binary(binary);
                }
            } else if let Some(output) = entry.output {
                // SAFETY: the library's own function; the bytes are there during the call.
                unsafe { output(data, bytes.as_mut_ptr(), bytes.len()) };
            }
        });
        Written::Done
    }

    fn control(&self, request: &Request<'_>, operation: u64, data: &[u8]) -> Option<Answer> {
        let operation = c_uint::try_from(operation).ok()?;
        let mut input = data.to_vec();
        let mut room = [0u8; CONTROL_BYTES];
        self.with_entry_as(request.vm, request.from, |entry, data| {
            let mut buffer = room.as_mut_ptr();
            let (input, size) = (input.as_mut_ptr(), input.len());
            // SAFETY: the library's own function. Both buffers are there during the call.
            let length = unsafe {
                entry.control?(data, operation, input, size, &raw mut buffer, CONTROL_BYTES)
            };
            let is_own = !std::ptr::eq(buffer, room.as_mut_ptr());
            let is_binary = self.control_binary.load(Ordering::Acquire);
            if is_binary && buffer.is_null() && length >= 0 {
                // As OTP: no binary is the empty list.
                return Some(Answer::Bytes(Vec::new()));
            }
            if is_binary && is_own && length >= 0 {
                // SAFETY: it is a binary of the driver's then, which is handed over.
                return Some(Answer::Binary(unsafe { DriverBinary::taken(buffer.cast()) }));
            }
            let bytes = Self::answer(length, room.as_mut_ptr(), buffer, true)?;
            Some(if is_binary { Answer::Binary(bytes) } else { Answer::Bytes(bytes) })
        })?
    }

    fn call(&self, request: &Request<'_>, operation: u64, data: &[u8]) -> Option<Vec<u8>> {
        const KEEP_BUFFER: c_uint = 1;
        let operation = c_uint::try_from(operation).ok()?;
        let mut input = data.to_vec();
        let mut room = [0u8; CALL_BYTES];
        self.with_entry_as(request.vm, request.from, |entry, data| {
            let (mut buffer, mut flags) = (room.as_mut_ptr(), 0);
            let (input, size) = (input.as_mut_ptr(), input.len());
            let (at, to) = (&raw mut buffer, &raw mut flags);
            // SAFETY: the library's own function; buffers are there during the call.
            let length = unsafe { entry.call?(data, operation, input, size, at, room.len(), to) };
            Self::answer(length, room.as_mut_ptr(), buffer, flags & KEEP_BUFFER == 0)
        })?
    }

    fn close(&self, vm: &'static Vm, _port: &Port) {
        self.take_monitors_off();
        self.set_busy(vm, false);
        if self.queued_bytes() > 0 {
            {
                let mut phase = self.phase.lock();
                if *phase != Phase::Open {
                    return;
                }
                *phase = Phase::Lingering;
            }
            // The port stays until its driver has written everything.
            *self.kept.lock() = self.shell();
            Ports::of(vm).note_writing(true);
            self.with_entry(vm, |entry, data| {
                if let Some(flush) = entry.flush {
                    // SAFETY: the library's own function.
                    unsafe { flush(data) };
                }
            });
            return;
        }
        self.terminate(vm);
        settle_others(vm);
    }

    fn lingers(&self) -> bool {
        *self.phase.lock() == Phase::Lingering
    }
    fn drop_queue(&self) {
        self.queue.lock().clear();
    }
    fn takes_force(&self) -> bool {
        self.loaded.entry().flags & SOFT_BUSY != 0
    }
    fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::SeqCst)
    }
    fn suspends_writers(&self) -> bool {
        true
    }
    fn queued_bytes(&self) -> usize {
        self.queue.lock().size()
    }
    fn note_monitor(&self, reference: u64) {
        let mut under_way = self.under_way.lock();
        if under_way.callbacks > 0 {
            under_way.monitors.push(reference);
        }
    }
    fn comes_too_late(&self, reference: u64) -> bool {
        self.under_way.lock().monitors.contains(&reference)
    }
    fn monitored(&self) -> Vec<u64> {
        // One that has ended is in the table until `process_exit` is called.
        self.monitors.lock().values().map(|&(_, pid)| pid).filter(|&pid| !has_ended(pid)).collect()
    }
    fn os_pid(&self) -> Option<u32> {
        Some(self.os_pid.load(Ordering::Acquire)).filter(|&pid| pid != 0)
    }
}
