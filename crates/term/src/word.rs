//! The tagged 64-bit word and the header word of boxed terms.
//!
//! | low bits | what |
//! |---|---|
//! | `11` | small integer, 62 bits |
//! | `10` | float held in the word |
//! | `100` | list cell pointer |
//! | `101` | boxed pointer |
//! | `001` | other immediates, told apart by bits 3–5; native libraries rely on it that an atom's word is odd |
//! | `000` | header words on the heap, return addresses on the stack |

use crate::atom::Atom;
use crate::binary::Bits;
use crate::boxed::*;

/// One Erlang value, or a word of the machine that may stand where values stand.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Term(u64);

// SAFETY: a term is a word; what it points at is immutable once published. Which thread may follow
// the pointer is decided by the heaps, not by the word.
unsafe impl Send for Term {}
// SAFETY: a term is a word; what it points at is immutable once published.
unsafe impl Sync for Term {}

pub(crate) const IMMEDIATE_BITS: u32 = 6;
const TAG_ATOM: u64 = 0b000_001;
const TAG_PID: u64 = 0b001_001;
const TAG_PORT: u64 = 0b010_001;
const TAG_NIL: u64 = 0b011_001;
const TAG_CATCH: u64 = 0b100_001;
const TAG_NONE: u64 = 0b101_001;
const IMMEDIATE_MASK: u64 = 0b111_111;
const TAG_MASK: u64 = 0b111;

/// The word that holds +0.0; bit 2 is the sign. The words of +0.0 and -0.0 are less than those of
/// all other floats.
const FLOAT_ZERO: u64 = 0b010;

impl Term {
    /// Added to the bits of a float with a common exponent (highest bits 011 or 100) before they
    /// are rotated left by three: the two bits below the sign become 10, which after the rotation
    /// are the lowest two bits of the word, the tag.
    pub const FLOAT_BIAS: u64 = 1 << 60;
    /// A float is held in its word iff `(bits << 1) - FLOATS_FROM < FLOATS_RANGE` (wrapping), or if
    /// it is a zero. This is the lower bound: the smallest common exponent, without its first
    /// value, whose word would be that of a zero.
    pub const FLOATS_FROM: u64 = 0x6000_0000_0000_0002;
    /// Width of the range of `bits << 1` from [`Term::FLOATS_FROM`] on: the highest bits of the
    /// exponent are 011 or 100.
    pub const FLOATS_RANGE: u64 = (1 << 62) - 2;
    /// Float words below this hold a zero.
    pub const FLOAT_ZEROES_END: u64 = 0b1000;

    /// The lowest three bits of the word of a list cell. Together with [`Term::TAG_BOXED`] it is
    /// the only tag whose highest two bits are 10: those two bits tell pointers from all else.
    pub const TAG_CONS: u64 = 0b100;
    /// The lowest three bits of the word of a boxed term.
    pub const TAG_BOXED: u64 = 0b101;

    /// The empty list.
    pub const NIL: Term = Term(TAG_NIL);
    /// No value: an empty slot, "not found". Never visible to Erlang code.
    pub const NONE: Term = Term(TAG_NONE);
    /// The largest small integer, 2^61 - 1: smalls have 62 bits, in OTP 60.
    pub const SMALL_MAX: i64 = (1 << 61) - 1;
    /// The smallest small integer, -2^61.
    pub const SMALL_MIN: i64 = -(1 << 61);

