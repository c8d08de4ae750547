//! Terms: what they are, what is in them, and new ones.

use crate::abi::{CArray, CRoom, CText, NON_VALUE, Out, c_bool};
use crate::env::Env;
use std::ffi::{c_int, c_long, c_uint, c_ulong};
use swarmrt_heap::size_whole;
use swarmrt_term::atom::CACHE_PLACES;
use swarmrt_term::{Alloc, Atom, Subtag, Term, compare, equal_exact, hash, print};

/// `ErlNifCharEncoding`.
const LATIN1: c_int = 1;
const UTF8: c_int = 2;
const ATOM_CHARS_MAX: usize = 255;

// ---- What a term is ----

macro_rules! tests {
    ($($name:ident: |$term:ident| $test:expr;)*) => {
        $(#[unsafe(no_mangle)]
        pub extern "C" fn $name(_env: *mut Env, $term: Term) -> c_int {
            c_bool($test)
        })*
    };
}

tests! {
    enif_is_atom: |term| term.is_atom();
    enif_is_binary: |term| term.is_binary();
    enif_is_empty_list: |term| term.is_nil();
    enif_is_fun: |term| matches!(term.boxed_subtag(), Some(Subtag::Fun | Subtag::ExportFun));
    enif_is_pid: |term| term.is_pid() || term.boxed_subtag() == Some(Subtag::ExternalPid);
    enif_is_port: |term| term.is_port() || term.boxed_subtag() == Some(Subtag::ExternalPort);
    enif_is_ref: |term| matches!(term.boxed_subtag(), Some(Subtag::Ref | Subtag::ExternalRef));
    enif_is_tuple: |term| term.is_tuple();
    enif_is_list: |term| term.is_list();
    enif_is_number: |term| term.is_number();
    enif_is_map: |term| term.is_map();
}

/// `ErlNifTermType`; -1 for what the interface has no name for.
#[unsafe(no_mangle)]
pub extern "C" fn enif_term_type(_env: *mut Env, term: Term) -> c_int {
    match term.boxed_subtag() {
        _ if term.is_atom() => 1,
        _ if term.is_bitstring() => 2,
        _ if term.is_float() => 3,
        Some(Subtag::Fun | Subtag::ExportFun) => 4,
        _ if term.is_integer() => 5,
        _ if term.is_list() => 6,
        _ if term.is_map() => 7,
        Some(Subtag::ExternalPid) => 8,
        _ if term.is_pid() => 8,
        Some(Subtag::ExternalPort) => 9,
        _ if term.is_port() => 9,
        Some(Subtag::Ref | Subtag::ExternalRef) => 10,
        Some(Subtag::Tuple) => 11,
        _ => -1,
    }
}

/// `a =:= b`.
#[unsafe(no_mangle)]
pub extern "C" fn enif_is_identical(a: Term, b: Term) -> c_int {
    c_bool(equal_exact(a, b))
}

/// -1, 0 or 1, in the order of terms, where integers and floats compare by value.
#[unsafe(no_mangle)]
pub extern "C" fn enif_compare(a: Term, b: Term) -> c_int {
    compare(a, b) as c_int
}

/// `ErlNifHash`: 1 is the machine's own hash, 2 is that of `erlang:phash2/1`.
#[unsafe(no_mangle)]
pub extern "C" fn enif_hash(kind: c_int, term: Term, salt: u64) -> u64 {
    match kind {
        1 => hash::internal_hash_salted(term, salt),
        2 => hash::phash2(term).into(),
        _ => 0,
    }
}

/// Bytes of a copy of the term on a heap; 0 for an immediate.
#[unsafe(no_mangle)]
pub extern "C" fn enif_term_size(term: Term) -> usize {
    size_whole(term) * 8
}

/// The atom's place in the caches of connections to other nodes.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_atom_cache_index(
    _env: *mut Env,
    atom: Term,
    index: Out<c_uint>,
) -> c_int {
    let Some(atom) = atom.as_atom() else { return 0 };
    index.put(atom.cache_place() as c_uint);
    1
}
/// The highest number that [`enif_get_atom_cache_index`] answers.
#[unsafe(no_mangle)]
pub extern "C" fn enif_max_atom_cache_index() -> c_uint {
    CACHE_PLACES as c_uint - 1
}

