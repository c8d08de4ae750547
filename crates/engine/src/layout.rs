//! Where things lie that machine code touches, measured from their types. Offsets are in bytes.

use crate::state::{NativeState, Registers};
use std::mem::offset_of;
use swarmrt_beam::instr::{Instr, NativePtr};
use swarmrt_machine::code::{Export, FunEntry};
use swarmrt_term::word::Header;
use swarmrt_term::{Subtag, Term, am};

/// Bytes from one instruction to the next.
pub const INSTR_BYTES: u64 = size_of::<Instr>() as u64;

/// The address of instruction `at` of `code`.
pub fn address_in(code: &[Instr], at: u32) -> u64 {
    code.as_ptr() as u64 + u64::from(at) * INSTR_BYTES
}

/// From a cell's address to the word that holds the address of machine code.
pub fn cell_code_offset() -> i32 {
    let cell = Instr::Cell { native: 0 };
    let Instr::Cell { native } = &cell else { unreachable!("just made") };
    (std::ptr::from_ref(native) as usize - std::ptr::from_ref(&cell) as usize) as i32
}

/// From a native body's address to the word that holds the address of its slot.
pub fn native_slot_offset() -> i32 {
    let body = Instr::NativeBody { arity: 0, slot: NativePtr(0) };
    let Instr::NativeBody { slot, .. } = &body else { unreachable!("just made") };
    (std::ptr::from_ref(slot) as usize - std::ptr::from_ref(&body) as usize) as i32
}

/// The tag of a list cell or boxed term: the low bits of its word, which is an address plus the
/// tag.
pub const TAG_MASK: i64 = 0b111;
/// The tag of a list cell.
pub const CONS_TAG: i64 = Term::TAG_CONS as i64;
/// The tag of a boxed term.
pub const BOXED_TAG: i64 = Term::TAG_BOXED as i64;

/// The bits by which small integers and immediate floats are told apart from other words.
pub const NUMBER_MASK: i64 = 0b11;
/// A small integer, under [`NUMBER_MASK`].
pub const SMALL_TAG: i64 = 0b11;
/// A float in a word, under [`NUMBER_MASK`].
pub const FLOAT_TAG: i64 = 0b10;
/// Bits by which the value of a small integer is shifted left in its word.
pub const SMALL_SHIFT: i64 = 2;

/// The bits by which atoms, local pids and local ports are told apart.
pub const IMMEDIATE_MASK: i64 = 0b111_111;
/// An atom, under [`IMMEDIATE_MASK`].
pub const ATOM_TAG: i64 = 0b000_001;
/// An atom's number is above these bits.
pub const ATOM_SHIFT: i64 = 6;

/// The low byte of a header, which says what kind of boxed term follows.
pub const HEADER_KIND_MASK: i64 = 0xff;
/// The shift of the count, in a header, of the words that follow it.
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
    let (atom, number) = (Term::atom(am::TRUE).raw() as i64, am::TRUE.index() as i64);
    assert!(atom >> ATOM_SHIFT == number);
    let header = Header::new(Subtag::FlatMap, 5).0 as i64;
    assert!(header & HEADER_KIND_MASK == header_kind(Subtag::FlatMap));
    assert!(header >> HEADER_WORDS_SHIFT == 5);
};

/// From a list cell's word to its head.
pub const HEAD: i32 = -(Term::TAG_CONS as i32);
/// From a list cell's word to its tail.
pub const TAIL: i32 = HEAD + 8;

/// From a boxed term's word to its word `number`, counted from 0, which is the header.
pub const fn boxed(number: usize) -> i32 {
    number as i32 * 8 - Term::TAG_BOXED as i32
}

/// From a boxed term's word to its header, as a displacement of one byte.
pub const HEADER: i8 = boxed(0) as i8;

/// From a match context's word to its position, in bits.
pub const CONTEXT_OFFSET: i32 = boxed(1);
/// From a match context's word to the end of what it matches, in bits.
pub const CONTEXT_END: i32 = boxed(2);
/// From a match context's word to the bitstring that it reads.
pub const CONTEXT_ORIGINAL: i32 = boxed(3);

/// From an export's address to that of the first instruction behind its entry cell.
pub const EXPORT_ENTRY: i32 = Export::ENTRY_OFFSET as i32;
/// From an export's address to the count of its changes.
pub const EXPORT_CHANGES: i32 = Export::CHANGES_OFFSET as i32;

/// From the entry that fun terms point at to the word that says where the fun's code begins.
pub fn fun_entry() -> i32 {
    FunEntry::ENTRY_OFFSET as i32
}

/// From [`Registers`] to `X[number]`.
pub fn x(number: usize) -> i32 {
    (offset_of!(Registers, x) + number * 8) as i32
}
/// From [`Registers`] to `F[number]`.
pub fn f(number: usize) -> i32 {
    (offset_of!(Registers, f) + number * 8) as i32
}

const STATE: usize = offset_of!(Registers, native);
/// From [`Registers`] to `NativeState::stop`. The constants below lead to the fields of their
/// names.
pub const STOP: i32 = (STATE + offset_of!(NativeState, stop)) as i32;
/// To `NativeState::top`.
pub const TOP: i32 = (STATE + offset_of!(NativeState, top)) as i32;
/// To `NativeState::reductions`.
pub const REDUCTIONS: i32 = (STATE + offset_of!(NativeState, reductions)) as i32;
/// To `NativeState::ip`.
pub const IP: i32 = (STATE + offset_of!(NativeState, ip)) as i32;
/// To `NativeState::cell`.
pub const CELL: i32 = (STATE + offset_of!(NativeState, cell)) as i32;
/// To `NativeState::code`.
pub const CODE: i32 = (STATE + offset_of!(NativeState, code)) as i32;
/// To `NativeState::answer`.
pub const ANSWER: i32 = (STATE + offset_of!(NativeState, answer)) as i32;
/// To `NativeState::x_floats`.
pub const X_FLOATS: i32 = (STATE + offset_of!(NativeState, x_floats)) as i32;
/// To `NativeState::y_floats`.
pub const Y_FLOATS: i32 = (STATE + offset_of!(NativeState, y_floats)) as i32;
/// To `NativeState::heap_floats`.
pub const HEAP_FLOATS: i32 = (STATE + offset_of!(NativeState, heap_floats)) as i32;
/// To `NativeState::arity`.
pub const ARITY: i32 = (STATE + offset_of!(NativeState, arity)) as i32;
/// To `NativeState::literals`.
pub const LITERALS: i32 = (STATE + offset_of!(NativeState, literals)) as i32;
/// To the first byte of `NativeState::map_hints`.
pub const MAP_HINTS: i32 = (STATE + offset_of!(NativeState, map_hints)) as i32;
/// To the first word of `NativeState::scratch`.
pub const SCRATCH: i32 = (STATE + offset_of!(NativeState, scratch)) as i32;
