//! The tables of a `.beam` file, a function each.

use std::borrow::Cow;

use flate2::{Decompress, FlushDecompress, Status};

use super::reader::Reader;
use super::*;
use crate::decode::{operand, tag, unsigned, unsigned_value};
use crate::genop::Opcode;

const ATOM_CHARS_MAX: usize = 255;

/// The `AtU8` chunk. A negative count (OTP 28) means that lengths are in the compact operand
/// encoding.
pub fn atoms_utf8(reader: &mut Reader<'_>) -> Result<Vec<String>, BeamError> {
    let start = reader.position();
    let claimed = reader.u32()?.cast_signed();
    let count = reader.check_count(start, "atoms", claimed.unsigned_abs(), 1)?;
    let mut atoms = Vec::with_capacity(count + 1);
    atoms.push(String::new());
    for _ in 0..count {
        let start = reader.position();
        let length = if claimed < 0 {
            usize::try_from(unsigned(reader)?).unwrap_or(usize::MAX)
        } else {
            usize::from(reader.u8()?)
        };
        let text = str::from_utf8(reader.bytes(length)?)
            .map_err(|_| reader.error_at(start, Problem::InvalidUtf8("an atom")))?;
        // No count of characters is needed where there are not enough bytes.
        if text.len() > ATOM_CHARS_MAX && text.chars().count() > ATOM_CHARS_MAX {
            return Err(reader.error_at(start, Problem::AtomTooLong));
        }
        atoms.push(text.to_owned());
    }
    named(reader, atoms)
}

/// The Atom chunk of OTP 19 and earlier.
pub fn atoms_latin1(reader: &mut Reader<'_>) -> Result<Vec<String>, BeamError> {
    let count = reader.count("atoms", 1)?;
    let mut atoms = Vec::with_capacity(count + 1);
    atoms.push(String::new());
    for _ in 0..count {
        let length = reader.u8()?;
        let text = reader.bytes(usize::from(length))?;
        atoms.push(text.iter().map(|byte| char::from(*byte)).collect());
    }
    named(reader, atoms)
}

/// The first atom is the module's name, so there has to be one.
fn named(reader: &Reader<'_>, atoms: Vec<String>) -> Result<Vec<String>, BeamError> {
    if atoms.len() < 2 {
        let problem = Problem::NoSuchIndex { what: "atom", value: 1, count: atoms.len() };
        return Err(reader.error_at(0, problem));
    }
    Ok(atoms)
}

/// The `ImpT` chunk: the functions of other modules, as indices into the atom table (of `atoms`
/// entries).
pub fn imports(reader: &mut Reader<'_>, atoms: usize) -> Result<Vec<Mfa>, BeamError> {
    let count = reader.count("imports", 12)?;
    let mut imports = Vec::with_capacity(count);
    for _ in 0..count {
        imports.push(Mfa {
            module: atom(reader, atoms)?,
            function: atom(reader, atoms)?,
            arity: reader.at_most("arity", ARITY_MAX)?,
        });
    }
    reader.finish()?;
    Ok(imports)
}

/// The `ExpT` and `LocT` chunks.
pub fn functions(
    reader: &mut Reader<'_>,
    atoms: usize,
    labels: u32,
) -> Result<Vec<FunRef>, BeamError> {
    let count = reader.count("functions", 12)?;
    let mut functions = Vec::with_capacity(count);
    for _ in 0..count {
        functions.push(FunRef {
            function: atom(reader, atoms)?,
            arity: reader.at_most("arity", ARITY_MAX)?,
            label: reader.index("label", labels as usize)?,
        });
    }
    reader.finish()?;
    Ok(functions)
}

/// The `FunT` chunk: the functions that funs of the module run, in the order of their numbers.
pub fn lambdas(
    reader: &mut Reader<'_>,
    atoms: usize,
    labels: u32,
) -> Result<Vec<Lambda>, BeamError> {
    let count = reader.count("funs", 24)?;
    let mut lambdas = Vec::with_capacity(count);
    for _ in 0..count {
        let function = atom(reader, atoms)?;
        let arity = reader.at_most("arity", ARITY_MAX)?;
        lambdas.push(Lambda {
            function,
            arity,
            label: reader.index("label", labels as usize)?,
            index: reader.u32()?,
            num_free: reader.at_most("number of free variables", arity)?,
            old_uniq: reader.u32()?,
        });
    }
    reader.finish()?;
    Ok(lambdas)
}

