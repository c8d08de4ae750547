//! The load-time verifier: what it accepts cannot break memory safety when it is executed.
//!
//! It interprets each function over an abstract state (which registers are written, how large the
//! stack frame is, how much heap is granted, which catches are active) and joins the states of all
//! paths that meet at a label. A proof about shapes and lifetimes, not about values: **the types
//! of terms are not tracked**, and the types that a file claims are not checked. Whoever executes
//! the code relies on the following.
//!
//! Proven here:
//! - operands have the kinds and ranges that their instruction needs, indexes are inside their
//!   tables, labels exist and stay in their function, calls go to function entries of that arity;
//! - a register that is read was written on every path, float registers too;
//! - instructions that may collect (those with a live count, and calls) find every Y register of
//!   the frame and every live X register initialised; all other X registers are dead after them;
//! - frames are allocated once, trimmed and deallocated with their exact size, the same on all
//!   paths, and gone at returns and tail calls;
//! - terms are built within the heap words (and floats) that were granted before;
//! - a Y register with a catch tag is touched by nothing but the end of that catch, and the
//!   handler's first instruction is that end; the tags are balanced on every path;
//! - control does not leave the function but by a call, a return or an exception. Nothing needs to
//!   follow the call of one of [`NEVER_RETURN`].
//!
//! Left to the machine:
//! - every instruction checks the types of the terms that it takes apart or looks into (also match
//!   contexts, their positions, receive markers, the binary under construction);
//! - an exception goes to the active catch tag in the *lowest-numbered* Y register of the newest
//!   frame that has one, with X0 to X3 set, and X0 to
//!   a mark that no term has; `try_case` raises an error where it does not find that mark in X0 (the
//!   compiler lets code run into it that follows a call which never returns);
//! - a frame's Y registers hold harmless words from its allocation on, because an exception can
//!   make the machine look through a frame that is not yet fully initialised;
//! - X registers at and above the live count can still be *operands* of the instruction that kills them;
//! - a tail call of one of [`NEVER_RETURN`] may name any frame size: the frame is not to be deallocated;
//! - `wait_timeout` reads its operand only when the timer is not running yet;
//! - between `loop_rec` and `remove_message` the current message is still the mailbox's, and terms
//!   that refer to it may be anywhere.

mod effect;
mod error;
mod flow;
mod shape;
mod state;

pub use self::error::{Fault, VerifyError};
use self::flow::Flow;
use crate::decode::functions;
use crate::file::{BeamFile, Mfa, Op};
use crate::genop::Opcode;
use std::collections::BTreeSet;

/// Imported functions of module `erlang` that raise or stop, and never return.
pub const NEVER_RETURN: &[(&str, u32)] = &[("error", 1), ("error", 2), ("error", 3), ("exit", 1), ("throw", 1), ("nif_error", 1), ("nif_error", 2)];

/// No such thing: of labels, slots and arities.
const NONE: u32 = u32::MAX;

/// What is known of a label.
#[derive(Clone, Copy)]
struct LabelInfo {
    /// The number of its function; `NONE` as long as it was not met.
    function: u32,
    /// Index of its `label` instruction in the function.
    op: u32,
    /// The arity, where the label is the entry of a function.
    entry_arity: u32,
    /// Where the state at this label is kept while its function is verified.
    slot: u32,
}

impl LabelInfo {
    const UNDEFINED: LabelInfo = LabelInfo { function: NONE, op: NONE, entry_arity: NONE, slot: NONE };
}

/// A function's instructions.
#[derive(Clone, Copy)]
struct Function<'a> {
    number: u32,
    ops: &'a [Op],
    func_info: usize,
    arity: u32,
}

/// A call of a label that is not known yet.
struct Call {
    label: u32,
    wanted: Wanted,
    /// Name and arity of the function that calls, where in the code, and by what instruction.
    caller: (u32, u32),
    offset: u32,
    opcode: Opcode,
}

/// The arity that the function at a label has to have.
#[derive(Clone, Copy)]
enum Wanted {
    Exactly(u32),
    AtLeast(u32),
}

