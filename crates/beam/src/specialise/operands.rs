//! From generic operands to those of instructions: registers, constants, tables.

use super::{Linker, Specialiser};
use crate::decode::{AllocKind, Op, Operand};
use crate::error::BeamError;
use crate::instr::*;
use std::any::Any;
use swarmrt_term::boxed::FlatMap;
use swarmrt_term::{Atom, Term, am, compare_exact};

/// Generic jump operands are label numbers until `resolve_jumps`.
pub(super) fn label(operand: &Operand) -> i32 {
    match operand {
        Operand::Label(number) => *number as i32,
        _ => 0,
    }
}

pub(super) fn unsigned(operand: &Operand) -> u64 {
    match operand {
        Operand::Unsigned(value) | Operand::Char(value) => *value,
        Operand::Int(value) => *value as u64,
        _ => 0,
    }
}

/// The size of a tuple, or one that no tuple has: a comparison with it never holds.
pub(super) fn tuple_size(operand: &Operand) -> u32 {
    u32::try_from(unsigned(operand)).unwrap_or(u32::MAX)
}

/// A number that the verifier keeps within the field that it goes to.
pub(super) fn narrow<T: TryFrom<u64>>(operand: &Operand) -> T {
    T::try_from(unsigned(operand)).unwrap_or_else(|_| panic!("the verifier lets {operand:?} pass"))
}

