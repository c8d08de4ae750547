//! What the operands of specialised instructions are: registers, constants, and tables beside the
//! code.

use super::role::{Label, Operand, Operands};
use std::fmt;
use swarmrt_term::{Atom, Term};

/// A source operand: a register, a small integer, or a constant of the module's pool.
///
/// The two low bits say which. A constant is addressed relative to the instruction that names it,
/// in words: reading one takes no register for the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Src(pub u32);

impl Src {
    /// An X register; the other bits are its number.
    pub const KIND_X: u32 = 0;
    /// A Y register; the other bits are its number.
    pub const KIND_Y: u32 = 1;
    /// A constant; the other bits are its offset from the instruction in words, signed.
    pub const KIND_CONST: u32 = 2;
    /// A small integer; the other bits are its value, signed.
    pub const KIND_SMALL: u32 = 3;

    /// The X register with this number.
    pub const fn x(number: u16) -> Src {
        Src((number as u32) << 2)
    }
    /// The Y register with this number.
    pub const fn y(number: u16) -> Src {
        Src((number as u32) << 2 | Self::KIND_Y)
    }
    /// `words` from the instruction (negative: the pool lies before the code).
    pub const fn constant(words: i32) -> Src {
        Src((words << 2) as u32 | Self::KIND_CONST)
    }
    /// A small integer in the operand itself; `value` must satisfy [`Src::fits_small`].
    pub const fn small(value: i32) -> Src {
        Src((value << 2) as u32 | Self::KIND_SMALL)
    }
    /// Whether an integer fits the 30 bits of an operand; a larger one is a constant of the pool.
    pub const fn fits_small(value: i64) -> bool {
        value >= -(1 << 29) && value < (1 << 29)
    }
    /// One of the `KIND_` constants.
    #[inline(always)]
    pub const fn kind(self) -> u32 {
        self.0 & 3
    }
    /// Number of an X or Y register.
    #[inline(always)]
    pub const fn index(self) -> usize {
        (self.0 >> 2) as usize
    }
    /// The signed number of the other kinds: a constant's offset in words, a small integer's value.
    #[inline(always)]
    pub const fn offset(self) -> isize {
        ((self.0 as i32) >> 2) as isize
    }
    /// The number of an X register; `None` for other operands.
    pub const fn as_x(self) -> Option<u16> {
        if self.kind() == Self::KIND_X { Some(self.index() as u16) } else { None }
    }
    /// The number of a Y register; `None` for other operands.
    pub const fn as_y(self) -> Option<u16> {
        if self.kind() == Self::KIND_Y { Some(self.index() as u16) } else { None }
    }
}

impl fmt::Debug for Src {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Self::KIND_X => write!(f, "x{}", self.index()),
            Self::KIND_Y => write!(f, "y{}", self.index()),
            Self::KIND_SMALL => write!(f, "{}", self.offset()),
            _ => write!(f, "const[{}]", self.offset()),
        }
    }
}

/// A destination: an X or a Y register.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dst(pub u16);

impl Dst {
    /// The X register with this number.
    pub const fn x(number: u16) -> Dst {
        Dst(number << 1)
    }
    /// The Y register with this number.
    pub const fn y(number: u16) -> Dst {
        Dst(number << 1 | 1)
    }
    /// Whether it is a Y register, else an X register.
    #[inline(always)]
    pub const fn is_y(self) -> bool {
        self.0 & 1 == 1
    }
    /// Number of the register.
    #[inline(always)]
    pub const fn index(self) -> usize {
        (self.0 >> 1) as usize
    }
    /// The same register as a source.
    pub const fn as_src(self) -> Src {
        if self.is_y() { Src::y(self.index() as u16) } else { Src::x(self.index() as u16) }
    }
}

impl fmt::Debug for Dst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_y() { 'y' } else { 'x' }, self.index())
    }
}

/// A pointer to operands that do not fit an instruction; they belong to the module.
pub struct Table<T: 'static>(std::ptr::NonNull<T>);

// SAFETY: what it points at is immutable once the module is finished.
unsafe impl<T: Sync> Send for Table<T> {}
// SAFETY: what it points at is immutable once the module is finished.
unsafe impl<T: Sync> Sync for Table<T> {}

impl<T> Table<T> {
    /// A pointer to operands that the module keeps.
    ///
    /// # Safety
    /// The operands live as long as the instructions that name them.
    pub(crate) const unsafe fn new(operands: std::ptr::NonNull<T>) -> Table<T> {
        Table(operands)
    }
    pub(crate) const fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }
}
impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Table<T> {}
impl<T> std::ops::Deref for Table<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the module keeps its tables as long as its instructions.
        unsafe { self.0.as_ref() }
    }
}
impl<T: fmt::Debug> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The address of an entry of the machine's export table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ExportPtr(pub u64);
/// The address of an entry of the machine's fun table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FunPtr(pub u64);

/// The address of the slot of a module version for the native body of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NativePtr(pub u64);

