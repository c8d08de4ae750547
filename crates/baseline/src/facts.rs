//! What is known of registers within a straight run of instructions that nothing jumps into.

use swarmrt_beam::instr::{Dst, Src};

/// What is known of the term in a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact {
    /// A list cell.
    Cons,
    /// A tuple of so many elements at least.
    Tuple(u32),
    /// A match context.
    Context,
}

/// A few facts; a new one takes the place of the oldest.
#[derive(Default)]
pub struct Facts {
    known: [Option<(Src, Fact)>; 4],
    next: usize,
}

impl Facts {
    /// Forgets everything, as at a place that something jumps to.
    pub fn clear(&mut self) {
        self.known = [None; 4];
    }
    /// What is known of an operand's register.
    pub fn of(&self, src: Src) -> Option<Fact> {
        self.known.iter().flatten().find(|(known, _)| *known == src).map(|&(_, fact)| fact)
    }
    /// Whether exactly this is known of an operand's register.
    pub fn is(&self, src: Src, fact: Fact) -> bool {
        self.of(src) == Some(fact)
    }
    /// Records a fact of a register. Constants are ignored: their value is looked at where it is
    /// used.
    pub fn learn(&mut self, src: Src, fact: Fact) {
        if src.as_x().is_none() && src.as_y().is_none() {
            return;
        }
        self.forget(src);
        self.known[self.next] = Some((src, fact));
        self.next = (self.next + 1) % self.known.len();
    }
    fn forget(&mut self, src: Src) {
        for known in &mut self.known {
            if known.is_some_and(|(known, _)| known == src) {
                *known = None;
            }
        }
    }
    /// The register has a new value.
    pub fn written(&mut self, dst: Dst) {
        self.forget(dst.as_src());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_register_goes_when_it_is_written() {
        let mut facts = Facts::default();
        facts.learn(Src::x(1), Fact::Cons);
        facts.learn(Src::y(1), Fact::Tuple(2));
        facts.learn(Src::small(7), Fact::Context);
        assert_eq!(
            [Src::x(1), Src::y(1), Src::small(7)].map(|src| facts.of(src)),
            [Some(Fact::Cons), Some(Fact::Tuple(2)), None]
        );
        facts.written(Dst::x(1));
        assert_eq!([Src::x(1), Src::y(1)].map(|src| facts.of(src)), [None, Some(Fact::Tuple(2))]);
    }
    #[test]
    fn the_newest_facts_are_kept() {
        let mut facts = Facts::default();
        (0..6).for_each(|number| facts.learn(Src::x(number), Fact::Tuple(number.into())));
        let known: Vec<u16> = (0..6).filter(|&number| facts.of(Src::x(number)).is_some()).collect();
        assert_eq!(known, [2, 3, 4, 5]);
    }
}
