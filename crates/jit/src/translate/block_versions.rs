//! The blocks of a piece: which place is translated how often, with which facts, and what is put
//! off until the usual ways are done.

use super::sites::{ProgramPoint, Site};
use super::{Next, Translator};
use crate::plan::facts::{Facts, Location, scalar};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, SourceLoc, Value};
use std::collections::{HashMap, VecDeque};
use swarmrt_beam::instr::Dst;

/// A place as it is reached with certain facts: it is translated once for each.
pub(super) struct BlockVersion {
    pub(super) facts: Facts,
    pub(super) block: Block,
    pub(super) written_f: u32,
    pub(super) cold: bool,
    pub(super) translated: bool,
}

/// Versions of one place; one of them knows nothing. There is another for what is mixed.
const VERSIONS_MAX: usize = 3;
/// Functions with more instructions get only that one.
const MANY_INSTRUCTIONS: usize = 1500;

/// The way of an operation that is not the usual one, put off until the usual ones are translated.
pub(super) struct Later {
    pub(super) block: Block,
    pub(super) site: Site,
    /// The instruction that it belongs to.
    pub(super) location: SourceLoc,
    pub(super) facts: Facts,
    pub(super) written_f: u32,
    pub(super) cold: bool,
    pub(super) translate: Box<dyn FnOnce(&mut Translator<'_, '_>)>,
}

/// The blocks of a piece.
#[derive(Default)]
pub(super) struct Blocks {
    pub(super) versions: HashMap<ProgramPoint, Vec<BlockVersion>>,
    /// Versions, by place and number, that something leads to and that may not be translated yet.
    pub(super) pending: Vec<(ProgramPoint, usize)>,
    /// What is translated when none is pending.
    pub(super) later: VecDeque<Later>,
}

