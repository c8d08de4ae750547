//! The built-ins of `maps`, and what `erts_internal` offers below its iterators.

use crate::args::{list_of, pair_of};
use crate::guards::{badkey, badmap};
use swarmrt_machine::{BifResult, Process, Raise, bif};
use swarmrt_term::{Alloc, Term, am, atom, map};

/// Pairs of a hash map that one step of an iterator brings.
const PAIRS_PER_ITERATOR_STEP: usize = 32;
/// Pairs of a hash map that one step towards a list brings.
const PAIRS_PER_LIST_STEP: usize = 8192;

fn check(p: &mut Process, map: Term) -> Result<(), Raise> {
    if map.is_map() { Ok(()) } else { Err(badmap(p, map)) }
}

#[bif("maps:get/2")]
fn get(p: &mut Process, key: Term, map: Term) -> BifResult {
    check(p, map)?;
    map::get(map, key).ok_or_else(|| badkey(p, key))
}

#[bif("maps:find/2")]
fn find(p: &mut Process, key: Term, map: Term) -> BifResult {
    check(p, map)?;
    Ok(match map::get(map, key) {
        Some(value) => p.tuple(&[Term::atom(am::OK), value]),
        None => Term::atom(am::ERROR),
    })
}

#[bif("maps:is_key/2")]
fn is_key(p: &mut Process, key: Term, map: Term) -> BifResult {
    check(p, map)?;
    Ok(Term::bool(map::get(map, key).is_some()))
}

#[bif("maps:put/3")]
fn put(p: &mut Process, key: Term, value: Term, map: Term) -> BifResult {
    check(p, map)?;
    Ok(map::put(p, map, key, value))
}

#[bif("maps:update/3")]
fn update(p: &mut Process, key: Term, value: Term, map: Term) -> BifResult {
    check(p, map)?;
    map::update_exact(p, map, key, value).ok_or_else(|| badkey(p, key))
}

#[bif("maps:remove/2")]
fn remove(p: &mut Process, key: Term, map: Term) -> BifResult {
    check(p, map)?;
    Ok(map::remove(p, map, key))
}

#[bif("maps:take/2")]
fn take(p: &mut Process, key: Term, map: Term) -> BifResult {
    check(p, map)?;
    Ok(match map::take(p, map, key) {
        Some((value, rest)) => p.tuple(&[value, rest]),
        None => Term::atom(am::ERROR),
    })
}

#[bif("maps:keys/1")]
fn keys(p: &mut Process, map: Term) -> BifResult {
    check(p, map)?;
    p.bump_reductions(map::size(map) / 10);
    Ok(map::keys(p, map))
}

#[bif("maps:values/1")]
fn values(p: &mut Process, map: Term) -> BifResult {
    check(p, map)?;
    p.bump_reductions(map::size(map) / 10);
    Ok(map::values(p, map))
}

#[bif("maps:merge/2")]
fn merge(p: &mut Process, first: Term, second: Term) -> BifResult {
    check(p, first)?;
    check(p, second)?;
    p.bump_reductions(map::size(second) / 10);
    Ok(map::merge(p, first, second))
}

#[bif("maps:from_list/1")]
fn from_list(p: &mut Process, list: Term) -> BifResult {
    let pairs = list_of(list)?.into_iter().map(pair_of).collect::<Option<Vec<_>>>().ok_or(Raise::BADARG)?;
    p.bump_reductions(pairs.len() / 10);
    Ok(map::from_pairs(p, &pairs))
}

#[bif("maps:from_keys/2")]
fn from_keys(p: &mut Process, keys: Term, value: Term) -> BifResult {
    let pairs: Vec<_> = list_of(keys)?.into_iter().map(|key| (key, value)).collect();
    p.bump_reductions(pairs.len() / 10);
    Ok(map::from_pairs(p, &pairs))
}

#[bif("erts_internal:map_to_tuple_keys/1")]
fn map_to_tuple_keys(p: &mut Process, map: Term) -> BifResult {
    check(p, map)?;
    map.as_flat_map().map(|flat| flat.keys_tuple()).ok_or(Raise::BADARG)
}

#[bif("erts_internal:map_hashmap_children/1")]
fn map_hashmap_children(p: &mut Process, map: Term) -> BifResult {
    let trie = map.as_hash_map().ok_or(Raise::BADARG)?;
    Ok(p.list(trie.children()))
}

/// One step of `maps:next/1` and `maps:to_list/1`. With `iterator` the answer is `{Key, Value, Next}` nested over
/// the pairs of the step, with a list those pairs in front of it; what is left follows as `[Path | Map]`, or
/// comes first as `[Path, Map | List]`.
#[bif("erts_internal:map_next/3")]
fn map_next(p: &mut Process, path: Term, map: Term, accumulator: Term) -> BifResult {
    let path_number = path.as_small().and_then(|path| u64::try_from(path).ok()).ok_or(Raise::BADARG)?;
    let as_iterator = accumulator == Term::atom(atom!("iterator"));
    if !map.is_map() || !as_iterator && !accumulator.is_list() {
        return Err(Raise::BADARG);
    }
    let (pairs, next) = match map.as_hash_map() {
        None => (map::iter(map).collect(), None),
        Some(trie) => map::batch(trie, path_number, if as_iterator { PAIRS_PER_ITERATOR_STEP } else { PAIRS_PER_LIST_STEP }),
    };
    p.bump_reductions(pairs.len() / 10);
    if as_iterator {
        let last = match next {
            Some(path) => p.cons(Term::small(path as i64), map),
            None => Term::atom(am::NONE),
        };
        return Ok(pairs.iter().rev().fold(last, |next, &(key, value)| p.tuple(&[key, value, next])));
    }
    let mut list = accumulator;
    let mut add = |p: &mut Process, &(key, value): &(Term, Term)| {
        let pair = p.tuple(&[key, value]);
        list = p.cons(pair, list);
    };
    if map.as_flat_map().is_some() {
        pairs.iter().rev().for_each(|pair| add(p, pair));
    } else {
        pairs.iter().for_each(|pair| add(p, pair));
    }
    Ok(match next {
        Some(path) => p.list_with_tail(&[Term::small(path as i64), map], list),
        None => list,
    })
}
