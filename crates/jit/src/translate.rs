//! From instructions to Cranelift's intermediate form.
//!
//! A function is cut at its return points. Each piece is one Cranelift function of the `tail` convention:
//! stack pointer, heap top, reductions and the first X registers come as arguments, the address of the scheduler's
//! registers in the pinned register; calls and returns are tail calls to whatever hangs on the cell of the target. Within a piece, X registers are values; Y registers are words of
//! the stack. What is rare or long is left to the interpreter, in one of two ways: a *step* writes the state back,
//! has one instruction executed and reads the state again; an *exit* writes it back and returns.

use crate::analysis::{Flow, TRACKED_X, XSet, below};
use crate::layout;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{AbiParam, Block, BlockArg, InstBuilder, MemFlagsData as MemFlags, SigRef, Signature, Type, Value, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, Switch, Variable};
use std::collections::HashMap;
use swarmrt_beam::instr::{Dst, Instr, Select, Src};
use swarmrt_heap::process_heap::SLACK_WORDS;
use swarmrt_machine::bif::BifTable;
use swarmrt_machine::native::{Assists, Exit};
use swarmrt_term::binary::{heap_bin, shared_bin};
use swarmrt_term::{Header, MatchContext, Subtag, Term};

pub(crate) const I64: Type = types::I64;
const F64: Type = types::F64;
const TRACKED_F: usize = 32;

/// Of the words of a match context, from the tagged pointer.
const CONTEXT_OFFSET: i32 = 8 - 5;
const CONTEXT_END: i32 = 16 - 5;
const CONTEXT_ORIGINAL: i32 = 24 - 5;

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
    pub code: &'a [Instr],
    pub flow: &'a Flow,
    /// The function's entry cell.
    pub entry: u32,
    pub assists: &'static Assists,
    pub bifs: &'static BifTable,
    /// Whether every safepoint collects.
    pub stress: bool,
}

/// Where a piece begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// The instruction past the cell.
    pub at: u32,
    /// X registers alive there.
    pub live: usize,
}

/// Translates the piece that begins at `start` into `builder`'s function.
pub fn translate(builder: FunctionBuilder<'_>, source: &Source<'_>, start: Start, config: cranelift_codegen::isa::TargetFrontendConfig) {
    let mut piece = Piece::new(builder, source, start);
    piece.run();
    piece.b.seal_all_blocks();
    piece.b.finalize(config);
}

pub(crate) struct Piece<'a, 'b> {
    pub(crate) b: FunctionBuilder<'b>,
    pub(crate) source: &'a Source<'a>,
    start: Start,
    x: Vec<Variable>,
    f: Vec<Variable>,
    stop: Variable,
    pub(crate) top: Variable,
    pub(crate) reductions: Variable,
    blocks: HashMap<u32, Block>,
    translated: std::collections::HashSet<u32>,
    pending: Vec<u32>,
    /// Of pieces, by how many X registers they take.
    piece_signatures: [Option<SigRef>; PASSED_X + 1],
    /// Of the machine's functions, by how many words they take.
    pub(crate) signatures: HashMap<usize, SigRef>,
    /// F registers that the piece has written so far.
    written_f: u32,
    cell_code: i32,
}

/// Whether the translation goes on with the next instruction.
pub(crate) enum Next {
    At(u32),
    End,
}

