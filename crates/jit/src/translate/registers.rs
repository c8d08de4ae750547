//! What machine code holds of the registers: values of the piece, words in memory, and what is
//! known of them.

use super::{F64, I64, PENDING_Y, TRACKED_F, Translator};
use crate::plan::analysis::TRACKED_X;
use crate::plan::facts::{Fact, Location, SCALAR_TUPLES_MAX, SLOTS, kind, scalar, scalar_number};
use cranelift_codegen::ir::MemFlagsData as MemFlags;
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use cranelift_frontend::{FunctionBuilder, Variable};
use swarmrt_beam::instr::{Dst, Src};
use swarmrt_engine::code::Stub;
use swarmrt_engine::code::Symbol;
use swarmrt_engine::layout;
use swarmrt_engine::layout::address_in;
use swarmrt_term::Term;

/// The variables that hold registers and pointers of the machine.
pub(crate) struct Registers {
    pub(super) x: Vec<Variable>,
    /// The values of X registers that are floats, where the facts say so.
    pub(super) x_floats: Vec<Variable>,
    pub(super) f: Vec<Variable>,
    /// The Y registers that are not in memory yet, where the facts say so, and return addresses
    /// among them.
    pub(super) y: Vec<Variable>,
    pub(super) y_floats: Vec<Variable>,
    /// The elements of scalar-replaced tuples.
    pub(super) scalars: Vec<Variable>,
    pub(super) scalar_floats: Vec<Variable>,
    /// The stack pointer is `stop_offset` bytes past `stop`. The offset is 0 where a block with
    /// several predecessors begins.
    pub(super) stop: Variable,
    pub(super) stop_offset: i32,
    pub(crate) top: Variable,
    pub(crate) reductions: Variable,
    /// The address of the scheduler's registers, as it was last read, and in which block.
    pub(super) of_scheduler: Option<(Block, Value)>,
}

impl Registers {
    pub(super) fn declare(b: &mut FunctionBuilder<'_>) -> Registers {
        let mut declare = |count, of| (0..count).map(|_| b.declare_var(of)).collect::<Vec<_>>();
        let (x, x_floats) = (declare(TRACKED_X, I64), declare(TRACKED_X, F64));
        let f = declare(TRACKED_F, F64);
        let (y, y_floats) = (declare(PENDING_Y, I64), declare(PENDING_Y, F64));
        let elements = usize::from(SLOTS) * SCALAR_TUPLES_MAX;
        let (scalars, scalar_floats) = (declare(elements, I64), declare(elements, F64));
        let [stop, top, reductions] = [(); 3].map(|()| b.declare_var(I64));
        let (stop_offset, of_scheduler) = (0, None);
        Registers {
            x,
            x_floats,
            f,
            y,
            y_floats,
            scalars,
            scalar_floats,
            stop,
            stop_offset,
            top,
            reductions,
            of_scheduler,
        }
    }
}

impl Translator<'_, '_> {
    // ---- Words ----

