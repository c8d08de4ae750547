//! Native records (OTP 29).

use super::operands::label;
use super::{Build, Linker, Specialiser};
use crate::decode::{Op, Operand};
use crate::genop::Opcode;
use crate::instr::*;
use swarmrt_term::{Term, am};

impl<L: Linker> Specialiser<'_, L> {
    pub(super) fn record_op(&mut self, op: &Op) -> Build {
        use Opcode as G;
        let args = &op.args;
        match op.opcode {
            G::IsNativeRecord => {
                let (Some(module), Some(name)) = (self.atom_of(&args[2]), self.atom_of(&args[3]))
                else {
                    return Err(self.unsupported(op));
                };
                let record = self.src(&args[1]);
                let test = self.table(RecordTest {
                    record,
                    id: RecordId { module, name },
                    fail: label(&args[0]),
                });
                self.jump(Instr::IsRecordOf { test });
            }
            G::IsRecordAccessible => {
                let src = self.src(&args[1]);
                let own = if self.is_atom(&args[2], "external") {
                    NO_MODULE
                } else {
                    self.atoms[1].index()
                };
                self.jump(Instr::IsRecordAccessible { src, fail: label(&args[0]), own });
            }
            G::GetRecordElements => {
                let record = self.src(&args[1]);
                let fields = self.fields(Self::list(&args[2]), |_, dst| Self::dst(dst));
                let get = self.table(RecordGet { record, fail: label(&args[0]), fields });
                self.jump(Instr::GetRecordFields { get });
            }
            G::GetRecordField => {
                let access = match self.atom_of(&args[2]) {
                    Some(am::UNDERSCORE) => RecordAccess::Any,
                    Some(name) => RecordAccess::Local(name),
                    None => RecordAccess::External(self.record_id(op, &args[2])?),
                };
                let record = self.src(&args[1]);
                let field = self.atom_of(&args[3]).map_or(Term::NIL, Term::atom);
                let get = self.table(RecordField { record, access, field, fail: label(&args[0]) });
                self.jump(Instr::GetRecordField { get, dst: Self::dst(&args[4]) });
            }
            _ => {
                let source = match (&args[2], &args[1]) {
                    (Operand::Nil, Operand::Atom(name)) => {
                        let record = self
                            .file
                            .records
                            .iter()
                            .position(|record| record.name == *name)
                            .ok_or_else(|| self.unsupported(op))?;
                        // The two literals of each record come last.
                        let at = self.literals.len() - 2 * (self.file.records.len() - record);
                        let (definition, defaults) =
                            (Operand::Literal(at as u32), Operand::Literal(at as u32 + 1));
                        RecordSource::Local {
                            definition: self.src(&definition),
                            defaults: self.src(&defaults),
                        }
                    }
                    (Operand::Nil, id) => RecordSource::External(self.record_id(op, id)?),
                    (record, _) => RecordSource::Update(self.src(record)),
                };
                let fields =
                    self.fields(Self::list(&args[5]), |specialiser, value| specialiser.src(value));
                let put = self.table(RecordPut { source, fields });
                self.emit(Instr::PutRecord { put, dst: Self::dst(&args[3]) });
            }
        }
        Ok(())
    }
}
