//! What is known at a point of a function, and how the knowledge of two paths is joined.

use super::Fault;
use crate::decode::REGISTERS_MAX;
use crate::file::Operand;

/// Words of a set beyond the first.
const HIGH_WORDS: usize = REGISTERS_MAX as usize / 64 - 1;

/// A set of registers. Code seldom uses more than 64.
#[derive(Debug, Default)]
pub(super) struct RegSet {
    low: u64,
    /// Registers from 64 on, 64 in a word; `None`: none was added yet.
    high: Option<Box<[u64; HIGH_WORDS]>>,
}

impl Clone for RegSet {
    /// A state has many sets, and nearly none has registers above 63: no allocation for those.
    #[inline(always)]
    fn clone(&self) -> RegSet {
        RegSet { low: self.low, high: if self.high.is_none() { None } else { self.high.clone() } }
    }
}

impl PartialEq for RegSet {
    fn eq(&self, other: &RegSet) -> bool {
        self.low == other.low && self.high() == other.high()
    }
}

impl RegSet {
    /// The registers below `count`.
    #[inline]
    pub fn below(count: u32) -> RegSet {
        let mut set = RegSet { low: mask_below(count), high: None };
        if count > 64 {
            for (word, bits) in (1..).zip(set.high_mut()) {
                *bits = mask_below(count.saturating_sub(word * 64));
            }
        }
        set
    }

    fn high(&self) -> &[u64; HIGH_WORDS] {
        self.high.as_deref().unwrap_or(&[0; HIGH_WORDS])
    }
    fn high_mut(&mut self) -> &mut [u64; HIGH_WORDS] {
        self.high.get_or_insert_default()
    }

    /// Whether the set has the register.
    #[inline]
    pub fn contains(&self, register: u16) -> bool {
        if register < 64 {
            return self.low >> register & 1 != 0;
        }
        self.high()[usize::from(register) / 64 - 1] >> (register % 64) & 1 != 0
    }

    /// Adds a register.
    #[inline]
    pub fn insert(&mut self, register: u16) {
        if register < 64 {
            self.low |= 1 << register;
        } else {
            self.high_mut()[usize::from(register) / 64 - 1] |= 1 << (register % 64);
        }
    }

    /// Takes a register out; nothing happens where it is not in.
    #[inline]
    pub fn remove(&mut self, register: u16) {
        if register < 64 {
            self.low &= !(1 << register);
        } else if let Some(high) = &mut self.high {
            high[usize::from(register) / 64 - 1] &= !(1 << (register % 64));
        }
    }

    /// Adds a register (`is_in`) or takes it out.
    #[inline]
    pub fn set(&mut self, register: u16, is_in: bool) {
        if is_in { self.insert(register) } else { self.remove(register) }
    }

    /// Whether the set has no register.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.low == 0 && self.high.as_ref().is_none_or(|high| high.iter().all(|&word| word == 0))
    }

    /// One more than the highest register; 0 for the empty set.
    pub fn end(&self) -> u32 {
        let high = self.high.as_ref();
        match high.and_then(|high| high.iter().rposition(|&word| word != 0)) {
            Some(word) => (word as u32 + 2) * 64 - self.high()[word].leading_zeros(),
            None => 64 - self.low.leading_zeros(),
        }
    }

    /// The registers in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..self.end() as u16).filter(|&register| self.contains(register))
    }

    /// Takes all registers out.
    #[inline]
    pub fn clear(&mut self) {
        *self = RegSet::default();
    }

    /// Adds the registers of the other set. Returns whether any was new.
    #[inline]
    pub fn unite(&mut self, other: &RegSet) -> bool {
        let mut gained = other.low & !self.low != 0;
        self.low |= other.low;
        if let Some(others) = &other.high {
            for (bits, others) in self.high_mut().iter_mut().zip(&**others) {
                gained |= others & !*bits != 0;
                *bits |= others;
            }
        }
        gained
    }

    /// Keeps the registers below `count`.
    #[inline]
    pub fn truncate(&mut self, count: u32) {
        self.low &= mask_below(count);
        if let Some(high) = &mut self.high {
            for (word, bits) in (1..).zip(&mut **high) {
                *bits &= mask_below(count.saturating_sub(word * 64));
            }
        }
    }

    /// The first register below `count` that is missing.
    #[inline]
    pub fn first_missing(&self, count: u32) -> Option<u16> {
        let missing = !self.low & mask_below(count);
        if missing != 0 {
            return Some(missing.trailing_zeros() as u16);
        }
        if count <= 64 {
            return None;
        }
        (64..count as u16).find(|register| !self.contains(*register))
    }

    /// Keeps the registers that the other set has too. Returns whether any was lost.
    #[inline]
    pub fn intersect(&mut self, other: &RegSet) -> bool {
        let mut lost = self.low & !other.low != 0;
        self.low &= other.low;
        if let Some(high) = &mut self.high {
            for (bits, others) in high.iter_mut().zip(other.high()) {
                lost |= *bits & !others != 0;
                *bits &= others;
            }
        }
        lost
    }

    /// Renumbers the registers so that `count` becomes 0; those below it are dropped.
    #[inline]
    pub fn shift_down(&mut self, count: u32) {
        if self.high.is_none() {
            self.low = self.low.checked_shr(count).unwrap_or(0);
            return;
        }
        let old = std::mem::take(self);
        for register in old.iter().filter(|&register| u32::from(register) >= count) {
            self.insert(register - count as u16);
        }
    }
}

