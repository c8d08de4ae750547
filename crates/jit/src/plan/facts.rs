//! What is known of the words in registers at a place in a piece: from what was tested, and from
//! what made them.
//!
//! A fact holds for the value that an instruction of the program sees, whichever engine ran before
//! it; collections, waiting and steps do not change it.

use std::collections::BTreeMap;
use swarmrt_beam::instr::{Dst, FunPtr, Src};
use swarmrt_term::Term;

/// A set of kinds of terms, as they lie in words.
pub type Kinds = u16;

/// The kinds of terms, one bit each, and some unions of them.
pub mod kind {
    use super::Kinds;
    /// A small integer: 62 bits, in the word.
    pub const SMALL: Kinds = 1 << 0;
    /// A big integer, boxed.
    pub const BIG: Kinds = 1 << 1;
    /// A float held in the word.
    pub const FLOAT: Kinds = 1 << 2;
    /// A float that does not fit in a word.
    pub const BOXED_FLOAT: Kinds = 1 << 3;
    /// An atom.
    pub const ATOM: Kinds = 1 << 4;
    /// `[]`.
    pub const NIL: Kinds = 1 << 5;
    /// A list cell.
    pub const CONS: Kinds = 1 << 6;
    /// A tuple.
    pub const TUPLE: Kinds = 1 << 7;
    /// A map, flat or hashed.
    pub const MAP: Kinds = 1 << 8;
    /// A bitstring on or off the heap.
    pub const BITS: Kinds = 1 << 9;
    /// A match context.
    pub const CONTEXT: Kinds = 1 << 10;
    /// A fun, local or external.
    pub const FUN: Kinds = 1 << 11;
    /// Boxed terms that no other kind names: references, external pids and ports.
    pub const OTHER: Kinds = 1 << 12;
    /// Immediates that no other kind names: local pids and ports, the mark in X0 at a handler.
    pub const OTHER_IMMEDIATE: Kinds = 1 << 13;
    /// Every kind: nothing is known.
    pub const ANY: Kinds = NUMBER | ATOM | NIL | CONS | BOXED | OTHER_IMMEDIATE;

    /// A float, in the word or boxed.
    pub const FLOATS: Kinds = FLOAT | BOXED_FLOAT;
    /// An integer of any size.
    pub const INTEGER: Kinds = SMALL | BIG;
    /// An integer or a float.
    pub const NUMBER: Kinds = INTEGER | FLOAT | BOXED_FLOAT;
    /// All that a boxed pointer may lead to.
    pub const BOXED: Kinds = BIG | BOXED_FLOAT | TUPLE | MAP | BITS | CONTEXT | FUN | OTHER;
    /// Equal only to the same word.
    pub const UNIQUE: Kinds = SMALL | ATOM | NIL;
}

/// The least small integer.
pub const SMALL_MIN: i64 = -(1 << 61);
/// The greatest small integer.
pub const SMALL_MAX: i64 = (1 << 61) - 1;

/// Where the value of a register is. Y registers are in memory iff they have
/// [`Word`](Location::Word).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    /// A word.
    Word,
    /// A float, in a machine register for floats.
    Float,
    Both,
    /// A word of the frame that is not in memory yet.
    Pending,
    /// A tuple that is not on the heap: each element is a register of its own ([`scalar`]).
    Scalars(Slot),
}

/// The place of a scalar-replaced tuple.
pub type Slot = u8;
/// How many tuples may be scalar-replaced at a time.
pub const SLOTS: Slot = 3;
/// How many elements a scalar-replaced tuple may have.
pub const SCALAR_TUPLES_MAX: usize = 12;
const FIRST_PART: u16 = 1 << 14;

/// The pseudo register of an element, counted from 0, of a scalar-replaced tuple. No instruction
/// names it.
pub const fn scalar(slot: Slot, index: usize) -> Dst {
    Dst::x(FIRST_PART + (slot as usize * SCALAR_TUPLES_MAX + index) as u16)
}
/// The number of a pseudo register among all those of [`scalar`]; `None` for X and Y registers.
pub fn scalar_number(register: Dst) -> Option<usize> {
    if register.is_y() { None } else { register.index().checked_sub(FIRST_PART.into()) }
}

