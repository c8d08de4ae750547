//! The generic instruction set: what the compilers of OTP R12 to 29 put into a Code chunk.
//!
//! One line an instruction: number, name in OTP, name here, the kinds of its operands, and what else the verifier has to
//! know of it; in the comment, what the operands are. `until` marks an instruction that no supported compiler emits, with
//! the last release that did. The numbers are those of OTP's `lib/compiler/src/genop.tab`.
//!
//! From the kinds follow the check of an instruction's shape and, where it is `plain`, its effect on the verifier's state.

use std::fmt;

/// What an operand has to be, and what the instruction does with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OperandKind {
    /// A label of this function where control goes on failure, or none: then a failure raises.
    Fail,
    /// A label of this function where control may go.
    Jump,
    /// A label of this function where control may go, or the atom `no_fail` or `resume`.
    Start,
    /// A label of this function to which control does not go from here, or none.
    Place,
    /// A function's entry; the arity is in the first operand.
    Entry,
    /// The fun that is called, or the atom `safe` or `unsafe` where it is not known.
    FunTag,
    /// A register or a constant that is read.
    Source,
    /// A register that is read.
    Register,
    /// A source that is read, which may be a match context.
    MaybeContext,
    /// A register that is read, which may hold a match context: the machine sees whether it does.
    Context,
    /// A register that is written.
    Target,
    /// A register that is written with a match context.
    NewContext,
    /// A register that is read and written, which may hold a match context.
    ReadWrite,
    /// A Y register that holds a catch tag, or gets one.
    Y,
    /// A Y register that is written.
    WriteY,
    ReadFloat,
    WriteFloat,
    /// A source or a float register.
    AnySource,
    /// A register or a float register that is written.
    AnyRegister,
    Atom,
    Count,
    /// A size in elements or bits that a term is compared with. Any number will do: one that is larger than any term
    /// makes the comparison fail.
    Extent,
    /// A count, or a source.
    Size,
    Arity,
    /// How many X registers are alive where the heap may be collected.
    Live,
    FrameWords,
    /// Words (and floats) that are granted on the heap.
    Heap,
    /// A unit of bits.
    Unit,
    Import,
    Lambda,
    Line,
    /// Whatever, ignored.
    Any,
    /// [value, label ...]: where control goes for each value
    Values,
    /// [arity, label ...]: where control goes for each size of a tuple
    Arities,
    /// [source ...]
    Sources,
    /// [key, value ...], which are read
    SourcePairs,
    /// [key, destination ...]
    SourceAndTarget,
    /// [Y register ...], which are written
    WriteYs,
    /// [type, segment, unit, flags, value, size ...]
    Segments,
    /// [index from 1, value ...]
    Updates,
    /// The commands of `bs_match`
    Commands,
}

/// What the verifier has to know of an instruction beside its operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Traits {
    /// Its effect follows from the kinds of its operands: it reads, may collect where it has a live count, may go to its
    /// labels, then writes.
    pub plain: bool,
    /// Control does not go on with the next instruction.
    pub ends: bool,
    /// It always raises an exception.
    pub raises: bool,
    /// It cannot raise one: it only moves words about or tests them. The machine checks what it takes apart, so
    /// instructions that take terms apart can.
    pub quiet: bool,
    /// It does not allocate, and keeps the result of `setelement/3` fresh.
    pub moves: bool,
    /// A built-in whose failure in a guard is a jump.
    pub guard: bool,
    /// It makes a binary that `bs_put_*` instructions fill.
    pub starts_binary: bool,
    /// It fills one.
    pub fills_binary: bool,
}

macro_rules! opcodes {
    ($($number:literal $name:ident $variant:ident
        $(($($kind:ident),*))? $([$($property:ident),*])? $(/ $arity:literal until $release:literal)?;)*) => {
        /// A generic instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Opcode {
            $($variant = $number,)*
        }

        const OPCODES: &[Opcode] = &[$(Opcode::$variant,)*];
        const NAMES: &[&str] = &[$(stringify!($name),)*];
        const KINDS: &[&[OperandKind]] = &[$(&[$($(OperandKind::$kind),*)?],)*];
        const OBSOLETE_ARITIES: &[u8] = &[$(0 $(+ $arity)?,)*];
        const OBSOLETE_SINCE: &[Option<&str>] = &[$(last_release!($($release)?),)*];
        const TRAITS: &[Traits] = &[$(Traits { $($($property: true,)*)? ..Traits::NONE },)*];
    };
}

