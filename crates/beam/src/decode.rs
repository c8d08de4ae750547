//! The instructions of a Code chunk: compact operands into [`Op`]s, function by function.
//!
//! An operand is a tag in the low three bits of a byte and a value of 4, 11 or more bits; the
//! encoding is described in OTP's `beam_asm`/`beam_disasm`. Values are checked against the tables
//! of the file here, so that every [`Operand`] may be used as an index. Whether an operand makes
//! sense for its instruction is the verifier's business.

use std::ops::Deref;

use crate::error::{BeamError, FilePart, Problem};
use crate::file::reader::Reader;
use crate::genop::Opcode;

/// X and Y registers, and float registers, are numbered below this.
pub const REGISTERS_MAX: u64 = 1024;

/// The instructions of a module.
#[derive(Clone, Debug, Default)]
pub struct Code {
    pub ops: Vec<Op>,
    /// Labels are numbered from 1 to below this.
    pub label_count: u32,
    pub function_count: u32,
}

/// One generic instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    pub opcode: Opcode,
    pub args: Args,
    /// Byte offset from the first instruction.
    pub offset: u32,
}

/// What an instruction works on.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Sizes, arities, flags, indexes of tables.
    Unsigned(u64),
    Int(i64),
    /// Two's complement, big endian.
    BigInt(Box<[u8]>),
    Atom(u32),
    Nil,
    X(u16),
    Y(u16),
    /// A float register.
    Float(u16),
    /// 0 means none.
    Label(u32),
    Literal(u32),
    Char(u64),
    /// An X register and an index of the type table.
    TypedX(u16, u32),
    /// A Y register and an index of the type table.
    TypedY(u16, u32),
    List(Box<[Operand]>),
    AllocList(Vec<(AllocKind, u64)>),
}

/// What an allocation list reserves room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocKind {
    Words,
    Floats,
    Funs,
}

const INLINE_ARGS: usize = 3;

/// The operands of an instruction; up to three are held in place, which most instructions need.
#[derive(Clone, Debug)]
pub enum Args {
    Inline(u8, [Operand; INLINE_ARGS]),
    Boxed(Box<[Operand]>),
}

impl Deref for Args {
    type Target = [Operand];

    #[inline]
    fn deref(&self) -> &[Operand] {
        match self {
            Args::Inline(count, args) => &args[..usize::from(*count)],
            Args::Boxed(args) => args,
        }
    }
}

impl PartialEq for Args {
    fn eq(&self, other: &Args) -> bool {
        self[..] == other[..]
    }
}

impl FromIterator<Operand> for Args {
    fn from_iter<I: IntoIterator<Item = Operand>>(operands: I) -> Args {
        let mut operands: Vec<Operand> = operands.into_iter().collect();
        if operands.len() > INLINE_ARGS {
            return Args::Boxed(operands.into());
        }
        let count = operands.len() as u8;
        operands.resize(INLINE_ARGS, Operand::Nil);
        let args = operands.try_into().expect("resized to the inline count");
        Args::Inline(count, args)
    }
}

impl Args {
    /// Makes room for so many operands; whatever is there is to be overwritten.
    #[inline]
    fn set_len(&mut self, len: usize) {
        match self {
            Args::Inline(count, _) if len <= INLINE_ARGS => *count = len as u8,
            _ if len <= INLINE_ARGS => {
                *self = Args::Inline(len as u8, [const { Operand::Nil }; INLINE_ARGS]);
            }
            _ => *self = Args::Boxed(nothing(len)),
        }
    }
    /// The operands, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [Operand] {
        match self {
            Args::Inline(count, args) => &mut args[..usize::from(*count)],
            Args::Boxed(args) => args,
        }
    }
}

/// How many entries the tables have that operands point into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableSizes {
    /// Counts the unused entry 0.
    pub atoms: usize,
    pub literals: usize,
    pub types: usize,
    pub labels: u32,
}

