//! One version of a module, from the bytes of its file to instructions.

use crate::bif::BifTable;
use crate::code::cache::{CodeCache, Digest};
use crate::code::debug::DebugInfo;
use crate::code::natives::{Native, Natives};
use crate::code::server::CodeResolver;
use crate::code::{CodeServer, Export, FunEntry};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use swarmrt_beam::error::BeamError;
use swarmrt_beam::file::{BeamFile, CodeReader, LineTable, Op, Operand, decompressed};
use swarmrt_beam::genop::Opcode;
use swarmrt_beam::instr::{ExportPtr, FunPtr, Instr, NativePtr};
use swarmrt_beam::specialise::{CellKind, Function, Layout, Linker, Specialised, Specialiser};
use swarmrt_beam::verify::{Verifier, VerifyError};
use swarmrt_heap::LiteralArea;
use swarmrt_term::etf::{self, DecodeOptions};
use swarmrt_term::{Alloc, Atom, FragmentHeap, FunIdentity, Mfa, Term, am, atom};

/// A version of a module that can run.
pub struct ModuleCode {
    pub name: Atom,
    pub code: Specialised,
    pub literals: LiteralArea,
    /// The native records that it defines.
    pub records: Vec<RecordEntry>,
    /// Name, arity, and the number of its entry instruction.
    pub exports: Vec<(Atom, u32, u32)>,
    pub funs: Vec<&'static FunEntry>,
    pub natives: Natives,
    pub lines: Option<LineTable>,
    /// See [`DebugInfo`].
    pub debug: Option<DebugInfo>,
    pub attributes: Vec<u8>,
    pub compile_info: Vec<u8>,
    pub md5: [u8; 16],
    /// What its file is known by, where something is kept from run to run.
    pub digest: Option<Digest>,
    /// The number after that of the last atom that it names.
    pub atoms_end: u32,
    pub on_load: Option<u32>,
    /// Set once the module's `on_load` function has run, or it has none.
    pub ready: AtomicBool,
    /// What the engines keep of its functions, their machine code above all: goes when the module
    /// goes.
    pub native: std::sync::OnceLock<Box<dyn std::any::Any + Send + Sync>>,
    /// How many of its functions have a breakpoint.
    pub breakpoints: AtomicU32,
    fun_entries: Vec<u32>,
}

/// A native record that a module defines; both terms are literals of the module.
#[derive(Clone, Copy)]
pub struct RecordEntry {
    pub name: Atom,
    /// See [`Record`](swarmrt_term::Record).
    pub definition: Term,
    /// The tuple of default values; `none` where there is no default.
    pub defaults: Term,
}

/// Memory that is used for one module after the other.
#[derive(Default)]
pub(crate) struct Scratch {
    ops: Vec<Op>,
    code: Vec<Instr>,
}

/// More is not kept.
const SCRATCH_BYTES_MAX: usize = 1 << 20;

impl Scratch {
    fn bytes(&self) -> usize {
        self.ops.capacity() * size_of::<Op>() + self.code.capacity() * size_of::<Instr>()
    }
}

/// Where an address is in the source.
#[derive(Clone, Copy)]
pub struct Location<'a> {
    pub mfa: Mfa,
    /// File and line, where known; an empty file is the module's own.
    pub source: Option<(&'a str, u32)>,
}

/// Why a module cannot be loaded, in words.
#[derive(Debug)]
pub struct LoadError(pub String);

/// A module that is ready to be put in place.
pub struct Prepared(pub Arc<ModuleCode>);

struct MachineLinker<'a> {
    server: &'a CodeServer,
    funs: &'a [&'static FunEntry],
    natives: &'a Natives,
    /// While the module is being loaded.
    literals: Option<&'a mut LiteralArea>,
    bigs: Vec<(Vec<u8>, Term)>,
}

