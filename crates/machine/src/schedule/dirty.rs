//! The threads for work that blocks or computes for long, and what waits for them.
//!
//! Of the threads that have nothing to do that one is called that stopped last: its stack and what
//! the allocator keeps for it are warm, and those of the others stay untouched as long as they are
//! not needed.
//!
//! Most work that may block does not. So a scheduler with nothing else to do runs it on its own
//! thread, while a thread of the pool is in reserve ([`DirtyPool::reserve`]): when there is
//! something to do for the scheduler meanwhile, the two change places ([`DirtyPool::take_over`]).

use super::Schedulers;
use crate::process::table::ProcessCell;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use swarmrt_heap::free_spare;

pub(crate) struct DirtyPool {
    queue: Mutex<Queue>,
    threads: Box<[DirtyThread]>,
}

#[derive(Default)]
struct Queue {
    /// Addresses of processes.
    cells: VecDeque<usize>,
    /// Threads that have nothing to do; the one that stopped last is at the end.
    idle: Vec<usize>,
    /// Threads that have nothing to do, and whose place a thread has taken that may give it back.
    reserve: Vec<usize>,
    /// Threads in reserve that are to become a scheduler: thread and scheduler, each by its number.
    called_away: Vec<(usize, usize)>,
    /// Only threads with lower numbers take processes.
    online: usize,
    has_ended: bool,
}

impl Queue {
    /// Whether a thread has nothing to do.
    fn waits(&self, number: usize) -> bool {
        let called_away = self.called_away.iter().any(|(thread, _)| *thread == number);
        !called_away && (self.idle.contains(&number) || self.reserve.contains(&number))
    }
    /// Takes the thread that stopped last out of those that have nothing to do.
    fn pop_idle(&mut self) -> Option<usize> {
        let at = self.idle.iter().rposition(|&number| number < self.online)?;
        Some(self.idle.remove(at))
    }
}

/// The next work of a thread of the pool.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Run the process at that address.
    Process(usize),
    /// Become the scheduler of that number: the thread that was it takes this one's place in the
    /// pool.
    Scheduler(usize),
    /// End, as all threads of the machine do.
    End,
}

#[derive(Default)]
pub(crate) struct DirtyThread {
    /// Notified when the thread is not idle any more.
    called: Condvar,
    pub running: AtomicBool,
    pub busy_ns: AtomicU64,
}

impl DirtyPool {
    /// A pool for `threads` threads, which the caller starts: each calls [`DirtyPool::take`] with
    /// its number, from 0.
    pub fn new(threads: usize) -> DirtyPool {
        DirtyPool {
            queue: Mutex::new(Queue { online: threads, ..Queue::default() }),
            threads: (0..threads).map(|_| DirtyThread::default()).collect(),
        }
    }
    /// The threads, by their number.
    pub fn threads(&self) -> &[DirtyThread] {
        &self.threads
    }
    /// Threads that run a process.
    pub fn running(&self) -> usize {
        self.threads.iter().filter(|thread| thread.running.load(Ordering::Relaxed)).count()
    }
    /// Threads that take processes.
    pub fn online(&self) -> usize {
        self.queue.lock().online
    }
    /// Has only so many threads take processes from now on; how many did before.
    pub fn set_online(&self, count: usize) -> usize {
        let mut queue = self.queue.lock();
        let before = std::mem::replace(&mut queue.online, count);
        for _ in 0..queue.cells.len() {
            let Some(number) = queue.pop_idle() else { break };
            self.threads[number].called.notify_one();
        }
        before
    }
    /// Processes that wait for a thread.
    pub fn len(&self) -> usize {
        self.queue.lock().cells.len()
    }

    /// Takes a process out of the queue. `false` when it was not there.
    pub fn remove(&self, cell: usize) -> bool {
        let mut queue = self.queue.lock();
        let at = queue.cells.iter().position(|&other| other == cell);
        at.is_some_and(|at| queue.cells.remove(at).is_some())
    }

