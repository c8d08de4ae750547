//! Building and matching bitstrings.

use super::operands::{label, narrow, unsigned};
use super::{Build, Linker, RESULT_WORDS, Specialiser};
use crate::decode::{Op, Operand};
use crate::error::BeamError;
use crate::genop::Opcode;
use crate::instr::*;
use swarmrt_term::{Atom, Mfa, atom};

/// A number of bits that a bitstring is compared with; clamped to one that no bitstring has, so
/// that sums stay in range.
pub(super) fn extent_bits(size: u64, unit: u64) -> u64 {
    const BITS_MAX: u64 = 1 << 60;
    size.saturating_mul(unit).min(BITS_MAX)
}

/// The register with the binary that the instruction at `at` puts a segment into, where others than
/// such stand between it and the one before: the compiler of OTP 22 takes the rest of another
/// binary there.
pub(crate) fn interrupted_construction(ops: &[Op], at: usize) -> Option<&Operand> {
    let before = ops[..at].iter().rev();
    let is_interruption =
        |op: &&Op| matches!(op.opcode, Opcode::BsSetPosition | Opcode::BsGetTail | Opcode::Line);
    let interruptions =
        before.clone().take_while(is_interruption).filter(|op| op.opcode != Opcode::Line).count();
    let is_inside = |op: &&Op| is_interruption(op) || op.opcode.traits().fills_binary;
    let start = before.clone().find(|op| !is_inside(op)).filter(|_| interruptions > 0)?;
    match start.opcode {
        Opcode::BsAppend => Some(&start.args[7]),
        Opcode::BsInit2 | Opcode::BsInitBits | Opcode::BsPrivateAppend => Some(&start.args[5]),
        _ => None,
    }
}