    /// The term with this word.
    ///
    /// # Safety
    /// `raw` is a word produced by this crate, and the memory that it points at is live.
    #[inline(always)]
    pub const unsafe fn from_raw(raw: u64) -> Term {
        Term(raw)
    }
    /// The tagged word itself, as it lies on a heap or stack.
    #[inline(always)]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Whether an integer can be a small, from [`Term::SMALL_MIN`] to [`Term::SMALL_MAX`].
    #[inline(always)]
    pub const fn fits_small(value: i64) -> bool {
        value >= Self::SMALL_MIN && value <= Self::SMALL_MAX
    }
    /// A small integer; `value` must fit 62 bits (see [`Alloc::int`](crate::Alloc::int) for any
    /// value).
    #[inline(always)]
    pub const fn small(value: i64) -> Term {
        debug_assert!(Self::fits_small(value));
        Term(((value as u64) << 2) | 0b11)
    }
    /// Whether this is a small integer. A big integer is not: see [`Term::is_integer`].
    #[inline(always)]
    pub const fn is_small(self) -> bool {
        self.0 & 0b11 == 0b11
    }
    /// The value of a small integer; `None` for everything else, big integers included.
    #[inline(always)]
    pub const fn as_small(self) -> Option<i64> {
        if self.is_small() { Some((self.0 as i64) >> 2) } else { None }
    }
    /// The value of a word known to be a small integer.
    #[inline(always)]
    pub const fn small_value(self) -> i64 {
        debug_assert!(self.is_small());
        (self.0 as i64) >> 2
    }
    /// Whether both words are small integers, with one test of the tags.
    #[inline(always)]
    pub const fn both_small(a: Term, b: Term) -> bool {
        a.0 & b.0 & 0b11 == 0b11
    }

    /// The float as an immediate, when its exponent is in the common range.
    #[inline(always)]
    pub fn float_immediate(value: f64) -> Option<Term> {
        let bits = value.to_bits();
        if (bits << 1).wrapping_sub(Term::FLOATS_FROM) < Term::FLOATS_RANGE {
            return Some(Term(bits.wrapping_add(Term::FLOAT_BIAS).rotate_left(3)));
        }
        // A zero: its sign moves to bit 2, as that of other floats does.
        if bits << 1 == 0 { Some(Term(FLOAT_ZERO | bits >> 61)) } else { None }
    }
    /// Whether this is a float held in the word. A float may also be boxed: see [`Term::is_float`].
    #[inline(always)]
    pub const fn is_float_immediate(self) -> bool {
        self.0 & 0b11 == 0b10
    }
    /// The float in a word known to hold one.
    #[inline(always)]
    pub fn float_immediate_value(self) -> f64 {
        debug_assert!(self.is_float_immediate());
        if self.0 < Term::FLOAT_ZEROES_END {
            return if self.0 == FLOAT_ZERO { 0.0 } else { -0.0 };
        }
        f64::from_bits(self.0.rotate_right(3).wrapping_sub(Term::FLOAT_BIAS))
    }
    /// The value of a float, held in the word or boxed; `None` for integers.
    #[inline(always)]
    pub fn as_float(self) -> Option<f64> {
        if self.is_float_immediate() {
            return Some(self.float_immediate_value());
        }
        if self.boxed_subtag() == Some(Subtag::Float) {
            // SAFETY: a boxed float has one word behind its header.
            return Some(f64::from_bits(unsafe { *self.boxed_ptr().add(1) }));
        }
        None
    }
    /// Whether this is a float, held in the word or boxed.
    #[inline]
    pub fn is_float(self) -> bool {
        self.is_float_immediate() || self.boxed_subtag() == Some(Subtag::Float)
    }

    /// The word of an atom: its number above the tag.
    #[inline(always)]
    pub const fn atom(atom: Atom) -> Term {
        Term(((atom.index() as u64) << IMMEDIATE_BITS) | TAG_ATOM)
    }
    /// Whether this is an atom.
    #[inline(always)]
    pub const fn is_atom(self) -> bool {
        self.0 & IMMEDIATE_MASK == TAG_ATOM
    }
    /// The atom; `None` if it is none.
    #[inline(always)]
    pub fn as_atom(self) -> Option<Atom> {
        if self.is_atom() {
            Some(Atom::from_index((self.0 >> IMMEDIATE_BITS) as u32))
        } else {
            None
        }
    }
    /// The atom `true` or `false`.
    #[inline(always)]
    pub const fn bool(value: bool) -> Term {
        if value { Term::atom(crate::am::TRUE) } else { Term::atom(crate::am::FALSE) }
    }
    /// `true` or `false`, else `None`.
    #[inline]
    pub fn as_bool(self) -> Option<bool> {
        if self == Term::bool(true) {
            Some(true)
        } else if self == Term::bool(false) {
            Some(false)
        } else {
            None
        }
    }

