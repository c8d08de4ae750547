//! What happens before the machine halts, where halting waits for output (`flush`).

use crate::vm::Vm;
use std::sync::OnceLock;

/// Ends calls of native libraries that are under way; it may wait.
pub type BeforeHalt = fn(&'static Vm);

/// Set by the crate that runs native libraries.
#[derive(Default)]
pub struct Halting(OnceLock<BeforeHalt>);

impl Halting {
    /// Sets the function; the first one counts.
    pub fn set(&self, before: BeforeHalt) {
        self.0.get_or_init(|| before);
    }
    /// Calls the function, if one is set.
    pub fn prepare(&self, vm: &'static Vm) {
        if let Some(before) = self.0.get() {
            before(vm);
        }
    }
}
