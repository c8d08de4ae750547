//! The table of built-ins, and how one fails, waits, or goes on elsewhere.

use crate::code::Export;
use crate::process::Process;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicBool, Ordering};
pub use swarmrt_term::Release;
use swarmrt_term::atom::NumberHasher;
use swarmrt_term::{Atom, AtomMap, Mfa, Term, am};

/// Every built-in of every linked crate, put there by `#[bif]`.
#[linkme::distributed_slice]
pub static BIFS: [BifEntry];

/// A built-in as engines call it. `None`: there is no result (yet), and [`Process::result_at_hand`]
/// says why. An `Option<Term>` is returned in registers; a [`BifResult`] is not.
pub type BifFn = fn(&mut Process, &[Term]) -> Option<Term>;
/// The result of a built-in, or why there is none (yet).
pub type BifResult = Result<Term, BifExit>;

/// Where and when a built-in may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BifKind {
    Normal,
    /// May be an instruction, in a guard or where the compiler makes one of a call (from OTP 29 on
    /// also conversions to atoms): it is quick, neither traps nor waits, and does nothing but
    /// answer.
    Guard,
    /// May block on files or devices, and often does.
    DirtyIo,
    /// May block on files, but mostly takes microseconds.
    BriefIo,
    /// May compute for long.
    DirtyCpu,
}

impl BifKind {
    /// Whether it may run on dirty schedulers alone, or on a scheduler that is lent or away.
    #[inline]
    pub fn is_dirty(self) -> bool {
        matches!(self, BifKind::DirtyIo | BifKind::BriefIo | BifKind::DirtyCpu)
    }
}

/// A row of the table of built-ins, made by `#[bif]`.
#[derive(Debug)]
pub struct BifEntry {
    pub module: &'static str,
    pub name: &'static str,
    pub arity: u8,
    pub kind: BifKind,
    /// Whether `erlang:system_info(snifs)` lists it; `false` where OTP has no such Erlang function.
    pub listed: bool,
    /// The first OTP release that has it.
    pub since: Release,
    /// The last OTP release that has it.
    pub until: Release,
    pub function: BifFn,
}

impl BifEntry {
    /// Calls the built-in.
    ///
    /// # Errors
    /// Why there is no result (yet).
    #[inline(always)]
    pub fn call(&self, p: &mut Process, args: &[Term]) -> BifResult {
        let result = (self.function)(p, args);
        p.bif_result(result)
    }
    /// Whether the release is from `since` to `until`, both included.
    pub fn exists_in(&self, release: Release) -> bool {
        (self.since..=self.until).contains(&release)
    }
}

