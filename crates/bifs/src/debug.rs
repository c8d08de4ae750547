//! What test suites ask `erts_debug` for.

use crate::args::{atom_of, pair_of};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use swarmrt_heap::Fragment;
use swarmrt_machine::{BifResult, Process, Raise, bif};
use swarmrt_term::{Alloc, SharedBytes, Term, am, atom, hash};

/// Whether the rest of `set_internal_state/2` may be used.
#[derive(Default)]
struct Available(AtomicBool);

/// The last `binary_loop_limit`, which is told to who sets the next; 0 when there is none.
#[derive(Default)]
struct BinaryLoopLimit(AtomicI64);

fn check_available(p: &Process) -> Result<(), Raise> {
    if p.vm.extension::<Available>().0.load(Ordering::Relaxed) { Ok(()) } else { Err(Raise::Error(Term::atom(am::UNDEF))) }
}

#[bif("erts_debug:set_internal_state/2")]
fn set_internal_state(p: &mut Process, what: Term, value: Term) -> BifResult {
    let what = atom_of(what)?.name();
    if what == "available_internal_state" {
        let on = value.as_bool().ok_or(Raise::BADARG)?;
        return Ok(Term::bool(p.vm.extension::<Available>().0.swap(on, Ordering::Relaxed)));
    }
    check_available(p)?;
    match what {
        "reds_left" => {
            p.reductions = value.as_small().and_then(|left| i32::try_from(left).ok()).ok_or(Raise::BADARG)?;
            Ok(Term::bool(true))
        }
        // There is nothing to wait for, and nothing to force.
        "wait" => Ok(Term::atom(am::OK)),
        "ets_force_split" | "ets_debug_random_split_join" | "ets_force_trap" => Ok(Term::atom(am::OK)),
        // How far a search of `binary` may come in one go. Here it always runs to its end, so the limit is only kept.
        "binary_loop_limit" => {
            let limit = if value == Term::atom(atom!("default")) { 0 } else { value.as_small().filter(|&limit| limit >= 0).ok_or(Raise::BADARG)? };
            let before = p.vm.extension::<BinaryLoopLimit>().0.swap(limit, Ordering::Relaxed);
            Ok(p.int(before))
        }
        // The scheduler does nothing else meanwhile.
        "sleep" => {
            let ms = value.as_small().and_then(|ms| u64::try_from(ms).ok()).ok_or(Raise::BADARG)?;
            std::thread::sleep(std::time::Duration::from_millis(ms));
            Ok(Term::bool(true))
        }
        // The term in a fragment of its own.
        "mbuf" => {
            let fragment = Fragment::copy_of(value);
            // SAFETY: the fragment was just made, and is given to the process.
            unsafe {
                let copy = (*fragment).root;
                p.heap.adopt(fragment);
                Ok(copy)
            }
        }
        "unicode_loop_limit" => Ok(Term::small(1)),
        "force_gc" | "node_tab_delayed_delete" => Ok(Term::bool(true)),
        "make" if value == Term::atom(atom!("magic_ref")) => {
            let shared = SharedBytes::zeroed_words(1).ok_or(Raise::SYSTEM_LIMIT)?;
            Ok(p.counted_ref(shared))
        }
        _ => Err(Raise::BADARG),
    }
}

#[bif("erts_debug:get_internal_state/1")]
fn get_internal_state(p: &mut Process, what: Term) -> BifResult {
    check_available(p)?;
    if what == Term::atom(atom!("reds_left")) {
        return Ok(Term::small(i64::from(p.reductions.max(0))));
    }
    // Counters of tables that are spread over the schedulers do not exist here.
    if what == Term::atom(atom!("flxctr_memory_usage")) {
        return Ok(Term::atom(atom!("notsup")));
    }
    match pair_of(what) {
        Some((key, term)) if key == Term::atom(atom!("internal_hash")) => Ok(p.uint(u64::from(hash::internal_hash(term)))),
        _ => Err(Raise::BADARG),
    }
}

/// The same bits, as part of another bitstring in which they begin at an offset within a byte.
#[bif("erts_debug:unaligned_bitstring/2", since = 29)]
fn unaligned_bitstring(p: &mut Process, bitstring: Term, offset: Term) -> BifResult {
    let bits = bitstring.as_bits().ok_or(Raise::BADARG)?;
    let offset = offset.as_small().filter(|offset| (1..=7).contains(offset)).ok_or(Raise::BADARG)?;
    let offset = offset as usize;
    let size = bits.bit_size;
    let mut bytes = vec![0u8; (offset + size).div_ceil(8)];
    for index in 0..size.div_ceil(8) {
        let byte = bits.byte(index);
        bytes[index] |= byte >> offset;
        if let Some(next) = bytes.get_mut(index + 1) {
            *next = byte << (8 - offset);
        }
    }
    let whole = p.binary(&bytes);
    Ok(p.sub_binary(whole, offset, size))
}
