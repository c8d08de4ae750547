//! From instructions to Cranelift's intermediate form.
//!
//! A function is cut at its return points. Each piece is one Cranelift function of the `tail` convention:
//! stack pointer, heap top, reductions and the first X registers come as arguments, the address of the scheduler's
//! registers in the pinned register; calls and returns are tail calls to whatever installed_at on the cell of the target. Within
//! a piece, X registers are values; Y registers are words of the stack. What is rare is left to the interpreter by an
//! *exit*, which writes the state back and returns; what is not translated is *stepped*: the state is written back, one
//! instruction executed, and the state read again.

mod assisted;
pub(crate) mod bits;
mod block_versions;
mod bs_match;
mod built_ins;
mod calls;
mod kinds;
mod numbers;
mod registers;
mod scalar_tuples;
mod side_exits;
mod sites;
mod tuples;

use crate::plan::analysis::{Flow, TRACKED_X};
use crate::plan::facts::{Fact, Facts, SCALAR_TUPLES_MAX, SLOTS, kind};
use crate::plan::inlining::{Body, Inlined};
use crate::symbols::SymbolNotes;
use block_versions::{BlockVersion, Later};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, Block, InstBuilder, SigRef, Signature, SourceLoc, Type, Value, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, Switch, Variable};
pub use sites::InsideLoop;
use sites::{Entered, Site};
use std::collections::{HashMap, VecDeque};
use swarmrt_beam::instr::{Dst, Instr, Select, Src};
use swarmrt_engine::cell::cell_code;
use swarmrt_engine::code::{Functions, Glue, Stub, Symbol};
use swarmrt_engine::layout::{self, address_in};
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_heap::LiteralArea;
use swarmrt_machine::bif::BifTable;
use swarmrt_term::{Subtag, Term, release};

pub(crate) const I64: Type = types::I64;
pub(crate) const F64: Type = types::F64;
const TRACKED_F: usize = 32;
/// Words from the stack pointer on that may be values for a while before they are stored.
const PENDING_Y: usize = 16;

/// X registers that come as arguments.
pub const PASSED_X: usize = 3;

