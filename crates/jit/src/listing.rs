//! Listings of machine code: what the code generator makes of each instruction, in its own
//! notation.
//!
//! Between the instructions of a function's intermediate form stand marks that say which
//! specialised instruction what follows belongs to. They are sequence points, which become no
//! machine code, and appear in the generator's text. They do change which registers are chosen now
//! and then: what the engine itself makes is a percent larger or smaller. The frames that the text
//! shows are taken away afterwards where they are not needed ([`frame`](crate::frame)).

use crate::compile::{PieceCompiler, Target};
use crate::plan::inlining::Inlined;
use crate::plan::span::Span;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{DebugTag, Function, InstBuilder};
use std::fmt::Write;
use std::sync::Arc;
use swarmrt_beam::instr::Instr;
use swarmrt_engine::Unavailable;
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_machine::Vm;
use swarmrt_machine::code::ModuleCode;

/// How the generator's text shows a mark, and the tag of one.
const MARK: &str = "sequence_point";
const TAG: &str = "; ^-- debug @ Pre: [User(";

/// Puts marks into a function: where a block begins, and where something belongs to another
/// instruction than what stands before it.
pub fn mark(function: &mut Function) {
    let blocks: Vec<_> = function.layout.blocks().collect();
    for block in blocks {
        let mut last = None;
        let instructions: Vec<_> = function.layout.block_insts(block).collect();
        for instruction in instructions {
            let location = function.srcloc(instruction);
            if location.is_default() || last == Some(location) {
                continue;
            }
            last = Some(location);
            let mark = FuncCursor::new(function).at_inst(instruction).ins().sequence_point();
            function.debug_tags.set(mark, [DebugTag::User(location.bits())]);
        }
    }
}

/// Compiles functions to show what they become.
pub struct Lister {
    vm: &'static Vm,
    target: Arc<Target>,
    compiler: PieceCompiler,
}

impl Lister {
    /// # Errors
    /// When the processor or the operating system does not allow machine code.
    pub fn new(vm: &'static Vm, assists: &'static Assists) -> Result<Lister, Unavailable> {
        let target = Arc::new(Target::new(assists)?);
        Ok(Lister { vm, compiler: PieceCompiler::new(target.clone()), target })
    }

    /// All pieces of a function, with the machine code below the instruction that it does.
    ///
    /// # Errors
    /// What the code generator says.
    pub fn function(&mut self, module: &ModuleCode, number: usize) -> Result<String, String> {
        let code = module.code.code();
        let span = Span::of(module, number);
        let inlined = Inlined::of(&self.vm.code, module, &span);
        let source = span.source(&self.target, self.vm, module, &inlined, false);
        let mut text = String::new();
        for start in span.pieces(module) {
            let compiled = self
                .compiler
                .compile_piece(&source, start, true)?
                .compiled_code()
                .ok_or("not compiled")?;
            let kind = if start.at - 1 == span.entry { "entry" } else { "return point" };
            let bytes = compiled.code_buffer().len();
            let listing = compiled.vcode.as_deref().unwrap_or_default();
            writeln!(text, "  {kind} {}: {bytes} bytes", start.at - 1)
                .and_then(|()| list(&mut text, listing, |at| inlined.at_location(at, code)))
                .map_err(|error| error.to_string())?;
        }
        Ok(text)
    }
}

/// The generator's text with the instructions in place of the marks.
fn list<'a>(
    text: &mut String,
    listing: &str,
    instruction: impl Fn(u32) -> Option<&'a Instr>,
) -> std::fmt::Result {
    let mut last = None;
    for line in listing.lines() {
        let part = line.trim();
        if part == MARK {
            continue;
        }
        let mark =
            part.strip_prefix(TAG).and_then(|rest| rest.split(')').next()?.parse::<u32>().ok());
        match mark {
            Some(at) if last == Some(at) => {}
            Some(at) => {
                if let Some(instruction) = instruction(at) {
                    writeln!(text, "{at:6}  {}", instruction.listed(at))?;
                }
                last = Some(at);
            }
            None if line.starts_with(' ') => writeln!(text, "            {part}")?,
            None => writeln!(text, "          {part}")?,
        }
    }
    Ok(())
}
