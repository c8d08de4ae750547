//! Maps and their iterators.

use crate::abi::{CArray, MapIterator, Out, c_bool};
use crate::env::Env;
use std::ffi::c_int;
use swarmrt_term::{Term, map};

/// `ErlNifMapIteratorEntry`.
const FIRST: c_int = 1;
const LAST: c_int = 2;

/// The number of pairs; 0 as the result for other terms.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_map_size(_env: *mut Env, term: Term, size: Out<usize>) -> c_int {
    if !term.is_map() {
        return 0;
    }
    size.put(map::size(term));
    1
}

/// An empty map.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_new_map(env: &mut Env) -> Term {
    map::empty(env)
}

/// A map of so many keys and values; 0 when a key is there twice.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_map_from_arrays(
    env: &mut Env,
    keys: CArray<Term>,
    values: CArray<Term>,
    count: usize,
    to: Out<Term>,
) -> c_int {
    let pairs: Vec<(Term, Term)> =
        keys.of(count).iter().copied().zip(values.of(count).iter().copied()).collect();
    let Ok(made) = map::from_unique_pairs(env, &pairs) else { return 0 };
    to.put(made);
    1
}

/// A map with one pair more, or another value; 0 when `from` is no map.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_map_put(
    env: &mut Env,
    from: Term,
    key: Term,
    value: Term,
    to: Out<Term>,
) -> c_int {
    if !from.is_map() {
        return 0;
    }
    to.put(map::put(env, from, key, value));
    1
}

/// A map with another value for a key; 0 when there is no such key.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_map_update(
    env: &mut Env,
    from: Term,
    key: Term,
    value: Term,
    to: Out<Term>,
) -> c_int {
    if !from.is_map() {
        return 0;
    }
    let Some(updated) = map::update_exact(env, from, key, value) else { return 0 };
    to.put(updated);
    1
}

/// A map without a key, whether it was there or not; 0 when `from` is no map.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_map_remove(
    env: &mut Env,
    from: Term,
    key: Term,
    to: Out<Term>,
) -> c_int {
    if !from.is_map() {
        return 0;
    }
    to.put(map::remove(env, from, key));
    1
}

/// The value of a key; 0 when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_map_value(
    _env: *mut Env,
    from: Term,
    key: Term,
    value: Out<Term>,
) -> c_int {
    if !from.is_map() {
        return 0;
    }
    let Some(found) = map::get(from, key) else { return 0 };
    value.put(found);
    1
}

impl MapIterator {
    /// The pair where it stands, if it stands at one.
    fn pair(&self) -> Option<(Term, Term)> {
        let at = self.position.checked_sub(1).filter(|&at| at < self.size)?;
        match self.map.as_flat_map() {
            Some(flat) => Some((flat.keys()[at], flat.values()[at])),
            // SAFETY: the iterator of such a map has them until it is destroyed.
            None => unsafe { self.pairs.as_ref() }?.get(at).copied(),
        }
    }
}

/// An iterator at the first pair or the last; 0 when `from` is no map. The pairs of a map that is
/// not flat are copied.
///
/// # Safety
/// `iterator` is room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_map_iterator_create(
    _env: *mut Env,
    from: Term,
    iterator: *mut MapIterator,
    entry: c_int,
) -> c_int {
    if !from.is_map() || ![FIRST, LAST].contains(&entry) {
        return 0;
    }
    let size = map::size(from);
    let pairs = if from.as_flat_map().is_some() {
        std::ptr::null_mut()
    } else {
        Box::into_raw(Box::new(map::iter(from).collect()))
    };
    // SAFETY: the caller's.
    unsafe {
        (&raw mut (*iterator).map).write(from);
        (&raw mut (*iterator).size).write(size);
        (&raw mut (*iterator).position).write(if entry == FIRST { 1 } else { size });
        (&raw mut (*iterator).pairs).write(pairs);
    }
    1
}

/// Frees what the iterator has of its own.
#[unsafe(no_mangle)]
pub extern "C" fn enif_map_iterator_destroy(_env: *mut Env, iterator: &mut MapIterator) {
    let pairs = std::mem::replace(&mut iterator.pairs, std::ptr::null_mut());
    if !pairs.is_null() {
        // SAFETY: boxed when the iterator was made, and now nobody's.
        drop(unsafe { Box::from_raw(pairs) });
    }
}

/// Whether it stands before the first pair, or the map is empty.
#[unsafe(no_mangle)]
pub extern "C" fn enif_map_iterator_is_head(_env: *mut Env, iterator: &MapIterator) -> c_int {
    c_bool(iterator.size == 0 || iterator.position == 0)
}

/// Whether it stands behind the last pair, or the map is empty.
#[unsafe(no_mangle)]
pub extern "C" fn enif_map_iterator_is_tail(_env: *mut Env, iterator: &MapIterator) -> c_int {
    c_bool(iterator.size == 0 || iterator.position > iterator.size)
}

/// One pair on; 0 when it stands behind the last then.
#[unsafe(no_mangle)]
pub extern "C" fn enif_map_iterator_next(_env: *mut Env, iterator: &mut MapIterator) -> c_int {
    if iterator.position <= iterator.size {
        iterator.position += 1;
    }
    c_bool(iterator.position <= iterator.size)
}

/// One pair back; 0 when it stands before the first then.
#[unsafe(no_mangle)]
pub extern "C" fn enif_map_iterator_prev(_env: *mut Env, iterator: &mut MapIterator) -> c_int {
    iterator.position = iterator.position.saturating_sub(1);
    c_bool(iterator.position > 0)
}

/// The pair where it stands; 0 where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn enif_map_iterator_get_pair(
    _env: *mut Env,
    iterator: &MapIterator,
    key: Out<Term>,
    value: Out<Term>,
) -> c_int {
    let Some(pair) = iterator.pair() else { return 0 };
    key.put(pair.0);
    value.put(pair.1);
    1
}
