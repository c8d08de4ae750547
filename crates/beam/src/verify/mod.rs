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
//! - a match context goes nowhere but to instructions that take one, and to functions of this
//!   module that treat the argument as one;
//! - what refers to a message that the mailbox still has is in registers of the function, and dead
//!   when the next message is looked at; where it goes elsewhere, the machine makes it the
//!   process's own first ([`Amendment::OwnMessage`]);
//! - `remove_message` follows a `loop_rec` that has found a message;
//! - `set_tuple_element` changes what `setelement/3` has just made, and does not put it into
//!   itself;
//! - every loop that makes no call passes an [`Amendment::EndTurn`]; code that no path reaches is
//!   left out ([`Amendment::Dead`]).
//!
//! Left to the machine:
//! - every instruction checks the types of the terms that it takes apart or looks into (also match
//!   contexts, their positions, receive markers, the binary under construction);
//! - an exception goes to the active catch tag in the *lowest-numbered* Y register of the newest
//!   frame that has one, with X0 to X3 set, and X0 to a mark that no term has; `try_case` raises an
//!   error where it does not find that mark in X0 (the compiler lets code run into it that follows
//!   a call which never returns), before it touches the frame;
//! - a frame's Y registers hold harmless words from its allocation on, because an exception can
//!   make the machine look through a frame that is not yet fully initialised;
//! - X registers at and above the live count can still be *operands* of the instruction that kills
//!   them;
//! - a tail call of one of [`NEVER_RETURN`] may name any frame size: the frame is not to be
//!   deallocated;
//! - `wait_timeout` reads its operand only when the timer is not running yet;
//! - between `loop_rec` and `remove_message` the current message is still the mailbox's: a
//!   collection and an exception make it the process's own; what is called meanwhile may have taken
//!   it, and then `remove_message` raises an error;
//! - the built-ins of `bif` and `gc_bif` are guard built-ins: who links the code sees to that.
//!
//! `docs/verifier.md` lists this instruction by instruction.

mod amendment;
mod effect;
mod error;
mod flow;
mod shape;
mod state;
mod step;

pub use self::amendment::{Amendment, Amendments};
pub use self::error::{Fault, VerifyError};
use self::flow::Flow;
use self::state::RegSet;
use crate::decode::functions;
use crate::file::{BeamFile, Mfa, Op};
use crate::genop::Opcode;
use std::collections::{BTreeMap, BTreeSet};

/// Imported functions of module `erlang` that raise or stop, and never return.
pub const NEVER_RETURN: &[(&str, u32)] = &[
    ("error", 1),
    ("error", 2),
    ("error", 3),
    ("exit", 1),
    ("throw", 1),
    ("nif_error", 1),
    ("nif_error", 2),
];

/// Stands for no label, slot or arity.
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
    const UNDEFINED: LabelInfo =
        LabelInfo { function: NONE, op: NONE, entry_arity: NONE, slot: NONE };
}

/// A function's instructions.
#[derive(Clone, Copy)]
struct FunctionOps<'a> {
    number: u32,
    ops: &'a [Op],
    func_info: usize,
    arity: u32,
}

/// A call of a label that is not known yet.
struct Call {
    label: u32,
    wanted: WantedArity,
    /// Name and arity of the function that calls, where in the code, and by what instruction.
    caller: (u32, u32),
    offset: u32,
    opcode: Opcode,
}

/// The arity that the function at a label has to have.
#[derive(Clone, Copy)]
enum WantedArity {
    Exactly(u32),
    AtLeast(u32),
}

impl WantedArity {
    fn check(self, label: u32, arity: u32) -> Result<(), Fault> {
        match self {
            WantedArity::Exactly(wanted) | WantedArity::AtLeast(wanted) if arity == wanted => {
                Ok(())
            }
            WantedArity::AtLeast(wanted) if arity > wanted => Ok(()),
            WantedArity::Exactly(wanted) | WantedArity::AtLeast(wanted) => {
                Err(Fault::WrongArity { label, arity, wanted })
            }
        }
    }
}

/// A call of a function of this module with match contexts for arguments.
struct ContextCall {
    label: u32,
    /// The X registers with the contexts.
    arguments: RegSet,
    caller: (u32, u32),
    offset: u32,
    opcode: Opcode,
}

/// Proves that the code of a module can be executed, or says which instruction is wrong and why.
///
/// # Errors
/// What is wrong.
pub fn verify(file: &BeamFile) -> Result<(), VerifyError> {
    let mut verifier = Verifier::new(file)?;
    let Some((last, ops)) =
        file.code.ops.split_last().filter(|(last, _)| last.opcode == Opcode::IntCodeEnd)
    else {
        return Err(VerifyError::new(
            file,
            &file.code.ops,
            file.code.ops.len().saturating_sub(1),
            Fault::FallsOff,
        ));
    };
    shape::check_kinds(file, last)
        .map_err(|fault| VerifyError::new(file, std::slice::from_ref(last), 0, fault))?;
    let mut at = std::collections::HashMap::new();
    for function in functions(ops) {
        at.insert(function[0].offset, function);
        verifier.function(function)?;
    }
    verifier.finish(|offset| at.get(&offset).map(|ops| ops.to_vec()))
}

