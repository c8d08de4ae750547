//! The threads for work that blocks or computes for long, and what waits for them.
//!
//! Of the threads that have nothing to do that one is called that stopped last: its stack and what the allocator keeps for
//! it are warm, and those of the others stay untouched as long as they are not needed.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(crate) struct DirtyPool {
    queue: Mutex<Queue>,
    threads: Box<[DirtyThread]>,
}

#[derive(Default)]
struct Queue {
    /// Addresses of processes.
    cells: VecDeque<usize>,
    /// Threads that have nothing to do; the last one stopped last.
    idle: Vec<usize>,
}

#[derive(Default)]
pub(crate) struct DirtyThread {
    /// It is not idle any more.
    called: Condvar,
    pub running: AtomicBool,
    pub busy_ns: AtomicU64,
}

impl DirtyPool {
    pub fn new(threads: usize) -> DirtyPool {
        DirtyPool { queue: Mutex::default(), threads: (0..threads).map(|_| DirtyThread::default()).collect() }
    }
    pub fn threads(&self) -> &[DirtyThread] {
        &self.threads
    }
    pub fn running(&self) -> usize {
        self.threads.iter().filter(|thread| thread.running.load(Ordering::Relaxed)).count()
    }
    /// How many processes wait.
    pub fn len(&self) -> usize {
        self.queue.lock().cells.len()
    }

    /// Has some thread run a process.
    pub fn push(&self, cell: usize) {
        let mut queue = self.queue.lock();
        queue.cells.push_back(cell);
        let idle = queue.idle.pop();
        drop(queue);
        if let Some(number) = idle {
            self.threads[number].called.notify_one();
        }
    }

    /// The process that is next; called by the thread of that number, which waits until there is one.
    pub fn take(&self, number: usize) -> usize {
        let mut queue = self.queue.lock();
        loop {
            // Somebody busy may have been here before one that was called.
            if let Some(cell) = queue.cells.pop_front() {
                return cell;
            }
            queue.idle.push(number);
            while queue.idle.contains(&number) {
                self.threads[number].called.wait(&mut queue);
            }
        }
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
                while pool.take(number) != 0 {
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
}
