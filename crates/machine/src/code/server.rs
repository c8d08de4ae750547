//! The code server: which modules are loaded, in which versions, and the tables that code points
//! into.

use crate::bif::{BifKind, BifTable};
use crate::code::cache::CodeCache;
use crate::code::export::free;
use crate::code::module::Scratch;
use crate::code::permission::Permission;
use crate::code::{Export, FunEntry, LoadError, Location, ModuleCode, Prepared, RecordEntry};
use crate::process::call_trace::FrameKind;
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use swarmrt_beam::instr::Instr;
use swarmrt_beam::specialise::CellKind;
use swarmrt_term::atom::NumberHasher;
use swarmrt_term::etf::Resolver;
use swarmrt_term::{Atom, AtomMap, FunIdentity, Mfa, am};

/// The versions of one module.
#[derive(Default, Clone)]
pub struct ModuleSlot {
    pub current: Option<Arc<ModuleCode>>,
    pub old: Option<Arc<ModuleCode>>,
    /// A version whose `on_load` function is still to run or running.
    pub on_load: Option<Arc<ModuleCode>>,
    /// The version whose `on_load` function failed last, until it is purged.
    pub failed: Option<Arc<ModuleCode>>,
    /// Versions that another one took the place of in `on_load`, `failed` or `old` before they
    /// were purged. They leave with the old version.
    pub displaced: Vec<Arc<ModuleCode>>,
    /// While versions are being purged.
    pub purging: Option<Purging>,
}

/// A purge that has begun and is neither complete nor aborted.
#[derive(Clone)]
pub struct Purging {
    /// What is being purged, at least one.
    versions: Vec<Arc<ModuleCode>>,
    /// The funs that led into those versions, each with its address there. They lead nowhere
    /// meanwhile.
    funs: Arc<[(&'static FunEntry, usize)]>,
    /// Processes that called such a fun and are suspended until the purge is over.
    callers: Vec<u64>,
}

/// Which versions of a module are to be purged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// The old one, and all that have no other place.
    Old,
    /// The one whose `on_load` function failed.
    Failed,
}

/// What a process has to do that calls a fun that leads nowhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PurgeWait {
    /// Its module is not being purged.
    None,
    /// The caller has been noted: it is to suspend itself, and is resumed when the purge is over.
    Suspend,
    /// It has been noted before.
    Noted,
}

impl ModuleSlot {
    fn must_be_purged(&self) -> bool {
        self.old.is_some() && self.current.is_some()
    }
    /// The versions that are being purged, or else the old one.
    pub fn leaving(&self) -> impl Iterator<Item = &Arc<ModuleCode>> {
        let purged: &[_] = self.purging.as_ref().map_or(&[], |purging| &purging.versions);
        purged.iter().chain(self.old.as_ref().filter(|_| purged.is_empty()))
    }
    /// Whether this version has been replaced or has failed.
    pub fn is_past(&self, version: &Arc<ModuleCode>) -> bool {
        let mut past = self.old.iter().chain(&self.failed).chain(&self.displaced);
        past.any(|other| Arc::ptr_eq(other, version))
    }
}

/// All that has to agree between a fun and the code that it runs: with as many free variables as
/// the code takes, it reads no register that nobody has written, wherever the fun comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FunKey {
    identity: FunIdentity,
    free: u32,
}

impl Hash for FunKey {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // The rest seldom differs where these do not.
        self.identity.module.hash(hasher);
        hasher.write_u32(self.identity.index);
        hasher.write_u32(self.identity.old_uniq);
    }
}

/// What is found by atoms and small numbers.
type CodeMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// A module cannot be made old while it has an old version.
#[derive(Debug)]
pub struct HasOldVersion;

