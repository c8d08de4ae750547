//! What signals do to their receiver.

use super::call::take_call;
use super::send::{send_demonitor, send_down, send_link_exit};
use super::{SignalKind, drop_signal, split_numbered};
use crate::process::Process;
use crate::process::links::{AliasMode, RefValue, Tag, Watched};
use crate::process::mailbox::OnLook;
use crate::process::sequential::TOKEN_BIT;
use crate::signal::incoming::Pushed;
use swarmrt_heap::{Fragment, Sharing, copy_term};
use swarmrt_term::{Alloc, Term, am, atom};

impl Process {
    /// Whether a signal may wait to be taken over by [`Process::handle_signals`].
    #[inline(always)]
    pub fn has_incoming(&self) -> bool {
        !self.shared().incoming.is_empty()
    }

    /// Takes over the incoming signals: messages go to the mailbox, the rest is handled. Afterwards
    /// `exit_pending` tells whether the process is to end.
    pub fn handle_signals(&mut self) {
        swarmrt_term::stop::unwatched(|| self.handle_all(false));
    }

    /// Shows the signals that wait to be taken over, the newest first.
    pub(super) fn each_incoming(&self, mut visit: impl FnMut(&Fragment)) {
        let mut at = self.shared().incoming.peek();
        while !at.is_null() {
            // SAFETY: signals that wait are freed by the process itself only, and nobody runs it
            // but the caller.
            let signal = unsafe { &*at };
            visit(signal);
            at = signal.next;
        }
    }

    /// How many messages the process has: while it is in a library's function, those as well that
    /// it takes over afterwards.
    pub fn message_count(&self) -> usize {
        let mut count = self.mailbox.len();
        if self.is_in_native() {
            self.each_incoming(|signal| {
                count += usize::from(signal.kind & !TOKEN_BIT == SignalKind::Message as u32);
            });
        }
        count
    }

    /// Whether a signal waits that is no message.
    pub(crate) fn has_signals(&self) -> bool {
        let mut found = false;
        self.each_incoming(|signal| {
            found |= signal.kind & !TOKEN_BIT != SignalKind::Message as u32;
        });
        found
    }

    /// Handles the last signals of a process that ends: for signals that ask about its state it is
    /// gone already.
    pub(crate) fn handle_last_signals(&mut self) {
        self.handle_all(true);
    }

    fn handle_all(&mut self, is_last: bool) {
        let oldest = self.shared().incoming.take_all();
        self.take_over(oldest, is_last);
    }

    /// Takes over the incoming signals, if they are of the kinds that a receive mostly waits for
    /// and that nobody traces; `false` where they are not, or there are none. In contrast to
    /// [`Process::handle_signals`] it looks neither at the stack nor at registers, and never ends
    /// the process: machine code may call it with terms where they are.
    pub fn take_messages(&mut self) -> bool {
        let newest = self.shared().incoming.peek();
        if newest.is_null() || self.trace.is_on() || self.exit_pending {
            return false;
        }
        let mut at = newest;
        while !at.is_null() {
            // SAFETY: as in `each_incoming`.
            let signal = unsafe { &*at };
            let is_simple = [
                SignalKind::Message as u32,
                SignalKind::Alias as u32,
                SignalKind::Monitor as u32,
                SignalKind::Demonitor as u32,
            ]
            .contains(&signal.kind);
            if !is_simple {
                return false;
            }
            at = signal.next;
        }
        let oldest = self.shared().incoming.take_from(newest);
        swarmrt_term::stop::unwatched(|| self.take_over(oldest, false));
        !oldest.is_null()
    }

    /// Handles signals that were taken out of the queue, from the oldest one on.
    fn take_over(&mut self, mut oldest: *mut Fragment, is_last: bool) {
        while !oldest.is_null() {
            // SAFETY: the signals are ours now.
            unsafe {
                let next = (*oldest).next;
                let kind = (*oldest).kind;
                let takes_back =
                    kind == SignalKind::Unlink as u32 || kind == SignalKind::Demonitor as u32;
                if self.exit_pending && !takes_back {
                    // A signal behind the one that ends the process finds it gone, but only once
                    // its timers and names are gone, too.
                    if matches!(self.shared().incoming.push(oldest), Pushed::Refused) {
                        self.refuse(oldest);
                    }
                } else if kind == SignalKind::Message as u32 {
                    self.receive(oldest);
                } else if is_last && kind == SignalKind::Call as u32 {
                    drop_signal(self.vm, oldest);
                } else {
                    self.handle(oldest);
                }
                oldest = next;
            }
        }
    }

