//! Loading, replacing and asking about code.

use crate::process::wait_for_schedulers;
use std::sync::Arc;
use swarmrt_beam::file::{BeamFile, DebugFrame, decompressed};
use swarmrt_machine::code::debug::{Called, Place, ValuePlace};
use swarmrt_machine::code::{HasOldVersion, ModuleCode, Prepared, Purge};
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::etf::{self, DecodeOptions};
use swarmrt_term::{Alloc, Atom, Mfa, Release, Term, am, atom, map};

/// Modules between `prepare_loading` and `finish_loading`.
type Waiting = Resources<ModuleCode>;

fn module_name(term: Term) -> Result<Atom, BifExit> {
    term.as_atom().ok_or(BifExit::BADARG)
}

#[bif("erts_internal:prepare_loading/2")]
fn prepare_loading(p: &mut Process, module: Term, binary: Term) -> BifResult {
    let name = module_name(module)?;
    let bytes = binary.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
    let result = p.vm.code.prepare(&bytes.to_bytes());
    let prepared = match result {
        Ok(Prepared(prepared)) if prepared.name == name => prepared,
        Ok(Prepared(prepared)) => {
            report(p, name, &format!("the module's name is {}", prepared.name));
            return Ok(p.tuple(&[Term::atom(am::ERROR), Term::atom(am::BADFILE)]));
        }
        Err(error) => {
            report(p, name, &error.0);
            return Ok(p.tuple(&[Term::atom(am::ERROR), Term::atom(am::BADFILE)]));
        }
    };
    let waiting = p.vm.extension::<Waiting>();
    Ok(waiting.add(p, prepared))
}

/// Says in the log why a file was not loaded.
fn report(p: &mut Process, module: Atom, why: &str) {
    let format = "Loading of ~w failed: ~ts~n";
    let why = p.string(why);
    swarmrt_machine::process::exception::log(
        p.vm,
        p.pid(),
        p.group_leader,
        format,
        &[Term::atom(module), why],
    );
}

fn waiting(p: &Process, reference: Term) -> Option<Arc<ModuleCode>> {
    p.vm.extension::<Waiting>().get(reference)
}

#[bif("erlang:has_prepared_code_on_load/1")]
fn has_prepared_code_on_load(p: &mut Process, reference: Term) -> BifResult {
    let module = waiting(p, reference).ok_or(BifExit::BADARG)?;
    Ok(Term::bool(module.on_load.is_some()))
}

/// Processes that were made runnable before go first, once, if they are of no lower priority. In OTP
/// a change of code waits for all schedulers, which would make loading slow here.
fn let_others_go_first(p: &mut Process) -> Result<(), BifExit> {
    if p.bif_state.take().is_some() {
        return Ok(());
    }
    p.bif_state = Some(Box::new(()));
    Err(BifExit::Yield)
}

#[bif("erlang:finish_loading/1")]
fn finish_loading(p: &mut Process, list: Term) -> BifResult {
    let references = list.list_to_vec().ok_or(BifExit::BADARG)?;
    let modules: Option<Vec<Arc<ModuleCode>>> =
        references.iter().map(|&reference| waiting(p, reference)).collect();
    let modules = modules.ok_or(BifExit::BADARG)?;
    if modules.len() > 1 && modules.iter().any(|module| module.on_load.is_some()) {
        return Err(BifExit::SYSTEM_LIMIT);
    }
    let_others_go_first(p)?;
    let _permission = p.change_code()?;
    let old: Vec<Term> = modules
        .iter()
        .filter(|module| p.vm.code.must_be_purged(module))
        .map(|module| Term::atom(module.name))
        .collect();
    if !old.is_empty() {
        let old = p.list(&old);
        return Ok(p.tuple(&[Term::atom(am::NOT_PURGED), old]));
    }
    for (module, reference) in modules.iter().zip(&references) {
        if p.vm.finish_loading(module).is_err() {
            let names = p.list(&[Term::atom(module.name)]);
            return Ok(p.tuple(&[Term::atom(am::NOT_PURGED), names]));
        }
        p.vm.extension::<Waiting>().remove(*reference);
    }
    let on_load: Vec<Term> = modules
        .iter()
        .filter(|module| module.on_load.is_some())
        .map(|module| Term::atom(module.name))
        .collect();
    if !on_load.is_empty() {
        let on_load = p.list(&on_load);
        return Ok(p.tuple(&[Term::atom(am::ON_LOAD), on_load]));
    }
    Ok(Term::atom(am::OK))
}

