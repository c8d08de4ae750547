//! Bytes as a `.beam` file, through all that a file goes through before it runs: parsing,
//! verifying, decoding of literals, translation. Whatever the verifier accepts has to be translated
//! (or refused in words) into instructions that can be printed, with every register, constant and
//! jump in its bounds: the translation asserts that.
//!
//! Mutations keep the framing of chunks, and most change single operands or instructions, so that
//! it is the verifier that they meet. Inputs and findings are plain `.beam` files.
#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target, fuzzer_mutate};
use std::collections::HashMap;
use std::fmt::Write;
use swarmrt_beam::file::{BeamFile, Op};
use swarmrt_beam::instr::{ExportPtr, FunPtr};
use swarmrt_beam::specialise::{CellKind, Linker, specialise};
use swarmrt_beam::verify::verify;
use swarmrt_fuzz::arena::{Arena, atom, decode_options};
use swarmrt_fuzz::chunks::{Chunks, normalised};
use swarmrt_fuzz::{Random, code};
use swarmrt_term::etf::{Resolver, decode};
use swarmrt_term::{Alloc, Atom, FragmentHeap, FunIdentity, Mfa, Term, am};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = BeamFile::parse(bytes) else { return };
    if let Err(refusal) = verify(&file) {
        assert!(!refusal.to_string().is_empty(), "a refusal says why");
        return;
    }
    let arena = Arena::default();
    let Some(atoms) = file.atoms.iter().map(|name| atom(name)).collect::<Option<Vec<Atom>>>() else { return };
    let mut heap = FragmentHeap::new();
    let mut literals = Vec::new();
    for literal in &file.literals {
        let Ok((term, _)) = decode(literal, &mut heap, &arena, decode_options()) else { return };
        literals.push(term);
    }
    let mut linker = Stubs { file: &file, arena: &arena, atoms: &atoms, heap: &mut heap, bigs: HashMap::new() };
    let Ok(module) = specialise(&file, &atoms, &literals, &mut linker) else { return };
    for instr in module.code() {
        write!(Printed(0), "{instr:?}").expect("instructions can be printed");
    }
    for function in &module.functions {
        assert!(function.start < function.entry && (function.entry as usize) < module.code().len());
    }
    for export in &file.exports {
        assert!((module.labels[export.label as usize] as usize) < module.code().len(), "exports are in the code");
    }
    for &(at, _) in &module.lines {
        assert!(at as usize <= module.code().len());
    }
});

/// Takes text and only counts it.
struct Printed(usize);

impl Write for Printed {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// A machine where all functions of `erlang` are built-ins.
struct Stubs<'a> {
    file: &'a BeamFile,
    arena: &'a Arena,
    atoms: &'a [Atom],
    heap: &'a mut FragmentHeap,
    bigs: HashMap<Vec<u8>, Term>,
}

impl Linker for Stubs<'_> {
    fn no_code(&self, _: CellKind) -> u64 {
        0
    }
    fn export(&mut self, mfa: Mfa) -> ExportPtr {
        ExportPtr(self.arena.export(mfa.module, mfa.function, mfa.arity) as u64)
    }
    fn bif(&self, mfa: Mfa) -> Option<u16> {
        (mfa.module == am::ERLANG).then_some(mfa.function.index() as u16)
    }
    fn fun(&mut self, lambda: u32) -> FunPtr {
        let lambda = &self.file.lambdas[lambda as usize];
        let arity = (lambda.arity - lambda.num_free) as u8;
        let identity =
            FunIdentity { module: self.atoms[1], index: lambda.index, old_index: lambda.index, old_uniq: lambda.old_uniq, uniq: self.file.md5, arity };
        FunPtr(self.arena.fun(identity) as u64)
    }
    fn big(&mut self, bytes: &[u8]) -> Term {
        let heap = &mut *self.heap;
        // Only its being a big integer matters here.
        *self.bigs.entry(bytes.to_vec()).or_insert_with(|| heap.big(false, &[1, 1]))
    }
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(seed);
    let mutated = match random.below(16) {
        0 => None,
        1..4 => with_changed_chunk(&data[..size], &mut random),
        _ => with_changed_code(&data[..size], |ops, tables, random| (0..random.below(4) + 1).for_each(|_| code::mutate(ops, tables, random)), &mut random)
            .or_else(|| with_changed_chunk(&data[..size], &mut random)),
    };
    match mutated {
        Some(file) if file.len() <= max_size => {
            data[..file.len()].copy_from_slice(&file);
            file.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});

fuzz_crossover!(|first: &[u8], second: &[u8], out: &mut [u8], seed: u32| {
    let mut random = Random::new(seed);
    let crossed =
        BeamFile::parse(second).ok().and_then(|second| with_changed_code(first, |ops, _, random| code::cross(ops, &second.code.ops, random), &mut random));
    match crossed {
        Some(file) if file.len() <= out.len() => {
            out[..file.len()].copy_from_slice(&file);
            file.len()
        }
        _ => {
            let len = first.len().min(out.len());
            out[..len].copy_from_slice(&first[..len]);
            len
        }
    }
});

/// One chunk's bytes changed by libFuzzer, or a chunk dropped or doubled.
fn with_changed_chunk(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut chunks = Chunks::of(bytes).or_else(|| Chunks::of(&normalised(bytes)?))?;
    if chunks.0.is_empty() {
        return None;
    }
    let at = random.below(chunks.0.len());
    match random.below(12) {
        0 => drop(chunks.0.remove(at)),
        1 => {
            let copy = chunks.0.get(at)?.clone();
            chunks.0.push(copy);
        }
        _ => {
            let data = &mut chunks.0.get_mut(at)?.1;
            let (len, room) = (data.len(), data.len() + 16);
            data.resize(room, 0);
            let len = fuzzer_mutate(data, len, room);
            data.truncate(len);
        }
    }
    Some(chunks.file())
}

fn with_changed_code(bytes: &[u8], change: impl FnOnce(&mut Vec<Op>, &code::Tables, &mut Random), random: &mut Random) -> Option<Vec<u8>> {
    let file = BeamFile::parse(bytes).ok()?;
    let mut chunks = Chunks::of(bytes)?;
    let old = chunks.get_mut(b"Code")?;
    let tables = code::Tables { atoms: file.atoms.len(), literals: file.literals.len(), imports: file.imports.len(), labels: file.code.label_count as usize };
    let mut ops = file.code.ops;
    change(&mut ops, &tables, random);
    *old = code::chunk(old, &ops)?;
    if random.one_in(64) {
        code::label_count_mut(old)?.copy_from_slice(&(tables.labels as u32 + 1).to_be_bytes());
    }
    Some(chunks.file())
}
