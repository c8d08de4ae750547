//! The queue of signals on their way to a process: many senders, one receiver, no lock.
//!
//! Guarantees: what one sender pushes is received in the order of its pushes; what is pushed is
//! received once, or by [`Incoming::close`]; after that every push is refused.
//!
//! It is a stack whose links are in the items. The receiver takes all of it over at once and turns
//! it round, so nobody ever takes out a single item, and an item that is freed and used again does
//! no harm.

use crate::sync::atomic::{AtomicPtr, Ordering};

/// An item with a link to the next one in it.
pub trait Linked {
    /// The link of an item.
    ///
    /// # Safety
    /// `item` is live, and no other thread changes its link.
    unsafe fn next(item: *mut Self) -> *mut Self;
    /// Sets the link of an item.
    ///
    /// # Safety
    /// `item` is live, and no other thread reads or changes its link.
    unsafe fn set_next(item: *mut Self, next: *mut Self);
}

/// What became of an item that was to be pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It is the first since the receiver last looked: the receiver has to be told.
    First,
    /// There are others, of which the receiver has been told or is about to be.
    Behind,
    /// The queue is closed, and the item still the caller's, linked to nothing.
    Refused,
}

/// The queue: see the head of this file.
pub struct Incoming<T> {
    /// The newest item; [`closed`] once the queue is.
    newest: AtomicPtr<T>,
}

/// Stands for a queue that is closed; no item has this address.
fn closed<T>() -> *mut T {
    std::ptr::without_provenance_mut(1)
}

impl<T: Linked> Default for Incoming<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked> Incoming<T> {
    /// An empty queue, not closed.
    pub fn new() -> Incoming<T> {
        Incoming { newest: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Whether nothing seems to be there. An item whose push is over, as the caller knows from
    /// elsewhere, is not missed.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Relaxed).is_null()
    }
    /// Whether it was closed a moment ago; a sender that gets `false` may still be refused.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.newest.load(Ordering::Relaxed) == closed()
    }

    /// Adds an item as the newest.
    ///
    /// # Safety
    /// `item` is live and in no list. It belongs to the queue afterwards, unless it is refused.
    #[inline]
    pub unsafe fn push(&self, item: *mut T) -> Pushed {
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            if newest == closed() {
                // SAFETY: the item is still ours.
                unsafe { T::set_next(item, std::ptr::null_mut()) };
                return Pushed::Refused;
            }
            // SAFETY: the item is ours until it is published. The one below it is not looked at.
            unsafe { T::set_next(item, newest) };
            // Release: the receiver sees the item whole, and with it what its sender pushed before.
            match self.newest.compare_exchange_weak(
                newest,
                item,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return if newest.is_null() { Pushed::First } else { Pushed::Behind },
                Err(now) => newest = now,
            }
        }
    }

    /// All items that are there, oldest first, as a list that is the caller's. For the receiver
    /// only.
    #[inline]
    pub fn take_all(&self) -> *mut T {
        debug_assert!(!self.is_closed(), "a queue is closed at the receiver's end");
        // Acquire: the items are seen whole. Pushes build on each other, so the newest stands for
        // all of them.
        let newest = self.newest.swap(std::ptr::null_mut(), Ordering::Acquire);
        // SAFETY: what was in the queue is ours now.
        unsafe { turned_round(newest) }
    }

    /// All items, as [`Incoming::take_all`], if `newest` is the newest of them still; else a null
    /// pointer, and they stay. For the receiver only.
    pub fn take_from(&self, newest: *mut T) -> *mut T {
        // Acquire: as in `take_all`.
        let taken = self.newest.compare_exchange(
            newest,
            std::ptr::null_mut(),
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        match taken {
            // SAFETY: what was in the queue is ours now.
            Ok(newest) => unsafe { turned_round(newest) },
            Err(_) => std::ptr::null_mut(),
        }
    }

    /// Closes the queue; what is still there, as [`Incoming::take_all`]. For the receiver only,
    /// once.
    pub fn close(&self) -> *mut T {
        let newest = self.newest.swap(closed(), Ordering::Acquire);
        assert!(newest != closed(), "a queue is closed once");
        // SAFETY: what was in the queue is ours now.
        unsafe { turned_round(newest) }
    }

    /// The newest item, null where there is none. For the receiver only, which follows the links to
    /// the older ones.
    pub fn peek(&self) -> *mut T {
        // Acquire: as in `take_all`.
        let newest = self.newest.load(Ordering::Acquire);
        if newest == closed() { std::ptr::null_mut() } else { newest }
    }
}