macro_rules! last_release {
    () => {
        None
    };
    ($release:literal) => {
        Some($release)
    };
}

impl Traits {
    const NONE: Traits = Traits {
        plain: false,
        ends: false,
        raises: false,
        quiet: false,
        moves: false,
        guard: false,
        starts_binary: false,
        fills_binary: false,
    };
}

opcodes! {
    1 label Label(Count); // number
    2 func_info FuncInfo(Atom, Atom, Arity); // module, function, arity: raise function_clause
    3 int_code_end IntCodeEnd(); // end of the code
    4 call Call(Arity, Entry); // arity, label
    5 call_last CallLast(Arity, Entry, FrameWords); // arity, label, frame words
    6 call_only CallOnly(Arity, Entry); // arity, label
    7 call_ext CallExt(Arity, Import); // arity, import
    8 call_ext_last CallExtLast(Arity, Import, FrameWords); // arity, import, frame words
    9 bif0 Bif0(Import, Target) [plain]; // import, destination
    10 bif1 Bif1(Fail, Import, Source, Target) [plain, guard]; // fail, import, source, destination
    11 bif2 Bif2(Fail, Import, Source, Source, Target) [plain, guard]; // fail, import, source, source, destination
    12 allocate Allocate(FrameWords, Live) [quiet]; // frame words, live
    13 allocate_heap AllocateHeap(FrameWords, Heap, Live) [quiet]; // frame words, heap need, live
    14 allocate_zero AllocateZero(FrameWords, Live) [quiet]; // frame words, live
    15 allocate_heap_zero AllocateHeapZero(FrameWords, Heap, Live) [quiet]; // frame words, heap need, live
    16 test_heap TestHeap(Heap, Live) [plain, quiet]; // heap need, live
    17 init Init(WriteY) [plain, quiet]; // Y register
    18 deallocate Deallocate(FrameWords) [quiet]; // frame words
    19 return Return() [quiet]; // to the caller with X0
    20 send Send(); // X0 ! X1
    21 remove_message RemoveMessage(); // take the current message out of the mailbox
    22 timeout Timeout() [quiet]; // reset the mailbox position after a timeout
    23 loop_rec LoopRec(Jump, Target) [quiet]; // label when empty, destination of the current message
    24 loop_rec_end LoopRecEnd(Jump) [quiet]; // label of the loop; step to the next message
    25 wait Wait(Jump) [quiet]; // label of the loop
    26 wait_timeout WaitTimeout(Jump, Source); // label of the loop, milliseconds
    27 m_plus MPlus/4 until "R10B";
    28 m_minus MMinus/4 until "R10B";
    29 m_times MTimes/4 until "R10B";
    30 m_div MDiv/4 until "R10B";
    31 int_div IntDiv/4 until "R10B";
    32 int_rem IntRem/4 until "R10B";
    33 int_band IntBand/4 until "R10B";
    34 int_bor IntBor/4 until "R10B";
    35 int_bxor IntBxor/4 until "R10B";
    36 int_bsl IntBsl/4 until "R10B";
    37 int_bsr IntBsr/4 until "R10B";
    38 int_bnot IntBnot/3 until "R10B";
    39 is_lt IsLt(Jump, Source, Source) [plain, quiet]; // fail, left, right
    40 is_ge IsGe(Jump, Source, Source) [plain, quiet]; // fail, left, right
    41 is_eq IsEq(Jump, Source, Source) [plain, quiet]; // fail, left, right
    42 is_ne IsNe(Jump, Source, Source) [plain, quiet]; // fail, left, right
    43 is_eq_exact IsEqExact(Jump, Source, Source) [plain, quiet]; // fail, left, right
    44 is_ne_exact IsNeExact(Jump, Source, Source) [plain, quiet]; // fail, left, right
    45 is_integer IsInteger(Jump, Source) [plain, quiet]; // fail, source
    46 is_float IsFloat(Jump, Source) [plain, quiet]; // fail, source
    47 is_number IsNumber(Jump, Source) [plain, quiet]; // fail, source
    48 is_atom IsAtom(Jump, Source) [plain, quiet]; // fail, source
    49 is_pid IsPid(Jump, Source) [plain, quiet]; // fail, source
    50 is_reference IsReference(Jump, Source) [plain, quiet]; // fail, source
    51 is_port IsPort(Jump, Source) [plain, quiet]; // fail, source
    52 is_nil IsNil(Jump, Source) [plain, quiet]; // fail, source
    53 is_binary IsBinary(Jump, Source) [plain, quiet]; // fail, source
    54 is_constant IsConstant/2 until "R13B";
    55 is_list IsList(Jump, Source) [plain, quiet]; // fail, source
    56 is_nonempty_list IsNonemptyList(Jump, Source) [plain, quiet]; // fail, source
    57 is_tuple IsTuple(Jump, Source) [plain, quiet]; // fail, source
    58 test_arity TestArity(Jump, Source, Extent) [plain]; // fail, tuple, arity
    59 select_val SelectVal(Source, Jump, Values) [plain, ends, quiet]; // source, fail, [value, label ...]
    60 select_tuple_arity SelectTupleArity(Source, Jump, Arities) [plain, ends]; // tuple, fail, [arity, label ...]
    61 jump Jump(Jump) [plain, ends, quiet]; // label
    62 catch Catch(Y, Place) [quiet]; // Y register, handler
    63 catch_end CatchEnd(Y) [quiet]; // Y register
    64 move Move(MaybeContext, Target) [quiet, moves]; // source, destination
    65 get_list GetList(Register, Target, Target) [plain]; // source, head, tail
    66 get_tuple_element GetTupleElement(Source, Count, Target) [plain, moves]; // source, index from 0, destination
    67 set_tuple_element SetTupleElement(Source, Register, Count) [moves]; // value, tuple, index from 0
    68 put_string PutString/3 until "OTP 18";
    69 put_list PutList(Source, Source, Target) [quiet]; // head, tail, destination
    70 put_tuple PutTuple/2 until "OTP 21";
    71 put Put/1 until "OTP 21";
    72 badmatch Badmatch(Source) [plain, raises]; // value
    73 if_end IfEnd() [plain, raises]; // raise if_clause
    74 case_end CaseEnd(Source) [plain, raises]; // value
    75 call_fun CallFun(Arity); // arity; the fun is in X[arity]
    76 make_fun MakeFun/3 until "R7B";
    77 is_function IsFunction(Jump, Source) [plain, quiet]; // fail, source
    78 call_ext_only CallExtOnly(Arity, Import); // arity, import
    79 bs_start_match BsStartMatch/2 until "R10B";
    80 bs_get_integer BsGetInteger/5 until "R10B";
    81 bs_get_float BsGetFloat/5 until "R10B";
    82 bs_get_binary BsGetBinary/5 until "R10B";
    83 bs_skip_bits BsSkipBits/4 until "R10B";
    84 bs_test_tail BsTestTail/2 until "R10B";
    85 bs_save BsSave/1 until "R10B";
    86 bs_restore BsRestore/1 until "R10B";
    87 bs_init BsInit/2 until "R9C";
    88 bs_final BsFinal/2 until "R9C";
    89 bs_put_integer BsPutInteger(Fail, Source, Unit, Count, Source) [plain, fills_binary]; // fail, size, unit, flags, source
    90 bs_put_binary BsPutBinary(Fail, Source, Unit, Count, Source) [plain, fills_binary]; // fail, size, unit, flags, source
    91 bs_put_float BsPutFloat(Fail, Source, Unit, Count, Source) [plain, fills_binary]; // fail, size, unit, flags, source
    92 bs_put_string BsPutString(Count, Count) [plain, fills_binary]; // bytes, offset in the string table
    93 bs_need_buf BsNeedBuf/1 until "R9C";
    94 fclearerror Fclearerror() [plain]; // nothing since OTP 24
    95 fcheckerror Fcheckerror(Place) [plain]; // fail; nothing since OTP 24
    96 fmove Fmove(AnySource, AnyRegister); // source, destination; one of them a float register
    97 fconv Fconv(Source, WriteFloat) [plain]; // source, float register
    98 fadd Fadd(Fail, ReadFloat, ReadFloat, WriteFloat) [plain]; // fail, left, right, destination
    99 fsub Fsub(Fail, ReadFloat, ReadFloat, WriteFloat) [plain]; // fail, left, right, destination
    100 fmul Fmul(Fail, ReadFloat, ReadFloat, WriteFloat) [plain]; // fail, left, right, destination
    101 fdiv Fdiv(Fail, ReadFloat, ReadFloat, WriteFloat) [plain]; // fail, left, right, destination
    102 fnegate Fnegate(Fail, ReadFloat, WriteFloat) [plain]; // fail, source, destination
    103 make_fun2 MakeFun2(Lambda); // lambda; free variables in X0..
    104 try Try(Y, Place) [quiet]; // Y register, handler
    105 try_end TryEnd(Y) [quiet]; // Y register
    106 try_case TryCase(Y) [quiet]; // Y register; class, reason and trace to X0..X2
    107 try_case_end TryCaseEnd(Source) [plain, raises]; // value
    108 raise BifExit(Source, Source) [plain, raises]; // trace, reason
    109 bs_init2 BsInit2(Fail, Size, Heap, Live, Count, Target) [plain, starts_binary]; // fail, bytes, heap need, live, flags, destination
    110 bs_bits_to_bytes BsBitsToBytes/3 until "R10B";
    111 bs_add BsAdd(Fail, Source, Source, Unit, Target) [plain]; // fail, left, right, unit, destination
    112 apply Apply(Arity); // arity; module and function in X[arity], X[arity+1]
    113 apply_last ApplyLast(Arity, FrameWords); // arity, frame words
    114 is_boolean IsBoolean(Jump, Source) [plain, quiet]; // fail, source
    115 is_function2 IsFunction2(Jump, Source, Source) [plain]; // fail, source, arity
    116 bs_start_match2 BsStartMatch2/5 until "OTP 21";
    117 bs_get_integer2 BsGetInteger2(Jump, Context, Live, Source, Unit, Count, Target) [plain]; // fail, context, live, size, unit, flags, destination
    118 bs_get_float2 BsGetFloat2(Jump, Context, Live, Source, Unit, Count, Target) [plain]; // fail, context, live, size, unit, flags, destination
    119 bs_get_binary2 BsGetBinary2(Jump, Context, Live, Source, Unit, Count, Target) [plain]; // fail, context, live, size, unit, flags, destination
    120 bs_skip_bits2 BsSkipBits2(Jump, Context, Source, Unit, Count) [plain]; // fail, context, size, unit, flags
    121 bs_test_tail2 BsTestTail2(Jump, Context, Extent) [plain]; // fail, context, bits
    122 bs_save2 BsSave2/2 until "OTP 21";
    123 bs_restore2 BsRestore2/2 until "OTP 21";
    124 gc_bif1 GcBif1(Fail, Live, Import, Source, Target) [plain, guard]; // fail, live, import, source, destination
    125 gc_bif2 GcBif2(Fail, Live, Import, Source, Source, Target) [plain, guard]; // fail, live, import, source, source, destination
    126 bs_final2 BsFinal2/2 until "R11B";
    127 bs_bits_to_bytes2 BsBitsToBytes2/2 until "R11B";
    128 put_literal PutLiteral/2 until "R11B";
    129 is_bitstr IsBitstr(Jump, MaybeContext) [plain, quiet]; // fail, source
    130 bs_context_to_binary BsContextToBinary/1 until "OTP 21";
    131 bs_test_unit BsTestUnit(Jump, Context, Unit) [plain]; // fail, context, unit
    132 bs_match_string BsMatchString(Jump, Context, Count, Count) [plain]; // fail, context, bits, offset in the string table
    133 bs_init_writable BsInitWritable(); // X0 is the size, then the binary
    134 bs_append BsAppend(Fail, Source, Heap, Live, Unit, Source, Count, Target) [plain, starts_binary]; // fail, bits, heap need, live, unit, binary, flags, destination
    135 bs_private_append BsPrivateAppend(Fail, Source, Unit, Source, Count, Target) [plain, starts_binary]; // fail, bits, unit, binary, flags, destination
    136 trim Trim(FrameWords, FrameWords) [quiet]; // words to drop, words that remain
    137 bs_init_bits BsInitBits(Fail, Size, Heap, Live, Count, Target) [plain, starts_binary]; // fail, bits, heap need, live, flags, destination
    138 bs_get_utf8 BsGetUtf8(Jump, Context, Live, Count, Target) [plain]; // fail, context, live, flags, destination
    139 bs_skip_utf8 BsSkipUtf8(Jump, Context, Live, Count) [plain]; // fail, context, live, flags
    140 bs_get_utf16 BsGetUtf16(Jump, Context, Live, Count, Target) [plain]; // fail, context, live, flags, destination
    141 bs_skip_utf16 BsSkipUtf16(Jump, Context, Live, Count) [plain]; // fail, context, live, flags
    142 bs_get_utf32 BsGetUtf32(Jump, Context, Live, Count, Target) [plain]; // fail, context, live, flags, destination
    143 bs_skip_utf32 BsSkipUtf32(Jump, Context, Live, Count) [plain]; // fail, context, live, flags
    144 bs_utf8_size BsUtf8Size(Fail, Source, Target) [plain]; // fail, source, destination
    145 bs_put_utf8 BsPutUtf8(Fail, Count, Source) [plain, fills_binary]; // fail, flags, source
    146 bs_utf16_size BsUtf16Size(Fail, Source, Target) [plain]; // fail, source, destination
    147 bs_put_utf16 BsPutUtf16(Fail, Count, Source) [plain, fills_binary]; // fail, flags, source
    148 bs_put_utf32 BsPutUtf32(Fail, Count, Source) [plain, fills_binary]; // fail, flags, source
    149 on_load OnLoad() [plain, quiet]; // marks the function to run when the module is loaded
    150 recv_mark RecvMark(Place) [plain]; // label; superseded in OTP 24
    151 recv_set RecvSet(Place) [plain]; // label; superseded in OTP 24
    152 gc_bif3 GcBif3(Fail, Live, Import, Source, Source, Source, Target) [plain, guard]; // fail, live, import, source, source, source, destination
    153 line Line(Line) [plain, quiet, moves]; // index of the line table
    154 put_map_assoc PutMapAssoc(Fail, Source, Target, Live, SourcePairs) [plain]; // fail, map, destination, live, [key, value ...]
    155 put_map_exact PutMapExact(Fail, Source, Target, Live, SourcePairs) [plain]; // fail, map, destination, live, [key, value ...]
    156 is_map IsMap(Jump, Source) [plain, quiet]; // fail, source
    157 has_map_fields HasMapFields(Jump, Source, Sources) [plain]; // fail, map, [key ...]
    158 get_map_elements GetMapElements(Jump, Source, SourceAndTarget) [plain]; // fail, map, [key, destination ...]
    159 is_tagged_tuple IsTaggedTuple(Jump, Source, Count, Atom) [plain, quiet]; // fail, source, arity, atom
    160 build_stacktrace BuildStacktrace(); // X0 from raw to readable
    161 raw_raise RawRaise(); // class, reason and raw trace in X0..X2
    162 get_hd GetHd(Register, Target) [plain]; // source, head
    163 get_tl GetTl(Register, Target) [plain]; // source, tail
    164 put_tuple2 PutTuple2(Target, Sources) [quiet]; // destination, [element ...]
    165 bs_get_tail BsGetTail(Context, Target, Live) [plain]; // context, destination, live
    166 bs_start_match3 BsStartMatch3(Jump, MaybeContext, Live, NewContext) [plain]; // fail, source, live, destination
    167 bs_get_position BsGetPosition(Context, Target, Live) [plain]; // context, destination, live
    168 bs_set_position BsSetPosition(Context, Source) [plain]; // context, position
    169 swap Swap(ReadWrite, ReadWrite) [quiet, moves]; // register, register
    170 bs_start_match4 BsStartMatch4(Start, Live, MaybeContext, NewContext) [plain]; // fail (or no_fail, resume), live, source, destination
    171 make_fun3 MakeFun3(Lambda, Target, Sources) [plain]; // lambda, destination, [free variable ...]
    172 init_yregs InitYregs(WriteYs) [plain, quiet]; // [Y register ...]
    173 recv_marker_bind RecvMarkerBind(Register, Register) [plain]; // marker, reference
    174 recv_marker_clear RecvMarkerClear(Register) [plain]; // reference
    175 recv_marker_reserve RecvMarkerReserve(Target) [plain]; // destination
    176 recv_marker_use RecvMarkerUse(Register); // reference
    177 bs_create_bin BsCreateBin(Fail, Heap, Live, Count, Target, Segments) [plain]; // fail, heap need, live, unit, destination, [type, segment, unit, flags, value, size ...]
    178 call_fun2 CallFun2(FunTag, Arity, Source); // label or tag, arity, fun
    179 nif_start NifStart() [plain, quiet]; // marks a function that a NIF may replace
    180 badrecord Badrecord(Source) [plain, raises]; // value
    181 update_record UpdateRecord(Atom, Count, Source, Target, Updates); // hint, arity, source, destination, [index from 1, value ...]
    182 bs_match BsMatch(Jump, Context, Commands); // fail, context, [command ...]
    183 executable_line ExecutableLine(Line, Any) [plain, quiet]; // line, index
    184 debug_line DebugLine(Any, Line, Any, Any) [plain, quiet]; // kind, line, index, live
    185 bif3 Bif3(Fail, Import, Source, Source, Source, Target) [plain, guard]; // fail, import, source, source, source, destination
    186 is_any_native_record IsAnyNativeRecord(Jump, Source) [plain, quiet]; // fail, source
    187 is_native_record IsNativeRecord(Jump, Source, Atom, Atom) [plain]; // fail, source, module, name
    188 get_record_elements GetRecordElements(Jump, Source, SourceAndTarget) [plain]; // fail, record, [field, destination ...]
    189 put_record PutRecord(Fail, Source, Source, Target, Live, SourcePairs) [plain]; // 0, name or {module, name}, record or nil, destination, live, [field, value ...]
    190 is_record_accessible IsRecordAccessible(Jump, Source, Atom) [plain]; // fail, record, external or auto_local
    191 get_record_field GetRecordField(Fail, Source, Source, Atom, Target) [plain, guard]; // fail, record, name or {module, name} or '_', field, destination
}

