//! What one instruction asks of the registers, the frame and the heap, and what it makes of them.

use super::effect::*;
use super::flow::Flow;
use super::shape::{self, Command, elements, label, unsigned};
use super::state::{CatchKind, Frame, Grant, RegSet, Registers, State, Tag};
use super::{Amendment, ContextCall, Fault, Known};
use crate::file::{Op, Operand};
use crate::genop::{Opcode, OperandKind, Traits};

/// Positions of operands in an instruction, lowest first.
#[derive(Clone, Default)]
struct Positions(u32);

impl Positions {
    fn add(&mut self, position: usize) {
        self.0 |= 1 << position;
    }
}
impl Iterator for Positions {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        let first = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (first < u32::BITS).then_some(first as usize)
    }
}

/// What the operands of an instruction ask for beside the reads.
#[derive(Default)]
struct Effects {
    /// X registers that a collection keeps, if there can be one.
    live: Option<u32>,
    heap: Option<Grant>,
    /// Positions of the operands that are branched to.
    branches: Positions,
    /// Positions of the operands that are written.
    writes: Positions,
}

impl Flow<'_> {
    pub(super) fn step(&mut self, op: &Op, state: &mut State) -> Step {
        use Opcode as O;
        let args = &op.args[..];
        let traits = op.opcode.traits();
        if !traits.quiet {
            self.raise(state)?;
        }
        state.fresh_tuple &= traits.moves;
        match op.opcode {
            O::Move => move_to(state, &args[0], &args[1]),
            O::Swap => swap(state, &args[0], &args[1]),
            _ if traits.plain => self.plain(op, traits, state),

            O::SetTupleElement => {
                if is_fragile(state, &args[0]) {
                    self.own_message(state);
                }
                set_tuple_element(args, state)
            }
            O::PutList => {
                build(state, 2)?;
                self.plain(op, traits, state)
            }
            O::PutTuple2 => {
                build(state, elements(&args[1]).len() as u64 + 1)?;
                self.plain(op, traits, state)
            }
            O::UpdateRecord => {
                build(state, unsigned(&args[1]) + 1)?;
                self.plain(op, traits, state)
            }
            O::MakeFun2 => {
                let free = self.file.lambdas[unsigned(&args[0]) as usize].num_free;
                terms_in_x(state, free)?;
                self.own_message(state);
                collect(state, free)?;
                write_x0(state)
            }

            O::Allocate | O::AllocateZero => {
                allocate(op, state, Grant::default(), unsigned(&args[1]))
            }
            O::AllocateHeap | O::AllocateHeapZero => {
                allocate(op, state, shape::grant(&args[1]), unsigned(&args[2]))
            }
            O::Deallocate => {
                deallocate(state, unsigned(&args[0]))?;
                Ok(Continue)
            }
            O::Trim => trim(args, state),

            O::Call => {
                let arity = unsigned(&args[0]) as u32;
                self.call_with_contexts(label(&args[1]), state, arity);
                state.contexts.x.clear();
                self.body_call(op, state, arity)
            }
            O::CallExt => self.body_call(op, state, unsigned(&args[0]) as u32),
            O::CallOnly | O::CallExtOnly => self.tail_call(op, state, None),
            O::CallLast | O::CallExtLast => self.tail_call(op, state, Some(unsigned(&args[2]))),
            O::CallFun => self.body_call(op, state, unsigned(&args[0]) as u32 + 1),
            O::CallFun2 => {
                read(state, &args[2])?;
                self.body_call(op, state, unsigned(&args[1]) as u32)
            }
            O::Apply => self.body_call(op, state, unsigned(&args[0]) as u32 + 2),
            O::ApplyLast => {
                terms_in_x(state, unsigned(&args[0]) as u32 + 2)?;
                self.own_message(state);
                scannable(state)?;
                deallocate(state, unsigned(&args[1]))?;
                Ok(Stop)
            }
            O::Send => self.body_call(op, state, 2),
            O::BsInitWritable => self.body_call(op, state, 1),
            O::RawRaise => self.body_call(op, state, 3),
            O::Return => {
                terms_in_x(state, 1)?;
                self.own_message(state);
                no_frame(state)?;
                Ok(Stop)
            }

            O::LoopRec => {
                self.own_message_in_frame(state);
                forget_x(state);
                state.at_message = false;
                self.branch(label(&args[0]), state)?;
                write(state, &args[1])?;
                mark_fragile(state, &args[1], true);
                state.at_message = true;
                Ok(Continue)
            }
            O::RemoveMessage => {
                if !state.at_message {
                    return Err(Fault::NoMessage);
                }
                state.at_message = false;
                state.fragile.clear();
                Ok(Continue)
            }
            O::LoopRecEnd | O::Wait => {
                self.own_message_in_frame(state);
                state.at_message = false;
                self.suspend(label(&args[0]), state)?;
                Ok(Stop)
            }
            O::WaitTimeout => {
                self.own_message_in_frame(state);
                state.at_message = false;
                self.wait_timeout(args, state)
            }
            O::Timeout => {
                self.own_message_in_frame(state);
                state.at_message = false;
                forget_x(state);
                Ok(Continue)
            }
            O::RecvMarkerUse => {
                read(state, &args[0])?;
                self.own_message(state);
                state.at_message = false;
                Ok(Continue)
            }

            O::Try | O::Catch => self.enter_catch(op, state),
            O::TryEnd => {
                state.remove_tag(y(&args[0]), CatchKind::Try)?;
                Ok(Continue)
            }
            O::TryCase => {
                live_x(state, 4)?;
                state.remove_tag(y(&args[0]), CatchKind::Try)?;
                at_exception(state, 3);
                Ok(Continue)
            }
            O::CatchEnd => {
                live_x(state, 1)?;
                state.remove_tag(y(&args[0]), CatchKind::Catch)?;
                at_exception(state, 1);
                Ok(Continue)
            }
            O::BuildStacktrace => {
                terms_in_x(state, 1)?;
                self.own_message(state);
                collect(state, 1)?;
                write_x0(state)
            }

            O::Fmove => float_move(args, state),
            O::BsMatch => self.bs_match(args, state),

            // These delimit functions; a body cannot run into them.
            O::FuncInfo | O::IntCodeEnd | O::Label => Err(Fault::FallsOff),
            // The shape check has refused the rest, which are obsolete.
            _ => Err(Fault::Obsolete),
        }
    }

    /// The effect that follows from the kinds of the operands: reads, then a possible collection,
    /// then branches, then writes.
    fn plain(&mut self, op: &Op, traits: Traits, state: &mut State) -> Step {
        // What is written may refer to the message. Instructions that write nothing keep nothing.
        let fragile =
            !state.fragile.is_empty() && operands(&op.args).any(|arg| is_fragile(state, arg));
        let effects = self.read_operands(op, state)?;
        if traits.fills_binary {
            building(state)?;
            // Behind an interruption the binary so far is read again.
            if let Some(binary) =
                crate::specialise::interrupted_construction(self.function.ops, self.position)
            {
                read(state, binary)?;
            }
        }
        let was_building = state.building;
        if traits.raises {
            scannable(state)?;
            return Ok(Stop);
        }
        if let Some(live) = effects.live {
            collect(state, live)?;
        }
        if fragile {
            // One that fails may have written some of its destinations.
            for at in effects.writes.clone() {
                operands(&op.args[at..=at]).for_each(|arg| mark_fragile(state, arg, true));
            }
        }
        self.take_branches(op, traits, effects.branches, state)?;
        if traits.ends {
            return Ok(Stop);
        }
        if let Some(heap) = effects.heap {
            state.grant = heap;
        }
        state.building |= traits.starts_binary || was_building && op.opcode == Opcode::BsGetTail;
        write_operands(op, effects.writes, fragile, state)?;
        Ok(Continue)
    }

    /// Reads the operands that are sources; what the others ask for.
    fn read_operands(&mut self, op: &Op, state: &mut State) -> Result<Effects, Fault> {
        let mut effects = Effects::default();
        for (at, (arg, kind)) in op.args.iter().zip(op.opcode.kinds()).enumerate() {
            match kind {
                OperandKind::Source
                    if op.opcode == Opcode::GcBif1
                        && self.imports[unsigned(&op.args[2]) as usize] == Known::SizesContexts =>
                {
                    read_any(state, arg)?;
                }
                OperandKind::Source | OperandKind::Register | OperandKind::Size => {
                    read(state, arg)?;
                }
                OperandKind::MaybeContext | OperandKind::Context => read_any(state, arg)?,
                OperandKind::Target
                | OperandKind::NewContext
                | OperandKind::WriteY
                | OperandKind::WriteYs
                | OperandKind::WriteFloat => effects.writes.add(at),
                OperandKind::Fail
                | OperandKind::Jump
                | OperandKind::Start
                | OperandKind::Values
                | OperandKind::Arities => {
                    effects.branches.add(at);
                }
                OperandKind::ReadFloat => read_float(state, arg)?,
                OperandKind::Sources | OperandKind::SourcePairs => {
                    read_all(state, elements(arg).iter())?;
                }
                OperandKind::Updates => read_all(state, elements(arg).iter().skip(1).step_by(2))?,
                OperandKind::Segments => read_segments(state, elements(arg))?,
                OperandKind::Live => effects.live = Some(unsigned(arg) as u32),
                OperandKind::Heap => effects.heap = Some(shape::grant(arg)),
                OperandKind::SourceAndTarget => {
                    read_all(state, elements(arg).iter().step_by(2))?;
                    effects.writes.add(at);
                }
                _ => {}
            }
        }
        Ok(effects)
    }

    fn take_branches(
        &mut self,
        op: &Op,
        traits: Traits,
        branches: Positions,
        state: &mut State,
    ) -> Result<(), Fault> {
        let kinds = op.opcode.kinds();
        for at in branches {
            match &op.args[at] {
                Operand::Label(_) if traits.guard => {
                    self.guard_fail(&op.args[at], op.args.last(), state)?;
                }
                Operand::Label(label) if kinds.contains(&OperandKind::MaybeContext) => {
                    // What cannot be matched is no context.
                    let mut failed = state.clone();
                    let source = kinds
                        .iter()
                        .position(|&kind| kind == OperandKind::MaybeContext)
                        .expect("just found");
                    failed.contexts.set(&op.args[source], false);
                    self.branch(*label, &failed)?;
                }
                Operand::Label(label) => self.branch(*label, state)?,
                Operand::List(pairs) => {
                    for target in pairs.iter().skip(1).step_by(2) {
                        self.branch(label(target), state)?;
                    }
                }
                // `no_fail` or `resume`.
                _ => {}
            }
        }
        Ok(())
    }

    /// The compiler knows the types of terms, and that some built-in cannot fail (`is_map_key/2` of
    /// a map): it may read the destination where the built-in would have failed. We do not track
    /// types; so there the destination holds what it was cleared to before.
    fn guard_fail(
        &mut self,
        fail: &Operand,
        destination: Option<&Operand>,
        state: &State,
    ) -> Result<(), Fault> {
        if !self.clearing || label(fail) == 0 {
            return self.branch(label(fail), state);
        }
        let mut cleared = state.clone();
        let is_unset = match destination {
            Some(Operand::X(x) | Operand::TypedX(x, _)) => {
                cleared.contexts.x.remove(*x);
                cleared.x.insert(*x);
                !state.x.contains(*x)
            }
            Some(Operand::Y(y) | Operand::TypedY(y, _)) if matches!(state.frame, Frame::Size(words) if u32::from(*y) < words) =>
            {
                cleared.contexts.y.remove(*y);
                cleared.y.insert(*y);
                !state.y.contains(*y)
            }
            _ => false,
        };
        if !is_unset {
            return self.branch(label(fail), state);
        }
        self.amendments.insert(self.position as u32, Amendment::Clear);
        self.branch(label(fail), &cleared)
    }

    /// A function of this module takes match contexts if its own code treats these arguments as
    /// such.
    fn call_with_contexts(&mut self, label: u32, state: &State, arity: u32) {
        let mut arguments = state.contexts.x.clone();
        arguments.truncate(arity);
        if !arguments.is_empty() {
            let op = &self.function.ops[self.position];
            self.context_calls.push(ContextCall {
                label,
                arguments,
                caller: self.caller(),
                offset: op.offset,
                opcode: op.opcode,
            });
        }
    }

    fn body_call(&mut self, op: &Op, state: &mut State, arguments: u32) -> Step {
        terms_in_x(state, arguments)?;
        self.own_message(state);
        scannable(state)?;
        if self.never_returns(op) {
            return Ok(Stop);
        }
        if !matches!(state.frame, Frame::Size(_)) {
            return Err(Fault::FrameNeeded(state.frame.to_string()));
        }
        let set_element = self.is_setelement(op);
        forget_x(state);
        state.fresh_tuple = set_element;
        state.same_tuple = Registers { x: RegSet::below(1), y: RegSet::default() };
        state.x.insert(0);
        Ok(Continue)
    }

    fn tail_call(&mut self, op: &Op, state: &mut State, frame_words: Option<u64>) -> Step {
        let arity = unsigned(&op.args[0]) as u32;
        if let Operand::Label(label) = op.args[1] {
            live_x(state, arity)?;
            self.call_with_contexts(label, state, arity);
        } else {
            terms_in_x(state, arity)?;
        }
        self.own_message(state);
        scannable(state)?;
        if self.never_returns(op) {
            // The compiler does not care about the frame then.
            return Ok(Stop);
        }
        match frame_words {
            Some(words) => deallocate(state, words)?,
            None => no_frame(state)?,
        }
        Ok(Stop)
    }

    fn never_returns(&self, op: &Op) -> bool {
        let external =
            matches!(op.opcode, Opcode::CallExt | Opcode::CallExtOnly | Opcode::CallExtLast);
        external && self.imports[unsigned(&op.args[1]) as usize] == Known::NeverReturns
    }

    fn is_setelement(&self, op: &Op) -> bool {
        if op.opcode != Opcode::CallExt {
            return false;
        }
        self.imports[unsigned(&op.args[1]) as usize] == Known::SetElement
    }

    /// The process may sleep, and go on at the label or after this instruction.
    fn suspend(&mut self, label: u32, state: &mut State) -> Result<(), Fault> {
        scannable(state)?;
        forget_x(state);
        if label == 0
            || self.labels[label as usize].op < self.function.func_info as u32
            || self.is_try_handler(label)
        {
            return self.branch(label, state);
        }
        // The turn can end here already.
        self.branch_within(label, state)
    }

    /// Where a message only makes it wait again (`receive after T -> ok end`), the operand is not
    /// read again, for the timer is running; so what the registers hold then does not matter.
    fn wait_timeout(&mut self, args: &[Operand], state: &mut State) -> Step {
        read(state, &args[1])?;
        let target = label(&args[0]);
        let waits_again = self.first_instruction(target) == Some(self.position);
        self.suspend(if waits_again { 0 } else { target }, state)?;
        Ok(Continue)
    }

    /// Index of the first instruction at a label that does something.
    pub(super) fn first_instruction(&self, label: u32) -> Option<usize> {
        let start = self.labels[label as usize].op as usize;
        let ops = self.function.ops;
        (start..ops.len()).find(|index| !matches!(ops[*index].opcode, Opcode::Label | Opcode::Line))
    }

    fn enter_catch(&mut self, op: &Op, state: &mut State) -> Step {
        let kind = if op.opcode == Opcode::Try { CatchKind::Try } else { CatchKind::Catch };
        let (register, handler) = (y(&op.args[0]), label(&op.args[1]));
        self.check_handler(handler, kind)?;
        write(state, &op.args[0])?;
        state.add_tag(Tag { register, kind, handler })?;
        Ok(Continue)
    }

    /// The first instruction at a handler is the end of its catch, as nothing else understands
    /// what X0 to X3 hold there.
    fn check_handler(&self, handler: u32, kind: CatchKind) -> Result<(), Fault> {
        let first = self.first_instruction(handler).map(|index| self.function.ops[index].opcode);
        match (first, kind) {
            (Some(Opcode::TryCase), CatchKind::Try)
            | (Some(Opcode::CatchEnd), CatchKind::Catch) => Ok(()),
            _ => Err(Fault::BadHandler(handler)),
        }
    }

    fn bs_match(&mut self, args: &[Operand], state: &mut State) -> Step {
        read_any(state, &args[1])?;
        let fail = label(&args[0]);
        let file = self.file;
        let fragile = is_fragile(state, &args[1]);
        // The live counts hold where all commands succeed. A failing match leaves the registers as
        // they were, but for destinations that earlier commands may have overwritten: no engine
        // collects in between.
        let mut failed = state.clone();
        shape::split_commands(file, 3, elements(&args[2]), |command| {
            if let Command::Get { live, destination } = command {
                collect(state, live)?;
                failed.grant = Grant::default();
                write(state, destination)?;
                mark_fragile(state, destination, fragile);
                // What a failing match has overwritten.
                mark_fragile(&mut failed, destination, fragile);
            }
            Ok(())
        })?;
        self.branch(fail, &failed)?;
        Ok(Continue)
    }
}

/// The registers and constants among the operands and in lists of them.
fn operands(args: &[Operand]) -> impl Iterator<Item = &Operand> {
    args.iter().flat_map(|arg| match arg {
        Operand::List(elements) => elements.iter(),
        other => std::slice::from_ref(other).iter(),
    })
}

/// Writes the destinations; what is written is `fragile`, or not.
#[inline]
fn write_operands(
    op: &Op,
    writes: Positions,
    fragile: bool,
    state: &mut State,
) -> Result<(), Fault> {
    let kinds = op.opcode.kinds();
    for at in writes {
        match &op.args[at] {
            Operand::List(pairs) if kinds[at] == OperandKind::SourceAndTarget => {
                write_all(state, pairs.iter().skip(1).step_by(2))?;
                pairs
                    .iter()
                    .skip(1)
                    .step_by(2)
                    .for_each(|register| mark_fragile(state, register, fragile));
            }
            Operand::List(registers) => {
                write_all(state, registers.iter())?;
            }
            Operand::Float(register) => state.floats.insert(*register),
            register => {
                write(state, register)?;
                state.set_context(register, kinds[at] == OperandKind::NewContext);
                mark_fragile(state, register, fragile);
            }
        }
    }
    Ok(())
}