impl<L: Linker> Specialiser<'_, L> {
    pub(super) fn no_size(&mut self, dst: &Operand) {
        let value = self.src(&Operand::Int(0));
        self.emit(Instr::Move { src: value, dst: Self::dst(dst) });
    }
    /// `bs_add`: a size, and another times a unit. Only the check of the operands matters where a
    /// binary is built with it.
    pub(super) fn size_sum(&mut self, op: &Op) -> Build {
        let args = &op.args;
        let mfa = Mfa { module: atom!("erts_internal"), function: atom!("bs_add"), arity: 3 };
        let Some(bif) = self.linker.bif(mfa).filter(|&bif| self.linker.is_guard(bif)) else {
            return Err(BeamError::missing_guard_bif("erts_internal", "bs_add", 3, op.offset));
        };
        let sources = [&args[1], &args[2], &args[3]].map(|operand| self.src(operand));
        let sources = self.table(sources);
        self.emit(Instr::Bif3 { bif, dst: Self::dst(&args[4]), args: sources });
        let fail = label(&args[0]);
        if fail != 0 {
            self.jump(Instr::Fail { target: fail });
        }
        Ok(())
    }
    /// The construction of a binary as compilers before OTP 25 wrote it, one instruction a segment,
    /// becomes one plan; the size given up front is not needed for it.
    pub(super) fn construction(&mut self, ops: &[Op], at: usize) -> Result<usize, BeamError> {
        use Opcode as G;
        let op = &ops[at];
        let args = &op.args;
        let (heap, live, dst) = match op.opcode {
            G::BsAppend => (Self::heap_words(&args[2]), unsigned(&args[3]), &args[7]),
            G::BsPrivateAppend => (0, 0, &args[5]),
            _ => (Self::heap_words(&args[2]), unsigned(&args[3]), &args[5]),
        };
        if heap > 0 {
            self.emit(Instr::TestHeap { words: heap + RESULT_WORDS, live: live as u16 });
        }
        let mut segments = Vec::new();
        let source = match op.opcode {
            G::BsAppend => Some((SegmentKind::Append, &args[4], &args[5])),
            G::BsPrivateAppend => Some((SegmentKind::PrivateAppend, &args[2], &args[3])),
            _ => None,
        };
        if let Some((kind, unit, value)) = source {
            let value = self.src(value);
            segments.push(Segment {
                kind,
                unit: (unsigned(unit) as u32).max(1),
                flags: 0,
                value,
                size: None,
                bytes: Box::default(),
                number: 1,
            });
        }
        let used = 1 + self.segments(ops, at + 1, &mut segments)?;
        let plan = self.table(BinaryPlan {
            fail: label(&args[0]),
            dst: Self::dst(dst),
            segments: segments.into(),
        });
        self.jump(Instr::BsCreateBin { plan });
        Ok(used)
    }
    /// What follows on an interruption of a construction (see [`interrupted_construction`]): the
    /// binary so far gets longer.
    pub(super) fn continuation(&mut self, ops: &[Op], at: usize) -> Result<usize, BeamError> {
        let op = &ops[at];
        let binary = interrupted_construction(ops, at).ok_or_else(|| self.unsupported(op))?;
        let value = self.src(binary);
        let mut segments = vec![Segment {
            kind: SegmentKind::Append,
            unit: 1,
            flags: 0,
            value,
            size: None,
            bytes: Box::default(),
            number: 1,
        }];
        let used = self.segments(ops, at, &mut segments)?;
        let fail = if op.opcode == Opcode::BsPutString { 0 } else { label(&op.args[0]) };
        let plan =
            self.table(BinaryPlan { fail, dst: Self::dst(binary), segments: segments.into() });
        self.jump(Instr::BsCreateBin { plan });
        Ok(used)
    }
    /// The segments that are put by the instructions from one on; how many instructions these are.
    pub(super) fn segments(
        &mut self,
        ops: &[Op],
        at: usize,
        segments: &mut Vec<Segment>,
    ) -> Result<usize, BeamError> {
        use Opcode as G;
        let mut used = 0;
        while let Some(put) = ops.get(at + used) {
            let number = segments.len() as u32 + 1;
            let kind = match put.opcode {
                G::BsPutInteger => SegmentKind::Integer,
                G::BsPutBinary => SegmentKind::Binary,
                G::BsPutFloat => SegmentKind::Float,
                G::BsPutString => SegmentKind::String,
                G::BsPutUtf8 => SegmentKind::Utf8,
                G::BsPutUtf16 => SegmentKind::Utf16,
                G::BsPutUtf32 => SegmentKind::Utf32,
                G::Line => {
                    used += 1;
                    continue;
                }
                _ => break,
            };
            let args = &put.args;
            let segment = match kind {
                SegmentKind::String => {
                    let (size, offset) = (unsigned(&args[0]) as usize, unsigned(&args[1]) as usize);
                    let bytes = self
                        .file
                        .strings
                        .get(offset..offset.saturating_add(size))
                        .ok_or_else(|| self.unsupported(put))?
                        .into();
                    Segment {
                        kind,
                        unit: 8,
                        flags: 0,
                        value: Src::small(0),
                        size: None,
                        bytes,
                        number,
                    }
                }
                SegmentKind::Utf8 | SegmentKind::Utf16 | SegmentKind::Utf32 => Segment {
                    kind,
                    unit: 1,
                    flags: self.flags(&args[1]),
                    value: self.src(&args[2]),
                    size: None,
                    bytes: Box::default(),
                    number,
                },
                _ => {
                    let size =
                        if self.is_atom(&args[1], "all") { None } else { Some(self.src(&args[1])) };
                    let unit = narrow::<u32>(&args[2]).max(1);
                    Segment {
                        kind,
                        unit,
                        flags: self.flags(&args[3]),
                        value: self.src(&args[4]),
                        size,
                        bytes: Box::default(),
                        number,
                    }
                }
            };
            segments.push(segment);
            used += 1;
        }
        Ok(used)
    }
    /// Flags are written as a list literal or as a number.
    pub(super) fn flags(&self, operand: &Operand) -> u8 {
        let mut flags = 0;
        match operand {
            Operand::Unsigned(value) => flags = *value as u8,
            Operand::Literal(index) => {
                for item in self.literals[*index as usize].list_to_vec().unwrap_or_default() {
                    flags |= match item.as_atom().map(Atom::name) {
                        Some("little") => FLAG_LITTLE,
                        Some("signed") => FLAG_SIGNED,
                        Some("native") => FLAG_NATIVE,
                        _ => 0,
                    };
                }
            }
            _ => {}
        }
        if flags & FLAG_NATIVE != 0 && cfg!(target_endian = "little") {
            flags |= FLAG_LITTLE;
        }
        flags
    }
    pub(super) fn binary_op(&mut self, op: &Op) -> Build {
        let args = &op.args;
        use Opcode as G;
        match op.opcode {
            G::BsStartMatch3 => {
                let src = self.src(&args[1]);
                self.jump(Instr::BsStartMatch {
                    src,
                    dst: Self::dst(&args[3]),
                    fail: label(&args[0]),
                });
            }
            G::BsStartMatch4 => {
                let src = self.src(&args[2]);
                self.jump(Instr::BsStartMatch {
                    src,
                    dst: Self::dst(&args[3]),
                    fail: label(&args[0]),
                });
            }
            G::BsGetInteger2 | G::BsGetFloat2 => {
                let size = self.src(&args[3]);
                let (context, dst, fail) =
                    (Self::dst(&args[1]), Self::dst(&args[6]), label(&args[0]));
                let unit = (unsigned(&args[4]).max(1) - 1) as u8;
                let flags = self.flags(&args[5]);
                self.jump(if op.opcode == G::BsGetInteger2 {
                    Instr::BsGetInteger { flags, unit, context, size, dst, fail }
                } else {
                    Instr::BsGetFloat { flags, unit, context, size, dst, fail }
                });
            }
            G::BsGetBinary2 => {
                let (context, dst, fail) =
                    (Self::dst(&args[1]), Self::dst(&args[6]), label(&args[0]));
                let unit = unsigned(&args[4]).max(1);
                if self.is_atom(&args[3], "all") {
                    self.jump(Instr::BsGetRest { unit: unit as u16, context, dst, fail });
                } else {
                    let size = self.src(&args[3]);
                    self.jump(Instr::BsGetBinary {
                        unit: (unit - 1) as u8,
                        context,
                        size,
                        dst,
                        fail,
                    });
                }
            }
            G::BsSkipBits2 => {
                let (context, fail) = (Self::dst(&args[1]), label(&args[0]));
                let unit = unsigned(&args[3]).max(1);
                if self.is_atom(&args[2], "all") {
                    self.jump(Instr::BsSkipRest { unit: unit as u16, context, fail });
                } else {
                    let size = self.src(&args[2]);
                    self.jump(Instr::BsSkip { unit: (unit - 1) as u8, context, size, fail });
                }
            }
            G::BsTestTail2 => {
                self.jump(Instr::BsTestTail {
                    context: Self::dst(&args[1]),
                    bits: extent_bits(unsigned(&args[2]), 1),
                    fail: label(&args[0]),
                });
            }
            G::BsTestUnit => {
                self.jump(Instr::BsTestUnit {
                    context: Self::dst(&args[1]),
                    unit: unsigned(&args[2]).max(1) as u16,
                    fail: label(&args[0]),
                });
            }
            G::BsMatchString => {
                let bits = unsigned(&args[2]) as usize;
                let offset = unsigned(&args[3]) as usize;
                let bytes = self
                    .file
                    .strings
                    .get(offset..offset + bits.div_ceil(8))
                    .ok_or_else(|| self.unsupported(op))?;
                let bits = self.table((bits as u32, bytes.into()));
                self.jump(Instr::BsMatchString {
                    context: Self::dst(&args[1]),
                    bits,
                    fail: label(&args[0]),
                });
            }
            G::BsGetUtf8 | G::BsGetUtf16 | G::BsGetUtf32 => {
                let utf = match op.opcode {
                    G::BsGetUtf8 => Utf::Utf8,
                    G::BsGetUtf16 => Utf::Utf16,
                    _ => Utf::Utf32,
                };
                let flags = self.flags(&args[3]);
                self.jump(Instr::BsGetUtf {
                    utf,
                    flags,
                    context: Self::dst(&args[1]),
                    dst: Self::dst(&args[4]),
                    fail: label(&args[0]),
                });
            }
            G::BsSkipUtf8 | G::BsSkipUtf16 | G::BsSkipUtf32 => {
                let utf = match op.opcode {
                    G::BsSkipUtf8 => Utf::Utf8,
                    G::BsSkipUtf16 => Utf::Utf16,
                    _ => Utf::Utf32,
                };
                let flags = self.flags(&args[3]);
                self.jump(Instr::BsSkipUtf {
                    utf,
                    flags,
                    context: Self::dst(&args[1]),
                    fail: label(&args[0]),
                });
            }
            G::BsGetTail => self
                .emit(Instr::BsGetTail { context: Self::dst(&args[0]), dst: Self::dst(&args[1]) }),
            G::BsGetPosition => self.emit(Instr::BsGetPosition {
                context: Self::dst(&args[0]),
                dst: Self::dst(&args[1]),
            }),
            G::BsSetPosition => {
                let position = self.src(&args[1]);
                self.emit(Instr::BsSetPosition { context: Self::dst(&args[0]), position });
            }
            G::BsMatch => self.bs_match(op)?,
            G::BsCreateBin => self.bs_create_bin(op)?,
            G::BsInitWritable => self.emit(Instr::BsInitWritable),
            _ => return Err(self.unsupported(op)),
        }
        Ok(())
    }
    pub(super) fn bs_match(&mut self, op: &Op) -> Build {
        let items = Self::list(&op.args[2]);
        let mut steps = Vec::new();
        let mut at = 0;
        while at < items.len() {
            let Operand::Atom(name) = items[at] else { return Err(self.unsupported(op)) };
            let rest = &items[at + 1..];
            let number = |index: usize| rest.get(index).map_or(0, unsigned);
            let bits = |size: usize| extent_bits(number(size), 1) as usize;
            let units = |size: usize| extent_bits(number(size), number(size + 1)) as usize;
            let (step, used) = match self.atoms[name as usize].name() {
                "ensure_at_least" => {
                    (MatchStep::EnsureAtLeast { bits: bits(0), unit: number(1).max(1) as usize }, 2)
                }
                "ensure_exactly" => (MatchStep::EnsureExactly { bits: bits(0) }, 1),
                "binary" if rest.len() >= 5 => {
                    (MatchStep::Binary { bits: units(2), dst: Self::dst(&rest[4]) }, 5)
                }
                "integer" if rest.len() >= 5 => (
                    MatchStep::Integer {
                        bits: units(2),
                        flags: self.flags(&rest[1]),
                        dst: Self::dst(&rest[4]),
                    },
                    5,
                ),
                "skip" => (MatchStep::Skip { bits: bits(0) }, 1),
                "get_tail" if rest.len() >= 3 => {
                    (MatchStep::GetTail { dst: Self::dst(&rest[2]) }, 3)
                }
                "=:=" if rest.len() >= 3 => {
                    (MatchStep::Equals { bits: bits(1), value: self.src(&rest[2]) }, 3)
                }
                _ => return Err(self.unsupported(op)),
            };
            steps.push(step);
            at += 1 + used;
        }
        let context = self.src(&op.args[1]);
        let plan = self.table(MatchPlan { fail: label(&op.args[0]), context, steps: steps.into() });
        self.jump(Instr::BsMatch { plan });
        Ok(())
    }
    pub(super) fn bs_create_bin(&mut self, op: &Op) -> Build {
        let args = &op.args;
        let heap = Self::heap_words(&args[1]);
        if heap > 0 {
            self.emit(Instr::TestHeap { words: heap + RESULT_WORDS, live: narrow(&args[2]) });
        }
        let mut segments = Vec::new();
        for item in Self::list(&args[5]).chunks_exact(6) {
            let Operand::Atom(name) = item[0] else { return Err(self.unsupported(op)) };
            let kind = match self.atoms[name as usize].name() {
                "append" => SegmentKind::Append,
                "private_append" => SegmentKind::PrivateAppend,
                "binary" => SegmentKind::Binary,
                "float" => SegmentKind::Float,
                "integer" => SegmentKind::Integer,
                "string" => SegmentKind::String,
                "utf8" => SegmentKind::Utf8,
                "utf16" => SegmentKind::Utf16,
                "utf32" => SegmentKind::Utf32,
                _ => return Err(self.unsupported(op)),
            };
            let mut bytes: Box<[u8]> = Box::default();
            if kind == SegmentKind::String {
                let (offset, size) = (unsigned(&item[4]) as usize, unsigned(&item[5]) as usize);
                bytes = self
                    .file
                    .strings
                    .get(offset..offset.saturating_add(size))
                    .ok_or_else(|| self.unsupported(op))?
                    .into();
            }
            let absent = matches!(
                kind,
                SegmentKind::String | SegmentKind::Utf8 | SegmentKind::Utf16 | SegmentKind::Utf32
            ) || self.is_atom(&item[5], "all")
                || self.is_atom(&item[5], "undefined");
            let size = if absent { None } else { Some(self.src(&item[5])) };
            let value =
                if kind == SegmentKind::String { Src::small(0) } else { self.src(&item[4]) };
            segments.push(Segment {
                kind,
                unit: (unsigned(&item[2]) as u32).max(1),
                flags: self.flags(&item[3]),
                value,
                size,
                bytes,
                number: unsigned(&item[1]) as u32,
            });
        }
        let plan = BinaryPlan {
            fail: label(&args[0]),
            dst: Self::dst(&args[4]),
            segments: segments.into(),
        };
        let plan = self.table(plan);
        self.jump(Instr::BsCreateBin { plan });
        Ok(())
    }
}
