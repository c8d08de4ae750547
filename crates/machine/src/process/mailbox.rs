//! A process's own list of received messages, in order of arrival, with the receive cursor and the
//! markers that let a receive skip what came before a reference was made.

use crate::process::sequential::TOKEN_BIT;
use std::collections::VecDeque;
use swarmrt_heap::{Fragment, Leaving};
use swarmrt_term::{Alloc, FragmentHeap, Term};

/// Messages taken over from the incoming queue; each stays in its fragment until it is received.
///
/// The list is singly linked; the cursor is the link that points at the message under
/// consideration, so that taking a message out needs no search.
pub struct Mailbox {
    first: *mut Fragment,
    /// The last message; null when there is none.
    last: *mut Fragment,
    /// The message before the cursor; null when the cursor is at the first.
    before_cursor: *mut Fragment,
    length: usize,
    /// The first so many messages are priority messages (OTP 28).
    priority_length: usize,
    /// Code may be looking at the message at the cursor: see [`Mailbox::detach_peeked`].
    peeked: bool,
    /// A priority message came before the message that code is looking at.
    scan_again: bool,
    /// The number of the next marker. After the highest comes 0 again: of the few markers there
    /// are, no two have the same.
    next_marker: u16,
    next_sequence: u32,
    markers: Vec<Marker>,
    /// `None` when every message is a term.
    unreadable: Option<Box<Unreadable>>,
}

/// What is to be done when the process comes to a message that is no term.
pub type OnLook = Box<dyn FnOnce() + Send>;

/// Messages whose bytes are no term, in the order of the list, each with what its discovery leads
/// to. They count as messages until the process looks at them. Their root is [`UNREADABLE`].
#[derive(Default)]
struct Unreadable(VecDeque<(*mut Fragment, OnLook)>);

/// The root of a message that is no term: no message has this one otherwise.
const UNREADABLE: Term = Term::NONE;

// SAFETY: the messages belong to the process.
unsafe impl Send for Mailbox {}

/// A place in the list: everything up to and including `after` came before the reference.
struct Marker {
    /// The number of the marker, or the reference that it is bound to.
    key: u64,
    bound: bool,
    after: *mut Fragment,
}