#[bif("erlang:call_on_load_function/1")]
fn call_on_load_function(p: &mut Process, module: Term) -> BifResult {
    let name = module_name(module)?;
    let slot = p.vm.code.slot(name).ok_or(BifExit::BADARG)?;
    let module = slot.on_load.ok_or(BifExit::BADARG)?;
    let function = module.on_load.ok_or(BifExit::BADARG)?;
    let entry = module.code.functions[function as usize].entry;
    let export = p.vm.code.unnamed_export(&module, entry);
    p.trap(export, &[])
}

#[bif("erlang:finish_after_on_load/2")]
fn finish_after_on_load(p: &mut Process, module: Term, keep: Term) -> BifResult {
    let (name, keep) = (module_name(module)?, keep.as_bool().ok_or(BifExit::BADARG)?);
    let _permission = p.change_code()?;
    if p.vm.finish_on_load(name, keep) { Ok(Term::bool(true)) } else { Err(BifExit::BADARG) }
}

#[bif("erlang:module_loaded/1")]
fn module_loaded(p: &mut Process, module: Term) -> BifResult {
    let name = module_name(module)?;
    Ok(Term::bool(p.vm.code.current(name).is_some()))
}

#[bif("erlang:loaded/0")]
fn loaded(p: &mut Process) -> BifResult {
    let names: Vec<Term> = p.vm.code.loaded().into_iter().map(Term::atom).collect();
    Ok(p.list(&names))
}

/// OTP's preloaded modules and the first release that has them, in the order in which they are
/// loaded.
const PRE_LOADED: [(&str, Release); 22] = [
    ("erts_code_purger", Release::R25),
    ("erl_init", Release::R25),
    ("init", Release::R25),
    ("prim_buffer", Release::R25),
    ("prim_eval", Release::R25),
    ("prim_inet", Release::R25),
    ("prim_file", Release::R25),
    ("zlib", Release::R25),
    ("socket_registry", Release::R25),
    ("prim_socket", Release::R25),
    ("prim_net", Release::R25),
    ("prim_zip", Release::R25),
    ("erl_prim_loader", Release::R25),
    ("erlang", Release::R25),
    ("erts_internal", Release::R25),
    ("erl_tracer", Release::R25),
    ("erts_literal_area_collector", Release::R25),
    ("erts_trace_cleaner", Release::R27),
    ("erts_dirty_process_signal_handler", Release::R25),
    ("atomics", Release::R25),
    ("counters", Release::R25),
    ("persistent_term", Release::R25),
];

/// The preloaded modules of a release.
pub fn pre_loaded(release: Release) -> impl DoubleEndedIterator<Item = &'static str> {
    PRE_LOADED.into_iter().filter(move |&(_, since)| release >= since).map(|(name, _)| name)
}

#[bif("erlang:pre_loaded/0")]
fn pre_loaded_0(p: &mut Process) -> BifResult {
    // The last one first, as OTP tells them.
    let names: Vec<Term> =
        pre_loaded(p.vm.release()).rev().map(|name| Term::atom(Atom::new(name))).collect();
    Ok(p.list(&names))
}

#[bif("erlang:function_exported/3")]
fn function_exported(p: &mut Process, module: Term, function: Term, arity: Term) -> BifResult {
    let (Some(module), Some(function), Some(arity)) =
        (module.as_atom(), function.as_atom(), arity.as_small())
    else {
        return Err(BifExit::BADARG);
    };
    let Ok(arity) = u32::try_from(arity) else { return Ok(Term::bool(false)) };
    let export = p.vm.code.existing_export(Mfa { module, function, arity });
    Ok(Term::bool(export.is_some_and(|export| export.is_loaded() || export.bif.is_some())))
}

#[bif("erlang:delete_module/1")]
fn delete_module(p: &mut Process, module: Term) -> BifResult {
    let name = module_name(module)?;
    // As in OTP, where a change of code waits for all of them.
    wait_for_schedulers(p, Term::bool(true))?;
    let _permission = p.change_code()?;
    match p.vm.delete_module(name) {
        Ok(true) => Ok(Term::bool(true)),
        Ok(false) => Ok(Term::atom(am::UNDEFINED)),
        Err(HasOldVersion) => {
            let text = "Module ~w must be purged before deleting~n~n";
            swarmrt_machine::process::exception::log(
                p.vm,
                p.pid(),
                p.group_leader,
                text,
                &[module],
            );
            Err(BifExit::BADARG)
        }
    }
}