/// The Recs chunk (OTP 29): version, number of records and of all their fields, then each record as
/// a `call_last` instruction of name, whether it is exported, and a list of fields and default
/// values; a number for a value says that there is none.
pub fn records(
    reader: &mut Reader<'_>,
    sizes: TableSizes,
    atoms: &[String],
) -> Result<Vec<RecordDef>, BeamError> {
    let version = reader.u32()?;
    if version != 0 {
        return Err(reader.error_at(
            0,
            Problem::OutOfRange { what: "version", value: version.into(), limit: 0 },
        ));
    }
    let count = reader.count("records", 1)?;
    let _fields = reader.u32()?;
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        let start = reader.position();
        let malformed = |reader: &Reader<'_>| reader.error_at(start, Problem::MalformedRecord);
        if reader.u8()? != Opcode::CallLast as u8 {
            return Err(malformed(reader));
        }
        let [mut name, mut exported, mut fields] = [const { Operand::Nil }; 3];
        for to in [&mut name, &mut exported, &mut fields] {
            operand(reader, &sizes, to)?;
        }
        let (Operand::Atom(name), Operand::Atom(exported), Operand::List(fields)) =
            (name, exported, fields)
        else {
            return Err(malformed(reader));
        };
        let is_exported = match atoms[exported as usize].as_str() {
            "true" => true,
            "false" => false,
            _ => return Err(malformed(reader)),
        };
        let mut known = Vec::with_capacity(fields.len() / 2);
        let (pairs, []) = fields.as_chunks::<2>() else { return Err(malformed(reader)) };
        for [field, value] in pairs {
            let value = match value {
                Operand::Unsigned(_) => None,
                Operand::Atom(_) | Operand::Nil | Operand::Int(_) | Operand::Literal(_) => {
                    Some(value.clone())
                }
                _ => return Err(malformed(reader)),
            };
            match field {
                Operand::Atom(field) if known.iter().all(|(other, _)| other != field) => {
                    known.push((*field, value));
                }
                _ => return Err(malformed(reader)),
            }
        }
        if records.iter().any(|record: &RecordDef| record.name == name) {
            return Err(malformed(reader));
        }
        records.push(RecordDef { name, is_exported, fields: known });
    }
    reader.finish()?;
    Ok(records)
}

fn atom(reader: &mut Reader<'_>, atoms: usize) -> Result<u32, BeamError> {
    let start = reader.position();
    match reader.index("atom", atoms)? {
        0 => {
            Err(reader
                .error_at(start, Problem::NoSuchIndex { what: "atom", value: 0, count: atoms }))
        }
        atom => Ok(atom),
    }
}

/// Literals: a size, then that many bytes compressed; or 0 (OTP 28), then the bytes as they are.
pub fn literals(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<Vec<u8>>, BeamError> {
    let size = reader.u32()? as usize;
    let data = match size {
        0 => Cow::Borrowed(reader.rest()),
        _ => Cow::Owned(inflate(reader, size, limit)?),
    };
    let mut reader = Reader::new(&data, FilePart::Literals);
    let count = reader.count("literals", 4)?;
    let mut literals = Vec::with_capacity(count);
    for _ in 0..count {
        let size = reader.u32()? as usize;
        let start = reader.position();
        let term = reader.bytes(size)?;
        if term.first() != Some(&131) {
            return Err(reader.error_at(start, Problem::LiteralVersion));
        }
        literals.push(term.to_vec());
    }
    Ok(literals)
}

/// Decompresses the rest of the chunk to exactly `size` bytes.
fn inflate(reader: &mut Reader<'_>, size: usize, limit: usize) -> Result<Vec<u8>, BeamError> {
    let start = reader.position();
    if size > limit {
        return Err(reader.error_at(0, Problem::TooLarge { limit }));
    }
    let compressed = reader.rest();
    // Deflate expands at most 1032 times, so a short chunk cannot claim a long buffer.
    let capacity = size.min(compressed.len().saturating_mul(1032) + 64);
    let mut data = Vec::with_capacity(capacity);
    match Decompress::new(true).decompress_vec(compressed, &mut data, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) if data.len() == size => Ok(data),
        Ok(Status::StreamEnd) => {
            let problem = Problem::LiteralSize { claimed: size, actual: data.len() };
            Err(reader.error_at(start, problem))
        }
        Ok(_) | Err(_) => Err(reader.error_at(start, Problem::CorruptCompression)),
    }
}