/// Reads the instructions of a Code chunk, function by function: at any time there are only those
/// of one.
pub struct CodeReader<'a> {
    reader: Reader<'a>,
    sizes: TableSizes,
    /// Those of the function that was read last, then what has been read beyond it; behind them are
    /// old ones, in whose places the next are read.
    ops: Vec<Op>,
    /// How many are not old.
    len: usize,
    /// How many are that function's.
    taken: usize,
    ended: bool,
}

impl<'a> CodeReader<'a> {
    /// `ops` is used for the instructions: whatever is in it goes.
    pub(crate) fn new(reader: Reader<'a>, sizes: TableSizes, ops: Vec<Op>) -> CodeReader<'a> {
        CodeReader { reader, sizes, ops, len: 0, taken: 0, ended: false }
    }

    /// The instructions that are still to be read, for later, and what is to be known of their
    /// file.
    pub(crate) fn deferred(&self) -> (Box<[u8]>, TableSizes) {
        (self.reader.clone().rest().into(), self.sizes)
    }
    /// Reads on where a function begins, which is not the last of its file or is followed by
    /// `int_code_end`.
    pub(crate) fn at(code: &'a [u8], sizes: TableSizes) -> CodeReader<'a> {
        CodeReader::new(Reader::new(code, FilePart::Instructions), sizes, Vec::new())
    }

    /// The instructions of the next function, from the labels and lines before its `func_info` on;
    /// `None` after `int_code_end`.
    ///
    /// # Errors
    /// When something else than instructions is there.
    pub fn next_function(&mut self) -> Result<Option<&[Op]>, BeamError> {
        for (to, from) in (self.taken..self.len).enumerate() {
            self.ops.swap(to, from);
        }
        self.len -= self.taken;
        self.taken = 0;
        let mut in_function = false;
        // The first of a run of labels and lines, which belongs to a `func_info` if one follows.
        let mut run = 0;
        for op in &self.ops[..self.len] {
            in_function |= op.opcode == Opcode::FuncInfo;
        }
        if in_function {
            run = self.len;
        }
        while !self.ended {
            let opcode = self.instruction()?;
            match opcode {
                Opcode::IntCodeEnd => {
                    self.len -= 1;
                    self.ended = true;
                }
                Opcode::Label | Opcode::Line => {}
                Opcode::FuncInfo if in_function => {
                    self.taken = run;
                    return Ok(Some(&self.ops[..run]));
                }
                _ => {
                    in_function |= opcode == Opcode::FuncInfo;
                    run = self.len;
                }
            }
        }
        self.taken = self.len;
        Ok(Some(&self.ops[..self.len]).filter(|ops| !ops.is_empty()))
    }

    /// The instructions of a function that has been read, which begins at this offset.
    pub fn function_at(&self, offset: u32) -> Option<Vec<Op>> {
        let mut reader = CodeReader::at(self.reader.whole().get(offset as usize..)?, self.sizes);
        reader.next_function().ok()??;
        let CodeReader { mut ops, taken, .. } = reader;
        ops.truncate(taken);
        ops.iter_mut().for_each(|op| op.offset += offset);
        Some(ops)
    }

    /// What the instructions were read into, empty, to be used again.
    pub fn into_ops(mut self) -> Vec<Op> {
        self.ops.clear();
        self.ops
    }

    /// Reads the next instruction into `ops`, where it is to stay.
    fn instruction(&mut self) -> Result<Opcode, BeamError> {
        let reader = &mut self.reader;
        if reader.left() == 0 {
            return Err(reader.error(Problem::NoCodeEnd));
        }
        let offset = reader.position();
        let number = reader.u8()?;
        let Some(opcode) = Opcode::from_number(number) else {
            return Err(reader.error_at(offset, Problem::UnknownOpcode(number)));
        };
        if let Some(release) = opcode.last_release() {
            let problem = Problem::Obsolete { name: opcode.name(), release };
            return Err(reader.error_at(offset, problem));
        }
        if self.len == self.ops.len() {
            let args = Args::Inline(0, [const { Operand::Nil }; INLINE_ARGS]);
            self.ops.push(Op { opcode, args, offset: 0 });
        }
        let op = &mut self.ops[self.len];
        self.len += 1;
        (op.opcode, op.offset) = (opcode, offset as u32);
        op.args.set_len(opcode.arity());
        for arg in op.args.as_mut_slice() {
            operand(reader, &self.sizes, arg)?;
        }
        Ok(opcode)
    }

    /// All instructions at once, with `int_code_end`.
    pub(crate) fn all(mut self) -> Result<Vec<Op>, BeamError> {
        loop {
            if self.instruction()? == Opcode::IntCodeEnd {
                self.ops.truncate(self.len);
                return Ok(self.ops);
            }
        }
    }
}

/// The instructions of each function of a module, as [`CodeReader::next_function`] gives them, and
/// `int_code_end`.
pub fn functions(ops: &[Op]) -> impl Iterator<Item = &[Op]> {
    let mut rest = ops;
    std::iter::from_fn(move || {
        let mut in_function = false;
        let mut run = 0;
        for (at, op) in rest.iter().enumerate() {
            match op.opcode {
                Opcode::Label | Opcode::Line => {}
                Opcode::FuncInfo if in_function => {
                    let (function, others) = rest.split_at(run);
                    rest = others;
                    return Some(function);
                }
                opcode => {
                    in_function |= opcode == Opcode::FuncInfo;
                    run = at + 1;
                }
            }
        }
        let function = std::mem::take(&mut rest);
        if function.is_empty() { None } else { Some(function) }
    })
}

/// Operands to be read.
fn nothing(count: usize) -> Box<[Operand]> {
    (0..count).map(|_| Operand::Nil).collect()
}

/// The tag in the low three bits of an operand's first byte; values as `TAG_u` and so on in OTP's
/// `beam_opcodes.hrl`. Tag 6 (a character) is not used by compilers of today.
pub(crate) mod tag {
    /// Unsigned number: a literal of an instruction, such as an arity.
    pub const UNSIGNED: u8 = 0;
    /// Signed integer.
    pub const INTEGER: u8 = 1;
    /// Index into the atom table, from 1; 0 is the empty list.
    pub const ATOM: u8 = 2;
    /// Number of an X register.
    pub const X: u8 = 3;
    /// Number of a Y register.
    pub const Y: u8 = 4;
    /// Number of a label; 0 stands for none.
    pub const LABEL: u8 = 5;
    /// One of [`extended`] follows.
    pub const EXTENDED: u8 = 7;
}

/// The value that follows [`tag::EXTENDED`]; see `encode/2` in OTP's `beam_asm.erl`.
mod extended {
    /// A list: count, then as many operands.
    pub const LIST: u64 = 1;
    /// Number of a float register.
    pub const FLOAT_REGISTER: u64 = 2;
    /// What an `allocate` or a `test_heap` needs: count, then pairs of kind and number.
    pub const ALLOC_LIST: u64 = 3;
    /// Index into the literal table, from 0.
    pub const LITERAL: u64 = 4;
    /// A register (with its own tag), then an index into the type table.
    pub const TYPED_REGISTER: u64 = 5;
}

/// Overwrites an operand. Most own nothing; to ask is faster than to drop.
#[inline(always)]
fn put(to: &mut Operand, operand: Operand) {
    let old = std::mem::replace(to, operand);
    if matches!(old, Operand::BigInt(_) | Operand::List(_) | Operand::AllocList(_)) {
        drop(old);
    } else {
        std::mem::forget(old);
    }
}

/// The operand at the start of `bytes`, where it is one of the frequent ones, and how many bytes it
/// takes: with a value of up to 11 bits, or a register with its type or a literal with such
/// numbers. Whatever is wrong is none of these.
#[inline(always)]
fn frequent(bytes: &[u8], sizes: &TableSizes) -> Option<(Operand, usize)> {
    #[inline(always)]
    fn small(bytes: &[u8]) -> Option<(u8, u32, usize)> {
        let &[first, ..] = bytes else { return None };
        if first & 0x08 == 0 {
            return Some((first & 7, u32::from(first >> 4), 1));
        }
        let &[_, second, ..] = bytes else { return None };
        let value = u32::from(first >> 5) << 8 | u32::from(second);
        (first & 0x10 == 0).then_some((first & 7, value, 2))
    }
    let (tag, value, len) = small(bytes)?;
    let is_register = u64::from(value) < REGISTERS_MAX;
    let operand = match tag {
        tag::UNSIGNED => Operand::Unsigned(value.into()),
        tag::INTEGER => Operand::Int(value.into()),
        tag::ATOM if value == 0 => Operand::Nil,
        tag::ATOM if (value as usize) < sizes.atoms => Operand::Atom(value),
        tag::X if is_register => Operand::X(value as u16),
        tag::Y if is_register => Operand::Y(value as u16),
        tag::LABEL if value == 0 || value < sizes.labels => Operand::Label(value),
        tag::EXTENDED if u64::from(value) == extended::LITERAL => {
            let (tag, number, more) = small(&bytes[len..])?;
            let is_one = tag == tag::UNSIGNED && (number as usize) < sizes.literals;
            return is_one.then_some((Operand::Literal(number), len + more));
        }
        tag::EXTENDED if u64::from(value) == extended::TYPED_REGISTER => {
            let (tag, number, more) = small(&bytes[len..])?;
            let len = len + more;
            let (type_tag, entry, more) = small(&bytes[len..])?;
            let is_one = u64::from(number) < REGISTERS_MAX
                && type_tag == tag::UNSIGNED
                && (entry as usize) < sizes.types;
            let operand = match tag {
                tag::X => Operand::TypedX(number as u16, entry),
                tag::Y => Operand::TypedY(number as u16, entry),
                _ => return None,
            };
            return is_one.then_some((operand, len + more));
        }
        _ => return None,
    };
    Some((operand, len))
}

/// Reads an operand over another one if it is a [`frequent`] one. `false`: nothing is read.
#[inline(always)]
fn read_frequent(reader: &mut Reader<'_>, sizes: &TableSizes, to: &mut Operand) -> bool {
    let Some((operand, len)) = frequent(reader.ahead(), sizes) else { return false };
    put(to, operand);
    reader.skip(len);
    true
}

/// Reads an operand of an instruction, which may be a list, over another one.
#[inline(always)]
pub(crate) fn operand(
    reader: &mut Reader<'_>,
    sizes: &TableSizes,
    to: &mut Operand,
) -> Result<(), BeamError> {
    if read_frequent(reader, sizes, to) { Ok(()) } else { rare_operand(reader, sizes, to) }
}

#[inline(never)]
fn rare_operand(
    reader: &mut Reader<'_>,
    sizes: &TableSizes,
    to: &mut Operand,
) -> Result<(), BeamError> {
    let start = reader.position();
    let first = reader.u8()?;
    if first & 7 != tag::EXTENDED {
        return simple(reader, sizes, start, first, to);
    }
    *to = match unsigned_value(reader, first)? {
        extended::LIST => list(reader, sizes)?,
        extended::ALLOC_LIST => alloc_list(reader)?,
        kind => extended_simple(reader, sizes, start, kind)?,
    };
    Ok(())
}

/// An element of a list, which may not be a list itself.
#[inline]
fn element(reader: &mut Reader<'_>, sizes: &TableSizes, to: &mut Operand) -> Result<(), BeamError> {
    if read_frequent(reader, sizes, to) {
        return Ok(());
    }
    let start = reader.position();
    let first = reader.u8()?;
    if first & 7 != tag::EXTENDED {
        return simple(reader, sizes, start, first, to);
    }
    let kind = unsigned_value(reader, first)?;
    *to = extended_simple(reader, sizes, start, kind)?;
    Ok(())
}

/// As [`unsigned_value`], but what is larger than 64 bits becomes the largest value: matching
/// compares sizes with such numbers (`<<_:(1 bsl 80)>>`), and no term is as large as either.
#[inline]
fn saturated_value(reader: &mut Reader<'_>, first: u8) -> Result<u64, BeamError> {
    if first & 0x18 != 0x18 {
        return unsigned_value(reader, first);
    }
    Ok(number_of(long_value(reader, first)?).unwrap_or(u64::MAX))
}

/// A number of big-endian bytes, if 64 bits hold it.
fn number_of(bytes: &[u8]) -> Option<u64> {
    let skip = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[skip..];
    (digits.len() <= 8).then(|| digits.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn simple(
    reader: &mut Reader<'_>,
    sizes: &TableSizes,
    start: usize,
    first: u8,
    to: &mut Operand,
) -> Result<(), BeamError> {
    let tag = first & 7;
    *to = if tag == tag::INTEGER {
        integer(reader, first)?
    } else if tag == tag::UNSIGNED {
        Operand::Unsigned(saturated_value(reader, first)?)
    } else {
        let value = unsigned_value(reader, first)?;
        match tag {
            tag::ATOM if value == 0 => Operand::Nil,
            tag::ATOM => Operand::Atom(index(reader, start, "atom", value, sizes.atoms)?),
            tag::X => Operand::X(register(reader, start, "X register", value)?),
            tag::Y => Operand::Y(register(reader, start, "Y register", value)?),
            tag::LABEL if value == 0 => Operand::Label(0),
            tag::LABEL => {
                Operand::Label(index(reader, start, "label", value, sizes.labels as usize)?)
            }
            // The tag that is left stands for a character.
            _ => Operand::Char(value),
        }
    };
    Ok(())
}

fn extended_simple(
    reader: &mut Reader<'_>,
    sizes: &TableSizes,
    start: usize,
    kind: u64,
) -> Result<Operand, BeamError> {
    match kind {
        extended::FLOAT_REGISTER => {
            let number = unsigned(reader)?;
            register(reader, start, "float register", number).map(Operand::Float)
        }
        extended::LITERAL => {
            let number = unsigned(reader)?;
            index(reader, start, "literal", number, sizes.literals).map(Operand::Literal)
        }
        extended::TYPED_REGISTER => typed_register(reader, sizes, start),
        _ => Err(reader.error_at(start, Problem::UnknownExtendedTag(kind))),
    }
}

/// A register and its type. Without a type table (it may have been stripped) the type is dropped.
fn typed_register(
    reader: &mut Reader<'_>,
    sizes: &TableSizes,
    start: usize,
) -> Result<Operand, BeamError> {
    let first = reader.u8()?;
    let number = unsigned_value(reader, first)?;
    let type_index = unsigned(reader)?;
    let is_x = match first & 7 {
        tag::X => true,
        tag::Y => false,
        tag => {
            return Err(
                reader.error_at(start, Problem::UnexpectedTag { expected: "a register", tag })
            );
        }
    };
    let number = register(reader, start, "register", number)?;
    if sizes.types == 0 {
        return Ok(if is_x { Operand::X(number) } else { Operand::Y(number) });
    }
    let type_index = index(reader, start, "type", type_index, sizes.types)?;
    Ok(if is_x { Operand::TypedX(number, type_index) } else { Operand::TypedY(number, type_index) })
}

fn list(reader: &mut Reader<'_>, sizes: &TableSizes) -> Result<Operand, BeamError> {
    let count = counted(reader, "list elements", 1)?;
    let mut elements = nothing(count);
    for to in &mut elements {
        element(reader, sizes, to)?;
    }
    Ok(Operand::List(elements))
}

fn alloc_list(reader: &mut Reader<'_>) -> Result<Operand, BeamError> {
    let count = counted(reader, "allocation list entries", 2)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let start = reader.position();
        let kind = match unsigned(reader)? {
            0 => AllocKind::Words,
            1 => AllocKind::Floats,
            2 => AllocKind::Funs,
            value => {
                let problem = Problem::OutOfRange { what: "allocation kind", value, limit: 2 };
                return Err(reader.error_at(start, problem));
            }
        };
        entries.push((kind, unsigned(reader)?));
    }
    Ok(Operand::AllocList(entries))
}

/// A count of things that take at least `bytes_each`.
fn counted(
    reader: &mut Reader<'_>,
    what: &'static str,
    bytes_each: usize,
) -> Result<usize, BeamError> {
    let start = reader.position();
    let count = unsigned(reader)?;
    let left = reader.left();
    if count > (left / bytes_each) as u64 {
        return Err(reader.error_at(start, Problem::ImpossibleCount { what, count, left }));
    }
    Ok(count as usize)
}

fn index(
    reader: &Reader<'_>,
    start: usize,
    what: &'static str,
    value: u64,
    count: usize,
) -> Result<u32, BeamError> {
    match u32::try_from(value) {
        Ok(index) if (index as usize) < count => Ok(index),
        _ => Err(reader.error_at(start, Problem::NoSuchIndex { what, value, count })),
    }
}

fn register(
    reader: &Reader<'_>,
    start: usize,
    what: &'static str,
    value: u64,
) -> Result<u16, BeamError> {
    if value < REGISTERS_MAX {
        return Ok(value as u16);
    }
    let limit = REGISTERS_MAX - 1;
    Err(reader.error_at(start, Problem::OutOfRange { what, value, limit }))
}

/// An operand that must have the tag `u`.
pub(crate) fn unsigned(reader: &mut Reader<'_>) -> Result<u64, BeamError> {
    let start = reader.position();
    let first = reader.u8()?;
    if first & 7 != tag::UNSIGNED {
        let problem = Problem::UnexpectedTag { expected: "an unsigned number", tag: first & 7 };
        return Err(reader.error_at(start, problem));
    }
    unsigned_value(reader, first)
}

/// The value of an operand other than an integer, whose first byte has been read.
#[inline]
pub(crate) fn unsigned_value(reader: &mut Reader<'_>, first: u8) -> Result<u64, BeamError> {
    if first & 0x08 == 0 {
        return Ok(u64::from(first >> 4));
    }
    if first & 0x10 == 0 {
        return Ok(u64::from(first >> 5) << 8 | u64::from(reader.u8()?));
    }
    let start = reader.position();
    let bytes = long_value(reader, first)?;
    number_of(bytes).ok_or_else(|| reader.error_at(start, Problem::ValueTooLarge))
}

/// The value of an integer operand, whose first byte has been read.
fn integer(reader: &mut Reader<'_>, first: u8) -> Result<Operand, BeamError> {
    if first & 0x18 != 0x18 {
        return Ok(Operand::Int(unsigned_value(reader, first)? as i64));
    }
    let mut bytes = long_value(reader, first)?;
    // Drop bytes that only repeat the sign.
    while let [head @ (0 | 0xff), next, ..] = bytes
        && (head ^ next) & 0x80 == 0
    {
        bytes = &bytes[1..];
    }
    if bytes.len() > 8 {
        return Ok(Operand::BigInt(bytes.into()));
    }
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
    Ok(Operand::Int(bytes.iter().fold(sign, |value: i64, byte| value << 8 | i64::from(*byte))))
}

/// The bytes of a value of two bytes or more.
fn long_value<'a>(reader: &mut Reader<'a>, first: u8) -> Result<&'a [u8], BeamError> {
    let count = match first >> 5 {
        7 => {
            let more = unsigned(reader)?;
            usize::try_from(more).unwrap_or(usize::MAX).saturating_add(9)
        }
        short => usize::from(short) + 2,
    };
    reader.bytes(count)
}
