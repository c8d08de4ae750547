//! The `.beam` file: an IFF container of chunks, parsed from bytes that nobody vouches for.
//!
//! Every length and count is checked against the bytes that are there before anything is
//! allocated, so memory stays proportional to the input (for compressed parts: to a fixed bound).
//! Indexes of atoms, labels, literals and types are checked against their tables.

mod debug;
pub(crate) mod reader;
mod tables;

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;

use md5::{Digest, Md5};

pub use self::debug::{DebugCall, DebugFrame, DebugPlace};
use self::reader::Reader;
use crate::decode::TableSizes;
pub use crate::decode::{AllocKind, Args, Code, CodeReader, Op, Operand};
use crate::error::{BeamError, FilePart, Problem};
use crate::genop::OPCODE_MAX;

/// A gzip-compressed file may expand to this many bytes, a literal chunk likewise.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// Functions have at most this many parameters.
pub const ARITY_MAX: u32 = 255;

/// A parsed module.
#[derive(Clone, Debug, Default)]
pub struct BeamFile {
    /// Entry 0 is unused and empty; entry 1 is the module's name.
    pub atoms: Vec<String>,
    pub imports: Vec<Mfa>,
    pub exports: Vec<FunRef>,
    pub locals: Vec<FunRef>,
    pub lambdas: Vec<Lambda>,
    /// External terms, each with its version byte.
    pub literals: Vec<Vec<u8>>,
    pub strings: Vec<u8>,
    pub lines: Option<LineTable>,
    /// The native records that the module defines (OTP 29).
    pub records: Vec<RecordDef>,
    /// What is known of the places of `debug_line` instructions (OTP 28); `None` where nothing is.
    pub debug: Option<Vec<DebugPlace>>,
    /// Empty when the file has no type chunk or one of an unknown version; operands then carry no
    /// types.
    pub types: Vec<TypeEntry>,
    /// An external term, or empty.
    pub attributes: Vec<u8>,
    /// An external term, or empty.
    pub compile_info: Vec<u8>,
    /// What `Module:module_info(md5)` returns.
    pub md5: [u8; 16],
    pub code: Code,
}

/// An imported function. Module and function are indexes of atoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mfa {
    pub module: u32,
    pub function: u32,
    pub arity: u32,
}

/// A function of this module. The function is an index of atoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunRef {
    pub function: u32,
    pub arity: u32,
    pub label: u32,
}

/// The definition of a native record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordDef {
    /// An index of atoms.
    pub name: u32,
    pub is_exported: bool,
    /// The name of each field, an index of atoms, and its default value: an atom, a small integer,
    /// nil or a literal.
    pub fields: Vec<(u32, Option<Operand>)>,
}

/// The body of a `fun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lambda {
    pub function: u32,
    /// Parameters and free variables together.
    pub arity: u32,
    pub label: u32,
    pub index: u32,
    pub num_free: u32,
    pub old_uniq: u32,
}

/// Where instructions come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineTable {
    /// `files[0]` is empty and stands for the module's own source, its name with `.erl`.
    pub files: Vec<String>,
    /// `items[0]` is the undefined location.
    pub items: Vec<LineItem>,
}

/// One location: `file` indexes [`LineTable::files`], `line` counts from 1 (0 in the undefined
/// location).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineItem {
    pub file: u32,
    pub line: u32,
}

/// What the compiler knows of a register's value. A claim of the file, not a proven fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeEntry {
    /// A union of `TYPE_` flags.
    pub bits: u16,
    /// Bounds of the value where it is an integer.
    pub min: Option<i64>,
    pub max: Option<i64>,
    /// Where it is a bitstring, its size in bits is a multiple of this.
    pub unit: Option<u16>,
}

