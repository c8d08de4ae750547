//! A map from numbers of which there are few in most processes, and a great many in some: links,
//! monitors, aliases.
//!
//! A call to a server makes a monitor and drops it again; in a tree each of the two would go to the
//! allocator.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use swarmrt_term::atom::NumberHasher;

/// Pairs up to which they are searched one by one.
const FEW_MAX: usize = 16;

const _: () = assert!(size_of::<Few<u64>>() == size_of::<Vec<u64>>());

/// A map from numbers to `V`: a sorted list up to [`FEW_MAX`] pairs, beyond that a table until it
/// is empty again.
pub enum Few<V> {
    /// In the order of the numbers.
    Few(Vec<(u64, V)>),
    /// In a box, so that the two take no more than a list alone: a few bytes more put a process
    /// into the next size of blocks.
    Many(Box<HashMap<u64, V, BuildHasherDefault<NumberHasher>>>),
}

impl<V> Default for Few<V> {
    fn default() -> Self {
        Few::Few(Vec::new())
    }
}

impl<V> Few<V> {
    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        match self {
            Few::Few(pairs) => pairs.is_empty(),
            Few::Many(table) => table.is_empty(),
        }
    }
    /// Whether the key has a value.
    pub fn contains_key(&self, key: u64) -> bool {
        self.get(key).is_some()
    }
    /// The value of a key.
    pub fn get(&self, key: u64) -> Option<&V> {
        match self {
            Few::Few(pairs) => {
                pairs.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
            }
            Few::Many(table) => table.get(&key),
        }
    }
    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        match self {
            Few::Few(pairs) => {
                pairs.iter_mut().find(|(other, _)| *other == key).map(|(_, value)| value)
            }
            Few::Many(table) => table.get_mut(&key),
        }
    }
    /// Sets the value of a key. Returns the one that it had before.
    pub fn insert(&mut self, key: u64, value: V) -> Option<V> {
        match self {
            Few::Few(pairs) => {
                // Most are newer than all that are there.
                let at = pairs
                    .iter()
                    .rposition(|(other, _)| *other <= key)
                    .map_or(0, |before| before + 1);
                if let Some((other, before)) = at.checked_sub(1).map(|before| &mut pairs[before])
                    && *other == key
                {
                    return Some(std::mem::replace(before, value));
                }
                pairs.insert(at, (key, value));
                if pairs.len() > FEW_MAX {
                    *self = Few::Many(Box::new(std::mem::take(pairs).into_iter().collect()));
                }
                None
            }
            Few::Many(table) => table.insert(key, value),
        }
    }
    /// Removes a key. Returns the value that it had.
    pub fn remove(&mut self, key: u64) -> Option<V> {
        match self {
            Few::Few(pairs) => {
                pairs.iter().position(|(other, _)| *other == key).map(|at| pairs.remove(at).1)
            }
            Few::Many(table) => {
                let removed = table.remove(&key);
                if table.is_empty() {
                    *self = Few::default();
                }
                removed
            }
        }
    }
    /// The pairs in the order of the numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        let (pairs, table): (&[_], _) = match self {
            Few::Few(pairs) => (pairs, Vec::new()),
            Few::Many(table) => {
                let mut all: Vec<_> = table.iter().map(|(&key, value)| (key, value)).collect();
                all.sort_unstable_by_key(|(key, _)| *key);
                (&[], all)
            }
        };
        pairs.iter().map(|(key, value)| (*key, value)).chain(table)
    }
    /// The keys in rising order.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.iter().map(|(key, _)| key)
    }
    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn few_and_many_are_like_a_tree() {
        let (mut few, mut tree) = (Few::default(), BTreeMap::new());
        let mut number = 1u64;
        for step in 0..20_000u64 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Now many come and now many go.
            let key = (number >> 33) % 40;
            if (number >> 60) % 4 < if step / 1000 % 2 == 0 { 3 } else { 1 } {
                assert_eq!(few.insert(key, step), tree.insert(key, step));
            } else {
                assert_eq!(few.remove(key), tree.remove(&key));
            }
            assert_eq!(few.get(key), tree.get(&key));
            assert_eq!(few.is_empty(), tree.is_empty());
            assert!(few.iter().eq(tree.iter().map(|(&key, value)| (key, value))));
        }
    }
}
