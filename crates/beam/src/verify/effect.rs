//! What instructions need of a state and do to it, where no other state is concerned.

use super::Fault;
use super::shape::{float, unsigned};
use super::state::{Frame, Grant, RegSet, State};
use crate::file::{Op, Operand};
use crate::genop::Opcode;

/// Whether execution can go on with the next instruction.
#[derive(PartialEq)]
pub(super) enum Next {
    Continue,
    Stop,
}

pub(super) use Next::{Continue, Stop};

pub(super) type Step = Result<Next, Fault>;

/// The operand is read as a term.
#[inline]
pub(super) fn read(state: &State, arg: &Operand) -> Result<(), Fault> {
    read_any(state, arg)?;
    if state.contexts.contains(arg) {
        return Err(match *arg {
            Operand::X(register) | Operand::TypedX(register, _) => Fault::ContextX(register),
            Operand::Y(register) | Operand::TypedY(register, _) => Fault::ContextY(register),
            _ => unreachable!("only registers hold contexts"),
        });
    }
    Ok(())
}

/// The operand is read as a term or a match context.
#[inline]
pub(super) fn read_any(state: &State, arg: &Operand) -> Result<(), Fault> {
    match *arg {
        Operand::X(register) | Operand::TypedX(register, _) => {
            if state.x.contains(register) {
                Ok(())
            } else {
                Err(Fault::UninitialisedX(register))
            }
        }
        Operand::Y(register) | Operand::TypedY(register, _) => read_y(state, register),
        _ => Ok(()),
    }
}

#[inline]
pub(super) fn read_y(state: &State, register: u16) -> Result<(), Fault> {
    in_frame(state, register)?;
    if !state.y.contains(register) {
        return Err(Fault::UninitialisedY(register));
    }
    untagged(state, register)
}

pub(super) fn read_all<'o>(
    state: &State,
    args: impl Iterator<Item = &'o Operand>,
) -> Result<(), Fault> {
    for arg in args {
        read(state, arg)?;
    }
    Ok(())
}

/// The values and sizes of `bs_create_bin` segments. The value of a string is its offset.
pub(super) fn read_segments(state: &State, elements: &[Operand]) -> Result<(), Fault> {
    for [_, _, _, _, value, size] in elements.as_chunks::<6>().0 {
        read(state, value)?;
        read(state, size)?;
    }
    Ok(())
}

pub(super) fn read_float(state: &State, arg: &Operand) -> Result<(), Fault> {
    let register = float(arg);
    if state.floats.contains(register) { Ok(()) } else { Err(Fault::UninitialisedFloat(register)) }
}

/// The register gets a term, which belongs to the process.
#[inline]
pub(super) fn write(state: &mut State, arg: &Operand) -> Step {
    state.contexts.set(arg, false);
    state.fragile.set(arg, false);
    if state.fresh_tuple {
        state.same_tuple.set(arg, false);
    }
    match *arg {
        Operand::X(register) | Operand::TypedX(register, _) => {
            if register == 0 {
                state.fresh_tuple = false;
            }
            state.x.insert(register);
        }
        Operand::Y(register) | Operand::TypedY(register, _) => {
            in_frame(state, register)?;
            untagged(state, register)?;
            state.y.insert(register);
        }
        _ => unreachable!("the shape of the instruction has been checked"),
    }
    Ok(Continue)
}

pub(super) fn write_all<'o>(state: &mut State, args: impl Iterator<Item = &'o Operand>) -> Step {
    for arg in args {
        write(state, arg)?;
    }
    Ok(Continue)
}

pub(super) fn write_x0(state: &mut State) -> Step {
    write(state, &Operand::X(0))
}