    /// A local process; `data` is its number (58 bits at most).
    #[inline(always)]
    pub const fn pid(data: u64) -> Term {
        Term((data << IMMEDIATE_BITS) | TAG_PID)
    }
    /// Whether this is a local pid. Pids of other nodes are boxed: see [`Term::is_any_pid`].
    #[inline(always)]
    pub const fn is_pid(self) -> bool {
        self.0 & IMMEDIATE_MASK == TAG_PID
    }
    /// The number of a local pid, as given to [`Term::pid`].
    #[inline(always)]
    pub const fn as_pid(self) -> Option<u64> {
        if self.is_pid() { Some(self.0 >> IMMEDIATE_BITS) } else { None }
    }
    /// A local port; `data` is its number (58 bits at most).
    #[inline(always)]
    pub const fn port(data: u64) -> Term {
        Term((data << IMMEDIATE_BITS) | TAG_PORT)
    }
    /// Whether this is a local port. Ports of other nodes are boxed: see [`Term::is_any_port`].
    #[inline(always)]
    pub const fn is_port(self) -> bool {
        self.0 & IMMEDIATE_MASK == TAG_PORT
    }
    /// The number of a local port, as given to [`Term::port`].
    #[inline(always)]
    pub const fn as_port(self) -> Option<u64> {
        if self.is_port() { Some(self.0 >> IMMEDIATE_BITS) } else { None }
    }
    /// Whether this is the empty list.
    #[inline(always)]
    pub const fn is_nil(self) -> bool {
        self.0 == TAG_NIL
    }
    /// Whether this is [`Term::NONE`], which no Erlang value is.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == TAG_NONE
    }
    /// A catch mark on the stack; `data` says which handler (an index into the catch table).
    #[inline(always)]
    pub const fn catch_mark(data: u64) -> Term {
        Term((data << IMMEDIATE_BITS) | TAG_CATCH)
    }
    /// The index into the catch table, as given to [`Term::catch_mark`].
    #[inline(always)]
    pub const fn as_catch_mark(self) -> Option<u64> {
        if self.0 & IMMEDIATE_MASK == TAG_CATCH { Some(self.0 >> IMMEDIATE_BITS) } else { None }
    }

    /// A list cell at `cell`, an 8-byte aligned address.
    #[inline(always)]
    pub fn from_cons_ptr(cell: *const u64) -> Term {
        Term(cell as u64 | Term::TAG_CONS)
    }
    /// Whether this is a list cell, that is, a list that is not empty.
    #[inline(always)]
    pub const fn is_cons(self) -> bool {
        self.0 & TAG_MASK == Term::TAG_CONS
    }
    /// Whether this is a list cell or the empty list, as `is_list/1`; the list may be improper.
    #[inline(always)]
    pub const fn is_list(self) -> bool {
        self.is_cons() || self.is_nil()
    }
    /// Address of the two words of a list cell, head and tail. The term must be one.
    #[inline(always)]
    pub fn cons_ptr(self) -> *mut u64 {
        debug_assert!(self.is_cons());
        (self.0 - Term::TAG_CONS) as *mut u64
    }
    /// The view of a list cell; `None` for the empty list and for what is no list.
    #[inline(always)]
    pub fn as_cons(self) -> Option<Cons> {
        // SAFETY: a list pointer points at two live words.
        if self.is_cons() { Some(unsafe { Cons::from_ptr(self.cons_ptr()) }) } else { None }
    }

    /// A boxed term whose header word is at `header`.
    #[inline(always)]
    pub fn from_boxed_ptr(header: *const u64) -> Term {
        Term(header as u64 | Term::TAG_BOXED)
    }
    /// Whether the word points at a header: every boxed term, but no list cell.
    #[inline(always)]
    pub const fn is_boxed(self) -> bool {
        self.0 & TAG_MASK == Term::TAG_BOXED
    }
    /// A list cell or a boxed term: something the collector follows.
    #[inline(always)]
    pub const fn is_pointer(self) -> bool {
        self.0 & 0b110 == 0b100
    }
    /// Whether the word is the whole value, so that it can be copied to any heap as it is.
    #[inline(always)]
    pub const fn is_immediate(self) -> bool {
        !self.is_pointer()
    }
    /// Address of the header word. The term must be boxed.
    #[inline(always)]
    pub fn boxed_ptr(self) -> *mut u64 {
        debug_assert!(self.is_boxed());
        (self.0 - Term::TAG_BOXED) as *mut u64
    }
    /// The header word. The term must be boxed, and its memory live.
    #[inline(always)]
    pub fn boxed_header(self) -> Header {
        // SAFETY: a boxed pointer points at a live header.
        Header(unsafe { *self.boxed_ptr() })
    }
    /// What kind of boxed term this is; `None` for immediates and list cells.
    #[inline(always)]
    pub fn boxed_subtag(self) -> Option<Subtag> {
        if self.is_boxed() { Some(self.boxed_header().subtag()) } else { None }
    }
    #[inline(always)]
    fn is_boxed_as(self, subtag: Subtag) -> bool {
        self.is_boxed() && self.boxed_header().has(subtag)
    }

    /// Whether this is a tuple of any arity. A native record is none.
    #[inline(always)]
    pub fn is_tuple(self) -> bool {
        self.is_boxed_as(Subtag::Tuple)
    }
    /// The view of a tuple; `None` for everything else.
    #[inline(always)]
    pub fn as_tuple(self) -> Option<Tuple> {
        // SAFETY: the header says that it is a tuple.
        if self.is_tuple() { Some(unsafe { Tuple::from_ptr(self.boxed_ptr()) }) } else { None }
    }
    /// A native record.
    #[inline(always)]
    pub fn as_record(self) -> Option<Record> {
        // SAFETY: the header says that it is a record.
        if self.is_boxed_as(Subtag::Record) {
            Some(unsafe { Record::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
    /// A tuple of exactly this arity.
    #[inline(always)]
    pub fn is_tuple_of(self, arity: usize) -> bool {
        self.is_boxed() && self.boxed_header() == Header::new(Subtag::Tuple, arity)
    }
    /// Whether this is an integer outside the small range.
    #[inline]
    pub fn is_big(self) -> bool {
        matches!(self.boxed_subtag(), Some(Subtag::BigPos | Subtag::BigNeg))
    }
    /// The view of a big integer; `None` for smalls.
    #[inline]
    pub fn as_big(self) -> Option<Big> {
        // SAFETY: the header says that it is a big integer.
        if self.is_big() { Some(unsafe { Big::from_ptr(self.boxed_ptr()) }) } else { None }
    }
    /// Whether this is an integer, small or big.
    #[inline]
    pub fn is_integer(self) -> bool {
        self.is_small() || self.is_big()
    }
    /// Whether this is an integer or a float.
    #[inline]
    pub fn is_number(self) -> bool {
        self.is_small()
            || self.is_float_immediate()
            || matches!(self.boxed_subtag(), Some(Subtag::BigPos | Subtag::BigNeg | Subtag::Float))
    }
    /// Whether this is a map, flat or a trie. [`Subtag::MapNode`], an inner node, is none.
    #[inline]
    pub fn is_map(self) -> bool {
        matches!(self.boxed_subtag(), Some(Subtag::FlatMap | Subtag::HashMap))
    }
    /// The view of a map of at most [`FlatMap::SIZE_MAX`] pairs; `None` for everything else.
    #[inline]
    pub fn as_flat_map(self) -> Option<FlatMap> {
        // SAFETY: the header says that it is a flat map.
        if self.is_boxed_as(Subtag::FlatMap) {
            Some(unsafe { FlatMap::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
    /// The view of the root of a larger map; `None` for everything else.
    #[inline]
    pub fn as_hash_map(self) -> Option<HashMap> {
        // SAFETY: the header says that it is a hash map.
        if self.is_boxed_as(Subtag::HashMap) {
            Some(unsafe { HashMap::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
    /// A bitstring of any kind (a match context is not one).
    #[inline]
    pub fn is_bitstring(self) -> bool {
        matches!(self.boxed_subtag(), Some(Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin))
    }
    /// Whether it is a bitstring, or what is left of one while it is matched.
    pub fn is_bitstring_or_context(self) -> bool {
        self.is_bitstring() || self.boxed_subtag() == Some(Subtag::MatchContext)
    }
    /// Where the bits of a bitstring are; `None` for everything else, match contexts included.
    #[inline]
    pub fn as_bits(self) -> Option<Bits> {
        if self.is_bitstring() { Some(Bits::of(self)) } else { None }
    }
    /// How many bits a bitstring has, without a look at where they are.
    #[inline]
    pub fn bitstring_bits(self) -> Option<usize> {
        if self.is_bitstring() { Some(Bits::size_of(self)) } else { None }
    }
    /// A bitstring of whole bytes.
    #[inline]
    pub fn is_binary(self) -> bool {
        self.bitstring_bits().is_some_and(|bits| bits & 7 == 0)
    }
    /// Whether this is a fun, local (`fun … end`) or external (`fun M:F/A`).
    #[inline]
    pub fn is_fun(self) -> bool {
        matches!(self.boxed_subtag(), Some(Subtag::Fun | Subtag::ExportFun))
    }
    /// The view of a fun made by `fun … end`; `None` for external funs.
    #[inline]
    pub fn as_local_fun(self) -> Option<Fun> {
        // SAFETY: the header says that it is a local fun.
        if self.is_boxed_as(Subtag::Fun) {
            Some(unsafe { Fun::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
    /// The view of a `fun M:F/A`; `None` for local funs.
    #[inline]
    pub fn as_export_fun(self) -> Option<ExportFun> {
        // SAFETY: the header says that it is an external fun.
        if self.is_boxed_as(Subtag::ExportFun) {
            Some(unsafe { ExportFun::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
    /// Whether this is a reference, of this node or another.
    #[inline]
    pub fn is_reference(self) -> bool {
        matches!(self.boxed_subtag(), Some(Subtag::Ref | Subtag::ExternalRef))
    }
    /// The view of a reference of this node; `None` for those of other nodes.
    #[inline]
    pub fn as_local_ref(self) -> Option<LocalRef> {
        // SAFETY: the header says that it is a local reference.
        if self.is_boxed_as(Subtag::Ref) {
            Some(unsafe { LocalRef::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
    /// The view of a pid, port or reference of another node; `None` for those of this one.
    #[inline]
    pub fn as_external(self) -> Option<External> {
        match self.boxed_subtag() {
            Some(Subtag::ExternalPid | Subtag::ExternalPort | Subtag::ExternalRef) => {
                // SAFETY: the header says that it is an external identifier.
                Some(unsafe { External::from_ptr(self.boxed_ptr()) })
            }
            _ => None,
        }
    }
    /// Whether this is a pid, of this node or another.
    #[inline]
    pub fn is_any_pid(self) -> bool {
        self.is_pid() || self.is_boxed_as(Subtag::ExternalPid)
    }
    /// Whether this is a port, of this node or another.
    #[inline]
    pub fn is_any_port(self) -> bool {
        self.is_port() || self.is_boxed_as(Subtag::ExternalPort)
    }
    /// The view of a match context, the state of matching a bitstring; `None` for everything else.
    #[inline]
    pub fn as_match_context(self) -> Option<MatchContext> {
        // SAFETY: the header says that it is a match context.
        if self.is_boxed_as(Subtag::MatchContext) {
            Some(unsafe { MatchContext::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }

    /// What the term is, with the view that reads it.
    pub fn kind(self) -> Kind {
        if let Some(value) = self.as_small() {
            return Kind::Small(value);
        }
        if self.is_float_immediate() {
            return Kind::Float(self.float_immediate_value());
        }
        if self.is_cons() {
            // SAFETY: a list pointer points at two live words.
            return Kind::Cons(unsafe { Cons::from_ptr(self.cons_ptr()) });
        }
        if !self.is_boxed() {
            return match self.0 & IMMEDIATE_MASK {
                TAG_ATOM => Kind::Atom(Atom::from_index((self.0 >> IMMEDIATE_BITS) as u32)),
                TAG_PID => Kind::Pid(self.0 >> IMMEDIATE_BITS),
                TAG_PORT => Kind::Port(self.0 >> IMMEDIATE_BITS),
                TAG_NIL => Kind::Nil,
                _ => Kind::Special(self.0),
            };
        }
        let ptr = self.boxed_ptr();
        // SAFETY: each view is made of what the header says that it is.
        unsafe {
            match self.boxed_header().subtag() {
                Subtag::Tuple => Kind::Tuple(Tuple::from_ptr(ptr)),
                Subtag::BigPos | Subtag::BigNeg => Kind::Big(Big::from_ptr(ptr)),
                Subtag::Float => Kind::Float(f64::from_bits(*ptr.add(1))),
                Subtag::Fun => Kind::Fun(Fun::from_ptr(ptr)),
                Subtag::ExportFun => Kind::ExportFun(ExportFun::from_ptr(ptr)),
                Subtag::Ref => Kind::Ref(LocalRef::from_ptr(ptr)),
                Subtag::ExternalPid => Kind::ExternalPid(External::from_ptr(ptr)),
                Subtag::ExternalPort => Kind::ExternalPort(External::from_ptr(ptr)),
                Subtag::ExternalRef => Kind::ExternalRef(External::from_ptr(ptr)),
                Subtag::Record => Kind::Record(Record::from_ptr(ptr)),
                Subtag::FlatMap => Kind::FlatMap(FlatMap::from_ptr(ptr)),
                Subtag::HashMap => Kind::HashMap(HashMap::from_ptr(ptr)),
                Subtag::HeapBin | Subtag::SharedBin | Subtag::SubBin => Kind::Bits(Bits::of(self)),
                Subtag::MatchContext => Kind::MatchContext(MatchContext::from_ptr(ptr)),
                Subtag::MapNode => Kind::Special(self.0),
            }
        }
    }

    /// The elements of a proper list; `None` when the list is improper or this is none.
    pub fn list_to_vec(self) -> Option<Vec<Term>> {
        let mut items = Vec::new();
        let mut rest = self;
        while let Some(cell) = rest.as_cons() {
            items.push(cell.head());
            rest = cell.tail();
        }
        rest.is_nil().then_some(items)
    }

    /// The number of elements of a proper list; `None` when the list is improper or this is none.
    pub fn list_len(self) -> Option<usize> {
        let mut count = 0;
        let mut rest = self;
        while rest.is_cons() {
            // SAFETY: a list pointer points at two live words.
            rest = unsafe { Cons::from_ptr(rest.cons_ptr()) }.tail();
            count += 1;
        }
        rest.is_nil().then_some(count)
    }
}

impl From<Atom> for Term {
    fn from(atom: Atom) -> Term {
        Term::atom(atom)
    }
}
impl From<bool> for Term {
    fn from(value: bool) -> Term {
        Term::bool(value)
    }
}

/// What a term is, with the view that reads it: see [`Term::kind`].
#[derive(Clone, Copy)]
pub enum Kind {
    Small(i64),
    Float(f64),
    Atom(Atom),
    Pid(u64),
    Port(u64),
    Nil,
    Cons(Cons),
    Tuple(Tuple),
    /// A native record.
    Record(Record),
    Big(Big),
    FlatMap(FlatMap),
    HashMap(HashMap),
    Bits(Bits),
    Fun(Fun),
    ExportFun(ExportFun),
    Ref(LocalRef),
    ExternalPid(External),
    ExternalPort(External),
    ExternalRef(External),
    MatchContext(MatchContext),
    /// A word of the machine that no program sees.
    Special(u64),
}

/// What stands behind a boxed pointer. The doc line gives the words after the header:
/// raw words (not terms) in brackets, terms without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Subtag {
    /// element…
    Tuple = 1,
    /// \[digit, least significant first\]…
    BigPos = 2,
    BigNeg = 3,
    /// \[f64 bits\]
    Float = 4,
    /// \[fun entry pointer\] \[arity | [creator](crate::creator) << 8 | own holder << 63\] free
    /// variable…
    Fun = 5,
    /// \[export pointer\]
    ExportFun = 6,
    /// \[id\] \[low word\], and for a counted reference \[shared bytes pointer\] \[next off-heap\]:
    /// see [`LocalRef`]
    Ref = 7,
    /// \[node atom\] \[creation\] \[number words\]…
    ExternalPid = 8,
    ExternalPort = 9,
    ExternalRef = 10,
    /// keys tuple, value…
    FlatMap = 11,
    /// \[size\] \[bitmap\] child…
    HashMap = 12,
    /// \[bitmap\] child…
    MapNode = 13,
    /// \[bit size\] \[byte data\]…
    HeapBin = 14,
    /// \[bit size\] \[data pointer\] \[shared bytes pointer\] \[next off-heap\]
    SharedBin = 15,
    /// \[bit size\] \[bit offset\] original
    SubBin = 16,
    /// \[bit offset\] \[bit end\] original
    MatchContext = 17,
    /// definition tuple, value…: see [`Record`]
    Record = 18,
}

/// The first word of a boxed term: `words << 8 | subtag << 3`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Header(pub u64);

impl Header {
    /// The header of a boxed term with `words` words behind it.
    #[inline(always)]
    pub const fn new(subtag: Subtag, words: usize) -> Header {
        Header(((words as u64) << 8) | ((subtag as u64) << 3))
    }
    /// The header that a word is; `None` for terms.
    pub fn checked(word: u64) -> Option<Header> {
        let is_header =
            word & 0b111 == 0 && (1..=Subtag::Record as u64).contains(&(word >> 3 & 0x1f));
        is_header.then_some(Header(word))
    }
    /// Words that follow the header.
    #[inline(always)]
    pub const fn words(self) -> usize {
        (self.0 >> 8) as usize
    }
    /// Whether the term is of this kind, whatever its size.
    #[inline(always)]
    pub const fn has(self, subtag: Subtag) -> bool {
        self.0 & 0xff == (subtag as u64) << 3
    }
    /// The kind of the term. The word must be a header: bits 3–7 are not checked in release builds.
    #[inline(always)]
    pub fn subtag(self) -> Subtag {
        let number = (self.0 >> 3) as u8 & 0x1f;
        debug_assert!((1..=18).contains(&number), "not a header: {:#x}", self.0);
        // SAFETY: headers are only made by `new`, with a valid subtag.
        unsafe { std::mem::transmute(number) }
    }
    /// How many of the words after the header are not terms (they come first).
    #[inline(always)]
    pub fn raw_words(self) -> usize {
        match self.subtag() {
            Subtag::Tuple | Subtag::FlatMap | Subtag::Record => 0,
            Subtag::MapNode => 1,
            Subtag::Fun | Subtag::HashMap | Subtag::SubBin | Subtag::MatchContext => 2,
            _ => self.words(),
        }
    }
}

impl std::fmt::Debug for Term {
    /// The word, for debugging the machine; programs see [`crate::print`]'s form.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind() {
            Kind::Small(value) => write!(f, "{value}"),
            Kind::Float(value) => write!(f, "{value:?}"),
            Kind::Atom(atom) => write!(f, "'{atom}'"),
            Kind::Nil => f.write_str("[]"),
            _ => write!(f, "term({:#x})", self.0),
        }
    }
}
