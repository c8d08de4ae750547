//! The atomics and locks of the structures that loom checks: loom's own when it does, the real ones
//! otherwise.
//!
//! `script/loom` runs the checks: all interleavings of a few threads, with all that the memory
//! model allows them to see.

#[cfg(not(loom))]
pub use parking_lot::{Condvar, Mutex};
#[cfg(not(loom))]
pub use std::sync::atomic;

#[cfg(loom)]
pub use loom::sync::atomic;
#[cfg(loom)]
pub use model::{Condvar, Mutex};

/// Loom's locks with the shape of `parking_lot`'s.
#[cfg(loom)]
mod model {
    use std::ops::{Deref, DerefMut};

    /// A lock; see `parking_lot::Mutex`.
    pub struct Mutex<T>(loom::sync::Mutex<T>);
    /// Empty only while its condition is waited for.
    pub struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);
    /// A condition variable; see `parking_lot::Condvar`.
    pub struct Condvar(loom::sync::Condvar);

    const WAITING: &str = "a guard is not used while its thread waits";

    impl<T> Mutex<T> {
        /// A lock that nobody holds.
        pub fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }
        /// Waits for the lock. The guard releases it.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().expect("no thread panics while it holds the lock")))
        }
    }

    impl Condvar {
        /// A condition that nobody waits for.
        pub fn new() -> Condvar {
            Condvar(loom::sync::Condvar::new())
        }
        /// Wakes one thread that waits, if there is one.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }
        /// Releases the lock, waits to be woken, and takes the lock again.
        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let inner = guard.0.take().expect(WAITING);
            guard.0 = Some(self.0.wait(inner).expect("no thread panics while it holds the lock"));
        }
        /// As [`Condvar::wait`]: time does not pass here.
        pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: std::time::Duration) -> Waited {
            self.wait(guard);
            Waited
        }
    }

    /// The outcome of [`Condvar::wait_for`].
    pub struct Waited;

    impl Waited {
        /// Whether the time was over: never.
        pub fn timed_out(&self) -> bool {
            false
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.0.as_ref().expect(WAITING)
        }
    }
    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect(WAITING)
        }
    }
}