    /// Puts a priority message, or an ordinary one, into the mailbox.
    unsafe fn receive_as(&mut self, message: *mut Fragment, priority: bool) {
        // SAFETY: the message is ours, and in no list.
        unsafe {
            if !priority {
                return self.receive(message);
            }
            if self.trace.is_on() {
                self.trace_received((*message).root, (*message).from);
            }
            self.mailbox.push_priority(message);
        }
    }

    /// A signal came through an alias. `None`: it is not active; else whether it takes priority
    /// messages. An alias for a single signal is not active afterwards.
    fn use_alias(&mut self, reference: RefValue) -> Option<bool> {
        let mode = self.relations.alias(reference)?;
        let reference = reference.id;
        let priority = self.relations.is_priority_alias(reference);
        match mode {
            AliasMode::Reply => {
                self.relations.remove_alias(reference);
            }
            AliasMode::ReplyDemonitor => {
                if let Some(monitor) = self.relations.remove_monitor(reference) {
                    if let Watched::Pid(pid) | Watched::Name { pid, .. } = monitor.watched {
                        send_demonitor(self.vm, self.pid(), pid, reference);
                    }
                    self.demonitor_remote(&monitor.watched, monitor.reference);
                }
            }
            AliasMode::ExplicitUnalias | AliasMode::Demonitor => {}
        }
        Some(priority)
    }

    /// A message of another node came through an alias, whose bytes are no term. See
    /// [`Mailbox::push_unreadable`](crate::process::mailbox::Mailbox::push_unreadable).
    pub fn receive_unreadable_through(&mut self, alias: RefValue, on_look: OnLook) {
        if self.use_alias(alias).is_some() {
            self.mailbox.push_unreadable(on_look);
        }
    }

    /// Puts a message that the machine itself sends into the mailbox, before signals that were not
    /// taken over yet.
    pub(crate) fn receive_own(&mut self, message: Term) {
        let fragment = Fragment::copy_of(message);
        // SAFETY: just made, and in no list.
        unsafe { self.receive(fragment) };
    }

    /// Puts a message into the mailbox.
    #[inline]
    unsafe fn receive(&mut self, message: *mut Fragment) {
        // SAFETY: the message is ours, and in no list.
        unsafe {
            if self.trace.is_on() {
                self.trace_received((*message).root, (*message).from);
            }
            self.mailbox.push(message);
        }
    }