impl Wanted {
    fn check(self, label: u32, arity: u32) -> Result<(), Fault> {
        match self {
            Wanted::Exactly(wanted) | Wanted::AtLeast(wanted) if arity == wanted => Ok(()),
            Wanted::AtLeast(wanted) if arity > wanted => Ok(()),
            Wanted::Exactly(wanted) | Wanted::AtLeast(wanted) => Err(Fault::WrongArity { label, arity, wanted }),
        }
    }
}

/// Instructions of a function (guard built-ins, by index) whose destination has to hold a term before they run. The function
/// is safe if an immediate is moved to each of those X registers first. Empty for nearly all functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clears(BTreeSet<u32>);

impl Clears {
    pub fn contains(&self, op: usize) -> bool {
        !self.0.is_empty() && self.0.contains(&(op as u32))
    }
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<u32> for Clears {
    fn from_iter<I: IntoIterator<Item = u32>>(ops: I) -> Clears {
        Clears(ops.into_iter().collect())
    }
}

/// Proves that the code of a module can be executed, or says which instruction is wrong and why.
///
/// # Errors
/// What is wrong.
pub fn verify(file: &BeamFile) -> Result<(), VerifyError> {
    let mut verifier = Verifier::new(file)?;
    let Some((last, ops)) = file.code.ops.split_last().filter(|(last, _)| last.opcode == Opcode::IntCodeEnd) else {
        return Err(VerifyError::new(file, &file.code.ops, file.code.ops.len().saturating_sub(1), Fault::FallsOff));
    };
    shape::check_kinds(file, last).map_err(|fault| VerifyError::new(file, std::slice::from_ref(last), 0, fault))?;
    for function in functions(ops) {
        verifier.function(function)?;
    }
    verifier.finish()
}

/// Proves it function by function.
pub struct Verifier<'a> {
    file: &'a BeamFile,
    labels: Vec<LabelInfo>,
    /// By import: whether its calls do not return.
    never_return: Vec<bool>,
    functions: u32,
    calls: Vec<Call>,
    slots: Vec<flow::Slot>,
}