/// The code of a machine: modules with their versions, exports, fun entries, and what is at an
/// address.
pub struct CodeServer {
    bifs: &'static BifTable,
    /// Whether modules are loaded to be debugged.
    looks_at_debug_lines: bool,
    exports: RwLock<CodeMap<Mfa, &'static Export>>,
    /// Exports that were looked for lately, each where its hash says: most calls of functions by
    /// their names find theirs.
    recent_exports: Box<[AtomicPtr<Export>; RECENT_EXPORTS]>,
    funs: RwLock<CodeMap<FunKey, &'static FunEntry>>,
    /// The exports of `on_load` functions, which no code names.
    unnamed_exports: Mutex<Vec<&'static Export>>,
    modules: RwLock<AtomMap<ModuleSlot>>,
    /// In the order of their addresses.
    ranges: RwLock<Vec<(Range<usize>, Arc<ModuleCode>)>>,
    /// Counts changes of `ranges`.
    state: AtomicU64,
    /// Code of the machine's own: the start and end of processes.
    glue: &'static [Instr],
    /// What cells without machine code hold, by their [`CellKind`].
    no_code: [u64; CellKind::ALL.len()],
    /// For loading one module after the other; gone while one is being loaded.
    pub(crate) scratch: Mutex<Option<Scratch>>,
    pub(crate) permission: Permission,
    /// The modules that have loaded native libraries from files, the last one first.
    pub taints: Mutex<Vec<Atom>>,
    /// What is kept from run to run, if anything is.
    pub cache: OnceLock<CodeCache>,
}

/// A power of two.
const RECENT_EXPORTS: usize = 256;

/// Room for the exports that OTP starts with: seven eighths of 4096 places. Each place is memory
/// that is touched.
const EXPORTS_AT_START: usize = 3584;

const GLUE_PROCESS_END: usize = 0;
const GLUE_APPLY: usize = 2;
const GLUE_APPLY_FUN: usize = 3;
const GLUE_HIBERNATED: usize = 6;
const GLUE_TRACED: usize = 8;

impl Drop for CodeServer {
    fn drop(&mut self) {
        // Code refers to exports and funs.
        self.ranges.get_mut().clear();
        self.modules.get_mut().clear();
        let exports = self.exports.get_mut().drain().map(|(_, export)| export);
        let funs = self.funs.get_mut().drain().map(|(_, fun)| fun);
        // SAFETY: they were made for these tables; the machine is the caller's alone, and its
        // processes are gone. The glue was a vector of just that length.
        unsafe {
            exports.for_each(|export| free(export));
            self.unnamed_exports.get_mut().drain(..).for_each(|export| free(export));
            funs.for_each(|fun| free(fun));
            drop(Box::from_raw(std::ptr::from_ref(self.glue).cast_mut()));
        }
    }
}

impl CodeServer {
    pub(crate) fn new(
        bifs: &'static BifTable,
        no_code: [u64; CellKind::ALL.len()],
        looks_at_debug_lines: bool,
    ) -> CodeServer {
        let return_point = no_code[CellKind::Return as usize];
        let glue = vec![
            // A process's first function returns here.
            Instr::Cell { native: return_point },
            Instr::ProcessEnd,
            // Start of a process with module, function and arguments.
            Instr::ApplyArgs,
            // Start of a process with a fun.
            Instr::CallFun { arity: 0 },
            Instr::Cell { native: return_point },
            Instr::ProcessEnd,
            // Where a hibernating process waits.
            Instr::Hibernated,
            Instr::ApplyArgs,
            // Where traced calls return to: the frames below have what is to be told.
            Instr::Cell { native: return_point },
            Instr::ReturnTraced,
            Instr::Cell { native: return_point },
            Instr::ReturnTraced,
            Instr::Cell { native: return_point },
            Instr::ReturnTraced,
            Instr::Cell { native: return_point },
            Instr::ReturnTraced,
            Instr::Cell { native: return_point },
            Instr::ReturnTraced,
        ];
        CodeServer {
            bifs,
            looks_at_debug_lines,
            exports: RwLock::new(CodeMap::with_capacity_and_hasher(
                EXPORTS_AT_START,
                Default::default(),
            )),
            recent_exports: Box::new(
                [const { AtomicPtr::new(std::ptr::null_mut()) }; RECENT_EXPORTS],
            ),
            funs: RwLock::default(),
            unnamed_exports: Mutex::default(),
            modules: RwLock::default(),
            ranges: RwLock::default(),
            state: AtomicU64::new(0),
            glue: Box::leak(glue.into_boxed_slice()),
            no_code,
            scratch: Mutex::new(None),
            permission: Permission::default(),
            taints: Mutex::default(),
            cache: OnceLock::new(),
        }
    }
    /// What a cell of this kind holds while it has no machine code.
    pub fn no_code(&self, cell: CellKind) -> u64 {
        self.no_code[cell as usize]
    }
    /// Where the first function of a process returns to: a return point, then the end of the
    /// process.
    pub fn process_end(&self) -> *const Instr {
        &raw const self.glue[GLUE_PROCESS_END]
    }
    /// Where a process starts that runs `apply(M, F, Args)`: module in X0, function in X1, list of
    /// arguments in X2.
    pub fn apply_entry(&self) -> *const Instr {
        &raw const self.glue[GLUE_APPLY]
    }
    /// Where a process starts that runs a fun, which is in X0.
    pub fn apply_fun_entry(&self) -> *const Instr {
        &raw const self.glue[GLUE_APPLY_FUN]
    }
    /// Where a hibernating process waits; it goes on like one at [`CodeServer::apply_entry`].
    pub fn hibernated_entry(&self) -> *const Instr {
        &raw const self.glue[GLUE_HIBERNATED]
    }
    /// The cell to which a call returns that pushed a frame of this kind.
    pub fn traced_frame(&self, kind: FrameKind) -> *const Instr {
        &raw const self.glue[GLUE_TRACED + 2 * kind as usize]
    }
    /// The kind of the frame whose cell is at this address; `None` for other addresses.
    pub fn frame_kind(&self, cell: *const Instr) -> Option<FrameKind> {
        FrameKind::ALL.into_iter().find(|&kind| self.traced_frame(kind) == cell)
    }
    /// The number of a built-in; `None` when this release has none of that name.
    pub fn bif_number(&self, mfa: Mfa) -> Option<u16> {
        self.bifs.number(mfa)
    }
    pub(crate) fn is_guard(&self, bif: u16) -> bool {
        self.bifs.get(bif).kind == BifKind::Guard
    }

