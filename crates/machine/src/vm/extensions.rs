//! State that crates above keep in the machine, found by its type.
//!
//! Every call of a table's or a port's built-in asks here, so finding takes no lock: there are far
//! fewer kinds of state than places, and a place once taken stays taken.

use parking_lot::Mutex;
use std::any::{Any, TypeId};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

/// Made by a box, and freed with the machine.
type State = &'static (dyn Any + Send + Sync);

/// Places; a power of two, several times the kinds of state that there are.
const PLACES: usize = 128;
const _: () = assert!(PLACES.is_power_of_two());

/// The state of other crates in one machine, at most one value of each type.
pub struct Extensions {
    places: [OnceLock<(TypeId, State)>; PLACES],
    /// The places taken, in the order in which they were.
    order: Mutex<Vec<usize>>,
}

/// Passes on the hash that a [`TypeId`] has of itself.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
    fn write(&mut self, bytes: &[u8]) {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        self.0 = hasher.finish();
    }
}

impl Default for Extensions {
    fn default() -> Self {
        Extensions { places: [const { OnceLock::new() }; PLACES], order: Mutex::default() }
    }
}

impl Extensions {
    /// The state of this type: made when it is first asked for.
    ///
    /// # Panics
    /// When there are more kinds of state than places.
    pub fn get<T: Any + Send + Sync + Default>(&self) -> &'static T {
        let key = TypeId::of::<T>();
        let mut hasher = Itself::default();
        key.hash(&mut hasher);
        let start = hasher.finish() as usize;
        for step in 0..PLACES {
            let at = (start + step) % PLACES;
            let &(taken_by, state) = self.places[at].get_or_init(|| {
                let made: &'static T = Box::leak(Box::new(T::default()));
                self.order.lock().push(at);
                (key, made)
            });
            if taken_by == key {
                // SAFETY: its type is the one that it is kept by.
                return unsafe { &*std::ptr::from_ref(state).cast::<T>() };
            }
        }
        panic!("there are places for {PLACES} kinds of state");
    }

    /// Frees all state, what was made last first. Nobody has a reference to any.
    pub(super) fn clear(&mut self) {
        while let Some(at) = self.order.get_mut().pop() {
            if let Some((_, state)) = self.places[at].take() {
                // SAFETY: it was made by a box, and is nobody else's as the caller says.
                drop(unsafe { Box::from_raw(std::ptr::from_ref(state).cast_mut()) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    struct One(AtomicU32);
    #[derive(Default)]
    struct Other(AtomicU32);

    #[test]
    fn each_type_has_one_state() {
        let extensions = Extensions::default();
        extensions.get::<One>().0.store(1, Ordering::Relaxed);
        extensions.get::<Other>().0.store(2, Ordering::Relaxed);
        assert_eq!(extensions.get::<One>().0.load(Ordering::Relaxed), 1);
        assert_eq!(extensions.get::<Other>().0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn threads_that_ask_at_once_find_the_same() {
        let extensions = Extensions::default();
        std::thread::scope(|scope| {
            let ask = || scope.spawn(|| std::ptr::from_ref(extensions.get::<One>()) as usize);
            let (a, b) = (ask(), ask());
            assert_eq!(a.join().expect("it does not panic"), b.join().expect("it does not panic"));
        });
    }
}