impl fmt::Debug for ExportPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: export entries begin with their function's name and are never freed.
        let mfa = unsafe { &*(self.0 as *const swarmrt_term::Mfa) };
        write!(f, "{}:{}/{}", mfa.module, mfa.function, mfa.arity)
    }
}
impl fmt::Debug for FunPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: fun entries begin with their identity and are never freed.
        let fun = unsafe { &*(self.0 as *const swarmrt_term::FunIdentity) };
        write!(f, "fun {}.{}/{}", fun.module, fun.index, fun.arity)
    }
}

/// Jump targets by value. Targets are relative to the instruction, in instructions.
#[derive(Debug)]
pub enum Select {
    /// Consecutive small integers from `min`.
    Jump { min: i64, targets: Box<[i32]>, fail: i32 },
    /// Immediates, sorted by their words.
    Search { keys: Box<[u64]>, targets: Box<[i32]>, fail: i32 },
    /// Anything, compared one by one with `=:=`.
    Each { keys: Box<[Src]>, targets: Box<[i32]>, fail: i32 },
}

/// The operands of `put_map_assoc` and `put_map_exact` (`exact`): a map, and pairs of key and
/// value. `fail`: the target of a failure in a guard, 0 where it raises.
#[derive(Debug)]
pub struct MapPut {
    pub map: Src,
    pub exact: bool,
    pub fail: i32,
    pub pairs: Box<[(Src, Src)]>,
}

/// The operands of `get_map_elements` and `has_map_fields`: a map, the keys wanted, and `fail`, the
/// target when one is missing.
#[derive(Debug)]
pub struct MapGet {
    pub map: Src,
    pub fail: i32,
    /// Key and where its value goes; no destination for `has_map_fields`.
    pub pairs: Box<[(Src, Option<Dst>)]>,
}

/// The type of a segment that `bs_create_bin` builds, and of those of the `bs_put_…` instructions
/// before OTP 25.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentKind {
    Append,
    PrivateAppend,
    Binary,
    Float,
    Integer,
    String,
    Utf8,
    Utf16,
    Utf32,
}

// Bits of a segment's flags, as the compiler writes them: `BSF_…` of OTP's `erl_bits.h`.
/// The least significant byte comes first.
pub const FLAG_LITTLE: u8 = 2;
/// An integer is signed.
pub const FLAG_SIGNED: u8 = 4;
/// Byte order is the machine's.
pub const FLAG_NATIVE: u8 = 16;

/// One segment of a binary to build.
#[derive(Debug)]
pub struct Segment {
    pub kind: SegmentKind,
    pub unit: u32,
    pub flags: u8,
    pub value: Src,
    /// Absent: all of a binary value, or what the kind implies.
    pub size: Option<Src>,
    /// The bytes of a string segment.
    pub bytes: Box<[u8]>,
    /// The place of the segment in the source, for error reports.
    pub number: u32,
}

/// A binary to build: its segments in order, and `fail`, the target of a failure in a guard, 0
/// where it raises.
#[derive(Debug)]
pub struct BinaryPlan {
    pub fail: i32,
    pub dst: Dst,
    pub segments: Box<[Segment]>,
}

impl BinaryPlan {
    /// What it is made of: the value of each segment and then its size, if it has one.
    #[inline]
    pub fn sources(&self) -> impl Iterator<Item = Src> + Clone + '_ {
        self.segments.iter().flat_map(|segment| [Some(segment.value), segment.size]).flatten()
    }
}

/// One step of `bs_match`.
#[derive(Debug)]
pub enum MatchStep {
    EnsureAtLeast { bits: usize, unit: usize },
    EnsureExactly { bits: usize },
    Binary { bits: usize, dst: Dst },
    Integer { bits: usize, flags: u8, dst: Dst },
    Skip { bits: usize },
    GetTail { dst: Dst },
    Equals { bits: usize, value: Src },
}

/// The steps of a `bs_match` on a match context; `fail`: the target when one does not match.
#[derive(Debug)]
pub struct MatchPlan {
    pub fail: i32,
    pub context: Src,
    pub steps: Box<[MatchStep]>,
}

/// A tuple updated at several positions, which count from 0 (`update_record`). `reuse`: the source
/// itself is the result where no value changes.
#[derive(Debug)]
pub struct RecordUpdate {
    pub size: u32,
    pub source: Src,
    pub updates: Box<[(u32, Src)]>,
    pub reuse: bool,
}

/// Which native record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordId {
    pub module: Atom,
    pub name: Atom,
}

/// A test for a native record of one kind.
#[derive(Debug)]
pub struct RecordTest {
    pub record: Src,
    pub id: RecordId,
    pub fail: i32,
}

/// Stands for no module where only exported native records are accessible.
pub const NO_MODULE: u32 = u32::MAX;

/// Fields of a native record to take.
#[derive(Debug)]
pub struct RecordGet {
    pub record: Src,
    pub fail: i32,
    pub fields: Box<[(Term, Dst)]>,
}

/// Which native records a field may be taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordAccess {
    /// Any.
    Any,
    /// Records of that name: the code is the defining module's.
    Local(Atom),
    /// Exported ones of that module and name.
    External(RecordId),
}