/// Proves the code of a module function by function; see [`verify`].
pub struct Verifier<'a> {
    file: &'a BeamFile,
    labels: Vec<LabelInfo>,
    imports: Vec<Known>,
    /// The offset of each function's first instruction.
    functions: Vec<u32>,
    calls: Vec<Call>,
    context_calls: Vec<ContextCall>,
    slots: Vec<flow::Slot>,
}

impl<'a> Verifier<'a> {
    /// A verifier for a file of which no function was looked at yet.
    ///
    /// # Errors
    /// What is wrong with the tables of the file.
    pub fn new(file: &'a BeamFile) -> Result<Verifier<'a>, VerifyError> {
        for lambda in &file.lambdas {
            if lambda.num_free > lambda.arity {
                return Err(VerifyError::table(
                    file,
                    "fun",
                    Fault::FreeVariables { given: lambda.arity, wanted: lambda.num_free },
                ));
            }
        }
        let labels = vec![LabelInfo::UNDEFINED; file.code.label_count as usize];
        let imports = file.imports.iter().map(|import| known(file, import)).collect();
        Ok(Verifier {
            file,
            labels,
            imports,
            functions: Vec::new(),
            calls: Vec::new(),
            context_calls: Vec::new(),
            slots: Vec::new(),
        })
    }

    /// The next function, as the file's [`CodeReader`](crate::file::CodeReader) gives it. What it
    /// calls may come later.
    ///
    /// # Errors
    /// Which instruction is wrong, and why.
    pub fn function(&mut self, ops: &[Op]) -> Result<Amendments, VerifyError> {
        let fail = |(op, fault)| VerifyError::new(self.file, ops, op, fault);
        let survey =
            survey(self.file, &mut self.labels, self.functions.len() as u32, ops).map_err(fail)?;
        let Some(function) = survey else { return Ok(Amendments::default()) };
        self.functions.push(ops[0].offset);
        self.flow_clearing(function, &RegSet::default())
            .map_err(|(op, fault)| VerifyError::new(self.file, ops, op, fault))
    }

    fn flow_clearing(
        &mut self,
        function: FunctionOps<'_>,
        contexts: &RegSet,
    ) -> Result<Amendments, (usize, Fault)> {
        match self.flow(function, contexts, false) {
            // Once more with the destinations of guard built-ins cleared, which costs time only
            // where it is needed.
            Err((
                op,
                fault @ (Fault::UninitialisedX(_)
                | Fault::UninitialisedY(_)
                | Fault::StackNotInitialised),
            )) => self.flow(function, contexts, true).map_err(|_| (op, fault)),
            result => result,
        }
    }

    fn flow(
        &mut self,
        function: FunctionOps<'_>,
        contexts: &RegSet,
        clearing: bool,
    ) -> Result<Amendments, (usize, Fault)> {
        for op in function.ops.iter().filter(|op| op.opcode == Opcode::Label) {
            self.labels[shape::unsigned(&op.args[0]) as usize].slot = NONE;
        }
        let (calls, context_calls) = (self.calls.len(), self.context_calls.len());
        let mut flow = Flow {
            file: self.file,
            labels: &mut self.labels,
            imports: &self.imports,
            slots: &mut self.slots,
            calls: &mut self.calls,
            context_calls: &mut self.context_calls,
            function,
            contexts,
            position: 0,
            again: None,
            clearing,
            amendments: BTreeMap::new(),
            loops: BTreeSet::new(),
            reached: Vec::new(),
        };
        let result = flow.verify();
        let amendments = std::mem::take(&mut flow.amendments);
        if result.is_err() {
            self.calls.truncate(calls);
            self.context_calls.truncate(context_calls);
        }
        result.map(|()| Amendments::from(amendments))
    }

    /// Functions that are called with match contexts are verified once more, with these arguments
    /// as contexts. `read` gives the instructions of the function that begins at an offset.
    fn contexts(
        &mut self,
        mut read: impl FnMut(u32) -> Option<Vec<Op>>,
    ) -> Result<(), VerifyError> {
        let mut verified: BTreeMap<u32, RegSet> = BTreeMap::new();
        while let Some(call) = self.context_calls.pop() {
            let file = self.file;
            let number = self.labels[call.label as usize].function;
            let arguments = verified.entry(number).or_default();
            if !arguments.unite(&call.arguments) {
                continue;
            }
            let arguments = arguments.clone();
            let failed = |fault| VerifyError::context_call(file, &call, fault);
            let Some(ops) = read(self.functions[number as usize]) else {
                return Err(failed(Fault::NotAnEntry(call.label)));
            };
            let func_info = ops.iter().position(|op| op.opcode == Opcode::FuncInfo);
            let Some(func_info) = func_info else {
                return Err(failed(Fault::NotAnEntry(call.label)));
            };
            let arity = shape::unsigned(&ops[func_info].args[2]) as u32;
            let function = FunctionOps { number, ops: &ops, func_info, arity };
            self.flow_clearing(function, &arguments)
                .map_err(|(op, fault)| VerifyError::new(file, &ops, op, fault))?;
        }
        Ok(())
    }

    /// All functions were there.
    ///
    /// # Errors
    /// What is called, exported or made a fun of, and is no function; what is called with match
    /// contexts, and takes none.
    pub fn finish(mut self, read: impl FnMut(u32) -> Option<Vec<Op>>) -> Result<(), VerifyError> {
        let file = self.file;
        for call in &self.calls {
            let Call { label, wanted, .. } = *call;
            entry(&self.labels, label, wanted)
                .map_err(|fault| VerifyError::call(file, call, fault))?;
        }
        self.contexts(read)?;
        check_tables(file, &self.labels)
            .map_err(|(what, fault)| VerifyError::table(file, what, fault))
    }
}

/// Finds the labels of a function, and checks the kinds of operands. There may be none: only labels
/// and lines.
fn survey<'a>(
    file: &BeamFile,
    labels: &mut [LabelInfo],
    number: u32,
    ops: &'a [Op],
) -> Result<Option<FunctionOps<'a>>, (usize, Fault)> {
    if ops.len() >= NONE as usize {
        return Err((0, Fault::TooManyInstructions));
    }
    let mut function: Option<FunctionOps<'a>> = None;
    for (index, op) in ops.iter().enumerate() {
        shape::check_kinds(file, op).map_err(|fault| (index, fault))?;
        match op.opcode {
            Opcode::Label => {
                let label = shape::unsigned(&op.args[0]) as usize;
                match labels.get_mut(label) {
                    Some(info) if label != 0 && info.function == NONE => {
                        (info.function, info.op) = (number, index as u32);
                    }
                    Some(_) if label != 0 => {
                        return Err((index, Fault::DuplicateLabel(label as u32)));
                    }
                    _ => return Err((index, Fault::NoSuchLabel(label as u64))),
                }
            }
            Opcode::Line => {}
            Opcode::FuncInfo => {
                debug_assert!(function.is_none(), "there is one in each function");
                let arity = shape::unsigned(&op.args[2]) as u32;
                function = Some(FunctionOps { number, ops, func_info: index, arity });
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
        Some(op) if op.opcode == Opcode::Label => {
            labels[shape::unsigned(&op.args[0]) as usize].entry_arity = function.arity;
        }
        _ => return Err((func_info, Fault::NoEntryLabel)),
    }
    Ok(Some(function))
}

/// Checks that a label is the entry of a function of that arity.
fn entry(labels: &[LabelInfo], label: u32, wanted: WantedArity) -> Result<(), Fault> {
    match labels.get(label as usize) {
        Some(info) if info.entry_arity != NONE => wanted.check(label, info.entry_arity),
        _ => Err(Fault::NotAnEntry(label)),
    }
}

/// Exports, local functions and lambdas have to be entries of functions.
fn check_tables(file: &BeamFile, labels: &[LabelInfo]) -> Result<(), (&'static str, Fault)> {
    for export in &file.exports {
        entry(labels, export.label, WantedArity::Exactly(export.arity))
            .map_err(|fault| ("export", fault))?;
    }
    for local in &file.locals {
        entry(labels, local.label, WantedArity::Exactly(local.arity))
            .map_err(|fault| ("local function", fault))?;
    }
    for lambda in &file.lambdas {
        entry(labels, lambda.label, WantedArity::Exactly(lambda.arity))
            .map_err(|fault| ("fun", fault))?;
    }
    Ok(())
}

/// What is known of an imported function.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    /// Its calls do not return.
    NeverReturns,
    /// It makes a tuple that nobody else has.
    SetElement,
    /// In `gc_bif` it also takes a match context, and tells the size of what is left.
    SizesContexts,
}

fn known(file: &BeamFile, import: &Mfa) -> Known {
    let name = |atom: u32| file.atoms.get(atom as usize).map_or("", String::as_str);
    match (name(import.module), name(import.function), import.arity) {
        ("erlang", "setelement", 3) => Known::SetElement,
        ("erlang", "byte_size" | "bit_size", 1) => Known::SizesContexts,
        ("erlang", function, arity) if NEVER_RETURN.contains(&(function, arity)) => {
            Known::NeverReturns
        }
        _ => Known::Nothing,
    }
}

#[cfg(test)]
mod tests;
