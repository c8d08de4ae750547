//! The effect of each instruction on the state, along all paths of a function.
//!
//! A function is walked from its entry in the order of its instructions. A branch joins the state
//! into that of its label; a label that learns something after it was passed is walked again from
//! there, until nothing changes. Joins only ever lose knowledge, so that ends.

use super::effect::*;
use super::shape::{label, unsigned};
use super::state::{Frame, Grant, RegSet, State};
use super::{
    Amendment, Call, ContextCall, Fault, FunctionOps, Known, LabelInfo, NONE, WantedArity,
};
use crate::file::{BeamFile, Op, Operand};
use crate::genop::Opcode;
use std::collections::{BTreeMap, BTreeSet};

/// Loops are walked again until nothing changes. The code of OTP takes four walks at most;
/// the bound keeps hostile code from costing much.
const WALKS_MAX: usize = 256;

pub(super) struct Flow<'a> {
    pub file: &'a BeamFile,
    pub labels: &'a mut [LabelInfo],
    pub imports: &'a [Known],
    /// The states at the labels of the function.
    pub slots: &'a mut Vec<Slot>,
    /// What is called that is not known yet.
    pub calls: &'a mut Vec<Call>,
    /// Calls of functions with match contexts among the arguments.
    pub context_calls: &'a mut Vec<ContextCall>,
    pub function: FunctionOps<'a>,
    /// The arguments that may be match contexts.
    pub contexts: &'a RegSet,
    /// The instruction being looked at.
    pub position: usize,
    /// The first label before the current instruction that has to be looked at again.
    pub again: Option<usize>,
    /// Whether a guard's built-in may have its destination cleared first.
    pub clearing: bool,
    /// By instruction: what the code needs beside it.
    pub amendments: BTreeMap<u32, Amendment>,
    /// Labels (or ends of catches behind them) that are led to from behind.
    pub loops: BTreeSet<u32>,
    /// The instructions that are reached, by their index.
    pub reached: Vec<u64>,
}

pub(super) struct Slot {
    state: State,
    /// The state has changed since the code after the label was walked.
    pending: bool,
}

/// Index of the instruction at fault, and the fault.
type Located = (usize, Fault);