/// A field of a native record to take.
#[derive(Debug)]
pub struct RecordField {
    pub record: Src,
    pub access: RecordAccess,
    pub field: Term,
    /// 0: raise.
    pub fail: i32,
}

/// What a native record is made from.
#[derive(Clone, Copy, Debug)]
pub enum RecordSource {
    /// The definition of a record of this module, and the tuple of default values, with `none`
    /// where there is no default.
    Local { definition: Src, defaults: Src },
    /// The definition that the module has when this runs, if it is exported.
    External(RecordId),
    /// Another record.
    Update(Src),
}

/// A native record to make.
#[derive(Debug)]
pub struct RecordPut {
    pub source: RecordSource,
    pub fields: Box<[(Term, Src)]>,
}

/// The encoding of one character in a bitstring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Utf {
    Utf8,
    Utf16,
    Utf32,
}

/// Y registers to initialise.
#[derive(Debug)]
pub struct YRegisters(pub Box<[u16]>);

impl std::ops::Deref for YRegisters {
    type Target = [u16];
    fn deref(&self) -> &[u16] {
        &self.0
    }
}
impl Operands for YRegisters {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        self.0.iter().for_each(|&y| visit(Operand::Write(Dst::y(y))));
    }
}

/// A jump operand that is 0 where a failure raises an exception.
fn visit_fail(fail: i32, visit: &mut impl FnMut(Operand)) {
    if fail != 0 {
        visit(Operand::Jump(fail));
    }
}

impl Operands for Select {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        if let Select::Each { keys, .. } = self {
            keys.visit(visit);
        }
        let (Select::Jump { targets, fail, .. }
        | Select::Search { targets, fail, .. }
        | Select::Each { targets, fail, .. }) = self;
        visit(Operand::Jump(*fail));
        targets.iter().for_each(|&target| visit(Operand::Jump(target)));
    }
    fn labels(&mut self, visit: &mut impl FnMut(Label<'_>)) {
        let (Select::Jump { targets, fail, .. }
        | Select::Search { targets, fail, .. }
        | Select::Each { targets, fail, .. }) = self;
        visit(Label::Place(fail));
        targets.iter_mut().for_each(|target| visit(Label::Place(target)));
    }
}
impl Operands for MapPut {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        visit(Operand::Read(self.map));
        for &(key, value) in &self.pairs {
            visit(Operand::Read(key));
            visit(Operand::Read(value));
        }
        visit_fail(self.fail, visit);
    }
    fn labels(&mut self, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::Place(&mut self.fail));
    }
}
impl Operands for MapGet {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        visit(Operand::Read(self.map));
        self.pairs.iter().for_each(|&(key, _)| visit(Operand::Read(key)));
        self.pairs.iter().filter_map(|&(_, dst)| dst).for_each(|dst| visit(Operand::Write(dst)));
        visit_fail(self.fail, visit);
    }
    fn labels(&mut self, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::Place(&mut self.fail));
    }
}
impl Operands for BinaryPlan {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        let sources = self.segments.iter().flat_map(|segment| [Some(segment.value), segment.size]);
        sources.flatten().for_each(|src| visit(Operand::Read(src)));
        visit(Operand::Write(self.dst));
        visit_fail(self.fail, visit);
    }
    fn labels(&mut self, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::Place(&mut self.fail));
    }
}
impl Operands for MatchPlan {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        visit(Operand::Read(self.context));
        for step in &self.steps {
            match *step {
                MatchStep::Binary { dst, .. }
                | MatchStep::Integer { dst, .. }
                | MatchStep::GetTail { dst } => visit(Operand::Write(dst)),
                MatchStep::Equals { value, .. } => visit(Operand::Read(value)),
                MatchStep::EnsureAtLeast { .. }
                | MatchStep::EnsureExactly { .. }
                | MatchStep::Skip { .. } => {}
            }
        }
        visit(Operand::Jump(self.fail));
    }
    fn labels(&mut self, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::Place(&mut self.fail));
    }
}
impl Operands for RecordUpdate {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        visit(Operand::Read(self.source));
        self.updates.iter().for_each(|&(_, src)| visit(Operand::Read(src)));
    }
}

impl Operands for RecordTest {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        visit(Operand::Read(self.record));
        visit(Operand::Jump(self.fail));
    }
    fn labels(&mut self, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::Place(&mut self.fail));
    }
}
impl Operands for RecordGet {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        visit(Operand::Read(self.record));
        self.fields.iter().for_each(|&(_, dst)| visit(Operand::Write(dst)));
        visit(Operand::Jump(self.fail));
    }
    fn labels(&mut self, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::Place(&mut self.fail));
    }
}
impl Operands for RecordField {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        visit(Operand::Read(self.record));
        visit_fail(self.fail, visit);
    }
    fn labels(&mut self, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::Place(&mut self.fail));
    }
}
impl Operands for RecordPut {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        if let RecordSource::Update(record) = self.source {
            visit(Operand::Read(record));
        }
        self.fields.iter().for_each(|&(_, src)| visit(Operand::Read(src)));
    }
}