#[inline]
fn mask_below(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// The stack frame of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    None,
    Size(u32),
    /// Paths with different frames have met: of so many words at least. They can end in an
    /// exception only.
    Mixed {
        words: u32,
        scannable: bool,
    },
}

impl Frame {
    /// The Y registers below this exist.
    pub fn words(self) -> u32 {
        match self {
            Frame::None => 0,
            Frame::Size(words) | Frame::Mixed { words, .. } => words,
        }
    }
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Frame::None => f.write_str("no frame"),
            Frame::Size(words) => write!(f, "a frame of {words} words"),
            Frame::Mixed { .. } => f.write_str("a different frame on each path"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CatchKind {
    Catch,
    Try,
}

/// An active catch tag in a Y register. Where paths met, a register can have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag {
    pub register: u16,
    pub kind: CatchKind,
    pub handler: u32,
}

/// More active catches than any compiler nests; keeps hostile code from costing much.
const TAGS_MAX: usize = 256;

/// Heap room that was granted and not yet used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    pub words: u32,
    pub floats: u32,
}

/// A set of X and Y registers.
#[derive(Clone, Debug, Default)]
pub(super) struct Registers {
    pub x: RegSet,
    pub y: RegSet,
}

impl Registers {
    /// Whether the set has the register; `false` for operands that are none.
    #[inline]
    pub fn contains(&self, register: &Operand) -> bool {
        match *register {
            Operand::X(register) | Operand::TypedX(register, _) => self.x.contains(register),
            Operand::Y(register) | Operand::TypedY(register, _) => self.y.contains(register),
            _ => false,
        }
    }
    /// Adds a register (`is_in`) or takes it out; nothing happens for operands that are none.
    #[inline]
    pub fn set(&mut self, register: &Operand, is_in: bool) {
        match *register {
            Operand::X(register) | Operand::TypedX(register, _) => self.x.set(register, is_in),
            Operand::Y(register) | Operand::TypedY(register, _) => self.y.set(register, is_in),
            _ => {}
        }
    }
    /// Whether the set has no register.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.x.is_empty() && self.y.is_empty()
    }
    /// Takes all registers out.
    pub fn clear(&mut self) {
        self.x.clear();
        self.y.clear();
    }
    fn unite(&mut self, other: &Registers) -> bool {
        self.x.unite(&other.x) | self.y.unite(&other.y)
    }
}

/// Everything known at a point.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// X registers that hold a term.
    pub x: RegSet,
    /// Y registers that hold a term or a catch tag.
    pub y: RegSet,
    pub frame: Frame,
    /// Sorted by register.
    pub tags: Vec<Tag>,
    pub tags_mixed: bool,
    pub grant: Grant,
    pub floats: RegSet,
    /// A binary is being filled by `bs_put_*`.
    pub building: bool,
    /// X0 is the result of `setelement/3`, with nothing but moves since.
    pub fresh_tuple: bool,
    /// Registers that may hold that tuple, too, as long as it is fresh.
    pub same_tuple: Registers,
    /// Registers that may hold a match context, which is no term.
    pub contexts: Registers,
    /// Registers that may refer to a message that the mailbox still has.
    pub fragile: Registers,
    /// `loop_rec` has found a message that is still to be taken or passed over.
    pub at_message: bool,
    /// The handler of the innermost catch has seen this stack already.
    pub handler_knows: bool,
}

impl State {
    /// At the entry of a function.
    pub fn entry(arity: u32) -> State {
        State {
            x: RegSet::below(arity),
            y: RegSet::default(),
            frame: Frame::None,
            tags: Vec::new(),
            tags_mixed: false,
            grant: Grant::default(),
            floats: RegSet::default(),
            building: false,
            fresh_tuple: false,
            same_tuple: Registers::default(),
            contexts: Registers::default(),
            fragile: Registers::default(),
            at_message: false,
            handler_knows: false,
        }
    }

    /// At the handler of an exception raised here: the same stack, and the exception in X0 to X3.
    pub fn at_handler(&self) -> State {
        let contexts = Registers { y: self.contexts.y.clone(), ..Registers::default() };
        State {
            x: RegSet::below(4),
            y: self.y.clone(),
            frame: self.frame,
            tags: self.tags.clone(),
            contexts,
            ..State::entry(0)
        }
    }

