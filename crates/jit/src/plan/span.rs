//! The instructions of one function, in its module.

use crate::compile::Target;
use crate::plan::analysis::Flow;
use crate::plan::inlining::Inlined;
use crate::symbols::SymbolNotes;
use crate::translate::{Source, Start};
use std::ops::Range;
use std::sync::atomic::Ordering;
use swarmrt_beam::instr::Instr;
use swarmrt_machine::Vm;
use swarmrt_machine::code::ModuleCode;

/// The instructions of a function.
pub struct Span {
    start: u32,
    end: u32,
    pub entry: u32,
    pub arity: usize,
}

impl Span {
    /// The function with this number in the module, which need not be loaded.
    pub fn of(module: &ModuleCode, number: usize) -> Span {
        let functions = &module.code.functions;
        let function = functions[number];
        let end =
            functions.get(number + 1).map_or(module.code.code().len() as u32, |next| next.start);
        Span { start: function.start, end, entry: function.entry, arity: function.arity as usize }
    }
    /// The function that an instruction is in, if it is loaded and may be inlined: calls of a
    /// function with a breakpoint have to come to it.
    pub fn around(module: &ModuleCode, at: u32) -> Option<Span> {
        if module.breakpoints.load(Ordering::Acquire) > 0 {
            return None;
        }
        let number = module.number_at(at).filter(|&number| module.code.is_loaded(number))?;
        Some(Span::of(module, number))
    }
    /// The numbers of its instructions.
    pub fn places(&self) -> Range<u32> {
        self.start..self.end
    }
    /// How many instructions it has, cells and `func_info` among them.
    pub fn instructions(&self) -> u32 {
        self.end - self.start
    }
    /// Control flow and liveness of its instructions.
    pub fn flow(&self, module: &ModuleCode) -> Flow {
        Flow::of(module.code.code(), self.start, self.end, self.entry, self.arity)
    }
    /// The input of a translation that starts at the function's entry; for `floats` see
    /// [`Source::floats`].
    pub fn source<'a>(
        &self,
        target: &'a Target,
        vm: &Vm,
        module: &'a ModuleCode,
        inlined: &'a Inlined,
        floats: bool,
    ) -> Source<'a> {
        Source {
            code: module.code.code(),
            inlined,
            entry: self.entry,
            functions: None,
            assists: target.assists,
            bifs: vm.bifs,
            stress: cfg!(feature = "stress"),
            floats,
            glue: &target.glue,
            literals: &module.literals,
            symbols: SymbolNotes::default(),
        }
    }
    /// Where its pieces begin: past its cells.
    pub fn pieces(&self, module: &ModuleCode) -> impl Iterator<Item = Start> {
        let code = module.code.code();
        let cells = (self.start..self.end - 1)
            .filter(|&at| matches!(code[at as usize], Instr::Cell { .. }));
        cells.map(|cell| Start {
            at: cell + 1,
            live: if cell == self.entry { self.arity } else { 1 },
            inside: None,
        })
    }
}