// ---- Numbers ----

fn signed(term: Term) -> Option<i64> {
    if let Some(value) = term.as_small() {
        return Some(value);
    }
    let big = term.as_big()?;
    let &[digit] = big.digits() else { return None };
    let value = if big.is_negative() { -i128::from(digit) } else { i128::from(digit) };
    i64::try_from(value).ok()
}

fn unsigned(term: Term) -> Option<u64> {
    if let Some(value) = term.as_small() {
        return u64::try_from(value).ok();
    }
    let big = term.as_big().filter(|big| !big.is_negative())?;
    let &[digit] = big.digits() else { return None };
    Some(digit)
}

fn answer<T>(value: Option<T>, to: Out<T>) -> c_int {
    let found = value.is_some();
    if let Some(value) = value {
        to.put(value);
    }
    c_bool(found)
}

macro_rules! numbers {
    ($($get:ident: $type:ty, $from:ident;)*) => {
        $(#[unsafe(no_mangle)]
        pub extern "C" fn $get(_env: *mut Env, term: Term, to: Out<$type>) -> c_int {
            answer($from(term).and_then(|value| <$type>::try_from(value).ok()), to)
        })*
    };
}

numbers! {
    enif_get_int: c_int, signed;
    enif_get_uint: c_uint, unsigned;
    enif_get_long: c_long, signed;
    enif_get_ulong: c_ulong, unsigned;
    // Where long has 64 bits the header makes the functions for these a macro of those; other
    // languages may not.
    enif_get_int64: i64, signed;
    enif_get_uint64: u64, unsigned;
}

macro_rules! new_numbers {
    ($($make:ident: $type:ty, $with:ident;)*) => {
        $(#[unsafe(no_mangle)]
        pub extern "C" fn $make(env: &mut Env, value: $type) -> Term {
            env.$with(value.into())
        })*
    };
}

new_numbers! {
    enif_make_int: c_int, int;
    enif_make_uint: c_uint, uint;
    enif_make_long: c_long, int;
    enif_make_ulong: c_ulong, uint;
    enif_make_int64: i64, int;
    enif_make_uint64: u64, uint;
}

/// The value of a float; 0 as the result for other terms, integers among them.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_double(_env: *mut Env, term: Term, to: Out<f64>) -> c_int {
    answer(term.as_float(), to)
}

/// A float; `badarg` for what is infinite or not a number.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_double(env: &mut Env, value: f64) -> Term {
    if value.is_finite() { env.float(value) } else { env.badarg() }
}

// ---- Text ----

/// The characters of text that a library hands over; `None` where it does not follow the encoding.
fn decoded(bytes: &[u8], encoding: c_int) -> Option<String> {
    match encoding {
        LATIN1 => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        UTF8 => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    }
}

