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

// SAFETY: a term is a word; what it points at is immutable once published. Who may follow the
// pointer from which thread is the business of the heaps, not of the word.
unsafe impl Send for Term {}
// SAFETY: as above.
unsafe impl Sync for Term {}

const IMMEDIATE_BITS: u32 = 6;
const TAG_ATOM: u64 = 0b000_001;
const TAG_PID: u64 = 0b001_001;
const TAG_PORT: u64 = 0b010_001;
const TAG_NIL: u64 = 0b011_001;
const TAG_CATCH: u64 = 0b100_001;
const TAG_NONE: u64 = 0b101_001;
const IMMEDIATE_MASK: u64 = 0b111_111;
const TAG_MASK: u64 = 0b111;

/// The word that +0.0 is held in; bit 2 is the sign. The two are less than all other words of
/// floats.
const FLOAT_ZERO: u64 = 0b010;

impl Term {
    /// What is added to the bits of a common float so that the highest two of its exponent, 01 or
    /// 10 with 1 or 0 behind them, are the tag: they become 10. Turned by three, they are the
    /// lowest bits.
    pub const FLOAT_BIAS: u64 = 1 << 60;
    /// The bits of a float without its sign, times two, are not less than this,
    pub const FLOATS_FROM: u64 = 0x6000_0000_0000_0002;
    /// and so many follow, if it is held in its word: the highest bits of its exponent are 011 or
    /// 100, and it is not the first of them, whose word is that of a zero.
    pub const FLOATS_RANGE: u64 = (1 << 62) - 2;
    /// Words of floats that are less are zeroes.
    pub const FLOAT_ZEROES_END: u64 = 0b1000;

    /// The lowest three bits of the words of list cells and of boxed terms; of no other words are
    /// the highest two of them 10.
    pub const TAG_CONS: u64 = 0b100;
    pub const TAG_BOXED: u64 = 0b101;

    pub const NIL: Term = Term(TAG_NIL);
    /// No value: an empty slot, "not found". Never visible to Erlang code.
    pub const NONE: Term = Term(TAG_NONE);
    pub const SMALL_MAX: i64 = (1 << 61) - 1;
    pub const SMALL_MIN: i64 = -(1 << 61);