    /// Puts a process (its cell's address) at the end of the queue, and wakes an idle thread for
    /// it.
    pub fn push(&self, cell: usize) {
        let mut queue = self.queue.lock();
        queue.cells.push_back(cell);
        let idle = queue.pop_idle();
        drop(queue);
        if let Some(number) = idle {
            self.threads[number].called.notify_one();
        }
    }

    /// The next work. Called by the thread of that number; waits until there is some.
    pub fn take(&self, number: usize) -> Work {
        let mut queue = self.queue.lock();
        loop {
            // The thread that took its place may be back before the thread that was called away has
            // woken: then they change places again.
            if let Some(at) = queue.called_away.iter().position(|(thread, _)| *thread == number) {
                return Work::Scheduler(queue.called_away.swap_remove(at).1);
            }
            if queue.has_ended {
                return Work::End;
            }
            // Somebody busy may have been here before one that was called.
            if number < queue.online
                && let Some(cell) = queue.cells.pop_front()
            {
                return Work::Process(cell);
            }
            // It was called, and is not online any more.
            if !queue.cells.is_empty()
                && let Some(other) = queue.pop_idle()
            {
                self.threads[other].called.notify_one();
            }
            queue.idle.push(number);
            // Giving memory back to the system takes time; others go on with the queue.
            MutexGuard::unlocked(&mut queue, free_spare);
            while queue.waits(number) && !queue.has_ended {
                self.threads[number].called.wait(&mut queue);
            }
        }
    }

    /// Makes all threads of the pool end once they have no work under way.
    pub fn end(&self) {
        self.queue.lock().has_ended = true;
        self.threads.iter().for_each(|thread| {
            thread.called.notify_one();
        });
    }

    /// Takes the place of an idle thread, for work of the pool that the caller does itself. Returns
    /// the thread's number; `None` when none is idle.
    pub fn reserve(&self) -> Option<usize> {
        let mut queue = self.queue.lock();
        let number = queue.pop_idle()?;
        queue.reserve.push(number);
        Some(number)
    }

    /// As [`reserve`](DirtyPool::reserve), but only where some are left idle for work that blocks.
    pub fn reserve_of_many(&self) -> Option<usize> {
        const LEFT_MIN: usize = 3;
        let mut queue = self.queue.lock();
        let number = if queue.idle.len() > LEFT_MIN { queue.pop_idle()? } else { return None };
        queue.reserve.push(number);
        Some(number)
    }

    /// Gives a thread in reserve its place back.
    pub fn release(&self, number: usize) {
        let mut queue = self.queue.lock();
        queue.reserve.retain(|other| *other != number);
        if queue.cells.is_empty() {
            queue.idle.push(number);
        } else {
            drop(queue);
            self.threads[number].called.notify_one();
        }
    }

    /// Makes a thread in reserve go on as a scheduler; the thread that has its place keeps it.
    pub fn take_over(&self, number: usize, scheduler: usize) {
        let mut queue = self.queue.lock();
        queue.reserve.retain(|other| *other != number);
        queue.called_away.push((number, scheduler));
        drop(queue);
        self.threads[number].called.notify_one();
    }
}

