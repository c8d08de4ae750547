//! The specialised instruction set: what the engines run.
//!
//! Every instruction is 16 bytes with its operands resolved. `R[x]` are the X registers, `Y[y]` the
//! words of the current frame, `dst` either; `src` is a register or a constant. Jumps are relative to
//! the instruction, in instructions. `->fail` means: jump to `fail`.

use std::fmt;
use swarmrt_term::Term;

/// A source operand: a register, a small integer, or a constant of the module's pool.
///
/// The two low bits say which. A constant is addressed relative to the instruction that names it, in
/// words: reading one takes no register for the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Src(pub u32);

impl Src {
    pub const KIND_X: u32 = 0;
    pub const KIND_Y: u32 = 1;
    pub const KIND_CONST: u32 = 2;
    pub const KIND_SMALL: u32 = 3;

    pub const fn x(number: u16) -> Src {
        Src((number as u32) << 2)
    }
    pub const fn y(number: u16) -> Src {
        Src((number as u32) << 2 | Self::KIND_Y)
    }
    /// `words` from the instruction (negative: the pool lies before the code).
    pub const fn constant(words: i32) -> Src {
        Src((words << 2) as u32 | Self::KIND_CONST)
    }
    pub const fn small(value: i32) -> Src {
        Src((value << 2) as u32 | Self::KIND_SMALL)
    }
    pub const fn fits_small(value: i64) -> bool {
        value >= -(1 << 29) && value < (1 << 29)
    }
    #[inline(always)]
    pub const fn kind(self) -> u32 {
        self.0 & 3
    }
    /// Register number.
    #[inline(always)]
    pub const fn index(self) -> usize {
        (self.0 >> 2) as usize
    }
    #[inline(always)]
    pub const fn offset(self) -> isize {
        ((self.0 as i32) >> 2) as isize
    }
    pub const fn as_x(self) -> Option<u16> {
        if self.kind() == Self::KIND_X { Some(self.index() as u16) } else { None }
    }
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
    pub const fn x(number: u16) -> Dst {
        Dst(number << 1)
    }
    pub const fn y(number: u16) -> Dst {
        Dst(number << 1 | 1)
    }
    #[inline(always)]
    pub const fn is_y(self) -> bool {
        self.0 & 1 == 1
    }
    #[inline(always)]
    pub const fn index(self) -> usize {
        (self.0 >> 1) as usize
    }
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
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Table<T> {}

impl<T> Table<T> {
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

/// Where to go for each of many values.
#[derive(Debug)]
pub enum Select {
    /// Consecutive small integers from `min`.
    Jump { min: i64, targets: Box<[i32]>, fail: i32 },
    /// Immediates, sorted by their words.
    Search { keys: Box<[u64]>, targets: Box<[i32]>, fail: i32 },
    /// Anything, compared one by one with `=:=`.
    Each { keys: Box<[Src]>, targets: Box<[i32]>, fail: i32 },
}

/// The pairs of a map to build: keys and values in turn.
#[derive(Debug)]
pub struct MapPut {
    pub map: Src,
    pub exact: bool,
    pub fail: i32,
    pub pairs: Box<[(Src, Src)]>,
}

#[derive(Debug)]
pub struct MapGet {
    pub map: Src,
    pub fail: i32,
    /// Key and where its value goes; no destination for `has_map_fields`.
    pub pairs: Box<[(Src, Option<Dst>)]>,
}

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

/// Bits of a segment's flags, as the compiler writes them.
pub const FLAG_LITTLE: u8 = 2;
pub const FLAG_SIGNED: u8 = 4;
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

#[derive(Debug)]
pub struct BinaryPlan {
    pub fail: i32,
    pub dst: Dst,
    pub segments: Box<[Segment]>,
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

#[derive(Debug)]
pub struct MatchPlan {
    pub fail: i32,
    pub context: Src,
    pub steps: Box<[MatchStep]>,
}

/// What `update_record` changes: positions from 0.
#[derive(Debug)]
pub struct RecordUpdate {
    pub size: u32,
    pub source: Src,
    pub updates: Box<[(u32, Src)]>,
    pub reuse: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Utf {
    Utf8,
    Utf16,
    Utf32,
}

#[derive(Clone, Copy, Debug)]
pub enum Instr {
    /// The function that this belongs to has not been specialised yet: do that, and go on here. What is all zeroes is this.
    NotLoaded,
    /// Raise `function_clause` for function number `function` of the module.
    FuncInfo {
        function: u32,
    },
    /// A code cell: a function's entry or a return point; `native` is its machine code, or the way back to the interpreter while there is none.
    Cell {
        native: u64,
    },
    /// Nothing.
    Nop,

