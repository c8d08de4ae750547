//! How many descriptors libraries have the machine wait for, which test suites look at.

use std::sync::OnceLock;

/// Descriptors of linked-in drivers, and of other native libraries.
pub type Count = fn() -> (usize, usize);

/// Set by the crate that waits for them.
#[derive(Default)]
pub struct WatchedDescriptors(OnceLock<Count>);

impl WatchedDescriptors {
    /// Sets the function that counts; the first one counts.
    pub fn set(&self, count: Count) {
        self.0.get_or_init(|| count);
    }
    /// Descriptors of linked-in drivers, and of other native libraries; none where nothing is set.
    pub fn count(&self) -> (usize, usize) {
        self.0.get().map_or((0, 0), |count| count())
    }
}
