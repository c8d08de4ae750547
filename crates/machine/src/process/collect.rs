//! Collecting a process's garbage: where its terms are, and what follows from a collection.

use super::Process;
use super::exception::log_out_of_memory;
use crate::schedule::watch;
use crate::vm::system_monitor;
use swarmrt_heap::{Heap, Leaving};
use swarmrt_term::{Term, am};

/// A collection of so many words, some ten milliseconds' work, keeps other processes waiting. A
/// shorter one is not worth a change of threads: what it frees, the next one needs, and threads keep
/// freed blocks for themselves.
const LONG_WORDS: usize = 1 << 20;

impl Process {
    /// Whether a dirty scheduler should do the collection that is due before the process goes on.
    /// The answer does not change while the process waits for one: a signal brings it back to a
    /// scheduler first, which asks again.
    pub fn collects_apart(&self) -> bool {
        self.heap.wants_collection
            && self.result_at_hand.is_none()
            && self.heap.words_to_collect(false) >= LONG_WORDS
            && self.vm.schedulers.has_dirty_cpu()
    }
    /// Copies the leaving literals to which the process still refers. `false` when a built-in under
    /// way may hold terms of its own: to be tried again after the next turn.
    pub(crate) fn copy_out(&mut self, leaving: &Leaving) -> bool {
        if self.bif_state.is_some()
            || self.result_at_hand.is_some()
            || self.extra.as_ref().is_some_and(|extra| !extra.replies.is_empty())
        {
            return false;
        }
        self.own_message();
        self.mailbox.copy_out(leaving);
        if self.with_roots(|heap, roots| heap.may_refer(leaving, roots)) {
            // SAFETY: between turns, heap and stack pointers are current.
            unsafe {
                self.with_roots(|heap, roots| heap.collect(0, roots, true));
                self.with_roots(|heap, roots| heap.copy_out(leaving, roots));
                // It hibernates on, with no room in its heap.
                if self.ip == self.vm.code.hibernated_entry() {
                    self.collect_to_fit(&mut []);
                }
            }
        }
        true
    }
    /// Calls `with` with the heap and all the places outside it that hold the process's terms, but
    /// for live X registers of a process that is running.
    fn with_roots<R>(&mut self, with: impl FnOnce(&mut Heap, &mut [&mut [Term]]) -> R) -> R {
        let mut single = [self.group_leader, self.exception.reason, self.exception.trace];
        let result = with(
            &mut self.heap,
            &mut [
                self.saved.terms_mut(),
                self.dictionary.terms_mut(),
                self.trap_args.terms_mut(),
                &mut single,
            ],
        );
        [self.group_leader, self.exception.reason, self.exception.trace] = single;
        result
    }
    /// Collects at a safepoint; `registers` are the live X registers.
    ///
    /// # Safety
    /// As for [`Heap::collect`]: heap and stack pointers are current, and the stack holds no
    /// garbage.
    pub unsafe fn collect(&mut self, need: usize, registers: &mut [Term], major: bool) {
        // What a dirty scheduler has brought is no root; it is taken at the next instruction, and
        // then is the time.
        if self.result_at_hand.is_some() {
            assert!(need == 0, "nothing is allocated before a dirty result is taken");
            return;
        }
        self.own_message();
        if self.heap.words_to_collect(major) >= LONG_WORDS {
            watch::long_work_follows(self.vm);
        }
        let collecting_major = self.trace.is_on() && self.heap.is_major_next(major);
        if self.trace.is_on() {
            self.measure_again(true);
            self.trace_collection(if collecting_major {
                "gc_major_start"
            } else {
                "gc_minor_start"
            });
        }
        let started = self.vm.system_monitor.before_collection(&self.vm.clock);
        let before = self.heap.total_words();
        let occupied = self.heap.occupied_words();
        let mut single = [self.group_leader, self.exception.reason, self.exception.trace];
        let mut young_pairs =
            if self.heap.is_major_next(major) { None } else { self.dictionary.young_pairs() };
        let pairs = match &mut young_pairs {
            Some(pairs) => pairs,
            None => self.dictionary.terms_mut(),
        };
        // SAFETY: the caller's; these are all the places that hold terms of the process, but for
        // pairs of the dictionary that a minor collection does not move.
        let collected = unsafe {
            let roots: &mut [&mut [Term]] = &mut [
                registers,
                self.saved.terms_mut(),
                pairs,
                self.trap_args.terms_mut(),
                &mut single,
            ];
            self.heap.try_collect(need, roots, major)
        };
        self.dictionary.collected(young_pairs);
        [self.group_leader, self.exception.reason, self.exception.trace] = single;
        if let Err(refused) = collected {
            log_out_of_memory(self, refused);
            self.end_as_killed();
            return;
        }
        if self.trace.is_on() {
            self.measure_again(false);
            self.trace_collection(if collecting_major { "gc_major_end" } else { "gc_minor_end" });
        }
        if let Some(started) = started {
            system_monitor::collected(self, started);
        }
        self.vm.statistics.collections.add(1);
        self.vm.statistics.words_reclaimed.add(occupied.saturating_sub(self.heap.occupied_words()));
        // Time spent collecting counts towards the turn.
        self.reductions -= (before.min(self.heap.total_words()) / 100) as i32;
        self.check_max_heap_size();
    }
    /// Packs the heap for hibernation.
    /// # Safety
    /// As for [`Process::collect`].
    pub unsafe fn collect_to_fit(&mut self, registers: &mut [Term]) {
        let mut leader = [self.group_leader, self.exception.reason, self.exception.trace];
        // SAFETY: the caller's.
        unsafe {
            let roots: &mut [&mut [Term]] = &mut [
                registers,
                self.saved.terms_mut(),
                self.dictionary.terms_mut(),
                self.trap_args.terms_mut(),
                &mut leader,
            ];
            self.heap.collect_to_fit(roots);
        }
        [self.group_leader, self.exception.reason, self.exception.trace] = leader;
    }
    /// Makes the process end at the next safepoint, as if it had been killed.
    pub(super) fn end_as_killed(&mut self) {
        self.exit_pending = true;
        self.exception.reason = Term::atom(am::KILLED);
        self.heap.wants_collection = false;
        self.reductions = 0;
    }
}