    unsafe fn handle(&mut self, signal: *mut Fragment) {
        // SAFETY: the signal is ours, and its root is what its kind says.
        unsafe {
            let from = (*signal).from;
            let mut root = (*signal).root;
            let mut token = None;
            let has_token = (*signal).kind & TOKEN_BIT != 0;
            let kind = SignalKind::from_u32((*signal).kind & !TOKEN_BIT);
            if has_token && !matches!(kind, SignalKind::Alias | SignalKind::PriorityAlias) {
                let pair = root.as_tuple().expect("built as a pair");
                token = Some(pair.get(0));
                root = pair.get(1);
            }
            match kind {
                SignalKind::Message => {
                    (*signal).root = root;
                    (*signal).from = token.unwrap_or(Term::NONE);
                    return self.receive(signal);
                }
                SignalKind::Exit => {
                    self.exit_signal(from, root, false, false, token);
                }
                kind @ (SignalKind::ExitAlias | SignalKind::PriorityExitAlias) => {
                    let (id, reason) = split_numbered(root);
                    let alias = RefValue { id, low: (*signal).sequence };
                    // Unlike a message, it leaves an alias for one reply active.
                    if self.relations.alias(alias).is_some() {
                        let priority = kind == SignalKind::PriorityExitAlias
                            && self.relations.is_priority_alias(id);
                        self.exit_signal(from, reason, false, priority, None);
                    }
                }
                SignalKind::LinkExit => {
                    let priority = self.relations.is_priority_link(from);
                    if self.relations.unlink(from) {
                        self.trace_procs("getting_unlinked", from);
                        self.exit_signal(from, root, true, priority, token);
                    }
                }
                SignalKind::Link => {
                    self.relations.link(from);
                    self.trace_procs("getting_linked", from);
                }
                SignalKind::Unlink => {
                    self.relations.unlink(from);
                    self.trace_procs("getting_unlinked", from);
                }
                SignalKind::Monitor => {
                    self.relations
                        .monitored_by
                        .insert(split_numbered(root).0, from.as_pid().unwrap_or(0));
                }
                SignalKind::Demonitor => {
                    self.relations.monitored_by.remove(split_numbered(root).0);
                }
                SignalKind::Down => {
                    let (reference, reason) = split_numbered(root);
                    self.down(reference, reason);
                }
                kind @ (SignalKind::Alias | SignalKind::PriorityAlias) => {
                    let (id, message) = split_numbered(root);
                    let alias = RefValue { id, low: (*signal).sequence };
                    if let Some(priority) = self.use_alias(alias) {
                        (*signal).root = message;
                        (*signal).kind = SignalKind::Message as u32;
                        if has_token {
                            let pair = message.as_tuple().expect("built as a pair");
                            (*signal).kind |= TOKEN_BIT;
                            (*signal).from = pair.get(0);
                            (*signal).root = pair.get(1);
                        }
                        self.receive_as(signal, priority && kind == SignalKind::PriorityAlias);
                        return;
                    }
                }
                SignalKind::Call => {
                    if let Some(call) = take_call(signal) {
                        call(self.vm, Some(self));
                    }
                }
                SignalKind::Reply => {
                    let (number, reply) = split_numbered(root);
                    (*signal).root = reply;
                    if let Some(slot) =
                        self.extra().replies.iter_mut().find(|(waiting, _)| *waiting == number)
                    {
                        slot.1 = signal;
                        return;
                    }
                }
            }
            Fragment::free(signal);
        }
    }

    /// What an exit signal does: nothing, a message, or the end of the process.
    pub(crate) fn exit_signal(
        &mut self,
        from: Term,
        reason: Term,
        linked: bool,
        priority: bool,
        token: Option<Term>,
    ) {
        let kill = reason == Term::atom(am::KILL) && !linked;
        if self.trap_exit && !kill {
            let sharing = Sharing::now();
            let token_words = token.map_or(0, |token| sharing.size(token));
            let from_words = sharing.size(from);
            let fragment = Fragment::new(sharing.size(reason) + 4 + token_words + from_words);
            // SAFETY: just made, with room for the reason and the tuple.
            unsafe {
                let to = &mut *fragment;
                let reason = sharing.copy(reason, to);
                let from = sharing.copy(from, to);
                to.root = to.tuple(&[Term::atom(am::CAP_EXIT), from, reason]);
                if let Some(token) = token {
                    to.from = sharing.copy(token, to);
                    to.kind |= TOKEN_BIT;
                }
                self.receive_as(fragment, priority);
            }
            return;
        }
        // `exit(self(), normal)` ends the process; `normal` from another process is ignored.
        if reason == Term::atom(am::NORMAL) && (linked || from != self.pid()) {
            return;
        }
        if self.exit_pending {
            return;
        }
        self.exit_pending = true;
        self.exception.reason = if kill {
            Term::atom(am::KILLED)
        } else if self.is_in_native() {
            self.extra().exit_reason.insert(Tag::new(reason)).term()
        } else {
            copy_term(reason, &mut self.heap)
        };
    }

    pub(crate) fn down(&mut self, reference: u64, reason: Term) {
        let Some(monitor) = self.relations.remove_monitor(reference) else { return };
        let tag = monitor.tag.as_ref().map_or(Term::atom(am::CAP_DOWN), |tag| tag.term());
        let sharing = Sharing::now();
        let fragment = Fragment::new(sharing.size(reason) + sharing.size(tag) + 6 + 4 + 5);
        // SAFETY: just made, with room for the message.
        unsafe {
            let to = &mut *fragment;
            let reason = sharing.copy(reason, to);
            let tag = sharing.copy(tag, to);
            let reference = monitor.reference.to_term(to);
            let (kind, object) = match monitor.watched {
                Watched::Pid(pid) => (am::PROCESS, Term::pid(pid)),
                Watched::Port { port, name: None } => (am::PORT, Term::port(port)),
                Watched::Port { name: Some(name), .. } => {
                    let node = Term::atom(self.vm.node().name);
                    (am::PORT, to.tuple(&[Term::atom(name), node]))
                }
                Watched::Name { name, .. } => {
                    let node = Term::atom(self.vm.node().name);
                    (am::PROCESS, to.tuple(&[Term::atom(name), node]))
                }
                Watched::Remote { pid, .. } => (am::PROCESS, pid.to_term(to)),
                Watched::RemoteName { name, node, .. } => {
                    (am::PROCESS, to.tuple(&[Term::atom(name), Term::atom(node)]))
                }
                Watched::TimeOffset => (am::TIME_OFFSET, Term::atom(am::CLOCK_SERVICE)),
            };
            to.root = to.tuple(&[tag, reference, Term::atom(kind), object, reason]);
            self.receive_as(fragment, monitor.priority);
        }
    }

