//! Exports and funs that live as long as one run, so that millions of runs leave nothing behind.

use std::cell::RefCell;
use std::collections::HashMap;
use swarmrt_term::etf::{DecodeOptions, Resolver};
use swarmrt_term::{Atom, FunIdentity, Mfa};

type FunKey = (Atom, u32, u32, u32, [u8; 16], u8, u32);

/// Above this many atoms no input may make new ones: the table is never emptied.
const ATOMS_OF_INPUTS_MAX: usize = 300_000;

#[derive(Default)]
pub struct Arena {
    exports: RefCell<HashMap<Mfa, Box<Mfa>>>,
    funs: RefCell<HashMap<FunKey, Box<FunIdentity>>>,
}

impl Resolver for Arena {
    fn export(&self, module: Atom, function: Atom, arity: u32) -> *const Mfa {
        let mfa = Mfa { module, function, arity };
        &raw const **self.exports.borrow_mut().entry(mfa).or_insert_with(|| Box::new(mfa))
    }
    fn fun(&self, identity: FunIdentity, free: u32) -> *const FunIdentity {
        let key = (identity.module, identity.index, identity.old_index, identity.old_uniq, identity.uniq, identity.arity, free);
        &raw const **self.funs.borrow_mut().entry(key).or_insert_with(|| Box::new(identity))
    }
}

pub fn decode_options() -> DecodeOptions {
    DecodeOptions { safe: !atoms_left(), used: true }
}

/// The atom of that name; once there are too many, one of those that there are.
pub fn atom(name: &str) -> Option<Atom> {
    if atoms_left() { Atom::try_new(name).ok() } else { Some(Atom::existing(name).unwrap_or(Atom::from_index(0))) }
}

fn atoms_left() -> bool {
    Atom::count() < ATOMS_OF_INPUTS_MAX
}
