//! The `DbgB` chunk (OTP 28 and later): for each `debug_line` instruction of a module compiled with
//! `beam_debug_info`, where the values of variables are and which functions the line calls.
//!
//! Version, number of places and of all their operands; then entries, each a `call` instruction of
//! a kind and an operand. One of kind 0 begins a place; those that follow, of rising kinds, have a
//! list.

use super::*;
use crate::decode::operand;
use crate::genop::Opcode;

const VERSION: u32 = 1;
const FRAME_SIZE: u64 = 0;
const VARIABLES: u64 = 1;
const CALLS: u64 = 2;

/// How an external term that is a binary begins.
const BINARY_TERM: [u8; 2] = [131, 109];

/// The stack frame at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugFrame {
    /// There is none.
    None,
    /// The function has just been called.
    Entry,
    /// Its Y registers.
    Words(u32),
}

/// A function that a place calls.
#[derive(Clone, Debug, PartialEq)]
pub enum DebugCall {
    /// Module, name and arity.
    Remote([Operand; 2], u32),
    /// Name and arity.
    Local(Operand, u32),
    /// A fun in a variable of this name: an index of literals.
    Variable(Operand),
}

/// What is known of the place of one `debug_line` instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct DebugPlace {
    pub frame: DebugFrame,
    /// Variables, each by its name (a literal, a binary) or its number, and where its value is: a
    /// register, or the value itself.
    pub variables: Vec<(Operand, Operand)>,
    pub calls: Vec<DebugCall>,
}

/// The places in the order of the indexes of their instructions; `None` for a chunk of another
/// version.
pub fn places(
    reader: &mut Reader<'_>,
    sizes: TableSizes,
    atoms: &[String],
    literals: &[Vec<u8>],
) -> Result<Option<Vec<DebugPlace>>, BeamError> {
    if reader.u32()? != VERSION {
        return Ok(None);
    }
    let mut left = reader.count("places", 1)?;
    let mut operands_left = reader.u32()? as usize;
    let mut places: Vec<DebugPlace> = Vec::with_capacity(left);
    let mut last_kind = u64::MAX;
    while left > 0 || operands_left > 0 {
        let start = reader.position();
        let malformed = |reader: &Reader<'_>| reader.error_at(start, Problem::MalformedDebugInfo);
        if reader.u8()? != Opcode::Call as u8 {
            return Err(malformed(reader));
        }
        let [mut kind, mut what] = [const { Operand::Nil }; 2];
        operand(reader, &sizes, &mut kind)?;
        operand(reader, &sizes, &mut what)?;
        let Operand::Unsigned(kind) = kind else { return Err(malformed(reader)) };
        if kind == FRAME_SIZE {
            left = left.checked_sub(1).ok_or_else(|| malformed(reader))?;
            let frame = frame(&what, atoms).ok_or_else(|| malformed(reader))?;
            places.push(DebugPlace { frame, variables: Vec::new(), calls: Vec::new() });
        } else {
            let (Operand::List(list), Some(place)) = (what, places.last_mut()) else {
                return Err(malformed(reader));
            };
            operands_left =
                operands_left.checked_sub(list.len()).ok_or_else(|| malformed(reader))?;
            let known = match kind {
                _ if kind < last_kind => None,
                VARIABLES => variables(&list, literals).map(|found| place.variables = found),
                CALLS => calls(&list, literals).map(|found| place.calls = found),
                // Of a later compiler.
                _ => Some(()),
            };
            known.ok_or_else(|| malformed(reader))?;
        }
        last_kind = kind;
    }
    Ok(Some(places))
}

fn frame(what: &Operand, atoms: &[String]) -> Option<DebugFrame> {
    match what {
        Operand::Nil => Some(DebugFrame::None),
        Operand::Atom(atom) if atoms[*atom as usize] == "entry" => Some(DebugFrame::Entry),
        Operand::Unsigned(words) => {
            i32::try_from(*words).ok().map(|words| DebugFrame::Words(words.cast_unsigned()))
        }
        _ => None,
    }
}

fn is_binary(literal: u32, literals: &[Vec<u8>]) -> bool {
    literals[literal as usize].starts_with(&BINARY_TERM)
}

fn variables(list: &[Operand], literals: &[Vec<u8>]) -> Option<Vec<(Operand, Operand)>> {
    let (pairs, []) = list.as_chunks::<2>() else { return None };
    let known = pairs.iter().map(|[name, value]| {
        match name {
            Operand::Int(_) => {}
            Operand::Literal(name) if is_binary(*name, literals) => {}
            _ => return None,
        }
        let is_value = matches!(
            value,
            Operand::Int(_)
                | Operand::Atom(_)
                | Operand::Nil
                | Operand::X(_)
                | Operand::Y(_)
                | Operand::Literal(_)
        );
        is_value.then(|| (name.clone(), value.clone()))
    });
    known.collect()
}

/// An arity of a call is above this where the function is one of the module.
const LOCAL_ARITY: u64 = ARITY_MAX as u64 + 1;