// Flags of `TypeEntry::bits`: `BEAM_TYPE_…` in `beam_types.hrl` of OTP 27 and later.
/// Atoms.
pub const TYPE_ATOM: u16 = 1 << 0;
/// Bitstrings, of whole bytes or not; see [`TypeEntry::unit`].
pub const TYPE_BITSTRING: u16 = 1 << 1;
/// List cells, that is, lists that are not empty.
pub const TYPE_CONS: u16 = 1 << 2;
/// Floats.
pub const TYPE_FLOAT: u16 = 1 << 3;
/// Funs, local and external.
pub const TYPE_FUN: u16 = 1 << 4;
/// Integers, small or big.
pub const TYPE_INTEGER: u16 = 1 << 5;
/// Maps.
pub const TYPE_MAP: u16 = 1 << 6;
/// The empty list.
pub const TYPE_NIL: u16 = 1 << 7;
/// Pids, of any node.
pub const TYPE_PID: u16 = 1 << 8;
/// Ports, of any node.
pub const TYPE_PORT: u16 = 1 << 9;
/// References, of any node.
pub const TYPE_REFERENCE: u16 = 1 << 10;
/// Tuples.
pub const TYPE_TUPLE: u16 = 1 << 11;
/// A match context. Since OTP 27 the compiler does not tell it from a bitstring: both flags are set
/// then.
pub const TYPE_BS_CONTEXT: u16 = 1 << 12;
/// All flags: nothing is known of the type.
pub const TYPE_ANY: u16 = (1 << 13) - 1;

/// The chunks that we look at, where the file has them.
#[derive(Default)]
struct Chunks<'a> {
    at_u8: Option<&'a [u8]>,
    atom: Option<&'a [u8]>,
    code: Option<&'a [u8]>,
    str_t: Option<&'a [u8]>,
    imp_t: Option<&'a [u8]>,
    exp_t: Option<&'a [u8]>,
    loc_t: Option<&'a [u8]>,
    fun_t: Option<&'a [u8]>,
    lit_t: Option<&'a [u8]>,
    attr: Option<&'a [u8]>,
    c_inf: Option<&'a [u8]>,
    line: Option<&'a [u8]>,
    types: Option<&'a [u8]>,
    meta: Option<&'a [u8]>,
    records: Option<&'a [u8]>,
    debug: Option<&'a [u8]>,
}

impl<'a> Chunks<'a> {
    fn slot(&mut self, id: &[u8; 4]) -> Option<&mut Option<&'a [u8]>> {
        Some(match id {
            b"AtU8" => &mut self.at_u8,
            b"Atom" => &mut self.atom,
            b"Code" => &mut self.code,
            b"StrT" => &mut self.str_t,
            b"ImpT" => &mut self.imp_t,
            b"ExpT" => &mut self.exp_t,
            b"LocT" => &mut self.loc_t,
            b"FunT" => &mut self.fun_t,
            b"LitT" => &mut self.lit_t,
            b"Attr" => &mut self.attr,
            b"CInf" => &mut self.c_inf,
            b"Line" => &mut self.line,
            b"Type" => &mut self.types,
            b"Meta" => &mut self.meta,
            b"Recs" => &mut self.records,
            b"DbgB" => &mut self.debug,
            _ => return None,
        })
    }
}