/// The Line chunk; one of an unknown version is ignored.
pub fn lines(reader: &mut Reader<'_>) -> Result<Option<LineTable>, BeamError> {
    if reader.u32()? != 0 {
        return Ok(None);
    }
    let _flags = reader.u32()?;
    let _instruction_count = reader.u32()?;
    let start = reader.position();
    let (item_count, file_count) = (reader.u32()?, reader.u32()?);
    let item_count = reader.check_count(start, "line items", item_count, 1)?;
    let file_count = reader.check_count(start + 4, "file names", file_count, 2)?;

    let mut items = Vec::with_capacity(item_count + 1);
    items.push(LineItem::default());
    let mut file = 0;
    while items.len() <= item_count {
        let start = reader.position();
        let first = reader.u8()?;
        let value = unsigned_value(reader, first)?;
        match first & 7 {
            tag::ATOM if value <= file_count as u64 => file = value as u32,
            tag::ATOM => {
                let problem =
                    Problem::NoSuchIndex { what: "file name", value, count: file_count + 1 };
                return Err(reader.error_at(start, problem));
            }
            tag::INTEGER => {
                let line = u32::try_from(value).map_err(|_| {
                    let limit = u64::from(u32::MAX);
                    reader.error_at(start, Problem::OutOfRange { what: "line", value, limit })
                })?;
                items.push(LineItem { file, line });
            }
            tag => {
                let problem = Problem::UnexpectedTag { expected: "a line or a file name", tag };
                return Err(reader.error_at(start, problem));
            }
        }
    }

    let mut files = Vec::with_capacity(file_count + 1);
    files.push(String::new());
    for _ in 0..file_count {
        let start = reader.position();
        let length = reader.u16()?;
        let name = str::from_utf8(reader.bytes(usize::from(length))?)
            .map_err(|_| reader.error_at(start, Problem::InvalidUtf8("a file name")))?;
        files.push(name.to_owned());
    }
    Ok(Some(LineTable { files, items }))
}

/// The Type chunk of OTP 25 (version 1), 26 (version 2) and 27 (version 3); others are ignored.
pub fn types(reader: &mut Reader<'_>) -> Result<Vec<TypeEntry>, BeamError> {
    let version = reader.u32()?;
    let (entry, entry_bytes_min): (fn(&mut Reader<'_>) -> _, _) = match version {
        1 => (type_version_1, 18),
        2 => (type_version_2, 2),
        3 => (type_version_3, 2),
        _ => return Ok(Vec::new()),
    };
    let count = reader.count("types", entry_bytes_min)?;
    let mut types = Vec::with_capacity(count);
    for _ in 0..count {
        let start = reader.position();
        let entry: TypeEntry = entry(reader)?;
        if entry.bits == 0 {
            return Err(reader.error_at(start, Problem::EmptyType));
        }
        types.push(entry);
    }
    Ok(types)
}

/// Both bounds are always there; that they cross means that there are none.
fn type_version_1(reader: &mut Reader<'_>) -> Result<TypeEntry, BeamError> {
    let bits = without_context_bit(reader.u16()?);
    let (min, max) = (reader.i64()?, reader.i64()?);
    let bounded = min <= max;
    Ok(TypeEntry { bits, min: bounded.then_some(min), max: bounded.then_some(max), unit: None })
}

fn type_version_2(reader: &mut Reader<'_>) -> Result<TypeEntry, BeamError> {
    let raw = reader.u16()?;
    type_with_extras(reader, without_context_bit(raw), raw >> 13)
}

fn type_version_3(reader: &mut Reader<'_>) -> Result<TypeEntry, BeamError> {
    let raw = reader.u16()?;
    let mut bits = raw & (TYPE_ANY >> 1);
    if bits & TYPE_BITSTRING != 0 {
        bits |= TYPE_BS_CONTEXT;
    }
    type_with_extras(reader, bits, raw >> 12)
}

/// Until OTP 26, bit 2 meant a match context and the rest was one bit higher than it is today.
fn without_context_bit(raw: u16) -> u16 {
    let low = raw & 3;
    let high = (raw >> 1) & (TYPE_ANY >> 1) & !3;
    let context = if raw & 4 != 0 { TYPE_BS_CONTEXT } else { 0 };
    low | high | context
}

/// The parts whose presence flags announce: lower bound, upper bound, unit.
fn type_with_extras(
    reader: &mut Reader<'_>,
    bits: u16,
    present: u16,
) -> Result<TypeEntry, BeamError> {
    let mut entry = TypeEntry { bits, min: None, max: None, unit: None };
    if present & 1 != 0 {
        entry.min = Some(reader.i64()?);
    }
    if present & 2 != 0 {
        entry.max = Some(reader.i64()?);
    }
    if present & 4 != 0 {
        entry.unit = Some(u16::from(reader.u8()?) + 1);
    }
    Ok(entry)
}