    /// Whether every word of the stack is a term or a tag.
    pub fn scannable(&self) -> bool {
        match self.frame {
            Frame::None => true,
            Frame::Size(words) => self.y.first_missing(words).is_none(),
            Frame::Mixed { scannable, .. } => scannable,
        }
    }

    /// Whether the Y register holds an active catch tag on some path.
    pub fn is_tagged(&self, register: u16) -> bool {
        !self.tags.is_empty() && self.tags.iter().any(|tag| tag.register == register)
    }

    /// Weakens this state to what also holds on another path. Returns whether it changed.
    ///
    /// # Errors
    /// `TooManyCatches`.
    pub fn join(&mut self, other: &State) -> Result<bool, Fault> {
        let mut changed = self.x.intersect(&other.x);
        changed |= self.join_frame(other);
        changed |= self.y.intersect(&other.y);
        changed |= self.floats.intersect(&other.floats);
        changed |= self.join_tags(other)?;
        if self.grant.words > other.grant.words || self.grant.floats > other.grant.floats {
            // Not the minimum, so that a loop cannot make it shrink in many steps.
            self.grant = Grant::default();
            changed = true;
        }
        let known = [
            (&mut self.building, other.building),
            (&mut self.fresh_tuple, other.fresh_tuple),
            (&mut self.at_message, other.at_message),
        ];
        for (mine, others) in known {
            changed |= *mine && !others;
            *mine &= others;
        }
        // Dead registers do not matter: these sets may only grow.
        changed |= self.contexts.unite(&other.contexts);
        changed |= self.fragile.unite(&other.fragile);
        if self.fresh_tuple {
            changed |= self.same_tuple.unite(&other.same_tuple);
        }
        Ok(changed)
    }

    fn join_frame(&mut self, other: &State) -> bool {
        if self.frame == other.frame {
            return false;
        }
        let scannable = self.scannable() && other.scannable();
        let joined = Frame::Mixed { words: self.frame.words().min(other.frame.words()), scannable };
        let changed = self.frame != joined;
        self.frame = joined;
        changed
    }

    fn join_tags(&mut self, other: &State) -> Result<bool, Fault> {
        if self.tags == other.tags && self.tags_mixed == other.tags_mixed {
            return Ok(false);
        }
        if self.tags_mixed {
            return Ok(false);
        }
        if other.tags_mixed || !self.same_tagged_registers(other) {
            self.tags_mixed = true;
            return Ok(true);
        }
        let count = self.tags.len();
        self.tags.extend_from_slice(&other.tags);
        self.tags.sort_unstable();
        self.tags.dedup();
        if self.tags.len() > TAGS_MAX {
            return Err(Fault::TooManyCatches);
        }
        Ok(self.tags.len() != count)
    }

    fn same_tagged_registers(&self, other: &State) -> bool {
        let covered = |these: &[Tag], those: &[Tag]| {
            these.iter().all(|tag| {
                those.iter().any(|that| (that.register, that.kind) == (tag.register, tag.kind))
            })
        };
        covered(&self.tags, &other.tags) && covered(&other.tags, &self.tags)
    }

    /// Notes whether a register holds a match context. A handler has to hear of one in the frame.
    #[inline]
    pub fn set_context(&mut self, register: &Operand, is_context: bool) {
        self.contexts.set(register, is_context);
        if is_context && matches!(register, Operand::Y(_) | Operand::TypedY(..)) {
            self.handler_knows = false;
        }
    }

    /// Makes a Y register hold a catch tag.
    ///
    /// # Errors
    /// `TooManyCatches` beyond [`TAGS_MAX`] tags.
    pub fn add_tag(&mut self, tag: Tag) -> Result<(), Fault> {
        if self.tags.len() >= TAGS_MAX {
            return Err(Fault::TooManyCatches);
        }
        let position = self.tags.partition_point(|other| *other < tag);
        self.tags.insert(position, tag);
        self.handler_knows = false;
        Ok(())
    }

    /// Removes the tag of this kind from a Y register, which then holds a harmless term.
    ///
    /// # Errors
    /// `MixedCatches` where paths with different tags have met; `NoCatchTag` when there is no such
    /// tag.
    pub fn remove_tag(&mut self, register: u16, kind: CatchKind) -> Result<(), Fault> {
        if self.tags_mixed {
            return Err(Fault::MixedCatches);
        }
        let found = self.tags.iter().any(|tag| tag.register == register && tag.kind == kind);
        if !found {
            return Err(Fault::NoCatchTag(register));
        }
        self.tags.retain(|tag| tag.register != register);
        self.handler_knows = false;
        Ok(())
    }
}
