//! Modules whose functions are specialised when they are first called.
//!
//! Specialising a whole file shows where each function lies, in the file and among the
//! instructions: the module's [`Layout`]. With a layout from before, of a file that was verified,
//! the functions need not be read again: their `func_info`, their entry cells and the labels of
//! these are put in place; everything else is zeroes, which are [`Instr::NotLoaded`]. Instructions
//! and constants lie where they would lie otherwise.

use super::{
    CellKind, First, Function, Linker, Specialised, Specialiser, Storage, Tables, linked_imports,
};
use crate::decode::{CodeReader, Op, TableSizes};
use crate::error::BeamError;
use crate::file::BeamFile;
use crate::genop::Opcode;
use crate::instr::{ExportPtr, Instr};
use crate::verify::{Amendment, Amendments};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use swarmrt_term::{Atom, Term};

/// Where a function lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Placed {
    /// Of its first instruction in the file, in bytes from the first of all.
    offset: u32,
    /// Its name, as an index of the file's atoms.
    name: u32,
    arity: u32,
    /// Of its entry.
    label: u32,
    /// Its first instruction.
    start: u32,
    /// Its first constant.
    constant: u32,
    /// Whether it is specialised when the module is loaded, because something else comes to lie
    /// among the module's literals with it.
    now: bool,
}

/// Where the functions of a module lie, and what else takes long to find out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Layout {
    functions: Vec<Placed>,
    instructions: u32,
    constants: u32,
    on_load: Option<u32>,
    /// What the verifier wants amended: number of the function, index of the instruction in it.
    amendments: Vec<(u32, u32, Amendment)>,
    pub md5: [u8; 16],
}

/// The functions of a module that can still be specialised.
pub(super) struct Deferred {
    layout: Layout,
    loaded: Vec<AtomicBool>,
    source: Mutex<Source>,
}

/// What they are specialised from.
struct Source {
    file: BeamFile,
    /// The file's instructions.
    code: Box<[u8]>,
    sizes: TableSizes,
    atoms: Vec<Atom>,
    literals: Vec<Term>,
    imports: Vec<(ExportPtr, Option<u16>)>,
    labels: Vec<u32>,
}

impl<L: Linker> Specialiser<'_, L> {
    /// Notes where the function of these instructions has come to lie.
    pub(super) fn note_place(
        &mut self,
        ops: &[Op],
        amendments: &Amendments,
        start: u32,
        constant: usize,
    ) {
        use crate::decode::Operand;
        let at = |opcode| ops.iter().position(|op| op.opcode == opcode);
        if let Some(info) = at(Opcode::FuncInfo)
            && let [_, Operand::Atom(name), Operand::Unsigned(arity)] = ops[info].args[..]
            && let Some(Operand::Unsigned(label)) = ops.get(info + 1).and_then(|op| op.args.first())
        {
            let (arity, label) = (arity as u32, *label as u32);
            let number = self.placed.len() as u32;
            self.amendments
                .extend(amendments.iter().map(|(op, amendment)| (number, op, amendment.clone())));
            self.placed.push(Placed {
                offset: ops[0].offset,
                name,
                arity,
                label,
                start,
                constant: constant as u32,
                now: self.has_own_literals,
            });
        }
    }
    /// The layout of what was specialised so far.
    pub fn layout(&self) -> Layout {
        Layout {
            functions: self.placed.clone(),
            instructions: self.here(),
            constants: (self.first.constant + self.pool.len()) as u32,
            on_load: self.on_load,
            amendments: self.amendments.clone(),
            md5: self.file.md5,
        }
    }
}

impl Specialised {
    /// The module of a file that was verified and specialised before, without the functions that
    /// can wait. Of the file, the literals are not looked at.
    ///
    /// # Errors
    /// When the layout is not this file's, as far as that is seen.
    pub fn deferred<L: Linker>(
        file: BeamFile,
        code: &CodeReader<'_>,
        atoms: Vec<Atom>,
        literals: Vec<Term>,
        layout: Layout,
        linker: &mut L,
    ) -> Result<Specialised, BeamError> {
        let imports = linked_imports(&file, &atoms, linker);
        let mut labels = vec![u32::MAX; file.code.label_count as usize + 1];
        let first = layout.constants.div_ceil(2) as usize;
        let module = Specialised {
            storage: Storage::new(first + layout.instructions as usize),
            first,
            functions: Vec::new(),
            labels: Vec::new(),
            lines: RwLock::default(),
            on_load: layout.on_load,
            tables: Mutex::new(Tables::default()),
            deferred: None,
        };
        module.write_constants(0, &literals);
        let mut functions = Vec::with_capacity(layout.functions.len());
        for (number, placed) in layout.functions.iter().enumerate() {
            let name = atoms.get(placed.name as usize).ok_or_else(BeamError::other_layout)?;
            let entry = placed.start + 1;
            *labels.get_mut(placed.label as usize).ok_or_else(BeamError::other_layout)? = entry;
            functions.push(Function {
                name: *name,
                arity: placed.arity,
                start: placed.start,
                entry,
            });
            if entry + 1 >= layout.instructions {
                return Err(BeamError::other_layout());
            }
            // SAFETY: both lie among the instructions, and nobody knows the module yet.
            unsafe {
                module
                    .instr(placed.start)
                    .write(Instr::FuncInfo { function: number as u32, calls: 0 });
                module.instr(entry).write(Instr::Cell { native: linker.no_code(CellKind::Entry) });
            }
        }
        let (code, sizes) = code.deferred();
        let loaded = layout.functions.iter().map(|_| AtomicBool::new(false)).collect();
        let now: Vec<usize> =
            (0..functions.len()).filter(|&number| layout.functions[number].now).collect();
        let source = Source { file, code, sizes, atoms, literals, imports, labels: labels.clone() };
        let deferred = Deferred { layout, loaded, source: Mutex::new(source) };
        let module = Specialised { functions, labels, deferred: Some(deferred), ..module };
        for function in now {
            module.load(function, linker)?;
        }
        Ok(module)
    }