impl BeamFile {
    /// Parses a module, compressed or not.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn parse(bytes: &[u8]) -> Result<BeamFile, BeamError> {
        let bytes = decompressed(bytes)?;
        let (mut file, code) = BeamFile::open(&bytes, Vec::new(), None)?;
        file.code.ops = code.all()?;
        Ok(file)
    }

    /// Parses a module that is not compressed but for its instructions, which are still to be read:
    /// into `ops`, of which only the memory is used. The checksum is computed if it is not known.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(
        bytes: &[u8],
        ops: Vec<Op>,
        md5: Option<[u8; 16]>,
    ) -> Result<(BeamFile, CodeReader<'_>), BeamError> {
        let (chunks, _) = read_chunks(bytes)?;

        let atoms = match (chunks.at_u8, chunks.atom) {
            (Some(data), _) => tables::atoms_utf8(&mut chunk_reader(b"AtU8", data))?,
            (None, Some(data)) => tables::atoms_latin1(&mut chunk_reader(b"Atom", data))?,
            (None, None) => return Err(missing(b"AtU8")),
        };
        let literals = match chunks.lit_t {
            Some(data) => {
                tables::literals(&mut chunk_reader(b"LitT", data), DECOMPRESSED_BYTES_MAX)?
            }
            None => Vec::new(),
        };
        let types = optional(b"Type", chunks.types, tables::types)?;
        let lines = optional(b"Line", chunks.line, tables::lines)?;
        let data = chunks.code.ok_or_else(|| missing(b"Code"))?;
        let (code, instructions) = read_code(data, atoms.len(), literals.len(), types.len(), ops)?;

        let functions = |id, data| match data {
            Some(data) => {
                tables::functions(&mut chunk_reader(id, data), atoms.len(), code.label_count)
            }
            None => Ok(Vec::new()),
        };
        let exports = functions(b"ExpT", Some(chunks.exp_t.ok_or_else(|| missing(b"ExpT"))?))?;
        let locals = functions(b"LocT", chunks.loc_t)?;
        let data = chunks.imp_t.ok_or_else(|| missing(b"ImpT"))?;
        let imports = tables::imports(&mut chunk_reader(b"ImpT", data), atoms.len())?;
        let lambdas = match chunks.fun_t {
            Some(data) => {
                tables::lambdas(&mut chunk_reader(b"FunT", data), atoms.len(), code.label_count)?
            }
            None => Vec::new(),
        };

        let sizes = TableSizes {
            atoms: atoms.len(),
            literals: literals.len(),
            types: types.len(),
            labels: code.label_count,
        };
        let records =
            optional(b"Recs", chunks.records, |reader| tables::records(reader, sizes, &atoms))?;

        let debug = optional(b"DbgB", chunks.debug, |reader| {
            debug::places(reader, sizes, &atoms, &literals)
        })?;

        let file = BeamFile {
            records,
            debug,
            md5: md5.unwrap_or_else(|| checksum(&chunks)),
            atoms,
            imports,
            exports,
            locals,
            lambdas,
            literals,
            strings: chunks.str_t.unwrap_or_default().to_vec(),
            lines,
            types,
            attributes: chunks.attr.unwrap_or_default().to_vec(),
            compile_info: chunks.c_inf.unwrap_or_default().to_vec(),
            code,
        };
        Ok((file, instructions))
    }

    /// Where the chunks of a file that is not compressed are.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn chunks(bytes: &[u8]) -> Result<ChunkIndex, BeamError> {
        read_chunks(bytes).map(|(_, index)| index)
    }

    /// The module's name.
    pub fn module(&self) -> &str {
        self.atoms.get(1).map_or("", String::as_str)
    }
}

fn file_error(offset: usize, problem: Problem) -> BeamError {
    BeamError::new(FilePart::File, offset, problem)
}

fn missing(id: &[u8; 4]) -> BeamError {
    BeamError::new(FilePart::Chunk(*id), 0, Problem::MissingChunk)
}

fn chunk_reader<'a>(id: &[u8; 4], data: &'a [u8]) -> Reader<'a> {
    Reader::new(data, FilePart::Chunk(*id))
}

fn optional<T: Default>(
    id: &[u8; 4],
    data: Option<&[u8]>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, BeamError>,
) -> Result<T, BeamError> {
    match data {
        Some(data) if !data.is_empty() => read(&mut chunk_reader(id, data)),
        _ => Ok(T::default()),
    }
}

/// The file without the gzip wrapping that the compiler's `compressed` option gives it.
///
/// # Errors
/// When the wrapping is broken, or expands to too much.
pub fn decompressed(bytes: &[u8]) -> Result<Cow<'_, [u8]>, BeamError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut contents = Vec::new();
    let mut decoder =
        flate2::read::MultiGzDecoder::new(bytes).take(DECOMPRESSED_BYTES_MAX as u64 + 1);
    if decoder.read_to_end(&mut contents).is_err() {
        return Err(file_error(0, Problem::CorruptCompression));
    }
    if contents.len() > DECOMPRESSED_BYTES_MAX {
        return Err(file_error(0, Problem::TooLarge { limit: DECOMPRESSED_BYTES_MAX }));
    }
    Ok(Cow::Owned(contents))
}

/// Every chunk's name and its place.
pub type ChunkIndex = Vec<([u8; 4], Range<usize>)>;

