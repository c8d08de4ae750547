//! Calls from Rust into a machine.

use crate::convert::{ConversionError, OwnedTerm};
use crate::embedded::Life;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use swarmrt_machine::Vm;
use swarmrt_machine::process::{Ended, OnEnd};
use swarmrt_term::Term;

/// Why a call has no result.
#[derive(Debug)]
pub enum CallError {
    /// It raised an exception: its class (`error`, `exit`, `throw`), reason, and stack trace.
    Raised {
        class: String,
        reason: OwnedTerm,
        trace: OwnedTerm,
    },
    /// Its process was ended by a signal, with this reason.
    Ended(OwnedTerm),
    /// The machine halted meanwhile.
    Halted,
    TooManyProcesses,
    /// What was waited for did not happen in time.
    TimedOut,
    Conversion(ConversionError),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Raised { class, reason, .. } => write!(f, "{class}: {reason}"),
            CallError::Ended(reason) => write!(f, "the process was ended: {reason}"),
            CallError::Halted => write!(f, "the machine halted"),
            CallError::TooManyProcesses => write!(f, "there are too many processes"),
            CallError::TimedOut => write!(f, "it takes too long"),
            CallError::Conversion(error) => error.fmt(f),
        }
    }
}
impl std::error::Error for CallError {}
impl From<ConversionError> for CallError {
    fn from(error: ConversionError) -> CallError {
        CallError::Conversion(error)
    }
}

type Outcome = Result<OwnedTerm, CallError>;

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    is_settled: bool,
}

impl Slot {
    /// The first outcome counts.
    fn settle(&self, outcome: Outcome) {
        let mut state = self.state.lock();
        if !state.is_settled {
            state.is_settled = true;
            state.outcome = Some(outcome);
            self.arrived.notify_all();
            if let Some(waker) = state.waker.take() {
                drop(state);
                waker.wake();
            }
        }
    }
}

/// The calls that go on, by number.
#[derive(Default)]
struct Calls {
    open: Mutex<HashMap<u64, Arc<Slot>>>,
    next: AtomicU64,
    hook: OnceLock<()>,
}

impl Calls {
    fn end_all_on_halt(&'static self, vm: &'static Vm) {
        self.hook.get_or_init(|| vm.on_halt(Box::new(|| self.halted())));
    }
    fn halted(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        open.into_values().for_each(|slot| slot.settle(Err(CallError::Halted)));
    }
}

/// A call that goes on: a future of its result, or something to [wait](Call::wait) for. Dropping it
/// does not end the call.
pub struct Call {
    slot: Arc<Slot>,
    _of: Arc<Life>,
}

impl Call {
    /// A call, and what has to be told of the process that does it.
    pub(crate) fn new(life: &Arc<Life>) -> (Call, OnEnd) {
        let vm = life.vm();
        let calls = vm.extension::<Calls>();
        calls.end_all_on_halt(vm);
        let slot = Arc::new(Slot::default());
        let number = calls.next.fetch_add(1, Ordering::Relaxed);
        calls.open.lock().insert(number, slot.clone());
        if vm.is_halting() {
            calls.halted();
        }
        let call = Call { slot: slot.clone(), _of: life.clone() };
        let life = Arc::downgrade(life);
        let on_end = move |ended: Ended| {
            calls.open.lock().remove(&number);
            // Nobody waits for the outcome where nobody has the machine any more.
            let Some(life) = life.upgrade() else { return };
            let own = |term: Term| OwnedTerm::copy_of(term, life.clone());
            slot.settle(match ended {
                Ended::Returned(value) => Ok(own(value)),
                Ended::Raised { class, reason, trace } => Err(CallError::Raised {
                    class: class.name().to_owned(),
                    reason: own(reason),
                    trace: own(trace),
                }),
                Ended::Exited(reason) => Err(CallError::Ended(own(reason))),
            });
        };
        (call, Box::new(on_end))
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// Why there is none.
    pub fn wait(self) -> Outcome {
        let mut state = self.slot.state.lock();
        loop {
            if let Some(outcome) = state.outcome.take() {
                return outcome;
            }
            self.slot.arrived.wait(&mut state);
        }
    }
}

impl Future for Call {
    type Output = Outcome;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = self.slot.state.lock();
        match state.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
