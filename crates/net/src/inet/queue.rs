//! A queue that takes one word while nothing has been put into it: most sockets have four that stay
//! empty.

use std::collections::{VecDeque, vec_deque};
use std::ops::{Deref, DerefMut};

/// A [`VecDeque`] that is made when it is first written to.
#[allow(clippy::box_collection, reason = "one that is empty is to take one word")]
pub(super) struct Queue<T>(Option<Box<VecDeque<T>>>);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue(None)
    }
}

impl<T: 'static> Queue<T> {
    const EMPTY: &'static VecDeque<T> = &VecDeque::new();

    pub(super) fn pop_front(&mut self) -> Option<T> {
        self.0.as_mut()?.pop_front()
    }
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

impl<T: 'static> Deref for Queue<T> {
    type Target = VecDeque<T>;
    fn deref(&self) -> &VecDeque<T> {
        self.0.as_deref().unwrap_or(Self::EMPTY)
    }
}

impl<T: 'static> DerefMut for Queue<T> {
    fn deref_mut(&mut self) -> &mut VecDeque<T> {
        self.0.get_or_insert_default()
    }
}

impl<T> IntoIterator for Queue<T> {
    type Item = T;
    type IntoIter = vec_deque::IntoIter<T>;
    fn into_iter(self) -> vec_deque::IntoIter<T> {
        self.0.map(|queue| *queue).unwrap_or_default().into_iter()
    }
}
