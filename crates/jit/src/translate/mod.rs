//! From instructions to Cranelift's intermediate form.
//!
//! A function is cut at its return points. Each piece is one Cranelift function of the `tail`
//! convention: stack pointer, heap top, reductions and the first X registers come as arguments, the
//! address of the scheduler's registers in the pinned register; calls and returns are tail calls to
//! whatever `installed_at` on the cell of the target. Within a piece, X registers are values; Y
//! registers are words of the stack. What is rare is left to the interpreter by an *exit*, which
//! writes the state back and returns; what is not translated is *stepped*: the state is written
//! back, one instruction executed, and the state read again.

mod assisted;
pub(crate) mod bit_building;
mod bits;
mod block_versions;
mod bs_match;
mod built_ins;
mod calls;
mod comparisons;
mod instructions;
mod kinds;
mod numbers;
mod registers;
mod scalar_tuples;
mod side_exits;
mod signatures;
mod sites;
#[cfg(test)]
mod tests;
mod tuples;

use crate::plan::analysis::{Flow, TRACKED_X};
use crate::plan::facts::{Fact, Facts};
use crate::plan::inlining::{Body, Inlined};
use crate::symbols::SymbolNotes;
use block_versions::Blocks;
use cranelift_codegen::ir::{Block, InstBuilder, Type, types};
use cranelift_frontend::FunctionBuilder;
use registers::Registers;
use signatures::Signatures;
pub use signatures::{PASSED_X, piece_signature};
pub use sites::InsideLoop;
use sites::{ProgramPoint, Sites};
use swarmrt_beam::instr::{Dst, Instr};
use swarmrt_engine::cell::cell_code;
use swarmrt_engine::code::{Functions, Glue, Stub};
use swarmrt_engine::layout::address_in;
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_heap::LiteralArea;
use swarmrt_machine::bif::BifTable;

pub(crate) const I64: Type = types::I64;
pub(crate) const F64: Type = types::F64;
const TRACKED_F: usize = 32;
/// Words from the stack pointer on that may be values for a while before they are stored.
const PENDING_Y: usize = 16;

/// What a piece is made of.
pub struct Source<'a> {
    /// The instructions of the function's module.
    pub code: &'a [Instr],
    /// The function, and those that it may have inside.
    pub inlined: &'a Inlined,
    /// The function's entry cell.
    pub entry: u32,
    /// What is kept of the module's functions; nothing where code is only listed.
    pub functions: Option<&'a Functions>,
    pub assists: &'static Assists,
    pub bifs: &'static BifTable,
    /// Whether every safepoint collects.
    pub stress: bool,
    /// Whether generic arithmetic is to do floats in place. They cost the others registers.
    pub floats: bool,
    pub glue: &'a Glue,
    pub literals: &'a LiteralArea,
    /// The addresses that the piece being translated is given.
    pub symbols: SymbolNotes,
}

impl Source<'_> {
    /// The machine code of the function of this module that begins behind a cell, if there is any
    /// yet. What is made now may use its address: a module's machine code goes all at once.
    fn entry_code(&self, cell: u32) -> Option<u64> {
        // SAFETY: a cell of the module.
        let code = unsafe { cell_code(address_in(self.code, cell) as *const Instr) };
        // Without an engine, as when code is only listed, there is nothing at all.
        let stubs =
            [Stub::NoCodeEntry, Stub::Breakpoint].map(|stub| self.glue.exits[stub as usize]);
        if code == 0 || stubs.contains(&code) {
            return None;
        }
        let Instr::FuncInfo { function, .. } = self.code[cell as usize - 1] else { return None };
        // Code of the baseline compiler gives way to better.
        let is_baseline =
            self.functions.is_some_and(|functions| functions.is_baseline(function as usize, code));
        (!is_baseline).then_some(code)
    }
}

/// Where a piece begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// The instruction past the cell.
    pub at: u32,
    /// X registers alive there.
    pub live: usize,
    /// The loop of another module's function that it is, if it is one.
    pub inside: Option<InsideLoop>,
}

/// Translates the piece that begins at `start` into `builder`'s function. The loops that it has
/// inside.
pub fn translate(
    builder: FunctionBuilder<'_>,
    source: &Source<'_>,
    start: Start,
    config: cranelift_codegen::isa::TargetFrontendConfig,
) -> Vec<InsideLoop> {
    let mut translator = Translator::new(builder, source, start);
    translator.run();
    translator.b.seal_all_blocks();
    translator.b.finalize(config);
    translator.sites.loops
}