impl<'a> Verifier<'a> {
    /// # Errors
    /// What is wrong with the tables of the file.
    pub fn new(file: &'a BeamFile) -> Result<Verifier<'a>, VerifyError> {
        for lambda in &file.lambdas {
            if lambda.num_free > lambda.arity {
                return Err(VerifyError::table(file, "fun", Fault::FreeVariables { given: lambda.arity, wanted: lambda.num_free }));
            }
        }
        let labels = vec![LabelInfo::UNDEFINED; file.code.label_count as usize];
        Ok(Verifier { file, labels, never_return: never_returning_imports(file), functions: 0, calls: Vec::new(), slots: Vec::new() })
    }

    /// The next function, as the file's [`CodeReader`](crate::file::CodeReader) gives it. What it calls may come later.
    ///
    /// # Errors
    /// Which instruction is wrong, and why.
    pub fn function(&mut self, ops: &[Op]) -> Result<Clears, VerifyError> {
        let fail = |(op, fault)| VerifyError::new(self.file, ops, op, fault);
        let survey = survey(self.file, &mut self.labels, self.functions, ops).map_err(fail)?;
        let Some(function) = survey else { return Ok(Clears::default()) };
        self.functions += 1;
        match self.flow(function, false) {
            // Once more with the destinations of guard built-ins cleared, which costs time only where it is needed.
            Err((op, fault @ Fault::UninitialisedX(_))) => self.flow(function, true).map_err(|_| fail((op, fault))),
            result => result.map_err(fail),
        }
    }

    fn flow(&mut self, function: Function<'_>, clearing: bool) -> Result<Clears, (usize, Fault)> {
        for op in function.ops.iter().filter(|op| op.opcode == Opcode::Label) {
            self.labels[shape::unsigned(&op.args[0]) as usize].slot = NONE;
        }
        let calls = self.calls.len();
        let mut flow = Flow {
            file: self.file,
            labels: &mut self.labels,
            never_return: &self.never_return,
            slots: &mut self.slots,
            calls: &mut self.calls,
            function,
            position: 0,
            again: None,
            cleared: clearing.then(BTreeSet::new),
        };
        let result = flow.verify();
        let cleared = flow.cleared.take().unwrap_or_default();
        if result.is_err() {
            self.calls.truncate(calls);
        }
        result.map(|()| Clears(cleared))
    }

    /// All functions were there.
    ///
    /// # Errors
    /// What is called, exported or made a fun of, and is no function.
    pub fn finish(self) -> Result<(), VerifyError> {
        let file = self.file;
        for call in &self.calls {
            let Call { label, wanted, .. } = *call;
            entry(&self.labels, label, wanted).map_err(|fault| VerifyError::call(file, call, fault))?;
        }
        check_tables(file, &self.labels).map_err(|(what, fault)| VerifyError::table(file, what, fault))
    }
}

/// Finds the labels of a function, and checks the kinds of operands. There may be none: only labels and lines.
fn survey<'a>(file: &BeamFile, labels: &mut [LabelInfo], number: u32, ops: &'a [Op]) -> Result<Option<Function<'a>>, (usize, Fault)> {
    if ops.len() >= NONE as usize {
        return Err((0, Fault::TooManyInstructions));
    }
    let mut function: Option<Function<'a>> = None;
    for (index, op) in ops.iter().enumerate() {
        shape::check_kinds(file, op).map_err(|fault| (index, fault))?;
        match op.opcode {
            Opcode::Label => {
                let label = shape::unsigned(&op.args[0]) as usize;
                match labels.get_mut(label) {
                    Some(info) if label != 0 && info.function == NONE => (info.function, info.op) = (number, index as u32),
                    Some(_) if label != 0 => return Err((index, Fault::DuplicateLabel(label as u32))),
                    _ => return Err((index, Fault::NoSuchLabel(label as u64))),
                }
            }
            Opcode::Line => {}
            Opcode::FuncInfo => {
                debug_assert!(function.is_none(), "there is one in each function");
                let arity = shape::unsigned(&op.args[2]) as u32;
                function = Some(Function { number, ops, func_info: index, arity });
            }
            Opcode::IntCodeEnd => return Err((index, Fault::FallsOff)),
            _ if function.is_none() => return Err((index, Fault::OutsideFunction)),
            _ => {}
        }
    }
    let Some(function) = function else { return Ok(None) };
    // The label right after `func_info` is where calls go.
    let func_info = function.func_info;
    if func_info == 0 || ops[0].opcode != Opcode::Label {
        return Err((func_info, Fault::NoFunctionLabel));
    }
    match ops.get(func_info + 1) {
        Some(op) if op.opcode == Opcode::Label => labels[shape::unsigned(&op.args[0]) as usize].entry_arity = function.arity,
        _ => return Err((func_info, Fault::NoEntryLabel)),
    }
    Ok(Some(function))
}

/// Checks that a label is the entry of a function of that arity.
fn entry(labels: &[LabelInfo], label: u32, wanted: Wanted) -> Result<(), Fault> {
    match labels.get(label as usize) {
        Some(info) if info.entry_arity != NONE => wanted.check(label, info.entry_arity),
        _ => Err(Fault::NotAnEntry(label)),
    }
}

/// Exports, local functions and lambdas have to be entries of functions.
fn check_tables(file: &BeamFile, labels: &[LabelInfo]) -> Result<(), (&'static str, Fault)> {
    for export in &file.exports {
        entry(labels, export.label, Wanted::Exactly(export.arity)).map_err(|fault| ("export", fault))?;
    }
    for local in &file.locals {
        entry(labels, local.label, Wanted::Exactly(local.arity)).map_err(|fault| ("local function", fault))?;
    }
    for lambda in &file.lambdas {
        entry(labels, lambda.label, Wanted::Exactly(lambda.arity)).map_err(|fault| ("fun", fault))?;
    }
    Ok(())
}

/// By import: whether its calls do not return.
fn never_returning_imports(file: &BeamFile) -> Vec<bool> {
    let name = |atom: u32| file.atoms.get(atom as usize).map_or("", String::as_str);
    let never = |import: &Mfa| name(import.module) == "erlang" && NEVER_RETURN.contains(&(name(import.function), import.arity));
    file.imports.iter().map(never).collect()
}

#[cfg(test)]
mod tests;