    /// R\[to\] := R\[from\]
    MoveXX {
        from: u16,
        to: u16,
    },
    /// Y\[to\] := R\[from\]
    MoveXY {
        from: u16,
        to: u16,
    },
    /// R\[to\] := Y\[from\]
    MoveYX {
        from: u16,
        to: u16,
    },
    /// R\[to\] := value
    MoveKX {
        to: u16,
        value: Term,
    },
    /// dst := src
    Move {
        src: Src,
        dst: Dst,
    },
    /// R\[to1\] := R\[from1\]; R\[to2\] := R\[from2\]
    MoveXX2 {
        from1: u16,
        to1: u16,
        from2: u16,
        to2: u16,
    },
    /// Y\[to1\] := R\[from1\]; Y\[to2\] := R\[from2\]
    MoveXY2 {
        from1: u16,
        to1: u16,
        from2: u16,
        to2: u16,
    },
    /// R\[to1\] := Y\[from1\]; R\[to2\] := Y\[from2\]
    MoveYX2 {
        from1: u16,
        to1: u16,
        from2: u16,
        to2: u16,
    },
    /// a, b := b, a
    Swap {
        a: Dst,
        b: Dst,
    },
    /// Y\[y\] := nil for each
    InitY {
        registers: Table<Box<[u16]>>,
    },

    /// Push a frame of `frame` words; then room for `heap` words, with R\[0..live\] alive
    Allocate {
        frame: u16,
        live: u16,
        heap: u32,
    },
    /// Pop `frame` words
    Deallocate {
        frame: u16,
    },
    /// Drop the lowest `words` of the frame
    Trim {
        words: u16,
    },
    /// Room for `words` on the heap, with R\[0..live\] alive
    TestHeap {
        live: u16,
        words: u32,
    },

    /// Push the return cell, go to a function of this module
    Call {
        arity: u16,
        target: i32,
    },
    /// Pop the frame and the call's own return address stays
    CallLast {
        arity: u16,
        frame: u16,
        target: i32,
    },
    CallOnly {
        arity: u16,
        target: i32,
    },
    CallExt {
        arity: u16,
        export: ExportPtr,
    },
    CallExtLast {
        arity: u16,
        frame: u16,
        export: ExportPtr,
    },
    CallExtOnly {
        arity: u16,
        export: ExportPtr,
    },
    /// R\[0\] := built-in(R\[0..arity\]); stands where a call stands: everything but R\[0\] is dead after it
    CallBif {
        arity: u16,
        bif: u16,
    },
    /// The same, then pop the frame and return
    CallBifLast {
        arity: u16,
        frame: u16,
        bif: u16,
    },
    /// The same, then return
    CallBifOnly {
        arity: u16,
        bif: u16,
    },
    /// The body of a function that is a built-in
    BifBody {
        arity: u16,
        bif: u16,
        function: u32,
    },
    /// Module and function in R\[arity\], R\[arity + 1\]
    Apply {
        arity: u16,
    },
    ApplyLast {
        arity: u16,
        frame: u16,
    },
    /// Fun in R\[arity\]
    CallFun {
        arity: u16,
    },
    /// Fun in src
    CallFun2 {
        arity: u16,
        fun: Src,
    },
    /// The same, with the frame popped before the call
    CallFunLast {
        arity: u16,
        frame: u16,
        fun: Src,
    },
    /// Pop the return address, go there
    Return,
    /// Go to the error handler for an export that has no code
    CallErrorHandler {
        export: ExportPtr,
    },
    /// The end of a process's first function
    ProcessEnd,
    /// R\[0\]:R\[1\] applied to the list R\[2\], as a tail call
    ApplyArgs,
    /// The same, with the frame popped before the call
    ApplyArgsLast {
        frame: u16,
    },
    /// Wait for a message, then go on
    Hibernated,
    /// The fun R\[0\] applied to the list R\[1\], as a tail call
    ApplyFunArgs,