impl Location {
    /// Whether the value is in a machine register for floats, there alone or as a word, too.
    pub fn has_float(self) -> bool {
        matches!(self, Location::Float | Location::Both)
    }
    /// Whether the value is a scalar-replaced tuple.
    pub fn is_scalars(self) -> bool {
        matches!(self, Location::Scalars(_))
    }
}

/// What is known of one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fact {
    pub kinds: Kinds,
    pub place: Location,
    /// Bounds of the number, if it is a small integer.
    pub min: i64,
    pub max: i64,
    /// How many elements it has, if it is a tuple: so many at least, or exactly.
    pub arity: u32,
    pub exact: bool,
    /// The entry of the fun, if it is a fun whose function is known.
    pub fun: Option<FunPtr>,
}

impl Fact {
    /// Nothing is known but that the value is a word.
    pub const ANY: Fact = Fact::of(kind::ANY);

    /// A word of one of these kinds; nothing else is known of it.
    pub const fn of(kinds: Kinds) -> Fact {
        Fact {
            kinds,
            place: Location::Word,
            min: SMALL_MIN,
            max: SMALL_MAX,
            arity: 0,
            exact: false,
            fun: None,
        }
    }
    /// A small integer within bounds; any integer where they are not those of small ones.
    pub fn integer(min: i128, max: i128) -> Fact {
        if min < i128::from(SMALL_MIN) || max > i128::from(SMALL_MAX) {
            return Fact::of(kind::INTEGER);
        }
        Fact { min: min as i64, max: max as i64, ..Fact::of(kind::SMALL) }
    }
    /// A tuple of `arity` elements, or of at least as many where it is not `exact`.
    pub const fn tuple(arity: u32, exact: bool) -> Fact {
        Fact { arity, exact, ..Fact::of(kind::TUPLE) }
    }
    /// A local fun of this entry.
    pub fn fun(fun: FunPtr) -> Fact {
        Fact { fun: Some(fun), ..Fact::of(kind::FUN) }
    }
    /// The fact of a constant of the module.
    pub fn of_term(term: Term) -> Fact {
        if let Some(value) = term.as_small() {
            Fact::integer(value.into(), value.into())
        } else if term.is_float_immediate() {
            Fact::of(kind::FLOAT)
        } else if term.is_atom() {
            Fact::of(kind::ATOM)
        } else if term.is_nil() {
            Fact::of(kind::NIL)
        } else if term.is_cons() {
            Fact::of(kind::CONS)
        } else if let Some(tuple) = term.as_tuple() {
            Fact::tuple(tuple.arity() as u32, true)
        } else {
            Fact::ANY
        }
    }

    /// Both facts hold. Where they contradict each other, the code is unreachable, and the first is
    /// kept.
    pub fn and(self, other: Fact) -> Fact {
        let kinds = self.kinds & other.kinds;
        let (min, max) = (self.min.max(other.min), self.max.min(other.max));
        if kinds == 0 || min > max {
            return self;
        }
        let arity = self.arity.max(other.arity);
        Fact {
            kinds,
            place: self.place,
            min,
            max,
            arity,
            exact: self.exact || other.exact,
            fun: self.fun.or(other.fun),
        }
    }
    /// Whether a value is where another place expects it, or there as well.
    fn is_where(self, expected: Location) -> bool {
        self.place == expected
            || self.place == Location::Both && matches!(expected, Location::Word | Location::Float)
    }
    /// Whether every value with this fact has the other, in a place that does for the other's.
    pub fn implies(self, other: Fact) -> bool {
        let small = self.kinds & kind::SMALL == 0 || self.min >= other.min && self.max <= other.max;
        let tuple = self.kinds & kind::TUPLE == 0
            || if other.exact {
                self.exact && self.arity == other.arity
            } else {
                self.arity >= other.arity
            };
        self.kinds & !other.kinds == 0
            && small
            && tuple
            && self.is_where(other.place)
            && (other.fun.is_none() || self.fun == other.fun)
    }
    /// Whether it is one of these for sure.
    pub fn is(self, kinds: Kinds) -> bool {
        self.kinds & !kinds == 0
    }
    /// Whether it may be one of these.
    pub fn may_be(self, kinds: Kinds) -> bool {
        self.kinds & kinds != 0
    }
    /// The fact with bounds that few facts share: the lower is 0 or none, the upper 2⁸ - 1, 2¹⁶ -
    /// 1, 2³² - 1 or none. Where a loop begins only the sign is kept, so that the loop's back-edge
    /// has the facts that it began with.
    fn coarse(self, loops: bool) -> Fact {
        const BOUNDS: [i64; 4] = [u8::MAX as i64, u16::MAX as i64, u32::MAX as i64, SMALL_MAX];
        let min = if self.min >= 0 { 0 } else { SMALL_MIN };
        let max = if loops {
            SMALL_MAX
        } else {
            BOUNDS.into_iter().find(|&bound| self.max <= bound).unwrap_or(SMALL_MAX)
        };
        if self.place.has_float() {
            let place = if loops { Location::Float } else { self.place };
            return Fact { place, ..Fact::of(kind::FLOATS) };
        }
        Fact { min, max, ..self }
    }
}

