//! Frames, calls and returns, and room on the heap.

use super::sites::Entry;
use super::{Next, PASSED_X, Translator};
use crate::plan::analysis::below;
use crate::plan::facts::Location;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use swarmrt_beam::instr::{Dst, ExportPtr};
use swarmrt_engine::code::Symbol;
use swarmrt_engine::layout;
use swarmrt_heap::process_heap::SLACK_WORDS;

impl Translator<'_, '_> {
    pub(crate) fn pop_frame(&mut self, words: u16) {
        self.move_pending(-i32::from(words));
        self.regs.stop_offset += i32::from(words) * 8;
        self.facts.trim(words);
    }
    pub(super) fn push_frame(&mut self, words: u16) {
        self.move_pending(words.into());
        self.regs.stop_offset -= i32::from(words) * 8;
        self.facts.push(words);
    }
    pub(crate) fn push_return(&mut self, at: u32) {
        let cell = self.instr(at + 1);
        self.push_frame(1);
        self.put_off_y(0, cell);
    }

    /// Whether the piece is what calls of the function lead to.
    pub(super) fn begins_function(&self) -> bool {
        self.start.inside.is_none() && self.start.at == self.source.entry + 1
    }
    /// Counts the call of the function behind the cell at an address; when the turn is over,
    /// `leave` is how to leave.
    pub(super) fn count_call(&mut self, cell: u64, arity: usize, leave: impl FnOnce(&mut Self)) {
        let reductions = self.count_built_in();
        let over = self.cold_block();
        // One that was left is used up now.
        let left = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, reductions, 0);
        self.require(left, over);
        let here = self.b.current_block().expect("translating");
        self.b.switch_to_block(over);
        let (registers, arity, cell) =
            (self.registers(), self.word(arity as u64), self.place(cell));
        self.store(arity, registers, layout::ARITY);
        self.store(cell, registers, layout::CELL);
        leave(self);
        self.b.switch_to_block(here);
    }
    /// Counts what takes a reduction and is done in place; what is left.
    pub(crate) fn count_built_in(&mut self) -> Value {
        let before = self.b.use_var(self.regs.reductions);
        let reductions = self.b.ins().iadd_imm_s(before, -1);
        self.b.def_var(self.regs.reductions, reductions);
        reductions
    }
    /// Puts arguments where functions find them: those that are not passed in machine registers
    /// into memory.
    fn pass(&mut self, arity: u16) -> Vec<Value> {
        self.save_x(below(usize::from(arity)) & !below(PASSED_X));
        (0..usize::from(arity).min(PASSED_X)).map(|number| self.use_x(number)).collect()
    }
    /// A tail call to the function behind a cell.
    pub(crate) fn enter(&mut self, cell: Value, arity: u16) {
        let passed = self.pass(arity);
        self.enter_saved(cell, &passed);
    }
    /// A tail call to the function behind a cell. Its first arguments are `passed`, the others are
    /// in memory already.
    pub(crate) fn enter_saved(&mut self, cell: Value, passed: &[Value]) {
        // Before the code is loaded: who is called may return at once.
        self.write_frame();
        let registers = self.registers();
        self.store(cell, registers, layout::CELL);
        let offset = layout::cell_code_offset();
        let code = self.load(cell, offset);
        self.go(code, passed);
    }
    pub(super) fn go(&mut self, code: Value, passed: &[Value]) {
        let signature = self.signatures.piece(&mut self.b, passed.len());
        if !self.facts.pending().is_empty() {
            let known = self.facts.clone();
            self.write_frame();
            self.facts = known;
        }
        let state =
            [self.use_stop(), self.b.use_var(self.regs.top), self.b.use_var(self.regs.reductions)];
        let args: Vec<Value> = state.into_iter().chain(passed.iter().copied()).collect();
        self.b.ins().return_call_indirect(signature, code, &args);
    }
    pub(super) fn call_local(&mut self, at: u32, target: i32, arity: u16, last: bool) -> Next {
        let target = self.relative(at, target);
        let cell = target - 1;
        if let Some(site) = self.inside(at, cell, last) {
            return self.go_inside(site, arity.into());
        }
        let code = if self.body().is_own() { self.source.entry_code(cell) } else { None };
        if let Some(code) = code {
            self.write_frame();
            let (code, passed) = (self.address(Symbol::Piece(cell), code), self.pass(arity));
            self.go(code, &passed);
        } else {
            let cell = self.instr(cell);
            self.enter(cell, arity);
        }
        Next::End
    }
    pub(super) fn call_export(&mut self, at: u32, export: ExportPtr, arity: u16) -> Next {
        if let Some(helper) = self.helper(export, arity)
            && let Some(site) = self.site_of(at, helper.body, Entry::Export)
        {
            let body = self.source.inlined.body(helper.body);
            if body.other().is_none_or(|module| module.digest.is_none()) {
                self.source.symbols.tie_to_run();
            }
            let counted = self.address(Symbol::export(export), export.0);
            let changes = self.load(counted, layout::EXPORT_CHANGES);
            let sum = self.b.ins().iadd(counted, changes);
            let (symbol, expected) = Symbol::unchanged(export, body.entry, helper.changes);
            let expected = self.address(symbol, expected);
            let same = self.b.ins().icmp(IntCC::Equal, sum, expected);
            let other = self.later_cold(move |translator| translator.enter_export(export, arity));
            self.require(same, other);
            return self.go_inside(site, arity.into());
        }
        self.enter_export(export, arity);
        Next::End
    }
    fn enter_export(&mut self, export: ExportPtr, arity: u16) {
        let export = self.address(Symbol::export(export), export.0);
        let ip = self.load(export, layout::EXPORT_ENTRY);
        let cell = self.b.ins().iadd_imm_s(ip, -(layout::INSTR_BYTES as i64));
        self.enter(cell, arity);
    }
    pub(crate) fn give_back(&mut self) -> Next {
        if let Some(caller) = self.only_way_back() {
            self.pop_frame(1);
            return self.go_back(caller);
        }
        let is_pending = self.facts.of(Dst::y(0)).place == Location::Pending;
        let cell = self.load_y(0);
        self.pop_frame(1);
        if let Some(next) = self.ways_back(cell) {
            return next;
        }
        if is_pending {
            // Where it leads to has no code, perhaps, and the stub that is there looks for it.
            let stop = self.b.use_var(self.regs.stop);
            self.store(cell, stop, self.regs.stop_offset - 8);
        }
        let offset = layout::cell_code_offset();
        let code = self.load(cell, offset);
        let x0 = self.use_x(0);
        self.go(code, &[x0]);
        Next::End
    }

    /// Goes on here when there is room for `words` words, else to `other`.
    pub(crate) fn require_room(&mut self, words: usize, other: Block) {
        let top = self.b.use_var(self.regs.top);
        self.require_room_behind(top, words + self.scalar_words(), other);
    }
    /// Goes on here when there is room for `words` words from `address` on, which is not below the
    /// heap's top; else to `other`.
    pub(crate) fn require_room_behind(&mut self, address: Value, words: usize, other: Block) {
        let stop = self.b.use_var(self.regs.stop);
        let end = self.b.ins().iadd_imm_s(
            address,
            ((words + SLACK_WORDS) * 8) as i64 - i64::from(self.regs.stop_offset),
        );
        let enough = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, stop, end);
        self.require(enough, other);
    }
    pub(crate) fn bump(&mut self, words: usize) -> Value {
        let top = self.b.use_var(self.regs.top);
        let after = self.b.ins().iadd_imm_s(top, words as i64 * 8);
        self.b.def_var(self.regs.top, after);
        top
    }
}