    /// The export of that name, made if there is none.
    pub fn export(&self, mfa: Mfa) -> &'static Export {
        self.existing_export(mfa).unwrap_or_else(|| {
            self.exports.write().entry(mfa).or_insert_with(|| {
                Export::new(mfa, self.bifs.number(mfa), self.no_code(CellKind::Entry))
            })
        })
    }
    /// The export of that name; `None` when nobody has named the function yet.
    pub fn existing_export(&self, mfa: Mfa) -> Option<&'static Export> {
        let hash = BuildHasherDefault::<NumberHasher>::default().hash_one(mfa);
        let recent = &self.recent_exports[hash as usize % RECENT_EXPORTS];
        // SAFETY: exports are freed with this table, and complete before they are put anywhere.
        if let Some(export) = unsafe { recent.load(Ordering::Acquire).as_ref() }
            && export.mfa == mfa
        {
            return Some(export);
        }
        let export = *self.exports.read().get(&mfa)?;
        recent.store(std::ptr::from_ref(export).cast_mut(), Ordering::Release);
        Some(export)
    }

    /// The entry of the funs with that identity and `free` free variables, made if there is none.
    pub fn fun_entry(&self, identity: FunIdentity, free: u32) -> &'static FunEntry {
        let key = FunKey { identity, free };
        if let Some(fun) = self.funs.read().get(&key) {
            return fun;
        }
        self.funs.write().entry(key).or_insert_with(|| FunEntry::new(identity, free))
    }

    /// For decoding external terms: names of functions become this machine's exports and fun
    /// entries.
    pub fn term_resolver(&self) -> CodeResolver<'_> {
        CodeResolver(self)
    }

    /// Makes a module ready to be put in place.
    ///
    /// # Errors
    /// Says what is wrong with the file, and where.
    pub fn prepare(&self, bytes: &[u8]) -> Result<Prepared, LoadError> {
        ModuleCode::prepare(self, bytes).map(|module| Prepared(Arc::new(module)))
    }

    /// As [`CodeServer::prepare`], for one of OTP's preloaded modules, whose stack traces show no
    /// lines.
    ///
    /// # Errors
    /// As [`CodeServer::prepare`].
    pub fn prepare_preloaded(&self, bytes: &[u8]) -> Result<Prepared, LoadError> {
        let mut module = ModuleCode::prepare(self, bytes)?;
        module.lines = None;
        Ok(Prepared(Arc::new(module)))
    }

    pub(crate) fn looks_at_debug_lines(&self) -> bool {
        self.looks_at_debug_lines
    }

    /// Whether the module has an old version.
    pub fn has_old(&self, module: Atom) -> bool {
        self.modules.read().get(&module).is_some_and(|slot| slot.old.is_some())
    }

    /// Whether an old version must be purged before this one is put in place. Where the current
    /// version was deleted, it need not: none becomes old.
    pub fn must_be_purged(&self, prepared: &ModuleCode) -> bool {
        self.modules.read().get(&prepared.name).is_some_and(|slot| slot.must_be_purged())
    }

    /// Puts a module in place as the current version; the current one becomes old. A module with an
    /// `on_load` function waits until that has run.
    ///
    /// # Errors
    /// The module's name, when its old version must be purged first.
    pub fn finish(&self, prepared: &Arc<ModuleCode>) -> Result<(), Atom> {
        let name = prepared.name;
        let mut modules = self.modules.write();
        let slot = modules.entry(name).or_default();
        if slot.must_be_purged() {
            return Err(name);
        }
        self.add_range(prepared);
        if prepared.on_load.is_some() {
            prepared.activate_funs();
            slot.displaced.extend(slot.on_load.replace(prepared.clone()));
            return Ok(());
        }
        self.make_current(slot, prepared);
        Ok(())
    }

    fn make_current(&self, slot: &mut ModuleSlot, module: &Arc<ModuleCode>) {
        // During this loop, exports of both versions lead to one or the other.
        self.exports_in_place(module);
        if let Some(old) = slot.current.take() {
            let stays: HashSet<Mfa> = module.exports_of().map(|(mfa, _)| mfa).collect();
            for (mfa, _) in old.exports_of().filter(|(mfa, _)| !stays.contains(mfa)) {
                self.export(mfa).clear();
            }
            slot.displaced.extend(slot.old.replace(old));
        }
        module.activate_funs();
        slot.current = Some(module.clone());
    }

    /// Makes a version whose `on_load` function has run current (`keep`), or else lets it go.
    /// `false` when there is none.
    pub fn finish_on_load(&self, name: Atom, keep: bool) -> bool {
        let mut modules = self.modules.write();
        let Some(slot) = modules.get_mut(&name) else { return false };
        let Some(module) = slot.on_load.take() else { return false };
        if keep {
            module.ready.store(true, Ordering::Release);
            self.make_current(slot, &module);
        } else {
            // A process may still have it on its stack: it leaves as an old version does.
            module.deactivate_funs();
            slot.displaced.extend(slot.failed.replace(module));
        }
        true
    }

    /// The versions of a module; `None` when it was never loaded.
    pub fn slot(&self, name: Atom) -> Option<ModuleSlot> {
        self.modules.read().get(&name).cloned()
    }
    /// The current version of a module; `None` when there is none.
    pub fn current(&self, name: Atom) -> Option<Arc<ModuleCode>> {
        self.modules.read().get(&name)?.current.clone()
    }
    /// The native record that the current version of a module defines; `None` when it defines none
    /// of that name.
    pub fn record(&self, module: Atom, name: Atom) -> Option<RecordEntry> {
        self.modules
            .read()
            .get(&module)?
            .current
            .as_ref()?
            .records
            .iter()
            .find(|record| record.name == name)
            .copied()
    }
    /// The modules that have a current version, in no order.
    pub fn loaded(&self) -> Vec<Atom> {
        self.modules
            .read()
            .iter()
            .filter(|(_, slot)| slot.current.is_some())
            .map(|(&name, _)| name)
            .collect()
    }

    /// Makes the current version old. `Ok(false)` when the module was never loaded.
    ///
    /// # Errors
    /// When the module has an old version.
    pub fn delete(&self, name: Atom) -> Result<bool, HasOldVersion> {
        let mut modules = self.modules.write();
        let Some(slot) = modules.get_mut(&name) else { return Ok(false) };
        if slot.old.is_some() {
            return Err(HasOldVersion);
        }
        let Some(current) = slot.current.take() else { return Ok(true) };
        for (mfa, _) in current.exports_of() {
            self.export(mfa).clear();
        }
        slot.old = Some(current);
        Ok(true)
    }

    /// Begins to purge versions: calls of funs that lead into them wait from now on. `false` when
    /// there is nothing to purge.
    pub fn prepare_purge(&self, name: Atom, which: Purge) -> bool {
        let mut modules = self.modules.write();
        let Some(slot) = modules.get_mut(&name) else { return false };
        if slot.purging.is_some() {
            return true;
        }
        let versions: Vec<_> = match which {
            Purge::Old => slot.old.iter().chain(&slot.failed).chain(&slot.displaced).collect(),
            Purge::Failed => slot.failed.iter().collect(),
        };
        if versions.is_empty() {
            return false;
        }
        let funs = versions.iter().flat_map(|version| version.deactivate_funs()).collect();
        let versions = versions.into_iter().cloned().collect();
        slot.purging = Some(Purging { versions, funs, callers: Vec::new() });
        true
    }

    /// Ends a purge without purging: funs lead into the old version again. Returns the processes to
    /// resume.
    pub fn abort_purge(&self, name: Atom) -> Vec<u64> {
        let mut modules = self.modules.write();
        let Some(purging) = modules.get_mut(&name).and_then(|slot| slot.purging.take()) else {
            return Vec::new();
        };
        for &(fun, entry) in purging.funs.iter() {
            fun.set_entry(entry as *const Instr);
        }
        purging.callers
    }

    /// Whether a call of a fun of this module that leads nowhere has to wait for a purge.
    pub fn is_purging(&self, name: Atom) -> bool {
        self.modules.read().get(&name).is_some_and(|slot| slot.purging.is_some())
    }

    /// Notes that a process calls a fun of this module that leads nowhere.
    pub fn wait_for_purge(&self, name: Atom, pid: u64) -> PurgeWait {
        let mut modules = self.modules.write();
        let Some(purging) = modules.get_mut(&name).and_then(|slot| slot.purging.as_mut()) else {
            return PurgeWait::None;
        };
        if purging.callers.contains(&pid) {
            return PurgeWait::Noted;
        }
        purging.callers.push(pid);
        PurgeWait::Suspend
    }

    /// Takes the versions that are being purged, which no process runs any more, out of the tables.
    /// Terms may still refer to their literals. Also returns the processes to resume. `None` when
    /// no purge has begun.
    pub fn purge(&self, name: Atom) -> Option<(Vec<Arc<ModuleCode>>, Vec<u64>)> {
        let mut modules = self.modules.write();
        let slot = modules.get_mut(&name)?;
        let Purging { versions, callers, .. } = slot.purging.take()?;
        let goes = |module: &Arc<ModuleCode>| versions.iter().any(|v| Arc::ptr_eq(v, module));
        slot.old.take_if(|old| goes(old));
        slot.failed.take_if(|failed| goes(failed));
        slot.displaced.retain(|displaced| !goes(displaced));
        for version in &versions {
            version.deactivate_funs();
        }
        self.ranges.write().retain(|(_, module)| !goes(module));
        self.state.fetch_add(1, Ordering::Release);
        Some((versions, callers))
    }

    /// The module that an address belongs to.
    pub fn module_at(&self, address: usize) -> Option<Arc<ModuleCode>> {
        let ranges = self.ranges.read();
        let before = ranges.partition_point(|(range, _)| range.start <= address);
        let (range, module) = ranges[..before].last()?;
        range.contains(&address).then(|| module.clone())
    }
    /// Specialises the function that an address belongs to, which is about to run.
    ///
    /// # Panics
    /// When there is none: an instruction only runs while its module is in the tables.
    pub fn load_function_at(&self, address: usize) {
        let module = self.module_at(address).expect("an instruction of a module");
        let at = (address - module.range().start) / size_of::<Instr>();
        module.load_function(
            self,
            module.number_at(at as u32).expect("an instruction of a function"),
        );
    }
    /// All versions of all modules that may be running.
    pub fn versions(&self) -> Vec<Arc<ModuleCode>> {
        self.ranges.read().iter().map(|(_, module)| module.clone()).collect()
    }
    fn add_range(&self, module: &Arc<ModuleCode>) {
        let range = module.range();
        let mut ranges = self.ranges.write();
        let at = ranges.partition_point(|(other, _)| other.start < range.start);
        ranges.insert(at, (range, module.clone()));
        self.state.fetch_add(1, Ordering::Release);
    }
    /// A number that changes whenever code comes or goes.
    pub fn state(&self) -> u64 {
        self.state.load(Ordering::Acquire)
    }

    /// Calls `with` with the function and line at an address; `None` where no code of a module is.
    pub fn locate<R>(&self, address: usize, with: impl FnOnce(Location<'_>) -> R) -> Option<R> {
        let module = self.module_at(address)?;
        module.locate(address).map(with)
    }

    /// The name of the function that a fun runs; `None` while its module is not loaded.
    pub fn fun_name(&self, identity: &FunIdentity) -> Option<Atom> {
        let entry = FunEntry::of(identity).entry();
        if entry.is_null() {
            return None;
        }
        self.locate(entry as usize, |location| location.mfa.function)
    }
}