    /// # Safety
    /// `raw` is a word produced by this crate, and the memory that it points at is live.
    #[inline(always)]
    pub const unsafe fn from_raw(raw: u64) -> Term {
        Term(raw)
    }
    #[inline(always)]
    pub const fn raw(self) -> u64 {
        self.0
    }

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
    #[inline(always)]
    pub const fn is_small(self) -> bool {
        self.0 & 0b11 == 0b11
    }
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
        // A zero, but for its sign, which comes to lie where that of others lies.
        if bits << 1 == 0 { Some(Term(FLOAT_ZERO | bits >> 61)) } else { None }
    }
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
    #[inline]
    pub fn is_float(self) -> bool {
        self.is_float_immediate() || self.boxed_subtag() == Some(Subtag::Float)
    }

    #[inline(always)]
    pub const fn atom(atom: Atom) -> Term {
        Term(((atom.index() as u64) << IMMEDIATE_BITS) | TAG_ATOM)
    }
    #[inline(always)]
    pub const fn is_atom(self) -> bool {
        self.0 & IMMEDIATE_MASK == TAG_ATOM
    }
    #[inline(always)]
    pub fn as_atom(self) -> Option<Atom> {
        if self.is_atom() {
            Some(Atom::from_index((self.0 >> IMMEDIATE_BITS) as u32))
        } else {
            None
        }
    }
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
    #[inline(always)]
    pub const fn is_pid(self) -> bool {
        self.0 & IMMEDIATE_MASK == TAG_PID
    }
    #[inline(always)]
    pub const fn as_pid(self) -> Option<u64> {
        if self.is_pid() { Some(self.0 >> IMMEDIATE_BITS) } else { None }
    }
    #[inline(always)]
    pub const fn port(data: u64) -> Term {
        Term((data << IMMEDIATE_BITS) | TAG_PORT)
    }
    #[inline(always)]
    pub const fn is_port(self) -> bool {
        self.0 & IMMEDIATE_MASK == TAG_PORT
    }
    #[inline(always)]
    pub const fn as_port(self) -> Option<u64> {
        if self.is_port() { Some(self.0 >> IMMEDIATE_BITS) } else { None }
    }
    #[inline(always)]
    pub const fn is_nil(self) -> bool {
        self.0 == TAG_NIL
    }
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == TAG_NONE
    }
    /// A catch mark on the stack; `data` says which handler (an index into the catch table).
    #[inline(always)]
    pub const fn catch_mark(data: u64) -> Term {
        Term((data << IMMEDIATE_BITS) | TAG_CATCH)
    }
    #[inline(always)]
    pub const fn as_catch_mark(self) -> Option<u64> {
        if self.0 & IMMEDIATE_MASK == TAG_CATCH { Some(self.0 >> IMMEDIATE_BITS) } else { None }
    }

    /// A list cell at `cell`, an 8-byte aligned address.
    #[inline(always)]
    pub fn from_cons_ptr(cell: *const u64) -> Term {
        Term(cell as u64 | Term::TAG_CONS)
    }
    #[inline(always)]
    pub const fn is_cons(self) -> bool {
        self.0 & TAG_MASK == Term::TAG_CONS
    }
    #[inline(always)]
    pub const fn is_list(self) -> bool {
        self.is_cons() || self.is_nil()
    }
    #[inline(always)]
    pub fn cons_ptr(self) -> *mut u64 {
        debug_assert!(self.is_cons());
        (self.0 - Term::TAG_CONS) as *mut u64
    }
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
    #[inline(always)]
    pub const fn is_boxed(self) -> bool {
        self.0 & TAG_MASK == Term::TAG_BOXED
    }
    /// A list cell or a boxed term: something the collector follows.
    #[inline(always)]
    pub const fn is_pointer(self) -> bool {
        self.0 & 0b110 == 0b100
    }
    #[inline(always)]
    pub const fn is_immediate(self) -> bool {
        !self.is_pointer()
    }
    #[inline(always)]
    pub fn boxed_ptr(self) -> *mut u64 {
        debug_assert!(self.is_boxed());
        (self.0 - Term::TAG_BOXED) as *mut u64
    }
    #[inline(always)]
    pub fn boxed_header(self) -> Header {
        // SAFETY: a boxed pointer points at a live header.
        Header(unsafe { *self.boxed_ptr() })
    }
    #[inline(always)]
    pub fn boxed_subtag(self) -> Option<Subtag> {
        if self.is_boxed() { Some(self.boxed_header().subtag()) } else { None }
    }
    #[inline(always)]
    fn is_boxed_as(self, subtag: Subtag) -> bool {
        self.is_boxed() && self.boxed_header().has(subtag)
    }

    #[inline(always)]
    pub fn is_tuple(self) -> bool {
        self.is_boxed_as(Subtag::Tuple)
    }
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
    #[inline]
    pub fn is_big(self) -> bool {
        matches!(self.boxed_subtag(), Some(Subtag::BigPos | Subtag::BigNeg))
    }
    #[inline]
    pub fn as_big(self) -> Option<Big> {
        // SAFETY: the header says that it is a big integer.
        if self.is_big() { Some(unsafe { Big::from_ptr(self.boxed_ptr()) }) } else { None }
    }
    #[inline]
    pub fn is_integer(self) -> bool {
        self.is_small() || self.is_big()
    }
    #[inline]
    pub fn is_number(self) -> bool {
        self.is_small()
            || self.is_float_immediate()
            || matches!(self.boxed_subtag(), Some(Subtag::BigPos | Subtag::BigNeg | Subtag::Float))
    }
    #[inline]
    pub fn is_map(self) -> bool {
        matches!(self.boxed_subtag(), Some(Subtag::FlatMap | Subtag::HashMap))
    }
    #[inline]
    pub fn as_flat_map(self) -> Option<FlatMap> {
        // SAFETY: the header says that it is a flat map.
        if self.is_boxed_as(Subtag::FlatMap) {
            Some(unsafe { FlatMap::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
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
    #[inline]
    pub fn is_fun(self) -> bool {
        matches!(self.boxed_subtag(), Some(Subtag::Fun | Subtag::ExportFun))
    }
    #[inline]
    pub fn as_local_fun(self) -> Option<Fun> {
        // SAFETY: the header says that it is a local fun.
        if self.is_boxed_as(Subtag::Fun) {
            Some(unsafe { Fun::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
    #[inline]
    pub fn as_export_fun(self) -> Option<ExportFun> {
        // SAFETY: the header says that it is an external fun.
        if self.is_boxed_as(Subtag::ExportFun) {
            Some(unsafe { ExportFun::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
    #[inline]
    pub fn is_reference(self) -> bool {
        matches!(self.boxed_subtag(), Some(Subtag::Ref | Subtag::ExternalRef))
    }
    #[inline]
    pub fn as_local_ref(self) -> Option<LocalRef> {
        // SAFETY: the header says that it is a local reference.
        if self.is_boxed_as(Subtag::Ref) {
            Some(unsafe { LocalRef::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }
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
    #[inline]
    pub fn is_any_pid(self) -> bool {
        self.is_pid() || self.is_boxed_as(Subtag::ExternalPid)
    }
    #[inline]
    pub fn is_any_port(self) -> bool {
        self.is_port() || self.is_boxed_as(Subtag::ExternalPort)
    }
    #[inline]
    pub fn as_match_context(self) -> Option<MatchContext> {
        // SAFETY: the header says that it is a match context.
        if self.is_boxed_as(Subtag::MatchContext) {
            Some(unsafe { MatchContext::from_ptr(self.boxed_ptr()) })
        } else {
            None
        }
    }

    /// What the term is, with its view.
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

    /// The elements of a proper list.
    pub fn list_to_vec(self) -> Option<Vec<Term>> {
        let mut items = Vec::new();
        let mut rest = self;
        while let Some(cell) = rest.as_cons() {
            items.push(cell.head());
            rest = cell.tail();
        }
        rest.is_nil().then_some(items)
    }

    /// The number of elements of a proper list.
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

/// What a term is, with its view.
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
    /// \[fun entry pointer\] \[arity | free << 8\] free variable…
    Fun = 5,
    /// \[export pointer\]
    ExportFun = 6,
    /// \[id\] \[kind word\] \[payload\]…: see [`LocalRef`]
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
    #[inline(always)]
    pub const fn new(subtag: Subtag, words: usize) -> Header {
        Header(((words as u64) << 8) | ((subtag as u64) << 3))
    }
    /// Words that follow the header.
    #[inline(always)]
    pub const fn words(self) -> usize {
        (self.0 >> 8) as usize
    }
    #[inline(always)]
    pub const fn has(self, subtag: Subtag) -> bool {
        self.0 & 0xff == (subtag as u64) << 3
    }
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