/// What is known of each register; of those that are missing, nothing.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Facts {
    known: BTreeMap<u16, Fact>,
    /// Whether something else has been met where a float was expected. No such thing is expected
    /// from then on.
    pub mixed: bool,
}

impl Facts {
    /// The fact of a register; [`Fact::ANY`] where nothing is known.
    pub fn of(&self, register: Dst) -> Fact {
        self.known.get(&register.0).copied().unwrap_or(Fact::ANY)
    }
    /// The fact of an operand's register; [`Fact::ANY`] for constants.
    pub fn of_src(&self, src: Src) -> Fact {
        register(src).map_or(Fact::ANY, |register| self.of(register))
    }
    /// The register has been written, with a word.
    pub fn set(&mut self, register: Dst, fact: Fact) {
        let place = if self.of(register).place == Location::Pending {
            Location::Pending
        } else {
            Location::Word
        };
        self.put(register, Fact { place, ..fact });
    }
    /// The register's value has moved to `place`.
    pub fn place(&mut self, register: Dst, place: Location) {
        let known = self.of(register);
        self.put(register, Fact { place, ..known });
    }
    /// No register's value is in a machine register for floats or scalar-replaced alone, and none
    /// is to be taken from there.
    pub fn forget_floats(&mut self) {
        self.known.retain(|&raw, fact| {
            scalar_number(Dst(raw)).is_none() && !matches!(fact.place, Location::Scalars(_))
        });
        for fact in self.known.values_mut().filter(|fact| fact.place.has_float()) {
            fact.place = Location::Word;
        }
    }
    /// The X registers whose values are not words.
    pub fn without_words(&self) -> Vec<usize> {
        let without = |(&raw, fact): (&u16, &Fact)| {
            let register = Dst(raw);
            let is_x = !register.is_y() && scalar_number(register).is_none();
            (is_x && matches!(fact.place, Location::Float | Location::Scalars(_)))
                .then_some(register.index())
        };
        self.known.iter().filter_map(without).collect()
    }
    /// The Y registers that are not in memory yet.
    pub fn pending(&self) -> Vec<usize> {
        self.known
            .iter()
            .filter(|&(&raw, fact)| Dst(raw).is_y() && fact.place != Location::Word)
            .map(|(&raw, _)| Dst(raw).index())
            .collect()
    }
    /// The registers whose tuples are scalar-replaced, with where those are and how many.
    pub fn scalar_tuples(&self) -> Vec<(Dst, Slot, usize)> {
        let scalar_replaced = |(&raw, fact): (&u16, &Fact)| match fact.place {
            Location::Scalars(slot) => Some((Dst(raw), slot, fact.arity as usize)),
            _ => None,
        };
        self.known.iter().filter_map(scalar_replaced).collect()
    }
    /// Forgets the scalar-replaced tuples in X registers that are not live.
    pub fn forget_dead_scalars(&mut self, live: u64) {
        self.known.retain(|&raw, fact| {
            let register = Dst(raw);
            !fact.place.is_scalars() || register.is_y() || live & (1 << register.index()) != 0
        });
    }
    /// A slot that no tuple is in.
    pub fn free_slot(&self) -> Option<Slot> {
        let taken: Vec<Slot> = self.scalar_tuples().into_iter().map(|(_, slot, _)| slot).collect();
        (0..SLOTS).find(|slot| !taken.contains(slot))
    }
    /// What one register held is in another from now on, and nowhere else.
    pub fn rename(&mut self, from: Dst, to: Dst) {
        let known = self.of(from);
        self.forget(from);
        self.put(to, known);
    }
    fn put(&mut self, register: Dst, fact: Fact) {
        if fact == Fact::ANY {
            self.known.remove(&register.0);
        } else {
            self.known.insert(register.0, fact);
        }
    }
    /// Nothing is known of the register any more; its value is a word in memory or in a variable.
    pub fn forget(&mut self, register: Dst) {
        self.known.remove(&register.0);
    }
    /// More has become known of what the register holds.
    pub fn learn(&mut self, src: Src, fact: Fact) {
        if let Some(register) = register(src) {
            let known = self.of(register).and(fact);
            self.put(register, known);
        }
    }
    /// The frame is gone, or a new one has come.
    pub fn forget_y(&mut self) {
        self.known.retain(|&raw, _| !Dst(raw).is_y());
    }
    /// Nothing is known of the X registers. Scalar-replaced elements are kept.
    pub fn forget_x(&mut self) {
        self.known.retain(|&raw, _| Dst(raw).is_y() || scalar_number(Dst(raw)).is_some());
    }
    /// The frame has grown by `words` at its low end: each Y register's number rises by that.
    /// [`trim`](Self::trim) undoes it.
    pub fn push(&mut self, words: u16) {
        let moved = |(&raw, &fact): (&u16, &Fact)| {
            let register = Dst(raw);
            if register.is_y() {
                (Dst::y(register.index() as u16 + words).0, fact)
            } else {
                (raw, fact)
            }
        };
        self.known = self.known.iter().map(moved).collect();
    }
    /// The frame has lost its `words` lowest Y registers: the numbers of the others fall by that.
    pub fn trim(&mut self, words: u16) {
        let kept = self.known.iter().filter_map(|(&raw, &fact)| {
            let register = Dst(raw);
            match (register.is_y(), (register.index() as u16).checked_sub(words)) {
                (false, _) => Some((raw, fact)),
                (true, Some(below)) => Some((Dst::y(below).0, fact)),
                (true, None) => None,
            }
        });
        self.known = kept.collect();
    }
    /// The facts by which versions of a label differ, where only the X registers in `live` are
    /// alive: coarser bounds, and scalar-replaced tuples in the first slots.
    pub fn at_label(&self, live: u64, loops: bool) -> Facts {
        let mut kept = self.of_nothing();
        let mut slots = 0..SLOTS;
        for (&raw, fact) in &self.known {
            let register = Dst(raw);
            if !register.is_y() && (register.index() >= 64 || live & (1 << register.index()) == 0) {
                continue;
            }
            let mut fact = fact.coarse(loops);
            if let Location::Scalars(from) = fact.place {
                let slot = slots.next().expect("each has a slot of its own");
                for index in 0..fact.arity as usize {
                    kept.put(scalar(slot, index), self.of(scalar(from, index)).coarse(loops));
                }
                fact.place = Location::Scalars(slot);
            }
            kept.put(register, fact);
        }
        kept
    }
    /// Whether the other differs from this one only in that fewer words are known to be floats.
    pub fn is_but_for_floats(&self, other: &Facts) -> bool {
        let same = |(&raw, &fact): (&u16, &Fact)| {
            let expected = other.of(Dst(raw));
            expected == fact
                || fact.place == Location::Both
                    && (!expected.place.has_float() || expected.kinds == fact.kinds)
        };
        self.mixed == other.mixed
            && self.known.iter().all(same)
            && other.known.keys().all(|raw| self.known.contains_key(raw))
    }
    /// Facts of no register, with the same `mixed`.
    pub fn of_nothing(&self) -> Facts {
        Facts { mixed: self.mixed, ..Facts::default() }
    }
    /// Whether code compiled for `other` can be entered with these facts: each fact of `other`
    /// follows, and each value is where `other` expects it.
    pub fn implies(&self, other: &Facts) -> bool {
        if self.mixed != other.mixed {
            return false;
        }
        let places = self.known.iter().all(|(&raw, fact)| fact.is_where(other.of(Dst(raw)).place));
        places && other.known.iter().all(|(&raw, &fact)| self.of(Dst(raw)).implies(fact))
    }
    /// Registers of which something is known.
    pub fn len(&self) -> usize {
        self.known.len()
    }
}