/// The bytes of text for a library; `None` where it cannot be encoded so.
fn encoded(text: &str, encoding: c_int) -> Option<Vec<u8>> {
    match encoding {
        _ if text.is_ascii() && matches!(encoding, LATIN1 | UTF8) => Some(text.as_bytes().to_vec()),
        LATIN1 => text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
        UTF8 => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

fn new_atom(bytes: &[u8], encoding: c_int) -> Option<Atom> {
    // The usual case needs no memory.
    if bytes.is_ascii() && matches!(encoding, LATIN1 | UTF8) {
        return std::str::from_utf8(bytes).ok().and_then(|name| Atom::try_new(name).ok());
    }
    decoded(bytes, encoding).and_then(|name| Atom::try_new(&name).ok())
}

fn existing_atom(bytes: &[u8], encoding: c_int) -> Option<Atom> {
    decoded(bytes, encoding)
        .filter(|name| name.chars().count() <= ATOM_CHARS_MAX)
        .and_then(|name| Atom::existing(&name))
}

/// The atom of a name in Latin-1; `badarg` where it is too long or the table is full.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_atom(env: &mut Env, name: CText) -> Term {
    new_atom(name.bytes(), LATIN1).map_or_else(|| env.badarg(), Term::atom)
}
/// As [`enif_make_atom`], with the length in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_atom_len(env: &mut Env, name: CArray<u8>, length: usize) -> Term {
    new_atom(name.of(length), LATIN1).map_or_else(|| env.badarg(), Term::atom)
}
/// The atom of a name, if there is one; else 0.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_existing_atom(
    _env: *mut Env,
    name: CText,
    to: Out<Term>,
    encoding: c_int,
) -> c_int {
    answer(existing_atom(name.bytes(), encoding).map(Term::atom), to)
}
/// As [`enif_make_existing_atom`], with the length in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_existing_atom_len(
    _env: *mut Env,
    name: CArray<u8>,
    length: usize,
    to: Out<Term>,
    encoding: c_int,
) -> c_int {
    answer(existing_atom(name.of(length), encoding).map(Term::atom), to)
}
/// The atom of a name; 0 where it is too long or wrongly encoded, or the table is full.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_new_atom(
    _env: *mut Env,
    name: CText,
    to: Out<Term>,
    encoding: c_int,
) -> c_int {
    answer(new_atom(name.bytes(), encoding).map(Term::atom), to)
}
/// As [`enif_make_new_atom`], with the length in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_new_atom_len(
    _env: *mut Env,
    name: CArray<u8>,
    length: usize,
    to: Out<Term>,
    encoding: c_int,
) -> c_int {
    answer(new_atom(name.of(length), encoding).map(Term::atom), to)
}

/// The length with the zero byte, or 0 when it is no atom, cannot be encoded so, or finds no room.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_atom(
    _env: *mut Env,
    atom: Term,
    to: CRoom,
    room: c_uint,
    encoding: c_int,
) -> c_int {
    let Some(name) = atom.as_atom().and_then(|atom| encoded(atom.name(), encoding)) else {
        return 0;
    };
    if name.len() >= room as usize {
        return 0;
    }
    to.put_text(&name);
    name.len() as c_int + 1
}

/// The bytes of an atom's name, without a zero; 0 as the result where it is no atom, or cannot be
/// encoded so.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_atom_length(
    _env: *mut Env,
    atom: Term,
    length: Out<c_uint>,
    encoding: c_int,
) -> c_int {
    answer(
        atom.as_atom()
            .and_then(|atom| encoded(atom.name(), encoding))
            .map(|name| name.len() as c_uint),
        length,
    )
}

/// The bytes of the characters that a list begins with; and whether that is all of it.
fn list_text(mut list: Term, encoding: c_int, mut add: impl FnMut(&[u8]) -> bool) -> bool {
    while let Some(cell) = list.as_cons() {
        let code = cell.head().as_small().and_then(|code| u32::try_from(code).ok());
        let going_on = match (encoding, code) {
            (LATIN1, Some(code @ 0..=255)) => add(&[code as u8]),
            (UTF8, Some(code)) => match char::from_u32(code) {
                Some(c) => add(c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => return false,
            },
            _ => return false,
        };
        if !going_on {
            return true;
        }
        list = cell.tail();
    }
    list.is_nil()
}

/// The length with the zero byte; less than 0 when it was cut off; 0 when it is no string.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_string(
    _env: *mut Env,
    list: Term,
    to: CRoom,
    room: c_uint,
    encoding: c_int,
) -> c_int {
    if room == 0 {
        return 0;
    }
    let (mut text, mut cut_off) = (Vec::new(), false);
    let is_string = list_text(list, encoding, |bytes| {
        cut_off = text.len() + bytes.len() >= room as usize;
        if !cut_off {
            text.extend_from_slice(bytes);
        }
        !cut_off
    });
    to.put_text(&text);
    match (is_string, cut_off) {
        (false, _) => 0,
        (true, false) => text.len() as c_int + 1,
        (true, true) => -(text.len() as c_int + 1),
    }
}

