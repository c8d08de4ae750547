//! Mutations of instructions: what comes out is decodable code, so that it is the verifier that has
//! to judge it.

use crate::Random;
use swarmrt_beam::file::{AllocKind, Args, Op, Operand};
use swarmrt_beam::genop::{OPCODE_MAX, Opcode};

/// The header before the instructions: its size, then five numbers.
const HEADER_BYTES: usize = 24;
const LABEL_COUNT_AT: usize = 12;

/// Sizes of the tables that operands point into.
pub struct Tables {
    pub atoms: usize,
    pub literals: usize,
    pub imports: usize,
    pub labels: usize,
}

/// A Code chunk with the header of `old` and these instructions.
pub fn chunk(old: &[u8], ops: &[Op]) -> Option<Vec<u8>> {
    let mut out = old.get(..HEADER_BYTES)?.to_vec();
    for op in ops {
        out.push(op.opcode as u8);
        op.args.iter().for_each(|arg| operand(&mut out, arg));
    }
    Some(out)
}

pub fn label_count_mut(chunk: &mut [u8]) -> Option<&mut [u8]> {
    chunk.get_mut(LABEL_COUNT_AT..LABEL_COUNT_AT + 4)
}

fn value(out: &mut Vec<u8>, tag: u8, value: u64) {
    if value < 16 {
        out.push((value as u8) << 4 | tag);
    } else if value < 1 << 11 {
        out.extend([(value >> 8) as u8 * 32 | 8 | tag, value as u8]);
    } else {
        bytes(out, tag, value.to_be_bytes().as_slice());
    }
}

fn bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if let short @ 2..=8 = bytes.len() {
        out.push((short as u8 - 2) << 5 | 0x18 | tag);
    } else {
        out.push(0xf8 | tag);
        value(out, 0, bytes.len() as u64 - 9);
    }
    out.extend(bytes);
}

fn operand(out: &mut Vec<u8>, arg: &Operand) {
    match arg {
        Operand::Unsigned(number) => value(out, 0, *number),
        Operand::Int(number @ 0..2048) => value(out, 1, *number as u64),
        Operand::Int(number) => bytes(out, 1, &number.to_be_bytes()),
        Operand::BigInt(number) => bytes(out, 1, number),
        Operand::Atom(index) => value(out, 2, u64::from(*index)),
        Operand::Nil => value(out, 2, 0),
        Operand::X(number) => value(out, 3, u64::from(*number)),
        Operand::Y(number) => value(out, 4, u64::from(*number)),
        Operand::Label(number) => value(out, 5, u64::from(*number)),
        Operand::Char(number) => value(out, 6, *number),
        Operand::List(items) => {
            out.push(0x17);
            value(out, 0, items.len() as u64);
            items.iter().for_each(|item| operand(out, item));
        }
        Operand::Float(number) => {
            out.push(0x27);
            value(out, 0, u64::from(*number));
        }
        Operand::AllocList(entries) => {
            out.push(0x37);
            value(out, 0, entries.len() as u64);
            for (kind, count) in entries {
                value(out, 0, *kind as u64);
                value(out, 0, *count);
            }
        }
        Operand::Literal(index) => {
            out.push(0x47);
            value(out, 0, u64::from(*index));
        }
        Operand::TypedX(number, type_index) => typed(out, 3, *number, *type_index),
        Operand::TypedY(number, type_index) => typed(out, 4, *number, *type_index),
    }
}

fn typed(out: &mut Vec<u8>, tag: u8, number: u16, type_index: u32) {
    out.push(0x57);
    value(out, tag, u64::from(number));
    value(out, 0, u64::from(type_index));
}

/// Changes instructions in one of many ways.
pub fn mutate(ops: &mut Vec<Op>, tables: &Tables, random: &mut Random) {
    // The last is int_code_end, which stays.
    let count = ops.len().saturating_sub(1);
    if count == 0 {
        return;
    }
    let at = random.below(count);
    match random.below(12) {
        0 => {
            let many = if random.one_in(4) { random.below(8) + 1 } else { 1 };
            ops.drain(at..(at + many).min(count));
        }
        1 => {
            let from = random.below(count);
            let copy = ops[from].clone();
            ops.insert(at, copy);
        }
        2 => {
            let from = random.below(count);
            ops.swap(at, from);
        }
        3 if at + 1 < count => ops.swap(at, at + 1),
        4 => ops[at].opcode = similar(ops[at].opcode, random),
        5 => {
            let donor = donor(ops, random);
            ops[at] = donor;
        }
        6 => {
            let from = random.below(count);
            let run: Vec<Op> = ops[from..(from + random.below(6) + 1).min(count)].to_vec();
            ops.splice(at..at, run);
        }
        _ => {
            for _ in 0..random.below(3) + 1 {
                change_operand(ops, random.below(count), tables, random);
            }
        }
    }
}

/// Puts a few instructions of another module into this one.
pub fn cross(ops: &mut Vec<Op>, other: &[Op], random: &mut Random) {
    let (count, other_count) = (ops.len().saturating_sub(1), other.len().saturating_sub(1));
    if count == 0 || other_count == 0 {
        return;
    }
    let at = random.below(count);
    let from = random.below(other_count);
    let run =
        other[from..(from + random.below(12) + 1).min(other_count)].iter().filter(|op| !matches!(op.opcode, Opcode::Label | Opcode::FuncInfo | Opcode::Line));
    let run: Vec<Op> = run.cloned().collect();
    let replaced = if random.one_in(2) { 0 } else { run.len() };
    ops.splice(at..(at + replaced).min(count), run);
}