    /// ->target
    Jump {
        target: i32,
    },
    SelectVal {
        src: Src,
        select: Table<Select>,
    },
    SelectArity {
        src: Src,
        select: Table<Select>,
    },

    /// ->fail unless src is …
    IsInteger {
        src: Src,
        fail: i32,
    },
    IsFloat {
        src: Src,
        fail: i32,
    },
    IsNumber {
        src: Src,
        fail: i32,
    },
    IsAtom {
        src: Src,
        fail: i32,
    },
    IsPid {
        src: Src,
        fail: i32,
    },
    IsReference {
        src: Src,
        fail: i32,
    },
    IsPort {
        src: Src,
        fail: i32,
    },
    IsNil {
        src: Src,
        fail: i32,
    },
    IsBinary {
        src: Src,
        fail: i32,
    },
    IsBitstring {
        src: Src,
        fail: i32,
    },
    IsList {
        src: Src,
        fail: i32,
    },
    IsCons {
        src: Src,
        fail: i32,
    },
    IsConsX {
        x: u16,
        fail: i32,
    },
    IsNilX {
        x: u16,
        fail: i32,
    },
    /// ->fail unless R\[x\] is a list cell; else dst1, dst2 := its head and tail
    IsConsGetListX {
        x: u16,
        head: Dst,
        tail: Dst,
        fail: i32,
    },
    IsTuple {
        src: Src,
        fail: i32,
    },
    IsTupleOf {
        src: Src,
        arity: u32,
        fail: i32,
    },
    /// A tuple of that arity whose first element is the constant `tag`
    IsTaggedTuple {
        src: Src,
        arity: u16,
        tag: Src,
        fail: i32,
    },
    /// The size of what is known to be a tuple
    TestArity {
        src: Src,
        arity: u32,
        fail: i32,
    },
    IsMap {
        src: Src,
        fail: i32,
    },
    IsBoolean {
        src: Src,
        fail: i32,
    },
    IsFunction {
        src: Src,
        fail: i32,
    },
    IsFunctionOf {
        src: Src,
        arity: Src,
        fail: i32,
    },
    /// ->fail unless a < b
    IsLt {
        a: Src,
        b: Src,
        fail: i32,
    },
    IsGe {
        a: Src,
        b: Src,
        fail: i32,
    },
    /// The same of R\[x\] and a small integer
    IsLtXI {
        x: u16,
        value: i32,
        fail: i32,
    },
    IsGeXI {
        x: u16,
        value: i32,
        fail: i32,
    },
    IsEq {
        a: Src,
        b: Src,
        fail: i32,
    },
    IsNe {
        a: Src,
        b: Src,
        fail: i32,
    },
    IsEqExact {
        a: Src,
        b: Src,
        fail: i32,
    },
    IsNeExact {
        a: Src,
        b: Src,
        fail: i32,
    },
    /// The same word as an immediate
    IsEqImmX {
        x: u16,
        fail: i32,
        value: Term,
    },
    IsNeImmX {
        x: u16,
        fail: i32,
        value: Term,
    },

