//! Exports and fun entries: made when they are first named, freed with the machine, pointed at by
//! code.

use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use swarmrt_beam::instr::{ExportPtr, FunPtr, Instr};
use swarmrt_term::{FunIdentity, Mfa};

/// `M:F/A`, whether it has code or not.
#[repr(C)]
pub struct Export {
    pub mfa: Mfa,
    /// Where its code begins: past an entry cell.
    entry: AtomicPtr<Instr>,
    /// How often that has been written.
    changes: AtomicU64,
    /// The built-in of that name.
    pub bif: Option<u16>,
    /// Exports are numbered as they are made.
    pub number: u32,
    /// What is run when there is no code, behind a cell: a built-in's body, or the way to the error
    /// handler. An instruction stands before the cell, as before every cell: there calls of
    /// functions are counted.
    stub: [Instr; 4],
}

// SAFETY: the stub never changes once made.
unsafe impl Send for Export {}
// SAFETY: the stub never changes once made.
unsafe impl Sync for Export {}

static NEXT_NUMBER: AtomicU32 = AtomicU32::new(0);

impl Export {
    /// Byte offset of the entry, which machine code reads.
    pub const ENTRY_OFFSET: usize = std::mem::offset_of!(Export, entry);
    /// Byte offset of the count of changes, which machine code reads.
    pub const CHANGES_OFFSET: usize = std::mem::offset_of!(Export, changes);

    /// Where the stub's code begins, past its cell.
    const STUB: usize = 2;

    pub(crate) fn new(mfa: Mfa, bif: Option<u16>, no_code: u64) -> &'static Export {
        let export = Box::leak(Box::new(Export {
            mfa,
            entry: AtomicPtr::new(std::ptr::null_mut()),
            changes: AtomicU64::new(0),
            bif,
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            stub: [Instr::Nop, Instr::Cell { native: no_code }, Instr::Nop, Instr::Nop],
        }));
        export.stub[Export::STUB] = match bif {
            Some(bif) => Instr::BifBody { arity: mfa.arity as u16, bif, function: u32::MAX },
            None => {
                Instr::CallErrorHandler { export: ExportPtr(std::ptr::from_ref(export) as u64) }
            }
        };
        export.clear();
        export
    }
    /// The first instruction to run, past the cell.
    #[inline(always)]
    pub fn entry(&self) -> *const Instr {
        // Acquire: the code is seen whole.
        self.entry.load(Ordering::Acquire)
    }
    pub(crate) fn set_entry(&self, instr: *const Instr) {
        self.entry.store(instr.cast_mut(), Ordering::Release);
        // Release: a reader that sees the new count sees the new entry, too.
        self.changes.fetch_add(1, Ordering::Release);
    }
    /// How often the entry has been written. While it stays the same, the code stays where it is.
    /// Comparing addresses is not enough: the address of a version that is gone may be used again.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
    pub(crate) fn clear(&self) {
        self.set_entry(&raw const self.stub[Export::STUB]);
    }
    fn is_stub(&self) -> bool {
        std::ptr::eq(self.entry(), &raw const self.stub[Export::STUB])
    }
    /// Whether a call finds code: loaded, or a built-in.
    pub fn is_defined(&self) -> bool {
        !self.is_stub() || self.bif.is_some()
    }
    /// Whether a loaded module has it.
    pub fn is_loaded(&self) -> bool {
        !self.is_stub()
    }
    /// The export that an instruction names.
    pub fn of(ptr: ExportPtr) -> &'static Export {
        // SAFETY: such a pointer is only made from an export, which lives as long as its machine.
        unsafe { &*(ptr.0 as *const Export) }
    }
}

/// Frees an export or a fun entry, which live as long as their machine.
///
/// # Safety
/// It was made by [`Export::new`] or [`FunEntry::new`], and nobody has another reference to it.
pub(super) unsafe fn free<T>(made: &'static T) {
    // SAFETY: the caller's; both make a box.
    drop(unsafe { Box::from_raw(std::ptr::from_ref(made).cast_mut()) });
}

/// The function behind `fun … end`.
#[repr(C)]
pub struct FunEntry {
    pub identity: FunIdentity,
    /// Where its code begins; null when the module is not loaded.
    entry: AtomicPtr<Instr>,
    pub free: u32,
}

impl FunEntry {
    /// Byte offset of the entry, which machine code reads.
    pub const ENTRY_OFFSET: usize = std::mem::offset_of!(FunEntry, entry);
    pub(crate) fn new(identity: FunIdentity, free: u32) -> &'static FunEntry {
        Box::leak(Box::new(FunEntry {
            identity,
            entry: AtomicPtr::new(std::ptr::null_mut()),
            free,
        }))
    }
    /// The first instruction to run, past the cell; null while the module is not loaded.
    #[inline(always)]
    pub fn entry(&self) -> *const Instr {
        self.entry.load(Ordering::Acquire)
    }
    pub(crate) fn set_entry(&self, instr: *const Instr) {
        self.entry.store(instr.cast_mut(), Ordering::Release);
    }
    /// The entry that a fun term points at.
    #[inline(always)]
    pub fn of(identity: *const FunIdentity) -> &'static FunEntry {
        // SAFETY: fun terms are only made with entries of ours, which begin with the identity.
        unsafe { &*identity.cast::<FunEntry>() }
    }
    /// The address, as instructions name the fun.
    pub fn ptr(&'static self) -> FunPtr {
        FunPtr(std::ptr::from_ref(self) as u64)
    }
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}/{}", self.mfa.module, self.mfa.function, self.mfa.arity)
    }
}