impl<L: Linker> Specialiser<'_, L> {
    pub(super) fn intern_constant(&mut self, term: Term) -> usize {
        *self.pool_index.entry(term.raw()).or_insert_with(|| {
            self.pool.push(term);
            self.first.constant + self.pool.len() - 1
        })
    }
    pub(super) fn pool_term(&mut self, operand: &Operand) -> Option<Term> {
        Some(match operand {
            Operand::Int(value) if Term::fits_small(*value) => Term::small(*value),
            Operand::Int(value) => self.big(&value.to_be_bytes()),
            Operand::BigInt(bytes) => self.big(bytes),
            Operand::Atom(index) => Term::atom(self.atoms[*index as usize]),
            Operand::Nil => Term::NIL,
            Operand::Literal(index) => self.literals[*index as usize],
            Operand::Unsigned(value) | Operand::Char(value) if *value <= Term::SMALL_MAX as u64 => {
                Term::small(*value as i64)
            }
            // What `bs_match` compares with has up to 64 bits, and no sign.
            Operand::Unsigned(value) => self.big(&i128::from(*value).to_be_bytes()),
            _ => return None,
        })
    }
    /// The keys, as a tuple, of a map that is made of these pairs, which are in order, and nothing
    /// else: all maps from there share it. `None` where the keys are not known, or the map is not
    /// flat.
    pub(super) fn keys_of_new_map(
        &mut self,
        source: &Operand,
        pairs: &[&[Operand]],
    ) -> Option<Term> {
        let is_empty = self.pool_term(source)?.as_flat_map()?.size() == 0;
        let keys =
            pairs.iter().map(|pair| self.pool_term(&pair[0])).collect::<Option<Vec<Term>>>()?;
        let are_different = keys.is_sorted_by(|&a, &b| compare_exact(a, b).is_lt());
        if !is_empty || !are_different || keys.is_empty() || keys.len() > FlatMap::SIZE_MAX {
            return None;
        }
        self.has_own_literals = true;
        Some(self.linker.tuple(&keys))
    }
    /// A source operand of the instruction that will be emitted next (or `ahead` instructions
    /// later).
    pub(super) fn src_at(&mut self, operand: &Operand, ahead: usize) -> Src {
        let at = match operand {
            Operand::X(number) | Operand::TypedX(number, _) => return Src::x(*number),
            Operand::Y(number) | Operand::TypedY(number, _) => return Src::y(*number),
            Operand::Int(value) if Src::fits_small(*value) => return Src::small(*value as i32),
            Operand::Unsigned(value) | Operand::Char(value) if *value < 1 << 29 => {
                return Src::small(*value as i32);
            }
            Operand::Literal(index) => *index as usize,
            other => {
                let term = self.pool_term(other).unwrap_or(Term::NIL);
                self.intern_constant(term)
            }
        };
        self.constant(at, ahead)
    }
    /// The operand for a place among the constants.
    pub(super) fn constant(&self, at: usize, ahead: usize) -> Src {
        let here = (self.here() as usize + ahead) * 2;
        Src::constant(-(at as i32) - 1 - here as i32)
    }
    pub(super) fn src(&mut self, operand: &Operand) -> Src {
        self.src_at(operand, 0)
    }
    pub(super) fn dst(operand: &Operand) -> Dst {
        match operand {
            Operand::Y(number) | Operand::TypedY(number, _) => Dst::y(*number),
            Operand::X(number) | Operand::TypedX(number, _) => Dst::x(*number),
            _ => Dst::x(0),
        }
    }
    pub(super) fn x_of(operand: &Operand) -> Option<u16> {
        match operand {
            Operand::X(number) | Operand::TypedX(number, _) => Some(*number),
            _ => None,
        }
    }
    pub(super) fn y_of(operand: &Operand) -> Option<u16> {
        match operand {
            Operand::Y(number) | Operand::TypedY(number, _) => Some(*number),
            _ => None,
        }
    }
    pub(super) fn table<T: Any + Send + Sync>(&mut self, value: T) -> Table<T> {
        let raw = std::ptr::NonNull::from(Box::leak(Box::new(value)));
        self.tables.0.push(raw.as_ptr());
        // SAFETY: the table lives as long as the module whose instructions name it.
        unsafe { Table::new(raw) }
    }
    pub(super) fn list(operand: &Operand) -> &[Operand] {
        match operand {
            Operand::List(items) => items,
            _ => &[],
        }
    }
    pub(super) fn heap_words(operand: &Operand) -> u32 {
        match operand {
            Operand::AllocList(items) => items
                .iter()
                .map(|&(kind, count)| match kind {
                    AllocKind::Words => count as u32,
                    AllocKind::Floats => count as u32 * 2,
                    AllocKind::Funs => count as u32 * 3,
                })
                .sum(),
            other => unsigned(other) as u32,
        }
    }
    pub(super) fn same_register(a: &Operand, b: &Operand) -> bool {
        match (Self::x_of(a), Self::x_of(b)) {
            (Some(x), Some(y)) => x == y,
            (None, None) => Self::y_of(a).is_some() && Self::y_of(a) == Self::y_of(b),
            _ => false,
        }
    }
    /// The native record that an operand names: `{Module, Name}`.
    pub(super) fn record_id(&self, op: &Op, operand: &Operand) -> Result<RecordId, BeamError> {
        let named = self.pool_atoms(operand).ok_or_else(|| self.unsupported(op))?;
        Ok(RecordId { module: named.0, name: named.1 })
    }
    pub(super) fn pool_atoms(&self, operand: &Operand) -> Option<(Atom, Atom)> {
        let Operand::Literal(index) = operand else { return None };
        let pair = self.literals[*index as usize].as_tuple().filter(|pair| pair.arity() == 2)?;
        Some((pair.get(0).as_atom()?, pair.get(1).as_atom()?))
    }
    pub(super) fn atom_of(&self, operand: &Operand) -> Option<Atom> {
        if let Operand::Atom(index) = operand { Some(self.atoms[*index as usize]) } else { None }
    }
    /// Field names, which the verifier has seen to be atoms, and what goes with them.
    pub(super) fn fields<T>(
        &mut self,
        pairs: &[Operand],
        of: impl Fn(&mut Self, &Operand) -> T,
    ) -> Box<[(Term, T)]> {
        let name =
            |specialiser: &Self, field| specialiser.atom_of(field).map_or(Term::NIL, Term::atom);
        pairs.chunks_exact(2).map(|pair| (name(self, &pair[0]), of(self, &pair[1]))).collect()
    }
    pub(super) fn is_atom(&self, operand: &Operand, name: &str) -> bool {
        matches!(operand, Operand::Atom(index) if self.atoms[*index as usize].name() == name)
    }
    pub(super) fn import_bif(&self, op: &Op, import: &Operand) -> Result<u16, BeamError> {
        let number = unsigned(import) as usize;
        self.imports[number].1.filter(|&bif| self.linker.is_guard(bif)).ok_or_else(|| {
            let mfa = self.file.imports[number];
            let name = |atom: u32| self.atoms[atom as usize].name();
            BeamError::missing_guard_bif(name(mfa.module), name(mfa.function), mfa.arity, op.offset)
        })
    }
    pub(super) fn is_erlang(&self, import: &Operand, name: &str, arity: u32) -> bool {
        let mfa = self.file.imports[unsigned(import) as usize];
        mfa.arity == arity
            && self.atoms[mfa.function as usize].name() == name
            && self.atoms[mfa.module as usize] == am::ERLANG
    }
}