/// The register that a source is, if it is one.
pub fn register(src: Src) -> Option<Dst> {
    match src.kind() {
        Src::KIND_X => Some(Dst::x(src.index() as u16)),
        Src::KIND_Y => Some(Dst::y(src.index() as u16)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_follow_from_narrower_ones() {
        let small = Fact::integer(2, 5);
        assert!(small.implies(Fact::of(kind::INTEGER)) && !Fact::of(kind::INTEGER).implies(small));
        assert!(
            Fact::tuple(3, true).implies(Fact::tuple(2, false))
                && !Fact::tuple(3, false).implies(Fact::tuple(3, true))
        );
        assert_eq!(small.and(Fact::of(kind::NUMBER)), small);
        assert_eq!(small.and(Fact::of(kind::ATOM)), small, "what cannot be says nothing");
    }

    #[test]
    fn the_frame_moves_the_facts() {
        let mut facts = Facts::default();
        facts.set(Dst::y(3), Fact::of(kind::CONS));
        facts.set(Dst::x(1), Fact::of(kind::ATOM));
        facts.trim(2);
        assert_eq!(facts.of(Dst::y(1)), Fact::of(kind::CONS));
        assert_eq!(facts.of(Dst::y(3)), Fact::ANY);
        facts.push(4);
        assert_eq!(facts.of(Dst::y(5)), Fact::of(kind::CONS));
        facts.forget_y();
        assert_eq!(facts.len(), 1);
        assert_eq!(facts.at_label(0b01, false).len(), 0);
    }

    #[test]
    fn scalar_replaced_tuples_are_compared_wherever_they_are() {
        let in_slot = |slot: Slot, first: Fact| {
            let mut facts = Facts::default();
            facts.set(Dst::x(1), Fact::tuple(2, true));
            facts.place(Dst::x(1), Location::Scalars(slot));
            facts.set(scalar(slot, 0), first);
            facts
        };
        let facts = in_slot(2, Fact::of(kind::ATOM));
        assert_eq!(facts.free_slot(), Some(0));
        assert_eq!(facts.at_label(0b10, false), in_slot(0, Fact::of(kind::ATOM)));
        assert!(facts.at_label(0b10, false).implies(&in_slot(0, Fact::ANY)));
        assert!(!facts.at_label(0b10, false).implies(&in_slot(0, Fact::of(kind::NIL))));
        assert_eq!(facts.at_label(0b01, false), Facts::default(), "nobody will want it");
        assert!(!facts.at_label(0b10, false).implies(&Facts::default()), "it has to be built");
    }

    #[test]
    fn who_has_both_has_either() {
        let with = |place: Location| {
            let mut facts = Facts::default();
            facts.set(Dst::x(0), Fact::of(kind::FLOATS));
            facts.place(Dst::x(0), place);
            facts
        };
        assert!(
            with(Location::Both).implies(&with(Location::Float))
                && with(Location::Both).implies(&with(Location::Word))
        );
        assert!(
            !with(Location::Float).implies(&with(Location::Word))
                && !with(Location::Float).implies(&with(Location::Both))
        );
        assert!(with(Location::Both).is_but_for_floats(&with(Location::Word)));
        assert_eq!(
            with(Location::Both).at_label(1, true),
            with(Location::Float),
            "a loop keeps the float"
        );
    }

    #[test]
    fn a_loop_keeps_only_signs() {
        let mut facts = Facts::default();
        facts.set(Dst::x(0), Fact::integer(1, 200));
        assert_eq!(facts.at_label(1, false).of(Dst::x(0)), Fact::integer(0, 255));
        assert_eq!(facts.at_label(1, true).of(Dst::x(0)), Fact::integer(0, SMALL_MAX.into()));
    }
}
