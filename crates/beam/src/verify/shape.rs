//! The kinds and ranges of operands, instruction by instruction.
//!
//! This is checked for all code, reachable or not: translators rely on it.

use super::Fault;
use crate::decode::REGISTERS_MAX;
use crate::file::{ARITY_MAX, AllocKind, BeamFile, Op, Operand};
use crate::genop::{Opcode, OperandKind};

/// A frame, or one list of operands, is at most this long; Y registers are numbered below it.
const FRAME_WORDS_MAX: u64 = REGISTERS_MAX;

/// One instruction can ask for this many words of heap at most.
const HEAP_WORDS_MAX: u64 = 1 << 24;

/// A bit count or an index; more would overflow in a machine's arithmetic.
const COUNT_MAX: u64 = 1 << 28;

/// Checks everything about operands that does not depend on the function they are in.
pub(super) fn check_kinds(file: &BeamFile, op: &Op) -> Result<(), Fault> {
    if op.opcode.last_release().is_some() {
        return Err(Fault::Obsolete);
    }
    let kinds = op.opcode.kinds();
    if kinds.len() != op.args.len() {
        return Err(Fault::OperandCount { given: op.args.len(), wanted: kinds.len() });
    }
    for (position, (arg, kind)) in (1..).zip(op.args.iter().zip(kinds)) {
        check_kind(file, position, arg, *kind)?;
    }
    check_together(file, op)
}

/// Whether an operand is plainly what its kind says, as most are. The others may be, too.
#[inline(always)]
fn is_plain(file: &BeamFile, arg: &Operand, kind: OperandKind) -> bool {
    match kind {
        OperandKind::Source | OperandKind::MaybeContext => source(file, 0, arg).is_ok(),
        OperandKind::Register | OperandKind::Context | OperandKind::Target => {
            register(file, 0, arg).is_ok()
        }
        // That labels exist in the function is checked with the function.
        OperandKind::Fail | OperandKind::Place => matches!(arg, Operand::Label(_)),
        OperandKind::Jump | OperandKind::Entry => {
            matches!(arg, Operand::Label(label) if *label != 0)
        }
        OperandKind::Count => matches!(arg, Operand::Unsigned(count) if *count <= COUNT_MAX),
        OperandKind::Live => matches!(arg, Operand::Unsigned(count) if *count <= REGISTERS_MAX),
        _ => false,
    }
}

#[inline(always)]
fn check_kind(
    file: &BeamFile,
    position: usize,
    arg: &Operand,
    kind: OperandKind,
) -> Result<(), Fault> {
    if is_plain(file, arg, kind) { Ok(()) } else { check_rare(file, position, arg, kind) }
}

