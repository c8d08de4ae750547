//! From functions to machine code in memory: which of their pieces are compiled, and where they are hung.

use crate::analysis::Flow;
use crate::anchors::{Anchored, Relocations};
use crate::functions::{Code, Functions, Hangs};
use crate::glue::Glue;
use crate::inlining::Inlined;
use crate::listing;
use crate::memory::CodeMemory;
use crate::resumption::{self, LoopAnchor, Place, Resumption};
use crate::translate::{self, InsideLoop, Source, Start, address_in, piece_signature};
use crate::{convention, frame};
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{Function, UserFuncName};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::ops::Range;
use swarmrt_beam::instr::Instr;
use swarmrt_machine::bif::BifTable;
use swarmrt_machine::code::{CodeServer, Export, ModuleCode};
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

impl Compiled {
    fn add(&mut self, cell: u32, code: &Code) {
        self.code_bytes += code.memory.len();
        self.pieces.push((cell, code.address(), code.memory.len() - code.entry));
    }
}

/// Translates and generates; what it keeps from one function to the next is memory.
pub struct Compiler {
    context: Context,
    builder: FunctionBuilderContext,
    /// The loops that the piece has inside that was compiled last.
    loops: Vec<InsideLoop>,
}

/// What stays the same from function to function.
pub struct Target {
    pub isa: OwnedTargetIsa,
    pub assists: &'static Assists,
    pub bifs: &'static BifTable,
    pub server: &'static CodeServer,
    pub glue: Glue,
    /// What kind of processor it is for, with all that is made use of.
    pub processor: String,
}

/// The instructions of a function.
pub struct Span {
    start: u32,
    end: u32,
    pub entry: u32,
    pub arity: usize,
}

impl Span {
    pub fn of(module: &ModuleCode, number: usize) -> Span {
        let functions = &module.code.functions;
        let function = functions[number];
        let end = functions.get(number + 1).map_or(module.code.code().len() as u32, |next| next.start);
        Span { start: function.start, end, entry: function.entry, arity: function.arity as usize }
    }
    /// The function that an instruction is in, if it is loaded.
    pub fn around(module: &ModuleCode, at: u32) -> Option<Span> {
        let number = module.number_at(at).filter(|&number| module.code.is_loaded(number))?;
        Some(Span::of(module, number))
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
    pub fn source<'a>(&self, target: &'a Target, module: &'a ModuleCode, inlined: &'a Inlined, floats: bool) -> Source<'a> {
        Source {
            code: module.code.code(),
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
        cells.map(|cell| Start { at: cell + 1, live: if cell == self.entry { self.arity } else { 1 }, inside: None })
    }
}

impl Compiler {
    pub fn new() -> Compiler {
        Compiler { context: Context::new(), builder: FunctionBuilderContext::new(), loops: Vec::new() }
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
        let inlined = Inlined::of(target.server, module, &span);
        let source = span.source(target, module, &inlined, floats);
        let wanted = |at: u32| match part {
            // What follows a call that is inlined is hardly ever returned to.
            Part::Entry => at == span.entry || span.instructions() <= SMALL_FUNCTION_INSTRUCTIONS && inlined.body(0).called(at - 1).is_none(),
            Part::Behind(cell) => at == cell,
            Part::All => true,
        };
        let mut compiled = Compiled { code_bytes: 0, pieces: Vec::new() };
        // The entry comes first: the other pieces call it where it is.
        for start in span.pieces(module).filter(|start| wanted(start.at - 1)) {
            let code = self.piece_in_memory(target, &source, start, Hangs::Cell(start.at - 1), module.digest.is_some())?;
            compiled.add(start.at - 1, &code);
            Functions::of(module).hang(module, number, code);
            for inside in std::mem::take(&mut self.loops) {
                self.install_resumption(target, &source, module, number, inside, &mut compiled)?;
            }
        }
        Ok(Some(compiled))
    }

    /// Compiles what goes on in a loop that the function has inside, unless it is there.
    fn install_resumption(
        &mut self,
        target: &Target,
        source: &Source<'_>,
        module: &ModuleCode,
        number: usize,
        inside: InsideLoop,
        compiled: &mut Compiled,
    ) -> Result<(), String> {
        let InsideLoop { body, fun, argument, export } = inside;
        let (body, helper, lambda) = (source.inlined.body(body), source.inlined.helper(export), source.inlined.lambda(fun));
        let (Some(helper), Some(lambda), Some(other)) = (helper, lambda, body.other()) else { return Ok(()) };
        let place = Place::new(address_in(body.code(source.code), body.entry), fun, argument);
        if resumption::is_known(place) {
            return Ok(());
        }
        let Some(fun_number) = module.funs.iter().position(|known| known.ptr() == fun) else { return Ok(()) };
        let begins = source.inlined.body(lambda.body).entry + 1;
        let mfa = Export::of(export).mfa;
        let anchor = LoopAnchor {
            module: other.name.index(),
            cell: body.entry,
            fun: fun_number as u32,
            argument: argument as u32,
            function: mfa.function.index(),
            arity: mfa.arity,
            export_cell: source.inlined.body(helper.body).entry,
            lambda: begins,
            free: lambda.free as u32,
        };
        let start = Start { at: body.entry + 1, live: body.arity, inside: Some(inside) };
        let mut code = self.piece_in_memory(target, source, start, Hangs::Resumption(place, anchor), module.digest.is_some())?;
        // It may name nothing of the module that it is a loop of.
        code.relocations = code.relocations.and_then(|mut relocations| relocations.add(other).map(|()| relocations));
        compiled.add(source.entry, &code);
        let lambda_at = address_in(source.code, begins);
        let resumption = Resumption { code: code.address(), export, changes: helper.changes, lambda: lambda_at, free: lambda.free };
        Functions::of(module).hang_resumption(number, code, place, resumption);
        Ok(())
    }

    /// A piece in memory. Where it may be of use to other runs, its addresses are looked for.
    fn piece_in_memory(&mut self, target: &Target, source: &Source<'_>, start: Start, hangs: Hangs, keep: bool) -> Result<Code, String> {
        let context = self.compile_piece(target, source, start, false)?;
        let (bytes, entry) = frame::adapted(context)?;
        let fixups = if keep { source.anchored.fixups(&context.func, &bytes) } else { None };
        let relocations = fixups.and_then(|fixups| Relocations::new(fixups, source.inlined));
        let memory = CodeMemory::new(&bytes).map_err(|error| error.to_string())?;
        Ok(Code { memory, entry, hangs, relocations })
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
        self.loops = translate::translate(builder, source, start, target.isa.frontend_config());
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
