//! From functions to machine code in memory: which of their pieces are compiled, and where they are hung.

use crate::analysis::Flow;
use crate::glue::Glue;
use crate::memory::CodeMemory;
use crate::translate::{self, Source, Start, piece_signature};
use crate::{convention, frame};
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{Function, UserFuncName};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use swarmrt_beam::instr::Instr;
use swarmrt_machine::bif::BifTable;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::native::{Assists, set_cell_code};

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
        let code = module.code.code();
        let functions = &module.code.functions;
        let function = functions[number];
        let end = functions.get(number + 1).map_or(code.len() as u32, |next| next.start);
        let instructions = end - function.start;
        if instructions > FUNCTION_INSTRUCTIONS_MAX {
            return Ok(None);
        }
        let flow = Flow::of(code, function.start, end, function.entry, function.arity as usize);
        let source = Source {
            code,
            flow: &flow,
            entry: function.entry,
            assists: target.assists,
            bifs: target.bifs,
            stress: cfg!(feature = "stress"),
            floats,
            glue: &target.glue,
        };
        let wanted = |at: u32| match part {
            Part::Entry => at == function.entry || instructions <= SMALL_FUNCTION_INSTRUCTIONS,
            Part::Behind(cell) => at == cell,
            Part::All => true,
        };
        let mut bytes: Vec<u8> = Vec::new();
        let mut pieces = Vec::new();
        for at in (function.start..end - 1).filter(|&at| wanted(at) && matches!(code[at as usize], Instr::Cell { .. })) {
            let live = if at == function.entry { function.arity as usize } else { 1 };
            bytes.resize(bytes.len().next_multiple_of(16), 0xcc);
            let offset = bytes.len();
            let entry = self.compile_piece(target, &source, Start { at: at + 1, live }, &mut bytes)?;
            pieces.push((at, (offset + entry) as u64, bytes.len() - offset - entry));
        }
        let memory = CodeMemory::new(&bytes).map_err(|error| error.to_string())?;
        for (cell, address, _) in &mut pieces {
            *address += memory.address();
            // SAFETY: a cell of the module, which keeps the code for as long as it lives.
            unsafe { set_cell_code(&raw const code[*cell as usize], *address) };
        }
        module.native.lock().push(Box::new(memory));
        Ok(Some(Compiled { code_bytes: bytes.len(), pieces }))
    }

    /// Appends the machine code of a piece, and says at which offset in it the piece begins.
    fn compile_piece(&mut self, target: &Target, source: &Source<'_>, start: Start, bytes: &mut Vec<u8>) -> Result<usize, String> {
        let context = &mut self.context;
        context.clear();
        context.func = Function::with_name_signature(UserFuncName::default(), piece_signature(start.live));
        let builder = FunctionBuilder::new(&mut context.func, &mut self.builder);
        translate::translate(builder, source, start, target.isa.frontend_config());
        if cfg!(debug_assertions) {
            cranelift_codegen::verify_function(&context.func, target.isa.as_ref()).map_err(|errors| format!("{errors}"))?;
        }
        convention::apply(&mut context.func);
        context.compile(target.isa.as_ref(), &mut ControlPlane::default()).map_err(|error| format!("{:?}", error.inner))?;
        frame::append(context, bytes)
    }
}
