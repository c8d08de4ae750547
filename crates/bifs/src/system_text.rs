//! What `erlang:system_info/1` tells as text, in the form of OTP's crash dumps: `info` and `procs`.

use crate::{backtrace, ets, process_info};
use std::fmt::Write;
use swarmrt_machine::process::table::ProcessCell;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, signal};
use swarmrt_term::{Alloc, Atom, Term, usage};

/// `info`: the sizes of memory and of tables.
pub(crate) fn info(p: &mut Process) -> Term {
    let text = sizes(p.vm);
    p.binary(text.as_bytes())
}

/// The sizes of memory and of tables.
pub(crate) fn sizes(vm: &'static Vm) -> String {
    let processes = usage::HEAPS.sum() + vm.processes.count() * size_of::<ProcessCell>();
    let (atoms, atoms_used) = Atom::bytes();
    let modules = vm.code.loaded();
    let code: usize = modules
        .iter()
        .filter_map(|&name| vm.code.current(name))
        .map(|module| module.range().len())
        .sum();
    let (binaries, tables) = (usage::BINARIES.sum(), ets::memory_bytes(vm));
    let system = atoms + code + binaries + tables;
    let mut text = String::new();
    // Writing to memory cannot fail.
    let _ = write!(
        text,
        "=memory\ntotal: {}\nprocesses: {processes}\nprocesses_used: {processes}\nsystem: {system}\natom: {atoms}\n\
         atom_used: {atoms_used}\nbinary: {binaries}\ncode: {code}\nets: {tables}\n\
         =index_table:atom_tab\nlimit: {}\nentries: {}\n=index_table:module_code\nentries: {}\n",
        processes + system,
        Atom::limit(),
        Atom::count(),
        modules.len(),
    );
    text
}

/// What a call of `procs` waits for: the numbers of the replies that are to come, and the sections
/// so far.
struct Waiting {
    numbers: Vec<u64>,
    text: Vec<u8>,
}

/// `procs`: a section for each process, made by the process itself between two of its turns.
pub(crate) fn procs(p: &mut Process) -> BifResult {
    let mut waiting = match p.bif_state.take() {
        Some(state) => *state.downcast::<Waiting>().expect("a built-in finds its own state"),
        None => ask_all(p),
    };
    while let Some(&number) = waiting.numbers.last() {
        let Some(section) = p.take_reply(number) else {
            p.bif_state = Some(Box::new(waiting));
            return Err(BifExit::Wait);
        };
        waiting.numbers.pop();
        if let Some(section) = section.as_bits() {
            waiting.text.extend_from_slice(&section.to_bytes());
        }
    }
    Ok(p.binary(&waiting.text))
}

fn ask_all(p: &mut Process) -> Waiting {
    let mut waiting = Waiting { numbers: Vec::new(), text: Vec::new() };
    let asker = p.id();
    // Answers are taken from the end.
    for pid in p.vm.processes.ids().into_iter().rev() {
        if pid == asker {
            waiting.text = backtrace::dump(p, "Running");
            continue;
        }
        let number = p.expect_reply();
        waiting.numbers.push(number);
        signal::send_call(
            p.vm,
            pid,
            Box::new(move |vm, process| {
                let mut heap = swarmrt_term::FragmentHeap::new();
                let section = process.map_or(Term::NIL, |process| {
                    heap.binary(&backtrace::dump(process, process_info::state(process)))
                });
                signal::send_reply(vm, asker, number, section);
            }),
        );
    }
    waiting
}
