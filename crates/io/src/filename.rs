//! File names between Erlang and the operating system: UTF-8 with a terminating zero byte as
//! `prim_file` passes them.

use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, stop};

/// The bytes of a file name given as a binary, or as characters in nested lists; no zero byte.
pub fn name_bytes(name: Term) -> Option<Vec<u8>> {
    if let Some(bits) = name.as_bits() {
        return bits.is_binary().then(|| bits.to_bytes().into_owned());
    }
    if name.is_small() {
        return None;
    }
    let mut bytes = Vec::new();
    let mut pending = vec![name];
    while let Some(item) = pending.pop() {
        stop::step();
        if let Some(cell) = item.as_cons() {
            pending.push(cell.tail());
            pending.push(cell.head());
        } else if let Some(code) = item.as_small() {
            let c = char::from_u32(u32::try_from(code).ok()?)?;
            let mut buffer = [0; 4];
            bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        } else if let Some(atom) = item.as_atom() {
            bytes.extend_from_slice(atom.name().as_bytes());
        } else if !item.is_nil() {
            return None;
        }
    }
    Some(bytes)
}

#[bif("prim_file:internal_name2native/1")]
fn internal_name2native(p: &mut Process, name: Term) -> BifResult {
    let mut bytes = name_bytes(name).ok_or(BifExit::BADARG)?;
    if bytes.contains(&0) {
        return Err(BifExit::BADARG);
    }
    bytes.push(0);
    Ok(p.binary(&bytes))
}

/// A name as characters where it is UTF-8, else as the bytes.
pub fn to_term(p: &mut Process, bytes: &[u8]) -> Term {
    match std::str::from_utf8(bytes) {
        Ok(text) => p.string(text),
        Err(_) => p.binary(bytes),
    }
}

#[bif("prim_file:internal_native2name/1")]
fn internal_native2name(p: &mut Process, name: Term) -> BifResult {
    let bits = name.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
    let bytes = bits.to_bytes();
    Ok(to_term(p, &bytes))
}

#[bif("prim_file:internal_normalize_utf8/1")]
fn internal_normalize_utf8(p: &mut Process, name: Term) -> BifResult {
    let bits = name.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
    let bytes = bits.to_bytes();
    let text = std::str::from_utf8(&bytes).map_err(|_| BifExit::BADARG)?;
    Ok(p.string(text))
}

#[bif("prim_file:is_translatable/1")]
fn is_translatable(_p: &mut Process, name: Term) -> BifResult {
    Ok(Term::bool(name_bytes(name).is_some()))
}

/// Whether text outside the machine is UTF-8, as the environment says.
pub fn locale_is_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    locale.is_some_and(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

#[bif("file:native_name_encoding/0")]
fn native_name_encoding(_p: &mut Process) -> BifResult {
    Ok(Term::atom(if locale_is_utf8() {
        swarmrt_term::atom!("utf8")
    } else {
        swarmrt_term::atom!("latin1")
    }))
}
