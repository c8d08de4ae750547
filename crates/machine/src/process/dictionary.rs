//! The process dictionary.

use swarmrt_term::Term;
use swarmrt_term::compare::equal_exact;

/// The process dictionary: pairs in the order of insertion, with an index once there are many.
#[derive(Default)]
pub struct Dictionary {
    pub(super) keys: Vec<Term>,
    pub(super) values: Vec<Term>,
    /// `None` while pairs are few.
    written: Option<Box<Written>>,
    /// Hash and position of every key, at the hash's place or after it; empty while pairs are few.
    index: Vec<Option<(u32, u32)>>,
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

impl Dictionary {
    fn position(&self, key: Term) -> Option<usize> {
        if !self.index.is_empty() {
            return self
                .index_slot(key)
                .and_then(|slot| self.index[slot])
                .map(|(_, at)| at as usize);
        }
        if key.is_immediate() {
            return self.keys.iter().position(|&other| other == key);
        }
        self.keys.iter().position(|&other| equal_exact(other, key))
    }
    /// Where the index has the key.
    fn index_slot(&self, key: Term) -> Option<usize> {
        let mask = self.index.len() - 1;
        let hash = index_hash(key);
        let mut slot = hash as usize & mask;
        while let Some((other, at)) = self.index[slot] {
            if other == hash && equal_exact(self.keys[at as usize], key) {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
        None
    }
    fn index_insert(&mut self, hash: u32, at: u32) {
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while self.index[slot].is_some() {
            slot = (slot + 1) & mask;
        }
        self.index[slot] = Some((hash, at));
    }
    /// Takes an entry out, and moves those after it that would not be found any more.
    fn index_remove(&mut self, mut slot: usize) {
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
    /// Makes the index anew, with room for as many keys again.
    fn rebuild_index(&mut self) {
        let before = std::mem::replace(
            &mut self.index,
            vec![None; (self.keys.len() * 4).next_power_of_two()],
        );
        // The last key is new.
        let known = before.iter().flatten().count();
        for (hash, at) in before.into_iter().flatten() {
            self.index_insert(hash, at);
        }
        for at in known..self.keys.len() {
            self.index_insert(index_hash(self.keys[at]), at as u32);
        }
    }
    /// Notes that a pair changes.
    fn write(&mut self, at: usize) {
        let count = self.keys.len();
        if self.written.is_none() && count <= DICTIONARY_SCAN_MAX {
            return;
        }
        let all = || Box::new(Written { now: (0..count as u32).collect(), before: Vec::new() });
        let now = &mut self.written.get_or_insert_with(all).now;
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
        let written = self
            .written
            .as_ref()
            .filter(|written| 2 * (written.now.len() + written.before.len()) < self.keys.len())?;
        // The last pair may have been taken out since.
        Some(
            written
                .now
                .iter()
                .chain(&written.before)
                .map(|&at| at as usize)
                .filter(|&at| at < self.keys.len()),
        )
    }
    /// The pairs that a minor collection has to look at, each key in front of its value; `None`:
    /// all.
    pub(super) fn young_pairs(&self) -> Option<Vec<Term>> {
        Some(self.young_positions()?.flat_map(|at| [self.keys[at], self.values[at]]).collect())
    }
    /// After a collection: where [those pairs](Dictionary::young_pairs) are now.
    pub(super) fn collected(&mut self, young: Option<Vec<Term>>) {
        if let Some(young) = young {
            let positions: Vec<usize> = self.young_positions().into_iter().flatten().collect();
            for (at, pair) in positions.into_iter().zip(young.chunks_exact(2)) {
                (self.keys[at], self.values[at]) = (pair[0], pair[1]);
            }
        }
        if let Some(written) = &mut self.written {
            std::mem::swap(&mut written.before, &mut written.now);
            written.now.clear();
        }
    }
    /// The value of a key (`get/1`); `None` where the key is missing.
    pub fn get(&self, key: Term) -> Option<Term> {
        self.position(key).map(|at| self.values[at])
    }
    /// Sets the value of a key (`put/2`). Returns the value before; `None` for a new key.
    pub fn put(&mut self, key: Term, value: Term) -> Option<Term> {
        if let Some(at) = self.position(key) {
            self.write(at);
            return Some(std::mem::replace(&mut self.values[at], value));
        }
        self.write(self.keys.len());
        self.keys.push(key);
        self.values.push(value);
        if !self.index.is_empty() || self.keys.len() > DICTIONARY_SCAN_MAX {
            if self.keys.len() * 2 > self.index.len() {
                self.rebuild_index();
            } else {
                self.index_insert(index_hash(key), self.keys.len() as u32 - 1);
            }
        }
        None
    }
    /// Removes a key (`erase/1`). Returns its value; `None` where the key is missing. The last pair
    /// takes the place of the one removed.
    pub fn erase(&mut self, key: Term) -> Option<Term> {
        let at = self.position(key)?;
        if !self.index.is_empty() {
            let last = self.keys[self.keys.len() - 1];
            let slot = self.index_slot(key).expect("every key is in the index");
            let last_slot = self.index_slot(last).expect("every key is in the index");
            // The last pair takes the place of the one that goes.
            self.index[last_slot].as_mut().expect("just found").1 = at as u32;
            self.index_remove(slot);
        }
        self.keys.swap_remove(at);
        let value = self.values.swap_remove(at);
        self.write(at);
        if self.keys.len() <= DICTIONARY_SCAN_MAX / 2 {
            self.index = Vec::new();
        }
        Some(value)
    }
    /// Removes all pairs.
    pub fn clear(&mut self) {
        *self = Dictionary::default();
    }
    /// The pairs: in the order of insertion, except where a removal has moved one.
    pub fn iter(&self) -> impl Iterator<Item = (Term, Term)> + '_ {
        self.keys.iter().copied().zip(self.values.iter().copied())
    }
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.keys.len()
    }
    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
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
