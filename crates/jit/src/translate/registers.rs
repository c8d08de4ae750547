//! What machine code holds of the registers: values of the piece, words in memory, and what is known of them.

use super::{I64, PENDING_Y, Piece, address_in};
use crate::analysis::TRACKED_X;
use crate::anchors::Anchor;
use crate::facts::{Fact, Place, kind};
use crate::glue::Stub;
use crate::layout;
use cranelift_codegen::ir::MemFlagsData as MemFlags;
use cranelift_codegen::ir::{InstBuilder, Value};
use swarmrt_beam::instr::{Dst, Src};
use swarmrt_term::Term;

impl Piece<'_, '_> {
    // ---- Words ----

    pub(crate) fn word(&mut self, value: u64) -> Value {
        self.b.ins().iconst(I64, value as i64)
    }
    pub(crate) fn address_of(&self, at: u32) -> u64 {
        address_in(self.code(), at)
    }
    /// An address, and of what it is.
    pub(crate) fn address(&mut self, anchor: Anchor, value: u64) -> Value {
        self.source.anchored.note(anchor, value);
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
            return self.address(Anchor::Instr(distance as u32), address);
        }
        // Nothing says that the other module will be the same.
        self.source.anchored.tie_to_run();
        self.word(address)
    }
    /// A constant of the module: a term.
    pub(crate) fn constant_word(&mut self, word: u64) -> Value {
        if let Some(anchor) = Anchor::literal(self.source.literals, word) {
            return self.address(anchor, word);
        }
        // SAFETY: only the tag is looked at.
        if unsafe { Term::from_raw(word) }.is_pointer() {
            self.source.anchored.tie_to_run();
        }
        self.word(word)
    }
    /// The code of a stub.
    pub(crate) fn way_out(&mut self, stub: Stub) -> Value {
        self.address(Anchor::Exit(stub as u8), self.source.glue.exits[stub as usize])
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
        match self.registers {
            (Some(block), value) if block == here => value,
            _ => {
                let value = self.b.ins().get_pinned_reg(I64);
                self.registers = (Some(here), value);
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
    pub(crate) fn use_x(&mut self, number: usize) -> Value {
        if number >= TRACKED_X {
            return self.load_x(number);
        }
        let register = Dst::x(number as u16);
        if self.facts.of(register).place == Place::Float {
            let float = self.b.use_var(self.x_floats[number]);
            let word = self.encode_float(float);
            self.b.def_var(self.x[number], word);
            self.facts.place(register, Place::Both);
            return word;
        }
        self.b.use_var(self.x[number])
    }
    /// The word of an X register, or the bits of the float that it is.
    pub(super) fn use_x_raw(&mut self, number: usize) -> (Value, bool) {
        if number < TRACKED_X && self.facts.of(Dst::x(number as u16)).place == Place::Float {
            let float = self.b.use_var(self.x_floats[number]);
            return (self.b.ins().bitcast(I64, MemFlags::new(), float), true);
        }
        (self.use_x(number), false)
    }
    /// The float that a register holds, where it is in a machine register for floats.
    pub(crate) fn float_in(&mut self, src: Src) -> Option<Value> {
        let register = crate::facts::register(src)?;
        self.facts.of(register).place.has_float().then(|| self.b.use_var(self.x_floats[register.index()]))
    }
    /// The word in a register has turned out to hold this float.
    pub(crate) fn is_also_float(&mut self, src: Src, float: Value) {
        if let Some(register) = crate::facts::register(src)
            && !register.is_y()
            && register.index() < TRACKED_X
        {
            self.b.def_var(self.x_floats[register.index()], float);
            self.facts.place(register, Place::Both);
        }
    }
    /// Writes a float to a register.
    pub(crate) fn set_float(&mut self, dst: Dst, float: Value) {
        if !dst.is_y() && dst.index() < TRACKED_X {
            self.b.def_var(self.x_floats[dst.index()], float);
            self.facts.set(dst, Fact::of(kind::FLOATS));
            self.facts.place(dst, Place::Float);
        } else {
            let word = self.encode_float(float);
            self.set_known(dst, word, Fact::of(kind::FLOATS));
        }
    }
    pub(crate) fn def_x(&mut self, number: usize, value: Value) {
        self.facts.forget(Dst::x(number as u16));
        if number < TRACKED_X {
            self.b.def_var(self.x[number], value);
        } else {
            self.store_x(number, value);
        }
    }
    pub(super) fn load_y(&mut self, number: usize) -> Value {
        if self.facts.of(Dst::y(number as u16)).place == Place::Pending {
            return self.b.use_var(self.y[number]);
        }
        let stop = self.b.use_var(self.stop);
        self.load(stop, self.stop_offset + number as i32 * 8)
    }
    /// The stack pointer.
    pub(super) fn use_stop(&mut self) -> Value {
        let stop = self.b.use_var(self.stop);
        if self.stop_offset == 0 { stop } else { self.b.ins().iadd_imm_s(stop, i64::from(self.stop_offset)) }
    }
    /// Makes the variable what the stack pointer is.
    pub(super) fn settle_stop(&mut self) {
        if self.stop_offset != 0 {
            let stop = self.use_stop();
            self.b.def_var(self.stop, stop);
            self.stop_offset = 0;
        }
    }
    pub(super) fn store_y(&mut self, number: usize, value: Value) {
        // Frames of functions that are inside are hardly ever needed in memory.
        if self.site != 0 && number < PENDING_Y {
            return self.put_off_y(number, value);
        }
        self.facts.forget(Dst::y(number as u16));
        let stop = self.b.use_var(self.stop);
        self.store(value, stop, self.stop_offset + number as i32 * 8);
    }
    /// The same, once somebody may look.
    pub(super) fn put_off_y(&mut self, number: usize, value: Value) {
        self.b.def_var(self.y[number], value);
        self.facts.forget(Dst::y(number as u16));
        self.facts.place(Dst::y(number as u16), Place::Pending);
    }
    /// Before so many words come in front of the frame, or go when there are less than none: what has been put off has other
    /// numbers then.
    pub(super) fn move_pending(&mut self, words: i32) {
        let mut pending = self.facts.pending();
        if words > 0 {
            let last = PENDING_Y.saturating_sub(words as usize);
            let beyond: Vec<usize> = pending.iter().copied().filter(|&number| number >= last).collect();
            self.write_pending(&beyond);
            pending.retain(|&number| number < last);
            pending.reverse();
        }
        for number in pending {
            if let Some(moved) = number.checked_add_signed(words as isize) {
                let value = self.b.use_var(self.y[number]);
                self.b.def_var(self.y[moved], value);
            }
        }
    }
    /// Stores words of the frame that have been put off.
    pub(super) fn write_pending(&mut self, numbers: &[usize]) {
        self.store_pending(numbers);
        for &number in numbers {
            self.facts.place(Dst::y(number as u16), Place::Word);
        }
    }
    /// The same on a way of its own, when they are still put off on the other.
    pub(super) fn store_pending(&mut self, numbers: &[usize]) {
        let stop = self.b.use_var(self.stop);
        for &number in numbers {
            let value = self.b.use_var(self.y[number]);
            self.store(value, stop, self.stop_offset + number as i32 * 8);
        }
    }
    /// Stores the whole frame.
    pub(crate) fn write_frame(&mut self) {
        let pending = self.facts.pending();
        self.write_pending(&pending);
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
            return self.constant_word(word);
        }
        if src.kind() == Src::KIND_X { self.use_x(src.index()) } else { self.load_y(src.index()) }
    }
    /// What is known of an operand.
    pub(crate) fn fact(&self, at: u32, src: Src) -> Fact {
        match self.constant(at, src) {
            // SAFETY: a constant of the module's pool.
            Some(word) => Fact::of_term(unsafe { Term::from_raw(word) }),
            None => self.facts.of_src(src),
        }
    }
    /// Writes a register of whose value something is known.
    pub(crate) fn set_known(&mut self, dst: Dst, value: Value, fact: Fact) {
        self.set(dst, value);
        self.facts.set(dst, fact);
    }
    /// Copies a register, with what is known of it.
    pub(super) fn copy(&mut self, at: u32, src: Src, dst: Dst) {
        let fact = self.fact(at, src);
        let float = self.float_in(src);
        if let Some(float) = float.filter(|_| fact.place == Place::Float && !dst.is_y()) {
            return self.set_float(dst, float);
        }
        let value = self.src(at, src);
        self.set_known(dst, value, fact);
        if let Some(float) = float {
            self.is_also_float(dst.as_src(), float);
        }
    }
    pub(crate) fn set(&mut self, dst: Dst, value: Value) {
        if dst.is_y() {
            self.store_y(dst.index(), value);
        } else {
            self.def_x(dst.index(), value);
        }
    }
    pub(crate) fn use_f(&mut self, number: u16) -> Value {
        self.b.use_var(self.f[usize::from(number)])
    }
    pub(crate) fn def_f(&mut self, number: u16, value: Value) {
        self.written_f |= 1 << number;
        self.b.def_var(self.f[usize::from(number)], value);
    }
}
