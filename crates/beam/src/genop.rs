//! The generic instruction set: what the compilers of OTP R12 to 28 put into a Code chunk.
//!
//! One line an instruction: number, name in OTP, name here, number of operands, and the operands.
//! `until` marks an instruction that no supported compiler emits, with the last release that did.
//! The numbers are those of OTP's `lib/compiler/src/genop.tab`.

use std::fmt;

macro_rules! opcodes {
    ($($number:literal $name:ident $variant:ident / $arity:literal $(until $release:literal)?;)*) => {
        /// A generic instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Opcode {
            $($variant = $number,)*
        }

        const OPCODES: &[Opcode] = &[$(Opcode::$variant,)*];
        const NAMES: &[&str] = &[$(stringify!($name),)*];
        const ARITIES: &[u8] = &[$($arity,)*];
        const OBSOLETE_SINCE: &[Option<&str>] = &[$(last_release!($($release)?),)*];
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

opcodes! {
    1 label Label/1; // number
    2 func_info FuncInfo/3; // module, function, arity: raise function_clause
    3 int_code_end IntCodeEnd/0; // end of the code
    4 call Call/2; // arity, label
    5 call_last CallLast/3; // arity, label, frame words
    6 call_only CallOnly/2; // arity, label
    7 call_ext CallExt/2; // arity, import
    8 call_ext_last CallExtLast/3; // arity, import, frame words
    9 bif0 Bif0/2; // import, destination
    10 bif1 Bif1/4; // fail, import, source, destination
    11 bif2 Bif2/5; // fail, import, source, source, destination
    12 allocate Allocate/2; // frame words, live
    13 allocate_heap AllocateHeap/3; // frame words, heap need, live
    14 allocate_zero AllocateZero/2; // frame words, live
    15 allocate_heap_zero AllocateHeapZero/3; // frame words, heap need, live
    16 test_heap TestHeap/2; // heap need, live
    17 init Init/1; // Y register
    18 deallocate Deallocate/1; // frame words
    19 return Return/0; // to the caller with X0
    20 send Send/0; // X0 ! X1
    21 remove_message RemoveMessage/0; // take the current message out of the mailbox
    22 timeout Timeout/0; // reset the mailbox position after a timeout
    23 loop_rec LoopRec/2; // label when empty, destination of the current message
    24 loop_rec_end LoopRecEnd/1; // label of the loop; step to the next message
    25 wait Wait/1; // label of the loop
    26 wait_timeout WaitTimeout/2; // label of the loop, milliseconds
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
    39 is_lt IsLt/3; // fail, left, right
    40 is_ge IsGe/3; // fail, left, right
    41 is_eq IsEq/3; // fail, left, right
    42 is_ne IsNe/3; // fail, left, right
    43 is_eq_exact IsEqExact/3; // fail, left, right
    44 is_ne_exact IsNeExact/3; // fail, left, right
    45 is_integer IsInteger/2; // fail, source
    46 is_float IsFloat/2; // fail, source
    47 is_number IsNumber/2; // fail, source
    48 is_atom IsAtom/2; // fail, source
    49 is_pid IsPid/2; // fail, source
    50 is_reference IsReference/2; // fail, source
    51 is_port IsPort/2; // fail, source
    52 is_nil IsNil/2; // fail, source
    53 is_binary IsBinary/2; // fail, source
    54 is_constant IsConstant/2 until "R13B";
    55 is_list IsList/2; // fail, source
    56 is_nonempty_list IsNonemptyList/2; // fail, source
    57 is_tuple IsTuple/2; // fail, source
    58 test_arity TestArity/3; // fail, tuple, arity
    59 select_val SelectVal/3; // source, fail, [value, label ...]
    60 select_tuple_arity SelectTupleArity/3; // tuple, fail, [arity, label ...]
    61 jump Jump/1; // label
    62 catch Catch/2; // Y register, handler
    63 catch_end CatchEnd/1; // Y register
    64 move Move/2; // source, destination
    65 get_list GetList/3; // source, head, tail
    66 get_tuple_element GetTupleElement/3; // source, index from 0, destination
    67 set_tuple_element SetTupleElement/3; // value, tuple, index from 0
    68 put_string PutString/3 until "OTP 18";
    69 put_list PutList/3; // head, tail, destination
    70 put_tuple PutTuple/2 until "OTP 21";
    71 put Put/1 until "OTP 21";
    72 badmatch Badmatch/1; // value
    73 if_end IfEnd/0; // raise if_clause
    74 case_end CaseEnd/1; // value
    75 call_fun CallFun/1; // arity; the fun is in X[arity]
    76 make_fun MakeFun/3 until "R7B";
    77 is_function IsFunction/2; // fail, source
    78 call_ext_only CallExtOnly/2; // arity, import
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
    89 bs_put_integer BsPutInteger/5; // fail, size, unit, flags, source
    90 bs_put_binary BsPutBinary/5; // fail, size, unit, flags, source
    91 bs_put_float BsPutFloat/5; // fail, size, unit, flags, source
    92 bs_put_string BsPutString/2; // bytes, offset in the string table
    93 bs_need_buf BsNeedBuf/1 until "R9C";
    94 fclearerror Fclearerror/0; // nothing since OTP 24
    95 fcheckerror Fcheckerror/1; // fail; nothing since OTP 24
    96 fmove Fmove/2; // source, destination; one of them a float register
    97 fconv Fconv/2; // source, float register
    98 fadd Fadd/4; // fail, left, right, destination
    99 fsub Fsub/4; // fail, left, right, destination
    100 fmul Fmul/4; // fail, left, right, destination
    101 fdiv Fdiv/4; // fail, left, right, destination
    102 fnegate Fnegate/3; // fail, source, destination
    103 make_fun2 MakeFun2/1; // lambda; free variables in X0..
    104 try Try/2; // Y register, handler
    105 try_end TryEnd/1; // Y register
    106 try_case TryCase/1; // Y register; class, reason and trace to X0..X2
    107 try_case_end TryCaseEnd/1; // value
    108 raise Raise/2; // trace, reason
    109 bs_init2 BsInit2/6; // fail, bytes, heap need, live, flags, destination
    110 bs_bits_to_bytes BsBitsToBytes/3 until "R10B";
    111 bs_add BsAdd/5; // fail, left, right, unit, destination
    112 apply Apply/1; // arity; module and function in X[arity], X[arity+1]
    113 apply_last ApplyLast/2; // arity, frame words
    114 is_boolean IsBoolean/2; // fail, source
    115 is_function2 IsFunction2/3; // fail, source, arity
    116 bs_start_match2 BsStartMatch2/5 until "OTP 21";
    117 bs_get_integer2 BsGetInteger2/7; // fail, context, live, size, unit, flags, destination
    118 bs_get_float2 BsGetFloat2/7; // fail, context, live, size, unit, flags, destination
    119 bs_get_binary2 BsGetBinary2/7; // fail, context, live, size, unit, flags, destination
    120 bs_skip_bits2 BsSkipBits2/5; // fail, context, size, unit, flags
    121 bs_test_tail2 BsTestTail2/3; // fail, context, bits
    122 bs_save2 BsSave2/2 until "OTP 21";
    123 bs_restore2 BsRestore2/2 until "OTP 21";
    124 gc_bif1 GcBif1/5; // fail, live, import, source, destination
    125 gc_bif2 GcBif2/6; // fail, live, import, source, source, destination
    126 bs_final2 BsFinal2/2 until "R11B";
    127 bs_bits_to_bytes2 BsBitsToBytes2/2 until "R11B";
    128 put_literal PutLiteral/2 until "R11B";
    129 is_bitstr IsBitstr/2; // fail, source
    130 bs_context_to_binary BsContextToBinary/1 until "OTP 21";
    131 bs_test_unit BsTestUnit/3; // fail, context, unit
    132 bs_match_string BsMatchString/4; // fail, context, bits, offset in the string table
    133 bs_init_writable BsInitWritable/0; // X0 is the size, then the binary
    134 bs_append BsAppend/8; // fail, bits, heap need, live, unit, binary, flags, destination
    135 bs_private_append BsPrivateAppend/6; // fail, bits, unit, binary, flags, destination
    136 trim Trim/2; // words to drop, words that remain
    137 bs_init_bits BsInitBits/6; // fail, bits, heap need, live, flags, destination
    138 bs_get_utf8 BsGetUtf8/5; // fail, context, live, flags, destination
    139 bs_skip_utf8 BsSkipUtf8/4; // fail, context, live, flags
    140 bs_get_utf16 BsGetUtf16/5; // fail, context, live, flags, destination
    141 bs_skip_utf16 BsSkipUtf16/4; // fail, context, live, flags
    142 bs_get_utf32 BsGetUtf32/5; // fail, context, live, flags, destination
    143 bs_skip_utf32 BsSkipUtf32/4; // fail, context, live, flags
    144 bs_utf8_size BsUtf8Size/3; // fail, source, destination
    145 bs_put_utf8 BsPutUtf8/3; // fail, flags, source
    146 bs_utf16_size BsUtf16Size/3; // fail, source, destination
    147 bs_put_utf16 BsPutUtf16/3; // fail, flags, source
    148 bs_put_utf32 BsPutUtf32/3; // fail, flags, source
    149 on_load OnLoad/0; // marks the function to run when the module is loaded
    150 recv_mark RecvMark/1; // label; superseded in OTP 24
    151 recv_set RecvSet/1; // label; superseded in OTP 24
    152 gc_bif3 GcBif3/7; // fail, live, import, source, source, source, destination
    153 line Line/1; // index of the line table
    154 put_map_assoc PutMapAssoc/5; // fail, map, destination, live, [key, value ...]
    155 put_map_exact PutMapExact/5; // fail, map, destination, live, [key, value ...]
    156 is_map IsMap/2; // fail, source
    157 has_map_fields HasMapFields/3; // fail, map, [key ...]
    158 get_map_elements GetMapElements/3; // fail, map, [key, destination ...]
    159 is_tagged_tuple IsTaggedTuple/4; // fail, source, arity, atom
    160 build_stacktrace BuildStacktrace/0; // X0 from raw to readable
    161 raw_raise RawRaise/0; // class, reason and raw trace in X0..X2
    162 get_hd GetHd/2; // source, head
    163 get_tl GetTl/2; // source, tail
    164 put_tuple2 PutTuple2/2; // destination, [element ...]
    165 bs_get_tail BsGetTail/3; // context, destination, live
    166 bs_start_match3 BsStartMatch3/4; // fail, source, live, destination
    167 bs_get_position BsGetPosition/3; // context, destination, live
    168 bs_set_position BsSetPosition/2; // context, position
    169 swap Swap/2; // register, register
    170 bs_start_match4 BsStartMatch4/4; // fail (or no_fail, resume), live, source, destination
    171 make_fun3 MakeFun3/3; // lambda, destination, [free variable ...]
    172 init_yregs InitYregs/1; // [Y register ...]
    173 recv_marker_bind RecvMarkerBind/2; // marker, reference
    174 recv_marker_clear RecvMarkerClear/1; // reference
    175 recv_marker_reserve RecvMarkerReserve/1; // destination
    176 recv_marker_use RecvMarkerUse/1; // reference
    177 bs_create_bin BsCreateBin/6; // fail, heap need, live, unit, destination, [type, segment, unit, flags, value, size ...]
    178 call_fun2 CallFun2/3; // label or tag, arity, fun
    179 nif_start NifStart/0; // marks a function that a NIF may replace
    180 badrecord Badrecord/1; // value
    181 update_record UpdateRecord/5; // hint, arity, source, destination, [index from 1, value ...]
    182 bs_match BsMatch/3; // fail, context, [command ...]
    183 executable_line ExecutableLine/2; // line, index
    184 debug_line DebugLine/4; // kind, line, index, live
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
        usize::from(ARITIES[self as usize - 1])
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
        assert_eq!(OPCODE_MAX, 184);
        assert_eq!(Opcode::from_number(0), None);
        assert_eq!(Opcode::from_number(185), None);
        for (number, name, arity) in [(1, "label", 1), (64, "move", 2), (134, "bs_append", 8), (177, "bs_create_bin", 6), (181, "update_record", 5)] {
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