impl Linker for MachineLinker<'_> {
    fn no_code(&self, cell: CellKind) -> u64 {
        self.server.no_code(cell)
    }
    fn export(&mut self, mfa: Mfa) -> ExportPtr {
        ExportPtr(std::ptr::from_ref(self.server.export(mfa)) as u64)
    }
    fn bif(&self, mfa: Mfa) -> Option<u16> {
        self.server.bif_number(mfa)
    }
    fn is_guard(&self, bif: u16) -> bool {
        self.server.is_guard(bif)
    }
    fn fun(&mut self, lambda: u32) -> FunPtr {
        self.funs[lambda as usize].ptr()
    }
    fn native(&self, function: u32, is_marked: &dyn Fn() -> bool) -> Option<NativePtr> {
        self.natives.place(function, is_marked)
    }
    fn big(&mut self, bytes: &[u8]) -> Term {
        if let Some((_, term)) = self.bigs.iter().find(|(known, _)| known == bytes) {
            return *term;
        }
        let literals = self
            .literals
            .as_mut()
            .expect("functions with big integers are specialised when their module is loaded");
        let term = big_from_bytes(literals, bytes);
        self.bigs.push((bytes.to_vec(), term));
        term
    }
    fn tuple(&mut self, elements: &[Term]) -> Term {
        let literals = self.literals.as_mut().expect(
            "functions with literals of their own are specialised when their module is loaded",
        );
        literals.tuple(elements)
    }
}

/// Slots for native bodies, if the module loads a library.
fn natives_of(file: &BeamFile, atoms: &[Atom], bytes: &[u8]) -> Result<Natives, BeamError> {
    let load_nif = Mfa { module: am::ERLANG, function: atom!("load_nif"), arity: 2 };
    let names = |index: u32| atoms[index as usize];
    let mut imports = file.imports.iter().map(|import| Mfa {
        module: names(import.module),
        function: names(import.function),
        arity: import.arity,
    });
    if !imports.any(|import| import == load_nif) {
        return Ok(Natives::default());
    }
    // Where no function is marked, every one may have a native body: `prim_net` of OTP, for one.
    let all = !marks_natives(bytes)?;
    Ok(Natives::new(file.code.function_count as usize, all))
}