#[bif("erlang:check_old_code/1")]
fn check_old_code(p: &mut Process, module: Term) -> BifResult {
    let name = module_name(module)?;
    Ok(Term::bool(p.vm.code.has_old(name)))
}

#[bif("erts_internal:purge_module/2")]
fn purge_module(p: &mut Process, module: Term, operation: Term) -> BifResult {
    if p.vm.names.whereis(atom!("erts_code_purger")) != Some(p.pid()) {
        return Err(BifExit::NOTSUP);
    }
    let (name, operation) = (module_name(module)?, operation.as_atom().ok_or(BifExit::BADARG)?);
    let _permission = p.change_code()?;
    Ok(Term::bool(match operation.name() {
        "prepare" => p.vm.code.prepare_purge(name, Purge::Old),
        "prepare_on_load" => p.vm.code.prepare_purge(name, Purge::Failed),
        "abort" => {
            resume_callers(p, p.vm.code.abort_purge(name));
            false
        }
        "complete" => match p.vm.code.purge(name) {
            Some((versions, callers)) => {
                resume_callers(p, callers);
                for version in versions {
                    if let Some(library) = version.natives.library() {
                        library.unload();
                    }
                    let ranges = version.literals.ranges().collect();
                    p.vm.retirement.add(p.vm, ranges, Box::new(version));
                }
                true
            }
            // It was not prepared.
            None => return Err(BifExit::BADARG),
        },
        _ => return Err(BifExit::BADARG),
    }))
}

/// A purge is over: those that called funs of the old version go on.
fn resume_callers(p: &Process, callers: Vec<u64>) {
    callers.into_iter().for_each(|pid| swarmrt_machine::process::resume(p.vm, pid));
}

/// Whether the calling process uses old code of the module; others are asked by a request.
#[bif("erts_internal:check_process_code/1")]
fn check_process_code(p: &mut Process, module: Term) -> BifResult {
    let module = module.as_atom().ok_or(BifExit::BADARG)?;
    // The running function is OTP's: what counts is where it and its callers return to.
    let slot = p.vm.code.slot(module).unwrap_or_default();
    let uses = slot.leaving().any(|version| returns_into(p, &version.range()));
    Ok(Term::bool(uses))
}

fn returns_into(p: &Process, code: &std::ops::Range<usize>) -> bool {
    let mut found = false;
    p.return_addresses(|address| {
        found = code.contains(&address);
        !found
    });
    found
}

/// Whether the process runs or would return into the old version of a module. It is between turns.
/// A fun does not count, as in OTP: once its code is purged, it is a fun that leads nowhere.
pub fn uses_old_code(p: &mut Process, module: Atom) -> bool {
    let slot = p.vm.code.slot(module).unwrap_or_default();
    slot.leaving().any(|version| {
        let range = version.range();
        range.contains(&(p.ip as usize)) || returns_into(p, &range)
    })
}

#[bif("erts_internal:check_dirty_process_code/2")]
fn check_dirty_process_code(_p: &mut Process, _pid: Term, _module: Term) -> BifResult {
    Ok(Term::atom(am::NORMAL))
}

fn external_term(p: &mut Process, bytes: &[u8]) -> Term {
    if bytes.is_empty() {
        return Term::NIL;
    }
    let resolver = p.vm.code.term_resolver();
    etf::decode(bytes, &mut p.heap, &resolver, DecodeOptions::default())
        .map_or(Term::NIL, |(term, _)| term)
}

fn function_list(p: &mut Process, functions: impl Iterator<Item = (Atom, u32)>) -> Term {
    let pairs: Vec<Term> = functions
        .map(|(name, arity)| p.tuple(&[Term::atom(name), Term::small(i64::from(arity))]))
        .collect();
    p.list(&pairs)
}