/// An instruction with the same number of operands.
fn similar(opcode: Opcode, random: &mut Random) -> Opcode {
    let alike: Vec<Opcode> =
        (1..=OPCODE_MAX).filter_map(Opcode::from_number).filter(|other| other.arity() == opcode.arity() && other.last_release().is_none()).collect();
    random.pick(&alike).copied().unwrap_or(opcode)
}

/// An instruction made of another's operands.
fn donor(ops: &[Op], random: &mut Random) -> Op {
    let mut op = ops[random.below(ops.len())].clone();
    let number = random.below(usize::from(OPCODE_MAX)) as u8 + 1;
    if let Some(opcode) = Opcode::from_number(number).filter(|opcode| opcode.last_release().is_none()) {
        let args: Args = (0..opcode.arity()).map(|_| any_operand(ops, random)).collect();
        op = Op { opcode, args, offset: 0 };
    }
    op
}

fn any_operand(ops: &[Op], random: &mut Random) -> Operand {
    for _ in 0..8 {
        let op = &ops[random.below(ops.len())];
        if let Some(arg) = random.pick(&op.args) {
            return arg.clone();
        }
    }
    Operand::Nil
}

fn change_operand(ops: &mut [Op], at: usize, tables: &Tables, random: &mut Random) {
    let replacement = any_operand(ops, random);
    let args = ops[at].args.as_mut_slice();
    if args.is_empty() {
        return;
    }
    let place = random.below(args.len());
    change(&mut args[place], replacement, tables, random);
}

fn change(arg: &mut Operand, other: Operand, tables: &Tables, random: &mut Random) {
    if let Operand::List(items) = arg
        && !random.one_in(6)
    {
        let mut list = std::mem::take(items).into_vec();
        let place = random.below(list.len());
        match random.below(4) {
            0 if !list.is_empty() => drop(list.remove(place)),
            1 if !matches!(other, Operand::List(_) | Operand::AllocList(_)) => list.insert(place, other),
            _ if !list.is_empty() => change(&mut list[place], Operand::Nil, tables, random),
            _ => {}
        }
        *items = list.into();
        return;
    }
    *arg = match random.below(10) {
        0..3 => other,
        3 => fresh(tables, random),
        _ => nudged(arg, tables, random),
    };
}

/// The same kind of operand with another value.
fn nudged(arg: &Operand, tables: &Tables, random: &mut Random) -> Operand {
    let small = |number: u16, random: &mut Random| {
        if random.one_in(8) { random.below(1024) as u16 } else { (number + random.below(4) as u16).saturating_sub(2) & 1023 }
    };
    match arg {
        Operand::Unsigned(number) => match random.below(4) {
            0 => Operand::Unsigned(number.wrapping_add(1)),
            1 => Operand::Unsigned(number.saturating_sub(1)),
            2 => Operand::Unsigned(random.below(16) as u64),
            _ => Operand::Unsigned(odd_number(random)),
        },
        Operand::Int(_) | Operand::BigInt(_) | Operand::Char(_) => Operand::Int(odd_number(random) as i64),
        Operand::X(number) => match random.below(4) {
            0 => Operand::Y(*number),
            _ => Operand::X(small(*number, random)),
        },
        Operand::Y(number) => match random.below(4) {
            0 => Operand::X(*number),
            _ => Operand::Y(small(*number, random)),
        },
        Operand::Float(number) => Operand::Float(small(*number, random)),
        Operand::TypedX(number, kind) => Operand::TypedX(small(*number, random), *kind),
        Operand::TypedY(number, kind) => Operand::TypedY(small(*number, random), *kind),
        Operand::Label(_) => Operand::Label(random.below(tables.labels) as u32),
        Operand::AllocList(entries) => {
            let kinds = [AllocKind::Words, AllocKind::Floats, AllocKind::Funs];
            let mut entries = entries.clone();
            if let Some(kind) = random.pick(&kinds) {
                entries.push((*kind, random.below(8) as u64));
            }
            Operand::AllocList(entries)
        }
        _ => fresh(tables, random),
    }
}

fn fresh(tables: &Tables, random: &mut Random) -> Operand {
    match random.below(10) {
        0 => Operand::Nil,
        1 => Operand::Atom(random.below(tables.atoms).max(1) as u32),
        2 if tables.literals > 0 => Operand::Literal(random.below(tables.literals) as u32),
        3 => Operand::Label(random.below(tables.labels) as u32),
        4 => Operand::Int(odd_number(random) as i64),
        5 => Operand::Unsigned(random.below(tables.imports.max(4)) as u64),
        6 => Operand::Y(random.below(5) as u16),
        7 => Operand::Float(random.below(4) as u16),
        8 => Operand::BigInt([1; 9].into()),
        _ => Operand::X(random.below(6) as u16),
    }
}

/// Numbers at which something changes, mostly.
fn odd_number(random: &mut Random) -> u64 {
    let edge = 1u64 << random.below(64);
    match random.below(5) {
        0 => edge,
        1 => edge - 1,
        2 => edge.wrapping_neg(),
        3 => random.below(300) as u64,
        _ => random.next(),
    }
}