    /// head, tail := list cell src
    GetList {
        src: Src,
        head: Dst,
        tail: Dst,
    },
    GetHead {
        src: Src,
        dst: Dst,
    },
    GetTail {
        src: Src,
        dst: Dst,
    },
    /// dst := element `index` (from 0) of src
    GetElement {
        src: Src,
        index: u32,
        dst: Dst,
    },
    /// dst1, dst2 := elements `index`, `index` + 1
    GetElement2 {
        src: Src,
        index: u32,
        dst1: Dst,
        dst2: Dst,
    },
    /// element `index` of tuple := value (only directly after it was built)
    SetElement {
        value: Src,
        tuple: Src,
        index: u32,
    },
    /// dst := \[head | tail\]
    PutList {
        head: Src,
        tail: Src,
        dst: Dst,
    },
    PutTuple {
        dst: Dst,
        elements: Table<Box<[Src]>>,
    },
    UpdateRecord {
        dst: Dst,
        update: Table<RecordUpdate>,
    },
    MakeFun {
        dst: Dst,
        arity: u16,
        free: Table<(FunPtr, Box<[Src]>)>,
    },

    /// Arithmetic; an error raises, unless the next instruction is `Fail`
    Add {
        a: Src,
        b: Src,
        dst: Dst,
    },
    Sub {
        a: Src,
        b: Src,
        dst: Dst,
    },
    /// R\[to\] := R\[x\] + value
    AddXI {
        x: u16,
        to: u16,
        value: i32,
    },
    /// dst := Y\[y\] + value
    AddYI {
        y: u16,
        dst: Dst,
        value: i32,
    },
    Mul {
        a: Src,
        b: Src,
        dst: Dst,
    },
    IntDiv {
        a: Src,
        b: Src,
        dst: Dst,
    },
    Rem {
        a: Src,
        b: Src,
        dst: Dst,
    },
    Band {
        a: Src,
        b: Src,
        dst: Dst,
    },
    Bor {
        a: Src,
        b: Src,
        dst: Dst,
    },
    Bxor {
        a: Src,
        b: Src,
        dst: Dst,
    },
    Bsl {
        a: Src,
        b: Src,
        dst: Dst,
    },
    Bsr {
        a: Src,
        b: Src,
        dst: Dst,
    },
    /// dst := built-in(); neither guard nor body built-ins of these forms may wait
    Bif0 {
        bif: u16,
        dst: Dst,
    },
    Bif1 {
        bif: u16,
        a: Src,
        dst: Dst,
    },
    Bif2 {
        bif: u16,
        a: Src,
        b: Src,
        dst: Dst,
    },
    Bif3 {
        bif: u16,
        dst: Dst,
        args: Table<[Src; 3]>,
    },
    /// Guard built-ins done in place; for the rest as arithmetic
    Element {
        a: Src,
        b: Src,
        dst: Dst,
    },
    Hd {
        a: Src,
        dst: Dst,
    },
    Tl {
        a: Src,
        dst: Dst,
    },
    SelfPid {
        dst: Dst,
    },
    TupleSize {
        a: Src,
        dst: Dst,
    },
    /// Not run itself: where a guard's arithmetic before it goes when it fails
    Fail {
        target: i32,
    },

    /// Floating point over F registers
    LoadFloat {
        src: Src,
        to: u16,
    },
    StoreFloat {
        from: u16,
        dst: Dst,
    },
    MoveFloat {
        from: u16,
        to: u16,
    },
    FloatAdd {
        a: u16,
        b: u16,
        to: u16,
    },
    FloatSub {
        a: u16,
        b: u16,
        to: u16,
    },
    FloatMul {
        a: u16,
        b: u16,
        to: u16,
    },
    FloatDiv {
        a: u16,
        b: u16,
        to: u16,
    },
    FloatNeg {
        a: u16,
        to: u16,
    },