/// Finds the chunks. What follows the container in the file is ignored, as OTP does.
fn read_chunks(bytes: &[u8]) -> Result<(Chunks<'_>, ChunkIndex), BeamError> {
    let mut reader = Reader::new(bytes, FilePart::File);
    if !bytes.starts_with(b"FOR1") {
        return Err(file_error(0, Problem::NotBeam("it does not begin with FOR1")));
    }
    reader.bytes(4)?;
    let size = reader.u32()? as usize;
    let start = reader.position();
    let form = reader.bytes(size)?;
    if !form.starts_with(b"BEAM") {
        return Err(file_error(start, Problem::NotBeam("the container is not of type BEAM")));
    }

    let mut reader = Reader::new(&bytes[..start + size], FilePart::File);
    reader.bytes(start + 4)?;
    let mut chunks = Chunks::default();
    let mut index = Vec::with_capacity(16);
    while reader.left() > 0 {
        let header = reader.position();
        let id = reader.array()?;
        let size = reader.u32()? as usize;
        let start = reader.position();
        let data = reader.bytes(size)?;
        // Padding to four bytes; a last chunk without it is no harm.
        reader.bytes((size.next_multiple_of(4) - size).min(reader.left()))?;
        index.push((id, start..start + size));
        if let Some(slot) = chunks.slot(&id)
            && slot.replace(data).is_some()
        {
            let place = FilePart::Chunk(id);
            return Err(BeamError::new(place, header, Problem::DuplicateChunk));
        }
    }
    Ok((chunks, index))
}

fn read_code(
    data: &[u8],
    atoms: usize,
    literals: usize,
    types: usize,
    ops: Vec<Op>,
) -> Result<(Code, CodeReader<'_>), BeamError> {
    let mut reader = chunk_reader(b"Code", data);
    let header_size = reader.u32()? as usize;
    let start = reader.position();
    let mut header = Reader::new(reader.bytes(header_size)?, FilePart::Chunk(*b"Code"));
    let instructions = reader.rest();

    let format = header.u32()?;
    if format != 0 {
        return Err(reader.error_at(start, Problem::CodeFormat(format)));
    }
    let wanted = header.u32()?;
    if wanted > u32::from(OPCODE_MAX) {
        return Err(reader.error_at(start + 4, Problem::TooNew { wanted, known: OPCODE_MAX }));
    }
    let label_count = header.u32()?;
    let function_count = header.u32()?;
    // A label takes two bytes at least, so these counts cannot exceed the size of the code.
    for (what, count) in [("labels", label_count), ("functions", function_count)] {
        let left = instructions.len();
        if count as usize > left {
            let count = u64::from(count);
            return Err(reader.error_at(start + 8, Problem::ImpossibleCount { what, count, left }));
        }
    }

    let sizes = TableSizes { atoms, literals, types, labels: label_count };
    let reader = CodeReader::new(Reader::new(instructions, FilePart::Instructions), sizes, ops);
    Ok((Code { ops: Vec::new(), label_count, function_count }, reader))
}

/// OTP's identity of a module: the chunks that decide what it does, in this order. The obsolete
/// hash in each fun's last field counts as zero. Does not fail: what is malformed has been refused.
fn checksum(chunks: &Chunks<'_>) -> [u8; 16] {
    let mut md5 = Md5::new();
    let atoms = chunks.at_u8.or(chunks.atom);
    for data in [atoms, chunks.code, chunks.str_t, chunks.imp_t, chunks.exp_t] {
        md5.update(data.unwrap_or_default());
    }
    if let Some((count, funs)) = chunks.fun_t.and_then(|data| data.split_at_checked(4)) {
        md5.update(count);
        for fun in funs.chunks_exact(24) {
            md5.update(&fun[..20]);
            md5.update([0; 4]);
        }
    }
    md5.update(chunks.lit_t.unwrap_or_default());
    md5.update(chunks.meta.unwrap_or_default());
    if let Some(records) = chunks.records {
        md5.update(records);
    }
    md5.finalize().into()
}

#[cfg(test)]
mod tests;
