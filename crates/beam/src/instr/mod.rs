//! The specialised instruction set: what the engines run.
//!
//! Every instruction is 16 bytes with its operands resolved. The table below is the one place that says what is true of an
//! instruction: its meaning, each operand with its role, and its properties. The `enum`, the listing, the visitor of operands
//! and the properties are generated from it.
//!
//! In the meanings, `R[x]` are the X registers, `Y[y]` the words of the current frame, `F[f]` the float registers; `dst` is
//! an X or Y register, `src` a register or a constant. Jumps are relative to the instruction, in instructions. `->fail unless
//! C` means: go to `fail` if C does not hold. An error raises an exception where nothing else is said.

mod operand;
mod properties;
mod role;

pub use operand::*;
pub use properties::{ALL, Properties};
pub(crate) use role::Label;
pub use role::Operand;

use role::*;
use std::fmt;
use swarmrt_term::Term;

macro_rules! instructions {
    ($(
        #[doc = $meaning:literal]
        $name:ident $({ $($field:ident: $role:ty),* })? $([ $($property:ident $(($value:expr))?),* ])?;
    )*) => {
        /// A specialised instruction, 16 bytes, with its operands resolved. The meaning of each is
        /// on its line of the table below.
        #[allow(clippy::doc_markdown, reason = "their meanings are formulas")]
        #[derive(Clone, Copy, Debug)]
        pub enum Instr {
            $(
                #[doc = $meaning]
                $name $({ $($field: <$role as Role>::Field),* })?,
            )*
        }

        impl Instr {
            /// Visits the registers that the operands name, and the places that they jump to.
            pub fn operands(&self, visit: &mut impl FnMut(Operand)) {
                match *self {
                    $(Instr::$name $({ $($field),* })? => { $($(<$role as Role>::visit($field, visit);)*)? })*
                }
            }

            /// Visits the jump operands of an instruction that was just emitted, which are labels
            /// still.
            ///
            /// # Safety
            /// Nobody else uses the tables of the instruction.
            pub(crate) unsafe fn labels(&mut self, visit: &mut impl FnMut(Label<'_>)) {
                match self {
                    $(Instr::$name $({ $($field),* })? => {
                        $($(
                            // SAFETY: as the caller promises.
                            unsafe { <$role as Role>::labels($field, visit) };
                        )*)?
                    })*
                }
            }

            /// The properties that the table gives the instruction.
            pub const fn properties(&self) -> Properties {
                match self {
                    $(Instr::$name { .. } => const { Properties::NONE $($(.$property($($value)?))*)? },)*
                }
            }

            /// The name in the table.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Instr::$name { .. } => stringify!($name),)*
                }
            }

            fn list(&self, at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())?;
                match *self {
                    $(Instr::$name $({ $($field),* })? => {
                        let _separator = " ";
                        $($(
                            write!(f, "{_separator}{}=", stringify!($field))?;
                            <$role as Role>::list($field, at, f)?;
                            let _separator = ", ";
                        )*)?
                    })*
                }
                Ok(())
            }
        }
    };
}

