//! What `erlang:memory/0,1` is made of: it asks `system_info` for the sizes of OTP's allocators and
//! of some areas.

use crate::ets;
use swarmrt_machine::process::table::ProcessCell;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif, signal};
use swarmrt_term::usage::{self, Extent};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, atom};

/// OTP's allocators that divide up what they take from the system. There are none of them here, but
/// what four of them would hold is counted; the others hold nothing.
pub(crate) const ALLOCATORS: [&str; 10] = [
    "temp_alloc",
    "sl_alloc",
    "std_alloc",
    "ll_alloc",
    "eheap_alloc",
    "ets_alloc",
    "fix_alloc",
    "literal_alloc",
    "binary_alloc",
    "driver_alloc",
];

/// What an allocator of OTP's would hold; `None` when nothing is counted for it.
fn held_by(vm: &'static Vm, allocator: &str) -> Option<Extent> {
    Some(match allocator {
        "eheap_alloc" => usage::HEAPS.extent(usage::HEAPS.sum()),
        "ets_alloc" => usage::TABLES.extent(ets::memory_bytes(vm)),
        "binary_alloc" => usage::BINARIES.extent(usage::BINARIES.sum()),
        "literal_alloc" => usage::LITERALS.extent(usage::LITERALS.sum()),
        _ => return None,
    })
}

/// `erlang:system_info({allocator_sizes, Allocator})` for one of [`ALLOCATORS`]: one instance, whose
/// blocks have been taken from the system each by itself, as OTP's single-block carriers are.
pub(crate) fn allocator_sizes(p: &mut Process, allocator: Atom) -> Term {
    let held = held_by(p.vm, allocator.name());
    let sizes = |held: Extent| {
        [held.now, held.largest_lately, held.largest].map(|bytes| Term::small(bytes as i64))
    };
    let blocks = match held {
        None => Term::NIL,
        Some(held) => {
            let [now, lately, largest] = sizes(held);
            let size = p.tuple(&[Term::atom(am::SIZE), now, lately, largest]);
            let size = p.list(&[size]);
            let of_type = p.tuple(&[Term::atom(allocator), size]);
            p.list(&[of_type])
        }
    };
    let carriers = |p: &mut Process, name: Atom, blocks: Term, held: Option<Extent>| {
        let [now, lately, largest] = held.map_or([Term::small(0); 3], sizes);
        let blocks = p.tuple(&[Term::atom(atom!("blocks")), blocks]);
        let bytes = p.tuple(&[Term::atom(atom!("carriers_size")), now, lately, largest]);
        let figures = p.list(&[blocks, bytes]);
        p.tuple(&[Term::atom(name), figures])
    };
    let multi = carriers(p, atom!("mbcs"), Term::NIL, None);
    let single = carriers(p, atom!("sbcs"), blocks, held);
    let figures = p.list(&[multi, single]);
    let instance = p.tuple(&[Term::atom(atom!("instance")), Term::small(0), figures]);
    p.list(&[instance])
}

/// What `instrument` asks each allocator for, by one of its instances: how many messages it will
/// get. No blocks are kept apart by their sizes or owners, and so it says that this is not enabled.
#[bif("erts_internal:gather_alloc_histograms/1")]
#[bif("erts_internal:gather_carrier_info/1")]
fn gather_blocks(_: &mut Process, _asked: Term) -> BifResult {
    Ok(Term::small(0))
}

/// `erlang:system_info({memory_internal, Ref, Allocators})`: as many messages as there are threads
/// but one, with the sizes in the first.
pub(crate) fn memory_internal(p: &mut Process, elements: &[Term]) -> BifResult {
    let &[_, reference, allocators] = elements else { return Err(BifExit::BADARG) };
    let allocators = allocators.list_to_vec().ok_or(BifExit::BADARG)?;
    if !reference.is_reference() {
        return Err(BifExit::BADARG);
    }
    let timers = crate::timers::memory_bytes(p);
    let processes = usage::HEAPS.sum() + p.vm.processes.count() * size_of::<ProcessCell>();
    let sizes = [
        ("eheap_alloc", processes),
        ("ets_alloc", ets::memory_bytes(p.vm)),
        ("binary_alloc", usage::BINARIES.sum()),
        ("literal_alloc", usage::LITERALS.sum()),
        ("fix_alloc", timers),
    ];
    let mut heap = FragmentHeap::new();
    let mut data = Term::NIL;
    for (name, bytes) in sizes {
        let allocator = Term::atom(Atom::new(name));
        if !allocators.contains(&allocator) {
            continue;
        }
        // {mbcs, [{blocks, [{Type, [{size, Bytes}]}]}]}
        let mut nested = heap.tuple(&[Term::atom(am::SIZE), Term::small(bytes as i64)]);
        for tag in [allocator, Term::atom(atom!("blocks")), Term::atom(atom!("mbcs"))] {
            let list = heap.list(&[nested]);
            nested = heap.tuple(&[tag, list]);
        }
        let mut figures = heap.list(&[nested]);
        if name == "fix_alloc" {
            // {fix_types, [{Type, Allocated, Used}]}
            let timers = Term::small(timers as i64);
            let timers = heap.tuple(&[Term::atom(atom!("bif_timer")), timers, timers]);
            let types = heap.list(&[timers]);
            let types = heap.tuple(&[Term::atom(atom!("fix_types")), types]);
            figures = heap.cons(types, figures);
        }
        let entry = heap.tuple(&[allocator, Term::small(0), figures]);
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
