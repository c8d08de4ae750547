//! What is to be done before the machine halts, where halting waits for output (`flush`).

use crate::vm::Vm;
use std::sync::OnceLock;

/// Ends what is under way; it may wait.
pub type BeforeHalt = fn(&'static Vm);

/// Set by the crate that runs native libraries.
#[derive(Default)]
pub struct Halting(OnceLock<BeforeHalt>);

impl Halting {
    pub fn set(&self, before: BeforeHalt) {
        self.0.get_or_init(|| before);
    }
    /// Ends what is under way.
    pub fn prepare(&self, vm: &'static Vm) {
        if let Some(before) = self.0.get() {
            before(vm);
        }
    }
}
