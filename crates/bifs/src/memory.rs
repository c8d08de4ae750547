//! What `erlang:memory/0,1` is made of: it asks `system_info` for the sizes of OTP's allocators and
//! of some areas.

use crate::ets;
use swarmrt_machine::process::table::ProcessCell;
use swarmrt_machine::{BifExit, BifResult, Process, signal};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, atom, usage};

/// `erlang:system_info({memory_internal, Ref, Allocators})`: as many messages as there are threads
/// but one, with the sizes in the first.
pub(crate) fn memory_internal(p: &mut Process, elements: &[Term]) -> BifResult {
    let &[_, reference, allocators] = elements else { return Err(BifExit::BADARG) };
    let allocators = allocators.list_to_vec().ok_or(BifExit::BADARG)?;
    if !reference.is_reference() {
        return Err(BifExit::BADARG);
    }
    let processes = usage::HEAPS.sum() + p.vm.processes.count() * size_of::<ProcessCell>();
    let sizes = [
        ("eheap_alloc", processes),
        ("ets_alloc", ets::memory_bytes(p.vm)),
        ("binary_alloc", usage::BINARIES.sum()),
    ];
    let mut heap = FragmentHeap::new();
    let mut data = Term::NIL;
    for (name, bytes) in sizes {
        let name = Term::atom(Atom::new(name));
        // `erlang:memory/0` asks for all that `system_info(alloc_util_allocators)` names, which is
        // none here.
        if !allocators.is_empty() && !allocators.contains(&name) {
            continue;
        }
        // [{Type, Instance, [{mbcs, [{blocks, [{Type, [{size, Bytes}]}]}]}]}]
        let mut nested = heap.tuple(&[Term::atom(am::SIZE), Term::small(bytes as i64)]);
        for tag in [name, Term::atom(atom!("blocks")), Term::atom(atom!("mbcs"))] {
            let list = heap.list(&[nested]);
            nested = heap.tuple(&[tag, list]);
        }
        let list = heap.list(&[nested]);
        let entry = heap.tuple(&[name, Term::small(0), list]);
        data = heap.cons(entry, data);
    }
    let fixed = Term::atom(atom!("fix_alloc"));
    if allocators.contains(&fixed) {
        // {fix_alloc, Instance, [{fix_types, [{Type, Allocated, Used}]}]}
        let timers = Term::small(crate::timers::memory_bytes(p) as i64);
        let timers = heap.tuple(&[Term::atom(atom!("bif_timer")), timers, timers]);
        let types = heap.list(&[timers]);
        let types = heap.tuple(&[Term::atom(atom!("fix_types")), types]);
        let list = heap.list(&[types]);
        let entry = heap.tuple(&[fixed, Term::small(0), list]);
        data = heap.cons(entry, data);
    }
    let reference = swarmrt_heap::copy_term(reference, &mut heap);
    for thread in 1..threads(p) {
        let message = heap.tuple(&[
            reference,
            Term::small(thread),
            if thread == 1 { data } else { Term::NIL },
        ]);
        signal::send_message(p.vm, p.pid(), p.id(), message);
    }
    Ok(Term::bool(true))
}

/// Threads that would do work on the side: one for each scheduler, and one more.
pub(crate) fn threads(p: &Process) -> i64 {
    p.vm.schedulers.count() as i64 + 1
}

/// `erlang:system_info(allocated_areas)`: what the allocators do not know of.
pub(crate) fn allocated_areas(p: &mut Process) -> Term {
    let (atoms, atoms_used) = Atom::bytes();
    let code: usize =
        p.vm.code
            .loaded()
            .into_iter()
            .filter_map(|name| p.vm.code.current(name))
            .map(|module| module.range().len())
            .sum();
    let external =
        p.tuple(&[Term::atom(atom!("external_alloc")), Term::small((atoms + code) as i64)]);
    let atoms = p.tuple(&[
        Term::atom(atom!("atom_space")),
        Term::small(atoms as i64),
        Term::small(atoms_used as i64),
    ]);
    let code = p.tuple(&[Term::atom(atom!("loaded_code")), Term::small(code as i64)]);
    p.list(&[external, atoms, code])
}
