//! What processes do to each other, without an engine: signals are handled by hand.

use crate::process::exit::Ending;
use crate::process::links::{AliasMode, Monitor, RefValue, Relations, Tag, Watched};
use crate::process::mailbox::Mailbox;
use crate::process::run_state;
use crate::process::spawn::{SpawnOptions, Start, spawn};
use crate::process::{Process, REDUCTIONS_PER_TURN, Task, TaskWork};
use crate::signal;
use crate::vm::{Config, Vm, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use swarmrt_heap::Fragment;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Release, SharedBytes, Term, am, equal_exact};

/// A machine whose schedulers never start.
pub(crate) fn machine() -> &'static Vm {
    Vm::new(Config::without_threads(Release::OLDEST))
}

pub(crate) fn new_process(vm: &'static Vm) -> u64 {
    new_process_with(vm, None, SpawnOptions::default())
}
fn new_process_with(vm: &'static Vm, parent: Option<&mut Process>, options: SpawnOptions) -> u64 {
    let start = Start::Apply { module: am::ERLANG, function: am::APPLY, args: Term::NIL };
    spawn(vm, parent, start, options).expect("there is room for processes")
}

/// A process that only this thread touches: no scheduler runs.
#[allow(clippy::mut_from_ref, reason = "the machine owns its processes through cells")]
pub(crate) fn process(vm: &'static Vm, pid: u64) -> &'static mut Process {
    let _guard = pin();
    let cell = vm.processes.get(pid).expect("it is alive");
    // SAFETY: no scheduler runs, and tests do not hold on to the process while they ask for it
    // again.
    unsafe { &mut *cell.process.get() }
}

/// Handles what has come in; whether the process is to end.
fn handle(vm: &'static Vm, pid: u64) -> bool {
    let process = process(vm, pid);
    process.handle_signals();
    process.exit_pending
}

fn end(vm: &'static Vm, pid: u64, reason: Term) {
    let guard = pin();
    let process = process(vm, pid);
    process.exception.reason = reason;
    assert_eq!(process.end(&mut { REDUCTIONS_PER_TURN }), Ending::Over);
    // SAFETY: nobody touches it any more.
    unsafe { vm.processes.remove(pid, &guard) };
}

pub(crate) fn text(term: Term) -> String {
    swarmrt_term::print::display(term).to_string()
}
fn messages(vm: &'static Vm, pid: u64) -> Vec<String> {
    process(vm, pid).mailbox.iter().map(text).collect()
}

fn link(vm: &'static Vm, a: u64, b: u64) {
    process(vm, a).relations.link(Term::pid(b));
    process(vm, b).relations.link(Term::pid(a));
}

fn monitor(vm: &'static Vm, owner: u64, watched: u64, tag: Option<Tag>) -> u64 {
    monitor_as(vm, vm.next_ref(), owner, watched, tag)
}

fn monitor_as(
    vm: &'static Vm,
    reference: RefValue,
    owner: u64,
    watched: u64,
    tag: Option<Tag>,
) -> u64 {
    let monitor = Monitor { reference, watched: Watched::Pid(watched), tag, priority: false };
    process(vm, owner).relations.monitors.insert(reference.id, monitor);
    signal::send_monitor(vm, Term::pid(owner), watched, reference.id);
    reference.id
}

const BOOM: Term = Term::atom(am::BADARG);

#[test]
fn exit_signals_end_a_process_or_become_messages() {
    let (normal, kill, killed) =
        (Term::atom(am::NORMAL), Term::atom(am::KILL), Term::atom(am::KILLED));
    // Reason, whether it comes through a link, and from the process itself; what becomes of one
    // that does not trap exits, and of one that does: its exit reason, or whether it gets a
    // message.
    let cases = [
        (BOOM, false, false, Some(BOOM), None),
        (BOOM, true, false, Some(BOOM), None),
        (normal, false, false, None, None),
        (normal, true, false, None, None),
        (normal, false, true, Some(normal), None),
        (kill, false, false, Some(killed), Some(killed)),
        // Through a link it is a reason like any other.
        (kill, true, false, Some(kill), None),
    ];
    for (reason, linked, from_self, plain, trapping) in cases {
        for (traps, ends) in [(false, plain), (true, trapping)] {
            let vm = machine();
            let (pid, other) = (new_process(vm), new_process(vm));
            process(vm, pid).trap_exit = traps;
            let from = if from_self { pid } else { other };
            if linked {
                link(vm, pid, other);
                signal::send_link_exit(vm, Term::pid(from), pid, reason);
            } else {
                signal::send_exit(vm, Term::pid(from), pid, reason);
            }
            let case =
                format!("{reason:?}, linked: {linked}, from itself: {from_self}, traps: {traps}");
            assert_eq!(handle(vm, pid), ends.is_some(), "{case}");
            if let Some(ends) = ends {
                assert_eq!(process(vm, pid).exception.reason, ends, "{case}");
                assert!(messages(vm, pid).is_empty(), "{case}");
            } else if traps {
                assert_eq!(
                    messages(vm, pid),
                    [format!("{{'EXIT',{},{}}}", text(Term::pid(from)), text(reason))],
                    "{case}"
                );
            } else {
                assert!(messages(vm, pid).is_empty(), "{case}");
            }
        }
    }
}

#[test]
fn the_first_reason_to_end_counts() {
    let vm = machine();
    let (pid, other) = (new_process(vm), new_process(vm));
    signal::send_exit(vm, Term::pid(other), pid, BOOM);
    signal::send_exit(vm, Term::pid(other), pid, Term::atom(am::KILL));
    assert!(handle(vm, pid));
    assert_eq!(process(vm, pid).exception.reason, BOOM);
}

#[test]
fn a_link_that_was_taken_back_does_nothing() {
    let vm = machine();
    let (pid, other) = (new_process(vm), new_process(vm));
    link(vm, pid, other);
    process(vm, pid).relations.unlink(Term::pid(other));
    signal::send_unlink(vm, Term::pid(pid), other);
    handle(vm, other);
    assert!(!process(vm, other).relations.is_linked(Term::pid(pid)));
    // One that was on its way already.
    signal::send_link_exit(vm, Term::pid(other), pid, BOOM);
    assert!(!handle(vm, pid));
}

#[test]
fn the_end_of_a_process_is_told_to_whom_it_concerns() {
    let vm = machine();
    let (pid, linked, watcher, tagging) =
        (new_process(vm), new_process(vm), new_process(vm), new_process(vm));
    link(vm, pid, linked);
    monitor(vm, watcher, pid, None);
    monitor(vm, tagging, pid, Some(Tag::new(BOOM)));
    let taken_back = monitor(vm, watcher, pid, None);
    handle(vm, pid);
    process(vm, watcher).relations.remove_monitor(taken_back);
    signal::send_demonitor(vm, Term::pid(watcher), pid, taken_back);
    handle(vm, pid);
    // Its own monitor is to be forgotten by the watched process.
    let own = monitor(vm, pid, linked, None);
    handle(vm, linked);
    assert!(process(vm, linked).relations.monitored_by.contains_key(own));

    end(vm, pid, BOOM);
    assert!(handle(vm, linked), "the linked process goes along");
    assert!(process(vm, linked).relations.monitored_by.is_empty());
    handle(vm, watcher);
    handle(vm, tagging);
    let down = |pid: u64| {
        messages(vm, pid)
            .iter()
            .map(|message| message.split_once(",#Ref").map_or("", |(tag, _)| tag).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(down(watcher), ["{'DOWN'"]);
    assert_eq!(down(tagging), ["{badarg"]);
    assert!(
        messages(vm, watcher)[0].ends_with(&format!(",process,{},badarg}}", text(Term::pid(pid))))
    );
    assert!(process(vm, watcher).relations.monitors.is_empty());
}

#[test]
fn who_comes_too_late_hears_that_there_is_no_process() {
    let vm = machine();
    let (pid, linking, watcher) = (new_process(vm), new_process(vm), new_process(vm));
    // Still in the queue when the process ends.
    process(vm, linking).relations.link(Term::pid(pid));
    signal::send_link(vm, Term::pid(linking), pid);
    monitor(vm, watcher, pid, None);
    let asked = Arc::new(AtomicBool::new(false));
    let answered = asked.clone();
    signal::send_call(
        vm,
        pid,
        Box::new(move |_, process| answered.store(process.is_none(), Ordering::SeqCst)),
    );
    end(vm, pid, BOOM);

    assert!(handle(vm, linking));
    assert_eq!(process(vm, linking).exception.reason, Term::atom(am::NOPROC));
    handle(vm, watcher);
    assert!(messages(vm, watcher)[0].ends_with("noproc}"));
    assert!(asked.load(Ordering::SeqCst), "whoever asked is told");
    assert!(!signal::send_message(vm, Term::NONE, pid, Term::NIL), "and now it is gone");
}

#[test]
fn aliases_last_as_long_as_they_are_to() {
    for (mode, received) in [
        (AliasMode::ExplicitUnalias, 2),
        (AliasMode::Demonitor, 2),
        (AliasMode::Reply, 1),
        (AliasMode::ReplyDemonitor, 1),
    ] {
        let vm = machine();
        let (pid, other) = (new_process(vm), new_process(vm));
        let alias = vm.next_alias(pid);
        monitor_as(vm, alias, pid, other, None);
        handle(vm, other);
        process(vm, pid).relations.add_alias(alias, mode);
        // One from before the count of references came round.
        let older = RefValue { low: alias.low ^ 1, ..alias };
        signal::send_alias(vm, Term::pid(other), older, Term::small(0));
        for number in 1..=2 {
            signal::send_alias(vm, Term::pid(other), alias, Term::small(number));
        }
        handle(vm, pid);
        assert_eq!(messages(vm, pid), &["1", "2"][..received], "{mode:?}");
        let demonitored = mode == AliasMode::ReplyDemonitor;
        assert_eq!(process(vm, pid).relations.monitors.is_empty(), demonitored, "{mode:?}");
        handle(vm, other);
        assert_eq!(process(vm, other).relations.monitored_by.is_empty(), demonitored, "{mode:?}");
    }
}

#[test]
fn long_work_learns_of_exits_that_come_through_an_alias() {
    let (normal, kill) = (Term::atom(am::NORMAL), Term::atom(am::KILL));
    for (reason, active, traps, ends) in [
        (BOOM, true, false, true),
        (BOOM, true, true, false),
        (BOOM, false, false, false),
        (normal, true, false, false),
        (kill, true, true, true),
    ] {
        for priority in [false, true] {
            let vm = machine();
            let (pid, other) = (new_process(vm), new_process(vm));
            let alias = vm.next_alias(pid);
            process(vm, pid).trap_exit = traps;
            if active {
                process(vm, pid).relations.add_alias(alias, AliasMode::ExplicitUnalias);
            }
            signal::send_exit_through(vm, Term::pid(other), alias, reason, priority);
            let case = format!("{reason:?}, active: {active}, traps: {traps}");
            assert_eq!(process(vm, pid).has_exit_signal(), ends, "{case}");
            assert_eq!(handle(vm, pid), ends, "{case}");
        }
    }
}

#[test]
fn a_monitor_takes_its_alias_along() {
    for (mode, goes) in [
        (AliasMode::ExplicitUnalias, false),
        (AliasMode::Reply, false),
        (AliasMode::Demonitor, true),
        (AliasMode::ReplyDemonitor, true),
    ] {
        let mut relations = Relations::default();
        let reference = machine().next_ref();
        relations.monitors.insert(
            reference.id,
            Monitor { reference, watched: Watched::Pid(1), tag: None, priority: false },
        );
        relations.add_alias(reference, mode);
        assert!(relations.remove_monitor(reference.id).is_some());
        assert!(relations.remove_monitor(reference.id).is_none());
        assert_eq!(relations.alias(reference).is_none(), goes, "{mode:?}");
    }
}

#[test]
fn links_are_there_once_however_often_they_are_made() {
    let mut relations = Relations::default();
    let (pid, port) = (Term::pid(3), Term::port(3));
    assert!(relations.link(pid));
    assert!(!relations.link(pid));
    assert!(!relations.is_linked(port), "a port with the number of a pid");
    assert!(relations.link(port));
    assert!(relations.unlink(pid));
    assert!(!relations.unlink(pid));
    assert!(relations.is_linked(port));
}

#[test]
fn signals_of_one_sender_arrive_in_order() {
    let vm = machine();
    let (pid, other) = (new_process(vm), new_process(vm));
    process(vm, pid).trap_exit = true;
    signal::send_message(vm, Term::pid(other), pid, Term::small(1));
    signal::send_exit(vm, Term::pid(other), pid, BOOM);
    signal::send_message(vm, Term::pid(other), pid, Term::small(2));
    handle(vm, pid);
    assert_eq!(
        messages(vm, pid),
        ["1".to_owned(), format!("{{'EXIT',{},badarg}}", text(Term::pid(other))), "2".to_owned()]
    );
}

#[test]
fn what_a_dead_process_held_is_freed_at_once() {
    struct Waits(Arc<AtomicBool>);
    impl TaskWork for Waits {
        fn run(self: Box<Self>, _: &mut Process) -> Option<Task> {
            unreachable!("the process ends before")
        }
    }
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let vm = machine();
    let (pid, looking) = (new_process(vm), pin());
    let cell = vm.processes.get(pid).expect("it is alive");
    let bytes = SharedBytes::copy_from(&[0; 1000]);
    let gone = Arc::new(AtomicBool::new(false));
    let holder = process(vm, pid);
    holder.shared_bin(bytes.clone(), 0, 8000);
    holder.add_task(Box::new(Waits(gone.clone())));
    let mut heap = FragmentHeap::new();
    let message = heap.shared_bin(bytes.clone(), 0, 8000);
    signal::send_message(vm, Term::NONE, pid, message);
    handle(vm, pid);
    assert_eq!(bytes.references(), 4);
    end(vm, pid, BOOM);
    assert_eq!(bytes.references(), 2, "heap and mailbox are gone");
    assert!(gone.load(Ordering::SeqCst), "who waits for a task hears of it");
    // Somebody looks at the cell still.
    assert_eq!(cell.shared.state.load(), run_state::EXITED);
    drop(looking);
}

#[test]
fn a_process_table_finds_the_living_and_only_them() {
    let vm = machine();
    let pids: Vec<u64> = (0..10).map(|_| new_process(vm)).collect();
    assert!(pids.is_sorted_by(|a, b| a < b));
    assert_eq!(vm.processes.ids(), pids);
    let _guard = pin();
    end(vm, pids[3], BOOM);
    assert!(vm.processes.get(pids[3]).is_none());
    assert!(vm.processes.get(pids[4]).is_some());
    assert_eq!(vm.processes.count(), 9);
    // The same slot, another number.
    let limit = vm.processes.limit() as u64;
    assert!(vm.processes.get(pids[4] + limit).is_none());

    // The table is filled; numbers whose slots are taken are passed over.
    while vm.processes.count() < vm.processes.limit() {
        new_process(vm);
    }
    let start = Start::Apply { module: am::ERLANG, function: am::APPLY, args: Term::NIL };
    assert!(spawn(vm, None, start, SpawnOptions::default()).is_none(), "it is full");
    end(vm, pids[7], BOOM);
    let late = new_process(vm);
    assert_eq!(late % limit, pids[7] % limit, "the only free slot");
    assert_ne!(late, pids[7], "numbers do not come again soon");
    assert!(vm.processes.get(pids[7]).is_none());
}

#[test]
fn a_child_is_linked_and_watched_from_the_start() {
    let vm = machine();
    let parent = new_process(vm);
    let reference = vm.next_ref();
    let options =
        SpawnOptions { link: true, monitor: Some((reference, None)), ..SpawnOptions::default() };
    let child = new_process_with(vm, Some(process(vm, parent)), options);
    process(vm, parent).trap_exit = true;
    end(vm, child, BOOM);
    handle(vm, parent);
    let heard = messages(vm, parent);
    assert_eq!(heard.len(), 2);
    assert!(
        heard.iter().any(|message| message.starts_with("{'EXIT',"))
            && heard.iter().any(|message| message.starts_with("{'DOWN',"))
    );
}

#[test]
fn timers_go_off_in_order_and_not_when_they_were_cancelled() {
    let vm = machine();
    let (sender, receiver) = mpsc::channel();
    let start = |after_ms: u64, name: u32| {
        let sender = sender.clone();
        let at_ns = vm.clock.since_start_ns() + after_ms * 1_000_000;
        vm.timers.start(
            at_ns,
            Box::new(move |vm| {
                sender
                    .send((name, vm.clock.since_start_ns() >= at_ns))
                    .expect("the test waits for it");
            }),
        )
    };
    start(60, 3);
    start(20, 1);
    let cancelled = start(40, 99);
    std::thread::spawn(move || vm.timers.run(vm));
    // One that is earlier than what the thread sleeps for.
    start(5, 0);
    start(40, 2);
    assert!(vm.timers.cancel(cancelled));
    assert!(!vm.timers.cancel(cancelled));
    let heard: Vec<(u32, bool)> = (0..4)
        .map(|_| receiver.recv_timeout(std::time::Duration::from_secs(20)).expect("they go off"))
        .collect();
    assert_eq!(heard, [(0, true), (1, true), (2, true), (3, true)], "in order, and none early");
    assert!(receiver.try_recv().is_err());
}

#[test]
fn the_timeout_of_a_suspended_receive_waits_from_otp_28_on() {
    for release in Release::ALL {
        let vm = Vm::new(Config::without_threads(release));
        let pid = new_process(vm);
        let process = process(vm, pid);
        let at_ns = vm.clock.since_start_ns() + 3_600_000_000_000;
        let key = vm.start_receive_timer(at_ns, pid, process.receive_timer.sequence);
        process.receive_timer.key = Some(key);
        process.suspend_once();
        process.suspend_once();
        let waits = process.receive_timer.key.is_none();
        assert_eq!(waits, release >= Release::R28, "{release:?}");
        process.resume_once();
        assert_eq!(process.receive_timer.key.is_none(), waits, "suspended once still");
        process.resume_once();
        let again = process.receive_timer.key.expect("it goes on");
        assert!(again.at_ns >= at_ns && vm.timers.cancel(again), "{release:?}");
    }
}

#[test]
fn the_end_of_a_receive_is_told_to_that_receive_only() {
    let vm = machine();
    let pid = new_process(vm);
    process(vm, pid).receive_timer.sequence = 7;
    signal::receive_timeout(vm, pid, 6);
    handle(vm, pid);
    assert!(!process(vm, pid).receive_timer.fired, "that was an earlier one");
    signal::receive_timeout(vm, pid, 7);
    handle(vm, pid);
    assert!(process(vm, pid).receive_timer.fired);
}

/// A mailbox with the numbers from 0 to below `count`.
fn mailbox(count: i64) -> Mailbox {
    let mut mailbox = Mailbox::new();
    (0..count).for_each(|number| push(&mut mailbox, Term::small(number)));
    mailbox
}
fn push(mailbox: &mut Mailbox, message: Term) {
    // SAFETY: a new message is in no list.
    unsafe { mailbox.push(Fragment::copy_of(message)) }
}
fn numbers(mailbox: &Mailbox) -> Vec<i64> {
    mailbox.iter().map(|message| message.as_small().expect("a number")).collect()
}
fn take(mailbox: &mut Mailbox) -> i64 {
    let message = mailbox.take().expect("a message");
    // SAFETY: the mailbox has given it up.
    unsafe {
        let number = (*message).root.as_small().expect("a number");
        Fragment::free(message);
        number
    }
}

#[test]
fn a_receive_takes_from_the_middle_and_starts_over() {
    let mut mailbox = mailbox(4);
    mailbox.advance();
    mailbox.advance();
    assert_eq!(take(&mut mailbox), 2);
    assert_eq!(mailbox.peek(), Some(Term::small(0)), "the next receive begins at the first");
    (0..2).for_each(|_| mailbox.advance());
    assert_eq!(take(&mut mailbox), 3, "the last");
    push(&mut mailbox, Term::small(4));
    assert_eq!(numbers(&mailbox), [0, 1, 4]);
    assert_eq!([take(&mut mailbox), take(&mut mailbox), take(&mut mailbox)], [0, 1, 4]);
    assert!(mailbox.is_empty() && mailbox.peek().is_none());
    push(&mut mailbox, Term::small(5));
    assert_eq!(numbers(&mailbox), [5]);
}

#[test]
fn a_marker_skips_what_came_before_it() {
    let mut mailbox = mailbox(3);
    mailbox.set_next_marker(u16::MAX);
    let number = mailbox.reserve_marker();
    assert_eq!([number, mailbox.reserve_marker()], [u16::MAX, 0], "numbers begin anew");
    mailbox.bind_marker(number.into(), 77);
    push(&mut mailbox, Term::small(3));
    mailbox.use_marker(78);
    assert_eq!(mailbox.peek(), Some(Term::small(0)), "there is no such marker");
    mailbox.use_marker(77);
    assert_eq!(mailbox.peek(), Some(Term::small(3)));
    // The message that the marker stands at goes, and then the one before it.
    for gone in [2, 1] {
        mailbox.rewind();
        let taken =
            mailbox.take_first(|message| message == Term::small(gone)).expect("it is there");
        // SAFETY: the mailbox has given it up.
        unsafe { Fragment::free(taken) };
        mailbox.use_marker(77);
        assert_eq!(mailbox.peek(), Some(Term::small(3)));
    }
    mailbox.clear_marker(77);
    mailbox.rewind();
    mailbox.use_marker(77);
    assert_eq!(mailbox.peek(), Some(Term::small(0)));
}

#[test]
fn taking_out_another_message_leaves_a_receive_where_it_was() {
    for (gone, stands_at) in [(0, 2), (1, 0), (2, 3), (3, 2)] {
        let mut mailbox = mailbox(4);
        mailbox.advance();
        mailbox.advance();
        let taken =
            mailbox.take_first(|message| message == Term::small(gone)).expect("it is there");
        // SAFETY: the mailbox has given the message up.
        unsafe { Fragment::free(taken) };
        // Where the message before the cursor goes, the receive starts over.
        assert_eq!(mailbox.peek(), Some(Term::small(stands_at)), "without {gone}");
        assert_eq!(mailbox.len(), 3);
        assert!(mailbox.take_first(|message| message == Term::small(gone)).is_none());
    }
}

#[test]
fn a_message_that_code_looks_at_is_replaced_by_a_copy() {
    let mut mailbox = Mailbox::new();
    let mut heap = FragmentHeap::new();
    let message = heap.tuple(&[Term::small(1), Term::atom(Atom::from_index(1))]);
    push(&mut mailbox, Term::small(0));
    push(&mut mailbox, message);
    assert!(mailbox.detach_peeked().is_none(), "nobody looks at it");
    mailbox.advance();
    let seen = mailbox.receive_peek().expect("the second");
    let original = mailbox.detach_peeked().expect("it is looked at");
    let now = mailbox.peek().expect("the second still");
    assert_ne!(now.raw(), seen.raw());
    assert!(equal_exact(now, message) && equal_exact(seen, message));
    assert!(mailbox.detach_peeked().is_none());
    // SAFETY: the mailbox has given it up.
    unsafe { Fragment::free(original) };
    assert_eq!(mailbox.len(), 2);
}

#[test]
fn a_message_that_is_no_term_counts_until_it_is_looked_at() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let looks = Arc::new(AtomicUsize::new(0));
    let on_look = || -> crate::process::mailbox::OnLook {
        let looks = looks.clone();
        Box::new(move || {
            looks.fetch_add(1, Ordering::Relaxed);
        })
    };
    let mut mailbox = mailbox(2);
    mailbox.push_unreadable(on_look());
    mailbox.push_unreadable(on_look());
    let number = mailbox.reserve_marker();
    mailbox.bind_marker(number.into(), 77);
    push(&mut mailbox, Term::small(2));
    assert_eq!((mailbox.len(), numbers(&mailbox)), (5, vec![0, 1, 2]));
    assert_eq!(mailbox.receive_peek(), Some(Term::small(0)));
    mailbox.advance();
    assert_eq!(mailbox.receive_peek(), Some(Term::small(1)));
    assert_eq!((mailbox.len(), looks.load(Ordering::Relaxed)), (5, 0), "not reached yet");
    mailbox.advance();
    assert_eq!(mailbox.receive_peek(), Some(Term::small(2)), "those in front are gone");
    assert_eq!((mailbox.len(), looks.load(Ordering::Relaxed)), (3, 2));
    mailbox.rewind();
    mailbox.use_marker(77);
    assert_eq!(mailbox.receive_peek(), Some(Term::small(2)), "the marker stays at its place");
    mailbox.rewind();
    // Somebody else looks at all messages, while the cursor is behind a readable one.
    mailbox.push_unreadable(on_look());
    mailbox.advance();
    mailbox.drop_unreadable();
    assert_eq!((mailbox.len(), looks.load(Ordering::Relaxed)), (3, 3));
    assert_eq!(take(&mut mailbox), 1, "the cursor stays at its message");
    mailbox.push_unreadable(on_look());
    assert!(mailbox.take_first(|message| !message.is_small()).is_none(), "it is no message yet");
    drop(mailbox);
    assert_eq!(looks.load(Ordering::Relaxed), 3, "nobody looks when the process ends");
}