instructions! {
    /// Specialise the function that this belongs to, and go on here. Zeroed storage is this.
    NotLoaded;
    /// BifExit `function_clause` for function number `function` of the module. Calls by the interpreter are counted in `calls`
    FuncInfo { function: u32, calls: u32 } [ends, reads(ALL), exits];
    /// A function's entry or a return point; `native` is its machine code, or the way into the interpreter.
    Cell { native: u64 };
    /// Do nothing.
    Nop [keeps_scalars];

    /// R\[to\] := R\[from\]
    MoveXX { from: ReadX, to: WriteX } [straight];
    /// Y\[to\] := R\[from\]
    MoveXY { from: ReadX, to: WriteY } [straight];
    /// R\[to\] := Y\[from\]
    MoveYX { from: ReadY, to: WriteX } [straight];
    /// R\[to\] := value
    MoveKX { value: Term, to: WriteX } [straight];
    /// dst := src
    Move { src: Read, dst: Write } [straight];
    /// R\[to1\] := R\[from1\]; R\[to2\] := R\[from2\]
    MoveXX2 { from1: ReadX, to1: WriteX, from2: ReadX, to2: WriteX } [straight];
    /// Y\[to1\] := R\[from1\]; Y\[to2\] := R\[from2\]
    MoveXY2 { from1: ReadX, to1: WriteY, from2: ReadX, to2: WriteY } [straight];
    /// R\[to1\] := Y\[from1\]; R\[to2\] := Y\[from2\]
    MoveYX2 { from1: ReadY, to1: WriteX, from2: ReadY, to2: WriteX } [straight];
    /// a, b := b, a
    Swap { a: ReadWrite, b: ReadWrite };
    /// Y\[y\] := nil for each y of `registers`
    InitY { registers: Table<YRegisters> } [straight];

    /// Push a frame of `frame` words; then make room for `heap` words, with R\[0..live\] alive
    Allocate { live: Live, frame: u16, heap: u32 } [straight];
    /// Pop the frame of `frame` words
    Deallocate { frame: u16 } [straight];
    /// Drop the lowest `words` of the frame: Y\[words + n\] becomes Y\[n\]
    Trim { words: u16 } [straight];
    /// Make room for `words` on the heap, with R\[0..live\] alive
    TestHeap { live: Live, words: u32 } [straight];

    /// Call: push the address of the cell behind this, jump to the function `target` of this module
    Call { arity: Args, target: Entry } [ends, straight];
    /// Tail call: pop the frame of `frame` words, jump to `target`; the callee returns to our caller
    CallLast { arity: Args, frame: u16, target: Entry } [ends, straight];
    /// Tail call without a frame: jump to `target`
    CallOnly { arity: Args, target: Entry } [ends, straight];
    /// Call the function that `export` leads to
    CallExt { arity: Args, export: ExportPtr } [ends, calls_out, straight];
    /// Tail call of an export: pop the frame of `frame` words first
    CallExtLast { arity: Args, frame: u16, export: ExportPtr } [ends, calls_out, straight];
    /// Tail call of an export without a frame
    CallExtOnly { arity: Args, export: ExportPtr } [ends, calls_out, straight];
    /// R\[0\] := built-in(R\[0..arity\]); it may trap or wait, and returns to the cell behind this then
    CallBif { arity: Args, bif: u16 } [over_cell, writes(ALL)];
    /// R\[0\] := built-in(R\[0..arity\]); pop the frame of `frame` words and return
    CallBifLast { arity: Args, frame: u16, bif: u16 } [ends];
    /// R\[0\] := built-in(R\[0..arity\]); return
    CallBifOnly { arity: Args, bif: u16 } [ends];
    /// R\[0\] := built-in(R\[0..arity\]); return. The body of function number `function`, which is a built-in
    BifBody { arity: Args, bif: u16, function: u32 } [ends, calls_out];
    /// If `slot` is filled: R\[0\] := native(R\[0..arity\]); return. Else go on with the function's own code
    NativeBody { arity: Args, slot: NativePtr } [calls_out];
    /// Call R\[arity\]:R\[arity + 1\] by name
    Apply { arity: Args<2> } [ends, calls_out];
    /// Tail call of R\[arity\]:R\[arity + 1\]: pop the frame of `frame` words first
    ApplyLast { arity: Args<2>, frame: u16 } [ends, calls_out];
    /// Call the fun in R\[arity\]
    CallFun { arity: Args<1> } [ends, calls_fun];
    /// Call the fun `fun`
    CallFun2 { arity: Args, fun: Read } [ends, calls_fun];
    /// Tail call of the fun `fun`: pop the frame of `frame` words first
    CallFunLast { arity: Args, fun: Read, frame: u16 } [ends, calls_fun];
    /// Pop the return address and go there
    Return [ends, reads(1), straight];
    /// Call `error_handler:undefined_function/3` for an export without code
    CallErrorHandler { export: ExportPtr } [ends, reads(ALL), exits];
    /// End the process: its first function has returned
    ProcessEnd [ends, reads(ALL), exits];
    /// Tail call of R\[0\]:R\[1\] with the arguments in the list R\[2\]
    ApplyArgs [ends, reads(ALL), exits];
    /// Call R\[0\]:R\[1\] with the arguments in the list R\[2\]
    ApplyArgsCall [ends, reads(3), calls_out, exits];
    /// Tail call of R\[0\]:R\[1\] with the arguments in the list R\[2\]: pop the frame of `frame` words first
    ApplyArgsLast { frame: u16 } [ends, reads(3), exits];
    /// Wait for a message, then go on
    Hibernated [ends, reads(ALL), exits];
    /// Tell who traces the call that has returned, drop its frame, and return R\[0\]
    ReturnTraced [ends, reads(1), exits];
    /// Tail call of the fun R\[0\] with the arguments in the list R\[1\]
    ApplyFunArgs [ends, reads(ALL), exits];
    /// Call the fun R\[0\] with the arguments in the list R\[1\]
    ApplyFunArgsCall [ends, reads(2), calls_out, exits];
    /// Tail call of the fun R\[0\] with the arguments in the list R\[1\]: pop the frame of `frame` words first
    ApplyFunArgsLast { frame: u16 } [ends, reads(2), calls_out, exits];

    /// Count a reduction; when none is left, end the turn with R\[0..live\] saved, and go on here in the next
    EndTurn { live: Live };
    /// ->target
    Jump { target: Jump } [ends, keeps_scalars];
    /// ->the target of the key that is `src`, or ->fail
    SelectVal { src: Read, select: Table<Select> } [ends, keeps_scalars];
    /// ->the target of the key that is the size of tuple `src`, or ->fail
    SelectArity { src: Read, select: Table<Select> } [ends];

    /// ->fail unless `src` is an integer
    IsInteger { src: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is a float
    IsFloat { src: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is an integer or a float
    IsNumber { src: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is an atom
    IsAtom { src: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is a pid
    IsPid { src: Read, fail: Jump };
    /// ->fail unless `src` is a reference
    IsReference { src: Read, fail: Jump };
    /// ->fail unless `src` is a port
    IsPort { src: Read, fail: Jump };
    /// ->fail unless `src` is nil
    IsNil { src: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is a bitstring of whole bytes
    IsBinary { src: Read, fail: Jump };
    /// ->fail unless `src` is a bitstring, or a match context, which OTP 27's compiler asks, too
    IsBitstring { src: Read, fail: Jump };
    /// ->fail unless `src` is a list cell or nil
    IsList { src: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is a list cell
    IsCons { src: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless R\[x\] is a list cell
    IsConsX { x: ReadX, fail: Jump } [keeps_scalars];
    /// ->fail unless R\[x\] is nil
    IsNilX { x: ReadX, fail: Jump } [keeps_scalars];
    /// ->fail unless R\[x\] is a list cell; else head, tail := its head and tail
    IsConsGetListX { x: ReadX, head: Write, tail: Write, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is a tuple
    IsTuple { src: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is a tuple of `arity` elements
    IsTupleOf { src: Read, arity: u32, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is a tuple of `arity` elements and the first is the constant `tag`
    IsTaggedTuple { src: Read, arity: u16, tag: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless the first element of the tuple `src`, which has one, is the constant `tag`
    IsTagged { src: Read, tag: Read, fail: Jump };
    /// ->fail unless the tuple `src` has `arity` elements
    TestArity { src: Read, arity: u32, fail: Jump } [keeps_scalars];
    /// ->fail unless `src` is a map
    IsMap { src: Read, fail: Jump };
    /// ->fail unless `src` is `true` or `false`
    IsBoolean { src: Read, fail: Jump };
    /// ->fail unless `src` is a fun
    IsFunction { src: Read, fail: Jump };
    /// ->fail unless `src` is a fun that takes `arity` arguments
    IsFunctionOf { src: Read, arity: Read, fail: Jump };
    /// ->fail unless a < b
    IsLt { a: Read, b: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless a >= b
    IsGe { a: Read, b: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless R\[x\] < value
    IsLtXI { x: ReadX, value: i32, fail: Jump } [keeps_scalars];
    /// ->fail unless R\[x\] >= value
    IsGeXI { x: ReadX, value: i32, fail: Jump } [keeps_scalars];
    /// ->fail unless a == b
    IsEq { a: Read, b: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless a /= b
    IsNe { a: Read, b: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless a =:= b
    IsEqExact { a: Read, b: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless a =/= b
    IsNeExact { a: Read, b: Read, fail: Jump } [keeps_scalars];
    /// ->fail unless R\[x\] is the immediate `value`
    IsEqImmX { x: ReadX, fail: Jump, value: Term } [keeps_scalars];
    /// ->fail if R\[x\] is the immediate `value`
    IsNeImmX { x: ReadX, fail: Jump, value: Term } [keeps_scalars];

    /// head, tail := head and tail of the list cell `src`
    GetList { src: Read, head: Write, tail: Write } [keeps_scalars];
    /// dst := head of the list cell `src`
    GetHead { src: Read, dst: Write } [keeps_scalars];
    /// dst := tail of the list cell `src`
    GetTail { src: Read, dst: Write } [keeps_scalars];
    /// dst := element `index` (from 0) of the tuple `src`
    GetElement { src: Read, index: u32, dst: Write } [straight];
    /// dst1, dst2 := elements `index`, `index` + 1 (from 0) of the tuple `src`
    GetElement2 { src: Read, index: u32, dst1: Write, dst2: Write } [straight];
    /// element `index` (from 0) of `tuple`, which was just built, := value
    SetElement { value: Read, tuple: Read, index: u32 };
    /// dst := \[head | tail\]
    PutList { head: Read, tail: Read, dst: Write } [straight];
    /// dst := a tuple of `elements`
    PutTuple { elements: Table<Box<[Src]>>, dst: Write } [straight];
    /// dst := the tuple of `update` with its elements replaced
    UpdateRecord { update: Table<RecordUpdate>, dst: Write };
    /// dst := a fun with these free variables
    MakeFun { free: Table<(FunPtr, Box<[Src]>)>, arity: u16, dst: Write };

    /// dst := a + b
    Add { a: Read, b: Read, dst: Write } [guarded, keeps_scalars];
    /// dst := a - b
    Sub { a: Read, b: Read, dst: Write } [guarded, keeps_scalars];
    /// R\[to\] := R\[x\] + value
    AddXI { x: ReadX, to: WriteX, value: i32 } [guarded, keeps_scalars];
    /// dst := Y\[y\] + value
    AddYI { y: ReadY, dst: Write, value: i32 } [guarded, keeps_scalars];
    /// dst := a * b
    Mul { a: Read, b: Read, dst: Write } [guarded, keeps_scalars];
    /// dst := a div b
    IntDiv { a: Read, b: Read, dst: Write } [guarded];
    /// dst := a rem b
    Rem { a: Read, b: Read, dst: Write } [guarded];
    /// dst := a band b
    Band { a: Read, b: Read, dst: Write } [guarded];
    /// dst := a bor b
    Bor { a: Read, b: Read, dst: Write } [guarded];
    /// dst := a bxor b
    Bxor { a: Read, b: Read, dst: Write } [guarded];
    /// dst := a bsl b
    Bsl { a: Read, b: Read, dst: Write } [guarded];
    /// dst := a bsr b
    Bsr { a: Read, b: Read, dst: Write } [guarded];
    /// dst := built-in()
    Bif0 { bif: u16, dst: Write } [guarded];
    /// dst := built-in(a), which does not trap or wait
    Bif1 { bif: u16, a: Read, dst: Write } [guarded];
    /// dst := built-in(a, b), which does not trap or wait
    Bif2 { bif: u16, a: Read, b: Read, dst: Write } [guarded];
    /// dst := built-in(args), which does not trap or wait
    Bif3 { bif: u16, args: Table<[Src; 3]>, dst: Write } [guarded];
    /// dst := element(a, b)
    Element { a: Read, b: Read, dst: Write } [guarded];
    /// dst := hd(a)
    Hd { a: Read, dst: Write } [guarded];
    /// dst := tl(a)
    Tl { a: Read, dst: Write } [guarded];
    /// dst := self()
    SelfPid { dst: Write };
    /// dst := tuple_size(a)
    TupleSize { a: Read, dst: Write } [guarded];
    /// Not run: where the guarded instruction before it goes when it fails
    Fail { target: Place } [keeps_scalars];

    /// F\[to\] := src, a number, as a float
    LoadFloat { src: Read, to: WriteF } [keeps_scalars];
    /// dst := F\[from\]
    StoreFloat { from: ReadF, dst: Write } [keeps_scalars];
    /// F\[to\] := F\[from\]
    MoveFloat { from: ReadF, to: WriteF } [keeps_scalars];
    /// F\[to\] := F\[a\] + F\[b\]
    FloatAdd { a: ReadF, b: ReadF, to: WriteF } [keeps_scalars];
    /// F\[to\] := F\[a\] - F\[b\]
    FloatSub { a: ReadF, b: ReadF, to: WriteF } [keeps_scalars];
    /// F\[to\] := F\[a\] * F\[b\]
    FloatMul { a: ReadF, b: ReadF, to: WriteF } [keeps_scalars];
    /// F\[to\] := F\[a\] / F\[b\]
    FloatDiv { a: ReadF, b: ReadF, to: WriteF } [keeps_scalars];
    /// F\[to\] := -F\[a\]
    FloatNeg { a: ReadF, to: WriteF } [keeps_scalars];

    /// BifExit `{badmatch, src}`
    Badmatch { src: Read } [ends, exits];
    /// BifExit `{case_clause, src}`
    CaseEnd { src: Read } [ends, exits];
    /// BifExit `if_clause`
    IfEnd [ends, exits];
    /// BifExit `{try_clause, src}`
    TryCaseEnd { src: Read } [ends, exits];
    /// BifExit `{badrecord, src}`
    Badrecord { src: Read } [ends, exits];
    /// Y\[y\] := a mark that says where `handler` is; exceptions go there while it stands
    Catch { y: WriteY, handler: Place };
    /// Y\[y\] := nil; at a handler, R\[0\] := what `catch` makes of the exception in R\[1..4\]
    CatchEnd { y: WriteY } [reads(4), writes(1)];
    /// Y\[y\] := nil
    TryEnd { y: WriteY };
    /// Y\[y\] := nil; R\[0..3\] := class, reason and raw trace of the exception in R\[1..4\]
    TryCase { y: WriteY } [reads(4), writes(3), exits];
    /// BifExit again what was caught: the class is in `trace`
    BifExit { trace: Read, reason: Read } [ends, exits];
    /// R\[0\] := the stack trace that the raw trace R\[0\] says
    BuildStacktrace [reads(1), writes(1)];
    /// BifExit class R\[0\], reason R\[1\], raw trace R\[2\]; R\[0\] := `badarg` if R\[0\] is no class
    RawRaise [reads(3), writes(1)];

    /// R\[0\] := R\[0\] ! R\[1\]
    Send [reads(2), writes(1)];
    /// R\[0\] := the message at the cursor; ->wait if there is none
    LoopRec { wait: Jump } [writes(1), waits];
    /// Take the message at the cursor out of the mailbox
    RemoveMessage;
    /// Make the message at the cursor the process's own, with what refers to it; the mailbox gets a copy
    OwnMessage;
    /// Move the cursor to the next message; ->target
    LoopRecEnd { target: Jump } [ends];
    /// Wait for a message, then go on at `target`
    Wait { target: Place } [ends, waits];
    /// Wait for a message for `time` ms, then go on at `target`; when the time is over, go on here
    WaitTimeout { target: Place, time: Read } [waits];
    /// Move the cursor to the first message
    Timeout;
    /// dst := a marker of the end of the mailbox
    RecvMarkerReserve { dst: Write };
    /// Tie `marker` to `reference`
    RecvMarkerBind { marker: Read, reference: Read };
    /// Drop the marker that is tied to `reference`
    RecvMarkerClear { reference: Read };
    /// Move the cursor to the marker that is tied to `reference`, if there is one
    RecvMarkerUse { reference: Read };

    /// dst := a flat map of the keys in the tuple `keys`, which are in order, and these values
    NewMap { keys: Read, values: Table<Box<[Src]>>, dst: Write };
    /// dst := the map of `put` with its pairs
    PutMap { put: Table<MapPut>, dst: Write };
    /// ->fail unless the map of `get` has its keys; else their values to their destinations
    GetMap { get: Table<MapGet> };

    /// ->fail unless `src` is a native record
    IsRecord { src: Read, fail: Jump };
    /// ->fail unless the term of `test` is a native record of its module and name
    IsRecordOf { test: Table<RecordTest> };
    /// ->fail unless `src` is a native record that is exported, or of the module whose name is atom number `own`
    IsRecordAccessible { src: Read, fail: Jump, own: u32 };
    /// ->fail unless the native record of `get` has its fields; else their values to their destinations
    GetRecordFields { get: Table<RecordGet> };
    /// dst := the value of a field of the native record of `get`; ->its fail if that may not be
    GetRecordField { get: Table<RecordField>, dst: Write };
    /// dst := a new native record, or the one of `put` with its fields changed
    PutRecord { put: Table<RecordPut>, dst: Write };

    /// dst := a match context for `src`; ->fail unless it is a bitstring
    BsStartMatch { src: Read, dst: Write, fail: MaybeJump };
    /// dst := the integer of `size` * `unit` bits at the position; ->fail if there are fewer
    BsGetInteger { flags: u8, unit: u8, context: ReadDst, size: Read, dst: Write, fail: Jump };
    /// dst := the float of `size` * `unit` bits at the position; ->fail if there is none
    BsGetFloat { flags: u8, unit: u8, context: ReadDst, size: Read, dst: Write, fail: Jump };
    /// dst := the bitstring of `size` * `unit` bits at the position; ->fail if there are fewer
    BsGetBinary { unit: u8, context: ReadDst, size: Read, dst: Write, fail: Jump };
    /// dst := all bits that are left; ->fail unless they are whole units of `unit` bits
    BsGetRest { unit: u16, context: ReadDst, dst: Write, fail: Jump };
    /// Skip `size` * `unit` bits; ->fail if there are fewer
    BsSkip { unit: u8, context: ReadDst, size: Read, fail: Jump };
    /// Skip all bits that are left; ->fail unless they are whole units of `unit` bits
    BsSkipRest { unit: u16, context: ReadDst, fail: Jump };
    /// ->fail unless exactly `bits` are left
    BsTestTail { bits: u64, context: ReadDst, fail: Jump };
    /// ->fail unless what is left is whole units of `unit` bits
    BsTestUnit { unit: u16, context: ReadDst, fail: Jump };
    /// Skip the bits `bits`; ->fail unless they come next
    BsMatchString { context: ReadDst, fail: Jump, bits: Table<(u32, Box<[u8]>)> };
    /// dst := the code point that comes next; ->fail if there is none
    BsGetUtf { utf: Utf, flags: u8, context: ReadDst, dst: Write, fail: Jump };
    /// Skip the code point that comes next; ->fail if there is none
    BsSkipUtf { utf: Utf, flags: u8, context: ReadDst, fail: Jump };
    /// dst := all bits that are left
    BsGetTail { context: ReadDst, dst: Write };
    /// dst := the position
    BsGetPosition { context: ReadDst, dst: Write };
    /// Move the position to `position`
    BsSetPosition { context: ReadDst, position: Read };
    /// The steps of `plan` in turn; ->its fail where one does not hold
    BsMatch { plan: Table<MatchPlan> };
    /// The destination of `plan` := the bitstring of its segments
    BsCreateBin { plan: Table<BinaryPlan> };
    /// R\[0\] := an empty binary that can grow to R\[0\] bytes in place
    BsInitWritable [reads(1), writes(1)];
}

const _: () = assert!(size_of::<Instr>() == 16);

impl Instr {
    /// The built-in that the instruction calls, and how many arguments it takes.
    pub fn called_bif(&self) -> Option<(u16, u16)> {
        match *self {
            Instr::CallBif { bif, arity }
            | Instr::CallBifLast { bif, arity, .. }
            | Instr::CallBifOnly { bif, arity }
            | Instr::BifBody { bif, arity, .. } => Some((bif, arity)),
            _ => None,
        }
    }

    /// The instruction as a line of a listing, where it has number `at` in its module: registers as `x0`, `y0` and `f0`,
    /// jumps as `->` and the number of the instruction.
    pub fn listed(&self, at: u32) -> impl fmt::Display + '_ {
        struct Listed<'a>(&'a Instr, u32);
        impl fmt::Display for Listed<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.list(self.1, f)
            }
        }
        Listed(self, at)
    }

    /// Whether the instruction writes F registers and nothing else.
    pub fn writes_floats_only(&self) -> bool {
        let (mut writes, mut floats) = (self.properties().writes > 0, false);
        self.operands(&mut |operand| match operand {
            Operand::Write(_) => writes = true,
            Operand::WriteFloat(_) => floats = true,
            _ => {}
        });
        floats && !writes
    }
}

/// Units are 1 to 256 and stored less one.
#[inline(always)]
pub const fn stored_unit(unit: u8) -> usize {
    unit as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operands(instr: Instr) -> Vec<Operand> {
        let mut all = Vec::new();
        instr.operands(&mut |operand| all.push(operand));
        all
    }

    #[test]
    fn operands_have_the_roles_of_the_table() {
        let (read, write) = (|x| Operand::Read(Src::x(x)), |x| Operand::Write(Dst::x(x)));
        let pairs = Instr::MoveXX2 { from1: 1, to1: 2, from2: 3, to2: 4 };
        assert_eq!(operands(pairs), [read(1), write(2), read(3), write(4)]);
        let test = Instr::IsConsGetListX { x: 5, head: Dst::x(6), tail: Dst::y(7), fail: -3 };
        assert_eq!(
            operands(test),
            [read(5), write(6), Operand::Write(Dst::y(7)), Operand::Jump(-3)]
        );
        let start = |fail| Instr::BsStartMatch { src: Src::x(0), dst: Dst::x(1), fail };
        assert_eq!(operands(start(0)), [read(0), write(1)], "0 says that it raises");
        assert_eq!(operands(start(9)).last(), Some(&Operand::Jump(9)));
        assert_eq!(
            operands(Instr::Apply { arity: 3 }),
            [Operand::ReadBelow(5)],
            "module and function come on top"
        );
        assert_eq!(
            operands(Instr::Catch { y: 2, handler: 8 }),
            [Operand::Write(Dst::y(2))],
            "only exceptions lead to a handler"
        );
    }

    #[test]
    fn properties_are_those_of_the_table() {
        assert!(Instr::Return.properties().ends && Instr::Return.properties().reads == 1);
        assert!(!Instr::Send.properties().ends && Instr::Send.properties().writes == 1);
        assert!(Instr::FloatNeg { a: 0, to: 1 }.writes_floats_only());
        assert!(!Instr::StoreFloat { from: 0, dst: Dst::x(0) }.writes_floats_only());
    }

    #[test]
    fn listings_name_registers_and_places() {
        let add = Instr::AddXI { x: 0, to: 2, value: -1 };
        assert_eq!(add.listed(5).to_string(), "AddXI x=x0, to=x2, value=-1");
        let test = Instr::IsNilX { x: 1, fail: -2 };
        assert_eq!(test.listed(5).to_string(), "IsNilX x=x1, fail=->3");
        assert_eq!(Instr::Return.listed(5).to_string(), "Return");
    }
}