fn module_item(p: &mut Process, module: &ModuleCode, item: Atom) -> Option<Term> {
    Some(match item.name() {
        "module" => Term::atom(module.name),
        "exports" => {
            // As in OTP, in the order in which the names were first heard of.
            let mut exports: Vec<(u32, Atom, u32)> = Vec::with_capacity(module.exports.len());
            for &(function, arity, _) in &module.exports {
                let number =
                    p.vm.code
                        .existing_export(Mfa { module: module.name, function, arity })
                        .map_or(0, |export| export.number);
                exports.push((number, function, arity));
            }
            exports.sort_by_key(|&(number, ..)| number);
            function_list(p, exports.into_iter().map(|(_, name, arity)| (name, arity)))
        }
        "functions" => function_list(
            p,
            module.code.functions.iter().map(|function| (function.name, function.arity)),
        ),
        "nifs" => {
            let functions = module
                .code
                .functions
                .iter()
                .enumerate()
                .filter(|(number, _)| module.natives.get(*number).is_some());
            function_list(p, functions.map(|(_, function)| (function.name, function.arity)))
        }
        "attributes" => external_term(p, &module.attributes),
        "compile" => external_term(p, &module.compile_info),
        "md5" => p.binary(&module.md5),
        "native" => Term::bool(false),
        "native_addresses" => Term::NIL,
        _ => return None,
    })
}

#[bif("erlang:get_module_info/1")]
fn get_module_info_1(p: &mut Process, module: Term) -> BifResult {
    let name = module_name(module)?;
    let module = p.vm.code.current(name).ok_or(BifExit::BADARG)?;
    let mut pairs = Vec::new();
    for item in ["module", "exports", "attributes", "compile", "md5"] {
        let item = Atom::new(item);
        if let Some(value) = module_item(p, &module, item) {
            pairs.push(p.tuple(&[Term::atom(item), value]));
        }
    }
    Ok(p.list(&pairs))
}

#[bif("erlang:get_module_info/2")]
fn get_module_info_2(p: &mut Process, module: Term, item: Term) -> BifResult {
    let (name, item) = (module_name(module)?, item.as_atom().ok_or(BifExit::BADARG)?);
    let module = p.vm.code.current(name).ok_or(BifExit::BADARG)?;
    module_item(p, &module, item).ok_or(BifExit::BADARG)
}

#[bif("erlang:make_fun/3")]
fn make_fun(p: &mut Process, module: Term, function: Term, arity: Term) -> BifResult {
    let (Some(module), Some(function), Some(arity)) =
        (module.as_atom(), function.as_atom(), arity.as_small())
    else {
        return Err(BifExit::BADARG);
    };
    let arity = u32::try_from(arity).ok().filter(|&arity| arity <= 255).ok_or(BifExit::BADARG)?;
    let export = p.vm.code.export(Mfa { module, function, arity });
    Ok(p.export_fun(&raw const export.mfa))
}

#[bif("erlang:fun_info_mfa/1")]
fn fun_info_mfa(p: &mut Process, fun: Term) -> BifResult {
    let mfa = if let Some(external) = fun.as_export_fun() {
        *external.mfa()
    } else {
        let identity = fun.as_local_fun().ok_or(BifExit::BADARG)?.identity();
        let function = p.vm.code.fun_name(identity).unwrap_or(identity.module);
        Mfa { module: identity.module, function, arity: u32::from(identity.arity) }
    };
    Ok(p.mfa(mfa))
}

/// A chunk of a `.beam` file, or `undefined`.
#[bif("erts_internal:beamfile_chunk/2")]
fn beamfile_chunk(p: &mut Process, binary: Term, name: Term) -> BifResult {
    let bits = binary.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
    let bytes = bits.to_bytes();
    let name: Option<Vec<u8>> = name.list_to_vec().and_then(|list| {
        list.iter().map(|c| c.as_small().and_then(|c| u8::try_from(c).ok())).collect()
    });
    let name: [u8; 4] = name.and_then(|name| name.try_into().ok()).ok_or(BifExit::BADARG)?;
    let chunks = BeamFile::chunks(&bytes).unwrap_or_default();
    let found =
        chunks.into_iter().find(|(id, _)| *id == name).and_then(|(_, range)| bytes.get(range));
    Ok(found.map_or(Term::atom(am::UNDEFINED), |chunk| p.binary(chunk)))
}

#[bif("erts_internal:beamfile_module_md5/1")]
fn beamfile_module_md5(p: &mut Process, binary: Term) -> BifResult {
    let bits = binary.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
    let bytes = bits.to_bytes();
    let md5 = decompressed(&bytes)
        .and_then(|bytes| BeamFile::open(&bytes, Vec::new(), None).map(|(file, _)| file.md5));
    Ok(md5.map_or(Term::atom(am::UNDEFINED), |md5| p.binary(&md5)))
}

