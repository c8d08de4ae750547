//! The process dictionary.

use swarmrt_term::Term;
use swarmrt_term::compare::equal_exact;

/// The process dictionary: pairs in the order of insertion, with an index once there are many.
#[derive(Default)]
pub struct Dictionary {
    pairs: Vec<[Term; 2]>,
    /// `None` while there have been few pairs.
    many: Option<Box<Many>>,
}

/// What a dictionary of many pairs has besides them.
#[derive(Default)]
struct Many {
    /// Hash and position of every key, at the hash's place or after it; empty while pairs are few.
    index: Vec<Option<(u32, u32)>>,
    /// `None` before the first write since there are many.
    written: Option<Written>,
}

/// Which pairs of a dictionary can refer to the young generation: what is written is promoted by
/// the second collection after that.
#[derive(Default)]
struct Written {
    /// Positions written since the last collection.
    now: Vec<u32>,
    /// Positions written between that and the one before.
    before: Vec<u32>,
}

/// The hash of a key.
fn index_hash(key: Term) -> u32 {
    swarmrt_term::hash::internal_hash(key) as u32
}

/// Keys that are searched one by one.
const DICTIONARY_SCAN_MAX: usize = 12;

impl Many {
    /// Where the index has the key.
    fn slot(&self, pairs: &[[Term; 2]], key: Term) -> Option<usize> {
        let mask = self.index.len() - 1;
        let hash = index_hash(key);
        let mut slot = hash as usize & mask;
        while let Some((other, at)) = self.index[slot] {
            if other == hash && equal_exact(pairs[at as usize][0], key) {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
        None
    }
    fn insert(&mut self, hash: u32, at: u32) {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while self.index[slot].is_some() {
            slot = (slot + 1) & mask;
        }
        self.index[slot] = Some((hash, at));
    }
    /// Takes an entry out, and moves those after it that would not be found any more.
    fn remove(&mut self, mut slot: usize) {
        let mask = self.index.len() - 1;
        self.index[slot] = None;
        let mut next = slot;
        loop {
            next = (next + 1) & mask;
            let Some((hash, _)) = self.index[next] else { return };
            let home = hash as usize & mask;
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(slot) & mask) {
                self.index[slot] = self.index[next].take();
                slot = next;
            }
        }
    }
    /// The last of the pairs is new. Makes the index anew where it lacks room, with room for as
    /// many keys again.
    fn add_last(&mut self, pairs: &[[Term; 2]]) {
        if pairs.len() * 2 <= self.index.len() {
            self.insert(index_hash(pairs[pairs.len() - 1][0]), pairs.len() as u32 - 1);
            return;
        }
        let room = vec![None; (pairs.len() * 4).next_power_of_two()];
        let before = std::mem::replace(&mut self.index, room);
        let known = before.iter().flatten().count();
        for (hash, at) in before.into_iter().flatten() {
            self.insert(hash, at);
        }
        for (at, [key, _]) in pairs.iter().enumerate().skip(known) {
            self.insert(index_hash(*key), at as u32);
        }
    }
}

impl Dictionary {
    /// What the index is part of, where there is one.
    fn indexed(&self) -> Option<&Many> {
        self.many.as_deref().filter(|many| !many.index.is_empty())
    }
    fn position(&self, key: Term) -> Option<usize> {
        if let Some(many) = self.indexed() {
            return many
                .slot(&self.pairs, key)
                .and_then(|slot| many.index[slot])
                .map(|(_, at)| at as usize);
        }
        if key.is_immediate() {
            return self.pairs.iter().position(|&[other, _]| other == key);
        }
        self.pairs.iter().position(|&[other, _]| equal_exact(other, key))
    }
    /// Notes that a pair changes.
    fn write(&mut self, at: usize) {
        let count = self.pairs.len();
        let few = count <= DICTIONARY_SCAN_MAX;
        if few && self.many.as_ref().is_none_or(|many| many.written.is_none()) {
            return;
        }
        let all = || Written { now: (0..count as u32).collect(), before: Vec::new() };
        let now = &mut self.many.get_or_insert_default().written.get_or_insert_with(all).now;
        if now.last() != Some(&(at as u32)) {
            now.push(at as u32);
            // Pairs that are written again and again do not fill the memory.
            if now.len() > 2 * count + DICTIONARY_SCAN_MAX {
                now.sort_unstable();
                now.dedup();
            }
        }
    }
    /// Positions of pairs that can refer to the young generation, some twice; `None`: all.
    fn young_positions(&self) -> Option<impl Iterator<Item = usize> + use<'_>> {
        let written =
            self.many.as_ref()?.written.as_ref().filter(|written| {
                2 * (written.now.len() + written.before.len()) < self.pairs.len()
            })?;
        // The last pair may have been taken out since.
        Some(
            written
                .now
                .iter()
                .chain(&written.before)
                .map(|&at| at as usize)
                .filter(|&at| at < self.pairs.len()),
        )
    }
    /// All keys and values.
    pub(super) fn terms_mut(&mut self) -> &mut [Term] {
        self.pairs.as_flattened_mut()
    }
    /// The pairs that a minor collection has to look at, each key in front of its value; `None`:
    /// all.
    pub(super) fn young_pairs(&self) -> Option<Vec<Term>> {
        Some(self.young_positions()?.flat_map(|at| self.pairs[at]).collect())
    }
    /// After a collection: where [those pairs](Dictionary::young_pairs) are now.
    pub(super) fn collected(&mut self, young: Option<Vec<Term>>) {
        if let Some(young) = young {
            let positions: Vec<usize> = self.young_positions().into_iter().flatten().collect();
            for (at, pair) in positions.into_iter().zip(young.chunks_exact(2)) {
                self.pairs[at] = [pair[0], pair[1]];
            }
        }
        if let Some(written) = self.many.as_mut().and_then(|many| many.written.as_mut()) {
            std::mem::swap(&mut written.before, &mut written.now);
            written.now.clear();
        }
    }
    /// The value of a key (`get/1`); `None` where the key is missing.
    pub fn get(&self, key: Term) -> Option<Term> {
        self.position(key).map(|at| self.pairs[at][1])
    }
    /// Sets the value of a key (`put/2`). Returns the value before; `None` for a new key.
    pub fn put(&mut self, key: Term, value: Term) -> Option<Term> {
        if let Some(at) = self.position(key) {
            self.write(at);
            return Some(std::mem::replace(&mut self.pairs[at][1], value));
        }
        self.write(self.pairs.len());
        self.pairs.push([key, value]);
        if self.indexed().is_some() || self.pairs.len() > DICTIONARY_SCAN_MAX {
            self.many.get_or_insert_default().add_last(&self.pairs);
        }
        None
    }
    /// Removes a key (`erase/1`). Returns its value; `None` where the key is missing. The last pair
    /// takes the place of the one removed.
    pub fn erase(&mut self, key: Term) -> Option<Term> {
        let at = self.position(key)?;
        if let Some(many) = self.many.as_mut().filter(|many| !many.index.is_empty()) {
            let [last, _] = self.pairs[self.pairs.len() - 1];
            let slot = many.slot(&self.pairs, key).expect("every key is in the index");
            let last_slot = many.slot(&self.pairs, last).expect("every key is in the index");
            // The last pair takes the place of the one that goes.
            many.index[last_slot].as_mut().expect("just found").1 = at as u32;
            many.remove(slot);
        }
        let [_, value] = self.pairs.swap_remove(at);
        self.write(at);
        if self.pairs.len() <= DICTIONARY_SCAN_MAX / 2
            && let Some(many) = &mut self.many
        {
            many.index = Vec::new();
        }
        Some(value)
    }
    /// Removes all pairs.
    pub fn clear(&mut self) {
        *self = Dictionary::default();
    }
    /// The pairs: in the order of insertion, except where a removal has moved one.
    pub fn iter(&self) -> impl Iterator<Item = (Term, Term)> + '_ {
        self.pairs.iter().map(|&[key, value]| (key, value))
    }
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }
    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_a_map_whatever_its_size() {
        // The index comes and goes with a few keys more or less.
        for keys in [60, 20] {
            dictionary_is_a_map(keys);
        }
    }

    fn dictionary_is_a_map(keys: i64) {
        let mut dictionary = Dictionary::default();
        let mut expected = std::collections::HashMap::new();
        let mut state = 12345u64;
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (key, value) = ((state >> 33) as i64 % keys, (state >> 40) as i64);
            let term = Term::small(key);
            if state >> 60 < 7 {
                assert_eq!(dictionary.erase(term), expected.remove(&key));
            } else {
                assert_eq!(
                    dictionary.put(term, Term::small(value)),
                    expected.insert(key, Term::small(value))
                );
            }
            assert_eq!(dictionary.len(), expected.len());
            assert_eq!(dictionary.get(term), expected.get(&key).copied());
        }
    }
}