/// Translates one piece: where it is, and what it knows there.
pub(crate) struct Translator<'a, 'b> {
    pub(crate) b: FunctionBuilder<'b>,
    pub(crate) source: &'a Source<'a>,
    start: Start,
    pub(crate) regs: Registers,
    /// What is known of the registers where the translation is.
    pub(crate) facts: Facts,
    /// F registers that the piece has written so far.
    written_f: u32,
    /// Whether the place is hardly ever reached.
    cold: bool,
    /// The run of float operations that the translation is in.
    float_run: Option<FloatRun>,
    sites: Sites,
    blocks: Blocks,
    signatures: Signatures,
}

/// A run of float operations: since its first instruction only F registers have been written, none
/// of them alive there.
struct FloatRun {
    at: u32,
    /// What was known there.
    facts: Facts,
    /// The way out to there.
    exit: Block,
    /// The way to do the run anew, if one has been needed.
    anew: Option<Block>,
}

/// Whether the translation goes on with the next instruction.
pub(crate) enum Next {
    At(u32),
    End,
}

impl<'a, 'b> Translator<'a, 'b> {
    fn new(mut b: FunctionBuilder<'b>, source: &'a Source<'a>, start: Start) -> Self {
        let regs = Registers::declare(&mut b);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let params = b.block_params(entry).to_vec();
        for (variable, param) in [regs.stop, regs.top, regs.reductions].into_iter().zip(&params) {
            b.def_var(variable, *param);
        }
        let mut translator = Translator {
            b,
            source,
            start,
            regs,
            facts: Facts::default(),
            written_f: 0,
            cold: false,
            float_run: None,
            sites: Sites::default(),
            blocks: Blocks::default(),
            signatures: Signatures::default(),
        };
        let params = &params;
        if let Some(inside) = start.inside {
            translator.begin_inside(inside);
        }
        if translator.begins_function() || start.inside.is_some() {
            translator.count_call(
                translator.address_of(translator.body().entry),
                start.live,
                |translator| {
                    let code = translator.way_out(Stub::TurnOver);
                    translator.go(code, &params[3..]);
                },
            );
        }
        for number in 0..start.live {
            let value = match number {
                _ if number < PASSED_X => params[3 + number],
                _ if number < TRACKED_X => translator.load_x(number),
                _ => break,
            };
            translator.def_x(number, value);
        }
        if let Some(inside) = start.inside {
            translator.facts.set(Dst::x(inside.argument as u16), Fact::fun(inside.fun));
        }
        let first = translator.target(start.at);
        translator.b.ins().jump(first, &[]);
        translator
    }

    fn run(&mut self) {
        loop {
            while let Some((point, number)) = self.blocks.pending.pop() {
                self.sites.current = point.site;
                self.translate_version(point, number);
            }
            let Some(later) = self.blocks.later.pop_front() else { return };
            self.sites.current = later.site;
            self.b.switch_to_block(later.block);
            self.b.set_srcloc(later.location);
            self.float_run = None;
            (self.facts, self.written_f, self.cold) = (later.facts, later.written_f, later.cold);
            self.regs.stop_offset = 0;
            (later.translate)(self);
        }
    }
    fn translate_version(&mut self, point: ProgramPoint, number: usize) {
        let version =
            &mut self.blocks.versions.get_mut(&point).expect("pending places have versions")
                [number];
        if std::mem::replace(&mut version.translated, true) {
            return;
        }
        (self.facts, self.written_f, self.cold) =
            (version.facts.clone(), version.written_f, version.cold);
        self.regs.stop_offset = 0;
        self.b.switch_to_block(version.block);
        let mut at = point.at;
        self.float_run = None;
        loop {
            if !self.code()[at as usize].writes_floats_only() {
                self.float_run = None;
            }
            match self.instruction(at) {
                Next::End => return,
                Next::At(next) => {
                    if self.flow().is_target(next) {
                        let block = self.target(next);
                        self.b.ins().jump(block, &[]);
                        return;
                    }
                    at = next;
                }
            }
        }
    }

    /// What is being translated.
    fn body(&self) -> &'a Body {
        self.source.inlined.body(self.sites.entered[self.sites.current].body)
    }
    pub(crate) fn flow(&self) -> &'a Flow {
        &self.body().flow
    }
    pub(crate) fn code(&self) -> &'a [Instr] {
        self.body().code(self.source.code)
    }
}
