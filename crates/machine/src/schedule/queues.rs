//! The policy of a run queue: which of the processes that wait for one scheduler is next.
//!
//! Plain data, without locks: [`super::Schedulers`] keeps one for each scheduler behind a mutex.

use crate::process::Priority;
use std::collections::VecDeque;

/// The processes that wait for one scheduler.
#[derive(Default)]
pub(super) struct Queues {
    by_priority: [VecDeque<Waiting>; 4],
    /// Processes of normal priority that are new or were woken by a signal: they go before those
    /// whose turn was over, so that a process that waits for an answer gets it soon, however many
    /// others are busy. See `pop_normal` for when the others have their turn.
    woken: VecDeque<usize>,
    /// How many were put into `woken` so far, and how many have left it.
    woken_in: u64,
    woken_out: u64,
    /// Turns of woken processes that came after the first of those whose turn was over, since that
    /// one is first.
    woken_turns: u32,
    /// Processes that wait and are not bound.
    length: usize,
    /// Processes bound to this scheduler, which no other takes, by priority. They alternate with
    /// the others of their priority.
    bound: [VecDeque<usize>; 4],
    bound_turn: bool,
    /// Turns of normal priority since low priority was passed over first.
    low_skipped: u32,
}

/// A process whose turn was over, or of another priority than normal.
struct Waiting {
    cell: usize,
    /// `woken_in` when it was put into its queue.
    behind: u64,
}

/// Turns of normal priority that go before one of low priority (`RESCHEDULE_LOW` in OTP).
pub(crate) const LOW_TURNS: u32 = 8;

/// Turns of woken processes that came later, before a process whose turn was over.
const WOKEN_TURNS: u32 = 4;

