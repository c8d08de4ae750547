//! Which processes there are.

use swarmrt_machine::process::run_state;
use swarmrt_machine::process::table::Chunks;
use swarmrt_machine::{BifExit, BifResult, Process, Vm, bif};
use swarmrt_term::{Alloc, Mfa, Term, am, atom};

/// Pids in the next slots of the table of processes from `at` on, and where to go on.
#[bif("erts_internal:processes_next/1", since = 28)]
fn processes_next(p: &mut Process, at: Term) -> BifResult {
    const SLOTS: usize = 256;
    let from = at.as_small().and_then(|at| usize::try_from(at).ok()).ok_or(BifExit::BADARG)?;
    let limit = p.vm.processes.limit();
    if from > limit {
        return Err(BifExit::BADARG);
    }
    if from == limit {
        return Ok(Term::atom(am::NONE));
    }
    let to = limit.min(from + SLOTS);
    let pids: Vec<Term> = (from..to)
        .filter_map(|slot| p.vm.processes.in_slot(slot))
        .filter(|cell| cell.shared.state.load() != run_state::EXITED)
        .map(|cell| Term::pid(cell.shared.id))
        .collect();
    p.bump_reductions(SLOTS / 4);
    let pids = p.list(&pids);
    Ok(p.tuple(&[Term::small(to as i64), pids]))
}

/// Slots of the table that are looked at for a reduction.
const SLOTS_PER_REDUCTION: usize = 64;
/// Cells of the list that are built for a reduction.
const CELLS_PER_REDUCTION: usize = 16;

/// The processes that have not ended, lowest number first, as they were at one moment.
pub(crate) fn living(vm: &Vm) -> Vec<u64> {
    vm.processes.ids_of(|shared| shared.state.load() != run_state::EXITED)
}

/// What is left of a call of `processes/0`.
struct Listing {
    /// Lowest first: the list is built from its end.
    left: Vec<u64>,
}

/// All processes at the moment of the call. The table is looked at in one go, and the list is built
/// in turns, since there may be millions.
#[bif("erlang:processes/0")]
fn processes(p: &mut Process) -> BifResult {
    let left = living(p.vm);
    let Chunks { used, slots, .. } = p.vm.processes.chunks();
    p.bump_reductions(used * slots / SLOTS_PER_REDUCTION);
    build(p, Listing { left }, Term::NIL)
}

fn build(p: &mut Process, mut listing: Listing, mut list: Term) -> BifResult {
    while let Some(pid) = listing.left.pop() {
        list = p.cons(Term::pid(pid), list);
        if listing.left.len().is_multiple_of(CELLS_PER_REDUCTION) {
            p.bump_reductions(1);
            if p.reductions <= 0 {
                let left = Term::small(listing.left.len() as i64);
                let function = atom!("ptab_list_continue");
                let export = p.vm.code.export(Mfa { module: am::ERLANG, function, arity: 2 });
                p.bif_state = Some(Box::new(listing));
                return p.trap(export, &[list, left]);
            }
        }
    }
    Ok(list)
}

/// Goes on with `processes/0` after the process has given way to others. OTP's name of it shows in
/// `process_info/2`.
#[bif("erlang:ptab_list_continue/2", unlisted)]
fn processes_continue(p: &mut Process, list: Term, _left: Term) -> BifResult {
    let listing = p.bif_state.take().and_then(|state| state.downcast::<Listing>().ok());
    build(p, *listing.ok_or(BifExit::BADARG)?, list)
}

/// What `processes/0` costs, in the form of OTP's `processes_bif_info`: `{ptab_list_bif_info,
/// ReductionsToStart, Chunks, SlotsPerChunk, SlotsPerReduction, …, CellsPerReduction, DebugLevel}`.
/// Processes that end meanwhile cost nothing.
pub(crate) fn listing_costs(p: &mut Process) -> Term {
    const TO_START: usize = 0;
    const ENDED: usize = 0;
    const DEBUG_LEVEL: usize = 0;
    let Chunks { all, slots, .. } = p.vm.processes.chunks();
    let figures = [
        TO_START,
        all,
        slots,
        SLOTS_PER_REDUCTION,
        ENDED,
        ENDED,
        ENDED,
        CELLS_PER_REDUCTION,
        DEBUG_LEVEL,
    ];
    let mut costs = vec![Term::atom(atom!("ptab_list_bif_info"))];
    costs.extend(figures.map(|figure| Term::small(figure as i64)));
    p.tuple(&costs)
}