/// Resolves what external terms name through the code server.
pub struct CodeResolver<'a>(&'a CodeServer);

impl Resolver for CodeResolver<'_> {
    fn export(&self, module: Atom, function: Atom, arity: u32) -> *const Mfa {
        &raw const self.0.export(Mfa { module, function, arity }).mfa
    }
    fn has_export(&self, module: Atom, function: Atom, arity: u32) -> bool {
        let export = self.0.existing_export(Mfa { module, function, arity });
        export.is_some_and(|export| export.is_loaded() || export.bif.is_some())
    }
    fn fun(&self, identity: FunIdentity, free: u32) -> *const FunIdentity {
        &raw const self.0.fun_entry(identity, free).identity
    }
}

impl CodeServer {
    /// An export for a function that is not exported, such as `on_load`: not to be found by name.
    pub fn unnamed_export(&self, module: &ModuleCode, entry: u32) -> &'static Export {
        let function = module.function_at(entry).map_or(am::UNDEFINED, |function| function.name);
        let export = Export::new(
            Mfa { module: module.name, function, arity: 0 },
            None,
            self.no_code(CellKind::Entry),
        );
        export.set_entry(module.past_cell(entry));
        self.unnamed_exports.lock().push(export);
        export
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::machine;
    use swarmrt_beam::assemble::native_module;

