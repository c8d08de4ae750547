//! What stands behind a port: programs, descriptors, terminals, files in memory, sockets. Each is a
//! [`Driver`] in a file of its own; everything that ports have in common (owner, links, monitors,
//! names) is the port's.

use super::{Options, Port};
use std::cell::Cell;
use std::sync::Arc;
use swarmrt_machine::Vm;
use swarmrt_machine::signal::Draft;
use swarmrt_machine::signal::remote::SharedChannel;
use swarmrt_term::binary::IoPart;
use swarmrt_term::reference::RefValue;
use swarmrt_term::{Alloc, Term};

/// A request of a process to a port.
pub struct Request<'a> {
    pub vm: &'static Vm,
    pub port: &'a Arc<Port>,
    /// The process that asks.
    pub from: u64,
}

/// What became of bytes that were written to a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    Done,
    /// They are not what the driver takes: `badarg` for a caller, the exit signal `badsig` for a
    /// sender.
    Refused,
}

/// What a poller has seen of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ready {
    pub readable: bool,
    pub writable: bool,
    /// The other end has ended, there is an error, or data that are urgent. Told in any case, and
    /// not to be asked for.
    pub is_special: bool,
}

impl Ready {
    /// No interest, or no news.
    pub const NOTHING: Ready = Ready { readable: false, writable: false, is_special: false };
}

/// The answer to a control request.
pub enum Answer {
    /// A list of bytes, as most drivers answer.
    Bytes(Vec<u8>),
    /// A binary, where the driver wants it so.
    Binary(Vec<u8>),
}

/// Makes a driver for a new port.
pub type DriverFactory = fn(&'static Vm) -> Arc<dyn Driver>;

/// A driver that was loaded while the machine runs, and that opens ports of its own.
pub trait LinkedIn: Send + Sync {
    /// Opens a port for a process with what was given as the driver's name and arguments.
    fn start(
        self: Arc<Self>,
        vm: &'static Vm,
        owner: u64,
        command: String,
        options: Options,
    ) -> Started;
}

/// What became of opening a port.
pub enum Started {
    Port(Arc<Port>),
    /// The driver says later whether it is open: the owner gets `{Reference, Answer}`.
    Later(Arc<Port>, RefValue),
    /// With the number of an error, or else for wrong arguments.
    Refused(Option<i32>),
}

thread_local! {
    /// How much of a turn the callbacks have used that the thread has made since it was last asked,
    /// in per cent.
    static CONSUMED: Cell<u32> = const { Cell::new(0) };
}

/// Notes that a callback has used so much of a turn, in per cent; whether it is all used.
pub fn consume(percent: u32) -> bool {
    CONSUMED.set(CONSUMED.get().saturating_add(percent));
    CONSUMED.get() >= 100
}

/// What callbacks have used of a turn on this thread, in per cent; it is forgotten.
pub(super) fn take_consumed() -> usize {
    CONSUMED.take().min(100) as usize
}

/// What stands behind a port. Its methods may be called by several threads at once.
pub trait Driver: Send + Sync {
    /// Takes what a process writes.
    fn output(&self, request: &Request<'_>, bytes: Vec<u8>) -> Written;

    /// As [`Driver::output`], of bytes in parts: for drivers that need not have them in one piece.
    fn output_parts(&self, request: &Request<'_>, parts: &mut [IoPart]) -> Written {
        let bytes = match parts {
            [IoPart::Bytes(bytes)] => std::mem::take(bytes),
            parts => parts.iter().map(IoPart::bytes).collect::<Vec<_>>().concat(),
        };
        self.output(request, bytes)
    }

    /// `port_control/3`; `None` where the driver knows no such operation or its data are wrong.
    fn control(&self, request: &Request<'_>, operation: u64, data: &[u8]) -> Option<Answer> {
        let _ = (request, operation, data);
        None
    }

    /// `port_call/3`, with a term in the external format; `None` where the driver knows no such
    /// operation.
    fn call(&self, request: &Request<'_>, operation: u64, data: &[u8]) -> Option<Vec<u8>> {
        let _ = (request, operation, data);
        None
    }

    /// The poller's news of a descriptor that the driver has registered.
    fn ready(&self, vm: &'static Vm, port: &Arc<Port>, ready: Ready) {
        let _ = (vm, port, ready);
    }

    /// Gives up what the port stands for. Called once; nothing is asked of the driver afterwards
    /// but what was under way.
    fn close(&self, vm: &'static Vm, port: &Port);

    /// Whether it is still writing although its port was closed. It calls [`Port::finished`] when
    /// it has written everything.
    fn lingers(&self) -> bool {
        false
    }

    /// Drops what is still to be written: the port is about to be killed.
    fn drop_queue(&self) {}

    /// Feeds a connection to another node from now on, and is fed by it. `false` where the driver
    /// cannot.
    fn attach(&self, vm: &'static Vm, port: &Arc<Port>, channel: SharedChannel) -> bool {
        let _ = (vm, port, channel);
        false
    }

    /// There is something to be written on the connection.
    fn channel_filled(&self, vm: &'static Vm, port: &Arc<Port>) {
        let _ = (vm, port);
    }

    /// Whether it takes what is written by force while it is busy.
    fn takes_force(&self) -> bool {
        false
    }

    /// Whether a process that writes would have to wait.
    fn is_busy(&self) -> bool {
        false
    }

    /// Whether writers wait while it is busy: it calls [`Port::wake_writers`] when it is not any
    /// more. Other drivers take what is written all the same.
    fn suspends_writers(&self) -> bool {
        false
    }

    /// A monitor with this number is asked for. Called before it is there.
    fn note_monitor(&self, reference: u64) {
        let _ = reference;
    }

    /// Whether a monitor was asked for while something was under way that ends the port: it finds
    /// no port then.
    fn comes_too_late(&self, reference: u64) -> bool {
        let _ = reference;
        false
    }

    /// The processes that the driver monitors, for `port_info(Port, monitors)`.
    fn monitored(&self) -> Vec<u64> {
        Vec::new()
    }

    /// The process of the operating system behind the port, if it became known after the start.
    fn os_pid(&self) -> Option<u32> {
        None
    }

    /// Bytes that wait to be written, for `port_info(Port, queue_size)`.
    fn queued_bytes(&self) -> usize {
        0
    }
}

impl Answer {
    /// What `port_control/3` returns.
    pub fn to_term(&self, heap: &mut impl Alloc) -> Term {
        match self {
            Answer::Bytes(bytes) => heap.byte_list(bytes, Term::NIL),
            Answer::Binary(bytes) => heap.binary(bytes),
        }
    }
}

/// Sends a message that `build` makes to a process.
pub fn tell(vm: &'static Vm, port: &Port, to: u64, build: impl FnOnce(&mut Draft) -> Term) {
    let _guard = swarmrt_machine::pin();
    swarmrt_machine::signal::send_drafted(vm, port.term, to, build);
}