/// Why a built-in has no result (yet): an exception, or what the process has to do first.
#[derive(Debug)]
pub enum BifExit {
    /// An exception of class `error`, `exit`, `throw`.
    Error(Term),
    Exit(Term),
    Throw(Term),
    /// An error whose trace begins with the caller: the built-in itself is not listed.
    WithoutTop(Term),
    /// A `badarg` with the cause that the module's error formatter explains.
    Caused(Atom),
    /// `erlang:raise/3`: class, reason, and a stack trace already in readable form.
    WithTrace {
        class: Atom,
        reason: Term,
        trace: Term,
    },
    /// `erlang:error/2,3`: reason, the arguments for the stack trace's first entry (none: its
    /// arity), its `error_info`.
    WithArgs {
        reason: Term,
        args: Term,
        option: Option<Term>,
    },
    /// Go on in an Erlang function: its arguments were put into [`Process::trap_args`].
    Trap(&'static Export),
    /// Collect, so that the block has room for this many words, and call the same built-in again:
    /// see [`Process::reserve`].
    Room(usize),
    /// Give up the scheduler and call the same built-in again, soon.
    Yield,
    /// Call the same built-in again when a signal has arrived.
    Wait,
    /// Hibernate, waking in the function put into [`Process::trap_args`].
    Hibernate,
    /// The process is to end with this reason at once.
    ExitNow(Term),
}

impl Process {
    /// Turns a result into what a [`BifFn`] returns.
    #[inline(always)]
    pub fn return_result(&mut self, result: BifResult) -> Option<Term> {
        result.map_err(|exit| self.result_at_hand = Some(Err(exit))).ok()
    }
    /// The result of a [`BifFn`], from what it has returned.
    ///
    /// # Errors
    /// Why there is no result (yet).
    #[inline(always)]
    pub fn bif_result(&mut self, returned: Option<Term>) -> BifResult {
        returned.map_or_else(
            || self.result_at_hand.take().expect("a built-in without a result says why"),
            Ok,
        )
    }
}

impl BifExit {
    /// `error:badarg`, without an explanation of the cause.
    pub const BADARG: BifExit = BifExit::Error(Term::atom(am::BADARG));
    /// `error:badarith`.
    pub const BADARITH: BifExit = BifExit::Error(Term::atom(am::BADARITH));
    /// `error:system_limit`.
    pub const SYSTEM_LIMIT: BifExit = BifExit::Error(Term::atom(am::SYSTEM_LIMIT));
    /// `error:notsup`: not supported on this system.
    pub const NOTSUP: BifExit = BifExit::Error(Term::atom(am::NOTSUP));
}

/// OTP's modules whose native libraries are part of the machine. Their functions have [native
/// bodies](crate::code::natives) as those of any other library, and are no built-ins.
pub const LINKED_LIBRARIES: [&str; 8] = [
    "zlib",
    "zstd",
    "erl_tracer",
    "prim_buffer",
    "prim_file",
    "prim_socket",
    "prim_net",
    "prim_tty",
];

/// The built-ins of one OTP release, numbered from 0 in the order of module, name and arity.
pub struct BifTable {
    entries: Vec<(&'static BifEntry, Mfa)>,
    /// By number, the built-ins whose calls go through the functions of their names, which have
    /// breakpoints.
    has_breakpoint: Box<[AtomicBool]>,
    numbers: HashMap<Mfa, u16, BuildHasherDefault<NumberHasher>>,
    libraries: AtomMap<Vec<&'static BifEntry>>,
}

impl BifTable {
    /// The built-ins of an OTP release.
    ///
    /// # Panics
    /// When two built-ins have the same name.
    pub(crate) fn collect(release: Release) -> BifTable {
        // What `prim_file` has for names of files are built-ins, in OTP as here.
        let is_linked = |entry: &BifEntry| {
            LINKED_LIBRARIES.contains(&entry.module)
                && (entry.module != "prim_file" || entry.name.ends_with("_nif"))
        };
        let mut libraries: AtomMap<Vec<_>> =
            LINKED_LIBRARIES.iter().map(|name| (Atom::new(name), Vec::new())).collect();
        for entry in BIFS.iter().filter(|entry| entry.exists_in(release) && is_linked(entry)) {
            libraries.entry(Atom::new(entry.module)).or_default().push(entry);
        }
        let mut entries: Vec<(&'static BifEntry, Mfa)> = BIFS
            .iter()
            .filter(|entry| entry.exists_in(release) && !is_linked(entry))
            .map(|entry| {
                let mfa = Mfa {
                    module: Atom::new(entry.module),
                    function: Atom::new(entry.name),
                    arity: u32::from(entry.arity),
                };
                (entry, mfa)
            })
            .collect();
        entries.sort_by_key(|(entry, _)| (entry.module, entry.name, entry.arity));
        let mut numbers = HashMap::with_capacity_and_hasher(entries.len(), Default::default());
        for (number, (entry, mfa)) in entries.iter().enumerate() {
            let number = u16::try_from(number).expect("there are fewer than 65,536 built-ins");
            let before = numbers.insert(*mfa, number);
            assert!(
                before.is_none(),
                "built-in defined twice: {}:{}/{}",
                entry.module,
                entry.name,
                entry.arity
            );
        }
        let has_breakpoint = entries.iter().map(|_| AtomicBool::new(false)).collect();
        BifTable { entries, has_breakpoint, numbers, libraries }
    }
    /// The functions of a native library that is part of the machine; `None` when the module has
    /// none.
    pub fn library(&self, module: Atom) -> Option<&[&'static BifEntry]> {
        self.libraries.get(&module).map(Vec::as_slice)
    }
    /// Whether there is a built-in with this number.
    pub fn exists(&self, number: u16) -> bool {
        usize::from(number) < self.entries.len()
    }
    /// The built-in with this number, which must exist: [`BifTable::exists`] asks.
    #[inline(always)]
    pub fn get(&self, number: u16) -> &'static BifEntry {
        self.entries[number as usize].0
    }
    /// Whether calls of the built-in with this number, which must exist, are to be made by its name.
    #[inline(always)]
    pub fn has_breakpoint(&self, number: u16) -> bool {
        self.has_breakpoint[number as usize].load(Ordering::Relaxed)
    }
    /// Whether [`has_breakpoint`](Self::has_breakpoint) holds for any built-in.
    pub fn any_breakpoint(&self) -> bool {
        self.has_breakpoint.iter().any(|known| known.load(Ordering::Relaxed))
    }
    /// Says whether calls of a built-in are to be made by its name. Returns whether that is news.
    pub(crate) fn set_breakpoint(&self, number: u16, on: bool) -> bool {
        self.has_breakpoint[number as usize].swap(on, Ordering::Relaxed) != on
    }
    /// The name of the built-in with this number, which must exist.
    pub fn mfa(&self, number: u16) -> Mfa {
        self.entries[number as usize].1
    }
    /// The number of a built-in; `None` when the release has none of that name.
    pub fn number(&self, mfa: Mfa) -> Option<u16> {
        self.numbers.get(&mfa).copied()
    }
    /// Every built-in and its name, in the order of numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&'static BifEntry, Mfa)> + '_ {
        self.entries.iter().copied()
    }
}