impl Queues {
    /// Puts a process at the end of its queue. `woken`: it is new, or a signal has woken it.
    pub fn push(&mut self, cell: usize, priority: u8, woken: bool) {
        if woken && priority == Priority::Normal as u8 {
            self.woken.push_back(cell);
            self.woken_in += 1;
        } else {
            let behind = self.woken_in;
            self.by_priority[usize::from(priority)].push_back(Waiting { cell, behind });
        }
        self.length += 1;
    }
    /// As [`push`](Queues::push), for a process that only this scheduler may run.
    pub fn push_bound(&mut self, cell: usize, priority: u8) {
        self.bound[usize::from(priority)].push_back(cell);
    }
    /// Processes that wait: not bound, bound.
    pub fn lengths(&self) -> (usize, usize) {
        (self.length, self.bound.iter().map(VecDeque::len).sum())
    }
    /// Moves a process from a queue of lower priority to that of `priority`. `false` when it is in
    /// none.
    pub fn advance(&mut self, cell: usize, priority: u8) -> bool {
        self.advance_bound(cell, priority) || self.advance_unbound(cell, priority)
    }
    fn advance_bound(&mut self, cell: usize, priority: u8) -> bool {
        let (higher, lower) = self.bound.split_at_mut(usize::from(priority) + 1);
        let found = lower.iter_mut().any(|queue| {
            let at = queue.iter().position(|&other| other == cell);
            at.is_some_and(|at| queue.remove(at).is_some())
        });
        if found {
            higher[usize::from(priority)].push_back(cell);
        }
        found
    }
    fn advance_unbound(&mut self, cell: usize, priority: u8) -> bool {
        let (higher, lower) = self.by_priority.split_at_mut(usize::from(priority) + 1);
        let mut found = lower.iter_mut().any(|queue| {
            let at = queue.iter().position(|other| other.cell == cell);
            at.is_some_and(|at| queue.remove(at).is_some())
        });
        if !found && let Some(at) = self.woken.iter().position(|&other| other == cell) {
            self.woken.remove(at);
            self.woken_out += 1;
            found = true;
        }
        if found {
            let behind = self.woken_in;
            higher[usize::from(priority)].push_back(Waiting { cell, behind });
        }
        found
    }
    /// A woken process, or one whose turn was over. Before the latter go the woken ones that came
    /// before it, so that a process that starts others goes on only after they had a turn, and
    /// [`WOKEN_TURNS`] of those that came later.
    fn pop_normal(&mut self) -> Option<usize> {
        let normal = &mut self.by_priority[Priority::Normal as usize];
        let came_before = normal.front().is_none_or(|first| self.woken_out < first.behind);
        if !self.woken.is_empty() && (came_before || self.woken_turns < WOKEN_TURNS) {
            self.woken_turns += u32::from(!came_before);
            self.woken_out += 1;
            return self.woken.pop_front();
        }
        self.woken_turns = 0;
        normal.pop_front().map(|first| first.cell)
    }
    /// Takes out the next process for the scheduler itself. `choose` may say which of so many that
    /// wait, from 0: any of them can be next on a machine with enough schedulers.
    #[inline]
    pub fn pop_own(&mut self, choose: impl FnOnce(usize) -> Option<usize>) -> Option<usize> {
        let (unbound, bound) = self.lengths();
        match choose(unbound + bound) {
            None => self.pop_first(),
            Some(at) => self.remove(at),
        }
    }
    /// Takes out the process at a position among all that wait; `None` when there are fewer.
    fn remove(&mut self, mut at: usize) -> Option<usize> {
        for queue in &mut self.bound {
            if at < queue.len() {
                return queue.remove(at);
            }
            at -= queue.len();
        }
        let cell = if at < self.woken.len() {
            self.woken_out += 1;
            self.woken.remove(at)?
        } else {
            at -= self.woken.len();
            let queue = self.by_priority.iter_mut().find(|queue| {
                let is_here = at < queue.len();
                at -= if is_here { 0 } else { queue.len() };
                is_here
            });
            queue?.remove(at)?.cell
        };
        self.length -= 1;
        Some(cell)
    }
    /// The next process for the scheduler itself, by priority and waiting time.
    #[inline]
    fn pop_first(&mut self) -> Option<usize> {
        if self.bound.iter().all(VecDeque::is_empty) { self.pop() } else { self.pop_beside_bound() }
    }
    /// As [`pop_first`](Queues::pop_first), where bound processes wait.
    fn pop_beside_bound(&mut self) -> Option<usize> {
        let unbound = self.waiting();
        let waiting = [0, 1, 2, 3].map(|at| unbound[at] || !self.bound[at].is_empty());
        let priority = self.next_priority(waiting)?;
        let is_bound = !self.bound[priority].is_empty();
        self.bound_turn = is_bound && !(unbound[priority] && self.bound_turn);
        if self.bound_turn { self.bound[priority].pop_front() } else { self.pop_unbound(priority) }
    }
    /// Takes out the next process that is not bound, for the scheduler or a thief: the highest
    /// priority, and of those the one that has waited longest.
    pub fn pop(&mut self) -> Option<usize> {
        if self.length == 0 {
            return None;
        }
        let priority = self.next_priority(self.waiting())?;
        self.pop_unbound(priority)
    }
    /// For each priority, whether a process waits that is not bound.
    fn waiting(&self) -> [bool; 4] {
        let [max, high, normal, low] = &self.by_priority;
        let normal = !normal.is_empty() || !self.woken.is_empty();
        [!max.is_empty(), !high.is_empty(), normal, !low.is_empty()]
    }
    /// The priority that has the next turn, where these wait.
    fn next_priority(&mut self, waiting: [bool; 4]) -> Option<usize> {
        let [max, high, normal, low] = waiting;
        let next = if max {
            Priority::Max
        } else if high {
            Priority::High
        } else if normal && (!low || self.low_skipped < LOW_TURNS) {
            self.low_skipped += u32::from(low);
            Priority::Normal
        } else if low {
            self.low_skipped = 0;
            Priority::Low
        } else {
            return None;
        };
        Some(next as usize)
    }
    fn pop_unbound(&mut self, priority: usize) -> Option<usize> {
        let cell = if priority == Priority::Normal as usize {
            self.pop_normal()
        } else {
            self.by_priority[priority].pop_front().map(|first| first.cell)
        };
        self.length -= usize::from(cell.is_some());
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: u8 = Priority::Normal as u8;

    fn order(queues: &mut Queues) -> Vec<usize> {
        std::iter::from_fn(|| queues.pop()).collect()
    }

    #[test]
    fn higher_priorities_go_first_and_equal_ones_in_order() {
        let mut queues = Queues::default();
        for (cell, priority) in [
            (1, Priority::Normal),
            (2, Priority::High),
            (3, Priority::Max),
            (4, Priority::Normal),
            (5, Priority::High),
        ] {
            queues.push(cell, priority as u8, false);
        }
        assert_eq!(queues.lengths(), (5, 0));
        assert_eq!(order(&mut queues), [3, 2, 5, 1, 4]);
        assert_eq!(queues.lengths(), (0, 0));
    }

    #[test]
    fn low_priority_has_every_ninth_turn_beside_normal_and_the_others_where_there_is_none() {
        let mut queues = Queues::default();
        (0..20).for_each(|cell| queues.push(cell, NORMAL, false));
        (100..104).for_each(|cell| queues.push(cell, Priority::Low as u8, false));
        let order = order(&mut queues);
        let low: Vec<usize> =
            order.iter().enumerate().filter(|(_, cell)| **cell >= 100).map(|(at, _)| at).collect();
        assert_eq!(low, [8, 17, 22, 23]);
    }

    #[test]
    fn the_woken_pass_four_times_before_one_whose_turn_was_over() {
        let mut queues = Queues::default();
        (0..3).for_each(|cell| queues.push(cell, NORMAL, false));
        (10..20).for_each(|cell| queues.push(cell, NORMAL, true));
        assert_eq!(order(&mut queues), [10, 11, 12, 13, 0, 14, 15, 16, 17, 1, 18, 19, 2]);
    }

    #[test]
    fn who_starts_many_processes_waits_for_them() {
        const STARTED: usize = 1000;
        const SPAWNER: usize = 1;
        let mut queues = Queues::default();
        queues.push(SPAWNER, NORMAL, false);
        let mut most = 0;
        for _ in 0..50 * STARTED {
            if queues.pop_own(|_| None) == Some(SPAWNER) {
                (0..STARTED).for_each(|child| queues.push(10 + child, NORMAL, true));
                queues.push(SPAWNER, NORMAL, false);
            }
            most = most.max(queues.lengths().0);
        }
        assert!(most <= 2 * STARTED, "{most} wait");
    }

    #[test]
    fn thieves_do_not_get_bound_processes_and_the_owner_takes_turns() {
        let mut queues = Queues::default();
        (0..2).for_each(|cell| queues.push(cell, NORMAL, false));
        (10..13).for_each(|cell| queues.push_bound(cell, NORMAL));
        assert_eq!(queues.lengths(), (2, 3));
        let own: Vec<usize> = (0..3).filter_map(|_| queues.pop_own(|_| None)).collect();
        assert_eq!(own, [10, 0, 11]);
        assert_eq!(order(&mut queues), [1]);
        assert_eq!(queues.pop_own(|_| None), Some(12));
        assert_eq!(queues.pop_own(|_| None), None);
    }

    #[test]
    fn any_process_may_be_chosen_and_each_comes_once() {
        for at in 0..5 {
            let mut queues = Queues::default();
            queues.push_bound(0, NORMAL);
            queues.push(1, NORMAL, true);
            queues.push(2, Priority::Low as u8, false);
            queues.push(3, NORMAL, false);
            queues.push(4, Priority::Max as u8, false);
            let mut out: Vec<usize> =
                std::iter::from_fn(|| queues.pop_own(|count| Some(at % count.max(1)))).collect();
            assert_eq!(queues.lengths(), (0, 0));
            assert_eq!(out[0], [0, 1, 4, 3, 2][at], "{out:?}");
            out.sort_unstable();
            assert_eq!(out, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_process_advances_to_a_higher_priority_only() {
        let mut queues = Queues::default();
        (0..3).for_each(|cell| queues.push(cell, NORMAL, cell == 2));
        assert!(queues.advance(1, Priority::High as u8));
        assert!(queues.advance(2, Priority::Max as u8));
        assert!(!queues.advance(2, Priority::High as u8), "it has a higher one already");
        assert!(!queues.advance(7, Priority::High as u8), "it does not wait");
        assert_eq!(order(&mut queues), [2, 1, 0]);
    }

    #[test]
    fn a_signal_does_not_put_other_priorities_before_their_kind() {
        for priority in [Priority::Low, Priority::High, Priority::Max] {
            let mut queues = Queues::default();
            queues.push(1, priority as u8, false);
            queues.push(2, priority as u8, true);
            assert_eq!(order(&mut queues), [1, 2], "{priority:?}");
        }
    }

    #[test]
    fn high_priority_does_not_count_as_a_turn_that_low_priority_waits_for() {
        let mut queues = Queues::default();
        queues.push(100, Priority::Low as u8, false);
        (0..=LOW_TURNS as usize).for_each(|cell| queues.push(cell, NORMAL, false));
        for turn in 0..LOW_TURNS as usize {
            queues.push(50, Priority::High as u8, false);
            assert_eq!([queues.pop(), queues.pop()], [Some(50), Some(turn)]);
        }
        assert_eq!(order(&mut queues), [100, LOW_TURNS as usize]);
    }

    #[test]
    fn what_advances_leaves_the_turns_of_the_others_as_they_were() {
        let mut queues = Queues::default();
        queues.push(10, NORMAL, true);
        queues.push(0, NORMAL, false);
        queues.push(11, NORMAL, true);
        // The only one that came before 0 is gone: four others may pass.
        assert!(queues.advance(10, Priority::Max as u8));
        (12..16).for_each(|cell| queues.push(cell, NORMAL, true));
        assert_eq!(queues.lengths(), (7, 0));
        assert_eq!(order(&mut queues), [10, 11, 12, 13, 14, 0, 15]);
        assert!(!queues.advance(0, Priority::Max as u8), "all have had their turn");
    }

    #[test]
    fn bound_processes_have_every_other_turn_and_all_where_nobody_else_waits() {
        let mut queues = Queues::default();
        (0..2).for_each(|cell| queues.push(cell, NORMAL, false));
        (10..14).for_each(|cell| queues.push_bound(cell, NORMAL));
        let own: Vec<usize> = std::iter::from_fn(|| queues.pop_own(|_| None)).collect();
        assert_eq!(own, [10, 0, 11, 1, 12, 13]);
        assert!(!Queues::default().advance(10, Priority::Max as u8), "it is in none");
    }

    #[test]
    fn bound_processes_have_their_turns_by_priority() {
        let mut queues = Queues::default();
        queues.push_bound(10, Priority::Low as u8);
        queues.push(0, NORMAL, false);
        queues.push(1, Priority::Low as u8, false);
        queues.push_bound(11, NORMAL);
        queues.push_bound(12, Priority::Max as u8);
        queues.push(2, Priority::High as u8, false);
        queues.push_bound(13, Priority::Low as u8);
        assert!(queues.advance(13, Priority::High as u8));
        assert_eq!(queues.lengths(), (3, 4));
        let own: Vec<usize> = std::iter::from_fn(|| queues.pop_own(|_| None)).collect();
        assert_eq!(own, [12, 2, 13, 0, 11, 1, 10]);
    }

    #[test]
    fn low_priority_waits_for_eight_turns_of_normal_whoever_is_bound() {
        for bound in [Priority::Low, Priority::Normal] {
            let mut queues = Queues::default();
            for cell in 0..12 {
                let priority = if cell == 0 { Priority::Low } else { Priority::Normal };
                if priority == bound {
                    queues.push_bound(cell, priority as u8);
                } else {
                    queues.push(cell, priority as u8, false);
                }
            }
            let own: Vec<usize> = std::iter::from_fn(|| queues.pop_own(|_| None)).collect();
            assert_eq!(own, [1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 10, 11], "{bound:?}");
        }
    }
}