#[bif("erts_literal_area_collector:release_area_switch/0")]
fn release_area_switch(p: &mut Process) -> BifResult {
    // The machine gives literals back by itself (see `swarmrt_machine::code::retire`): there is
    // nothing to switch to, but the caller is not idle until all is given back.
    if p.vm.retirement.is_idle_or_wake(p.id()) { Ok(Term::bool(false)) } else { Err(BifExit::Wait) }
}

// ---- Coverage (OTP 27 and later) ----

/// Coverage by the machine itself is not supported; `cover` then changes the code.
#[bif("code:coverage_support/0", since = 27)]
fn coverage_support(_p: &mut Process) -> BifResult {
    Ok(Term::bool(false))
}

#[bif("code:get_coverage_mode/0", since = 27)]
fn get_coverage_mode(_p: &mut Process) -> BifResult {
    Ok(Term::atom(am::NONE))
}

#[bif("code:get_coverage_mode/1", since = 27)]
fn get_coverage_mode_1(p: &mut Process, module: Term) -> BifResult {
    let name = module_name(module)?;
    p.vm.code.current(name).map(|_| Term::atom(am::NONE)).ok_or(BifExit::BADARG)
}

/// The mode before. There is only `none`.
#[bif("code:set_coverage_mode/1", since = 27)]
fn set_coverage_mode(_p: &mut Process, mode: Term) -> BifResult {
    if mode == Term::atom(am::NONE) { Ok(mode) } else { Err(BifExit::BADARG) }
}

/// No module is loaded with coverage.
#[bif("code:get_coverage/2", since = 27)]
fn get_coverage(_p: &mut Process, _level: Term, _module: Term) -> BifResult {
    Err(BifExit::BADARG)
}

#[bif("code:reset_coverage/1", since = 27)]
fn reset_coverage(_p: &mut Process, _module: Term) -> BifResult {
    Err(BifExit::BADARG)
}

/// `[{Line, #{frame_size := Words | none | entry, vars := [{Name, Place}], calls := [Function]}}]`;
/// `none` where the module's file has no debug information.
#[bif("code:get_debug_info/1", since = 28)]
fn get_debug_info(p: &mut Process, module: Term) -> BifResult {
    let module = p.vm.code.current(module_name(module)?).ok_or(BifExit::BADARG)?;
    let Some(debug) = &module.debug else { return Ok(Term::atom(am::NONE)) };
    let mut list = Term::NIL;
    for place in debug.places.iter().rev() {
        let Some(line) = place.line else { continue };
        let known = debug_place(p, place);
        let item = p.tuple(&[Term::small(line.into()), known]);
        list = p.cons(item, list);
    }
    Ok(list)
}

fn debug_place(p: &mut Process, place: &Place) -> Term {
    let frame = match place.frame {
        DebugFrame::None => Term::atom(am::NONE),
        DebugFrame::Entry => Term::atom(atom!("entry")),
        DebugFrame::Words(words) => Term::small(words.into()),
    };
    let variables: Vec<Term> = place
        .variables
        .iter()
        .map(|&(name, value)| {
            let (kind, value) = match value {
                ValuePlace::X(number) => (atom!("x"), Term::small(number.into())),
                ValuePlace::Y(number) => (atom!("y"), Term::small(number.into())),
                ValuePlace::Value(value) => (atom!("value"), value),
            };
            let value = p.tuple(&[Term::atom(kind), value]);
            p.tuple(&[name, value])
        })
        .collect();
    let calls: Vec<Term> = place
        .calls
        .iter()
        .map(|&call| match call {
            Called::Remote(module, name, arity) => {
                p.tuple(&[module, name, Term::small(arity.into())])
            }
            Called::Local(name, arity) => p.tuple(&[name, Term::small(arity.into())]),
            Called::Variable(name) => name,
        })
        .collect();
    let (variables, calls) = (p.list(&variables), p.list(&calls));
    let pairs = [(atom!("frame_size"), frame), (atom!("vars"), variables), (atom!("calls"), calls)]
        .map(|(key, value)| (Term::atom(key), value));
    map::from_pairs(&mut p.heap, &pairs)
}

#[bif("erl_debugger:supported/0", since = 28)]
fn debugger_supported(_p: &mut Process) -> BifResult {
    Ok(Term::bool(false))
}
