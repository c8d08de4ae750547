//! The order of two hash maps.

use crate::boxed::HashMap;
use crate::map::{TrieIter, path_order};
use crate::word::Term;
use std::cmp::Ordering;

/// Two hash maps of equal size, walked side by side in the order of their tries.
///
/// The maps are ordered by their keys in key order and, when those are the same, by their values in
/// key order. Sorting is not needed: what decides is the least key that only one of them has, or
/// else the least key whose values differ. While keys are the same in both, values are compared of
/// keys less than the best candidate; from the first difference of keys on, only keys count.
pub(super) struct HashMaps {
    a: TrieIter<'static>,
    b: TrieIter<'static>,
    pair_a: Option<(Term, Term)>,
    pair_b: Option<(Term, Term)>,
    /// The least key so far that decides, and what it decides.
    key: Option<Term>,
    result: Ordering,
    /// How the values are to be compared.
    pub(super) exact: bool,
    asked: Asked,
}

/// What the maps wait to hear of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Asked {
    Nothing,
    /// The two current keys, all before having been the same.
    Keys,
    /// The current key against the deciding one.
    LessThanKey,
    Values,
    /// The two current keys, after a difference.
    KeysAfterDifference,
    /// The current key of one map, which the other has not, against the deciding one.
    LessThanKeyA,
    LessThanKeyB,
}

pub(super) enum Next {
    Ask(Term, Term, bool),
    Done(Ordering),
}

impl HashMaps {
    pub(super) fn new(a: HashMap, b: HashMap, exact: bool) -> HashMaps {
        HashMaps {
            a: TrieIter::new(a),
            b: TrieIter::new(b),
            pair_a: None,
            pair_b: None,
            key: None,
            result: Ordering::Equal,
            exact,
            asked: Asked::Nothing,
        }
    }

    pub(super) fn answered(&mut self, answer: Ordering) -> Next {
        match self.asked {
            Asked::Nothing => return self.next_pairs(),
            Asked::Keys if answer.is_ne() => {
                // From here on a key that both maps have decides nothing.
                self.key = None;
                return self.walk_apart();
            }
            Asked::Keys => {
                let (Some((key, value_a)), Some((_, value_b))) = (self.pair_a, self.pair_b) else {
                    unreachable!("pairs were compared")
                };
                if let Some(least) = self.key {
                    self.asked = Asked::LessThanKey;
                    return Next::Ask(key, least, true);
                }
                self.asked = Asked::Values;
                return Next::Ask(value_a, value_b, self.exact);
            }
            Asked::LessThanKey if answer.is_lt() => {
                let (Some((_, value_a)), Some((_, value_b))) = (self.pair_a, self.pair_b) else {
                    unreachable!("pairs were compared")
                };
                self.asked = Asked::Values;
                return Next::Ask(value_a, value_b, self.exact);
            }
            Asked::LessThanKey => return self.next_pairs(),
            Asked::Values => {
                if answer.is_ne() {
                    self.result = answer;
                    self.key = self.pair_a.map(|(key, _)| key);
                }
                return self.next_pairs();
            }
            Asked::KeysAfterDifference if answer.is_eq() => {
                self.pair_a = self.a.next();
                self.pair_b = self.b.next();
            }
            Asked::KeysAfterDifference => return self.walk_apart(),
            Asked::LessThanKeyA => {
                if answer.is_lt() {
                    self.decide(self.pair_a, Ordering::Less);
                }
                self.pair_a = self.a.next();
            }
            Asked::LessThanKeyB => {
                if answer.is_lt() {
                    self.decide(self.pair_b, Ordering::Greater);
                }
                self.pair_b = self.b.next();
            }
        }
        self.compare_current_keys()
    }

    fn decide(&mut self, pair: Option<(Term, Term)>, result: Ordering) {
        self.key = pair.map(|(key, _)| key);
        self.result = result;
    }

    fn next_pairs(&mut self) -> Next {
        self.pair_a = self.a.next();
        self.pair_b = self.b.next();
        match (self.pair_a, self.pair_b) {
            (Some((key_a, _)), Some((key_b, _))) => {
                self.asked = Asked::Keys;
                Next::Ask(key_a, key_b, true)
            }
            _ => Next::Done(self.result),
        }
    }

    fn compare_current_keys(&mut self) -> Next {
        match (self.pair_a, self.pair_b) {
            (Some((key_a, _)), Some((key_b, _))) => {
                self.asked = Asked::KeysAfterDifference;
                Next::Ask(key_a, key_b, true)
            }
            (None, None) => Next::Done(self.result),
            _ => self.walk_apart(),
        }
    }

    /// The current keys differ (or one map is at its end): the one that comes first in trie order
    /// is not in the other map.
    fn walk_apart(&mut self) -> Next {
        let a_first = match (self.pair_a, self.pair_b) {
            (Some((key_a, _)), Some((key_b, _))) => path_order(key_a, key_b).is_lt(),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let (pair, result) =
            if a_first { (self.pair_a, Ordering::Less) } else { (self.pair_b, Ordering::Greater) };
        let Some((key, _)) = pair else { return Next::Done(self.result) };
        match self.key {
            Some(least) => {
                self.asked = if a_first { Asked::LessThanKeyA } else { Asked::LessThanKeyB };
                Next::Ask(key, least, true)
            }
            None => {
                self.decide(pair, result);
                if a_first {
                    self.pair_a = self.a.next();
                } else {
                    self.pair_b = self.b.next();
                }
                self.compare_current_keys()
            }
        }
    }
}