    /// Whether a function is specialised.
    pub fn is_loaded(&self, function: usize) -> bool {
        self.deferred
            .as_ref()
            .is_none_or(|deferred| deferred.loaded[function].load(Ordering::Acquire))
    }

    /// Specialises a function if it is not yet. Others may be about to run it.
    ///
    /// # Errors
    /// As for [`Specialiser::function`], which is not to be expected of a file for which there is a
    /// layout.
    pub fn load<L: Linker>(&self, function: usize, linker: &mut L) -> Result<(), BeamError> {
        let Some(deferred) = &self.deferred else { return Ok(()) };
        let mut source = deferred.source.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_loaded(function) {
            return Ok(());
        }
        let Source { file, code, sizes, atoms, literals, imports, labels } = &mut *source;
        let placed = deferred.layout.functions[function];
        let code = code.get(placed.offset as usize..).ok_or_else(BeamError::other_layout)?;
        let mut reader = CodeReader::at(code, *sizes);
        let ops = reader.next_function()?.ok_or_else(BeamError::other_layout)?;
        let first = First {
            function: function as u32,
            instr: placed.start,
            constant: placed.constant as usize,
        };
        let mut specialiser = Specialiser::from(
            first,
            file,
            atoms,
            literals,
            linker,
            Vec::new(),
            std::mem::take(imports),
            std::mem::take(labels),
        );
        let amendments =
            deferred.layout.amendments.iter().filter(|(number, ..)| *number as usize == function);
        let amendments: BTreeMap<u32, Amendment> =
            amendments.map(|(_, op, amendment)| (*op, amendment.clone())).collect();
        let result = specialiser.function(ops, &amendments.into());
        if result.is_ok() {
            specialiser.resolve_jumps(deferred.layout.instructions);
        }
        let Specialiser { pool, code, lines, mut tables, .. } = specialiser;
        (*imports, *labels) = (specialiser.imports, specialiser.labels);
        result?;
        let after = deferred.layout.functions.get(function + 1);
        let (end, constants_end) = after
            .map_or((deferred.layout.instructions, deferred.layout.constants), |next| {
                (next.start, next.constant)
            });
        if code.len() != (end - placed.start) as usize
            || pool.len() != (constants_end - placed.constant) as usize
        {
            return Err(BeamError::other_layout());
        }
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).0.append(&mut tables.0);
        let mut known = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        let at = known.partition_point(|&(line_at, _)| line_at < placed.start);
        known.splice(at..at, lines);
        drop(known);
        self.write_constants(placed.constant as usize, &pool);
        self.put_in_place(placed.start, &code);
        deferred.loaded[function].store(true, Ordering::Release);
        Ok(())
    }

    /// Writes the instructions of a function except the two that are there already. A thread that
    /// executes one of them meanwhile finds [`Instr::NotLoaded`] or the whole instruction: the word
    /// that says which instruction it is comes last.
    fn put_in_place(&self, start: u32, code: &[Instr]) {
        const THERE: usize = 2;
        for (at, instr) in code.iter().enumerate().skip(THERE).rev() {
            let mut words = [0u64; 2];
            // SAFETY: an instruction is two words; the copy is ours, and other threads read the
            // destination word by word, the first word first.
            unsafe {
                words.as_mut_ptr().cast::<Instr>().write(*instr);
                let to = self.instr(start + at as u32).cast::<AtomicU64>();
                (*to.add(1)).store(words[1], Ordering::Relaxed);
                (*to).store(words[0], Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_are_not_loaded() {
        let words = [0u64; 2];
        // SAFETY: zeroes are the first of the instructions, which has nothing in it; this test is
        // to see that.
        let instr = unsafe { words.as_ptr().cast::<Instr>().read() };
        assert!(matches!(instr, Instr::NotLoaded));
    }
}