    /// The offset of system time has changed: sends a message for each monitor of it; the monitors
    /// stay. `false` when there is none.
    pub(crate) fn time_offset_changed(&mut self) -> bool {
        let offset_ns = self.vm.clock.offset_ns();
        let monitors: Vec<_> = self
            .relations
            .monitors
            .iter()
            .filter(|(_, monitor)| matches!(monitor.watched, Watched::TimeOffset))
            .collect();
        let mut messages = Vec::with_capacity(monitors.len());
        for (_, monitor) in monitors {
            let tag = monitor.tag.as_ref().map_or(Term::atom(atom!("CHANGE")), |tag| tag.term());
            let sharing = Sharing::now();
            let fragment = Fragment::new(sharing.size(tag) + 6 + 4 + 2);
            // SAFETY: just made, with room for the message.
            unsafe {
                let to = &mut *fragment;
                let tag = sharing.copy(tag, to);
                let reference = monitor.reference.to_term(to);
                let offset = to.int(offset_ns);
                to.root = to.tuple(&[
                    tag,
                    reference,
                    Term::atom(am::TIME_OFFSET),
                    Term::atom(am::CLOCK_SERVICE),
                    offset,
                ]);
            }
            messages.push((fragment, monitor.priority));
        }
        let any = !messages.is_empty();
        for (fragment, priority) in messages {
            // SAFETY: it is ours, and in no list.
            unsafe { self.receive_as(fragment, priority) };
        }
        any
    }

    /// Closes the queue: senders find the process gone from now on. Signals in it are refused.
    pub(crate) fn close_incoming(&mut self) {
        let mut at = self.shared().incoming.close();
        while !at.is_null() {
            // SAFETY: the signals are ours now.
            unsafe {
                let next = (*at).next;
                self.refuse(at);
                at = next;
            }
        }
    }

    /// Frees a signal that came too late; a link or a monitor is answered with `noproc`.
    unsafe fn refuse(&mut self, signal: *mut Fragment) {
        // SAFETY: the signal is ours.
        unsafe {
            let from = (*signal).from;
            match SignalKind::from_u32((*signal).kind & !TOKEN_BIT) {
                SignalKind::Link => {
                    if let Some(pid) = from.as_pid() {
                        send_link_exit(self.vm, self.pid(), pid, Term::atom(am::NOPROC));
                    }
                }
                SignalKind::Monitor => {
                    if let Some(pid) = from.as_pid() {
                        let reference = split_numbered((*signal).root).0;
                        send_down(self.vm, self.pid(), pid, reference, Term::atom(am::NOPROC));
                    }
                }
                _ => {}
            }
        }
        drop_signal(self.vm, signal);
    }

    /// Takes the reply with this number; `None` until it is there. Its terms belong to the
    /// process's heap then.
    pub fn take_reply(&mut self, number: u64) -> Option<Term> {
        let extra = self.extra.as_mut()?;
        let at = extra
            .replies
            .iter()
            .position(|(waiting, reply)| *waiting == number && !reply.is_null())?;
        let (_, fragment) = extra.replies.swap_remove(at);
        // SAFETY: the reply is ours and in no list.
        unsafe {
            let root = (*fragment).root;
            self.heap.adopt(fragment);
            Some(root)
        }
    }

    /// A new number for a reply, under which [`Process::take_reply`] finds it.
    pub fn expect_reply(&mut self) -> u64 {
        let number = self.vm.next_ref().id;
        self.extra().replies.push((number, std::ptr::null_mut()));
        number
    }
}
