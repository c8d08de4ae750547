//! From functions to machine code in memory: which of their pieces are compiled, and where they are hung.

use crate::analysis::Flow;
use crate::anchors::Anchored;
use crate::functions::{Code, Functions};
use crate::glue::Glue;
use crate::inlining::Inlined;
use crate::listing;
use crate::memory::CodeMemory;
use crate::translate::{self, Source, Start, piece_signature};
use crate::{convention, frame};
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{Function, UserFuncName};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::ops::Range;
use std::sync::atomic::Ordering;
use swarmrt_beam::instr::Instr;
use swarmrt_machine::bif::BifTable;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::native::Assists;

/// Functions with more instructions stay with the interpreter.
const FUNCTION_INSTRUCTIONS_MAX: u32 = 20_000;
/// Of functions with no more, all pieces are compiled at once; of larger ones each when it is found running.
const SMALL_FUNCTION_INSTRUCTIONS: u32 = 32;

/// What is to be compiled of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// What begins at its entry, and the rest if that is little.
    Entry,
    /// What begins behind this cell.
    Behind(u32),
    All,
}

/// What a function was compiled to.
pub struct Compiled {
    pub code_bytes: usize,
    /// For each piece: its cell, its address, and its size.
    pub pieces: Vec<(u32, u64, usize)>,
}

/// Translates and generates; what it keeps from one function to the next is memory.
pub struct Compiler {
    context: Context,
    builder: FunctionBuilderContext,
}

/// What stays the same from function to function.
pub struct Target {
    pub isa: OwnedTargetIsa,
    pub assists: &'static Assists,
    pub bifs: &'static BifTable,
    pub glue: Glue,
    /// What kind of processor it is for, with all that is made use of.
    pub processor: String,
}

/// The instructions of a function.
pub struct Span {
    start: u32,
    end: u32,
    pub entry: u32,
    arity: usize,
}

impl Span {
    pub fn of(module: &ModuleCode, number: usize) -> Span {
        let functions = &module.code.functions;
        let function = functions[number];
        let end = functions.get(number + 1).map_or(module.code.code().len() as u32, |next| next.start);
        Span { start: function.start, end, entry: function.entry, arity: function.arity as usize }
    }
    /// The numbers of its instructions.
    pub fn places(&self) -> Range<u32> {
        self.start..self.end
    }
    pub fn instructions(&self) -> u32 {
        self.end - self.start
    }
    pub fn flow(&self, module: &ModuleCode) -> Flow {
        Flow::of(module.code.code(), self.start, self.end, self.entry, self.arity)
    }
    pub fn source<'a>(&self, target: &'a Target, module: &'a ModuleCode, flow: &'a Flow, inlined: &'a Inlined, floats: bool) -> Source<'a> {
        Source {
            code: module.code.code(),
            flow,
            inlined,
            entry: self.entry,
            assists: target.assists,
            bifs: target.bifs,
            stress: cfg!(feature = "stress"),
            floats,
            glue: &target.glue,
            literals: &module.literals,
            anchored: Anchored::default(),
        }
    }
    /// Where its pieces begin: past its cells.
    pub fn pieces(&self, module: &ModuleCode) -> impl Iterator<Item = Start> {
        let code = module.code.code();
        let cells = (self.start..self.end - 1).filter(|&at| matches!(code[at as usize], Instr::Cell { .. }));
        cells.map(|cell| Start { at: cell + 1, live: if cell == self.entry { self.arity } else { 1 } })
    }
}

impl Compiler {
    pub fn new() -> Compiler {
        Compiler { context: Context::new(), builder: FunctionBuilderContext::new() }
    }

    /// Compiles a function, or a part of it, and hangs the code on its cells; nothing where it is too large.
    ///
    /// # Errors
    /// What the code generator or the operating system says; the function stays as it was.
    pub fn install(&mut self, target: &Target, module: &ModuleCode, number: usize, part: Part, floats: bool) -> Result<Option<Compiled>, String> {
        let span = Span::of(module, number);
        if span.instructions() > FUNCTION_INSTRUCTIONS_MAX {
            return Ok(None);
        }
        let flow = span.flow(module);
        let inlined = Inlined::of(module, &span);
        // Where what is made of it could be kept.
        let keep = module.digest.is_some();
        let source = span.source(target, module, &flow, &inlined, floats);
        let wanted = |at: u32| match part {
            // What follows a call that is inlined is hardly ever returned to.
            Part::Entry => at == span.entry || span.instructions() <= SMALL_FUNCTION_INSTRUCTIONS && inlined.site(at - 1).is_none(),
            Part::Behind(cell) => at == cell,
            Part::All => true,
        };
        let mut compiled = Compiled { code_bytes: 0, pieces: Vec::new() };
        // The entry comes first: the other pieces call it where it is.
        for start in span.pieces(module).filter(|start| wanted(start.at - 1)) {
            let context = self.compile_piece(target, &source, start, false)?;
            let (bytes, entry) = frame::adapted(context)?;
            let fixups = if keep { source.anchored.fixups(&context.func, &bytes) } else { None };
            let memory = CodeMemory::new(&bytes).map_err(|error| error.to_string())?;
            let code = Code { memory, cell: start.at - 1, entry, fixups };
            compiled.code_bytes += bytes.len();
            compiled.pieces.push((code.cell, code.address(), bytes.len() - entry));
            let functions = Functions::of(module);
            functions.has_news().fetch_or(code.fixups.is_some(), Ordering::Relaxed);
            functions.hang(module, number, code);
        }
        Ok(Some(compiled))
    }

    /// Compiles a piece, with its text when a listing is wanted.
    ///
    /// # Errors
    /// What the code generator says.
    pub fn compile_piece(&mut self, target: &Target, source: &Source<'_>, start: Start, listed: bool) -> Result<&Context, String> {
        let context = &mut self.context;
        context.clear();
        source.anchored.clear();
        context.func = Function::with_name_signature(UserFuncName::default(), piece_signature(start.live));
        let builder = FunctionBuilder::new(&mut context.func, &mut self.builder);
        translate::translate(builder, source, start, target.isa.frontend_config());
        if listed {
            listing::mark(&mut context.func);
            context.set_disasm(true);
        }
        if cfg!(debug_assertions) {
            cranelift_codegen::verify_function(&context.func, target.isa.as_ref()).map_err(|errors| format!("{errors}"))?;
        }
        convention::apply(&mut context.func);
        context.compile(target.isa.as_ref(), &mut ControlPlane::default()).map_err(|error| format!("{:?}", error.inner))?;
        Ok(context)
    }
}
