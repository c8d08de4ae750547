//! What each generic instruction becomes: one arm an instruction.

use super::operands::{label, narrow, tuple_size, unsigned};
use super::{CellKind, Function, Linker, Specialiser};
use crate::decode::{Op, Operand};
use crate::error::BeamError;
use crate::genop::Opcode;
use crate::instr::*;
use swarmrt_term::{Mfa, Term, am, compare_exact};

impl<L: Linker> Specialiser<'_, L> {
    /// A label. The one behind `func_info` is its function's entry, where calls arrive: built-ins
    /// and native functions begin there instead of their Erlang bodies.
    #[inline]
    fn label(&mut self, ops: &[Op], at: usize) {
        let number: u32 = narrow(&ops[at].args[0]);
        self.labels[number as usize] = self.here();
        if at.checked_sub(1).is_some_and(|before| ops[before].opcode == Opcode::FuncInfo) {
            let entry = self.here();
            let info = self.functions.last_mut().expect("func_info comes before the entry label");
            info.entry = entry;
            let mfa = Mfa { module: self.atoms[1], function: info.name, arity: info.arity };
            let function = self.first.function + self.functions.len() as u32 - 1;
            self.emit_cell(CellKind::Entry);
            // The Erlang bodies of these call themselves.
            if mfa.module == am::ERLANG && mfa.function == am::APPLY && mfa.arity == 3 {
                self.emit(Instr::ApplyArgs);
            } else if mfa.module == am::ERLANG && mfa.function == am::APPLY && mfa.arity == 2 {
                self.emit(Instr::ApplyFunArgs);
            }
            // The Erlang body behind it is never reached; its labels must still exist.
            if let Some(bif) = self.linker.bif(mfa) {
                self.emit(Instr::BifBody { arity: mfa.arity as u16, bif, function });
            }
            self.native_body(ops);
        }
    }

    /// Emits the instruction at `ops[at]`, and returns how many generic ones it stands for.
    pub(super) fn one(&mut self, ops: &[Op], at: usize) -> Result<usize, BeamError> {
        let op = &ops[at];
        let args = &op.args;
        use Opcode as G;
        match op.opcode {
            G::Label => self.label(ops, at),
            G::FuncInfo => {
                let (Operand::Atom(name), arity) = (&args[1], unsigned(&args[2])) else {
                    return Err(self.unsupported(op));
                };
                let function = self.first.function + self.functions.len() as u32;
                let start = self.here();
                self.functions.push(Function {
                    name: self.atoms[*name as usize],
                    arity: arity as u32,
                    start,
                    entry: start + 1,
                });
                self.emit(Instr::FuncInfo { function, calls: 0 });
            }
            G::IntCodeEnd => {}
            G::Line => {
                let line = unsigned(&args[0]) as u32;
                self.lines.push((self.here(), line));
            }
            G::ExecutableLine | G::DebugLine | G::NifStart | G::Fclearerror | G::Fcheckerror => {}
            G::OnLoad => self.on_load = Some(self.first.function + self.functions.len() as u32 - 1),

            G::Move => return Ok(self.movement(ops, at)),
            G::Swap => self.emit(Instr::Swap { a: Self::dst(&args[0]), b: Self::dst(&args[1]) }),
            G::InitYregs => {
                let registers = self.table(YRegisters(
                    Self::list(&args[0]).iter().filter_map(Self::y_of).collect(),
                ));
                self.emit(Instr::InitY { registers });
            }
            G::Init => {
                if let Some(y) = Self::y_of(&args[0]) {
                    let registers = self.table(YRegisters([y].into()));
                    self.emit(Instr::InitY { registers });
                }
            }
            G::Allocate => self.emit(Instr::Allocate {
                frame: narrow(&args[0]),
                live: narrow(&args[1]),
                heap: 0,
            }),
            G::AllocateHeap => {
                self.emit(Instr::Allocate {
                    frame: narrow(&args[0]),
                    live: narrow(&args[2]),
                    heap: Self::heap_words(&args[1]),
                });
            }
            G::AllocateZero | G::AllocateHeapZero => {
                let frame = narrow(&args[0]);
                let (heap, live) = if op.opcode == G::AllocateZero {
                    (0, unsigned(&args[1]))
                } else {
                    (Self::heap_words(&args[1]), unsigned(&args[2]))
                };
                self.emit(Instr::Allocate { frame, live: live as u16, heap });
                let registers = self.table(YRegisters((0..frame).collect()));
                self.emit(Instr::InitY { registers });
            }
            G::TestHeap => self.emit(Instr::TestHeap {
                words: Self::heap_words(&args[0]),
                live: narrow(&args[1]),
            }),
            G::Deallocate => {
                self.emit(Instr::Deallocate { frame: narrow(&args[0]) });
            }
            G::Trim => self.emit(Instr::Trim { words: narrow(&args[0]) }),

            G::Call => {
                self.jump(Instr::Call { arity: narrow(&args[0]), target: label(&args[1]) });
                self.emit_cell(CellKind::Return);
            }
            G::CallLast => {
                self.jump(Instr::CallLast {
                    arity: narrow(&args[0]),
                    target: label(&args[1]),
                    frame: narrow(&args[2]),
                });
            }
            G::CallOnly => {
                self.jump(Instr::CallOnly { arity: narrow(&args[0]), target: label(&args[1]) });
            }
            G::CallExt | G::CallExtLast | G::CallExtOnly => self.external_call(op),
            G::Apply => {
                self.emit(Instr::Apply { arity: narrow(&args[0]) });
                self.emit_cell(CellKind::Return);
            }
            G::ApplyLast => {
                self.emit(Instr::ApplyLast { arity: narrow(&args[0]), frame: narrow(&args[1]) });
            }
            G::CallFun | G::CallFun2 => {
                let (arity, fun) = match op.opcode {
                    G::CallFun => (narrow(&args[0]), Src::x(narrow(&args[0]))),
                    _ => (narrow(&args[1]), self.src(&args[2])),
                };
                // The compiler has no tail call of a fun.
                if let Some(frame) = Self::returns_after(ops, at) {
                    self.emit(Instr::CallFunLast { arity, frame, fun });
                    return Ok(3);
                }
                self.emit(if op.opcode == G::CallFun {
                    Instr::CallFun { arity }
                } else {
                    Instr::CallFun2 { arity, fun }
                });
                self.emit_cell(CellKind::Return);
            }
            G::Return => self.emit(Instr::Return),

            G::Jump => self.jump(Instr::Jump { target: label(&args[0]) }),
            G::SelectVal => self.select_val(args),
            G::SelectTupleArity => {
                let src = self.src(&args[0]);
                let fail = label(&args[1]);
                let mut pairs: Vec<(u64, i32)> = Self::list(&args[2])
                    .chunks_exact(2)
                    .map(|pair| {
                        (Term::small(i64::from(tuple_size(&pair[0]))).raw(), label(&pair[1]))
                    })
                    .collect();
                pairs.sort_unstable();
                let select = Select::Search {
                    keys: pairs.iter().map(|p| p.0).collect(),
                    targets: pairs.iter().map(|p| p.1).collect(),
                    fail,
                };
                let select = self.table(select);
                self.jump(Instr::SelectArity { src, select });
            }

            G::IsInteger => self.test(args, |src, fail| Instr::IsInteger { src, fail }),
            G::IsFloat => self.test(args, |src, fail| Instr::IsFloat { src, fail }),
            G::IsNumber => self.test(args, |src, fail| Instr::IsNumber { src, fail }),
            G::IsAtom => self.test(args, |src, fail| Instr::IsAtom { src, fail }),
            G::IsPid => self.test(args, |src, fail| Instr::IsPid { src, fail }),
            G::IsReference => self.test(args, |src, fail| Instr::IsReference { src, fail }),
            G::IsPort => self.test(args, |src, fail| Instr::IsPort { src, fail }),
            G::IsNil => match Self::x_of(&args[1]) {
                Some(x) => self.jump(Instr::IsNilX { x, fail: label(&args[0]) }),
                None => self.test(args, |src, fail| Instr::IsNil { src, fail }),
            },
            G::IsBinary => self.test(args, |src, fail| Instr::IsBinary { src, fail }),
            G::IsBitstr => self.test(args, |src, fail| Instr::IsBitstring { src, fail }),
            G::IsList => self.test(args, |src, fail| Instr::IsList { src, fail }),
            G::IsNonemptyList => {
                if let Some(x) = Self::x_of(&args[1]) {
                    if let Some(next) = Self::next_is(ops, at, G::GetList)
                        && Self::x_of(&next.args[0]) == Some(x)
                    {
                        let (head, tail) = (Self::dst(&next.args[1]), Self::dst(&next.args[2]));
                        self.jump(Instr::IsConsGetListX { x, head, tail, fail: label(&args[0]) });
                        return Ok(2);
                    }
                    self.jump(Instr::IsConsX { x, fail: label(&args[0]) });
                } else {
                    self.test(args, |src, fail| Instr::IsCons { src, fail });
                }
            }
            G::IsTuple => {
                if let Some(next) = Self::next_is(ops, at, G::TestArity)
                    && next.args[0] == args[0]
                    && Self::same_register(&next.args[1], &args[1])
                {
                    let src = self.src(&args[1]);
                    self.jump(Instr::IsTupleOf {
                        src,
                        arity: tuple_size(&next.args[2]),
                        fail: label(&args[0]),
                    });
                    return Ok(2);
                }
                self.test(args, |src, fail| Instr::IsTuple { src, fail });
            }
            G::TestArity => {
                let src = self.src(&args[1]);
                self.jump(Instr::TestArity {
                    src,
                    arity: tuple_size(&args[2]),
                    fail: label(&args[0]),
                });
            }
            G::IsTaggedTuple => {
                let src = self.src(&args[1]);
                let fail = label(&args[0]);
                if let Ok(arity) = u16::try_from(unsigned(&args[2])) {
                    let tag = self.src(&args[3]);
                    self.jump(Instr::IsTaggedTuple { src, arity, tag, fail });
                } else {
                    self.jump(Instr::IsTupleOf { src, arity: tuple_size(&args[2]), fail });
                    // A constant is found by its distance from the instruction.
                    let tag = self.src(&args[3]);
                    self.jump(Instr::IsTagged { src, tag, fail });
                }
            }
            G::IsMap => self.test(args, |src, fail| Instr::IsMap { src, fail }),
            G::IsBoolean => self.test(args, |src, fail| Instr::IsBoolean { src, fail }),
            G::IsFunction => self.test(args, |src, fail| Instr::IsFunction { src, fail }),
            G::IsFunction2 => {
                self.compare(args, |a, b, fail| Instr::IsFunctionOf { src: a, arity: b, fail });
            }
            G::IsLt => self.compare(args, |a, b, fail| match (a.as_x(), b.kind()) {
                (Some(x), Src::KIND_SMALL) => Instr::IsLtXI { x, value: b.offset() as i32, fail },
                _ => Instr::IsLt { a, b, fail },
            }),
            G::IsGe => self.compare(args, |a, b, fail| match (a.as_x(), b.kind()) {
                (Some(x), Src::KIND_SMALL) => Instr::IsGeXI { x, value: b.offset() as i32, fail },
                _ => Instr::IsGe { a, b, fail },
            }),
            G::IsEq => self.compare(args, |a, b, fail| Instr::IsEq { a, b, fail }),
            G::IsNe => self.compare(args, |a, b, fail| Instr::IsNe { a, b, fail }),
            G::IsEqExact | G::IsNeExact => {
                let equal = op.opcode == G::IsEqExact;
                if let (Some(x), Some(value)) = (Self::x_of(&args[1]), self.pool_term(&args[2]))
                    && value.is_immediate()
                    && !value.is_float_immediate()
                {
                    let fail = label(&args[0]);
                    self.jump(if equal {
                        Instr::IsEqImmX { x, fail, value }
                    } else {
                        Instr::IsNeImmX { x, fail, value }
                    });
                } else if equal {
                    self.compare(args, |a, b, fail| Instr::IsEqExact { a, b, fail });
                } else {
                    self.compare(args, |a, b, fail| Instr::IsNeExact { a, b, fail });
                }
            }

            G::GetList => {
                let src = self.src(&args[0]);
                self.emit(Instr::GetList {
                    src,
                    head: Self::dst(&args[1]),
                    tail: Self::dst(&args[2]),
                });
            }
            G::GetHd => {
                let src = self.src(&args[0]);
                self.emit(Instr::GetHead { src, dst: Self::dst(&args[1]) });
            }
            G::GetTl => {
                let src = self.src(&args[0]);
                self.emit(Instr::GetTail { src, dst: Self::dst(&args[1]) });
            }
            G::GetTupleElement => {
                let src = self.src(&args[0]);
                let index = narrow(&args[1]);
                let dst1 = Self::dst(&args[2]);
                if let Some(next) = Self::next_is(ops, at, G::GetTupleElement)
                    && Self::same_register(&next.args[0], &args[0])
                    && unsigned(&next.args[1]) == u64::from(index) + 1
                    && dst1.as_src() != src
                {
                    self.emit(Instr::GetElement2 {
                        src,
                        index,
                        dst1,
                        dst2: Self::dst(&next.args[2]),
                    });
                    return Ok(2);
                }
                self.emit(Instr::GetElement { src, index, dst: dst1 });
            }
            G::SetTupleElement => {
                let value = self.src(&args[0]);
                let tuple = self.src(&args[1]);
                self.emit(Instr::SetElement { value, tuple, index: narrow(&args[2]) });
            }
            G::PutList => {
                let head = self.src(&args[0]);
                let tail = self.src(&args[1]);
                self.emit(Instr::PutList { head, tail, dst: Self::dst(&args[2]) });
            }
            G::PutTuple2 => {
                let elements: Box<[Src]> =
                    Self::list(&args[1]).iter().map(|item| self.src(item)).collect();
                let elements = self.table(elements);
                self.emit(Instr::PutTuple { dst: Self::dst(&args[0]), elements });
            }
            G::UpdateRecord => {
                let source = self.src(&args[2]);
                let reuse = matches!(&args[0], Operand::Atom(index) if self.atoms[*index as usize].name() == "reuse");
                let items = Self::list(&args[4]);
                let updates = items
                    .chunks_exact(2)
                    .map(|pair| (unsigned(&pair[0]) as u32 - 1, self.src(&pair[1])))
                    .collect();
                let update =
                    self.table(RecordUpdate { size: narrow(&args[1]), source, updates, reuse });
                self.emit(Instr::UpdateRecord { dst: Self::dst(&args[3]), update });
            }
            G::MakeFun2 | G::MakeFun3 => {
                let lambda = narrow(&args[0]);
                let fun = self.linker.fun(lambda);
                let info = self.file.lambdas[lambda as usize];
                let (dst, free): (Dst, Box<[Src]>) = if op.opcode == G::MakeFun3 {
                    (
                        Self::dst(&args[1]),
                        Self::list(&args[2]).iter().map(|item| self.src(item)).collect(),
                    )
                } else {
                    (Dst::x(0), (0..info.num_free as u16).map(Src::x).collect())
                };
                let free = self.table((fun, free));
                self.emit(Instr::MakeFun { dst, arity: (info.arity - info.num_free) as u16, free });
            }

            G::Bif0 => {
                let bif = self.import_bif(op, &args[0])?;
                let dst = Self::dst(&args[1]);
                if self.is_erlang(&args[0], "self", 0) {
                    self.emit(Instr::SelfPid { dst });
                } else {
                    self.emit(Instr::Bif0 { bif, dst });
                }
            }
            G::Bif1 => self.guard_bif(op, label(&args[0]), &args[1], &args[2..3], &args[3])?,
            G::Bif2 => self.guard_bif(op, label(&args[0]), &args[1], &args[2..4], &args[4])?,
            G::Bif3 => self.guard_bif(op, label(&args[0]), &args[1], &args[2..5], &args[5])?,
            G::GcBif1 => self.guard_bif(op, label(&args[0]), &args[2], &args[3..4], &args[4])?,
            G::GcBif2 => self.guard_bif(op, label(&args[0]), &args[2], &args[3..5], &args[5])?,
            G::GcBif3 => self.guard_bif(op, label(&args[0]), &args[2], &args[3..6], &args[6])?,

            G::Fmove => match (&args[0], &args[1]) {
                (Operand::Float(from), Operand::Float(to)) => {
                    self.emit(Instr::MoveFloat { from: *from, to: *to });
                }
                (Operand::Float(from), to) => {
                    self.emit(Instr::StoreFloat { from: *from, dst: Self::dst(to) });
                }
                (from, Operand::Float(to)) => {
                    let src = self.src(from);
                    self.emit(Instr::LoadFloat { src, to: *to });
                }
                _ => return Err(self.unsupported(op)),
            },
            G::Fconv => {
                let Operand::Float(to) = args[1] else { return Err(self.unsupported(op)) };
                if let Operand::Float(from) = args[0] {
                    self.emit(Instr::MoveFloat { from, to });
                } else {
                    let src = self.src(&args[0]);
                    self.emit(Instr::LoadFloat { src, to });
                }
            }
            G::Fadd | G::Fsub | G::Fmul | G::Fdiv => {
                let (Operand::Float(a), Operand::Float(b), Operand::Float(to)) =
                    (&args[1], &args[2], &args[3])
                else {
                    return Err(self.unsupported(op));
                };
                let (a, b, to) = (*a, *b, *to);
                self.emit(match op.opcode {
                    G::Fadd => Instr::FloatAdd { a, b, to },
                    G::Fsub => Instr::FloatSub { a, b, to },
                    G::Fmul => Instr::FloatMul { a, b, to },
                    _ => Instr::FloatDiv { a, b, to },
                });
            }
            G::Fnegate => {
                let (Operand::Float(a), Operand::Float(to)) = (&args[1], &args[2]) else {
                    return Err(self.unsupported(op));
                };
                self.emit(Instr::FloatNeg { a: *a, to: *to });
            }

            G::Badmatch => self.raise_with(args, |src| Instr::Badmatch { src }),
            G::CaseEnd => self.raise_with(args, |src| Instr::CaseEnd { src }),
            G::TryCaseEnd => self.raise_with(args, |src| Instr::TryCaseEnd { src }),
            G::Badrecord => self.raise_with(args, |src| Instr::Badrecord { src }),
            G::IfEnd => self.emit(Instr::IfEnd),
            G::Catch | G::Try => self.jump(Instr::Catch {
                y: Self::y_of(&args[0]).unwrap_or(0),
                handler: label(&args[1]),
            }),
            G::CatchEnd => self.emit(Instr::CatchEnd { y: Self::y_of(&args[0]).unwrap_or(0) }),
            G::TryEnd => self.emit(Instr::TryEnd { y: Self::y_of(&args[0]).unwrap_or(0) }),
            G::TryCase => self.emit(Instr::TryCase { y: Self::y_of(&args[0]).unwrap_or(0) }),
            G::BifExit => {
                let trace = self.src(&args[0]);
                let reason = self.src(&args[1]);
                self.emit(Instr::BifExit { trace, reason });
            }
            G::BuildStacktrace => self.emit(Instr::BuildStacktrace),
            G::RawRaise => self.emit(Instr::RawRaise),

            G::Send => self.emit(Instr::Send),
            G::LoopRec => {
                // Where a process goes on that has waited.
                self.emit_cell(CellKind::Return);
                self.jump(Instr::LoopRec { wait: label(&args[0]) });
            }
            G::RemoveMessage => self.emit(Instr::RemoveMessage),
            G::LoopRecEnd => self.jump(Instr::LoopRecEnd { target: label(&args[0]) }),
            G::Wait => self.jump(Instr::Wait { target: label(&args[0]) }),
            G::WaitTimeout => {
                let time = self.src(&args[1]);
                self.jump(Instr::WaitTimeout { target: label(&args[0]), time });
            }
            G::Timeout => self.emit(Instr::Timeout),
            // Hints of older compilers: without them the receive scans the whole mailbox, which is
            // correct.
            G::RecvMark | G::RecvSet => {}
            G::RecvMarkerReserve => {
                self.emit(Instr::RecvMarkerReserve { dst: Self::dst(&args[0]) });
            }
            G::RecvMarkerBind => {
                let marker = self.src(&args[0]);
                let reference = self.src(&args[1]);
                self.emit(Instr::RecvMarkerBind { marker, reference });
            }
            G::RecvMarkerClear => {
                let reference = self.src(&args[0]);
                self.emit(Instr::RecvMarkerClear { reference });
            }
            G::RecvMarkerUse => {
                let reference = self.src(&args[0]);
                self.emit(Instr::RecvMarkerUse { reference });
            }

            G::PutMapAssoc | G::PutMapExact => {
                let map = self.src(&args[1]);
                let mut pairs: Vec<&[Operand]> = Self::list(&args[4]).chunks_exact(2).collect();
                // Of several keys that are missing, the error names the first in the order of maps,
                // as in OTP.
                let keys: Option<Vec<Term>> =
                    pairs.iter().map(|pair| self.pool_term(&pair[0])).collect();
                if let Some(keys) = keys.filter(|keys| keys.len() > 1) {
                    let mut order: Vec<usize> = (0..pairs.len()).collect();
                    order.sort_by(|&a, &b| compare_exact(keys[a], keys[b]));
                    pairs = order.into_iter().map(|at| pairs[at]).collect();
                }
                if op.opcode == G::PutMapAssoc
                    && let Some(keys) = self.keys_of_new_map(&args[1], &pairs)
                {
                    let keys = self.intern_constant(keys);
                    let keys = self.constant(keys, 0);
                    let values: Box<[Src]> = pairs.iter().map(|pair| self.src(&pair[1])).collect();
                    let values = self.table(values);
                    self.emit(Instr::NewMap { keys, values, dst: Self::dst(&args[2]) });
                    return Ok(1);
                }
                let pairs = pairs
                    .into_iter()
                    .map(|pair| (self.src(&pair[0]), self.src(&pair[1])))
                    .collect();
                let put = self.table(MapPut {
                    map,
                    exact: op.opcode == G::PutMapExact,
                    fail: label(&args[0]),
                    pairs,
                });
                self.jump(Instr::PutMap { dst: Self::dst(&args[2]), put });
            }
            G::HasMapFields => {
                let map = self.src(&args[1]);
                let pairs = Self::list(&args[2]).iter().map(|key| (self.src(key), None)).collect();
                let get = self.table(MapGet { map, fail: label(&args[0]), pairs });
                self.jump(Instr::GetMap { get });
            }
            G::GetMapElements => {
                let map = self.src(&args[1]);
                let pairs = Self::list(&args[2])
                    .chunks_exact(2)
                    .map(|pair| (self.src(&pair[0]), Some(Self::dst(&pair[1]))))
                    .collect();
                let get = self.table(MapGet { map, fail: label(&args[0]), pairs });
                self.jump(Instr::GetMap { get });
            }
            G::IsAnyNativeRecord => self.test(args, |src, fail| Instr::IsRecord { src, fail }),
            G::IsNativeRecord
            | G::GetRecordElements
            | G::IsRecordAccessible
            | G::GetRecordField
            | G::PutRecord => self.record_op(op)?,
            G::BsInit2 | G::BsInitBits | G::BsAppend | G::BsPrivateAppend => {
                return self.construction(ops, at);
            }
            _ if op.opcode.traits().fills_binary => return self.continuation(ops, at),
            G::BsAdd => self.size_sum(op)?,
            // Sizes are added up again when the binary is built; here the register only has to hold
            // a term.
            G::BsUtf8Size | G::BsUtf16Size => self.no_size(&args[2]),
            _ => self.binary_op(op)?,
        }
        Ok(1)
    }
}
