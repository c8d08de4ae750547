//! Atoms from and to text.

use crate::args::{atom_of, binary_of};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::atom::{AtomError, NAME_CHARS_MAX};
use swarmrt_term::{Alloc, Atom, Term, atom};

/// Makes the atom, or finds it where it must exist.
pub(crate) fn intern(name: &str, existing: bool) -> BifResult {
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(if existing { BifExit::BADARG } else { BifExit::SYSTEM_LIMIT });
    }
    let made = if existing {
        Atom::existing(name).ok_or(BifExit::BADARG)
    } else {
        Atom::try_new(name).map_err(atom_error)
    };
    made.map(Term::atom)
}

fn atom_error(error: AtomError) -> BifExit {
    match error {
        AtomError::TooLong | AtomError::TableFull => BifExit::SYSTEM_LIMIT,
    }
}

fn from_list(list: Term, existing: bool) -> BifResult {
    let mut name = String::new();
    let mut rest = list;
    let mut count = 0;
    while let Some(cell) = rest.as_cons() {
        let code = cell
            .head()
            .as_small()
            .and_then(|code| u32::try_from(code).ok())
            .and_then(char::from_u32);
        count += 1;
        if count > NAME_CHARS_MAX {
            // Too long counts before what follows is looked at.
            return Err(if existing { BifExit::BADARG } else { BifExit::SYSTEM_LIMIT });
        }
        name.push(code.ok_or(BifExit::BADARG)?);
        rest = cell.tail();
    }
    if rest.is_nil() { intern(&name, existing) } else { Err(BifExit::BADARG) }
}

#[bif("erlang:list_to_atom/1", guard)]
fn list_to_atom(_p: &mut Process, list: Term) -> BifResult {
    from_list(list, false)
}

#[bif("erlang:list_to_existing_atom/1", guard)]
fn list_to_existing_atom(_p: &mut Process, list: Term) -> BifResult {
    from_list(list, true)
}

#[bif("erlang:atom_to_list/1")]
fn atom_to_list(p: &mut Process, atom: Term) -> BifResult {
    let name = atom_of(atom)?.name();
    Ok(p.string(name))
}

enum Encoding {
    Latin1,
    Utf8,
}

fn encoding_of(term: Term) -> Result<Encoding, BifExit> {
    let name = atom_of(term)?;
    if name == atom!("latin1") {
        Ok(Encoding::Latin1)
    } else if name == atom!("utf8") || name == atom!("unicode") {
        Ok(Encoding::Utf8)
    } else {
        Err(BifExit::BADARG)
    }
}

#[bif("erlang:atom_to_binary/2")]
fn atom_to_binary(p: &mut Process, atom: Term, encoding: Term) -> BifResult {
    let name = atom_of(atom)?.name();
    match encoding_of(encoding)? {
        Encoding::Utf8 => Ok(p.binary(name.as_bytes())),
        Encoding::Latin1 => {
            let bytes = name
                .chars()
                .map(|c| u8::try_from(u32::from(c)))
                .collect::<Result<Vec<u8>, _>>()
                .map_err(|_| BifExit::BADARG)?;
            Ok(p.binary(&bytes))
        }
    }
}

fn from_binary(binary: Term, encoding: Term, existing: bool) -> BifResult {
    let bytes = binary_of(binary)?;
    match encoding_of(encoding)? {
        Encoding::Latin1 => {
            intern(&bytes.iter().map(|&byte| char::from(byte)).collect::<String>(), existing)
        }
        Encoding::Utf8 => {
            // A name that is too long is one, whatever comes after the last character that there
            // would be room for.
            let begins_too_long = |valid: usize| {
                std::str::from_utf8(&bytes[..valid])
                    .is_ok_and(|text| text.chars().count() >= NAME_CHARS_MAX)
            };
            match std::str::from_utf8(&bytes) {
                Ok(name) => intern(name, existing),
                Err(error) if begins_too_long(error.valid_up_to()) && !existing => {
                    Err(BifExit::SYSTEM_LIMIT)
                }
                Err(_) => Err(BifExit::BADARG),
            }
        }
    }
}

#[bif("erlang:binary_to_atom/2", guard)]
fn binary_to_atom(_p: &mut Process, binary: Term, encoding: Term) -> BifResult {
    from_binary(binary, encoding, false)
}

#[bif("erlang:binary_to_existing_atom/2", guard)]
fn binary_to_existing_atom(_p: &mut Process, binary: Term, encoding: Term) -> BifResult {
    from_binary(binary, encoding, true)
}