/// Markers that a process can have at a time; a further one replaces the oldest. OTP keeps a
/// similar handful.
const MARKERS_MAX: usize = 8;

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Mailbox {
    /// An empty mailbox.
    pub const fn new() -> Mailbox {
        Mailbox {
            first: std::ptr::null_mut(),
            last: std::ptr::null_mut(),
            before_cursor: std::ptr::null_mut(),
            length: 0,
            priority_length: 0,
            peeked: false,
            scan_again: false,
            next_marker: 0,
            next_sequence: 0,
            markers: Vec::new(),
            unreadable: None,
        }
    }
    /// Messages that were taken over from the incoming queue and not received yet.
    pub fn len(&self) -> usize {
        self.length
    }
    /// Whether no message waits here; the incoming queue may have some.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends a message.
    /// # Safety
    /// `message` is in no list.
    pub unsafe fn push(&mut self, message: *mut Fragment) {
        // SAFETY: the caller's, and our own messages are live.
        unsafe {
            (*message).next = std::ptr::null_mut();
            (*message).sequence = self.next_sequence;
            self.next_sequence = self.next_sequence.wrapping_add(1);
            if self.last.is_null() {
                self.first = message;
            } else {
                (*self.last).next = message;
            }
        }
        self.last = message;
        self.length += 1;
    }

    /// Puts a priority message behind the other priority messages, before all ordinary ones. A
    /// receive under way sees it, even one that skips the messages before its marker.
    /// # Safety
    /// `message` is in no list.
    pub unsafe fn push_priority(&mut self, message: *mut Fragment) {
        let mut before: *mut Fragment = std::ptr::null_mut();
        let mut in_front = vec![before];
        for _ in 0..self.priority_length {
            // SAFETY: messages of ours.
            before = if before.is_null() { self.first } else { unsafe { (*before).next } };
            in_front.push(before);
        }
        // SAFETY: the caller's, and our own messages are live.
        unsafe {
            (*message).sequence = self.next_sequence;
            self.next_sequence = self.next_sequence.wrapping_add(1);
            if before.is_null() {
                (*message).next = self.first;
                self.first = message;
            } else {
                (*message).next = (*before).next;
                (*before).next = message;
            }
            if (*message).next.is_null() {
                self.last = message;
            }
        }
        self.length += 1;
        self.priority_length += 1;
        if !in_front.contains(&self.before_cursor) {
            if self.peeked {
                self.scan_again = true;
            } else {
                self.before_cursor = before;
            }
        }
        for marker in &mut self.markers {
            if !in_front.contains(&marker.after) {
                marker.after = before;
            }
        }
    }

    /// Whether the message at the cursor is a priority message.
    fn is_priority_at_cursor(&self) -> bool {
        let message = self.at_cursor();
        let mut at = self.first;
        for _ in 0..self.priority_length {
            if at == message {
                return true;
            }
            // SAFETY: a message of ours.
            at = unsafe { (*at).next };
        }
        false
    }

    #[inline]
    fn at_cursor(&self) -> *mut Fragment {
        if self.before_cursor.is_null() {
            self.first
        } else {
            // SAFETY: a message of ours.
            unsafe { (*self.before_cursor).next }
        }
    }

    /// Appends a message of another node whose bytes are no term. It disappears when the process
    /// comes to it, which calls `on_look`; it is not called when the process ends before.
    pub fn push_unreadable(&mut self, on_look: OnLook) {
        let message = Fragment::copy_of(UNREADABLE);
        // SAFETY: just made.
        unsafe { self.push(message) };
        self.unreadable.get_or_insert_default().0.push_back((message, on_look));
    }

    /// Takes the message at the cursor out if it is unreadable; the cursor is at the next then.
    #[cold]
    fn drop_unreadable_at_cursor(&mut self) -> bool {
        if self.peek() != Some(UNREADABLE) {
            return false;
        }
        let message = self.at_cursor();
        let unreadable = self.unreadable.as_mut().expect("it is one of them");
        let at = unreadable.0.iter().position(|&(other, _)| other == message);
        let at = at.expect("it is one of them");
        let (_, on_look) = unreadable.0.remove(at).expect("it was found there");
        if unreadable.0.is_empty() {
            self.unreadable = None;
        }
        let (before, scan_again) = (self.before_cursor, self.scan_again);
        if let Some(message) = self.take() {
            // SAFETY: the message is in no list any more.
            unsafe { Fragment::free(message) };
        }
        (self.before_cursor, self.scan_again) = (before, scan_again);
        on_look();
        true
    }

    /// Takes out all messages that are no terms.
    pub fn drop_unreadable(&mut self) {
        let cursor = std::mem::replace(&mut self.before_cursor, std::ptr::null_mut());
        let (mut after, peeked) = (cursor, self.peeked);
        while self.unreadable.is_some() {
            let (message, before) = (self.at_cursor(), self.before_cursor);
            assert!(!message.is_null(), "unreadable messages are in the list");
            if !self.drop_unreadable_at_cursor() {
                self.before_cursor = message;
            } else if message == cursor {
                after = before;
            }
        }
        (self.before_cursor, self.peeked) = (after, peeked);
    }

    /// The message at the cursor, for code that may hold parts of it.
    #[inline]
    pub fn receive_peek(&mut self) -> Option<Term> {
        while self.unreadable.is_some() && self.drop_unreadable_at_cursor() {}
        let message = self.peek();
        self.peeked = message.is_some();
        message
    }

    /// For code that may hold parts of the message at the cursor beyond the receive: replaces the
    /// message by a copy and returns the original, whose terms are to go to the heap.
    pub fn detach_peeked(&mut self) -> Option<*mut Fragment> {
        if !std::mem::take(&mut self.peeked) {
            return None;
        }
        let message = self.at_cursor();
        if message.is_null() {
            return None;
        }
        // SAFETY: a message of ours.
        unsafe { self.replace_at_cursor(copy_of(&*message)) };
        Some(message)
    }

    /// Puts `copy` in the place of the message at the cursor, which is in no list afterwards.
    ///
    /// # Safety
    /// There is a message at the cursor, and `copy` is in no list.
    unsafe fn replace_at_cursor(&mut self, copy: *mut Fragment) {
        let message = self.at_cursor();
        // SAFETY: the caller's.
        unsafe {
            (*copy).next = (*message).next;
            (*copy).sequence = (*message).sequence;
            if self.before_cursor.is_null() {
                self.first = copy;
            } else {
                (*self.before_cursor).next = copy;
            }
            (*message).next = std::ptr::null_mut();
        }
        if self.last == message {
            self.last = copy;
        }
        for marker in &mut self.markers {
            if marker.after == message {
                marker.after = copy;
            }
        }
    }

    /// Replaces the messages that may refer to leaving literals by copies that do not. No code
    /// looks at a message meanwhile.
    pub fn copy_out(&mut self, leaving: &Leaving) {
        let cursor = std::mem::replace(&mut self.before_cursor, std::ptr::null_mut());
        let mut after = cursor;
        loop {
            let message = self.at_cursor();
            if message.is_null() {
                break;
            }
            // SAFETY: messages of ours; the copies that are made now share no literal that leaves.
            unsafe {
                if (*message).may_refer(leaving) {
                    let copy = copy_of(&*message);
                    self.replace_at_cursor(copy);
                    if message == cursor {
                        after = copy;
                    }
                    Fragment::free(message);
                }
            }
            self.before_cursor = self.at_cursor();
        }
        self.before_cursor = after;
    }

    /// The message at the cursor.
    #[inline]
    pub fn peek(&self) -> Option<Term> {
        let message = self.at_cursor();
        // SAFETY: a message of ours.
        if message.is_null() { None } else { Some(unsafe { (*message).root }) }
    }

    /// Moves the cursor past the message that it is at.
    #[inline]
    pub fn advance(&mut self) {
        self.peeked = false;
        let message = self.at_cursor();
        if self.scan_again {
            self.rewind();
        } else if !message.is_null() {
            self.before_cursor = message;
        }
    }

    /// Moves the cursor back to the first message.
    #[inline]
    pub fn rewind(&mut self) {
        self.scan_again = false;
        self.before_cursor = std::ptr::null_mut();
    }

    /// Takes the message at the cursor out, if there is one, and rewinds.
    pub fn take(&mut self) -> Option<*mut Fragment> {
        let message = self.at_cursor();
        if message.is_null() {
            self.peeked = false;
            self.rewind();
            return None;
        }
        if self.priority_length > 0 && self.is_priority_at_cursor() {
            self.priority_length -= 1;
        }
        // SAFETY: messages of ours.
        unsafe {
            let next = (*message).next;
            if self.before_cursor.is_null() {
                self.first = next;
            } else {
                (*self.before_cursor).next = next;
            }
            if next.is_null() {
                self.last = self.before_cursor;
            }
            (*message).next = std::ptr::null_mut();
        }
        for marker in &mut self.markers {
            if marker.after == message {
                marker.after = self.before_cursor;
            }
        }
        self.length -= 1;
        self.peeked = false;
        self.scan_again = false;
        self.before_cursor = std::ptr::null_mut();
        Some(message)
    }

    /// Remembers the end of the list in a marker, and returns its number. The oldest of
    /// [`MARKERS_MAX`] markers is dropped for it.
    pub fn reserve_marker(&mut self) -> u16 {
        const { assert!(MARKERS_MAX <= u16::MAX as usize) };
        if self.markers.len() >= MARKERS_MAX {
            self.markers.remove(0);
        }
        let number = self.next_marker;
        self.next_marker = number.wrapping_add(1);
        self.markers.push(Marker { key: number.into(), bound: false, after: self.last });
        number
    }
    /// Sets the number of the next marker, for tests of what happens when numbers begin anew.
    pub fn set_next_marker(&mut self, number: u16) {
        self.next_marker = number;
    }
    /// Binds the marker with this number to a reference, which was made after the marker. Nothing
    /// happens when the marker was dropped meanwhile.
    pub fn bind_marker(&mut self, number: u64, reference_id: u64) {
        if let Some(marker) =
            self.markers.iter_mut().find(|marker| !marker.bound && marker.key == number)
        {
            marker.bound = true;
            marker.key = reference_id;
        }
    }
    /// Drops the marker that is bound to this reference, if there is one.
    pub fn clear_marker(&mut self, reference_id: u64) {
        self.markers.retain(|marker| !(marker.bound && marker.key == reference_id));
    }
    /// Puts the cursor behind the messages that came before the reference, if a marker is bound to
    /// it.
    pub fn use_marker(&mut self, reference_id: u64) {
        if let Some(marker) =
            self.markers.iter().find(|marker| marker.bound && marker.key == reference_id)
        {
            self.before_cursor = marker.after;
        }
    }

    /// Removes the token of sequential tracing from all messages.
    pub fn forget_tokens(&mut self) {
        let mut at = self.first;
        while !at.is_null() {
            // SAFETY: a message of ours.
            unsafe {
                if (*at).kind & TOKEN_BIT != 0 {
                    (*at).kind &= !TOKEN_BIT;
                    (*at).from = Term::NONE;
                }
                at = (*at).next;
            }
        }
    }

    /// The messages, oldest first, without those that are no terms.
    pub fn iter(&self) -> impl Iterator<Item = Term> + '_ {
        self.messages().map(|message| message.root).filter(|&root| root != UNREADABLE)
    }
    /// Words that the messages hold.
    pub fn words(&self) -> usize {
        self.messages().map(Fragment::words).sum()
    }
    fn messages(&self) -> impl Iterator<Item = &Fragment> + '_ {
        let mut at = self.first.cast_const();
        std::iter::from_fn(move || {
            // SAFETY: a message of ours, or null.
            let message = unsafe { at.as_ref() }?;
            at = message.next;
            Some(message)
        })
    }

    /// Takes out the first message for which `wanted` holds.
    pub fn take_first(&mut self, wanted: impl Fn(Term) -> bool) -> Option<*mut Fragment> {
        let cursor = std::mem::replace(&mut self.before_cursor, std::ptr::null_mut());
        while let Some(message) = self.peek() {
            if message != UNREADABLE && wanted(message) {
                let at = self.at_cursor();
                let taken = self.take();
                // The receive under way goes on where it was, unless that message is gone.
                self.before_cursor = if cursor == at { std::ptr::null_mut() } else { cursor };
                return taken;
            }
            self.advance();
        }
        self.before_cursor = cursor;
        None
    }
}

/// A copy of a message, with the token that came with it.
fn copy_of(message: &Fragment) -> *mut Fragment {
    if message.kind & TOKEN_BIT == 0 {
        let copy = Fragment::copy_of(message.root);
        // SAFETY: just made.
        unsafe { (*copy).from = message.from };
        return copy;
    }
    let mut heap = FragmentHeap::new();
    let pair = heap.tuple(&[message.from, message.root]);
    let copy = Fragment::copy_of(pair);
    // SAFETY: just made, of a pair.
    unsafe {
        let pair = (*copy).root.as_tuple().expect("a copy of a pair");
        (*copy).from = pair.get(0);
        (*copy).root = pair.get(1);
        (*copy).kind = message.kind;
    }
    copy
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut at = self.first;
        while !at.is_null() {
            // SAFETY: messages of ours, which nobody will read any more.
            unsafe {
                let next = (*at).next;
                Fragment::free(at);
                at = next;
            }
        }
    }
}