/// Checks an operand that is not [plainly](is_plain) of its kind.
#[inline(never)]
fn check_rare(
    file: &BeamFile,
    position: usize,
    arg: &Operand,
    kind: OperandKind,
) -> Result<(), Fault> {
    let expected = match kind {
        OperandKind::Source | OperandKind::MaybeContext => return source(file, position, arg),
        OperandKind::Register
        | OperandKind::Context
        | OperandKind::Target
        | OperandKind::NewContext
        | OperandKind::ReadWrite => {
            return register(file, position, arg);
        }
        OperandKind::Fail | OperandKind::Place | OperandKind::Jump | OperandKind::Entry => {
            "a label"
        }
        OperandKind::Start => return label_or_atom(file, position, arg, &["no_fail", "resume"]),
        OperandKind::FunTag => match arg {
            Operand::Unsigned(_) => return index(position, arg, "fun", file.lambdas.len()),
            _ => return label_or_atom(file, position, arg, &["safe", "unsafe"]),
        },
        OperandKind::Y | OperandKind::WriteY => match arg {
            Operand::Y(_) => return register(file, position, arg),
            _ => "a Y register",
        },
        OperandKind::ReadFloat | OperandKind::WriteFloat => match arg {
            Operand::Float(_) => return float_register(position, arg),
            _ => "a float register",
        },
        OperandKind::AnySource | OperandKind::AnyRegister => match (arg, kind) {
            (Operand::Float(_), _) => return float_register(position, arg),
            (_, OperandKind::AnySource) => return source(file, position, arg),
            _ => return register(file, position, arg),
        },
        OperandKind::Atom => match arg {
            Operand::Atom(_) => return source(file, position, arg),
            _ => "an atom",
        },
        OperandKind::Size => match arg {
            Operand::Unsigned(_) => return at_most(position, arg, COUNT_MAX, "too large"),
            _ => return source(file, position, arg),
        },
        OperandKind::Count => return at_most(position, arg, COUNT_MAX, "too large"),
        OperandKind::Extent => return at_most(position, arg, u64::MAX, ""),
        OperandKind::Arity => {
            return at_most(
                position,
                arg,
                u64::from(ARITY_MAX),
                "functions have up to 255 arguments",
            );
        }
        OperandKind::Live => {
            return at_most(position, arg, REGISTERS_MAX, "there are 1024 X registers");
        }
        OperandKind::FrameWords => {
            return at_most(position, arg, FRAME_WORDS_MAX, "frames have up to 1024 words");
        }
        OperandKind::Unit => return at_most(position, arg, 256, "units have up to 256 bits"),
        OperandKind::Heap => return heap(position, arg),
        OperandKind::Import => return index(position, arg, "import", file.imports.len()),
        OperandKind::Lambda => return index(position, arg, "fun", file.lambdas.len()),
        OperandKind::Line => return line(file, position, arg),
        OperandKind::Any => return Ok(()),
        OperandKind::Values
        | OperandKind::Arities
        | OperandKind::Sources
        | OperandKind::SourcePairs
        | OperandKind::SourceAndTarget
        | OperandKind::WriteYs
        | OperandKind::Segments
        | OperandKind::Updates
        | OperandKind::Commands => match arg {
            Operand::List(elements) => return list(file, position, elements, kind),
            _ => "a list",
        },
    };
    Err(Fault::OperandKind { position, expected })
}

#[inline(always)]
fn source(file: &BeamFile, position: usize, arg: &Operand) -> Result<(), Fault> {
    match arg {
        Operand::X(_) | Operand::Y(_) | Operand::TypedX(..) | Operand::TypedY(..) => {
            register(file, position, arg)
        }
        Operand::Nil | Operand::Int(_) => Ok(()),
        Operand::BigInt(bytes) if !bytes.is_empty() => Ok(()),
        Operand::Atom(atom) if *atom != 0 => {
            below(position, "atom", u64::from(*atom), file.atoms.len())
        }
        Operand::Literal(literal) => {
            below(position, "literal", u64::from(*literal), file.literals.len())
        }
        _ => Err(Fault::OperandKind { position, expected: "a register or a term" }),
    }
}

#[inline(always)]
fn register(file: &BeamFile, position: usize, arg: &Operand) -> Result<(), Fault> {
    let number = match arg {
        Operand::X(number) | Operand::Y(number) => *number,
        Operand::TypedX(number, entry) | Operand::TypedY(number, entry) => {
            below(position, "type", u64::from(*entry), file.types.len())?;
            *number
        }
        _ => {
            return Err(Fault::OperandKind { position, expected: "a register" });
        }
    };
    below(position, "register", u64::from(number), REGISTERS_MAX as usize)
}

fn float_register(position: usize, arg: &Operand) -> Result<(), Fault> {
    below(position, "register", u64::from(float(arg)), REGISTERS_MAX as usize)
}

fn label_or_atom(
    file: &BeamFile,
    position: usize,
    arg: &Operand,
    atoms: &[&str],
) -> Result<(), Fault> {
    match arg {
        Operand::Label(label) if *label != 0 => Ok(()),
        Operand::Atom(atom)
            if file
                .atoms
                .get(*atom as usize)
                .is_some_and(|atom| atoms.contains(&atom.as_str())) =>
        {
            Ok(())
        }
        _ => Err(Fault::OperandKind { position, expected: "a label or one of its atoms" }),
    }
}

fn at_most(
    position: usize,
    arg: &Operand,
    limit: u64,
    expected: &'static str,
) -> Result<(), Fault> {
    match arg {
        Operand::Unsigned(value) if *value <= limit => Ok(()),
        Operand::Unsigned(_) => Err(Fault::OperandRange { position, expected }),
        _ => Err(Fault::OperandKind { position, expected: "an unsigned number" }),
    }
}