/// The bytes of a string, without a zero; 0 as the result where the list is no string in this
/// encoding.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_string_length(
    _env: *mut Env,
    list: Term,
    length: Out<c_uint>,
    encoding: c_int,
) -> c_int {
    let mut count = 0;
    let is_string = list_text(list, encoding, |bytes| {
        count += bytes.len();
        true
    });
    answer(is_string.then_some(count as c_uint), length)
}

fn make_string(env: &mut Env, bytes: &[u8], encoding: c_int) -> Term {
    match encoding {
        LATIN1 => env.byte_list(bytes, Term::NIL),
        _ => match decoded(bytes, encoding) {
            Some(text) => env.string(&text),
            None => env.badarg(),
        },
    }
}

/// The list of the characters of a text; `badarg` where it is wrongly encoded.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_string(env: &mut Env, text: CText, encoding: c_int) -> Term {
    make_string(env, text.bytes(), encoding)
}
/// As [`enif_make_string`], with the length in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_string_len(
    env: &mut Env,
    text: CArray<u8>,
    length: usize,
    encoding: c_int,
) -> Term {
    make_string(env, text.of(length), encoding)
}

// ---- Tuples and lists ----

/// Arity and address of the elements, which stay where they are during the call; 0 for other terms.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_tuple(
    _env: *mut Env,
    term: Term,
    arity: Out<c_int>,
    elements: Out<*const Term>,
) -> c_int {
    let Some(tuple) = term.as_tuple() else { return 0 };
    arity.put(tuple.arity() as c_int);
    elements.put(tuple.elements().as_ptr());
    1
}

/// A tuple of so many elements.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_tuple_from_array(
    env: &mut Env,
    elements: CArray<Term>,
    count: c_uint,
) -> Term {
    env.tuple(elements.of(count as usize))
}

/// A proper list of so many elements.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_list_from_array(
    env: &mut Env,
    elements: CArray<Term>,
    count: c_uint,
) -> Term {
    env.list(elements.of(count as usize))
}

/// `[Head | Tail]`.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_list_cell(env: &mut Env, head: Term, tail: Term) -> Term {
    env.cons(head, tail)
}

/// Head and tail; 0 where there is no list cell, as of the empty list.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_list_cell(
    _env: *mut Env,
    list: Term,
    head: Out<Term>,
    tail: Out<Term>,
) -> c_int {
    let Some(cell) = list.as_cons() else { return 0 };
    head.put(cell.head());
    tail.put(cell.tail());
    1
}

/// The number of elements; 0 as the result where it is no proper list.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_list_length(_env: *mut Env, list: Term, length: Out<c_uint>) -> c_int {
    answer(list.list_len().map(|count| count as c_uint), length)
}

/// The list in reverse; 0 where it is no proper list.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_reverse_list(env: &mut Env, list: Term, to: Out<Term>) -> c_int {
    let (mut from, mut reversed) = (list, Term::NIL);
    while let Some(cell) = from.as_cons() {
        reversed = env.cons(cell.head(), reversed);
        from = cell.tail();
    }
    answer(from.is_nil().then_some(reversed), to)
}

/// A new reference, as `make_ref/0`.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_ref(env: &mut Env) -> Term {
    let value = crate::env::vm().next_ref();
    value.to_term(env)
}

// ---- For `%T` ----

/// The text of a term, in memory of malloc; null when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn swarmrt_nif_text(term: Term, limit: c_long, length: Out<usize>) -> *mut u8 {
    let text = match limit {
        _ if term == NON_VALUE => b"<the non-value>".to_vec(),
        0.. => print::print_limited(term, limit),
        _ => print::print(term),
    };
    // SAFETY: malloc may be called with any size, and what it gives has room for the text.
    unsafe {
        let memory = libc::malloc(text.len().max(1)).cast::<u8>();
        if !memory.is_null() {
            memory.copy_from_nonoverlapping(text.as_ptr(), text.len());
            length.put(text.len());
        }
        memory
    }
}