/// Puts what one register holds into another.
#[inline]
pub(super) fn move_to(state: &mut State, from: &Operand, to: &Operand) -> Step {
    read_any(state, from)?;
    let (is_context, is_same) =
        (state.contexts.contains(from), state.fresh_tuple && state.same_tuple.contains(from));
    let fragile = is_fragile(state, from);
    write(state, to)?;
    state.set_context(to, is_context);
    if state.fresh_tuple {
        state.same_tuple.set(to, is_same);
    }
    mark_fragile(state, to, fragile);
    Ok(Continue)
}

pub(super) fn swap(state: &mut State, a: &Operand, b: &Operand) -> Step {
    read_any(state, a)?;
    read_any(state, b)?;
    let marks = |state: &State, arg| {
        (
            state.contexts.contains(arg),
            state.fresh_tuple && state.same_tuple.contains(arg),
            is_fragile(state, arg),
        )
    };
    let (of_a, of_b) = (marks(state, a), marks(state, b));
    for (to, (is_context, is_same, fragile)) in [(a, of_b), (b, of_a)] {
        write(state, to)?;
        state.set_context(to, is_context);
        state.same_tuple.set(to, is_same);
        mark_fragile(state, to, fragile);
    }
    Ok(Continue)
}

/// Whether the operand may refer to a message that the mailbox has.
#[inline]
pub(super) fn is_fragile(state: &State, arg: &Operand) -> bool {
    state.fragile.contains(arg)
}

/// What was just written may refer to a message that the mailbox has.
#[inline]
pub(super) fn mark_fragile(state: &mut State, arg: &Operand, fragile: bool) {
    if fragile {
        state.fragile.set(arg, true);
    }
}

#[inline]
pub(super) fn in_frame(state: &State, register: u16) -> Result<(), Fault> {
    if u32::from(register) < state.frame.words() {
        return Ok(());
    }
    Err(Fault::OutsideFrame { register, frame: state.frame.to_string() })
}

#[inline]
pub(super) fn untagged(state: &State, register: u16) -> Result<(), Fault> {
    if state.tags_mixed {
        return Err(Fault::MixedCatches);
    }
    if state.is_tagged(register) { Err(Fault::CatchTag(register)) } else { Ok(()) }
}

pub(super) fn y(arg: &Operand) -> u16 {
    match arg {
        Operand::Y(register) => *register,
        _ => unreachable!("the shape of the instruction has been checked"),
    }
}

/// X registers below the count hold terms or match contexts.
#[inline]
pub(super) fn live_x(state: &State, count: u32) -> Result<(), Fault> {
    match state.x.first_missing(count) {
        None => Ok(()),
        Some(register) => Err(Fault::UninitialisedX(register)),
    }
}

/// X registers below the count hold terms.
pub(super) fn terms_in_x(state: &State, count: u32) -> Result<(), Fault> {
    live_x(state, count)?;
    match state.contexts.x.iter().next() {
        Some(register) if u32::from(register) < count => Err(Fault::ContextX(register)),
        _ => Ok(()),
    }
}

#[inline]
pub(super) fn scannable(state: &State) -> Result<(), Fault> {
    if state.scannable() { Ok(()) } else { Err(Fault::StackNotInitialised) }
}

/// A point where the heap may be collected, with so many live X registers.
#[inline]
pub(super) fn collect(state: &mut State, live: u32) -> Result<(), Fault> {
    live_x(state, live)?;
    scannable(state)?;
    state.x.truncate(live);
    state.contexts.x.truncate(live);
    state.fragile.x.truncate(live);
    state.grant = Grant::default();
    state.building = false;
    Ok(())
}

/// After anything during which other code may have run.
pub(super) fn forget_x(state: &mut State) {
    state.x.clear();
    state.contexts.x.clear();
    state.fragile.x.clear();
    state.floats.clear();
    state.grant = Grant::default();
    state.building = false;
    state.fresh_tuple = false;
}

/// After the end of a catch: the exception, or the value, in the first X registers.
pub(super) fn at_exception(state: &mut State, registers: u32) {
    forget_x(state);
    state.x = RegSet::below(registers);
}