    fn prepared(server: &CodeServer, has_on_load: bool) -> Arc<ModuleCode> {
        let prepared = server.prepare(&native_module("m", &[]));
        let mut module = prepared.map_err(|error| error.0).expect("it can be loaded").0;
        if has_on_load {
            let module = Arc::get_mut(&mut module).expect("nobody has it yet");
            module.on_load = Some(0);
            module.ready.store(false, Ordering::Relaxed);
        }
        module
    }

    fn load(server: &CodeServer, has_on_load: bool) {
        server.finish(&prepared(server, has_on_load)).expect("there is no old version");
    }

    /// How many versions a purge takes out.
    fn purge(server: &CodeServer, name: Atom, which: Purge) -> usize {
        server.prepare_purge(name, which);
        server.purge(name).map_or(0, |(versions, _)| versions.len())
    }

    #[test]
    fn no_version_is_lost_that_another_takes_the_place_of() {
        let server = &machine().code;
        let name = prepared(server, false).name;
        let before = server.versions().len();
        load(server, false);
        // Two that wait, and one that becomes current meanwhile.
        load(server, true);
        load(server, true);
        load(server, false);
        assert!(server.finish_on_load(name, true), "the second one becomes current");
        assert!(!server.finish_on_load(name, true), "none waits any more");
        assert_eq!(server.versions().len(), before + 4);
        assert_eq!(purge(server, name, Purge::Failed), 0);
        assert_eq!(purge(server, name, Purge::Old), 3);
        // Two whose functions fail.
        load(server, true);
        assert!(server.finish_on_load(name, false));
        load(server, true);
        assert!(server.finish_on_load(name, false));
        assert_eq!(purge(server, name, Purge::Failed), 1);
        assert_eq!(purge(server, name, Purge::Old), 1);
        assert_eq!(server.versions().len(), before + 1);
    }

    #[test]
    fn a_version_that_failed_leaves_without_the_old_one() {
        let server = &machine().code;
        let name = prepared(server, false).name;
        load(server, false);
        server.delete(name).expect("there is no old version");
        load(server, true);
        assert!(server.finish_on_load(name, false));
        assert!(server.prepare_purge(name, Purge::Failed));
        assert!(server.slot(name).is_some_and(|slot| slot.leaving().count() == 1));
        assert_eq!(server.purge(name).map(|(versions, _)| versions.len()), Some(1));
        assert!(server.has_old(name));
        assert!(server.purge(name).is_none(), "no purge has begun");
    }
}