impl Schedulers {
    /// Queues a process for a dirty scheduler; one that has a signal goes back to a scheduler
    /// first.
    pub(super) fn queue_dirty(&self, cell: &ProcessCell, pool: &DirtyPool) {
        cell.shared.waits_dirty.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fence of a sender.
        fence(Ordering::SeqCst);
        // SAFETY: the caller has just run the process, and nobody else does before it is in a
        // queue.
        if unsafe { (**cell.process.get()).has_signals() } {
            self.leave_dirty(cell);
        } else {
            pool.push(std::ptr::from_ref(cell) as usize);
        }
    }
    /// Makes a process that waits for a dirty scheduler look at its signals first, if it still
    /// waits.
    pub(crate) fn recall(&self, cell: &ProcessCell) {
        let address = std::ptr::from_ref(cell) as usize;
        if self.dirty_cpu.remove(address) || self.dirty_io.remove(address) {
            self.leave_dirty(cell);
        }
    }
    fn leave_dirty(&self, cell: &ProcessCell) {
        cell.shared.waits_dirty.store(false, Ordering::Relaxed);
        cell.shared.state.requeue();
        self.enqueue(cell, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn the_thread_that_stopped_last_is_called_first_and_none_is_forgotten() {
        const THREADS: usize = 4;
        const ROUNDS: usize = 200;
        let pool = Arc::new(DirtyPool::new(THREADS));
        let done: Arc<[AtomicU64]> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
        for number in 0..THREADS {
            let (pool, done) = (pool.clone(), done.clone());
            std::thread::spawn(move || {
                while pool.take(number) != Work::Process(0) {
                    done[number].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        let wait = |until: &dyn Fn() -> bool| {
            while !until() {
                assert!(Instant::now() < deadline, "a thread was not called");
                std::thread::yield_now();
            }
        };
        let all_idle = || pool.queue.lock().idle.len() == THREADS;
        wait(&all_idle);
        for _ in 0..ROUNDS {
            pool.push(1);
            wait(&all_idle);
        }
        let most = done.iter().map(|count| count.load(Ordering::Relaxed)).max();
        assert_eq!(most, Some(ROUNDS as u64), "one at a time is for one thread");
        (0..THREADS).for_each(|_| pool.push(0));
        wait(&|| pool.len() == 0);
    }

    #[test]
    fn threads_that_are_not_online_take_nothing() {
        let pool = Arc::new(DirtyPool::new(2));
        assert_eq!((pool.set_online(1), pool.online()), (2, 1));
        let (send, done) = std::sync::mpsc::channel();
        let second = {
            let pool = pool.clone();
            std::thread::spawn(move || send.send(pool.take(1)).expect("somebody listens"))
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while pool.queue.lock().idle.is_empty() {
            assert!(Instant::now() < deadline, "the thread does not become idle");
            std::thread::yield_now();
        }
        pool.push(7);
        assert_eq!((pool.reserve(), pool.len()), (None, 1));
        assert!(done.try_recv().is_err());
        assert_eq!(pool.take(0), Work::Process(7), "the first is online");
        pool.push(8);
        assert_eq!(pool.set_online(2), 1);
        assert_eq!(done.recv(), Ok(Work::Process(8)));
        second.join().expect("it does not panic");
    }

    #[test]
    fn a_thread_in_reserve_does_no_other_work_and_takes_over_or_goes_on() {
        let pool = Arc::new(DirtyPool::new(1));
        let (send, done) = std::sync::mpsc::channel();
        let thread = {
            let pool = pool.clone();
            std::thread::spawn(move || {
                loop {
                    let work = pool.take(0);
                    let away = matches!(work, Work::Scheduler(_));
                    send.send(work).expect("somebody listens");
                    if away {
                        return;
                    }
                }
            })
        };
        let reserve = || {
            let deadline = Instant::now() + Duration::from_secs(20);
            while pool.reserve().is_none() {
                assert!(Instant::now() < deadline, "the thread does not become idle");
                std::thread::yield_now();
            }
        };
        reserve();
        assert_eq!(pool.reserve(), None);
        pool.push(7);
        assert!(done.recv_timeout(Duration::from_millis(20)).is_err(), "its place is taken");
        pool.release(0);
        assert_eq!(done.recv(), Ok(Work::Process(7)));
        reserve();
        pool.take_over(0, 3);
        assert_eq!(done.recv(), Ok(Work::Scheduler(3)));
        thread.join().expect("it does not panic");
        pool.push(8);
        assert_eq!(pool.take(0), Work::Process(8), "the place is the caller's");
    }
}
