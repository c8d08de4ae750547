//! Where specialised code lives: instructions and constants in one block, tables apart.

use super::deferred::Deferred;
use crate::instr::*;
use std::any::Any;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError, RwLock};
use swarmrt_term::{Atom, Term};

/// A function of a specialised module; positions are instruction numbers.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    pub name: Atom,
    pub arity: u32,
    /// Its `FuncInfo`.
    pub start: u32,
    /// Its entry cell.
    pub entry: u32,
}

/// A module ready to run.
pub struct Specialised {
    /// The constants, then the instructions, two words each: neither moves while the module lives.
    pub(super) storage: Storage,
    /// Where the instructions begin in `storage`.
    pub(super) first: usize,
    pub functions: Vec<Function>,
    /// The instruction at each label; `u32::MAX` where there is none.
    pub labels: Vec<u32>,
    /// Instruction number and index of the line table, in order.
    pub(super) lines: RwLock<Vec<(u32, u32)>>,
    pub on_load: Option<u32>,
    /// Only kept: the instructions point into them.
    pub(super) tables: Mutex<Tables>,
    /// Functions that are not specialised yet.
    pub(super) deferred: Option<Deferred>,
}

/// Memory for a module, all zeroes at first.
pub(super) struct Storage(NonNull<[[u64; 2]]>);

impl Storage {
    pub(super) fn new(pairs: usize) -> Storage {
        let words = Box::<[[u64; 2]]>::new_zeroed_slice(pairs);
        // SAFETY: any bits are words.
        Storage(NonNull::from(Box::leak(unsafe { words.assume_init() })))
    }
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
    pub(super) fn words(&self) -> *mut u64 {
        self.0.as_ptr().cast()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and nobody else has it.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Operands that do not fit an instruction, owned by the module that has the instructions.
#[derive(Default)]
pub(super) struct Tables(pub(super) Vec<*mut (dyn Any + Send + Sync)>);

impl Drop for Tables {
    fn drop(&mut self) {
        for &table in &self.0 {
            // SAFETY: each came from a leaked box, and the instructions that named it go with us.
            drop(unsafe { Box::from_raw(table) });
        }
    }
}

// SAFETY: the tables are owned, immutable, and themselves `Send + Sync`.
unsafe impl Send for Specialised {}

// SAFETY: the tables are owned, immutable, and themselves `Send + Sync`.
unsafe impl Sync for Specialised {}

impl Specialised {
    /// All instructions of the module, including [`Instr::NotLoaded`] in functions that nobody has
    /// called yet.
    pub fn code(&self) -> &[Instr] {
        // SAFETY: the storage from `first` on is filled with instructions; zeroes are
        // [`Instr::NotLoaded`].
        unsafe { std::slice::from_raw_parts(self.instr(0), self.storage.len() - self.first) }
    }
    pub(super) fn instr(&self, at: u32) -> *mut Instr {
        // SAFETY: `first` is within the storage.
        unsafe { self.storage.words().add(self.first * 2).cast::<Instr>().add(at as usize) }
    }
    /// Bytes of constants and instructions together; tables are not counted.
    pub fn size_bytes(&self) -> usize {
        self.storage.len() * 16
    }
    /// Instructions that a function has room for.
    pub fn size(&self, function: usize) -> u32 {
        let end = match self.functions.get(function + 1) {
            Some(next) => next.start,
            None => (self.storage.len() - self.first) as u32,
        };
        end - self.functions[function].start
    }
    /// The item of the line table for an instruction of the function that begins at `start`.
    pub fn line_of(&self, at: u32, start: u32) -> Option<u32> {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        let before = lines.partition_point(|&(line_at, _)| line_at <= at);
        lines[..before].last().filter(|&&(line_at, _)| line_at >= start).map(|&(_, line)| line)
    }
    /// Writes constants from a place in the pool on.
    pub(super) fn write_constants(&self, at: usize, constants: &[Term]) {
        assert!(at + constants.len() <= self.first * 2, "the pool has room for all constants");
        for (term, at) in constants.iter().zip(at..) {
            // SAFETY: the pool has room for them before `first`, and nothing refers to them yet.
            unsafe { self.storage.words().add(self.first * 2 - 1 - at).write(term.raw()) };
        }
    }
}
