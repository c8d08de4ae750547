//! The part of a process that few processes need, so that the others do not pay for it.

use super::MaxHeapSize;
use super::call_trace::Measuring;
use super::links::Tag;
use super::saved_calls::SavedCalls;
use crate::vm::Vm;
use std::collections::BTreeMap;
use swarmrt_heap::Fragment;
use swarmrt_term::{Atom, FragmentHeap, Term, am};

/// See [`Extra::on_exit`].
pub struct OnExit {
    pub watcher: Watcher,
    pub call: Box<dyn FnOnce(&'static Vm) + Send>,
}

/// A watcher that is no process: what `process_info(Pid, monitored_by)` shows besides pids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watcher {
    /// Not shown.
    Hidden,
    /// The counted memory with this number: a resource.
    Memory(u64),
    Port(u64),
}

/// The part of a process that few processes need.
pub struct Extra {
    pub suspended: u32,
    /// How many of the suspensions are waits for a connection to another node.
    pub connection_waits: u32,
    /// What was left of the time limit of its receive when it was suspended.
    pub receive_left_ns: Option<u64>,
    /// The processes that this one has suspended (numbers of pids), and how often.
    pub suspending: Vec<(u64, u32)>,
    pub max_heap_size: MaxHeapSize,
    pub error_handler: Atom,
    pub message_queue_data: Atom,
    pub sensitive: bool,
    /// As the process flag `save_calls`.
    pub(super) saved_calls: Option<Box<SavedCalls>>,
    pub async_dist: bool,
    /// Collections that others ask for are put off (`erts_debug`).
    pub defers_collections: bool,
    /// A signal reply that a built-in waits for: its number, and the reply when it is there.
    pub replies: Vec<(u64, *mut Fragment)>,
    /// Its end is the end of a connection to another node, or of all of them: see
    /// [`crate::signal::remote::Remote::process_ended`].
    pub controls_connections: bool,
    /// Called when the process ends, by a number under which it can be taken out again.
    pub on_exit: BTreeMap<u64, OnExit>,
    pub label: Option<FragmentHeap>,
    /// The functions that it is in whose calls are measured, one a session.
    pub measuring: Vec<Measuring>,
    /// Called with the outcome of the process.
    pub on_end: Option<OnEnd>,
    /// The outcome, once the process's function has ended.
    pub(crate) ended: Option<Ended>,
    /// The exit reason of a process that was ended while a library's function had its heap.
    pub(crate) exit_reason: Option<Tag>,
}

/// The outcome of a process.
pub enum Ended {
    /// Its function returned this.
    Returned(Term),
    /// It raised an exception that nobody caught; with the readable stack trace.
    Raised { class: Atom, reason: Term, trace: Term },
    /// It was ended, or ended itself, with this reason.
    Exited(Term),
}

/// Called with the outcome of a process, by the thread that ran it, while its terms are there, and
/// after all related processes were told. It must be quick.
pub type OnEnd = Box<dyn FnOnce(Ended) + Send>;

// SAFETY: reply fragments belong to the process.
unsafe impl Send for Extra {}

impl Drop for Extra {
    fn drop(&mut self) {
        for (_, reply) in self.replies.drain(..).filter(|(_, reply)| !reply.is_null()) {
            // SAFETY: a reply that nobody has taken is the process's, and in no list.
            unsafe { Fragment::free(reply) };
        }
    }
}

impl Default for Extra {
    fn default() -> Self {
        Extra {
            suspended: 0,
            connection_waits: 0,
            receive_left_ns: None,
            suspending: Vec::new(),
            max_heap_size: MaxHeapSize::NONE,
            error_handler: am::ERROR_HANDLER,
            message_queue_data: Atom::new("on_heap"),
            sensitive: false,
            saved_calls: None,
            async_dist: false,
            defers_collections: false,
            replies: Vec::new(),
            controls_connections: false,
            on_exit: BTreeMap::new(),
            label: None,
            measuring: Vec::new(),
            on_end: None,
            ended: None,
            exit_reason: None,
        }
    }
}