#[inline(always)]
fn below(position: usize, table: &'static str, index: u64, count: usize) -> Result<(), Fault> {
    if index < count as u64 {
        return Ok(());
    }
    Err(Fault::OperandIndex { position, table, index, count })
}

fn index(position: usize, arg: &Operand, table: &'static str, count: usize) -> Result<(), Fault> {
    match arg {
        Operand::Unsigned(index) => below(position, table, *index, count),
        _ => Err(Fault::OperandKind { position, expected: "an index" }),
    }
}

/// Without a line table any index will do, as none is looked up.
fn line(file: &BeamFile, position: usize, arg: &Operand) -> Result<(), Fault> {
    match &file.lines {
        Some(lines) => index(position, arg, "line", lines.items.len()),
        None => at_most(position, arg, u64::MAX, ""),
    }
}

fn heap(position: usize, arg: &Operand) -> Result<(), Fault> {
    let fits = match arg {
        Operand::Unsigned(words) => *words <= HEAP_WORDS_MAX,
        Operand::AllocList(entries) => {
            let total = entries.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
            total <= HEAP_WORDS_MAX / 8
        }
        _ => {
            return Err(Fault::OperandKind { position, expected: "a heap need" });
        }
    };
    if fits {
        Ok(())
    } else {
        Err(Fault::OperandRange { position, expected: "too large a heap need" })
    }
}

fn list(
    file: &BeamFile,
    position: usize,
    elements: &[Operand],
    kind: OperandKind,
) -> Result<(), Fault> {
    let group: &[OperandKind] = match kind {
        OperandKind::Values => {
            if elements.iter().step_by(2).any(is_register) {
                return Err(Fault::OperandKind {
                    position,
                    expected: "a list of constants and labels",
                });
            }
            &[OperandKind::Source, OperandKind::Jump]
        }
        OperandKind::Arities => &[OperandKind::Extent, OperandKind::Jump],
        OperandKind::Sources => &[OperandKind::Source],
        OperandKind::SourcePairs => &[OperandKind::Source, OperandKind::Source],
        OperandKind::SourceAndTarget => &[OperandKind::Source, OperandKind::Target],
        OperandKind::WriteYs => &[OperandKind::WriteY],
        OperandKind::Segments => return segments(file, position, elements),
        OperandKind::Updates => return updates(file, position, elements),
        _ => return commands(file, position, elements),
    };
    if !elements.len().is_multiple_of(group.len()) {
        return Err(Fault::OperandKind { position, expected: "a list of pairs" });
    }
    for (element, kind) in elements.iter().zip(group.iter().cycle()) {
        check_kind(file, position, element, *kind)?;
    }
    Ok(())
}

fn is_register(arg: &Operand) -> bool {
    matches!(arg, Operand::X(_) | Operand::Y(_) | Operand::TypedX(..) | Operand::TypedY(..))
}

/// The types of `bs_create_bin` segments.
const SEGMENT_TYPES: &[&str] =
    &["append", "private_append", "binary", "float", "integer", "utf8", "utf16", "utf32", "string"];

fn segments(file: &BeamFile, position: usize, elements: &[Operand]) -> Result<(), Fault> {
    let (groups, rest) = elements.as_chunks::<6>();
    if !rest.is_empty() {
        return Err(Fault::OperandKind {
            position,
            expected: "a list of six operands for each segment",
        });
    }
    for [kind, segment, unit, flags, value, size] in groups {
        check_kind(file, position, kind, OperandKind::Atom)?;
        let Operand::Atom(atom) = kind else { continue };
        let kind = file.atoms[*atom as usize].as_str();
        if !SEGMENT_TYPES.contains(&kind) {
            return Err(Fault::OperandKind {
                position,
                expected: "a list of segments of known types",
            });
        }
        check_kind(file, position, segment, OperandKind::Count)?;
        check_kind(file, position, unit, OperandKind::Unit)?;
        check_kind(file, position, flags, OperandKind::Source)?;
        check_kind(file, position, size, OperandKind::Source)?;
        if kind != "string" {
            check_kind(file, position, value, OperandKind::Source)?;
            continue;
        }
        let Operand::Int(bytes @ 0..) = size else {
            return Err(Fault::OperandKind {
                position,
                expected: "a list with the sizes of its strings",
            });
        };
        check_kind(file, position, value, OperandKind::Count)?;
        string(file, position, unsigned(value), *bytes as u64)?;
    }
    Ok(())
}