/// The list in the opposite order: the oldest item first.
///
/// # Safety
/// The list is the caller's alone.
#[inline]
unsafe fn turned_round<T: Linked>(mut newest: *mut T) -> *mut T {
    let mut oldest = std::ptr::null_mut();
    while !newest.is_null() {
        // SAFETY: the caller's.
        unsafe {
            let next = T::next(newest);
            T::set_next(newest, oldest);
            oldest = newest;
            newest = next;
        }
    }
    oldest
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    #[cfg(loom)]
    use loom::cell::UnsafeCell;

    /// An item as plain memory, so that a race on it is a race that loom reports.
    pub(crate) struct Node {
        #[cfg(loom)]
        next: UnsafeCell<*mut Node>,
        #[cfg(not(loom))]
        next: *mut Node,
        value: usize,
    }

    #[cfg(loom)]
    impl Node {
        pub(crate) fn new(value: usize) -> *mut Node {
            Box::into_raw(Box::new(Node { next: UnsafeCell::new(std::ptr::null_mut()), value }))
        }
    }
    #[cfg(loom)]
    impl Linked for Node {
        unsafe fn next(item: *mut Node) -> *mut Node {
            unsafe { (*item).next.with(|next| *next) }
        }
        unsafe fn set_next(item: *mut Node, to: *mut Node) {
            unsafe { (*item).next.with_mut(|next| *next = to) }
        }
    }

    #[cfg(not(loom))]
    impl Node {
        pub(crate) fn new(value: usize) -> *mut Node {
            Box::into_raw(Box::new(Node { next: std::ptr::null_mut(), value }))
        }
    }
    #[cfg(not(loom))]
    impl Linked for Node {
        unsafe fn next(item: *mut Node) -> *mut Node {
            unsafe { (*item).next }
        }
        unsafe fn set_next(item: *mut Node, to: *mut Node) {
            unsafe { (*item).next = to }
        }
    }

    /// The values of a list, which is freed.
    pub(crate) fn values(mut list: *mut Node) -> Vec<usize> {
        let mut values = Vec::new();
        while !list.is_null() {
            // SAFETY: the list is the caller's, of nodes that were boxed.
            let node = unsafe { Box::from_raw(list) };
            values.push(node.value);
            // SAFETY: the node is a live box of this list.
            list = unsafe { Node::next((&raw const *node).cast_mut()) };
        }
        values
    }

    #[cfg(not(loom))]
    #[test]
    fn first_in_first_out_until_closed() {
        let queue = Incoming::new();
        let push = |value| unsafe { queue.push(Node::new(value)) };
        assert!(queue.is_empty());
        assert_eq!([push(1), push(2), push(3)], [Pushed::First, Pushed::Behind, Pushed::Behind]);
        assert!(!queue.is_empty());
        assert_eq!(values(queue.take_all()), [1, 2, 3]);
        assert_eq!([push(1), push(2)], [Pushed::First, Pushed::Behind]);
        let newest = queue.peek();
        assert_eq!(push(3), Pushed::Behind);
        assert!(queue.take_from(newest).is_null(), "there is a newer one");
        assert_eq!(values(queue.take_from(queue.peek())), [1, 2, 3]);
        assert_eq!(push(4), Pushed::First);
        assert_eq!(values(queue.close()), [4]);
        assert!(queue.is_closed());
        let late = Node::new(5);
        assert_eq!(unsafe { queue.push(late) }, Pushed::Refused);
        assert_eq!(values(late), [5]);
        assert!(queue.peek().is_null());
    }

    #[cfg(loom)]
    mod loom_tests {
        use super::*;
        use loom::sync::Arc;
        use loom::thread;

        struct Queue(Incoming<Node>);
        // SAFETY: items are handed over through the queue.
        unsafe impl Send for Queue {}
        // SAFETY: items are handed over through the queue.
        unsafe impl Sync for Queue {}

        /// Pushes tens and units as two senders: `10 * sender + number`. How many were refused.
        fn sender(queue: &Arc<Queue>, sender: usize) -> thread::JoinHandle<usize> {
            let queue = queue.clone();
            thread::spawn(move || {
                let mut refused = 0;
                for number in 0..2 {
                    let node = Node::new(10 * sender + number);
                    // SAFETY: a new node is in no list.
                    if unsafe { queue.0.push(node) } == Pushed::Refused {
                        refused += values(node).len();
                    }
                }
                refused
            })
        }

        fn assert_in_order(received: &[usize]) {
            for sender in 1..=2 {
                let of_sender: Vec<usize> =
                    received.iter().copied().filter(|value| value / 10 == sender).collect();
                assert!(of_sender.is_sorted(), "out of order: {received:?}");
            }
        }

        #[test]
        fn loom_nothing_lost_nothing_out_of_order() {
            loom::model(|| {
                let queue = Arc::new(Queue(Incoming::new()));
                let senders = [sender(&queue, 1), sender(&queue, 2)];
                let mut received = values(queue.0.take_all());
                received.extend(values(queue.0.take_all()));
                for sender in senders {
                    assert_eq!(sender.join().expect("no thread panics"), 0);
                }
                received.extend(values(queue.0.take_all()));
                assert_in_order(&received);
                assert_eq!(received.len(), 4);
            });
        }

        #[test]
        fn loom_closing_gets_all_that_was_not_refused() {
            loom::model(|| {
                let queue = Arc::new(Queue(Incoming::new()));
                let senders = [sender(&queue, 1), sender(&queue, 2)];
                let mut received = values(queue.0.take_all());
                received.extend(values(queue.0.close()));
                let refused: usize = senders
                    .into_iter()
                    .map(|sender| sender.join().expect("no thread panics"))
                    .sum();
                assert_in_order(&received);
                assert_eq!(received.len() + refused, 4);
            });
        }
    }
}
