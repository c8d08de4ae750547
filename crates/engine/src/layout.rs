//! Where things lie that machine code touches, measured from their types. Offsets are in bytes.

use crate::state::{NativeState, Registers};
use std::mem::offset_of;
use swarmrt_beam::instr::{Instr, NativePtr};
use swarmrt_machine::code::{Export, FunEntry};
use swarmrt_term::word::Header;
use swarmrt_term::{Subtag, Term, am};

pub const INSTR_BYTES: u64 = size_of::<Instr>() as u64;

/// The address of one of these instructions.
pub fn address_in(code: &[Instr], at: u32) -> u64 {
    code.as_ptr() as u64 + u64::from(at) * INSTR_BYTES
}

/// Of the word with the machine code, in a cell.
pub fn cell_code_offset() -> i32 {
    let cell = Instr::Cell { native: 0 };
    let Instr::Cell { native } = &cell else { unreachable!("just made") };
    (std::ptr::from_ref(native) as usize - std::ptr::from_ref(&cell) as usize) as i32
}

/// Of the address of the slot, in a native body.
pub fn native_slot_offset() -> i32 {
    let body = Instr::NativeBody { arity: 0, slot: NativePtr(0) };
    let Instr::NativeBody { slot, .. } = &body else { unreachable!("just made") };
    (std::ptr::from_ref(slot) as usize - std::ptr::from_ref(&body) as usize) as i32
}

/// The tag of a list cell, a boxed term: how far from an address the word is.
pub const TAG_MASK: i64 = 0b111;
pub const CONS_TAG: i64 = Term::TAG_CONS as i64;
pub const BOXED_TAG: i64 = Term::TAG_BOXED as i64;

/// Small integers and floats in words are told apart by two bits.
pub const NUMBER_MASK: i64 = 0b11;
pub const SMALL_TAG: i64 = 0b11;
pub const FLOAT_TAG: i64 = 0b10;
/// What a small integer is shifted by.
pub const SMALL_SHIFT: i64 = 2;

/// Atoms and other immediates.
pub const IMMEDIATE_MASK: i64 = 0b111_111;
pub const ATOM_TAG: i64 = 0b000_001;

/// A header: what it stands in front of in its low byte, above that the words that follow.
pub const HEADER_KIND_MASK: i64 = 0xff;
pub const HEADER_WORDS_SHIFT: i64 = 8;

/// The low byte of the header of what has a subtag.
pub const fn header_kind(subtag: Subtag) -> i64 {
    (subtag as i64) << 3
}

// Machine code and `term` agree on all of that.
const _: () = {
    let (zero, one) = (Term::small(0).raw() as i64, Term::small(1).raw() as i64);
    assert!(zero == SMALL_TAG && one == SMALL_TAG + (1 << SMALL_SHIFT));
    assert!(Term::FLOATS_FROM as i64 & NUMBER_MASK == FLOAT_TAG);
    assert!(Term::NIL.raw() as i64 & TAG_MASK != CONS_TAG && CONS_TAG != BOXED_TAG);
    let (first, next) = (Term::atom(am::FALSE).raw() as i64, Term::pid(0).raw() as i64);
    assert!(first & IMMEDIATE_MASK == ATOM_TAG && next & IMMEDIATE_MASK != ATOM_TAG);
    let header = Header::new(Subtag::FlatMap, 5).0 as i64;
    assert!(header & HEADER_KIND_MASK == header_kind(Subtag::FlatMap));
    assert!(header >> HEADER_WORDS_SHIFT == 5);
};

/// From a list cell's word to its head and its tail.
pub const HEAD: i32 = -(Term::TAG_CONS as i32);
pub const TAIL: i32 = HEAD + 8;

/// From a boxed term's word to one of its words, of which the first is the header.
pub const fn boxed(number: usize) -> i32 {
    number as i32 * 8 - Term::TAG_BOXED as i32
}

/// The same to its header, in the form of a displacement of one byte.
pub const HEADER: i8 = boxed(0) as i8;

/// From a match context's word to its position, its end and what it reads.
pub const CONTEXT_OFFSET: i32 = boxed(1);
pub const CONTEXT_END: i32 = boxed(2);
pub const CONTEXT_ORIGINAL: i32 = boxed(3);

pub const EXPORT_ENTRY: i32 = Export::ENTRY_OFFSET as i32;
pub const EXPORT_CHANGES: i32 = Export::CHANGES_OFFSET as i32;

/// Of the word that says where a fun's code begins, in the entry that fun terms point at.
pub fn fun_entry() -> i32 {
    FunEntry::ENTRY_OFFSET as i32
}

pub fn x(number: usize) -> i32 {
    (offset_of!(Registers, x) + number * 8) as i32
}
pub fn f(number: usize) -> i32 {
    (offset_of!(Registers, f) + number * 8) as i32
}

const STATE: usize = offset_of!(Registers, native);
pub const STOP: i32 = (STATE + offset_of!(NativeState, stop)) as i32;
pub const TOP: i32 = (STATE + offset_of!(NativeState, top)) as i32;
pub const REDUCTIONS: i32 = (STATE + offset_of!(NativeState, reductions)) as i32;
pub const IP: i32 = (STATE + offset_of!(NativeState, ip)) as i32;
pub const CELL: i32 = (STATE + offset_of!(NativeState, cell)) as i32;
pub const CODE: i32 = (STATE + offset_of!(NativeState, code)) as i32;
pub const ANSWER: i32 = (STATE + offset_of!(NativeState, answer)) as i32;
pub const X_FLOATS: i32 = (STATE + offset_of!(NativeState, x_floats)) as i32;
pub const Y_FLOATS: i32 = (STATE + offset_of!(NativeState, y_floats)) as i32;
pub const HEAP_FLOATS: i32 = (STATE + offset_of!(NativeState, heap_floats)) as i32;
pub const ARITY: i32 = (STATE + offset_of!(NativeState, arity)) as i32;
pub const MAP_HINTS: i32 = (STATE + offset_of!(NativeState, map_hints)) as i32;
pub const SCRATCH: i32 = (STATE + offset_of!(NativeState, scratch)) as i32;
