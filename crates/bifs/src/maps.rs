//! The built-ins of `maps`, and what `erts_internal` offers below its iterators.

use crate::args::{list_of, pair_of};
use crate::guards::{badkey, badmap};
use crate::long;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, FlatMap, Release, Term, am, atom, map};

/// Pairs of a hash map that one step of an iterator brings.
const PAIRS_PER_ITERATOR_STEP: usize = 32;
/// Pairs of a hash map that one step towards a list brings.
const PAIRS_PER_LIST_STEP: usize = 8192;

/// Words of a pair in a list: a cell, a tuple.
const WORDS_PER_LISTED_PAIR: usize = 5;

/// Elements of a list that are looked at in one turn.
const CHECKED_PER_TURN: usize = 10_000;
/// Pairs that are put together or taken apart in one turn.
const PAIRS_PER_TURN: usize = 5_000;

fn check(p: &mut Process, map: Term) -> Result<(), BifExit> {
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

/// What a built-in of this file has done when its turn ends; the terms wait in the process's trap
/// arguments.
struct Underway;

/// The terms that the built-in kept, when it goes on after others had their turn.
fn resumed(p: &mut Process) -> Option<[Term; 2]> {
    p.bif_state.take().map(|state| {
        state.downcast::<Underway>().expect("a built-in finds its own state");
        let [first, second, ..] = p.trap_args.take();
        [first, second]
    })
}

/// Lets others have their turn; the built-in is called again then.
fn let_others(p: &mut Process, kept: [Term; 2]) -> BifResult {
    p.trap_args.put(&kept);
    p.bif_state = Some(Box::new(Underway));
    Err(BifExit::Yield)
}

/// Puts one part of each pair into a list, a turn's pairs at a time.
fn one_side(
    p: &mut Process,
    map: Term,
    whole: fn(&mut Process, Term) -> Term,
    part: fn((Term, Term)) -> Term,
) -> BifResult {
    check(p, map)?;
    p.bump_reductions(map::size(map).min(PAIRS_PER_TURN) / 10);
    let Some(trie) = map.as_hash_map().filter(|_| map::size(map) > PAIRS_PER_TURN) else {
        return Ok(whole(p, map));
    };
    let [path, mut list] = resumed(p).unwrap_or([Term::small(0), Term::NIL]);
    let path = path.as_small().and_then(|path| u64::try_from(path).ok()).ok_or(BifExit::BADARG)?;
    let (pairs, next) = map::batch_for_list(trie, path, PAIRS_PER_TURN);
    for pair in pairs {
        list = p.cons(part(pair), list);
    }
    match next {
        None => Ok(list),
        Some(path) => let_others(p, [Term::small(path as i64), list]),
    }
}

#[bif("maps:keys/1")]
fn keys(p: &mut Process, map: Term) -> BifResult {
    one_side(p, map, map::keys, |(key, _)| key)
}

#[bif("maps:values/1")]
fn values(p: &mut Process, map: Term) -> BifResult {
    one_side(p, map, map::values, |(_, value)| value)
}

#[bif("maps:merge/2")]
fn merge(p: &mut Process, first: Term, second: Term) -> BifResult {
    check(p, first)?;
    check(p, second)?;
    let pairs = map::size(first).min(map::size(second)) + map::size(second) / 8;
    long::run(p, atom!("maps"), atom!("merge"), &[first, second], |p| {
        long::check(pairs, PAIRS_PER_TURN)?;
        p.bump_reductions(pairs / 10);
        let merged = map::merge(p, first, second);
        if merged == second
            && let (Some(first), Some(second)) = (first.as_flat_map(), second.as_flat_map())
            && first.size() == second.size()
        {
            p.heap.share_literal_keys(second, first);
        }
        Ok(merged)
    })
}

/// The map of a list's elements. The list is walked a turn's elements at a time; what is long is
/// then put together where it may take its time, since that is faster in one go.
fn from(
    p: &mut Process,
    function: Atom,
    args: &[Term],
    pair: impl Fn(Term) -> Option<(Term, Term)>,
) -> BifResult {
    let mut length = 0;
    let mut few = [(Term::NIL, Term::NIL); FlatMap::SIZE_MAX];
    if !long::may_take_long() {
        let mut rest = args[0];
        if let Some([left, walked]) = resumed(p) {
            (rest, length) = (left, walked.as_small().map_or(0, |walked| walked as usize));
        }
        let turn_ends = length + CHECKED_PER_TURN;
        while let Some(cell) = rest.as_cons() {
            if length == turn_ends {
                return let_others(p, [rest, Term::small(length as i64)]);
            }
            let pair = pair(cell.head()).ok_or(BifExit::BADARG)?;
            if let Some(place) = few.get_mut(length) {
                *place = pair;
            }
            length += 1;
            rest = cell.tail();
        }
        if !rest.is_nil() {
            return Err(BifExit::BADARG);
        }
        if length <= FlatMap::SIZE_MAX {
            return Ok(map::from_pairs(p, &few[..length]));
        }
    }
    long::run(p, atom!("maps"), function, args, |p| {
        long::check(length, PAIRS_PER_TURN)?;
        let pairs = list_of(args[0])?
            .into_iter()
            .map(pair)
            .collect::<Option<Vec<_>>>()
            .ok_or(BifExit::BADARG)?;
        p.bump_reductions(pairs.len() / 10);
        Ok(map::from_pairs(p, &pairs))
    })
}

#[bif("maps:from_list/1")]
fn from_list(p: &mut Process, list: Term) -> BifResult {
    from(p, atom!("from_list"), &[list], pair_of)
}

#[bif("maps:from_keys/2")]
fn from_keys(p: &mut Process, keys: Term, value: Term) -> BifResult {
    from(p, atom!("from_keys"), &[keys, value], |key| Some((key, value)))
}

#[bif("erts_internal:map_to_tuple_keys/1")]
fn map_to_tuple_keys(p: &mut Process, map: Term) -> BifResult {
    check(p, map)?;
    map.as_flat_map().map(|flat| flat.keys_tuple()).ok_or(BifExit::BADARG)
}

#[bif("erts_internal:map_hashmap_children/1")]
fn map_hashmap_children(p: &mut Process, map: Term) -> BifResult {
    let trie = map.as_hash_map().ok_or(BifExit::BADARG)?;
    Ok(p.list(trie.children()))
}

/// A step along a list of keys, which ordered iterators have instead of a path (OTP 26 and later).
fn next_of_keys(p: &mut Process, keys: Term, map: Term, accumulator: Term) -> BifResult {
    if !map.is_map() || accumulator != Term::atom(atom!("iterator")) {
        return Err(BifExit::BADARG);
    }
    let mut pairs = Vec::new();
    let mut rest = keys;
    while let Some(cell) = rest.as_cons()
        && pairs.len() < PAIRS_PER_ITERATOR_STEP
    {
        let value = map::get(map, cell.head()).ok_or(BifExit::BADARG)?;
        pairs.push((cell.head(), value));
        rest = cell.tail();
    }
    let last = match rest {
        _ if rest.is_nil() => Term::atom(am::NONE),
        _ if rest.as_cons().is_some() => p.cons(rest, map),
        _ => return Err(BifExit::BADARG),
    };
    p.bump_reductions(pairs.len() / 10);
    Ok(nested(p, &pairs, last))
}

/// `{Key, Value, {Key, Value, … Last}}`.
fn nested(p: &mut Process, pairs: &[(Term, Term)], last: Term) -> Term {
    pairs.iter().rev().fold(last, |next, &(key, value)| p.tuple(&[key, value, next]))
}

/// One step of `maps:next/1` and `maps:to_list/1`. With `iterator` the answer is `{Key, Value,
/// Next}` nested over the pairs of the step, with a list those pairs in front of it; what is left
/// follows as `[Path | Map]`, or comes first as `[Path, Map | List]`.
#[bif("erts_internal:map_next/3")]
fn map_next(p: &mut Process, path: Term, map: Term, accumulator: Term) -> BifResult {
    if path.is_list() && p.vm.release() >= Release::R26 {
        return next_of_keys(p, path, map, accumulator);
    }
    let path_number =
        path.as_small().and_then(|path| u64::try_from(path).ok()).ok_or(BifExit::BADARG)?;
    let as_iterator = accumulator == Term::atom(atom!("iterator"));
    if !map.is_map() || !as_iterator && !accumulator.is_list() {
        return Err(BifExit::BADARG);
    }
    let Some(trie) = map.as_hash_map() else {
        // There is no way into the middle of a flat map.
        let flat = map.as_flat_map().filter(|_| path_number == 0).ok_or(BifExit::BADARG)?;
        p.bump_reductions(flat.size() / 10);
        let pairs = flat.keys().iter().copied().zip(flat.values().iter().copied());
        return Ok(if as_iterator {
            nested(p, &pairs.collect::<Vec<_>>(), Term::atom(am::NONE))
        } else {
            map::pair_list(p, pairs, accumulator)
        });
    };
    let count = if as_iterator { PAIRS_PER_ITERATOR_STEP } else { PAIRS_PER_LIST_STEP };
    if !as_iterator {
        p.reserve(WORDS_PER_LISTED_PAIR * map::size(map).min(count))?;
    }
    if !as_iterator && path_number == 0 && trie.size() <= count {
        p.bump_reductions(trie.size() / 10);
        return Ok(map::trie_list(p, trie, accumulator));
    }
    let batch = if as_iterator { map::batch } else { map::batch_for_list };
    let (pairs, next) = batch(trie, path_number, count);
    p.bump_reductions(pairs.len() / 10);
    if as_iterator {
        let last = match next {
            Some(path) => p.cons(Term::small(path as i64), map),
            None => Term::atom(am::NONE),
        };
        return Ok(nested(p, &pairs, last));
    }
    let list = map::pair_list(p, pairs.into_iter().rev(), accumulator);
    Ok(match next {
        Some(path) => p.list_with_tail(&[Term::small(path as i64), map], list),
        None => list,
    })
}

/// `erts_debug:map_info/1`: what the trie of a large map is made of.
#[bif("erts_debug:map_info/1")]
fn map_info(p: &mut Process, map: Term) -> BifResult {
    check(p, map)?;
    let shape = map::shape(map.as_hash_map().ok_or(BifExit::BADARG)?);
    // From OTP 27 on, it has one level for what collides below the others. Here such pairs may be
    // deeper, and are counted with it.
    let has_collisions = p.vm.release() >= Release::R27;
    let mut by_level = vec![0; if has_collisions { 18 } else { 16 }];
    let lowest = by_level.len() - 1;
    for (level, count) in shape.pairs.iter().enumerate() {
        by_level[level.min(lowest)] += count;
    }
    let number = |count: usize| Term::small(count as i64);
    let counted = |p: &mut Process, name: Atom, counts: &[usize]| {
        let numbers: Vec<Term> = counts.iter().map(|&count| number(count)).collect();
        let numbers = p.tuple(&numbers);
        p.tuple(&[Term::atom(name), number(counts.iter().sum()), numbers])
    };
    let mut items = vec![
        p.tuple(&[Term::atom(atom!("depth")), number(shape.depth)]),
        p.tuple(&[Term::atom(atom!("arrays")), number(shape.full_roots), Term::NIL]),
    ];
    if has_collisions {
        items.push(counted(p, atom!("collisions"), &[0; 16]));
    }
    items.push(counted(p, atom!("bitmaps"), &shape.nodes));
    items.push(counted(p, atom!("leafs"), &by_level));
    Ok(p.list(&items))
}