    pub(crate) fn word(&mut self, value: u64) -> Value {
        self.b.ins().iconst(I64, value as i64)
    }
    pub(crate) fn address_of(&self, at: u32) -> u64 {
        address_in(self.code(), at)
    }
    /// An address as a value, noted with its symbol.
    pub(crate) fn address(&mut self, symbol: Symbol, value: u64) -> Value {
        self.source.symbols.note(symbol, value);
        self.word(value)
    }
    /// The address of an instruction.
    pub(crate) fn instr(&mut self, at: u32) -> Value {
        self.place(self.address_of(at))
    }
    /// The address of an instruction of whichever module.
    pub(crate) fn place(&mut self, address: u64) -> Value {
        let distance = address.wrapping_sub(address_in(self.source.code, 0)) / layout::INSTR_BYTES;
        if distance < self.source.code.len() as u64 {
            return self.address(Symbol::Instr(distance as u32), address);
        }
        match self.source.inlined.other_instr(address).filter(|(module, _)| module.digest.is_some())
        {
            Some((module, at)) => {
                self.address(Symbol::OtherInstr { module: module.name.index(), at }, address)
            }
            None => {
                // Nothing says that the other module will be the same.
                self.source.symbols.tie_to_run();
                self.word(address)
            }
        }
    }
    /// A constant of the module: a term.
    pub(crate) fn constant_word(&mut self, word: u64) -> Value {
        if let Some(symbol) = Symbol::literal(self.source.literals, word) {
            return self.address(symbol, word);
        }
        let other = self.source.inlined.others().filter(|module| module.digest.is_some()).find_map(
            |module| match Symbol::literal(&module.literals, word)? {
                Symbol::Literal { piece, offset } => {
                    Some(Symbol::OtherLiteral { module: module.name.index(), piece, offset })
                }
                _ => None,
            },
        );
        if let Some(symbol) = other {
            return self.address(symbol, word);
        }
        // SAFETY: only the tag is looked at.
        if unsafe { Term::from_raw(word) }.is_pointer() {
            self.source.symbols.tie_to_run();
        }
        self.word(word)
    }
    /// The code of a stub.
    pub(crate) fn way_out(&mut self, stub: Stub) -> Value {
        self.address(Symbol::Exit(stub as u8), self.source.glue.exits[stub as usize])
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
        let here = self.b.current_block().expect("translating");
        match self.regs.of_scheduler {
            Some((block, value)) if block == here => value,
            _ => {
                let value = self.b.ins().get_pinned_reg(I64);
                self.regs.of_scheduler = Some((here, value));
                value
            }
        }
    }
    pub(crate) fn load_x(&mut self, number: usize) -> Value {
        let registers = self.registers();
        self.load(registers, layout::x(number))
    }
    pub(super) fn store_x(&mut self, number: usize, value: Value) {
        let registers = self.registers();
        self.store(value, registers, layout::x(number));
    }
    /// The variable of a register's word, where registers are values.
    pub(super) fn variable(&self, register: Dst) -> Variable {
        match scalar_number(register) {
            Some(number) => self.regs.scalars[number],
            None if register.is_y() => self.regs.y[register.index()],
            None => self.regs.x[register.index()],
        }
    }
    pub(super) fn float_variable(&self, register: Dst) -> Variable {
        match scalar_number(register) {
            Some(number) => self.regs.scalar_floats[number],
            None if register.is_y() => self.regs.y_floats[register.index()],
            None => self.regs.x_floats[register.index()],
        }
    }
    /// Whether a register may be in variables instead of memory.
    pub(super) fn is_tracked(register: Dst) -> bool {
        scalar_number(register).is_some()
            || register.index() < if register.is_y() { PENDING_Y } else { TRACKED_X }
    }
    /// The variables that hold what a register that is a value holds.
    pub(super) fn variables_of(&self, register: Dst) -> Vec<Variable> {
        let fact = self.facts.of(register);
        match fact.place {
            Location::Float => vec![self.float_variable(register)],
            Location::Scalars(slot) => (0..fact.arity as usize)
                .flat_map(|index| self.variables_of(scalar(slot, index)))
                .collect(),
            Location::Word | Location::Both | Location::Pending => vec![self.variable(register)],
        }
    }
    /// The word of a register that is in variables. A raw float is encoded for it, and a
    /// scalar-replaced tuple is put on the heap.
    pub(super) fn word_in(&mut self, register: Dst) -> Value {
        match self.facts.of(register).place {
            Location::Float => {
                let float = self.b.use_var(self.float_variable(register));
                let word = self.encode_float(float);
                self.b.def_var(self.variable(register), word);
                self.facts.place(register, Location::Both);
                word
            }
            Location::Scalars(_) => self.build(register),
            Location::Word | Location::Both | Location::Pending => {
                self.b.use_var(self.variable(register))
            }
        }
    }
    /// Sets a register's word in its variable.
    pub(super) fn set_word(&mut self, register: Dst, word: Value) {
        self.b.def_var(self.variable(register), word);
        self.facts
            .place(register, if register.is_y() { Location::Pending } else { Location::Word });
    }
    pub(crate) fn use_x(&mut self, number: usize) -> Value {
        if number < TRACKED_X { self.word_in(Dst::x(number as u16)) } else { self.load_x(number) }
    }
    /// The float that a register holds, where it is in a machine register for floats.
    pub(crate) fn float_in(&mut self, src: Src) -> Option<Value> {
        self.float_of(crate::plan::facts::register(src)?)
    }
    pub(super) fn float_of(&mut self, register: Dst) -> Option<Value> {
        self.facts
            .of(register)
            .place
            .has_float()
            .then(|| self.b.use_var(self.float_variable(register)))
    }
    /// The word in a register has turned out to hold this float.
    pub(crate) fn is_also_float(&mut self, src: Src, float: Value) {
        if let Some(register) = crate::plan::facts::register(src) {
            self.holds_float(register, float);
        }
    }
    fn holds_float(&mut self, register: Dst, float: Value) {
        let is_value = !register.is_y() || self.facts.of(register).place != Location::Word;
        if is_value && Self::is_tracked(register) {
            self.b.def_var(self.float_variable(register), float);
            self.facts.place(register, Location::Both);
        }
    }
    /// Writes a float to a register.
    pub(crate) fn set_float(&mut self, dst: Dst, float: Value) {
        if Self::is_tracked(dst) {
            self.b.def_var(self.float_variable(dst), float);
            self.facts.set(dst, Fact::of(kind::FLOATS));
            self.facts.place(dst, Location::Float);
        } else {
            let word = self.encode_float(float);
            self.set_known(dst, word, Fact::of(kind::FLOATS));
        }
    }
    pub(crate) fn def_x(&mut self, number: usize, value: Value) {
        self.facts.forget(Dst::x(number as u16));
        if number < TRACKED_X {
            self.b.def_var(self.regs.x[number], value);
        } else {
            self.store_x(number, value);
        }
    }
    pub(super) fn load_y(&mut self, number: usize) -> Value {
        let register = Dst::y(number as u16);
        if self.facts.of(register).place != Location::Word {
            return self.word_in(register);
        }
        let stop = self.b.use_var(self.regs.stop);
        self.load(stop, self.regs.stop_offset + number as i32 * 8)
    }
    /// The stack pointer.
    pub(super) fn use_stop(&mut self) -> Value {
        let stop = self.b.use_var(self.regs.stop);
        if self.regs.stop_offset == 0 {
            stop
        } else {
            self.b.ins().iadd_imm_s(stop, i64::from(self.regs.stop_offset))
        }
    }
    /// Makes `stop` the stack pointer itself, with an offset of 0.
    pub(super) fn settle_stop(&mut self) {
        if self.regs.stop_offset != 0 {
            let stop = self.use_stop();
            self.b.def_var(self.regs.stop, stop);
            self.regs.stop_offset = 0;
        }
    }
    pub(super) fn store_y(&mut self, number: usize, value: Value) {
        // Frames of functions that are inside are hardly ever needed in memory.
        if self.sites.current != 0 && number < PENDING_Y {
            return self.put_off_y(number, value);
        }
        self.facts.forget(Dst::y(number as u16));
        let stop = self.b.use_var(self.regs.stop);
        self.store(value, stop, self.regs.stop_offset + number as i32 * 8);
    }
    /// Sets a word of the frame in a variable only; [`write_pending`](Self::write_pending) stores
    /// it before anything reads the frame in memory.
    pub(super) fn put_off_y(&mut self, number: usize, value: Value) {
        self.b.def_var(self.regs.y[number], value);
        self.facts.forget(Dst::y(number as u16));
        self.facts.place(Dst::y(number as u16), Location::Pending);
    }
    /// Renumbers pending words before the frame grows by `words` at its low end, or shrinks where
    /// `words` is negative. Those for which there is no variable then are stored.
    pub(super) fn move_pending(&mut self, words: i32) {
        let mut pending = self.facts.pending();
        if words > 0 {
            let last = PENDING_Y.saturating_sub(words as usize);
            let beyond: Vec<usize> =
                pending.iter().copied().filter(|&number| number >= last).collect();
            self.write_pending(&beyond);
            pending.retain(|&number| number < last);
            pending.reverse();
        }
        for number in pending {
            let Some(moved) = number.checked_add_signed(words as isize) else { continue };
            let place = self.facts.of(Dst::y(number as u16)).place;
            // Scalar-replaced tuples are elsewhere.
            if matches!(place, Location::Pending | Location::Both) {
                let value = self.b.use_var(self.regs.y[number]);
                self.b.def_var(self.regs.y[moved], value);
            }
            if place.has_float() {
                let value = self.b.use_var(self.regs.y_floats[number]);
                self.b.def_var(self.regs.y_floats[moved], value);
            }
        }
    }
    /// Stores pending words of the frame.
    pub(super) fn write_pending(&mut self, numbers: &[usize]) {
        self.store_pending(numbers);
        for &number in numbers {
            self.facts.place(Dst::y(number as u16), Location::Word);
        }
    }
    /// Stores pending words of the frame on one path only: the facts, which are the other path's,
    /// too, still have them as pending.
    pub(super) fn store_pending(&mut self, numbers: &[usize]) {
        for &number in numbers {
            let value = self.word_in(Dst::y(number as u16));
            let stop = self.b.use_var(self.regs.stop);
            self.store(value, stop, self.regs.stop_offset + number as i32 * 8);
        }
    }
    /// Stores all pending words of the frame.
    pub(crate) fn write_frame(&mut self) {
        let pending = self.facts.pending();
        self.write_pending(&pending);
    }
    /// The word of an operand that is a constant; `None` for registers.
    pub(crate) fn constant(&self, at: u32, src: Src) -> Option<u64> {
        match src.kind() {
            Src::KIND_SMALL => Some(i64::from(src.0 as i32) as u64),
            // SAFETY: the verifier and the linker have made the operand name a word of the module's
            // pool.
            Src::KIND_CONST => {
                Some(unsafe { *(self.address_of(at) as *const u64).offset(src.offset()) })
            }
            _ => None,
        }
    }
    pub(crate) fn src(&mut self, at: u32, src: Src) -> Value {
        if let Some(word) = self.constant(at, src) {
            return self.constant_word(word);
        }
        if src.kind() == Src::KIND_X { self.use_x(src.index()) } else { self.load_y(src.index()) }
    }
    /// The fact of an operand.
    pub(crate) fn fact(&self, at: u32, src: Src) -> Fact {
        match self.constant(at, src) {
            // SAFETY: a constant of the module's pool.
            Some(word) => Fact::of_term(unsafe { Term::from_raw(word) }),
            None => self.facts.of_src(src),
        }
    }
    /// Writes a register with a value and its fact.
    pub(crate) fn set_known(&mut self, dst: Dst, value: Value, fact: Fact) {
        self.set(dst, value);
        self.facts.set(dst, fact);
    }
    /// Copies an operand with its fact.
    pub(super) fn copy(&mut self, at: u32, src: Src, dst: Dst) {
        if let Some(register) = crate::plan::facts::register(src) {
            if !self.move_scalars(at, register, dst) {
                self.copy_register(register, dst);
            }
            return;
        }
        let (value, fact) = (self.src(at, src), self.fact(at, src));
        self.set_known(dst, value, fact);
    }
    pub(super) fn copy_register(&mut self, from: Dst, to: Dst) {
        let fact = self.facts.of(from);
        let float = self.float_of(from).filter(|_| Self::is_tracked(to));
        if let Some(float) = float.filter(|_| fact.place == Location::Float) {
            return self.set_float(to, float);
        }
        let value = if Self::is_tracked(from) && !from.is_y() {
            self.word_in(from)
        } else if from.is_y() {
            self.load_y(from.index())
        } else {
            self.load_x(from.index())
        };
        if float.is_some() && to.is_y() {
            self.put_off_y(to.index(), value);
            self.facts.set(to, fact);
        } else {
            self.set_known(to, value, fact);
        }
        if let Some(float) = float {
            self.holds_float(to, float);
        }
    }
    pub(crate) fn set(&mut self, dst: Dst, value: Value) {
        if scalar_number(dst).is_some() {
            self.facts.forget(dst);
            self.set_word(dst, value);
        } else if dst.is_y() {
            self.store_y(dst.index(), value);
        } else {
            self.def_x(dst.index(), value);
        }
    }
    pub(crate) fn use_f(&mut self, number: u16) -> Value {
        self.b.use_var(self.regs.f[usize::from(number)])
    }
    pub(crate) fn def_f(&mut self, number: u16, value: Value) {
        self.written_f |= 1 << number;
        self.b.def_var(self.regs.f[usize::from(number)], value);
    }
}