    Badmatch {
        src: Src,
    },
    CaseEnd {
        src: Src,
    },
    IfEnd,
    TryCaseEnd {
        src: Src,
    },
    Badrecord {
        src: Src,
    },
    /// Y\[y\] := a mark that says where `handler` is
    Catch {
        y: u16,
        handler: i32,
    },
    CatchEnd {
        y: u16,
    },
    TryEnd {
        y: u16,
    },
    TryCase {
        y: u16,
    },
    Raise {
        trace: Src,
        reason: Src,
    },
    BuildStacktrace,
    RawRaise,

    /// R\[0\] ! R\[1\]
    Send,
    /// R\[0\] := the message at the cursor; ->wait when there is none
    LoopRec {
        wait: i32,
    },
    /// Take the message at the cursor out of the mailbox
    RemoveMessage,
    /// Move the cursor on, ->loop
    LoopRecEnd {
        target: i32,
    },
    /// Wait for a message, then ->loop
    Wait {
        target: i32,
    },
    /// The same with a time limit; when it is over, go on after
    WaitTimeout {
        target: i32,
        time: Src,
    },
    /// The cursor back to the first message
    Timeout,
    RecvMarkerReserve {
        dst: Dst,
    },
    RecvMarkerBind {
        marker: Src,
        reference: Src,
    },
    RecvMarkerClear {
        reference: Src,
    },
    RecvMarkerUse {
        reference: Src,
    },

    PutMap {
        dst: Dst,
        put: Table<MapPut>,
    },
    GetMap {
        get: Table<MapGet>,
    },

    /// dst := a match context for src; ->fail unless it is a bitstring
    BsStartMatch {
        src: Src,
        dst: Dst,
        fail: i32,
    },
    /// The common forms of `bs_get_*`: `size` × `unit` bits at the position
    BsGetInteger {
        flags: u8,
        unit: u8,
        context: Dst,
        size: Src,
        dst: Dst,
        fail: i32,
    },
    BsGetFloat {
        flags: u8,
        unit: u8,
        context: Dst,
        size: Src,
        dst: Dst,
        fail: i32,
    },
    BsGetBinary {
        unit: u8,
        context: Dst,
        size: Src,
        dst: Dst,
        fail: i32,
    },
    /// All that is left, if it is whole units
    BsGetRest {
        unit: u16,
        context: Dst,
        dst: Dst,
        fail: i32,
    },
    BsSkip {
        unit: u8,
        context: Dst,
        size: Src,
        fail: i32,
    },
    BsSkipRest {
        unit: u16,
        context: Dst,
        fail: i32,
    },
    /// ->fail unless exactly `bits` are left
    BsTestTail {
        context: Dst,
        bits: u64,
        fail: i32,
    },
    BsTestUnit {
        context: Dst,
        unit: u16,
        fail: i32,
    },
    BsMatchString {
        context: Dst,
        fail: i32,
        bits: Table<(u32, Box<[u8]>)>,
    },
    BsGetUtf {
        utf: Utf,
        flags: u8,
        context: Dst,
        dst: Dst,
        fail: i32,
    },
    BsSkipUtf {
        utf: Utf,
        flags: u8,
        context: Dst,
        fail: i32,
    },
    BsGetTail {
        context: Dst,
        dst: Dst,
    },
    BsGetPosition {
        context: Dst,
        dst: Dst,
    },
    BsSetPosition {
        context: Dst,
        position: Src,
    },
    BsMatch {
        plan: Table<MatchPlan>,
    },
    BsCreateBin {
        plan: Table<BinaryPlan>,
    },
    /// R\[0\] := an empty binary that can grow to R\[0\] bytes in place
    BsInitWritable,
}

const _: () = assert!(size_of::<Instr>() == 16);

/// Units are 1 to 256 and stored less one.
#[inline(always)]
pub const fn stored_unit(unit: u8) -> usize {
    unit as usize + 1
}
