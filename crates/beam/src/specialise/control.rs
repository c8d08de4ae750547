//! Tests, jumps, moves, calls, selections and guard built-ins.

use super::operands::{label, narrow, unsigned};
use super::{Build, CellKind, Linker, Specialiser};
use crate::decode::{Op, Operand};
use crate::genop::Opcode;
use crate::instr::*;
use crate::verify::NEVER_RETURN;
use swarmrt_term::{Term, am};

/// Whether a jump table for these is small enough.
pub(super) fn dense(values: &[i64]) -> bool {
    let (Some(min), Some(max)) = (values.iter().min(), values.iter().max()) else { return false };
    values.len() >= 3 && max.abs_diff(*min) < values.len() as u64 * 4 + 8
}

impl<L: Linker> Specialiser<'_, L> {
    pub(super) fn jump(&mut self, instr: Instr) {
        self.fixups.push(self.here());
        self.emit(instr);
    }
    pub(super) fn test(&mut self, args: &[Operand], make: impl Fn(Src, i32) -> Instr) {
        let src = self.src(&args[1]);
        self.jump(make(src, label(&args[0])));
    }
    pub(super) fn compare(&mut self, args: &[Operand], make: impl Fn(Src, Src, i32) -> Instr) {
        let a = self.src(&args[1]);
        let b = self.src(&args[2]);
        self.jump(make(a, b, label(&args[0])));
    }
    pub(super) fn raise_with(&mut self, args: &[Operand], make: impl Fn(Src) -> Instr) {
        let src = self.src(&args[0]);
        self.emit(make(src));
    }
    pub(super) fn movement(&mut self, ops: &[Op], at: usize) -> usize {
        let args = &ops[at].args;
        let next = Self::next_is(ops, at, Opcode::Move).map(|op| &op.args);
        let form = |args: &[Operand]| {
            (Self::x_of(&args[0]), Self::y_of(&args[0]), Self::x_of(&args[1]), Self::y_of(&args[1]))
        };
        match (form(args), next.map(|next| form(next))) {
            ((Some(from1), _, Some(to1), _), Some((Some(from2), _, Some(to2), _))) => {
                self.emit(Instr::MoveXX2 { from1, to1, from2, to2 });
                return 2;
            }
            ((Some(from1), _, _, Some(to1)), Some((Some(from2), _, _, Some(to2)))) => {
                self.emit(Instr::MoveXY2 { from1, to1, from2, to2 });
                return 2;
            }
            ((_, Some(from1), Some(to1), _), Some((_, Some(from2), Some(to2), _))) => {
                self.emit(Instr::MoveYX2 { from1, to1, from2, to2 });
                return 2;
            }
            ((Some(from), _, Some(to), _), _) => self.emit(Instr::MoveXX { from, to }),
            ((Some(from), _, _, Some(to)), _) => self.emit(Instr::MoveXY { from, to }),
            ((_, Some(from), Some(to), _), _) => self.emit(Instr::MoveYX { from, to }),
            ((None, None, Some(to), _), _) => {
                let value = self.pool_term(&args[0]).unwrap_or(Term::NIL);
                self.emit(Instr::MoveKX { to, value });
            }
            _ => {
                let src = self.src(&args[0]);
                self.emit(Instr::Move { src, dst: Self::dst(&args[1]) });
            }
        }
        1
    }
    pub(super) fn external_call(&mut self, op: &Op) {
        let args = &op.args;
        let arity = narrow(&args[0]);
        let (export, bif) = self.imports[unsigned(&args[1]) as usize];
        let import = self.file.imports[unsigned(&args[1]) as usize];
        let is_apply = self.atoms[import.module as usize] == am::ERLANG
            && self.atoms[import.function as usize] == am::APPLY;
        let (applies, applies_fun) = (is_apply && arity == 3, is_apply && arity == 2);
        match (op.opcode, bif) {
            (Opcode::CallExt, _) if applies => self.emit(Instr::ApplyArgsCall),
            (Opcode::CallExtLast, _) if applies => {
                self.emit(Instr::ApplyArgsLast { frame: narrow(&args[2]) });
            }
            (Opcode::CallExtOnly, _) if applies => self.emit(Instr::ApplyArgsLast { frame: 0 }),
            (Opcode::CallExt, _) if applies_fun => self.emit(Instr::ApplyFunArgsCall),
            (Opcode::CallExtLast, _) if applies_fun => {
                self.emit(Instr::ApplyFunArgsLast { frame: narrow(&args[2]) });
            }
            (Opcode::CallExtOnly, _) if applies_fun => {
                self.emit(Instr::ApplyFunArgsLast { frame: 0 });
            }
            (Opcode::CallExt, Some(bif)) => self.emit(Instr::CallBif { arity, bif }),
            (Opcode::CallExtLast, Some(bif)) => {
                self.emit(Instr::CallBifLast { arity, bif, frame: narrow(&args[2]) });
            }
            (_, Some(bif)) => self.emit(Instr::CallBifOnly { arity, bif }),
            (Opcode::CallExt, None) => self.emit(Instr::CallExt { arity, export }),
            (Opcode::CallExtLast, None) => {
                self.emit(Instr::CallExtLast { arity, export, frame: narrow(&args[2]) });
            }
            (_, None) => self.emit(Instr::CallExtOnly { arity, export }),
        }
        if op.opcode == Opcode::CallExt {
            self.emit_cell(CellKind::Return);
            let (module, function) =
                (self.atoms[import.module as usize], self.atoms[import.function as usize]);
            if module == am::ERLANG && NEVER_RETURN.contains(&(function.name(), import.arity)) {
                // Whatever comes next does not follow it.
                self.emit(Instr::IfEnd);
            }
        }
    }
    pub(super) fn select_val(&mut self, args: &[Operand]) {
        let src = self.src(&args[0]);
        let fail = label(&args[1]);
        let items = Self::list(&args[2]);
        let values: Vec<Option<Term>> =
            items.chunks_exact(2).map(|pair| self.pool_term(&pair[0])).collect();
        let targets: Vec<i32> = items.chunks_exact(2).map(|pair| label(&pair[1])).collect();
        let smalls: Option<Vec<i64>> =
            values.iter().map(|value| value.and_then(Term::as_small)).collect();
        let select = if let Some(smalls) = smalls.filter(|smalls| dense(smalls)) {
            let min = *smalls.iter().min().expect("dense lists are not empty");
            let max = *smalls.iter().max().expect("dense lists are not empty");
            let mut jumps = vec![fail; (max - min + 1) as usize];
            for (value, target) in smalls.iter().zip(&targets).rev() {
                jumps[(value - min) as usize] = *target;
            }
            Select::Jump { min, targets: jumps.into(), fail }
        } else if values.iter().all(|value| {
            value.is_some_and(|value| value.is_immediate() && !value.is_float_immediate())
        }) {
            let mut pairs: Vec<(u64, i32)> =
                values.iter().flatten().map(|term| term.raw()).zip(targets).collect();
            pairs.sort_by_key(|pair| pair.0);
            pairs.dedup_by_key(|pair| pair.0);
            Select::Search {
                keys: pairs.iter().map(|p| p.0).collect(),
                targets: pairs.iter().map(|p| p.1).collect(),
                fail,
            }
        } else {
            let keys = items.chunks_exact(2).map(|pair| self.src(&pair[0])).collect();
            Select::Each { keys, targets: targets.into(), fail }
        };
        let select = self.table(select);
        self.jump(Instr::SelectVal { src, select });
    }
    /// A built-in in a guard (`fail` is a label) or in a body (0).
    pub(super) fn guard_bif(
        &mut self,
        op: &Op,
        fail: i32,
        import: &Operand,
        operands: &[Operand],
        dst: &Operand,
    ) -> Build {
        let mfa = self.file.imports[unsigned(import) as usize];
        let name = if self.atoms[mfa.module as usize] == am::ERLANG {
            self.atoms[mfa.function as usize].name()
        } else {
            ""
        };
        let dst = Self::dst(dst);
        let sources: Vec<Src> = operands.iter().map(|operand| self.src(operand)).collect();
        let instr = match (name, sources.as_slice()) {
            ("+", &[a, b]) => self.add(a, b, dst),
            ("+", &[a]) => self.add(a, Src::small(0), dst),
            ("-", &[a, b]) => self.subtract(a, b, dst),
            ("*", &[a, b]) => Instr::Mul { a, b, dst },
            ("div", &[a, b]) => Instr::IntDiv { a, b, dst },
            ("rem", &[a, b]) => Instr::Rem { a, b, dst },
            ("band", &[a, b]) => Instr::Band { a, b, dst },
            ("bor", &[a, b]) => Instr::Bor { a, b, dst },
            ("bxor", &[a, b]) => Instr::Bxor { a, b, dst },
            ("bsl", &[a, b]) => Instr::Bsl { a, b, dst },
            ("bsr", &[a, b]) => Instr::Bsr { a, b, dst },
            ("element", &[a, b]) => Instr::Element { a, b, dst },
            ("hd", &[a]) => Instr::Hd { a, dst },
            ("tl", &[a]) => Instr::Tl { a, dst },
            ("tuple_size", &[a]) => Instr::TupleSize { a, dst },
            (_, &[a]) => Instr::Bif1 { bif: self.import_bif(op, import)?, a, dst },
            (_, &[a, b]) => Instr::Bif2 { bif: self.import_bif(op, import)?, a, b, dst },
            (_, &[a, b, c]) => {
                let args = self.table([a, b, c]);
                Instr::Bif3 { bif: self.import_bif(op, import)?, dst, args }
            }
            _ => return Err(self.unsupported(op)),
        };
        self.emit(instr);
        if fail != 0 {
            self.jump(Instr::Fail { target: fail });
        }
        Ok(())
    }
    pub(super) fn add(&self, a: Src, b: Src, dst: Dst) -> Instr {
        Self::add_small(a, b, dst, 1).unwrap_or(Instr::Add { a, b, dst })
    }
    pub(super) fn subtract(&self, a: Src, b: Src, dst: Dst) -> Instr {
        Self::add_small(a, b, dst, -1).unwrap_or(Instr::Sub { a, b, dst })
    }
    /// A register plus a small integer, or minus one where `sign` is -1.
    pub(super) fn add_small(a: Src, b: Src, dst: Dst, sign: i32) -> Option<Instr> {
        if b.kind() != Src::KIND_SMALL {
            return None;
        }
        let value = b.offset() as i32 * sign;
        // Stack traces show what was written: a negative value stands for a subtraction.
        if b.offset() < 0 {
            return None;
        }
        match (a.as_x(), a.as_y(), dst.is_y()) {
            (Some(x), _, false) => Some(Instr::AddXI { x, to: dst.index() as u16, value }),
            (_, Some(y), _) => Some(Instr::AddYI { y, dst, value }),
            _ => None,
        }
    }
    /// Label numbers become distances. The module has `end` instructions.
    pub(super) fn resolve_jumps(&mut self, end: u32) {
        let labels = &self.labels;
        for &at in &self.fixups {
            let distance = |number: i32| -> i32 {
                if number == 0 {
                    return 0;
                }
                let to = labels[number as usize];
                assert!(to < end, "the verifier lets a jump to label {number} pass");
                to as i32 - at as i32
            };
            // SAFETY: the tables are ours alone until the module is finished.
            unsafe {
                self.code[(at - self.first.instr) as usize].labels(&mut |label| match label {
                    Label::Place(number) => *number = distance(*number),
                    Label::PastCell(number) => *number = distance(*number) + 1,
                });
            }
        }
    }
}
