//! From functions to machine code in memory: which of their pieces are compiled, and where they are
//! installed.

use crate::plan::inlining::{self, Inlined};
use crate::plan::span::Span;
use crate::translate::{self, InsideLoop, Source, Start, piece_signature};
use crate::{convention, frame, listing};
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{Function, UserFuncName};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::sync::Arc;
use swarmrt_engine::code::{
    Code, CodeMemory, Functions, Glue, InstalledAt, LoopSymbol, ReEntry, ReEntryKey, Relocations,
};
use swarmrt_engine::layout::address_in;
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_engine::{Compiled, Compiler, Part, Request};
use swarmrt_machine::Vm;
use swarmrt_machine::code::{Export, ModuleCode};

/// Functions with more instructions stay with the interpreter.
const FUNCTION_INSTRUCTIONS_MAX: u32 = 20_000;
/// All pieces of a function with no more instructions are compiled at once; a piece of a larger one
/// when it is found running.
const SMALL_FUNCTION_INSTRUCTIONS: u32 = 32;

/// What all compilations share: the processor, Cranelift's settings, and the glue.
pub struct Target {
    pub isa: OwnedTargetIsa,
    pub assists: &'static Assists,
    pub glue: Glue,
    /// The processor and the extensions that the code makes use of.
    pub processor: String,
}

/// Translates and compiles pieces. It keeps memory from one to the next, and nothing else.
pub struct PieceCompiler {
    target: Arc<Target>,
    context: Context,
    builder: FunctionBuilderContext,
    /// The inlined loops of the piece that was compiled last.
    loops: Vec<InsideLoop>,
}

fn add(compiled: &mut Compiled, cell: u32, code: &Code) {
    compiled.code_bytes += code.memory.bytes();
    compiled.pieces.push((cell, code.address(), code.memory.bytes() - code.entry));
}

impl Compiler for PieceCompiler {
    fn compile(&mut self, request: &Request<'_>) -> Result<Option<Compiled>, String> {
        let &Request { vm, installed, module, function, part, floats } = request;
        let span = Span::of(module, function);
        if span.instructions() > FUNCTION_INSTRUCTIONS_MAX {
            return Ok(None);
        }
        let generation = Functions::of(module, installed).generation();
        let inlined = Inlined::of(&vm.code, module, &span);
        let target = self.target.clone();
        let functions = Functions::of(module, installed);
        let source = Source {
            functions: Some(functions),
            ..span.source(&target, vm, module, &inlined, floats)
        };
        let wanted = |at: u32| match part {
            // What follows a call that is inlined is hardly ever returned to.
            Part::Entry => {
                at == span.entry
                    || span.instructions() <= SMALL_FUNCTION_INSTRUCTIONS
                        && inlined.body(0).called(at - 1).is_none()
            }
            Part::Behind(cell) => at == cell,
            Part::All => true,
        };
        let mut compiled = Compiled::default();
        // The entry comes first: the other pieces call it where it is.
        for start in span.pieces(module).filter(|start| wanted(start.at - 1)) {
            let code = self.piece_in_memory(
                &source,
                start,
                InstalledAt::Cell(start.at - 1),
                module.digest.is_some(),
            )?;
            add(&mut compiled, start.at - 1, &code);
            functions.install(module, function, code, generation);
            for inside in std::mem::take(&mut self.loops) {
                self.install_re_entry(request, &source, inside, generation, &mut compiled)?;
            }
        }
        Ok(Some(compiled))
    }

    fn companions(&self, vm: &'static Vm, module: &ModuleCode, cell: u32) -> Vec<(usize, u32)> {
        inlining::makers(&vm.code, module, cell)
    }
}

impl PieceCompiler {
    /// A compiler for one thread, with Cranelift contexts that are reused from piece to piece.
    pub fn new(target: Arc<Target>) -> PieceCompiler {
        PieceCompiler {
            target,
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            loops: Vec::new(),
        }
    }

    /// Compiles the piece that resumes in an inlined loop, unless it is there.
    fn install_re_entry(
        &mut self,
        request: &Request<'_>,
        source: &Source<'_>,
        inside: InsideLoop,
        generation: u64,
        compiled: &mut Compiled,
    ) -> Result<(), String> {
        let module = request.module;
        let InsideLoop { body, fun, argument, export } = inside;
        let (body, helper, lambda) =
            (source.inlined.body(body), source.inlined.helper(export), source.inlined.lambda(fun));
        let (Some(helper), Some(lambda), Some(other)) = (helper, lambda, body.other()) else {
            return Ok(());
        };
        let place = ReEntryKey::new(address_in(body.code(source.code), body.entry), fun, argument);
        if request.installed.re_entries.is_known(place) {
            return Ok(());
        }
        let Some(fun_number) = module.funs.iter().position(|known| known.ptr() == fun) else {
            return Ok(());
        };
        let begins = source.inlined.body(lambda.body).entry + 1;
        let mfa = Export::of(export).mfa;
        let symbol = LoopSymbol {
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
        let mut code = self.piece_in_memory(
            source,
            start,
            InstalledAt::ReEntry(place, symbol),
            module.digest.is_some(),
        )?;
        // It may name nothing of the module that it is a loop of.
        code.relocations = code
            .relocations
            .and_then(|mut relocations| relocations.add(other).map(|()| relocations));
        add(compiled, source.entry, &code);
        let lambda_at = address_in(source.code, begins);
        let re_entry = ReEntry {
            code: code.address(),
            export,
            changes: helper.changes,
            lambda: lambda_at,
            free: lambda.free,
        };
        Functions::of(module, request.installed).install_re_entry(
            request.function,
            code,
            place,
            re_entry,
            generation,
        );
        Ok(())
    }

    /// A piece in memory. Where it may be of use to other runs, its addresses are looked for.
    fn piece_in_memory(
        &mut self,
        source: &Source<'_>,
        start: Start,
        at: InstalledAt,
        keep: bool,
    ) -> Result<Code, String> {
        let context = self.compile_piece(source, start, false)?;
        let (bytes, entry) = frame::adapted(context)?;
        let fixups = if keep { source.symbols.fixups(&context.func, &bytes) } else { None };
        let relocations =
            fixups.and_then(|fixups| Relocations::new(fixups, source.inlined.others()));
        let memory = CodeMemory::new(&bytes).map_err(|error| error.to_string())?;
        Ok(Code { memory, entry, at, relocations })
    }

    /// Compiles a piece, with its text when a listing is wanted.
    ///
    /// # Errors
    /// What the code generator says.
    pub fn compile_piece(
        &mut self,
        source: &Source<'_>,
        start: Start,
        listed: bool,
    ) -> Result<&Context, String> {
        let context = &mut self.context;
        context.clear();
        source.symbols.clear();
        context.func =
            Function::with_name_signature(UserFuncName::default(), piece_signature(start.live));
        let builder = FunctionBuilder::new(&mut context.func, &mut self.builder);
        self.loops =
            translate::translate(builder, source, start, self.target.isa.frontend_config());
        if listed {
            listing::mark(&mut context.func);
            context.set_disasm(true);
        }
        if cfg!(debug_assertions) {
            cranelift_codegen::verify_function(&context.func, self.target.isa.as_ref())
                .map_err(|errors| format!("{errors}"))?;
        }
        convention::apply(&mut context.func);
        context
            .compile(self.target.isa.as_ref(), &mut ControlPlane::default())
            .map_err(|error| format!("{:?}", error.inner))?;
        Ok(context)
    }
}
