//! Debug information of modules compiled with `beam_debug_info` (OTP 28 and later). It is there
//! whenever a file has it; which line its places are on is known where the machine was started with
//! `+D`, since only then `debug_line` instructions are looked at.

use crate::code::{CodeServer, LoadError};
use swarmrt_beam::error::BeamError;
use swarmrt_beam::file::{BeamFile, DebugCall, DebugFrame, DebugPlace, Operand};
use swarmrt_beam::genop::Opcode;
use swarmrt_heap::LiteralArea;
use swarmrt_term::{Alloc, Atom, Term, atom};

/// Where the value of a variable is.
#[derive(Clone, Copy)]
pub enum ValuePlace {
    X(u16),
    Y(u16),
    /// It is known.
    Value(Term),
}

/// A function that a place calls.
#[derive(Clone, Copy)]
pub enum Called {
    Remote(Term, Term, u32),
    Local(Term, u32),
    /// The fun in a variable.
    Variable(Term),
}

/// The place of a `debug_line` instruction. The terms are literals of the module.
pub struct Place {
    /// The line, where the instruction has been looked at.
    pub line: Option<u32>,
    pub frame: DebugFrame,
    pub variables: Vec<(Term, ValuePlace)>,
    pub calls: Vec<Called>,
}

/// The debug information of a module.
pub struct DebugInfo {
    pub places: Vec<Place>,
}

/// Makes terms of operands.
struct Terms<'a> {
    atoms: &'a [Atom],
    literals: &'a [Term],
    area: &'a mut LiteralArea,
}

impl Terms<'_> {
    fn of(&mut self, operand: &Operand) -> Term {
        match operand {
            Operand::Atom(index) => Term::atom(self.atoms[*index as usize]),
            Operand::Literal(index) => self.literals[*index as usize],
            Operand::Int(value) => self.area.int(*value),
            _ => Term::NIL,
        }
    }
    fn place(&mut self, place: &DebugPlace) -> Place {
        let variables = place.variables.iter().map(|(name, value)| {
            let value = match value {
                Operand::X(number) => ValuePlace::X(*number),
                Operand::Y(number) => ValuePlace::Y(*number),
                value => ValuePlace::Value(self.of(value)),
            };
            (self.of(name), value)
        });
        let variables = variables.collect();
        let calls = place.calls.iter().map(|call| match call {
            DebugCall::Remote([module, name], arity) => {
                Called::Remote(self.of(module), self.of(name), *arity)
            }
            DebugCall::Local(name, arity) => Called::Local(self.of(name), *arity),
            DebugCall::Variable(name) => Called::Variable(self.of(name)),
        });
        Place { line: None, frame: place.frame, calls: calls.collect(), variables }
    }
}

impl DebugInfo {
    /// What a file has. `literals` are its literals, `area` is where they are.
    ///
    /// # Errors
    /// A `debug_line` instruction is looked at, and has no place.
    pub(crate) fn of(
        server: &CodeServer,
        file: &mut BeamFile,
        bytes: &[u8],
        atoms: &[Atom],
        literals: &[Term],
        area: &mut LiteralArea,
    ) -> Result<Option<DebugInfo>, LoadError> {
        let mut terms = Terms { atoms, literals, area };
        let known = file.debug.take().unwrap_or_default();
        let mut places: Vec<Place> = known.iter().map(|place| terms.place(place)).collect();
        if server.looks_at_debug_lines() {
            find_lines(file, bytes, atoms, &mut places)?;
        }
        Ok((!places.is_empty()).then_some(DebugInfo { places }))
    }
}

/// Looks at the `debug_line` instructions of a file.
fn find_lines(
    file: &BeamFile,
    bytes: &[u8],
    atoms: &[Atom],
    places: &mut [Place],
) -> Result<(), LoadError> {
    let refused = |error: BeamError| LoadError(error.to_string());
    let (_, mut functions) = BeamFile::open(bytes, Vec::new(), Some([0; 16])).map_err(refused)?;
    while let Some(function) = functions.next_function().map_err(refused)? {
        for op in function.iter().filter(|op| op.opcode == Opcode::DebugLine) {
            let [kind, Operand::Unsigned(line), Operand::Unsigned(index), ..] = &op.args[..] else {
                // Whoever verifies the function says what is wrong.
                continue;
            };
            // That a function begins is no place to stop at.
            if matches!(kind, Operand::Atom(kind) if atoms[*kind as usize] == atom!("entry")) {
                continue;
            }
            let count = places.len();
            let place = usize::try_from(*index)
                .ok()
                .and_then(|index| places.get_mut(index.checked_sub(1)?))
                .ok_or_else(|| {
                    LoadError(format!("debug_line {index} has no place: there are {count}"))
                })?;
            let items = file.lines.as_ref().map_or(&[][..], |lines| &lines.items);
            let item = usize::try_from(*line).ok().and_then(|line| items.get(line));
            place.line = Some(item.map_or(0, |item| item.line));
        }
    }
    Ok(())
}