pub(super) fn build(state: &mut State, words: u64) -> Result<(), Fault> {
    let granted = state.grant.words;
    if words > u64::from(granted) {
        return Err(Fault::HeapWords { needed: words, granted });
    }
    state.grant.words = granted - words as u32;
    Ok(())
}

pub(super) fn building(state: &State) -> Result<(), Fault> {
    if state.building { Ok(()) } else { Err(Fault::NoBinary) }
}

pub(super) fn allocate(op: &Op, state: &mut State, grant: Grant, live: u64) -> Step {
    if state.frame != Frame::None {
        return Err(Fault::FrameExists(state.frame.to_string()));
    }
    collect(state, live as u32)?;
    let words = unsigned(&op.args[0]) as u32;
    state.frame = Frame::Size(words);
    let zeroed = matches!(op.opcode, Opcode::AllocateZero | Opcode::AllocateHeapZero);
    state.y = RegSet::below(if zeroed { words } else { 0 });
    state.contexts.y.clear();
    state.fragile.y.clear();
    state.grant = grant;
    Ok(Continue)
}

pub(super) fn deallocate(state: &mut State, words: u64) -> Result<(), Fault> {
    match state.frame {
        Frame::Size(size) if u64::from(size) == words => {}
        frame => {
            return Err(Fault::WrongFrame { frame: frame.to_string(), wanted: words });
        }
    }
    no_catch(state)?;
    state.frame = Frame::None;
    state.y.clear();
    state.contexts.y.clear();
    state.fragile.y.clear();
    Ok(())
}

pub(super) fn no_frame(state: &State) -> Result<(), Fault> {
    if state.frame != Frame::None {
        return Err(Fault::FrameExists(state.frame.to_string()));
    }
    no_catch(state)
}

pub(super) fn no_catch(state: &State) -> Result<(), Fault> {
    if state.tags_mixed {
        return Err(Fault::MixedCatches);
    }
    if state.tags.is_empty() { Ok(()) } else { Err(Fault::ActiveCatch) }
}

pub(super) fn trim(args: &[Operand], state: &mut State) -> Step {
    let (dropped, remaining) = (unsigned(&args[0]) as u32, unsigned(&args[1]) as u32);
    let wanted = dropped + remaining;
    if state.frame != Frame::Size(wanted) {
        return Err(Fault::WrongFrame {
            frame: state.frame.to_string(),
            wanted: u64::from(wanted),
        });
    }
    if state.tags_mixed {
        return Err(Fault::MixedCatches);
    }
    for tag in &mut state.tags {
        match u32::from(tag.register).checked_sub(dropped) {
            Some(register) => tag.register = register as u16,
            None => return Err(Fault::ActiveCatch),
        }
    }
    state.y.shift_down(dropped);
    state.contexts.y.shift_down(dropped);
    state.fragile.y.shift_down(dropped);
    state.frame = Frame::Size(remaining);
    state.handler_knows = false;
    Ok(Continue)
}

pub(super) fn set_tuple_element(args: &[Operand], state: &mut State) -> Step {
    read(state, &args[0])?;
    read(state, &args[1])?;
    if !state.fresh_tuple || !matches!(args[1], Operand::X(0) | Operand::TypedX(0, _)) {
        return Err(Fault::SharedTuple);
    }
    // A term that contains itself has no end.
    if state.same_tuple.contains(&args[0]) { Err(Fault::CyclicTuple) } else { Ok(Continue) }
}

pub(super) fn float_move(args: &[Operand], state: &mut State) -> Step {
    let [Operand::Float(_), destination] = args else {
        read(state, &args[0])?;
        state.floats.insert(float(&args[1]));
        return Ok(Continue);
    };
    read_float(state, &args[0])?;
    if state.grant.floats == 0 {
        return Err(Fault::HeapFloats);
    }
    state.grant.floats -= 1;
    write(state, destination)
}
