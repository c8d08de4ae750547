//! Matching heads, and what a head says of the keys that can match.

use super::Pattern;
use std::cmp::Ordering;
use swarmrt_term::compare::{Family, family};
use swarmrt_term::{Term, compare, equal_exact, map};

impl Pattern {
    /// Whether the term matches; binds variables.
    pub fn matches(&self, term: Term, variables: &mut [Term]) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Bind(variable) => {
                variables[*variable] = term;
                true
            }
            Pattern::Same(variable) => equal_exact(variables[*variable], term),
            Pattern::Constant(constant) => {
                term == *constant || !constant.is_immediate() && equal_exact(*constant, term)
            }
            Pattern::Tuple(elements) => term.as_tuple().is_some_and(|tuple| {
                tuple.arity() == elements.len()
                    && elements
                        .iter()
                        .zip(tuple.elements())
                        .all(|(pattern, &element)| pattern.matches(element, variables))
            }),
            Pattern::List(elements, tail) => {
                let mut rest = term;
                for pattern in elements {
                    let Some(cell) = rest.as_cons() else { return false };
                    if !pattern.matches(cell.head(), variables) {
                        return false;
                    }
                    rest = cell.tail();
                }
                tail.matches(rest, variables)
            }
            Pattern::Map(pairs) => {
                term.is_map()
                    && pairs.iter().all(|(key, pattern)| {
                        map::get(term, *key).is_some_and(|value| pattern.matches(value, variables))
                    })
            }
        }
    }

    /// Where keys that match stand in term order, as far as the pattern says before its first open
    /// part.
    pub fn compare_prefix(&self, key: Term) -> Ordering {
        self.compare_open(key).0
    }

    /// The order, and whether what follows is open.
    fn compare_open(&self, key: Term) -> (Ordering, bool) {
        match self {
            Pattern::Any | Pattern::Bind(_) | Pattern::Same(_) | Pattern::Map(_) => {
                (Ordering::Equal, true)
            }
            Pattern::Constant(constant) => (compare(*constant, key), false),
            Pattern::Tuple(elements) => {
                let Some(tuple) = key.as_tuple() else {
                    return (Family::Tuple.cmp(&family(key)), false);
                };
                match elements.len().cmp(&tuple.arity()) {
                    Ordering::Equal => {}
                    order => return (order, false),
                }
                for (pattern, &element) in elements.iter().zip(tuple.elements()) {
                    let (order, open) = pattern.compare_open(element);
                    if open || order.is_ne() {
                        return (order, open);
                    }
                }
                (Ordering::Equal, false)
            }
            Pattern::List(elements, tail) => {
                let mut rest = key;
                for pattern in elements {
                    let Some(cell) = rest.as_cons() else {
                        return (Family::List.cmp(&family(rest)), false);
                    };
                    let (order, open) = pattern.compare_open(cell.head());
                    if open || order.is_ne() {
                        return (order, open);
                    }
                    rest = cell.tail();
                }
                tail.compare_open(rest)
            }
        }
    }

    /// The key that alone can match, when the head has no variable there.
    pub fn bound_key(&self, keypos: usize) -> Option<Term> {
        match self.key_pattern(keypos)? {
            Pattern::Constant(key) => Some(*key),
            _ => None,
        }
    }

    /// The part of the head that the key has to match.
    pub fn key_pattern(&self, keypos: usize) -> Option<&Pattern> {
        match self {
            Pattern::Tuple(elements) => elements.get(keypos),
            _ => None,
        }
    }

    /// For a head without any variable.
    pub fn constant_key(&self, keypos: usize) -> Option<Term> {
        match self {
            Pattern::Constant(term) => term
                .as_tuple()
                .filter(|tuple| keypos < tuple.arity())
                .map(|tuple| tuple.get(keypos)),
            _ => self.bound_key(keypos),
        }
    }

    /// Whether keys that match have a common beginning in term order.
    pub fn is_partly_bound(&self) -> bool {
        match self {
            Pattern::Any | Pattern::Bind(_) | Pattern::Same(_) | Pattern::Map(_) => false,
            Pattern::Constant(_) | Pattern::Tuple(_) | Pattern::List(..) => true,
        }
    }
}