fn calls(list: &[Operand], literals: &[Vec<u8>]) -> Option<Vec<DebugCall>> {
    let is_name = |operand: &Operand| match operand {
        Operand::Atom(_) => true,
        Operand::Literal(literal) => is_binary(*literal, literals),
        _ => false,
    };
    let mut calls = Vec::new();
    let mut rest = list;
    while let [first, after @ ..] = rest {
        rest = after;
        calls.push(match first {
            Operand::Literal(name) if is_binary(*name, literals) => {
                DebugCall::Variable(first.clone())
            }
            Operand::Unsigned(arity) if *arity < LOCAL_ARITY => {
                let [module, name, after @ ..] = rest else { return None };
                rest = after;
                if !is_name(module) || !is_name(name) {
                    return None;
                }
                DebugCall::Remote([module.clone(), name.clone()], *arity as u32)
            }
            Operand::Unsigned(arity) if *arity < 2 * LOCAL_ARITY => {
                let [name, after @ ..] = rest else { return None };
                rest = after;
                if !is_name(name) {
                    return None;
                }
                DebugCall::Local(name.clone(), (*arity - LOCAL_ARITY) as u32)
            }
            _ => return None,
        });
    }
    Some(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: TableSizes = TableSizes { atoms: 4, literals: 2, types: 0, labels: 1 };
    /// A `call` of one of the kinds.
    const CALL: u8 = Opcode::Call as u8;
    const LIST: u8 = 0x17;
    const LITERAL: u8 = 0x47;

    fn read(entries: &[u8], places: u8, operands: u8) -> Result<Vec<DebugPlace>, BeamError> {
        let bytes = [&[0, 0, 0, 1, 0, 0, 0, places, 0, 0, 0, operands], entries].concat();
        let atoms = ["", "m", "entry", "f"].map(str::to_owned);
        let literals = [vec![131, 109, 0, 0, 0, 1, b'X'], vec![131, 106]];
        super::places(&mut Reader::new(&bytes, FilePart::Instructions), SIZES, &atoms, &literals)
            .map(|places| places.expect("the version is known"))
    }

    #[test]
    fn places_have_frames_variables_and_calls() {
        let entries = [
            // A place without a frame.
            &[CALL, 0x00, 0x02][..],
            // A frame of two; X in x1, 3 is an atom; calls of m:f/2, f/1 and X.
            &[CALL, 0x00, 0x20],
            &[CALL, 0x10, LIST, 0x40, LITERAL, 0x00, 0x13, 0x31, 0x32],
            &[CALL, 0x20, LIST, 0x60, 0x20, 0x12, 0x32, 0x28, 0x01, 0x32, LITERAL, 0x00],
            // Where a function has been called; what is not known.
            &[CALL, 0x00, 0x22],
            &[CALL, 0x90, LIST, 0x10, 0x00],
        ];
        let entries: Vec<u8> = entries.concat();
        let places = read(&entries, 3, 11);
        let (x, atom) = (Operand::Literal(0), Operand::Atom);
        assert_eq!(
            places,
            Ok(vec![
                DebugPlace { frame: DebugFrame::None, variables: vec![], calls: vec![] },
                DebugPlace {
                    frame: DebugFrame::Words(2),
                    variables: vec![(x.clone(), Operand::X(1)), (Operand::Int(3), atom(3))],
                    calls: vec![
                        DebugCall::Remote([atom(1), atom(3)], 2),
                        DebugCall::Local(atom(3), 1),
                        DebugCall::Variable(x),
                    ],
                },
                DebugPlace { frame: DebugFrame::Entry, variables: vec![], calls: vec![] },
            ])
        );
    }

    #[test]
    fn others_are_refused() {
        let frame = [CALL, 0x00, 0x02];
        for (what, entries, operands) in [
            ("no place", &[CALL, 0x10, LIST, 0x00][..], 0),
            ("another instruction", &[Opcode::Label as u8, 0x00, 0x02], 0),
            ("an atom for a frame", &[CALL, 0x00, 0x32], 0),
            ("one operand", &[frame.as_slice(), &[CALL, 0x10, LIST, 0x10, 0x31]].concat(), 1),
            (
                "a name that is no binary",
                &[frame.as_slice(), &[CALL, 0x10, LIST, 0x20, LITERAL, 0x10, 0x13]].concat(),
                2,
            ),
            (
                "more operands than said",
                &[frame.as_slice(), &[CALL, 0x10, LIST, 0x40, 0x11, 0x13, 0x11, 0x13]].concat(),
                2,
            ),
            (
                "variables after calls",
                &[frame.as_slice(), &[CALL, 0x20, LIST, 0x00, CALL, 0x10, LIST, 0x20, 0x11, 0x13]]
                    .concat(),
                2,
            ),
            (
                "a call without a name",
                &[frame.as_slice(), &[CALL, 0x20, LIST, 0x10, 0x20]].concat(),
                1,
            ),
        ] {
            assert!(read(entries, 1, operands).is_err(), "{what}");
        }
    }
}