/// Whether some function of a file is marked as one that a native body may replace.
fn marks_natives(bytes: &[u8]) -> Result<bool, BeamError> {
    let (_, mut functions) = BeamFile::open(bytes, Vec::new(), Some([0; 16]))?;
    while let Some(function) = functions.next_function()? {
        if function.iter().any(|op| op.opcode == Opcode::NifStart) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The definitions and default values of a file's native records. `terms` are its literals.
fn record_literals(
    file: &BeamFile,
    atoms: &[Atom],
    terms: &[Term],
    literals: &mut LiteralArea,
) -> Vec<RecordEntry> {
    let atom = |index: u32| atoms[index as usize];
    let records = file.records.iter();
    records
        .map(|record| {
            let fields: Vec<Term> =
                record.fields.iter().map(|(field, _)| Term::atom(atom(*field))).collect();
            let defaults: Vec<Term> = record
                .fields
                .iter()
                .map(|(_, value)| match value {
                    Some(Operand::Atom(index)) => Term::atom(atom(*index)),
                    Some(Operand::Int(value)) => literals.int(*value),
                    Some(Operand::Literal(index)) => terms[*index as usize],
                    Some(_) => Term::NIL,
                    None => Term::NONE,
                })
                .collect();
            let (module, name) = (Term::atom(atoms[1]), Term::atom(atom(record.name)));
            RecordEntry {
                name: atom(record.name),
                definition: literals.record_definition(module, name, record.is_exported, &fields),
                defaults: literals.tuple(&defaults),
            }
        })
        .collect()
}

/// Refuses a chunk of a file that is to be an external term, if there is any, and is not.
fn check_term(what: &str, bytes: &[u8], resolver: &CodeResolver<'_>) -> Result<(), LoadError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let decoded = etf::decode(bytes, &mut FragmentHeap::new(), resolver, DecodeOptions::default());
    decoded.map(drop).map_err(|error| LoadError(format!("{what}: {error:?}")))
}

/// An integer from two's complement, big endian.
fn big_from_bytes(literals: &mut LiteralArea, bytes: &[u8]) -> Term {
    let negative = bytes.first().is_some_and(|&byte| byte & 0x80 != 0);
    let mut digits = vec![0u64; bytes.len().div_ceil(8) + 1];
    let fill = if negative { u64::MAX } else { 0 };
    digits.fill(fill);
    for (position, &byte) in bytes.iter().rev().enumerate() {
        let shift = (position % 8) * 8;
        digits[position / 8] = (digits[position / 8] & !(0xff << shift)) | u64::from(byte) << shift;
    }
    if negative {
        let mut carry = true;
        for digit in &mut digits {
            let (value, overflow) = (!*digit).overflowing_add(u64::from(carry));
            *digit = value;
            carry = overflow;
        }
    }
    literals.big(negative, &digits)
}

/// The atoms of a file, by their numbers.
fn atoms_of(file: &BeamFile) -> Result<Vec<Atom>, LoadError> {
    let atom = |name: &String| {
        Atom::try_new(name).map_err(|error| LoadError(format!("atom '{name}': {error:?}")))
    };
    file.atoms.iter().map(atom).collect()
}

/// The literals of a file, as terms among those of the module.
fn literals_of(
    file: &BeamFile,
    literals: &mut LiteralArea,
    resolver: &CodeResolver<'_>,
) -> Result<Vec<Term>, LoadError> {
    let encoded = file.literals.iter().enumerate();
    encoded
        .map(|(number, literal)| {
            etf::decode(literal, literals, resolver, DecodeOptions::default())
                .map(|(term, _)| term)
                .map_err(|error| LoadError(format!("literal {number}: {error:?}")))
        })
        .collect()
}

/// The entries of a file's funs.
fn funs_of(server: &CodeServer, file: &BeamFile, module: Atom) -> Vec<&'static FunEntry> {
    let lambdas = file.lambdas.iter();
    lambdas
        .map(|lambda| {
            let identity = FunIdentity {
                module,
                index: lambda.index,
                old_index: lambda.index,
                old_uniq: lambda.old_uniq,
                uniq: file.md5,
                arity: lambda.arity.saturating_sub(lambda.num_free) as u8,
            };
            server.fun_entry(identity, lambda.num_free)
        })
        .collect()
}

fn refused(error: BeamError) -> LoadError {
    LoadError(error.to_string())
}

/// The functions of a file, which are read one by one, and what is known of it.
struct Functions<'a, 'b> {
    server: &'a CodeServer,
    file: &'a BeamFile,
    functions: CodeReader<'b>,
    atoms: &'a [Atom],
    terms: Vec<Term>,
    /// Room for instructions, to be used again.
    instructions: Vec<Instr>,
}

impl Functions<'_, '_> {
    /// Specialises none of a file that was verified in an earlier run, and has this layout.
    fn deferred(
        self,
        imports: BeamFile,
        layout: Layout,
        linker: &mut MachineLinker<'_>,
    ) -> Result<Specialised, LoadError> {
        let source = BeamFile {
            lambdas: self.file.lambdas.clone(),
            code: self.file.code.clone(),
            ..imports
        };
        let (atoms, terms) = (self.atoms.to_vec(), self.terms);
        let code = Specialised::deferred(source, &self.functions, atoms, terms, layout, linker)
            .map_err(refused)?;
        *self.server.scratch.lock() =
            Some(Scratch { ops: self.functions.into_ops(), code: self.instructions });
        Ok(code)
    }

    /// Verifies and specialises all of them; `note` is told where they lie.
    fn verified(
        mut self,
        linker: &mut MachineLinker<'_>,
        note: Option<impl FnOnce(&Layout)>,
    ) -> Result<Specialised, LoadError> {
        let unsafe_code = |error: VerifyError| LoadError(error.to_string());
        let mut verifier = Verifier::new(self.file).map_err(unsafe_code)?;
        let mut specialiser =
            Specialiser::new(self.file, self.atoms, &self.terms, linker, self.instructions);
        while let Some(function) = self.functions.next_function().map_err(refused)? {
            let amendments = verifier.function(function).map_err(unsafe_code)?;
            specialiser.function(function, &amendments).map_err(refused)?;
        }
        verifier.finish(|offset| self.functions.function_at(offset)).map_err(unsafe_code)?;
        if let Some(note) = note {
            note(&specialiser.layout());
        }
        let (code, instructions) = specialiser.finish();
        let scratch = Scratch { ops: self.functions.into_ops(), code: instructions };
        *self.server.scratch.lock() =
            Some(scratch).filter(|scratch| scratch.bytes() <= SCRATCH_BYTES_MAX);
        Ok(code)
    }
}

/// Enters the names of the functions that the module exports.
///
/// `module_info(exports)` lists names in the order in which they were first heard of. In OTP a
/// module's own names come before those that it calls, and the last of the file first; eunit runs
/// tests in this order.
fn name_exports(server: &CodeServer, file: &BeamFile, atoms: &[Atom]) {
    for export in file.exports.iter().rev() {
        server.export(Mfa {
            module: atoms[1],
            function: atoms[export.function as usize],
            arity: export.arity,
        });
    }
}

/// What of the file functions need that are verified and specialised when they are first called.
fn take_for_later(file: &mut BeamFile) -> BeamFile {
    BeamFile {
        imports: std::mem::take(&mut file.imports),
        strings: std::mem::take(&mut file.strings),
        records: std::mem::take(&mut file.records),
        ..BeamFile::default()
    }
}

impl ModuleCode {
    /// Parses, verifies and links a file.
    pub(crate) fn prepare(server: &CodeServer, bytes: &[u8]) -> Result<ModuleCode, LoadError> {
        let scratch = server.scratch.lock().take().unwrap_or_default();
        let cache = server.cache.get();
        let digest = cache.map(|_| CodeCache::digest(bytes));
        let file_bytes = bytes.len();
        let bytes = decompressed(bytes).map_err(refused)?;
        let layout = cache.zip(digest).and_then(|(cache, digest)| cache.layout(&digest));
        let md5 = layout.as_ref().map(|layout| layout.md5);
        let (mut file, functions) = BeamFile::open(&bytes, scratch.ops, md5).map_err(refused)?;
        let atoms = atoms_of(&file)?;
        let name = atoms[1];
        let mut literals = LiteralArea::new();
        let resolver = server.term_resolver();
        let mut terms = literals_of(&file, &mut literals, &resolver)?;
        let records = record_literals(&file, &atoms, &terms, &mut literals);
        let debug = DebugInfo::of(server, &mut file, &bytes, &atoms, &terms, &mut literals)?;
        terms.extend(records.iter().flat_map(|record| [record.definition, record.defaults]));
        let named = atoms.iter().copied().chain(terms.iter().filter_map(|term| term.as_atom()));
        let atoms_end = named.map(|atom| atom.index() + 1).max().unwrap_or(0);
        let funs = funs_of(server, &file, name);
        name_exports(server, &file, &atoms);
        let natives = natives_of(&file, &atoms, &bytes).map_err(refused)?;
        let mut linker = MachineLinker {
            server,
            funs: &funs,
            natives: &natives,
            literals: Some(&mut literals),
            bigs: Vec::new(),
        };
        let imports =
            if layout.is_some() { take_for_later(&mut file) } else { BeamFile::default() };
        let instructions = scratch.code;
        let functions =
            Functions { server, file: &file, functions, atoms: &atoms, terms, instructions };
        let mut code = match layout {
            Some(layout) => functions.deferred(imports, layout, &mut linker)?,
            None => {
                check_term("attributes", &file.attributes, &resolver)?;
                check_term("compile information", &file.compile_info, &resolver)?;
                let note = cache.zip(digest).map(|(cache, digest)| {
                    move |layout: &Layout| cache.note_verified(digest, layout, file_bytes)
                });
                functions.verified(&mut linker, note)?
            }
        };
        let entry_of = |label: u32| code.labels[label as usize];
        let exports = file
            .exports
            .iter()
            .map(|export| (atoms[export.function as usize], export.arity, entry_of(export.label)))
            .collect();
        let fun_entries: Vec<u32> =
            file.lambdas.iter().map(|lambda| entry_of(lambda.label)).collect();
        // Nobody asks again.
        code.labels = Vec::new();
        Ok(ModuleCode {
            name,
            on_load: code.on_load,
            ready: AtomicBool::new(code.on_load.is_none()),
            native: std::sync::OnceLock::new(),
            code,
            literals,
            records,
            exports,
            funs,
            natives,
            lines: file.lines,
            debug,
            attributes: file.attributes,
            compile_info: file.compile_info,
            md5: file.md5,
            digest,
            atoms_end,
            breakpoints: AtomicU32::new(0),
            fun_entries,
        })
    }

    /// The number of its function of that name.
    pub fn function_number(&self, name: Atom, arity: u32) -> Option<usize> {
        self.code
            .functions
            .iter()
            .position(|function| function.name == name && function.arity == arity)
    }

    /// Whether a library may have a native body for its function with this number.
    pub fn may_be_native(&self, server: &CodeServer, number: usize) -> bool {
        self.load_function(server, number);
        matches!(
            self.code.code()[self.code.functions[number].entry as usize + 1],
            Instr::NativeBody { .. }
        )
    }

    /// Gives its functions the native bodies that are part of the machine. `false` when there are
    /// none for the module.
    pub fn link_library(&self, bifs: &BifTable) -> bool {
        let Some(library) = bifs.library(self.name) else { return false };
        for entry in library {
            if let Some(number) = self.function_number(Atom::new(entry.name), entry.arity.into()) {
                self.natives.fill(number, Native::Builtin(entry));
            }
        }
        true
    }

    /// The addresses of its instructions.
    pub fn range(&self) -> std::ops::Range<usize> {
        let code = self.code.code();
        let start = code.as_ptr() as usize;
        start..start + std::mem::size_of_val(code)
    }
    /// The instruction past the cell with this number.
    pub fn past_cell(&self, number: u32) -> *const Instr {
        &raw const self.code.code()[number as usize + 1]
    }
    pub(crate) fn activate_funs(&self) {
        for (fun, &entry) in self.funs.iter().zip(&self.fun_entries) {
            fun.set_entry(self.past_cell(entry));
        }
    }
    /// Makes the funs that run this module's code lead nowhere. Returns them, with the address
    /// where each had its code.
    pub(crate) fn deactivate_funs(&self) -> Vec<(&'static FunEntry, usize)> {
        let range = self.range();
        let ours = |fun: &&FunEntry| range.contains(&(fun.entry() as usize));
        let mine: Vec<_> =
            self.funs.iter().copied().filter(ours).map(|fun| (fun, fun.entry() as usize)).collect();
        for (fun, _) in &mine {
            fun.set_entry(std::ptr::null());
        }
        mine
    }

    /// The function that an instruction (by its number) belongs to; `None` before the first
    /// function.
    pub fn function_at(&self, instr: u32) -> Option<&Function> {
        self.code.functions.get(self.number_at(instr)?)
    }
    /// Number of the function that an instruction belongs to; `None` before the first function.
    pub fn number_at(&self, instr: u32) -> Option<usize> {
        self.code.functions.partition_point(|function| function.start <= instr).checked_sub(1)
    }

    /// Specialises a function if that has not been done yet.
    ///
    /// # Panics
    /// When that is not possible, which was seen to be when the file was verified.
    pub fn load_function(&self, server: &CodeServer, number: usize) {
        if !self.code.is_loaded(number) {
            let mut linker = MachineLinker {
                server,
                funs: &self.funs,
                natives: &self.natives,
                literals: None,
                bigs: Vec::new(),
            };
            self.code
                .load(number, &mut linker)
                .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        }
    }

    /// The function and the source line at an address; `None` outside this module's code.
    pub fn locate(&self, address: usize) -> Option<Location<'_>> {
        let range = self.range();
        if !range.contains(&address) {
            return None;
        }
        let instr = ((address - range.start) / size_of::<Instr>()) as u32;
        let function = self.function_at(instr)?;
        let mfa = Mfa { module: self.name, function: function.name, arity: function.arity };
        let source = self.code.line_of(instr, function.start).and_then(|line| {
            let lines = self.lines.as_ref()?;
            let item = lines.items.get(line as usize).filter(|_| line != 0)?;
            Some((lines.files.get(item.file as usize).map_or("", String::as_str), item.line))
        });
        Some(Location { mfa, source })
    }

    /// The entry cell of the function that a fun of this module runs.
    pub fn fun_cell(&self, fun: FunPtr) -> Option<u32> {
        let index = self.funs.iter().position(|entry| entry.ptr() == fun)?;
        Some(self.fun_entries[index])
    }

    /// The fun that runs the function with this entry cell.
    pub fn fun_at(&self, cell: u32) -> Option<FunPtr> {
        let index = self.fun_entries.iter().position(|&entry| entry == cell)?;
        Some(self.funs[index].ptr())
    }

    /// The name of the function that a fun of this module runs.
    pub fn fun_name(&self, index: usize) -> Option<Atom> {
        let entry = *self.fun_entries.get(index)?;
        Some(self.function_at(entry)?.name)
    }

    /// The exported functions and the first instruction of each, past the entry cell.
    pub fn exports_of(&self) -> impl Iterator<Item = (Mfa, *const Instr)> + '_ {
        self.exports.iter().rev().map(|&(function, arity, entry)| {
            (Mfa { module: self.name, function, arity }, self.past_cell(entry))
        })
    }
}

impl CodeServer {
    pub(crate) fn exports_in_place(&self, module: &ModuleCode) {
        for (mfa, instr) in module.exports_of() {
            let export: &'static Export = self.export(mfa);
            export.set_entry(instr);
        }
    }
}