/// A part of the string table.
fn string(file: &BeamFile, position: usize, offset: u64, bytes: u64) -> Result<(), Fault> {
    match offset.checked_add(bytes) {
        Some(end) if end <= file.strings.len() as u64 => Ok(()),
        _ => Err(Fault::OperandIndex {
            position,
            table: "string byte",
            index: offset,
            count: file.strings.len(),
        }),
    }
}

fn updates(file: &BeamFile, position: usize, elements: &[Operand]) -> Result<(), Fault> {
    let (pairs, rest) = elements.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fault::OperandKind { position, expected: "a list of pairs" });
    }
    for [index, value] in pairs {
        if !matches!(index, Operand::Unsigned(1..=COUNT_MAX)) {
            return Err(Fault::OperandKind { position, expected: "a list of indexes and values" });
        }
        check_kind(file, position, value, OperandKind::Source)?;
    }
    Ok(())
}

/// A command of `bs_match`.
#[derive(Clone, Copy)]
pub(super) enum Command<'a> {
    /// Collects nothing and writes nothing.
    Test,
    /// Takes bits out into a register, with so many live X registers.
    Get { live: u32, destination: &'a Operand },
}

/// Splits the flat list of `bs_match` into commands, and checks their operands.
pub(super) fn split_commands<'a>(
    file: &BeamFile,
    position: usize,
    elements: &'a [Operand],
    mut each: impl FnMut(Command<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let count = |arg: &Operand| match arg {
        Operand::Unsigned(value) => *value <= COUNT_MAX,
        _ => false,
    };
    let extent = |arg: &Operand| matches!(arg, Operand::Unsigned(_));
    let number =
        |arg: &Operand| matches!(arg, Operand::Unsigned(_) | Operand::Int(_) | Operand::BigInt(_));
    let mut rest = elements;
    while let [Operand::Atom(name), tail @ ..] = rest {
        let name = file.atoms.get(*name as usize).map_or("", String::as_str);
        rest = match (name, tail) {
            ("ensure_at_least", [size, unit, tail @ ..]) if extent(size) && count(unit) => {
                each(Command::Test)?;
                tail
            }
            ("ensure_exactly" | "skip", [size, tail @ ..]) if extent(size) => {
                each(Command::Test)?;
                tail
            }
            ("=:=", [_, bits, value, tail @ ..]) if number(bits) && number(value) => {
                each(Command::Test)?;
                tail
            }
            ("integer" | "binary", [live, flags, size, unit, destination, tail @ ..])
                if extent(size) && count(unit) =>
            {
                check_kind(file, position, live, OperandKind::Live)?;
                check_kind(file, position, flags, OperandKind::Source)?;
                check_kind(file, position, destination, OperandKind::Register)?;
                each(Command::Get { live: unsigned(live) as u32, destination })?;
                tail
            }
            ("get_tail", [live, unit, destination, tail @ ..]) if count(unit) => {
                check_kind(file, position, live, OperandKind::Live)?;
                check_kind(file, position, destination, OperandKind::Register)?;
                each(Command::Get { live: unsigned(live) as u32, destination })?;
                tail
            }
            _ => {
                return Err(Fault::OperandKind { position, expected: "a list of known commands" });
            }
        };
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Fault::OperandKind { position, expected: "a list of commands" })
    }
}

fn commands(file: &BeamFile, position: usize, elements: &[Operand]) -> Result<(), Fault> {
    split_commands(file, position, elements, |_| Ok(()))
}