impl Translator<'_, '_> {
    /// The block of a place that something leads to with what is known now; it is translated later.
    pub(crate) fn target(&mut self, at: u32) -> Block {
        self.settle_stop();
        let flow = self.flow();
        let (facts, best) = self.best_version(at);
        let versions =
            self.blocks.versions.entry(ProgramPoint { site: self.sites.current, at }).or_default();
        // One is left for where nothing is known.
        let others = versions.iter().filter(|version| version.facts.mixed == facts.mixed).count();
        let full =
            facts.mixed || others + 1 >= VERSIONS_MAX || flow.effects.len() > MANY_INSTRUCTIONS;
        let number = match best {
            Some(number)
                if self.cold || full || facts.is_but_for_floats(&versions[number].facts) =>
            {
                number
            }
            _ => {
                let facts = if full || self.cold { facts.of_nothing() } else { facts };
                if let Some(same) = versions.iter().position(|version| version.facts == facts) {
                    return self.way_to(at, same);
                }
                let block = self.b.create_block();
                if self.cold {
                    self.b.set_cold_block(block);
                }
                versions.push(BlockVersion {
                    facts,
                    block,
                    written_f: 0,
                    cold: self.cold,
                    translated: false,
                });
                versions.len() - 1
            }
        };
        self.way_to(at, number)
    }
    /// The block of a place of a body, which is entered or left here.
    pub(super) fn target_in(&mut self, site: Site, at: u32) -> Block {
        let here = std::mem::replace(&mut self.sites.current, site);
        let block = self.target(at);
        self.sites.current = here;
        block
    }
    /// The block of a version of a place, or one on the way to it.
    fn way_to(&mut self, at: u32, number: usize) -> Block {
        let point = self.point(at);
        let versions = self.blocks.versions.get_mut(&point).expect("it has this version");
        versions[number].written_f |= self.written_f;
        self.blocks.pending.push((point, number));
        let block = versions[number].block;
        // Some of what is in machine registers for floats is expected in words.
        let live = self.flow().live_at(at);
        let expected = &self.blocks.versions[&point][number].facts;
        let is_word = |register: Dst| expected.of(register).place == Location::Word;
        let words: Vec<usize> = self
            .facts
            .without_words()
            .into_iter()
            .filter(|&x| live & (1 << x) != 0 && is_word(Dst::x(x as u16)))
            .collect();
        let pending: Vec<usize> =
            self.facts.pending().into_iter().filter(|&y| is_word(Dst::y(y as u16))).collect();
        // Tuples that stay scalar-replaced, from where they are to where they are expected.
        let mut moved = Vec::new();
        for (register, to, arity) in expected.scalar_tuples() {
            if let Location::Scalars(from) = self.facts.of(register).place
                && from != to
            {
                moved.extend((0..arity).map(|index| {
                    (scalar(from, index), scalar(to, index), expected.of(scalar(to, index)).place)
                }));
            }
        }
        let nothing = words.is_empty() && pending.is_empty() && moved.is_empty();
        if nothing { block } else { self.edge(block, &words, &pending, &moved) }
    }
    /// A block on the way to another that makes words of these X registers, stores these of the
    /// frame, and moves scalars of tuples.
    fn edge(
        &mut self,
        to: Block,
        words: &[usize],
        pending: &[usize],
        moved: &[(Dst, Dst, Location)],
    ) -> Block {
        let here = self.b.current_block().expect("translating");
        let edge = if self.cold { self.cold_block() } else { self.b.create_block() };
        self.b.switch_to_block(edge);
        let facts = self.facts.clone();
        for &number in words {
            self.use_x(number);
        }
        self.store_pending(pending);
        self.facts = facts;
        self.move_scalars_to(moved);
        self.b.ins().jump(to, &[]);
        self.b.switch_to_block(here);
        edge
    }
    /// The existing version of `at` whose assumed facts are implied by the current ones.
    pub(super) fn known_target(&mut self, at: u32) -> Option<Block> {
        let (_, best) = self.best_version(at);
        best.map(|number| self.blocks.versions[&self.point(at)][number].block)
    }
    /// The known facts that matter at `at`, and its version that assumes the most of them and
    /// nothing else.
    fn best_version(&self, at: u32) -> (Facts, Option<usize>) {
        let flow = self.flow();
        let facts = if self.code()[at as usize].properties().exits {
            Facts::default()
        } else {
            self.facts.at_label(flow.live_at(at), flow.is_loop(at))
        };
        let versions = self.blocks.versions.get(&self.point(at)).map_or(&[][..], Vec::as_slice);
        let fitting = (0..versions.len()).filter(|&number| facts.implies(&versions[number].facts));
        let best = fitting.max_by_key(|&number| versions[number].facts.len());
        (facts, best)
    }
    /// Goes to a place of which it is known that it comes next.
    pub(crate) fn go_to(&mut self, place: u32, at: u32) -> Next {
        if place == at + 1 {
            return Next::At(place);
        }
        let block = self.target(place);
        self.b.ins().jump(block, &[]);
        Next::End
    }
    /// A block for what is not the usual way, translated after all usual ones with what is known
    /// now.
    pub(crate) fn later(
        &mut self,
        translate: impl FnOnce(&mut Translator<'_, '_>) + 'static,
    ) -> Block {
        let block = if self.cold { self.cold_block() } else { self.b.create_block() };
        self.put_off(block, self.cold, translate)
    }
    /// As [`later`](Translator::later), for what hardly ever happens.
    pub(crate) fn later_cold(
        &mut self,
        translate: impl FnOnce(&mut Translator<'_, '_>) + 'static,
    ) -> Block {
        let block = self.cold_block();
        self.put_off(block, true, translate)
    }
    fn put_off(
        &mut self,
        block: Block,
        cold: bool,
        translate: impl FnOnce(&mut Translator<'_, '_>) + 'static,
    ) -> Block {
        self.settle_stop();
        self.blocks.later.push_back(Later {
            block,
            site: self.sites.current,
            location: self.b.srcloc(),
            facts: self.facts.clone(),
            written_f: self.written_f,
            cold,
            translate: Box::new(translate),
        });
        block
    }
    pub(crate) fn relative(&self, at: u32, distance: i32) -> u32 {
        at.wrapping_add_signed(distance)
    }
    pub(crate) fn cold_block(&mut self) -> Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        block
    }
    /// Goes on here when `condition` holds, else to `other`.
    pub(crate) fn require(&mut self, condition: Value, other: Block) {
        let here = self.b.create_block();
        self.b.ins().brif(condition, here, &[] as &[BlockArg], other, &[] as &[BlockArg]);
        self.b.switch_to_block(here);
        self.b.seal_block(here);
    }
    /// Goes on here when `condition` does not hold, else to `other`.
    pub(crate) fn require_not(&mut self, condition: Value, other: Block) {
        let here = self.b.create_block();
        self.b.ins().brif(condition, other, &[] as &[BlockArg], here, &[] as &[BlockArg]);
        self.b.switch_to_block(here);
        self.b.seal_block(here);
    }
    pub(crate) fn branch(&mut self, condition: Value, yes: Block, no: Block) {
        self.b.ins().brif(condition, yes, &[] as &[BlockArg], no, &[] as &[BlockArg]);
    }
}