impl Flow<'_> {
    /// Walks the function until the states at its labels no longer change.
    ///
    /// # Errors
    /// The instruction at fault and the fault; [`Fault::TooComplex`] after [`WALKS_MAX`] walks.
    pub fn verify(&mut self) -> Result<(), Located> {
        self.slots.clear();
        for (at, op) in self.function.ops.iter().enumerate() {
            self.check_labels(op).map_err(|fault| (at, fault))?;
        }
        let mut start = self.function.func_info + 1;
        let mut entry = State::entry(self.function.arity);
        entry.contexts.x = self.contexts.clone();
        let mut current = Some(entry);
        self.reached = vec![0; self.function.ops.len().div_ceil(64)];
        for _ in 0..WALKS_MAX {
            self.walk(start, current.take())?;
            match self.again.take() {
                Some(label) => start = label,
                None => {
                    self.amend_loops();
                    self.amend_dead();
                    return Ok(());
                }
            }
        }
        Err((self.function.func_info, Fault::TooComplex))
    }

    /// Every loop without a call passes a place where the turn can end. What is alive there is
    /// known only now.
    fn amend_loops(&mut self) {
        for &op in &self.loops {
            let live = match self.function.ops[op as usize].opcode {
                Opcode::TryCase => RegSet::below(3),
                Opcode::CatchEnd => RegSet::below(1),
                _ => {
                    let label = unsigned(&self.function.ops[op as usize].args[0]);
                    self.slots[self.labels[label as usize].slot as usize].state.x.clone()
                }
            };
            let count = live.end();
            let holes = (0..count as u16).filter(|&register| !live.contains(register)).collect();
            self.amendments.insert(op, Amendment::EndTurn { live: count as u16, holes });
        }
    }

    /// What no path reaches has not been verified, and is left out.
    fn amend_dead(&mut self) {
        let ops = self.function.ops;
        let mut at = self.function.func_info + 2;
        while at < ops.len() {
            let first = at;
            let mut is_code = false;
            // Most are reached.
            if at.is_multiple_of(64) && self.reached[at / 64] == u64::MAX {
                at += 64;
                continue;
            }
            while at < ops.len() && self.reached[at / 64] >> (at % 64) & 1 == 0 {
                is_code |= ops[at].opcode != Opcode::Line;
                at += 1;
            }
            if is_code {
                self.amendments.insert(first as u32, Amendment::Dead { until: at as u32 });
            }
            at += 1;
        }
    }

    /// Checks that an instruction's labels exist: in this function, or as the entry of one of that
    /// arity.
    fn check_labels(&mut self, op: &Op) -> Result<(), Fault> {
        match op.opcode {
            Opcode::Call | Opcode::CallOnly | Opcode::CallLast => {
                return self.entry(
                    op,
                    label(&op.args[1]),
                    WantedArity::Exactly(unsigned(&op.args[0]) as u32),
                );
            }
            Opcode::CallFun2 => {
                // It knows its target; the free variables come on top of the arguments.
                return match op.args[0] {
                    Operand::Label(label) => {
                        self.entry(op, label, WantedArity::AtLeast(unsigned(&op.args[1]) as u32))
                    }
                    _ => Ok(()),
                };
            }
            _ => {}
        }
        for arg in op.args.iter() {
            match arg {
                Operand::Label(label) if *label != 0 => self.local(*label)?,
                Operand::List(elements) => {
                    for element in elements {
                        if let Operand::Label(label) = element {
                            self.local(*label)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn local(&self, label: u32) -> Result<(), Fault> {
        match self.labels.get(label as usize) {
            Some(info) if info.function == self.function.number => Ok(()),
            // It may exist in a function that comes later.
            Some(info) if label != 0 && info.function != NONE => Err(Fault::ForeignLabel(label)),
            _ => Err(Fault::NoSuchLabel(u64::from(label))),
        }
    }

    /// Name and arity of the function.
    pub(super) fn caller(&self) -> (u32, u32) {
        let func_info = &self.function.ops[self.function.func_info];
        let Operand::Atom(name) = func_info.args[1] else {
            unreachable!("the shape of the instruction has been checked")
        };
        (name, self.function.arity)
    }

    pub(super) fn entry(&mut self, op: &Op, label: u32, wanted: WantedArity) -> Result<(), Fault> {
        match self.labels.get(label as usize) {
            Some(info) if info.function == NONE => {
                let caller = self.caller();
                self.calls.push(Call {
                    label,
                    wanted,
                    caller,
                    offset: op.offset,
                    opcode: op.opcode,
                });
                Ok(())
            }
            _ => super::entry(self.labels, label, wanted),
        }
    }

    /// From an instruction to the end of the function, skipping what is not reached or known
    /// already.
    fn walk(&mut self, start: usize, mut current: Option<State>) -> Result<(), Located> {
        for (position, op) in self.function.ops.iter().enumerate().skip(start) {
            self.position = position;
            let outcome = match (op.opcode, &mut current) {
                (Opcode::Label, state) => self.at_label(unsigned(&op.args[0]) as u32, state),
                (_, Some(state)) => {
                    self.reached[position / 64] |= 1 << (position % 64);
                    self.step(op, state)
                }
                (_, None) => continue,
            };
            match outcome {
                Ok(Continue) if current.is_some() => {
                    self.reached[position / 64] |= 1 << (position % 64);
                }
                Ok(Continue) => {}
                Ok(Stop) => current = None,
                Err(fault) => return Err((position, fault)),
            }
        }
        match current {
            Some(_) => Err((self.function.ops.len() - 1, Fault::FallsOff)),
            None => Ok(()),
        }
    }

    /// Goes on with what is known at the label, if that is news.
    fn at_label(&mut self, label: u32, current: &mut Option<State>) -> Step {
        if let Some(state) = current {
            if self.is_try_handler(label) {
                self.raise(state)?;
            } else {
                self.join(label, state)?;
            }
        }
        let slot = self.labels[label as usize].slot as usize;
        if let Some(slot) = self.slots.get_mut(slot)
            && std::mem::take(&mut slot.pending)
        {
            let mut state = slot.state.clone();
            state.handler_knows = false;
            *current = Some(state);
            return Ok(Continue);
        }
        Ok(Stop)
    }

    /// Joins a state into that of a label. Slots of earlier functions are none of this one's
    /// labels, as labels belong to one function.
    fn join(&mut self, label: u32, state: &State) -> Result<(), Fault> {
        let info = &mut self.labels[label as usize];
        if info.slot == NONE {
            info.slot = self.slots.len() as u32;
            self.slots.push(Slot { state: state.clone(), pending: true });
            return Ok(());
        }
        let slot = &mut self.slots[info.slot as usize];
        if slot.state.join(state)? {
            slot.pending = true;
        }
        Ok(())
    }

    pub(super) fn branch(&mut self, label: u32, state: &State) -> Result<(), Fault> {
        if label == 0 {
            return Ok(());
        }
        if self.labels[label as usize].op < self.function.func_info as u32 {
            return self.function_clause(state);
        }
        if self.is_try_handler(label) {
            return self.raise(&mut state.clone());
        }
        if self.labels[label as usize].op as usize <= self.position {
            return self.branch_back(label, state);
        }
        self.branch_within(label, state)
    }

    /// A branch that may close a loop: the process's turn can end there. X registers are all that
    /// is kept then.
    fn branch_back(&mut self, label: u32, state: &State) -> Result<(), Fault> {
        // Before the end of a catch, registers hold an exception that nobody else knows.
        let catch_end = self
            .first_instruction(label)
            .filter(|&index| self.function.ops[index].opcode == Opcode::CatchEnd);
        self.loops.insert(catch_end.map_or(self.labels[label as usize].op, |index| index as u32));
        let state = State {
            floats: RegSet::default(),
            grant: Grant::default(),
            building: false,
            fresh_tuple: false,
            ..state.clone()
        };
        self.branch_within(label, &state)
    }

    pub(super) fn branch_within(&mut self, label: u32, state: &State) -> Result<(), Fault> {
        let op = self.labels[label as usize].op as usize;
        self.join(label, state)?;
        let slot = &self.slots[self.labels[label as usize].slot as usize];
        if op <= self.position && slot.pending {
            self.again = Some(self.again.map_or(op, |again| again.min(op)));
        }
        Ok(())
    }

    /// Whether `try_case` is what stands at a label. Without an exception it raises one, so running
    /// into it is like raising one right before.
    pub(super) fn is_try_handler(&self, label: u32) -> bool {
        self.first_instruction(label)
            .is_some_and(|index| self.function.ops[index].opcode == Opcode::TryCase)
    }

    /// A jump to `func_info`, which raises `function_clause` with the arguments.
    pub(super) fn function_clause(&self, state: &State) -> Result<(), Fault> {
        if state.frame != Frame::None {
            return Err(Fault::FrameExists(state.frame.to_string()));
        }
        terms_in_x(state, self.function.arity)
    }

    /// An exception may be raised here.
    pub(super) fn raise(&mut self, state: &mut State) -> Result<(), Fault> {
        if state.tags_mixed {
            return Err(Fault::MixedCatches);
        }
        if state.tags.is_empty() || state.handler_knows {
            return Ok(());
        }
        state.handler_knows = true;
        let handler_state = state.at_handler();
        let innermost = state.tags[0].register;
        for tag in state.tags.iter().take_while(|tag| tag.register == innermost) {
            let op = self.labels[tag.handler as usize].op as usize;
            if op <= self.position {
                // The process's turn can end behind the end of the catch.
                let end = self
                    .first_instruction(tag.handler)
                    .expect("a handler begins with the end of its catch");
                self.loops.insert(end as u32);
            }
            self.branch_within(tag.handler, &handler_state)?;
        }
        Ok(())
    }

    /// Before something that may keep terms beyond the receive: what refers to the message that was
    /// looked at becomes the process's own, and the mailbox gets a copy.
    pub(super) fn own_message(&mut self, state: &mut State) {
        if !state.fragile.is_empty() {
            self.amendments.insert(self.position as u32, Amendment::OwnMessage);
            state.fragile.clear();
        }
    }

    /// Before another message is looked at, or the cursor moves: X registers are dead then.
    pub(super) fn own_message_in_frame(&mut self, state: &mut State) {
        if !state.fragile.y.is_empty() {
            self.own_message(state);
        }
    }
}