/// What has to hold of several operands together.
fn check_together(file: &BeamFile, op: &Op) -> Result<(), Fault> {
    let args = &op.args[..];
    let import = |import: usize, wanted: u64| {
        let arity = file.imports[unsigned(&args[import]) as usize].arity;
        if u64::from(arity) == wanted {
            Ok(())
        } else {
            Err(Fault::WrongImportArity { arity, wanted })
        }
    };
    match op.opcode {
        Opcode::CallExt | Opcode::CallExtOnly | Opcode::CallExtLast => {
            import(1, unsigned(&args[0]))
        }
        Opcode::Bif0 => import(0, 0),
        Opcode::Bif1 => import(1, 1),
        Opcode::Bif2 => import(1, 2),
        Opcode::Bif3 => import(1, 3),
        Opcode::GcBif1 => import(2, 1),
        Opcode::GcBif2 => import(2, 2),
        Opcode::GcBif3 => import(2, 3),
        Opcode::Fmove
            if matches!(args[0], Operand::Float(_)) == matches!(args[1], Operand::Float(_)) =>
        {
            Err(Fault::OperandKind { position: 2, expected: "of the other kind than operand 1" })
        }
        Opcode::CallFun2 => match args[0] {
            Operand::Unsigned(fun) => {
                let lambda = file.lambdas[fun as usize];
                let (label, arity) = (lambda.label, lambda.arity.saturating_sub(lambda.num_free));
                let wanted = unsigned(&args[1]) as u32;
                if arity == wanted {
                    Ok(())
                } else {
                    Err(Fault::WrongArity { label, arity, wanted })
                }
            }
            _ => Ok(()),
        },
        Opcode::MakeFun3 => {
            let wanted = file.lambdas[unsigned(&args[0]) as usize].num_free;
            let given = elements(&args[2]).len() as u32;
            if given == wanted { Ok(()) } else { Err(Fault::FreeVariables { given, wanted }) }
        }
        Opcode::GetRecordElements => field_names(3, elements(&args[2])),
        Opcode::PutRecord => field_names(6, elements(&args[5])),
        Opcode::LoopRec if !matches!(args[1], Operand::X(0)) => {
            Err(Fault::OperandKind { position: 2, expected: "X0" })
        }
        Opcode::UpdateRecord => {
            let size = unsigned(&args[1]);
            let beyond =
                elements(&args[4]).iter().step_by(2).map(unsigned).find(|index| *index > size);
            match beyond {
                None => Ok(()),
                Some(index) => below(5, "element", index, size as usize + 1),
            }
        }
        Opcode::BsMatchString => {
            string(file, 4, unsigned(&args[3]), unsigned(&args[2]).div_ceil(8))
        }
        Opcode::BsPutString => string(file, 2, unsigned(&args[1]), unsigned(&args[0])),
        _ => Ok(()),
    }
}

/// The first of each pair is an atom.
fn field_names(position: usize, pairs: &[Operand]) -> Result<(), Fault> {
    if pairs.iter().step_by(2).all(|field| matches!(field, Operand::Atom(_))) {
        return Ok(());
    }
    Err(Fault::OperandKind { position, expected: "a list of atoms and operands" })
}

// What follows reads operands whose kind has been checked.

#[inline]
pub(super) fn unsigned(arg: &Operand) -> u64 {
    match arg {
        Operand::Unsigned(value) => *value,
        _ => unreachable!("the shape of the instruction has been checked"),
    }
}

#[inline]
pub(super) fn label(arg: &Operand) -> u32 {
    match arg {
        Operand::Label(label) => *label,
        _ => unreachable!("the shape of the instruction has been checked"),
    }
}

#[inline]
pub(super) fn float(arg: &Operand) -> u16 {
    match arg {
        Operand::Float(register) => *register,
        _ => unreachable!("the shape of the instruction has been checked"),
    }
}

#[inline]
pub(super) fn elements(arg: &Operand) -> &[Operand] {
    match arg {
        Operand::List(elements) => elements,
        _ => unreachable!("the shape of the instruction has been checked"),
    }
}

/// Words and floats that a heap need grants. A fun allocates for itself.
pub(super) fn grant(arg: &Operand) -> super::state::Grant {
    let mut grant = super::state::Grant::default();
    match arg {
        Operand::AllocList(entries) => {
            for (kind, count) in entries {
                match kind {
                    AllocKind::Words => grant.words += *count as u32,
                    AllocKind::Floats => grant.floats += *count as u32,
                    AllocKind::Funs => {}
                }
            }
        }
        _ => grant.words = unsigned(arg) as u32,
    }
    grant
}
