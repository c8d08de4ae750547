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
use crate::file::{BeamFile, Mfa};
use crate::genop::Opcode;

/// Imported functions of module `erlang` that raise or stop, and never return.
pub const NEVER_RETURN: &[(&str, u32)] = &[("error", 1), ("error", 2), ("error", 3), ("exit", 1), ("throw", 1), ("nif_error", 1), ("nif_error", 2)];

/// No such thing: of labels, slots and arities.
const NONE: u32 = u32::MAX;

/// What is known of a label.
#[derive(Clone, Copy)]
struct LabelInfo {
    /// Index of its `label` instruction.
    op: u32,
    /// The arity, where the label is the entry of a function.
    entry_arity: u32,
    /// Where the state at this label is kept while its function is verified.
    slot: u32,
}

impl LabelInfo {
    const UNDEFINED: LabelInfo = LabelInfo { op: NONE, entry_arity: NONE, slot: NONE };
}

/// A function's instructions, as indexes of [`crate::file::Code::ops`].
#[derive(Clone, Copy, Debug)]
struct Function {
    /// The first of the labels and lines that precede `func_info`.
    start: usize,
    func_info: usize,
    end: usize,
    arity: u32,
}

/// Proves that the code of a module can be executed, or says which instruction is wrong and why.
pub fn verify(file: &BeamFile) -> Result<(), VerifyError> {
    let (mut labels, functions) = survey(file)?;
    check_tables(file, &labels).map_err(|(what, fault)| VerifyError::table(file, what, fault))?;
    let never_return = never_returning_imports(file);
    let mut flow = Flow::new(file, &mut labels, &never_return);
    for function in &functions {
        flow.verify_function(function).map_err(|(op, fault)| VerifyError::new(file, function.func_info, op, fault))?;
    }
    Ok(())
}

/// Finds labels and functions. The code has to be functions, one after the other, and nothing else.
fn survey(file: &BeamFile) -> Result<(Vec<LabelInfo>, Vec<Function>), VerifyError> {
    let ops = &file.code.ops;
    let fail = |op, fault| Err(VerifyError::new(file, NONE as usize, op, fault));
    if ops.len() >= NONE as usize {
        return fail(0, Fault::TooManyInstructions);
    }
    let mut labels = vec![LabelInfo::UNDEFINED; file.code.label_count as usize];
    let mut functions: Vec<Function> = Vec::new();
    // The first of a run of labels and lines, which belongs to a `func_info` if one follows.
    let mut run = 0;
    let mut end = None;
    for (index, op) in ops.iter().enumerate() {
        if let Err(fault) = shape::check_kinds(file, op) {
            let func_info = functions.last().map_or(NONE as usize, |function| function.func_info);
            return Err(VerifyError::new(file, func_info, index, fault));
        }
        match op.opcode {
            Opcode::Label => {
                let label = shape::unsigned(&op.args[0]) as usize;
                match labels.get_mut(label) {
                    Some(info) if label != 0 && info.op == NONE => info.op = index as u32,
                    Some(_) if label != 0 => {
                        return fail(index, Fault::DuplicateLabel(label as u32));
                    }
                    _ => return fail(index, Fault::NoSuchLabel(label as u64)),
                }
                continue;
            }
            Opcode::Line => continue,
            Opcode::FuncInfo => {
                if let Some(previous) = functions.last_mut() {
                    previous.end = run;
                }
                let arity = shape::unsigned(&op.args[2]) as u32;
                functions.push(Function { start: run, func_info: index, end: ops.len(), arity });
            }
            Opcode::IntCodeEnd => {
                end = Some(index);
                break;
            }
            _ if functions.is_empty() => return fail(index, Fault::OutsideFunction),
            _ => {}
        }
        run = index + 1;
    }
    let Some(end) = end.filter(|end| end + 1 == ops.len()) else {
        return fail(ops.len().saturating_sub(1), Fault::FallsOff);
    };
    if let Some(last) = functions.last_mut() {
        last.end = end;
    }
    mark_entries(file, &functions, &mut labels)?;
    Ok((labels, functions))
}

/// The label right after `func_info` is where calls go.
fn mark_entries(file: &BeamFile, functions: &[Function], labels: &mut [LabelInfo]) -> Result<(), VerifyError> {
    for function in functions {
        let fail = |fault| Err(VerifyError::new(file, function.func_info, function.func_info, fault));
        let ops = &file.code.ops[..function.end];
        if function.start == function.func_info || ops[function.start].opcode != Opcode::Label {
            return fail(Fault::NoFunctionLabel);
        }
        match ops.get(function.func_info + 1) {
            Some(op) if op.opcode == Opcode::Label => {
                labels[shape::unsigned(&op.args[0]) as usize].entry_arity = function.arity;
            }
            _ => return fail(Fault::NoEntryLabel),
        }
    }
    Ok(())
}

/// Exports, local functions and lambdas have to be entries of functions.
fn check_tables(file: &BeamFile, labels: &[LabelInfo]) -> Result<(), (&'static str, Fault)> {
    let entry = |label: u32, arity: u32| match labels.get(label as usize) {
        Some(info) if info.entry_arity == arity => Ok(()),
        Some(info) if info.entry_arity != NONE => Err(Fault::WrongArity { label, arity: info.entry_arity, wanted: arity }),
        _ => Err(Fault::NotAnEntry(label)),
    };
    for export in &file.exports {
        entry(export.label, export.arity).map_err(|fault| ("export", fault))?;
    }
    for local in &file.locals {
        entry(local.label, local.arity).map_err(|fault| ("local function", fault))?;
    }
    for lambda in &file.lambdas {
        entry(lambda.label, lambda.arity).map_err(|fault| ("fun", fault))?;
        if lambda.num_free > lambda.arity {
            return Err(("fun", Fault::FreeVariables { given: lambda.arity, wanted: lambda.num_free }));
        }
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