// The tables are indexed by number - 1.
const _: () = {
    let mut index = 0;
    while index < OPCODES.len() {
        assert!(OPCODES[index] as usize == index + 1, "opcode numbers must be consecutive from 1");
        index += 1;
    }
};

/// The highest number that this table knows.
pub const OPCODE_MAX: u8 = OPCODES.len() as u8;

impl Opcode {
    /// The instruction with this number, if there is one.
    #[inline]
    pub fn from_number(number: u8) -> Option<Opcode> {
        OPCODES.get(usize::from(number).wrapping_sub(1)).copied()
    }

    /// OTP's name, as in `bs_get_integer2`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize - 1]
    }

    /// How many operands follow in the Code chunk.
    #[inline]
    pub fn arity(self) -> usize {
        KINDS[self as usize - 1].len() + usize::from(OBSOLETE_ARITIES[self as usize - 1])
    }

    /// What its operands have to be; nothing is known of obsolete instructions.
    #[inline]
    pub(crate) fn kinds(self) -> &'static [OperandKind] {
        KINDS[self as usize - 1]
    }

    #[inline]
    pub(crate) fn traits(self) -> Traits {
        TRAITS[self as usize - 1]
    }

    /// The last release whose compiler emitted this instruction, if it is one we no longer run.
    #[inline]
    pub fn last_release(self) -> Option<&'static str> {
        OBSOLETE_SINCE[self as usize - 1]
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_arities_agree_with_genop_tab() {
        assert_eq!(OPCODE_MAX, 191);
        assert_eq!(Opcode::from_number(0), None);
        assert_eq!(Opcode::from_number(192), None);
        for (number, name, arity) in [
            (1, "label", 1),
            (64, "move", 2),
            (134, "bs_append", 8),
            (177, "bs_create_bin", 6),
            (181, "update_record", 5),
        ] {
            let opcode = Opcode::from_number(number).unwrap();
            assert_eq!((opcode.name(), opcode.arity()), (name, arity));
        }
    }

    #[test]
    fn obsolete_instructions_name_their_release() {
        assert_eq!(Opcode::PutTuple.last_release(), Some("OTP 21"));
        assert_eq!(Opcode::PutTuple2.last_release(), None);
    }
}