/// The signature of a piece that takes this many X registers as arguments. All arguments are in machine registers,
/// so that one who passes more than are taken does no harm.
pub fn piece_signature(passed: usize) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.extend(vec![AbiParam::new(I64); 3 + passed.min(PASSED_X)]);
    signature.returns.push(AbiParam::new(I64));
    signature
}

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
    /// The machine code of the function of this module that begins behind a cell, if there is any yet. What is made now
    /// may use its address: a module's machine code goes all at once.
    fn entry_code(&self, cell: u32) -> Option<u64> {
        // SAFETY: a cell of the module.
        let code = unsafe { cell_code(address_in(self.code, cell) as *const Instr) };
        // Without an engine, as when code is only listed, there is nothing at all.
        if code == 0 || code == self.glue.exits[Stub::NoCodeEntry as usize] {
            return None;
        }
        let Instr::FuncInfo { function, .. } = self.code[cell as usize - 1] else { return None };
        // Code of the baseline compiler gives way to better.
        let is_baseline = self.functions.is_some_and(|functions| functions.is_baseline(function as usize, code));
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

/// Translates the piece that begins at `start` into `builder`'s function. The loops that it has inside.
pub fn translate(builder: FunctionBuilder<'_>, source: &Source<'_>, start: Start, config: cranelift_codegen::isa::TargetFrontendConfig) -> Vec<InsideLoop> {
    let mut piece = Piece::new(builder, source, start);
    piece.run();
    piece.b.seal_all_blocks();
    piece.b.finalize(config);
    piece.loops
}

pub(crate) struct Piece<'a, 'b> {
    pub(crate) b: FunctionBuilder<'b>,
    pub(crate) source: &'a Source<'a>,
    start: Start,
    x: Vec<Variable>,
    /// The values of X registers that are floats, where the facts say so.
    x_floats: Vec<Variable>,
    f: Vec<Variable>,
    /// The Y registers that are not in memory yet, where the facts say so, and return addresses among them.
    y: Vec<Variable>,
    y_floats: Vec<Variable>,
    /// The elements of scalar-replaced tuples.
    scalars: Vec<Variable>,
    scalar_floats: Vec<Variable>,
    /// The stack pointer is so many bytes past `stop`. None within a block that something else leads to.
    stop: Variable,
    stop_offset: i32,
    pub(crate) top: Variable,
    pub(crate) reductions: Variable,
    /// What is known of the registers where the translation is.
    pub(crate) facts: Facts,
    /// Whether the place is hardly ever reached.
    cold: bool,
    /// The run of float operations that the translation is in.
    float_run: Option<FloatRun>,
    /// The places where bodies stand, and the one that is being translated.
    sites: Vec<Entered>,
    site: Site,
    /// The loops that are entered with funs.
    loops: Vec<InsideLoop>,
    /// Of the places of each body.
    versions: HashMap<(Site, u32), Vec<BlockVersion>>,
    pending: Vec<(Site, u32, usize)>,
    later: VecDeque<Later>,
    /// Of pieces, by how many X registers they take.
    piece_signatures: [Option<SigRef>; PASSED_X + 1],
    question_signature: Option<SigRef>,
    saved_signature: Option<SigRef>,
    /// Of the machine's functions, by how many words they take.
    pub(crate) signatures: HashMap<usize, SigRef>,
    /// F registers that the piece has written so far.
    written_f: u32,
    /// The address of the scheduler's registers, as it was last read, and in which block.
    registers: (Option<Block>, Value),
    cell_code: i32,
}

/// A run of float operations: since its first instruction only F registers have been written, none of them alive there.
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

impl<'a, 'b> Piece<'a, 'b> {
    fn new(mut b: FunctionBuilder<'b>, source: &'a Source<'a>, start: Start) -> Self {
        let x = (0..TRACKED_X).map(|_| b.declare_var(I64)).collect::<Vec<_>>();
        let x_floats = (0..TRACKED_X).map(|_| b.declare_var(F64)).collect();
        let f = (0..TRACKED_F).map(|_| b.declare_var(F64)).collect();
        let y = (0..PENDING_Y).map(|_| b.declare_var(I64)).collect();
        let y_floats = (0..PENDING_Y).map(|_| b.declare_var(F64)).collect();
        let elements = usize::from(SLOTS) * SCALAR_TUPLES_MAX;
        let scalars = (0..elements).map(|_| b.declare_var(I64)).collect();
        let scalar_floats = (0..elements).map(|_| b.declare_var(F64)).collect();
        let (stop, top, reductions) = (b.declare_var(I64), b.declare_var(I64), b.declare_var(I64));
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let params = b.block_params(entry).to_vec();
        b.def_var(stop, params[0]);
        b.def_var(top, params[1]);
        b.def_var(reductions, params[2]);
        let mut piece = Piece {
            b,
            source,
            start,
            x,
            x_floats,
            f,
            y,
            y_floats,
            scalars,
            scalar_floats,
            stop,
            stop_offset: 0,
            top,
            reductions,
            facts: Facts::default(),
            cold: false,
            float_run: None,
            sites: vec![Entered::FUNCTION],
            site: 0,
            loops: Vec::new(),
            versions: HashMap::new(),
            pending: Vec::new(),
            later: VecDeque::new(),
            piece_signatures: [None; PASSED_X + 1],
            question_signature: None,
            saved_signature: None,
            signatures: HashMap::new(),
            written_f: 0,
            registers: (None, params[0]),
            cell_code: layout::cell_code_offset(),
        };
        let params = &params;
        if let Some(inside) = start.inside {
            piece.begin_inside(inside);
        }
        if piece.begins_function() || start.inside.is_some() {
            piece.count_call(piece.address_of(piece.body().entry), start.live, |piece| {
                let code = piece.way_out(Stub::TurnOver);
                piece.go(code, &params[3..]);
            });
        }
        for number in 0..start.live {
            let value = match number {
                _ if number < PASSED_X => params[3 + number],
                _ if number < TRACKED_X => piece.load_x(number),
                _ => break,
            };
            piece.def_x(number, value);
        }
        if let Some(inside) = start.inside {
            piece.facts.set(Dst::x(inside.argument as u16), Fact::fun(inside.fun));
        }
        let first = piece.target(start.at);
        piece.b.ins().jump(first, &[]);
        piece
    }

    fn run(&mut self) {
        loop {
            while let Some((site, at, number)) = self.pending.pop() {
                self.site = site;
                self.translate_version(at, number);
            }
            let Some(later) = self.later.pop_front() else { return };
            self.site = later.site;
            self.b.switch_to_block(later.block);
            self.b.set_srcloc(later.location);
            self.float_run = None;
            (self.facts, self.written_f, self.cold) = (later.facts, later.written_f, later.cold);
            self.stop_offset = 0;
            (later.translate)(self);
        }
    }
    fn translate_version(&mut self, label: u32, number: usize) {
        let version = &mut self.versions.get_mut(&(self.site, label)).expect("pending places have versions")[number];
        if std::mem::replace(&mut version.translated, true) {
            return;
        }
        (self.facts, self.written_f, self.cold) = (version.facts.clone(), version.written_f, version.cold);
        self.stop_offset = 0;
        self.b.switch_to_block(version.block);
        let mut at = label;
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
        self.source.inlined.body(self.sites[self.site].body)
    }
    pub(crate) fn flow(&self) -> &'a Flow {
        &self.body().flow
    }
    pub(crate) fn code(&self) -> &'a [Instr] {
        self.body().code(self.source.code)
    }

    // ---- Instructions ----

    /// The Y registers of a new frame that are written before anybody can look.
    fn written_soon(&self, mut at: u32) -> u64 {
        let mut written = 0u64;
        let mut add = |y: u16| {
            if y < 64 {
                written |= 1 << y;
            }
        };
        loop {
            match self.code()[at as usize] {
                Instr::MoveXY { to, .. } => add(to),
                Instr::MoveXY2 { to1, to2, .. } => {
                    add(to1);
                    add(to2);
                }
                Instr::InitY { registers } => registers.iter().for_each(|&y| add(y)),
                Instr::MoveXX { .. } | Instr::MoveKX { .. } | Instr::MoveXX2 { .. } | Instr::Nop => {}
                _ => return written,
            }
            at += 1;
            if self.flow().is_target(at) {
                return written;
            }
        }
    }

    /// Where the immediates of a selection lead.
    fn select(&mut self, at: u32, value: Value, keys: &[u64], targets: &[i32], fail: i32) -> Next {
        let mut switch = Switch::new();
        let mut seen = std::collections::HashSet::new();
        for (&key, &target) in keys.iter().zip(targets) {
            if seen.insert(key) {
                let block = self.target(self.relative(at, target));
                switch.set_entry(u128::from(key), block);
            }
        }
        let fail = self.target(self.relative(at, fail));
        switch.emit(&mut self.b, value, fail);
        Next::End
    }
    fn select_number(&mut self, at: u32, word: Value, min: i64, targets: &[i32], fail: i32) -> Next {
        let fail_block = self.target(self.relative(at, fail));
        let is_small = self.is_small(word);
        self.require(is_small, fail_block);
        let number = self.small_value(word);
        let number = self.b.ins().iadd_imm_s(number, min.wrapping_neg());
        let keys: Vec<u64> = (0..targets.len() as u64).collect();
        self.select(at, number, &keys, targets, fail)
    }

    #[allow(clippy::too_many_lines, reason = "one arm an instruction")]
    fn instruction(&mut self, at: u32) -> Next {
        self.b.set_srcloc(SourceLoc::new(self.body().location(at)));
        let on = Next::At(at + 1);
        // Others may lead to several blocks before and after they ask for a target.
        if !self.code()[at as usize].properties().straight {
            self.settle_stop();
        }
        if !scalar_tuples::keeps_scalars(&self.code()[at as usize]) && !self.is_root(at) {
            self.build_all();
        }
        match self.code()[at as usize] {
            // Whoever comes here otherwise brings no X registers.
            Instr::Cell { .. } => {
                self.facts.forget_x();
                on
            }
            Instr::Nop | Instr::Fail { .. } => on,
            Instr::MoveXX { from, to } => {
                self.copy(at, Src::x(from), Dst::x(to));
                on
            }
            Instr::MoveXY { from, to } => {
                self.copy(at, Src::x(from), Dst::y(to));
                on
            }
            Instr::MoveYX { from, to } => {
                self.copy(at, Src::y(from), Dst::x(to));
                on
            }
            Instr::MoveKX { to, value } => {
                let word = self.constant_word(value.raw());
                self.set_known(Dst::x(to), word, Fact::of_term(value));
                on
            }
            Instr::Move { src, dst } => {
                self.copy(at, src, dst);
                on
            }
            Instr::MoveXX2 { from1, to1, from2, to2 } => {
                self.copy(at, Src::x(from1), Dst::x(to1));
                self.copy(at, Src::x(from2), Dst::x(to2));
                on
            }
            Instr::MoveXY2 { from1, to1, from2, to2 } => {
                self.copy(at, Src::x(from1), Dst::y(to1));
                self.copy(at, Src::x(from2), Dst::y(to2));
                on
            }
            Instr::MoveYX2 { from1, to1, from2, to2 } => {
                self.copy(at, Src::y(from1), Dst::x(to1));
                self.copy(at, Src::y(from2), Dst::x(to2));
                on
            }
            Instr::Swap { a, b } => {
                let (first, second) = (self.src(at, a.as_src()), self.src(at, b.as_src()));
                let (known_first, known_second) = (self.facts.of(a), self.facts.of(b));
                self.set_known(a, second, known_second);
                self.set_known(b, first, known_first);
                on
            }
            Instr::InitY { registers } => {
                let nil = self.word(Term::NIL.raw());
                for &y in registers.iter() {
                    self.store_y(y.into(), nil);
                }
                on
            }

            Instr::Allocate { frame, heap, .. } => {
                if self.source.stress {
                    return self.slow(at);
                }
                let slow = self.exit_block(at);
                self.require_room(frame as usize + heap as usize, slow);
                self.push_frame(frame);
                let written = self.written_soon(at + 1);
                let nil = self.word(Term::NIL.raw());
                for y in 0..frame {
                    if y >= 64 || written & (1 << y) == 0 {
                        self.store_y(y.into(), nil);
                    }
                }
                on
            }
            Instr::Deallocate { frame } => {
                self.pop_frame(frame);
                on
            }
            Instr::Trim { words } => {
                self.pop_frame(words);
                on
            }
            Instr::TestHeap { words, .. } => {
                if self.source.stress {
                    return self.slow(at);
                }
                let slow = self.exit_block(at);
                self.require_room(words as usize, slow);
                on
            }

            Instr::Call { arity, target } => {
                self.push_return(at);
                self.call_local(at, target, arity, false)
            }
            Instr::CallLast { arity, frame, target } => {
                self.pop_frame(frame);
                self.call_local(at, target, arity, true)
            }
            Instr::CallOnly { arity, target } => self.call_local(at, target, arity, true),
            Instr::CallExt { arity, export } => {
                self.push_return(at);
                self.call_export(at, export, arity)
            }
            Instr::CallExtLast { arity, frame, export } => {
                self.pop_frame(frame);
                self.call_export(at, export, arity)
            }
            Instr::CallExtOnly { arity, export } => self.call_export(at, export, arity),
            Instr::Return => self.give_back(),

            Instr::Jump { target } => {
                let block = self.target(self.relative(at, target));
                self.b.ins().jump(block, &[]);
                Next::End
            }
            Instr::SelectVal { src, select } => match &*select {
                Select::Jump { min, targets, fail } => {
                    let word = self.src(at, src);
                    self.select_number(at, word, *min, targets, *fail)
                }
                Select::Search { keys, targets, fail } => {
                    let word = self.src(at, src);
                    self.select(at, word, keys, targets, *fail)
                }
                Select::Each { .. } => self.slow(at),
            },
            Instr::SelectArity { src, select } => match &*select {
                Select::Jump { fail, .. } | Select::Search { fail, .. } => {
                    let value = self.src(at, src);
                    let fail_block = self.target(self.relative(at, *fail));
                    let header = self.require_tuple(at, src, value, fail_block);
                    let arity = self.b.ins().ushr_imm_s(header, 8);
                    let word = self.tag_small(arity);
                    match &*select {
                        Select::Jump { min, targets, fail } => self.select_number(at, word, *min, targets, *fail),
                        Select::Search { keys, targets, fail } => self.select(at, word, keys, targets, *fail),
                        Select::Each { .. } => unreachable!("sorted out above"),
                    }
                }
                Select::Each { .. } => self.slow(at),
            },

            Instr::IsInteger { src, fail } => self.test_number(at, src, fail, kind::SMALL, kind::BIG),
            Instr::IsFloat { src, fail } => self.test_number(at, src, fail, kind::FLOAT, kind::BOXED_FLOAT),
            Instr::IsNumber { src, fail } => self.test_number(at, src, fail, kind::SMALL | kind::FLOAT, kind::BIG | kind::BOXED_FLOAT),
            Instr::IsAtom { src, fail } => self.test_word(at, src, fail, kind::ATOM, |piece, value, _| piece.tag_is(value, 0b111_111, 0b000_001)),
            Instr::IsNil { src, fail } => self.test_word(at, src, fail, kind::NIL, |piece, value, _| piece.is_nil(value)),
            Instr::IsNilX { x, fail } => self.test_word(at, Src::x(x), fail, kind::NIL, |piece, value, _| piece.is_nil(value)),
            Instr::IsList { src, fail } => self.test_word(at, src, fail, kind::CONS | kind::NIL, |piece, value, _| {
                let (nil, cons) = (piece.is_nil(value), piece.is_cons(value));
                piece.b.ins().bor(nil, cons)
            }),
            Instr::IsCons { src, fail } => self.test_word(at, src, fail, kind::CONS, Self::is_cons_of),
            Instr::IsConsX { x, fail } => self.test_word(at, Src::x(x), fail, kind::CONS, Self::is_cons_of),
            Instr::IsConsGetListX { x, head, tail, fail } => {
                if let Next::End = self.test_word(at, Src::x(x), fail, kind::CONS, Self::is_cons_of) {
                    return Next::End;
                }
                let list = self.use_x(x.into());
                let (first, rest) = (self.load(list, layout::HEAD), self.load(list, layout::TAIL));
                self.set(head, first);
                self.set(tail, rest);
                on
            }
            Instr::IsBoolean { src, fail } => {
                let value = self.src(at, src);
                let yes = self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::bool(true).raw() as i64);
                let no = self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::bool(false).raw() as i64);
                let is = self.b.ins().bor(yes, no);
                let next = self.test(at, is, fail);
                self.facts.learn(src, Fact::of(kind::ATOM));
                next
            }
            Instr::IsTuple { src, fail } => self.test_boxed(at, src, fail, &[Subtag::Tuple], kind::TUPLE),
            Instr::IsRecord { src, fail } => self.test_boxed(at, src, fail, &[Subtag::Record], kind::OTHER),
            Instr::IsMap { src, fail } => self.test_boxed(at, src, fail, &[Subtag::FlatMap, Subtag::HashMap], kind::MAP),
            Instr::IsFunction { src, fail } => self.test_boxed(at, src, fail, &[Subtag::Fun, Subtag::ExportFun], kind::FUN),
            Instr::IsBitstring { src, fail } => self.test_boxed(at, src, fail, &[Subtag::HeapBin, Subtag::SharedBin, Subtag::SubBin], kind::BITS),
            Instr::IsTupleOf { src, arity, fail } | Instr::TestArity { src, arity, fail } => match self.test_arity(at, src, arity, fail) {
                Ok(()) => on,
                Err(next) => next,
            },
            Instr::IsTaggedTuple { src, arity, tag, fail } if arity > 0 => {
                if let Err(next) = self.test_arity(at, src, arity.into(), fail) {
                    return next;
                }
                self.require_tag(at, src, tag, fail);
                on
            }
            Instr::IsTagged { src, tag, fail } => {
                self.require_tag(at, src, tag, fail);
                on
            }
            Instr::IsLt { a, b, fail } => self.compare(at, a, b, fail, true),
            Instr::IsGe { a, b, fail } => self.compare(at, a, b, fail, false),
            Instr::IsLtXI { x, value, fail } => self.compare(at, Src::x(x), Src::small(value), fail, true),
            Instr::IsGeXI { x, value, fail } => self.compare(at, Src::x(x), Src::small(value), fail, false),
            Instr::IsEq { a, b, fail } => self.equality(at, a, b, fail, false, true),
            Instr::IsNe { a, b, fail } => self.equality(at, a, b, fail, false, false),
            Instr::IsEqExact { a, b, fail } => self.equality(at, a, b, fail, true, true),
            Instr::IsNeExact { a, b, fail } => self.equality(at, a, b, fail, true, false),
            Instr::IsEqImmX { x, fail, value } => self.test_immediate(at, x, value, fail, true),
            Instr::IsNeImmX { x, fail, value } => self.test_immediate(at, x, value, fail, false),

            Instr::GetList { src, head, tail } => {
                let list = self.list_cell(at, src);
                let (first, rest) = (self.load(list, layout::HEAD), self.load(list, layout::TAIL));
                self.set(head, first);
                self.set(tail, rest);
                on
            }
            Instr::GetHead { src, dst } => {
                let list = self.list_cell(at, src);
                let first = self.load(list, layout::HEAD);
                self.set(dst, first);
                on
            }
            Instr::GetTail { src, dst } => {
                let list = self.list_cell(at, src);
                let rest = self.load(list, layout::TAIL);
                self.set(dst, rest);
                on
            }
            Instr::GetElement { src, index, dst } => {
                self.get_elements(at, src, index as usize, &[dst]);
                on
            }
            Instr::GetElement2 { src, index, dst1, dst2 } => {
                self.get_elements(at, src, index as usize, &[dst1, dst2]);
                on
            }
            Instr::PutList { head, tail, dst } => {
                let (first, rest) = (self.src(at, head), self.src(at, tail));
                let cell = self.bump(2);
                self.store(first, cell, 0);
                self.store(rest, cell, 8);
                let list = self.b.ins().iadd_imm_s(cell, Term::TAG_CONS as i64);
                self.set_known(dst, list, Fact::of(kind::CONS));
                on
            }
            Instr::PutTuple { dst, elements } => {
                if !self.put_scalars(at, dst, &elements) {
                    let values: Vec<Value> = elements.iter().map(|&element| self.src(at, element)).collect();
                    let tuple = self.new_tuple(&values);
                    self.set_known(dst, tuple, Fact::tuple(values.len() as u32, true));
                }
                on
            }

            Instr::UpdateRecord { dst, update } => self.update_record(at, &update, dst),

            Instr::AddXI { x, to, value } => self.add_constant(at, Src::x(x), value, Dst::x(to)),
            Instr::AddYI { y, dst, value } => self.add_constant(at, Src::y(y), value, dst),
            Instr::Add { a, b, dst }
            | Instr::Sub { a, b, dst }
            | Instr::Mul { a, b, dst }
            | Instr::IntDiv { a, b, dst }
            | Instr::Rem { a, b, dst }
            | Instr::Band { a, b, dst }
            | Instr::Bor { a, b, dst }
            | Instr::Bxor { a, b, dst }
            | Instr::Bsl { a, b, dst }
            | Instr::Bsr { a, b, dst } => self.arithmetic(at, a, b, dst),
            Instr::Element { a, b, dst } => {
                let (index, tuple) = (self.src(at, a), self.src(at, b));
                let fail = self.guard_fail(at);
                let slow = self.failing(at, fail);
                let header = self.require_tuple(at, b, tuple, slow);
                if !self.fact(at, a).is(kind::SMALL) {
                    let small = self.is_small(index);
                    self.require(small, slow);
                }
                let number = self.small_value(index);
                let arity = self.b.ins().ushr_imm_s(header, 8);
                let from_zero = self.b.ins().iadd_imm_s(number, -1);
                let within = self.b.ins().icmp(IntCC::UnsignedLessThan, from_zero, arity);
                self.require(within, slow);
                self.facts.learn(a, Fact::of(kind::SMALL));
                let offset = self.b.ins().ishl_imm_s(number, 3);
                let place = self.b.ins().iadd(tuple, offset);
                let element = self.load(place, -5);
                self.set(dst, element);
                on
            }
            Instr::Hd { a, dst } | Instr::Tl { a, dst } => {
                let list = self.src(at, a);
                let known = self.fact(at, a);
                if !known.is(kind::CONS) {
                    let fail = self.guard_fail(at);
                    let slow = self.failing(at, fail);
                    let is = self.is_cons_of(list, known);
                    self.require(is, slow);
                    self.facts.learn(a, Fact::of(kind::CONS));
                }
                let offset = if matches!(self.code()[at as usize], Instr::Hd { .. }) { layout::HEAD } else { layout::TAIL };
                let part = self.load(list, offset);
                self.set(dst, part);
                on
            }
            Instr::TupleSize { a, dst } => {
                let tuple = self.src(at, a);
                let fail = self.guard_fail(at);
                let slow = self.failing(at, fail);
                let header = self.require_tuple(at, a, tuple, slow);
                let arity = self.b.ins().ushr_imm_s(header, 8);
                let word = self.tag_small(arity);
                self.set_known(dst, word, Fact::integer(0, i128::from(u32::MAX)));
                on
            }

            Instr::LoadFloat { src, to } if usize::from(to) < TRACKED_F => self.load_float(at, src, to),
            Instr::StoreFloat { from, dst } if usize::from(from) < TRACKED_F => {
                self.store_float(from, dst);
                on
            }
            Instr::MoveFloat { from, to } if usize::from(from.max(to)) < TRACKED_F => {
                let value = self.use_f(from);
                self.def_f(to, value);
                on
            }
            Instr::FloatAdd { a, b, to } if usize::from(a.max(b).max(to)) < TRACKED_F => {
                let (a, b) = (self.use_f(a), self.use_f(b));
                let value = self.b.ins().fadd(a, b);
                self.float_operation(at, value, to)
            }
            Instr::FloatSub { a, b, to } if usize::from(a.max(b).max(to)) < TRACKED_F => {
                let (a, b) = (self.use_f(a), self.use_f(b));
                let value = self.b.ins().fsub(a, b);
                self.float_operation(at, value, to)
            }
            Instr::FloatMul { a, b, to } if usize::from(a.max(b).max(to)) < TRACKED_F => {
                let (a, b) = (self.use_f(a), self.use_f(b));
                let value = self.b.ins().fmul(a, b);
                self.float_operation(at, value, to)
            }
            Instr::FloatDiv { a, b, to } if usize::from(a.max(b).max(to)) < TRACKED_F => {
                let (a, b) = (self.use_f(a), self.use_f(b));
                let value = self.b.ins().fdiv(a, b);
                self.float_operation(at, value, to)
            }
            Instr::FloatNeg { a, to } if usize::from(a.max(to)) < TRACKED_F => {
                let a = self.use_f(a);
                let value = if release::current().distinguishes_zeros() {
                    self.b.ins().fneg(a)
                } else {
                    // A subtraction, so that 0.0 stays positive.
                    let zero = self.b.ins().f64const(0.0);
                    self.b.ins().fsub(zero, a)
                };
                self.def_f(to, value);
                on
            }

            Instr::Catch { y, handler } => {
                let handler = self.relative(at, handler);
                let address = self.address_of(handler);
                let symbol = match self.source.inlined.other_instr(address) {
                    None => Symbol::Handler(handler),
                    Some((module, at)) => Symbol::OtherHandler { module: module.name.index(), at },
                };
                if self.source.inlined.other_instr(address).is_some_and(|(module, _)| module.digest.is_none()) {
                    self.source.symbols.tie_to_run();
                }
                let mark = self.address(symbol, Term::catch_mark(address).raw());
                self.store_y(y.into(), mark);
                on
            }
            Instr::TryEnd { y } => {
                let nil = self.word(Term::NIL.raw());
                self.store_y(y.into(), nil);
                on
            }

            Instr::BsStartMatch { src, dst, fail } => self.start_match(at, src, dst, fail),
            Instr::BsGetPosition { context, dst } => {
                let (context, _) = self.context(at, context);
                let offset = self.load(context, layout::CONTEXT_OFFSET);
                let position = self.tag_small(offset);
                self.set(dst, position);
                self.join(at + 1)
            }
            Instr::BsSetPosition { context, position } => {
                let (context, slow) = self.context(at, context);
                let position = self.src(at, position);
                let small = self.is_small(position);
                self.require(small, slow);
                let offset = self.small_value(position);
                let end = self.load(context, layout::CONTEXT_END);
                let within = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, offset, end);
                self.require(within, slow);
                self.store(offset, context, layout::CONTEXT_OFFSET);
                self.join(at + 1)
            }
            Instr::BsTestTail { context, bits, fail } => {
                let (context, _) = self.context(at, context);
                let (_, left) = self.offset_and_left(context);
                let holds = self.b.ins().icmp_imm_s(IntCC::Equal, left, bits as i64);
                let (next, fail) = (self.target(at + 1), self.target(self.relative(at, fail)));
                self.branch(holds, next, fail);
                Next::End
            }
            Instr::BsTestUnit { context, unit, fail } if unit.is_power_of_two() => {
                let (context, _) = self.context(at, context);
                let (_, left) = self.offset_and_left(context);
                let rest = self.b.ins().band_imm_s(left, i64::from(unit) - 1);
                let (next, fail) = (self.target(at + 1), self.target(self.relative(at, fail)));
                self.branch(rest, fail, next);
                Next::End
            }
            Instr::BsSkip { unit, context, size, fail } => {
                let (context, slow) = self.context(at, context);
                let bits = self.segment_bits(at, context, size, unit, fail, slow);
                self.move_by(context, bits);
                self.join(at + 1)
            }
            Instr::BsGetInteger { flags: 0, unit, context, size, dst, fail } if self.field_bits(at, size, unit).is_some() => {
                let bits = self.field_bits(at, size, unit).expect("just asked");
                self.get_field(at, context, bits, dst, fail)
            }
            Instr::BsGetInteger { flags, unit, context, size, dst, fail } => self.get_integer(at, context, size, unit, flags, dst, fail),
            Instr::BsGetBinary { unit, context, size, dst, fail, .. } => self.get_binary(at, context, size, unit, dst, fail),
            Instr::BsGetRest { unit, context, dst, fail, .. } => self.get_rest(at, context, unit, dst, fail),
            Instr::BsSkipRest { unit, context, fail, .. } => self.skip_rest(at, context, unit, fail),
            Instr::BsGetTail { context, dst } => self.get_tail(at, context, dst),
            Instr::BsGetUtf { utf, context, dst, fail, .. } => self.get_utf(at, utf, context, dst, fail),
            Instr::BsMatch { plan } => self.bs_match(at, &plan),
            Instr::BsCreateBin { plan } => self.create_binary(at, &plan),
            Instr::BsMatchString { context, fail, bits: string } if string.0 > 0 && string.0 % 8 == 0 && string.0 <= 512 => {
                self.match_string(at, context, &string.1[..string.0 as usize / 8], fail)
            }

            Instr::BsMatchString { context, fail, bits: string } if (1..=bits::FIELD_BITS_MAX as usize).contains(&(string.0 as usize)) => {
                let count = string.0;
                let bytes = (count as usize).div_ceil(8);
                let wanted = string.1[..bytes].iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
                self.match_bits(at, context, count, wanted >> (bytes as u32 * 8 - count), fail)
            }
            Instr::BsGetFloat { flags, unit, context, size, dst, fail } if matches!(self.size_bits(at, size, unit), Some(32 | 64)) => {
                let bits = self.size_bits(at, size, unit).expect("just asked");
                self.get_float(at, context, bits, flags, dst, fail)
            }

            Instr::CallBif { arity, bif } => self.call_bif(at, bif, arity),
            Instr::CallBifLast { arity, frame, bif } => self.call_bif_last(at, bif, arity, frame),
            Instr::CallBifOnly { arity, bif } | Instr::BifBody { arity, bif, .. } => self.call_bif_last(at, bif, arity, 0),
            Instr::NativeBody { arity, .. } => self.native_body(at, arity),
            Instr::Bif0 { bif, dst } => self.bif_value(at, bif, &[], dst),
            Instr::Bif1 { bif, a, dst } => self.bif_value(at, bif, &[a], dst),
            Instr::Bif2 { bif, a, b, dst } => self.bif_value(at, bif, &[a, b], dst),
            Instr::Bif3 { bif, dst, args } => self.bif_value(at, bif, &*args, dst),
            Instr::MakeFun { dst, free, .. } => self.make_fun(at, free.0, &free.1, dst),
            Instr::CallFun { arity } => self.call_fun(at, Src::x(arity), arity, None),
            Instr::CallFun2 { arity, fun } => self.call_fun(at, fun, arity, None),
            Instr::CallFunLast { arity, frame, fun } => self.call_fun(at, fun, arity, Some(frame)),
            Instr::IsFunctionOf { src, arity, .. } if self.constant(at, arity).is_some_and(|word| word & 0b11 == 0b11 && word >> 2 < 256) => {
                let arity = self.constant(at, arity).expect("just seen") >> 2;
                if self.known_fun(at, src, arity as u16).is_some() {
                    return on;
                }
                let fun = self.src(at, src);
                // An external fun, or none at all.
                let other = self.later(move |piece| piece.step(at));
                self.require_fun(fun, arity as u16, other);
                self.facts.learn(src, Fact::of(kind::FUN));
                on
            }
            Instr::Apply { arity } => self.apply(at, arity, None),
            Instr::ApplyLast { arity, frame } => self.apply(at, arity, Some(frame)),
            Instr::EndTurn { .. } => self.end_turn(at),
            Instr::Send => self.send(at),
            Instr::LoopRec { .. } => self.receive_peek(at),
            Instr::LoopRecEnd { target } => self.receive_next(at, target),
            Instr::RecvMarkerReserve { dst } => {
                let registers = self.registers();
                let marker = self.call_plain(self.source.assists.reserve_marker as usize, &[registers]);
                let failing = self.exit_block(at);
                self.require_term(marker, failing);
                self.set_known(dst, marker, Fact::of(kind::SMALL));
                on
            }
            Instr::RecvMarkerBind { marker, reference } => {
                let (registers, marker, reference) = (self.registers(), self.src(at, marker), self.src(at, reference));
                self.call_plain(self.source.assists.bind_marker as usize, &[registers, marker, reference]);
                on
            }
            Instr::RecvMarkerClear { reference } => {
                let (registers, reference) = (self.registers(), self.src(at, reference));
                self.call_plain(self.source.assists.clear_marker as usize, &[registers, reference]);
                on
            }
            Instr::RecvMarkerUse { reference } => {
                let (registers, reference) = (self.registers(), self.src(at, reference));
                self.call_plain(self.source.assists.use_marker as usize, &[registers, reference]);
                on
            }
            Instr::RemoveMessage => self.take_message(at),
            Instr::GetMap { get } => self.get_map(at, &get),
            Instr::NewMap { keys, values, dst } => self.new_map(at, keys, &values, dst),
            Instr::PutMap { dst, put } => self.put_map(at, &put, dst),
            Instr::IsBinary { src, fail } => self.is_binary(at, src, fail),
            Instr::IsPid { src, fail } => {
                let value = self.src(at, src);
                let (next, other) = (self.target(at + 1), self.b.create_block());
                let tag = Term::pid(0).raw();
                let local = self.tag_is(value, 0b11_1111, (tag & 0b11_1111) as i64);
                self.branch(local, next, other);
                self.b.switch_to_block(other);
                self.test_boxed(at, src, fail, &[Subtag::ExternalPid], kind::OTHER)
            }
            Instr::IsReference { src, fail } => self.test_boxed(at, src, fail, &[Subtag::Ref, Subtag::ExternalRef], kind::OTHER),

            ref instr if instr.properties().exits => {
                self.exit_at(at);
                Next::End
            }
            _ => self.slow(at),
        }
    }

    pub(crate) fn slow(&mut self, at: u32) -> Next {
        self.step(at);
        Next::End
    }

    /// The highest element of a tuple that is taken in the row of instructions which begins here, counted from 0.
    fn last_element(&self, at: u32, tuple: Src) -> usize {
        let mut last = 0;
        for next in at.. {
            let written: [Option<Dst>; 2] = match self.code()[next as usize] {
                Instr::GetElement { src, index, dst } => {
                    if src == tuple {
                        last = last.max(index as usize);
                    }
                    [Some(dst), None]
                }
                Instr::GetElement2 { src, index, dst1, dst2 } => {
                    if src == tuple {
                        last = last.max(index as usize + 1);
                    }
                    [Some(dst1), Some(dst2)]
                }
                ref instr if instr.writes_floats_only() => [None, None],
                _ => return last,
            };
            if written.into_iter().flatten().any(|dst| dst.as_src() == tuple) || self.flow().is_target(next + 1) {
                return last;
            }
        }
        last
    }
    /// A tuple that has an element `index`, counted from 0; anything else is left to the interpreter.
    fn tuple_with(&mut self, at: u32, src: Src, index: usize) -> Value {
        let tuple = self.src(at, src);
        let known = self.fact(at, src);
        if !(known.is(kind::TUPLE) && known.arity as usize > index) {
            // Once for all elements that are taken in a row.
            let index = index.max(self.last_element(at, src));
            let other = self.exit_block(at);
            if !known.is(kind::BOXED) {
                let boxed = self.is_boxed(tuple);
                self.require(boxed, other);
            }
            // How many elements it has, counted from those that are wanted; of what is no tuple, it is far more than there can be.
            let header = self.header_of(tuple);
            let bare = self.b.ins().iadd_imm_s(header, -((Subtag::Tuple as i64) << 3));
            let arity = self.b.ins().rotr_imm_s(bare, 8);
            let beyond = self.b.ins().iadd_imm_s(arity, -(index as i64 + 1));
            let fine = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, beyond, 1 << 30);
            self.require(fine, other);
            self.facts.learn(src, Fact::tuple(index as u32 + 1, false));
        }
        tuple
    }
}