impl<'a, 'b> Piece<'a, 'b> {
    fn new(mut b: FunctionBuilder<'b>, source: &'a Source<'a>, start: Start) -> Self {
        let x = (0..TRACKED_X).map(|_| b.declare_var(I64)).collect::<Vec<_>>();
        let f = (0..TRACKED_F).map(|_| b.declare_var(F64)).collect();
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
            f,
            stop,
            top,
            reductions,
            blocks: HashMap::new(),
            translated: Default::default(),
            pending: Vec::new(),
            piece_signatures: [None; PASSED_X + 1],
            signatures: HashMap::new(),
            written_f: 0,
            cell_code: layout::cell_code_offset(),
        };
        let params = &params;
        for number in 0..start.live {
            let value = match number {
                _ if number < PASSED_X => params[3 + number],
                _ if number < TRACKED_X => piece.load_x(number),
                _ => break,
            };
            piece.def_x(number, value);
        }
        let first = piece.block_for(start.at);
        piece.b.ins().jump(first, &[]);
        piece
    }

    fn run(&mut self) {
        self.pending.push(self.start.at);
        while let Some(label) = self.pending.pop() {
            if !self.translated.insert(label) {
                continue;
            }
            let block = self.block_for(label);
            self.b.switch_to_block(block);
            let mut at = label;
            loop {
                match self.instruction(at) {
                    Next::End => break,
                    Next::At(next) => {
                        if self.blocks.contains_key(&next)
                            || self.source.flow.contains(next) && self.source.flow.is_target[(next - self.source.flow.start) as usize]
                        {
                            let block = self.block_for(next);
                            self.b.ins().jump(block, &[]);
                            self.pending.push(next);
                            break;
                        }
                        at = next;
                    }
                }
            }
        }
    }

    // ---- Blocks ----

    fn block_for(&mut self, at: u32) -> Block {
        let b = &mut self.b;
        *self.blocks.entry(at).or_insert_with(|| b.create_block())
    }
    /// The block of a place that something leads to; it is translated later.
    pub(crate) fn target(&mut self, at: u32) -> Block {
        let block = self.block_for(at);
        self.pending.push(at);
        block
    }
    pub(crate) fn relative(&self, at: u32, distance: i32) -> u32 {
        at.wrapping_add_signed(distance)
    }
    fn cold_block(&mut self) -> Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        block
    }
    /// Goes on here when `condition` holds, else to `other`.
    pub(crate) fn require(&mut self, condition: Value, other: Block) {
        let here = self.b.create_block();
        self.b.ins().brif(condition, here, &[] as &[BlockArg], other, &[] as &[BlockArg]);
        self.b.switch_to_block(here);
    }
    /// The opposite.
    fn require_not(&mut self, condition: Value, other: Block) {
        let here = self.b.create_block();
        self.b.ins().brif(condition, other, &[] as &[BlockArg], here, &[] as &[BlockArg]);
        self.b.switch_to_block(here);
    }
    fn branch(&mut self, condition: Value, yes: Block, no: Block) {
        self.b.ins().brif(condition, yes, &[] as &[BlockArg], no, &[] as &[BlockArg]);
    }

    // ---- Words ----

    pub(crate) fn word(&mut self, value: u64) -> Value {
        self.b.ins().iconst(I64, value as i64)
    }
    pub(crate) fn address_of(&self, at: u32) -> u64 {
        self.source.code.as_ptr() as u64 + u64::from(at) * layout::INSTR_BYTES
    }
    pub(crate) fn load(&mut self, base: Value, offset: i32) -> Value {
        self.b.ins().load(I64, MemFlags::trusted(), base, offset)
    }
    pub(crate) fn store(&mut self, value: Value, base: Value, offset: i32) {
        self.b.ins().store(MemFlags::trusted(), value, base, offset);
    }

    // ---- Registers ----

    /// The address of the scheduler's registers.
    pub(crate) fn registers(&mut self) -> Value {
        self.b.ins().get_pinned_reg(I64)
    }
    pub(crate) fn load_x(&mut self, number: usize) -> Value {
        let registers = self.registers();
        self.load(registers, layout::x(number))
    }
    fn store_x(&mut self, number: usize, value: Value) {
        let registers = self.registers();
        self.store(value, registers, layout::x(number));
    }
    pub(crate) fn use_x(&mut self, number: usize) -> Value {
        if number < TRACKED_X { self.b.use_var(self.x[number]) } else { self.load_x(number) }
    }
    pub(crate) fn def_x(&mut self, number: usize, value: Value) {
        if number < TRACKED_X {
            self.b.def_var(self.x[number], value);
        } else {
            self.store_x(number, value);
        }
    }
    fn load_y(&mut self, number: usize) -> Value {
        let stop = self.b.use_var(self.stop);
        self.load(stop, number as i32 * 8)
    }
    fn store_y(&mut self, number: usize, value: Value) {
        let stop = self.b.use_var(self.stop);
        self.store(value, stop, number as i32 * 8);
    }
    /// The constant that a source is, if it is one.
    pub(crate) fn constant(&self, at: u32, src: Src) -> Option<u64> {
        match src.kind() {
            Src::KIND_SMALL => Some(i64::from(src.0 as i32) as u64),
            // SAFETY: the verifier and the linker have made the operand name a word of the module's pool.
            Src::KIND_CONST => Some(unsafe { *(self.address_of(at) as *const u64).offset(src.offset()) }),
            _ => None,
        }
    }
    pub(crate) fn src(&mut self, at: u32, src: Src) -> Value {
        if let Some(word) = self.constant(at, src) {
            return self.word(word);
        }
        if src.kind() == Src::KIND_X { self.use_x(src.index()) } else { self.load_y(src.index()) }
    }
    pub(crate) fn set(&mut self, dst: Dst, value: Value) {
        if dst.is_y() {
            self.store_y(dst.index(), value);
        } else {
            self.def_x(dst.index(), value);
        }
    }
    fn use_f(&mut self, number: u16) -> Value {
        self.b.use_var(self.f[usize::from(number)])
    }
    fn def_f(&mut self, number: u16, value: Value) {
        self.written_f |= 1 << number;
        self.b.def_var(self.f[usize::from(number)], value);
    }

    // ---- Leaving ----

    pub(crate) fn save_x(&mut self, live: XSet) {
        for number in 0..TRACKED_X {
            if live & (1 << number) != 0 {
                let value = self.use_x(number);
                self.store_x(number, value);
            }
        }
    }
    fn reload_x(&mut self, live: XSet) {
        for number in 0..TRACKED_X {
            if live & (1 << number) != 0 {
                let value = self.load_x(number);
                self.def_x(number, value);
            }
        }
    }
    fn save_f(&mut self) {
        let registers = self.registers();
        for number in 0..TRACKED_F as u16 {
            if self.written_f & (1 << number) != 0 {
                let value = self.use_f(number);
                self.b.ins().store(MemFlags::trusted(), value, registers, layout::f(number.into()));
            }
        }
    }
    pub(crate) fn save_state(&mut self) {
        let registers = self.registers();
        for (variable, offset) in [(self.stop, layout::STOP), (self.top, layout::TOP), (self.reductions, layout::REDUCTIONS)] {
            let value = self.b.use_var(variable);
            self.store(value, registers, offset);
        }
    }
    pub(crate) fn reload_state(&mut self) {
        let registers = self.registers();
        for (variable, offset) in [(self.stop, layout::STOP), (self.top, layout::TOP), (self.reductions, layout::REDUCTIONS)] {
            let value = self.load(registers, offset);
            self.b.def_var(variable, value);
        }
    }
    fn leave(&mut self, exit: Exit) {
        let code = self.word(exit as u64);
        self.b.ins().return_(&[code]);
    }
    /// Has the interpreter go on at the instruction.
    fn exit_at(&mut self, at: u32) {
        let live = self.source.flow.live_at(at);
        self.save_x(live);
        self.save_f();
        let ip = self.word(self.address_of(at));
        self.exit_to(ip);
    }
    /// The same at an address, with the X registers saved.
    fn exit_to(&mut self, ip: Value) {
        self.save_state();
        let registers = self.registers();
        self.store(ip, registers, layout::IP);
        self.leave(Exit::Interpret);
    }
    /// A block from which the interpreter goes on at the instruction.
    fn exit_block(&mut self, at: u32) -> Block {
        let here = self.b.current_block().expect("translating");
        let block = self.cold_block();
        self.b.switch_to_block(block);
        self.exit_at(at);
        self.b.switch_to_block(here);
        block
    }

    /// Writes back all that is alive. No value lives on across a call: so none needs a machine register that a piece
    /// would have to save first.
    pub(crate) fn save(&mut self, live: XSet) {
        self.save_x(live);
        self.save_f();
        self.save_state();
    }
    /// Reads all that is alive again.
    pub(crate) fn reload(&mut self, live: XSet) {
        self.reload_state();
        self.reload_x(live);
        let registers = self.registers();
        for number in 0..TRACKED_F as u16 {
            if self.written_f & (1 << number) != 0 {
                let value = self.b.ins().load(F64, MemFlags::trusted(), registers, layout::f(number.into()));
                self.b.def_var(self.f[usize::from(number)], value);
            }
        }
    }

    /// Has the instruction at `at` executed, and goes on where it leads.
    fn step(&mut self, at: u32) {
        let live = self.source.flow.live_at(at);
        self.save(live);
        self.step_saved(at);
    }
    /// The same with everything written back already.
    fn step_saved(&mut self, at: u32) {
        let (registers, ip) = (self.registers(), self.word(self.address_of(at)));
        let next = self.call_plain(self.source.assists.step as usize, &[registers, ip]);
        let effects = self.source.flow.at(at);
        let mut places: Vec<u32> = effects.next.into_iter().chain(effects.jumps.iter().copied()).filter(|&place| self.source.flow.contains(place)).collect();
        places.dedup();
        places.retain(|&place| !matches!(self.source.code[place as usize], Instr::FuncInfo { .. }));
        if places.len() > 4 {
            places.clear();
        }
        if !places.is_empty() {
            // Nothing that was in values is current any more.
            if let Instr::LoadFloat { to, .. } = self.source.code[at as usize] {
                self.written_f |= 1 << to;
            }
            self.reload(self.source.flow.live_after(at));
        }
        for place in places {
            let block = self.target(place);
            let wanted = self.word(self.address_of(place));
            let is_next = self.b.ins().icmp(IntCC::Equal, next, wanted);
            let other = self.cold_block();
            self.branch(is_next, block, other);
            self.b.switch_to_block(other);
        }
        let (gone, on) = (self.cold_block(), self.cold_block());
        self.branch(next, on, gone);
        self.b.switch_to_block(gone);
        self.leave(Exit::Leave);
        self.b.switch_to_block(on);
        // The step has saved the state.
        let registers = self.registers();
        self.store(next, registers, layout::IP);
        self.leave(Exit::Continue);
    }
    /// A block that steps over the instruction.
    pub(crate) fn step_block(&mut self, at: u32) -> Block {
        let here = self.b.current_block().expect("translating");
        let written_f = self.written_f;
        let block = self.cold_block();
        self.b.switch_to_block(block);
        self.step(at);
        self.b.switch_to_block(here);
        self.written_f = written_f;
        block
    }
    /// The same, from places where everything is written back already.
    pub(crate) fn saved_step_block(&mut self, at: u32) -> Block {
        let here = self.b.current_block().expect("translating");
        let written_f = self.written_f;
        let block = self.cold_block();
        self.b.switch_to_block(block);
        self.step_saved(at);
        self.b.switch_to_block(here);
        self.written_f = written_f;
        block
    }
    /// The translation goes on behind an instruction that has a slow way, too.
    pub(crate) fn join(&mut self, next: u32) -> Next {
        let block = self.target(next);
        self.b.ins().jump(block, &[]);
        Next::End
    }

    // ---- Kinds of words ----

    fn tag_is(&mut self, value: Value, mask: i64, tag: i64) -> Value {
        let low = self.b.ins().band_imm_s(value, mask);
        self.b.ins().icmp_imm_s(IntCC::Equal, low, tag)
    }
    fn is_cons(&mut self, value: Value) -> Value {
        self.tag_is(value, 0b111, 0b001)
    }
    pub(crate) fn is_boxed(&mut self, value: Value) -> Value {
        self.tag_is(value, 0b111, 0b101)
    }
    pub(crate) fn is_small(&mut self, value: Value) -> Value {
        self.tag_is(value, 0b11, 0b11)
    }
    /// Goes on here when both are small integers, else to `other`. Constants are not tested.
    fn require_small(&mut self, at: u32, a: (Src, Value), b: (Src, Value), other: Block) -> bool {
        let small_constant = |piece: &Self, src| piece.constant(at, src).map(|word| word & 0b11 == 0b11);
        let condition = match (small_constant(self, a.0), small_constant(self, b.0)) {
            (Some(false), _) | (_, Some(false)) => return false,
            (Some(true), Some(true)) => return true,
            (Some(true), None) => self.is_small(b.1),
            (None, Some(true)) => self.is_small(a.1),
            (None, None) => {
                let both = self.b.ins().band(a.1, b.1);
                self.is_small(both)
            }
        };
        self.require(condition, other);
        true
    }
    pub(crate) fn header_of(&mut self, boxed: Value) -> Value {
        self.load(boxed, -5)
    }
    pub(crate) fn header_byte(&mut self, boxed: Value) -> Value {
        let header = self.header_of(boxed);
        self.b.ins().band_imm_s(header, 0xff)
    }
    /// Whether a boxed term is one of these.
    pub(crate) fn has_subtag(&mut self, boxed: Value, subtags: &[Subtag]) -> Value {
        let byte = self.header_byte(boxed);
        let mut any = None;
        for &subtag in subtags {
            let is = self.b.ins().icmp_imm_s(IntCC::Equal, byte, (subtag as i64) << 3);
            any = Some(any.map_or(is, |any| self.b.ins().bor(any, is)));
        }
        any.expect("one at least")
    }

    // ---- Instructions ----

    /// To `fail` unless the value is boxed, with one of these subtags.
    fn test_boxed(&mut self, at: u32, src: Src, fail: i32, subtags: &[Subtag]) -> Next {
        let value = self.src(at, src);
        let fail = self.target(self.relative(at, fail));
        let boxed = self.is_boxed(value);
        self.require(boxed, fail);
        let has = self.has_subtag(value, subtags);
        self.require(has, fail);
        Next::At(at + 1)
    }
    fn test(&mut self, at: u32, condition: Value, fail: i32) -> Next {
        let fail = self.target(self.relative(at, fail));
        self.require(condition, fail);
        Next::At(at + 1)
    }
    /// One comparison of words that decides when both are small; else a step.
    fn compare_small(&mut self, at: u32, a: Src, b: Src, fail: i32, condition: IntCC) -> Next {
        let (x, y) = (self.src(at, a), self.src(at, b));
        let (next, fail) = (self.target(at + 1), self.target(self.relative(at, fail)));
        let here = self.b.current_block().expect("translating");
        let slow = self.cold_block();
        self.b.switch_to_block(slow);
        let less = self.decide(at, self.source.assists.less as usize, x, y);
        let (yes, no) = if condition == IntCC::SignedLessThan { (next, fail) } else { (fail, next) };
        self.branch(less, yes, no);
        // Two floats held in their words.
        let floats = self.b.create_block();
        self.b.switch_to_block(floats);
        for word in [x, y] {
            let is_float = self.tag_is(word, 0b11, 0b10);
            self.require(is_float, slow);
        }
        let (float_x, float_y) = (self.decode_float(x), self.decode_float(y));
        let float_condition = if condition == IntCC::SignedLessThan { FloatCC::LessThan } else { FloatCC::GreaterThanOrEqual };
        let holds = self.b.ins().fcmp(float_condition, float_x, float_y);
        self.branch(holds, next, fail);
        self.b.switch_to_block(here);
        if !self.require_small(at, (a, x), (b, y), floats) {
            self.b.ins().jump(floats, &[]);
            return Next::End;
        }
        let holds = self.b.ins().icmp(condition, x, y);
        self.branch(holds, next, fail);
        Next::End
    }
    /// Equality, exact or not, or its opposite.
    fn equality(&mut self, at: u32, a: Src, b: Src, fail: i32, exact: bool, wanted: bool) -> Next {
        let (x, y) = (self.src(at, a), self.src(at, b));
        let (next, fail) = (self.target(at + 1), self.target(self.relative(at, fail)));
        let (equal, differ) = if wanted { (next, fail) } else { (fail, next) };
        let same = self.b.ins().icmp(IntCC::Equal, x, y);
        let constants = [self.constant(at, a), self.constant(at, b)];
        let is_pointer = |word: u64| word & 0b11 == 0b01;
        // An atom equals nothing but itself; other immediates only exactly so.
        let is_atom = |word: u64| word & 0b111 == 0b100;
        if constants.iter().flatten().any(|&word| is_atom(word) || exact && !is_pointer(word)) {
            self.branch(same, equal, differ);
            return Next::End;
        }
        let (here, slow) = (self.b.create_block(), self.cold_block());
        self.branch(same, equal, here);
        self.b.switch_to_block(slow);
        let function = if exact { self.source.assists.equal_exact as usize } else { self.source.assists.equal as usize };
        let found = self.decide(at, function, x, y);
        self.branch(found, equal, differ);
        self.b.switch_to_block(here);
        let both = self.b.ins().band(x, y);
        let decided = if exact {
            // Unless both are pointers: tag bits 01.
            let either = self.b.ins().bor(x, y);
            let high = self.b.ins().band_imm_s(either, 0b10);
            let low = self.b.ins().band_imm_s(both, 0b01);
            let bits = self.b.ins().bor(high, low);
            self.b.ins().icmp_imm_s(IntCC::NotEqual, bits, 0b01)
        } else {
            self.is_small(both)
        };
        self.branch(decided, differ, slow);
        Next::End
    }
    /// The number in a word as a float: small, or a float held in the word; else to `slow`.
    fn number_as_float(&mut self, at: u32, src: Src, word: Value, slow: Block) -> Value {
        if let Some(constant) = self.constant(at, src) {
            // SAFETY: a constant of the module's pool.
            let term = unsafe { Term::from_raw(constant) };
            let known = term.as_small().map(|small| small as f64).or_else(|| term.is_float_immediate().then(|| term.float_immediate_value()));
            if let Some(float) = known {
                return self.b.ins().f64const(float);
            }
        }
        let (float, other, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.append_block_param(done, F64);
        let is_float = self.tag_is(word, 0b11, 0b10);
        self.branch(is_float, float, other);
        self.b.switch_to_block(other);
        let small = self.is_small(word);
        self.require(small, slow);
        let number = self.small_value(word);
        let converted = self.b.ins().fcvt_from_sint(F64, number);
        self.b.ins().jump(done, &[BlockArg::Value(converted)]);
        self.b.switch_to_block(float);
        let decoded = self.decode_float(word);
        self.b.ins().jump(done, &[BlockArg::Value(decoded)]);
        self.b.switch_to_block(done);
        self.b.block_params(done)[0]
    }
    /// A block that does an operation of floats, where one of the operands is no small integer; the rest goes to `slow`.
    fn float_block(&mut self, at: u32, a: (Src, Value), b: (Src, Value), dst: Dst, slow: Block) -> Option<Block> {
        if !matches!(self.source.code[at as usize], Instr::Add { .. } | Instr::Sub { .. } | Instr::Mul { .. }) {
            return None;
        }
        let here = self.b.current_block().expect("translating");
        let block = self.b.create_block();
        self.b.switch_to_block(block);
        // Two small integers come here when their result is none: that is for big integers.
        let both = self.b.ins().band(a.1, b.1);
        let low = self.b.ins().band_imm_s(both, 0b01);
        let some_float = self.b.ins().icmp_imm_s(IntCC::Equal, low, 0);
        self.require(some_float, slow);
        let (x, y) = (self.number_as_float(at, a.0, a.1, slow), self.number_as_float(at, b.0, b.1, slow));
        let value = match self.source.code[at as usize] {
            Instr::Add { .. } => self.b.ins().fadd(x, y),
            Instr::Sub { .. } => self.b.ins().fsub(x, y),
            _ => self.b.ins().fmul(x, y),
        };
        let magnitude = self.b.ins().fabs(value);
        let infinity = self.b.ins().f64const(f64::INFINITY);
        let finite = self.b.ins().fcmp(FloatCC::LessThan, magnitude, infinity);
        self.require(finite, slow);
        let word = self.encode_float(value, slow);
        self.set(dst, word);
        let next = self.target(at + 1);
        self.b.ins().jump(next, &[]);
        self.b.switch_to_block(here);
        Some(block)
    }
    /// A block that has an operation done that small integers did not do for, and goes on behind it.
    fn arithmetic_block(&mut self, at: u32, x: Value, y: Value, dst: Dst) -> Block {
        let here = self.b.current_block().expect("translating");
        let block = self.cold_block();
        self.b.switch_to_block(block);
        let ip = self.word(self.address_of(at));
        let result = self.assist(at, self.source.assists.arithmetic as usize, &[ip, x, y]);
        self.set(dst, result);
        let next = self.target(at + 1);
        self.b.ins().jump(next, &[]);
        self.b.switch_to_block(here);
        block
    }
    /// Arithmetic: `fast` computes from two small operands, and says where it is valid.
    fn arithmetic(&mut self, at: u32, a: Src, b: Src, dst: Dst, fast: impl FnOnce(&mut Self, Value, Value, Block) -> Value) -> Next {
        let (x, y) = (self.src(at, a), self.src(at, b));
        let slow = self.arithmetic_block(at, x, y, dst);
        let not_small = self.float_block(at, (a, x), (b, y), dst, slow).unwrap_or(slow);
        if !self.require_small(at, (a, x), (b, y), not_small) {
            self.b.ins().jump(not_small, &[]);
            return Next::End;
        }
        let result = fast(self, x, y, slow);
        self.set(dst, result);
        self.join(at + 1)
    }
    /// The sum of two words of which the second has no tag; to `slow` when it is no small integer.
    fn add_words(&mut self, x: Value, y: Value, slow: Block) -> Value {
        let (sum, overflow) = self.b.ins().sadd_overflow(x, y);
        self.require_not(overflow, slow);
        sum
    }
    pub(crate) fn small_value(&mut self, word: Value) -> Value {
        self.b.ins().sshr_imm_s(word, 2)
    }
    pub(crate) fn tag_small(&mut self, value: Value) -> Value {
        let shifted = self.b.ins().ishl_imm_s(value, 2);
        self.b.ins().bor_imm_s(shifted, 0b11)
    }

    fn list_cell(&mut self, at: u32, src: Src) -> Value {
        let list = self.src(at, src);
        let other = self.exit_block(at);
        let is = self.is_cons(list);
        self.require(is, other);
        list
    }

    pub(crate) fn pop_frame(&mut self, words: u16) {
        let stop = self.b.use_var(self.stop);
        let stop = self.b.ins().iadd_imm_s(stop, i64::from(words) * 8);
        self.b.def_var(self.stop, stop);
    }
    pub(crate) fn push_return(&mut self, at: u32) {
        let cell = self.word(self.address_of(at + 1));
        let stop = self.b.use_var(self.stop);
        let stop = self.b.ins().iadd_imm_s(stop, -8);
        self.b.def_var(self.stop, stop);
        self.store(cell, stop, 0);
    }

    /// Counts a call; a block for when the turn is over, in which `ip` says what was called.
    fn count_call(&mut self, ip: Value, arity: u16) {
        let live = self.word(u64::from(arity));
        self.count_call_of(ip, live, below(usize::from(arity)));
    }
    /// The same with the number of live X registers in a word, of which `unsaved` are not in memory yet.
    fn count_call_of(&mut self, ip: Value, live: Value, unsaved: XSet) {
        let reductions = self.b.use_var(self.reductions);
        let reductions = self.b.ins().iadd_imm_s(reductions, -1);
        self.b.def_var(self.reductions, reductions);
        let over = self.cold_block();
        let left = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, reductions, 0);
        self.require(left, over);
        let here = self.b.current_block().expect("translating");
        self.b.switch_to_block(over);
        self.save_x(unsaved);
        self.save_state();
        let registers = self.registers();
        self.store(ip, registers, layout::IP);
        self.store(live, registers, layout::ARITY);
        self.leave(Exit::Enter);
        self.b.switch_to_block(here);
    }
    /// A tail call to the function whose first instruction is at `ip`, past the cell at `cell`.
    pub(crate) fn enter(&mut self, ip: Value, cell: Value, arity: u16) {
        self.count_call(ip, arity);
        let offset = self.cell_code;
        let code = self.load(cell, offset);
        let none = self.cold_block();
        self.require(code, none);
        let here = self.b.current_block().expect("translating");
        self.b.switch_to_block(none);
        self.save_x(below(usize::from(arity)));
        self.exit_to(ip);
        self.b.switch_to_block(here);
        self.save_x(below(usize::from(arity)) & !below(PASSED_X));
        let passed: Vec<Value> = (0..usize::from(arity).min(PASSED_X)).map(|number| self.use_x(number)).collect();
        self.go(code, &passed);
    }
    /// The same with `live` X registers that are all in memory; the first of them are `passed`.
    pub(crate) fn enter_saved(&mut self, ip: Value, live: Value, passed: &[Value]) {
        self.count_call_of(ip, live, 0);
        let code = self.load(ip, self.cell_code - layout::INSTR_BYTES as i32);
        let none = self.cold_block();
        self.require(code, none);
        let here = self.b.current_block().expect("translating");
        self.b.switch_to_block(none);
        self.exit_to(ip);
        self.b.switch_to_block(here);
        self.go(code, passed);
    }
    fn go(&mut self, code: Value, passed: &[Value]) {
        let signature = match self.piece_signatures[passed.len()] {
            Some(known) => known,
            None => *self.piece_signatures[passed.len()].insert(self.b.import_signature(piece_signature(passed.len()))),
        };
        let state = [self.b.use_var(self.stop), self.b.use_var(self.top), self.b.use_var(self.reductions)];
        let args: Vec<Value> = state.into_iter().chain(passed.iter().copied()).collect();
        self.b.ins().return_call_indirect(signature, code, &args);
    }
    fn call_local(&mut self, at: u32, target: i32, arity: u16) -> Next {
        let target = self.relative(at, target);
        if target == self.source.entry + 1 && self.start.at == target {
            // A loop.
            let ip = self.word(self.address_of(target));
            self.count_call(ip, arity);
            let block = self.target(target);
            self.b.ins().jump(block, &[]);
            return Next::End;
        }
        let (ip, cell) = (self.word(self.address_of(target)), self.word(self.address_of(target - 1)));
        self.enter(ip, cell, arity);
        Next::End
    }
    fn call_export(&mut self, export: swarmrt_beam::instr::ExportPtr, arity: u16) -> Next {
        let export = self.word(export.0);
        let ip = self.load(export, layout::EXPORT_ENTRY);
        let cell = self.b.ins().iadd_imm_s(ip, -(layout::INSTR_BYTES as i64));
        self.enter(ip, cell, arity);
        Next::End
    }
    pub(crate) fn give_back(&mut self) -> Next {
        let stop = self.b.use_var(self.stop);
        let cell = self.load(stop, 0);
        self.pop_frame(1);
        let offset = self.cell_code;
        let code = self.load(cell, offset);
        let none = self.cold_block();
        self.require(code, none);
        let here = self.b.current_block().expect("translating");
        self.b.switch_to_block(none);
        self.save_x(1);
        let ip = self.b.ins().iadd_imm_s(cell, layout::INSTR_BYTES as i64);
        self.exit_to(ip);
        self.b.switch_to_block(here);
        let x0 = self.use_x(0);
        self.go(code, &[x0]);
        Next::End
    }

    /// Goes on here when there is room for `words` words, else to `other`.
    fn require_room(&mut self, words: usize, other: Block) {
        let (stop, top) = (self.b.use_var(self.stop), self.b.use_var(self.top));
        let room = self.b.ins().isub(stop, top);
        let enough = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, room, ((words + SLACK_WORDS) * 8) as i64);
        self.require(enough, other);
    }
    fn bump(&mut self, words: usize) -> Value {
        let top = self.b.use_var(self.top);
        let after = self.b.ins().iadd_imm_s(top, words as i64 * 8);
        self.b.def_var(self.top, after);
        top
    }

    /// The Y registers of a new frame that are written before anybody can look.
    fn written_soon(&self, mut at: u32) -> u64 {
        let mut written = 0u64;
        let mut add = |y: u16| {
            if y < 64 {
                written |= 1 << y;
            }
        };
        loop {
            match self.source.code[at as usize] {
                Instr::MoveXY { to, .. } => add(to),
                Instr::MoveXY2 { to1, to2, .. } => {
                    add(to1);
                    add(to2);
                }
                Instr::MoveXX { .. } | Instr::MoveKX { .. } | Instr::MoveXX2 { .. } | Instr::Nop => {}
                _ => return written,
            }
            at += 1;
            if self.source.flow.contains(at) && self.source.flow.is_target[(at - self.source.flow.start) as usize] {
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

    /// The float in a word known to hold one.
    fn decode_float(&mut self, word: Value) -> Value {
        // The lowest bits of an ordinary one are 10 or 01, by its highest: see `Term::float_immediate_value`.
        let high = self.b.ins().ushr_imm_s(word, 63);
        let two = self.word(2);
        let low = self.b.ins().isub(two, high);
        let rest = self.b.ins().band_imm_s(word, !0b11);
        let bits = self.b.ins().bor(rest, low);
        let bits = self.b.ins().rotr_imm_s(bits, 3);
        let zero = Term::float_immediate(0.0).expect("zero is held in the word").raw();
        let sign_off = self.b.ins().band_imm_s(word, !0b100);
        let zero_word = self.word(zero);
        let is_zero = self.b.ins().icmp(IntCC::Equal, sign_off, zero_word);
        // Bit 2 of a zero is its sign.
        let sign = self.b.ins().ishl_imm_s(word, 61);
        let sign = self.b.ins().band_imm_s(sign, i64::MIN);
        let bits = self.b.ins().select(is_zero, sign, bits);
        self.b.ins().bitcast(F64, MemFlags::new(), bits)
    }
    /// The word that holds a float; to `slow` when it has to be boxed.
    fn encode_float(&mut self, value: Value, slow: Block) -> Value {
        let bits = self.b.ins().bitcast(I64, MemFlags::new(), value);
        let (ordinary, zero, done) = (self.b.create_block(), self.cold_block(), self.b.create_block());
        self.b.append_block_param(done, I64);
        // Ordinary: bits 60 to 62 are 011 or 100, and it is not the one whose word stands for zero.
        let exponent = self.b.ins().ushr_imm_s(bits, 60);
        let exponent = self.b.ins().band_imm_s(exponent, 7);
        let from_three = self.b.ins().iadd_imm_s(exponent, -3);
        let common = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, from_three, 2);
        let magnitude = self.b.ins().band_imm_s(bits, i64::MAX);
        let special = self.b.ins().icmp_imm_s(IntCC::NotEqual, magnitude, 0x3000_0000_0000_0000);
        let fine = self.b.ins().band(common, special);
        self.branch(fine, ordinary, zero);
        self.b.switch_to_block(zero);
        let is_zero = self.b.ins().icmp_imm_s(IntCC::Equal, magnitude, 0);
        self.require(is_zero, slow);
        let sign = self.b.ins().ushr_imm_s(bits, 61);
        let zero_word = self.word(Term::float_immediate(0.0).expect("zero is held in the word").raw());
        let word = self.b.ins().bor(zero_word, sign);
        self.b.ins().jump(done, &[BlockArg::Value(word)]);
        self.b.switch_to_block(ordinary);
        let rotated = self.b.ins().rotl_imm_s(bits, 3);
        let cleared = self.b.ins().band_imm_s(rotated, !0b11);
        let word = self.b.ins().bor_imm_s(cleared, 0b10);
        self.b.ins().jump(done, &[BlockArg::Value(word)]);
        self.b.switch_to_block(done);
        self.b.block_params(done)[0]
    }
    fn float_operation(&mut self, at: u32, value: Value, to: u16) -> Next {
        // The interpreter raises.
        let other = self.exit_block(at);
        let magnitude = self.b.ins().fabs(value);
        let infinity = self.b.ins().f64const(f64::INFINITY);
        let finite = self.b.ins().fcmp(FloatCC::LessThan, magnitude, infinity);
        self.require(finite, other);
        self.def_f(to, value);
        Next::At(at + 1)
    }

    #[allow(clippy::too_many_lines, reason = "one arm an instruction")]
    fn instruction(&mut self, at: u32) -> Next {
        let on = Next::At(at + 1);
        match self.source.code[at as usize] {
            Instr::Cell { .. } | Instr::Nop | Instr::Fail { .. } => on,
            Instr::MoveXX { from, to } => {
                let value = self.use_x(from.into());
                self.def_x(to.into(), value);
                on
            }
            Instr::MoveXY { from, to } => {
                let value = self.use_x(from.into());
                self.store_y(to.into(), value);
                on
            }
            Instr::MoveYX { from, to } => {
                let value = self.load_y(from.into());
                self.def_x(to.into(), value);
                on
            }
            Instr::MoveKX { to, value } => {
                let value = self.word(value.raw());
                self.def_x(to.into(), value);
                on
            }
            Instr::Move { src, dst } => {
                let value = self.src(at, src);
                self.set(dst, value);
                on
            }
            Instr::MoveXX2 { from1, to1, from2, to2 } => {
                let value = self.use_x(from1.into());
                self.def_x(to1.into(), value);
                let value = self.use_x(from2.into());
                self.def_x(to2.into(), value);
                on
            }
            Instr::MoveXY2 { from1, to1, from2, to2 } => {
                let value = self.use_x(from1.into());
                self.store_y(to1.into(), value);
                let value = self.use_x(from2.into());
                self.store_y(to2.into(), value);
                on
            }
            Instr::MoveYX2 { from1, to1, from2, to2 } => {
                let value = self.load_y(from1.into());
                self.def_x(to1.into(), value);
                let value = self.load_y(from2.into());
                self.def_x(to2.into(), value);
                on
            }
            Instr::Swap { a, b } => {
                let (first, second) = (self.src(at, a.as_src()), self.src(at, b.as_src()));
                self.set(a, second);
                self.set(b, first);
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
                let slow = self.step_block(at);
                if self.source.stress {
                    self.b.ins().jump(slow, &[]);
                    return Next::End;
                }
                self.require_room(frame as usize + heap as usize, slow);
                let stop = self.b.use_var(self.stop);
                let stop = self.b.ins().iadd_imm_s(stop, -i64::from(frame) * 8);
                self.b.def_var(self.stop, stop);
                let written = self.written_soon(at + 1);
                let nil = self.word(Term::NIL.raw());
                for y in 0..frame {
                    if y >= 64 || written & (1 << y) == 0 {
                        self.store(nil, stop, i32::from(y) * 8);
                    }
                }
                self.join(at + 1)
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
                let slow = self.step_block(at);
                if self.source.stress {
                    self.b.ins().jump(slow, &[]);
                    return Next::End;
                }
                self.require_room(words as usize, slow);
                self.join(at + 1)
            }

            Instr::Call { arity, target } => {
                self.push_return(at);
                let target = self.relative(at, target);
                let (ip, cell) = (self.word(self.address_of(target)), self.word(self.address_of(target - 1)));
                self.enter(ip, cell, arity);
                Next::End
            }
            Instr::CallLast { arity, frame, target } => {
                self.pop_frame(frame);
                self.call_local(at, target, arity)
            }
            Instr::CallOnly { arity, target } => self.call_local(at, target, arity),
            Instr::CallExt { arity, export } => {
                self.push_return(at);
                self.call_export(export, arity)
            }
            Instr::CallExtLast { arity, frame, export } => {
                self.pop_frame(frame);
                self.call_export(export, arity)
            }
            Instr::CallExtOnly { arity, export } => self.call_export(export, arity),
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
                    let boxed = self.is_boxed(value);
                    self.require(boxed, fail_block);
                    let header = self.header_of(value);
                    let byte = self.b.ins().band_imm_s(header, 0xff);
                    let is_tuple = self.b.ins().icmp_imm_s(IntCC::Equal, byte, (Subtag::Tuple as i64) << 3);
                    self.require(is_tuple, fail_block);
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

            Instr::IsInteger { src, fail } => {
                let value = self.src(at, src);
                let (next, fail) = (self.target(at + 1), self.target(self.relative(at, fail)));
                let other = self.b.create_block();
                let small = self.is_small(value);
                self.branch(small, next, other);
                self.b.switch_to_block(other);
                let boxed = self.is_boxed(value);
                self.require(boxed, fail);
                let big = self.has_subtag(value, &[Subtag::BigPos, Subtag::BigNeg]);
                self.branch(big, next, fail);
                Next::End
            }
            Instr::IsFloat { src, fail } => {
                let value = self.src(at, src);
                let (next, fail) = (self.target(at + 1), self.target(self.relative(at, fail)));
                let other = self.b.create_block();
                let immediate = self.tag_is(value, 0b11, 0b10);
                self.branch(immediate, next, other);
                self.b.switch_to_block(other);
                let boxed = self.is_boxed(value);
                self.require(boxed, fail);
                let float = self.has_subtag(value, &[Subtag::Float]);
                self.branch(float, next, fail);
                Next::End
            }
            Instr::IsNumber { src, fail } => {
                let value = self.src(at, src);
                let (next, fail) = (self.target(at + 1), self.target(self.relative(at, fail)));
                let other = self.b.create_block();
                // Small integers and floats in words have the higher tag bit.
                let immediate = self.tag_is(value, 0b10, 0b10);
                self.branch(immediate, next, other);
                self.b.switch_to_block(other);
                let boxed = self.is_boxed(value);
                self.require(boxed, fail);
                let number = self.has_subtag(value, &[Subtag::BigPos, Subtag::BigNeg, Subtag::Float]);
                self.branch(number, next, fail);
                Next::End
            }
            Instr::IsAtom { src, fail } => {
                let value = self.src(at, src);
                let is = self.tag_is(value, 0b111_111, 0b000_100);
                self.test(at, is, fail)
            }
            Instr::IsNil { src, fail } => {
                let value = self.src(at, src);
                let is = self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::NIL.raw() as i64);
                self.test(at, is, fail)
            }
            Instr::IsNilX { x, fail } => {
                let value = self.use_x(x.into());
                let is = self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::NIL.raw() as i64);
                self.test(at, is, fail)
            }
            Instr::IsList { src, fail } => {
                let value = self.src(at, src);
                let nil = self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::NIL.raw() as i64);
                let cons = self.is_cons(value);
                let is = self.b.ins().bor(nil, cons);
                self.test(at, is, fail)
            }
            Instr::IsCons { src, fail } => {
                let value = self.src(at, src);
                let is = self.is_cons(value);
                self.test(at, is, fail)
            }
            Instr::IsConsX { x, fail } => {
                let value = self.use_x(x.into());
                let is = self.is_cons(value);
                self.test(at, is, fail)
            }
            Instr::IsConsGetListX { x, head, tail, fail } => {
                let list = self.use_x(x.into());
                let fail = self.target(self.relative(at, fail));
                let is = self.is_cons(list);
                self.require(is, fail);
                let (first, rest) = (self.load(list, -1), self.load(list, 7));
                self.set(head, first);
                self.set(tail, rest);
                on
            }
            Instr::IsBoolean { src, fail } => {
                let value = self.src(at, src);
                let yes = self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::bool(true).raw() as i64);
                let no = self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::bool(false).raw() as i64);
                let is = self.b.ins().bor(yes, no);
                self.test(at, is, fail)
            }
            Instr::IsTuple { src, fail } => self.test_boxed(at, src, fail, &[Subtag::Tuple]),
            Instr::IsMap { src, fail } => self.test_boxed(at, src, fail, &[Subtag::FlatMap, Subtag::HashMap]),
            Instr::IsFunction { src, fail } => self.test_boxed(at, src, fail, &[Subtag::Fun, Subtag::ExportFun]),
            Instr::IsBitstring { src, fail } => self.test_boxed(at, src, fail, &[Subtag::HeapBin, Subtag::SharedBin, Subtag::SubBin]),
            Instr::IsTupleOf { src, arity, fail } | Instr::TestArity { src, arity, fail } => {
                let value = self.src(at, src);
                let fail = self.target(self.relative(at, fail));
                let boxed = self.is_boxed(value);
                self.require(boxed, fail);
                let header = self.header_of(value);
                let is = self.b.ins().icmp_imm_s(IntCC::Equal, header, Header::new(Subtag::Tuple, arity as usize).0 as i64);
                self.require(is, fail);
                on
            }
            Instr::IsTaggedTuple { src, arity, tag, fail } if arity > 0 => {
                let value = self.src(at, src);
                let fail = self.target(self.relative(at, fail));
                let boxed = self.is_boxed(value);
                self.require(boxed, fail);
                let header = self.header_of(value);
                let is = self.b.ins().icmp_imm_s(IntCC::Equal, header, Header::new(Subtag::Tuple, arity as usize).0 as i64);
                self.require(is, fail);
                let (first, tag) = (self.load(value, 3), self.src(at, tag));
                let same = self.b.ins().icmp(IntCC::Equal, first, tag);
                self.require(same, fail);
                on
            }
            Instr::IsLt { a, b, fail } => self.compare_small(at, a, b, fail, IntCC::SignedLessThan),
            Instr::IsGe { a, b, fail } => self.compare_small(at, a, b, fail, IntCC::SignedGreaterThanOrEqual),
            Instr::IsLtXI { x, value, fail } => self.compare_small(at, Src::x(x), Src::small(value), fail, IntCC::SignedLessThan),
            Instr::IsGeXI { x, value, fail } => self.compare_small(at, Src::x(x), Src::small(value), fail, IntCC::SignedGreaterThanOrEqual),
            Instr::IsEq { a, b, fail } => self.equality(at, a, b, fail, false, true),
            Instr::IsNe { a, b, fail } => self.equality(at, a, b, fail, false, false),
            Instr::IsEqExact { a, b, fail } => self.equality(at, a, b, fail, true, true),
            Instr::IsNeExact { a, b, fail } => self.equality(at, a, b, fail, true, false),
            Instr::IsEqImmX { x, fail, value } => {
                let is = self.use_x(x.into());
                let wanted = self.word(value.raw());
                let same = self.b.ins().icmp(IntCC::Equal, is, wanted);
                self.test(at, same, fail)
            }
            Instr::IsNeImmX { x, fail, value } => {
                let is = self.use_x(x.into());
                let wanted = self.word(value.raw());
                let differs = self.b.ins().icmp(IntCC::NotEqual, is, wanted);
                self.test(at, differs, fail)
            }

            Instr::GetList { src, head, tail } => {
                let list = self.list_cell(at, src);
                let (first, rest) = (self.load(list, -1), self.load(list, 7));
                self.set(head, first);
                self.set(tail, rest);
                on
            }
            Instr::GetHead { src, dst } => {
                let list = self.list_cell(at, src);
                let first = self.load(list, -1);
                self.set(dst, first);
                on
            }
            Instr::GetTail { src, dst } => {
                let list = self.list_cell(at, src);
                let rest = self.load(list, 7);
                self.set(dst, rest);
                on
            }
            Instr::GetElement { src, index, dst } => {
                let tuple = self.tuple_with(at, src, index as usize);
                let element = self.load(tuple, index as i32 * 8 + 3);
                self.set(dst, element);
                on
            }
            Instr::GetElement2 { src, index, dst1, dst2 } => {
                let tuple = self.tuple_with(at, src, index as usize + 1);
                let (first, second) = (self.load(tuple, index as i32 * 8 + 3), self.load(tuple, index as i32 * 8 + 11));
                self.set(dst1, first);
                self.set(dst2, second);
                on
            }
            Instr::PutList { head, tail, dst } => {
                let (first, rest) = (self.src(at, head), self.src(at, tail));
                let cell = self.bump(2);
                self.store(first, cell, 0);
                self.store(rest, cell, 8);
                let list = self.b.ins().iadd_imm_s(cell, 0b001);
                self.set(dst, list);
                on
            }
            Instr::PutTuple { dst, elements } => {
                let values: Vec<Value> = elements.iter().map(|&element| self.src(at, element)).collect();
                let tuple = self.bump(values.len() + 1);
                let header = self.word(Header::new(Subtag::Tuple, values.len()).0);
                self.store(header, tuple, 0);
                for (index, value) in values.into_iter().enumerate() {
                    self.store(value, tuple, index as i32 * 8 + 8);
                }
                let boxed = self.b.ins().iadd_imm_s(tuple, 0b101);
                self.set(dst, boxed);
                on
            }

            Instr::AddXI { x, to, value } => self.add_constant(at, Src::x(x), value, Dst::x(to)),
            Instr::AddYI { y, dst, value } => self.add_constant(at, Src::y(y), value, dst),
            Instr::Add { a, b, dst } => self.arithmetic(at, a, b, dst, |piece, x, y, slow| {
                let y = piece.b.ins().band_imm_s(y, !0b11);
                piece.add_words(x, y, slow)
            }),
            Instr::Sub { a, b, dst } => self.arithmetic(at, a, b, dst, |piece, x, y, slow| {
                let y = piece.b.ins().band_imm_s(y, !0b11);
                let (difference, overflow) = piece.b.ins().ssub_overflow(x, y);
                piece.require_not(overflow, slow);
                difference
            }),
            Instr::Mul { a, b, dst } => self.arithmetic(at, a, b, dst, |piece, x, y, slow| {
                let x = piece.b.ins().band_imm_s(x, !0b11);
                let y = piece.small_value(y);
                let (product, overflow) = piece.b.ins().smul_overflow(x, y);
                piece.require_not(overflow, slow);
                piece.b.ins().bor_imm_s(product, 0b11)
            }),
            Instr::IntDiv { a, b, dst } => self.division(at, a, b, dst, false),
            Instr::Rem { a, b, dst } => self.division(at, a, b, dst, true),
            Instr::Band { a, b, dst } => self.arithmetic(at, a, b, dst, |piece, x, y, _| piece.b.ins().band(x, y)),
            Instr::Bor { a, b, dst } => self.arithmetic(at, a, b, dst, |piece, x, y, _| piece.b.ins().bor(x, y)),
            Instr::Bxor { a, b, dst } => self.arithmetic(at, a, b, dst, |piece, x, y, _| {
                let word = piece.b.ins().bxor(x, y);
                piece.b.ins().bor_imm_s(word, 0b11)
            }),
            Instr::Bsr { a, b, dst } => self.arithmetic(at, a, b, dst, |piece, x, y, slow| {
                let shift = piece.small_value(y);
                let fine = piece.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, shift, 62);
                piece.require(fine, slow);
                let shifted = piece.b.ins().sshr(x, shift);
                piece.b.ins().bor_imm_s(shifted, 0b11)
            }),
            Instr::Bsl { a, b, dst } => self.arithmetic(at, a, b, dst, |piece, x, y, slow| {
                let shift = piece.small_value(y);
                let fine = piece.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, shift, 62);
                piece.require(fine, slow);
                let bare = piece.b.ins().band_imm_s(x, !0b11);
                let shifted = piece.b.ins().ishl(bare, shift);
                let back = piece.b.ins().sshr(shifted, shift);
                let same = piece.b.ins().icmp(IntCC::Equal, back, bare);
                piece.require(same, slow);
                piece.b.ins().bor_imm_s(shifted, 0b11)
            }),
            Instr::Element { a, b, dst } => {
                let (index, tuple) = (self.src(at, a), self.src(at, b));
                let slow = self.step_block(at);
                let boxed = self.is_boxed(tuple);
                self.require(boxed, slow);
                let header = self.header_of(tuple);
                let byte = self.b.ins().band_imm_s(header, 0xff);
                let is_tuple = self.b.ins().icmp_imm_s(IntCC::Equal, byte, (Subtag::Tuple as i64) << 3);
                self.require(is_tuple, slow);
                let small = self.is_small(index);
                self.require(small, slow);
                let number = self.small_value(index);
                let arity = self.b.ins().ushr_imm_s(header, 8);
                let from_zero = self.b.ins().iadd_imm_s(number, -1);
                let within = self.b.ins().icmp(IntCC::UnsignedLessThan, from_zero, arity);
                self.require(within, slow);
                let offset = self.b.ins().ishl_imm_s(number, 3);
                let place = self.b.ins().iadd(tuple, offset);
                let element = self.load(place, -5);
                self.set(dst, element);
                self.join(at + 1)
            }
            Instr::Hd { a, dst } | Instr::Tl { a, dst } => {
                let list = self.src(at, a);
                let slow = self.step_block(at);
                let is = self.is_cons(list);
                self.require(is, slow);
                let offset = if matches!(self.source.code[at as usize], Instr::Hd { .. }) { -1 } else { 7 };
                let part = self.load(list, offset);
                self.set(dst, part);
                self.join(at + 1)
            }
            Instr::TupleSize { a, dst } => {
                let tuple = self.src(at, a);
                let slow = self.step_block(at);
                let boxed = self.is_boxed(tuple);
                self.require(boxed, slow);
                let header = self.header_of(tuple);
                let byte = self.b.ins().band_imm_s(header, 0xff);
                let is_tuple = self.b.ins().icmp_imm_s(IntCC::Equal, byte, (Subtag::Tuple as i64) << 3);
                self.require(is_tuple, slow);
                let arity = self.b.ins().ushr_imm_s(header, 8);
                let word = self.tag_small(arity);
                self.set(dst, word);
                self.join(at + 1)
            }

            Instr::LoadFloat { src, to } if usize::from(to) < TRACKED_F => {
                let word = self.src(at, src);
                // What is boxed, or no number, is left to the interpreter.
                let slow = self.step_block(at);
                let (float, other, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
                self.b.append_block_param(done, F64);
                let is_float = self.tag_is(word, 0b11, 0b10);
                self.branch(is_float, float, other);
                self.b.switch_to_block(other);
                let small = self.is_small(word);
                self.require(small, slow);
                let number = self.small_value(word);
                let converted = self.b.ins().fcvt_from_sint(F64, number);
                self.b.ins().jump(done, &[BlockArg::Value(converted)]);
                self.b.switch_to_block(float);
                let decoded = self.decode_float(word);
                self.b.ins().jump(done, &[BlockArg::Value(decoded)]);
                self.b.switch_to_block(done);
                let value = self.b.block_params(done)[0];
                self.def_f(to, value);
                self.join(at + 1)
            }
            Instr::StoreFloat { from, dst } if usize::from(from) < TRACKED_F => {
                let value = self.use_f(from);
                let slow = self.step_block(at);
                let word = self.encode_float(value, slow);
                self.set(dst, word);
                self.join(at + 1)
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
                // As a subtraction, so that 0.0 stays positive as in OTP.
                let zero = self.b.ins().f64const(0.0);
                let value = self.b.ins().fsub(zero, a);
                self.def_f(to, value);
                on
            }

            Instr::Catch { y, handler } => {
                let handler = self.relative(at, handler);
                let mark = self.word(Term::catch_mark(self.address_of(handler)).raw());
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
                let offset = self.load(context, CONTEXT_OFFSET);
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
                let end = self.load(context, CONTEXT_END);
                let within = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, offset, end);
                self.require(within, slow);
                self.store(offset, context, CONTEXT_OFFSET);
                self.join(at + 1)
            }
            Instr::BsTestTail { context, bits, fail } => {
                let (context, _) = self.context(at, context);
                let (_, left) = self.offset_and_left(context);
                let holds = self.b.ins().icmp_imm_s(IntCC::Equal, left, i64::from(bits));
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
            Instr::BsGetInteger { flags: 0, unit, context, size, dst, fail } if self.whole_bytes(at, size, unit).is_some() => {
                let bits = self.whole_bytes(at, size, unit).expect("just asked");
                let (context, slow) = self.context(at, context);
                let number = self.aligned_bytes(at, context, bits, fail, slow);
                self.move_on(context, bits);
                let word = self.tag_small(number);
                self.set(dst, word);
                self.join(at + 1)
            }
            Instr::BsGetInteger { flags, unit, context, size, dst, fail } => self.get_integer(at, context, size, unit, flags, dst, fail),
            Instr::BsGetBinary { unit, context, size, dst, fail, .. } => self.get_binary(at, context, size, unit, dst, fail),
            Instr::BsGetRest { unit, context, dst, fail, .. } => self.get_rest(at, context, unit, dst, fail),
            Instr::BsSkipRest { unit, context, fail, .. } => self.skip_rest(at, context, unit, fail),
            Instr::BsGetTail { context, dst } => self.get_tail(at, context, dst),
            Instr::BsGetUtf { context, dst, fail, .. } => self.get_utf(at, context, dst, fail),
            Instr::BsCreateBin { plan } => self.create_binary(at, &plan),
            Instr::BsMatchString { context, fail, bits: string } if matches!(string.0, 8 | 16 | 32) => {
                let bits = string.0;
                let wanted = string.1.iter().take(bits as usize / 8).fold(0u64, |number, &byte| number << 8 | u64::from(byte));
                let (context, slow) = self.context(at, context);
                let number = self.aligned_bytes(at, context, bits, fail, slow);
                let same = self.b.ins().icmp_imm_s(IntCC::Equal, number, wanted as i64);
                let fail = self.target(self.relative(at, fail));
                self.require(same, fail);
                self.move_on(context, bits);
                self.join(at + 1)
            }

            Instr::CallBif { arity, .. } => self.call_bif(at, arity),
            Instr::CallBifLast { arity, frame, .. } => self.call_bif_last(at, arity, frame),
            Instr::CallBifOnly { arity, .. } | Instr::BifBody { arity, .. } => self.call_bif_last(at, arity, 0),
            Instr::Bif0 { bif, dst } => self.bif_value(at, bif, &[], dst),
            Instr::Bif1 { bif, a, dst } => self.bif_value(at, bif, &[a], dst),
            Instr::Bif2 { bif, a, b, dst } => self.bif_value(at, bif, &[a, b], dst),
            Instr::Bif3 { bif, dst, args } => self.bif_value(at, bif, &*args, dst),
            Instr::MakeFun { dst, free, .. } => self.make_fun(at, &free.1, dst),
            Instr::CallFun { arity } => {
                let fun = self.use_x(usize::from(arity));
                self.call_fun(at, fun, arity)
            }
            Instr::CallFun2 { arity, fun } => {
                let fun = self.src(at, fun);
                self.call_fun(at, fun, arity)
            }
            Instr::IsFunctionOf { src, arity, .. } if self.constant(at, arity).is_some_and(|word| word & 0b11 == 0b11 && word >> 2 < 256) => {
                let fun = self.src(at, src);
                let arity = self.constant(at, arity).expect("just seen") >> 2;
                // An external fun, or none at all.
                let other = self.step_block(at);
                self.require_fun(fun, arity as u16, other);
                self.join(at + 1)
            }
            Instr::Apply { arity } => self.apply(at, arity, None),
            Instr::ApplyLast { arity, frame } => self.apply(at, arity, Some(frame)),
            Instr::Send => self.send(at),
            Instr::LoopRec { .. } => self.receive_peek(at),
            Instr::RemoveMessage => self.take_message(at),
            Instr::GetMap { get } => self.get_map(at, &get),
            Instr::PutMap { dst, put } => self.put_map(at, &put, dst),
            Instr::IsBinary { src, fail } => self.is_binary(at, src, fail),
            Instr::IsPid { src, fail } => {
                let value = self.src(at, src);
                let (next, other) = (self.target(at + 1), self.b.create_block());
                let tag = Term::pid(0).raw();
                let local = self.tag_is(value, 0b11_1111, (tag & 0b11_1111) as i64);
                self.branch(local, next, other);
                self.b.switch_to_block(other);
                self.test_boxed(at, src, fail, &[Subtag::ExternalPid])
            }
            Instr::IsReference { src, fail } => self.test_boxed(at, src, fail, &[Subtag::Ref, Subtag::ExternalRef]),

            // What ends a function's flow by raising, or is not worth more.
            Instr::FuncInfo { .. }
            | Instr::Badmatch { .. }
            | Instr::CaseEnd { .. }
            | Instr::TryCaseEnd { .. }
            | Instr::Badrecord { .. }
            | Instr::IfEnd
            | Instr::Raise { .. }
            | Instr::TryCase { .. }
            | Instr::CallErrorHandler { .. }
            | Instr::ProcessEnd
            | Instr::Hibernated
            | Instr::ApplyArgs
            | Instr::ApplyFunArgs => {
                self.exit_at(at);
                Next::End
            }
            _ => self.slow(at),
        }
    }

    // ---- Matching of binaries ----

    /// Goes on here when the word is a match context, else to `other`.
    pub(crate) fn require_context(&mut self, value: Value, other: Block) {
        let boxed = self.is_boxed(value);
        self.require(boxed, other);
        let header = self.header_of(value);
        let is = self.b.ins().icmp_imm_s(IntCC::Equal, header, Header::new(Subtag::MatchContext, MatchContext::WORDS - 1).0 as i64);
        self.require(is, other);
    }
    /// The match context in a register, and the slow way for all else.
    pub(crate) fn context(&mut self, at: u32, register: Dst) -> (Value, Block) {
        let context = self.src(at, register.as_src());
        let slow = self.step_block(at);
        self.require_context(context, slow);
        (context, slow)
    }
    pub(crate) fn offset_and_left(&mut self, context: Value) -> (Value, Value) {
        let (offset, end) = (self.load(context, CONTEXT_OFFSET), self.load(context, CONTEXT_END));
        let left = self.b.ins().isub(end, offset);
        (offset, left)
    }
    fn move_on(&mut self, context: Value, bits: u32) {
        let bits = self.word(bits.into());
        self.move_by(context, bits);
    }
    pub(crate) fn move_by(&mut self, context: Value, bits: Value) {
        let offset = self.load(context, CONTEXT_OFFSET);
        let after = self.b.ins().iadd(offset, bits);
        self.store(after, context, CONTEXT_OFFSET);
    }
    /// The bits of a constant size, where they are one machine load.
    fn whole_bytes(&self, at: u32, size: Src, unit: u8) -> Option<u32> {
        let word = self.constant(at, size)?;
        if word & 0b11 != 0b11 {
            return None;
        }
        let bits = ((word as i64) >> 2).checked_mul(swarmrt_beam::instr::stored_unit(unit) as i64)?;
        [8, 16, 32].into_iter().find(|&known| i64::from(known) == bits)
    }
    /// The next bits as a number; to `fail` when there are too few, to `slow` when they begin within a byte.
    fn aligned_bytes(&mut self, at: u32, context: Value, bits: u32, fail: i32, slow: Block) -> Value {
        let (offset, left) = self.offset_and_left(context);
        let enough = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, left, i64::from(bits));
        let fail = self.target(self.relative(at, fail));
        self.require(enough, fail);
        let within = self.b.ins().band_imm_s(offset, 7);
        let aligned = self.b.ins().icmp_imm_s(IntCC::Equal, within, 0);
        self.require(aligned, slow);
        // Either the bytes are in the heap binary, or a shared one says where they are.
        let original = self.load(context, CONTEXT_ORIGINAL);
        let byte = self.header_byte(original);
        let is_shared = self.b.ins().icmp_imm_s(IntCC::Equal, byte, (Subtag::SharedBin as i64) << 3);
        const { assert!(heap_bin::DATA == shared_bin::DATA_PTR) };
        let second = heap_bin::DATA as i32 * 8 - 5;
        let (there, here) = (self.load(original, second), self.b.ins().iadd_imm_s(original, i64::from(second)));
        let base = self.b.ins().select(is_shared, there, here);
        let bytes = self.b.ins().ushr_imm_s(offset, 3);
        let address = self.b.ins().iadd(base, bytes);
        match bits {
            8 => self.b.ins().uload8(I64, MemFlags::trusted(), address, 0),
            _ => {
                let width = if bits == 16 { types::I16 } else { types::I32 };
                // Not aligned in memory.
                let mut flags = MemFlags::new();
                flags.set_notrap();
                let loaded = self.b.ins().load(width, flags, address, 0);
                let swapped = self.b.ins().bswap(loaded);
                self.b.ins().uextend(I64, swapped)
            }
        }
    }

    pub(crate) fn slow(&mut self, at: u32) -> Next {
        self.step(at);
        Next::End
    }

    /// A tuple that has an element `index`, counted from 0; anything else is left to the interpreter.
    fn tuple_with(&mut self, at: u32, src: Src, index: usize) -> Value {
        let tuple = self.src(at, src);
        let other = self.exit_block(at);
        let boxed = self.is_boxed(tuple);
        self.require(boxed, other);
        let header = self.header_of(tuple);
        let byte = self.b.ins().band_imm_s(header, 0xff);
        let is_tuple = self.b.ins().icmp_imm_s(IntCC::Equal, byte, (Subtag::Tuple as i64) << 3);
        self.require(is_tuple, other);
        let large = self.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, header, (Header::new(Subtag::Tuple, index).0 | 0xff) as i64);
        self.require(large, other);
        tuple
    }

    fn add_constant(&mut self, at: u32, src: Src, value: i32, dst: Dst) -> Next {
        let x = self.src(at, src);
        let slow = self.step_block(at);
        let small = self.is_small(x);
        self.require(small, slow);
        let y = self.word((i64::from(value) << 2) as u64);
        let sum = self.add_words(x, y, slow);
        self.set(dst, sum);
        self.join(at + 1)
    }

    fn division(&mut self, at: u32, a: Src, b: Src, dst: Dst, remainder: bool) -> Next {
        self.arithmetic(at, a, b, dst, |piece, x, y, slow| {
            let (x, y) = (piece.small_value(x), piece.small_value(y));
            // Neither zero nor minus one, which may overflow.
            let shifted = piece.b.ins().iadd_imm_s(y, 1);
            let fine = piece.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, shifted, 1);
            piece.require(fine, slow);
            let result = if remainder { piece.b.ins().srem(x, y) } else { piece.b.ins().sdiv(x, y) };
            piece.tag_small(result)
        })
    }
}
