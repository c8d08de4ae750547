//! How a piece is left and come back to: what is written back and read again, exits, steps, and
//! questions.

use super::{F64, FloatRun, Next, PASSED_X, TRACKED_F, Translator};
use crate::plan::analysis::{TRACKED_X, XSet, below};
use crate::plan::facts::Location;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData as MemFlags, Value};
use cranelift_frontend::Variable;
use swarmrt_beam::instr::{Dst, Instr};
use swarmrt_engine::code::Symbol;
use swarmrt_engine::code::{Question, Stub};
use swarmrt_engine::layout;

impl Translator<'_, '_> {
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
                // The same value: what is known of it stays.
                let value = self.load_x(number);
                self.b.def_var(self.regs.x[number], value);
            }
        }
    }
    fn save_f(&mut self, live: u32) {
        let registers = self.registers();
        for number in 0..TRACKED_F as u16 {
            if self.written_f & live & (1 << number) != 0 {
                let value = self.use_f(number);
                self.b.ins().store(MemFlags::trusted(), value, registers, layout::f(number.into()));
            }
        }
    }
    pub(crate) fn save_state(&mut self) {
        let registers = self.registers();
        let state =
            [self.use_stop(), self.b.use_var(self.regs.top), self.b.use_var(self.regs.reductions)];
        for (value, offset) in
            state.into_iter().zip([layout::STOP, layout::TOP, layout::REDUCTIONS])
        {
            self.store(value, registers, offset);
        }
    }
    pub(crate) fn reload_state(&mut self) {
        let registers = self.registers();
        self.regs.stop_offset = 0;
        for (variable, offset) in [
            (self.regs.stop, layout::STOP),
            (self.regs.top, layout::TOP),
            (self.regs.reductions, layout::REDUCTIONS),
        ] {
            let value = self.load(registers, offset);
            self.b.def_var(variable, value);
        }
    }
    /// Reads the parts of the state again that an assist may have changed.
    pub(crate) fn reload_counters(&mut self) {
        let registers = self.registers();
        for (variable, offset) in
            [(self.regs.top, layout::TOP), (self.regs.reductions, layout::REDUCTIONS)]
        {
            let value = self.load(registers, offset);
            self.b.def_var(variable, value);
        }
    }
    /// Leaves by a stub without arguments, as all is written back.
    fn leave_saved(&mut self, stub: Stub) {
        let signature = self.signatures.saved(&mut self.b);
        let code = self.way_out(stub);
        self.b.ins().return_call_indirect(signature, code, &[]);
    }
    /// Leaves by a stub that writes the state back: the X registers in `live`. Raw floats are boxed
    /// on the way.
    pub(super) fn leave_by(&mut self, plain: Stub, with_floats: Stub, live: XSet) {
        let known = self.facts.clone();
        let (mut x_floats, mut y_floats, mut on_heap): (XSet, u64, _) = (0, 0, Vec::new());
        for number in self.facts.pending() {
            let register = Dst::y(number as u16);
            let (value, is_float) = self.raw(register, &mut on_heap);
            y_floats |= u64::from(is_float) << number;
            let stop = self.b.use_var(self.regs.stop);
            self.store(value, stop, self.regs.stop_offset + number as i32 * 8);
            self.facts.place(register, Location::Word);
        }
        let mut passed = Vec::new();
        let passed_count =
            (live & below(PASSED_X)).checked_ilog2().map_or(0, |highest| highest as usize + 1);
        for number in
            (0..TRACKED_X).filter(|&number| number < passed_count || live & (1 << number) != 0)
        {
            // A register that is passed only because a later one is may hold anything.
            let unwanted = live & (1 << number) == 0;
            let (value, is_float) = if unwanted {
                (self.word(0), false)
            } else {
                self.raw(Dst::x(number as u16), &mut on_heap)
            };
            x_floats |= u64::from(is_float) << number;
            if number < PASSED_X {
                passed.push(value);
            } else {
                self.store_x(number, value);
            }
        }
        let heap_floats = on_heap
            .iter()
            .rev()
            .enumerate()
            .fold(0, |set, (number, &is_float)| set | u64::from(is_float) << number);
        let registers = self.registers();
        for (set, offset) in [
            (x_floats, layout::X_FLOATS),
            (y_floats, layout::Y_FLOATS),
            (heap_floats, layout::HEAP_FLOATS),
        ] {
            if set != 0 {
                let set = self.word(set);
                self.store(set, registers, offset);
            }
        }
        let code =
            self.way_out(if x_floats | y_floats | heap_floats == 0 { plain } else { with_floats });
        self.go(code, &passed);
        self.facts = known;
    }
    /// Leaves to the interpreter, at the instruction `at`.
    pub(super) fn exit_at(&mut self, at: u32) {
        self.save_f(self.flow().f_live_at(at));
        let ip = self.instr(at);
        let registers = self.registers();
        self.store(ip, registers, layout::IP);
        self.leave_by(Stub::Interpret, Stub::InterpretFloats, self.flow().live_at(at));
    }
    /// A block that leaves to the interpreter, at the instruction `at`.
    pub(crate) fn exit_block(&mut self, at: u32) -> Block {
        let here = self.b.current_block().expect("translating");
        // As values are now, so that the block need not ask whence it was reached.
        let mut current: Vec<Variable> = vec![self.regs.stop, self.regs.top, self.regs.reductions];
        let live = (0..TRACKED_X as u16)
            .filter(|&number| self.flow().live_at(at) & (1 << number) != 0)
            .map(Dst::x);
        let pending = self.facts.pending().into_iter().map(|number| Dst::y(number as u16));
        current.extend(live.chain(pending).flat_map(|register| self.variables_of(register)));
        let written = self.written_f & self.flow().f_live_at(at);
        current.extend(
            (0..TRACKED_F)
                .filter(|&number| written & (1 << number) != 0)
                .map(|number| self.regs.f[number]),
        );
        let values: Vec<Value> = current.iter().map(|&variable| self.b.use_var(variable)).collect();
        let block = self.cold_block();
        self.b.switch_to_block(block);
        for (variable, value) in current.into_iter().zip(values) {
            self.b.def_var(variable, value);
        }
        self.exit_at(at);
        self.b.switch_to_block(here);
        block
    }

    /// As [`exit_block`](Self::exit_block), for an instruction that writes only an F register. A
    /// run of them shares the exit of its first, so the interpreter repeats the whole run.
    pub(crate) fn float_exit_block(&mut self, at: u32) -> Block {
        if let Some(run) = &self.float_run {
            return run.exit;
        }
        let exit = self.exit_block(at);
        if self.flow().f_live_at(at) == 0 {
            self.float_run = Some(FloatRun { at, facts: self.facts.clone(), exit, anew: None });
        }
        exit
    }
    /// Whether the translation is in a run of float operations that shares one exit.
    pub(crate) fn has_float_exit(&self) -> bool {
        self.float_run.is_some()
    }
    /// Where the run begins anew without the assumption that all numbers are floats. `None` where
    /// it has begun so already, or where no loop would have floats in machine registers from then on,
    /// so that the assumption gains nothing.
    pub(crate) fn float_run_anew(&mut self) -> Option<Block> {
        if self.cold || self.facts.mixed || !self.body().is_loop {
            return None;
        }
        let run = self.float_run.as_ref()?;
        if run.anew.is_some() {
            return run.anew;
        }
        let at = run.at;
        let facts = std::mem::replace(&mut self.facts, run.facts.clone());
        let block = self.later_cold(move |translator| {
            translator.facts.mixed = true;
            let block = translator.target(at);
            translator.b.ins().jump(block, &[]);
        });
        self.facts = facts;
        let run = self.float_run.as_mut().expect("just looked at");
        run.anew = Some(block);
        run.anew
    }
    /// As [`exit_block`](Self::exit_block), where all state is written back already.
    pub(crate) fn exit_saved_block(&mut self, at: u32) -> Block {
        let here = self.b.current_block().expect("translating");
        let block = self.cold_block();
        self.b.switch_to_block(block);
        let (registers, ip) = (self.registers(), self.instr(at));
        self.store(ip, registers, layout::IP);
        self.leave_saved(Stub::SavedInterpret);
        self.b.switch_to_block(here);
        block
    }

    /// Writes all live values back. No value lives across a call, so no piece has to save machine
    /// registers for its caller.
    fn save(&mut self, live: XSet) {
        self.write_frame();
        self.save_x(live);
        self.save_f(u32::MAX);
        self.save_state();
    }
    /// Reads all live values again.
    pub(crate) fn reload(&mut self, live: XSet) {
        self.reload_state();
        self.reload_x(live);
        let registers = self.registers();
        for number in 0..TRACKED_F as u16 {
            if self.written_f & (1 << number) != 0 {
                let value = self.b.ins().load(
                    F64,
                    MemFlags::trusted(),
                    registers,
                    layout::f(number.into()),
                );
                self.b.def_var(self.regs.f[usize::from(number)], value);
            }
        }
    }

    /// Has an assist execute the instruction at `at`, and goes on with the one that is next then.
    pub(crate) fn step(&mut self, at: u32) {
        let live = self.flow().live_at(at);
        self.save(live);
        let (registers, ip) = (self.registers(), self.instr(at));
        let next = self.call_plain(self.source.assists.step as usize, &[registers, ip]);
        let effects = self.flow().at(at);
        let mut places: Vec<u32> = effects
            .next
            .into_iter()
            .chain(effects.jumps.iter().copied())
            .filter(|&place| self.flow().contains(place))
            .collect();
        places.dedup();
        places.retain(|&place| !matches!(self.code()[place as usize], Instr::FuncInfo { .. }));
        if places.len() > 4 {
            places.clear();
        }
        self.forget_written(at);
        self.facts.forget_floats();
        if let Instr::LoadFloat { to, .. } = self.code()[at as usize] {
            self.written_f |= 1 << to;
        }
        let mut ways = Vec::new();
        for place in places {
            // From where it is hardly ever reached, the interpreter may as well go on, up to the
            // next call or return.
            let block = if self.cold { self.known_target(place) } else { Some(self.target(place)) };
            ways.extend(block.map(|block| (place, block)));
        }
        if !ways.is_empty() {
            // Nothing that was in values is current any more.
            self.reload(self.flow().live_after(at));
        }
        for (place, block) in ways {
            let wanted = self.instr(place);
            let is_next = self.b.ins().icmp(IntCC::Equal, next, wanted);
            let other = self.cold_block();
            self.branch(is_next, block, other);
            self.b.switch_to_block(other);
        }
        let (gone, on) = (self.cold_block(), self.cold_block());
        self.branch(next, on, gone);
        self.b.switch_to_block(gone);
        self.leave_saved(Stub::SavedLeave);
        self.b.switch_to_block(on);
        // The step has saved the state.
        let registers = self.registers();
        self.store(next, registers, layout::IP);
        self.leave_saved(Stub::SavedContinue);
    }
    /// Forgets the facts of the registers that the instruction writes.
    fn forget_written(&mut self, at: u32) {
        let effects = self.flow().at(at);
        for number in 0..TRACKED_X as u16 {
            if effects.defs & (1 << number) != 0 {
                self.facts.forget(Dst::x(number));
            }
        }
        for &y in &effects.y_defs {
            self.facts.forget(Dst::y(y));
        }
        if matches!(
            self.code()[at as usize],
            Instr::Allocate { .. } | Instr::Deallocate { .. } | Instr::Trim { .. }
        ) {
            self.facts.forget_y();
        }
    }
    /// Goes on behind an instruction whose slow path leads there as well.
    pub(crate) fn join(&mut self, next: u32) -> Next {
        let block = self.target(next);
        self.b.ins().jump(block, &[]);
        Next::End
    }

    /// Asks about two terms, where it hardly ever has to.
    pub(crate) fn ask(&mut self, question: Question, x: Value, y: Value) -> Value {
        let signature = self.signatures.question(&mut self.b);
        let function = self.address(
            Symbol::Question(question as u8),
            self.source.glue.questions[question as usize],
        );
        self.b.ins().call_indirect(signature, function, &[x, y]);
        let registers = self.registers();
        self.load(registers, layout::ANSWER)
    }
}
