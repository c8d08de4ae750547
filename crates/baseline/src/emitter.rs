//! The state of one compilation, and the sequences that most instructions are put together from.
//!
//! Machine registers: `rdi` is the stack pointer, `rsi` the heap's top, `rdx` the reductions left,
//! `rcx`, `r8` and `r9` the first X registers, `r15` the address of the scheduler's registers, as
//! pieces pass them. `rbp` is the trampoline's, by which the stack is unwound. The others are free:
//! `rax`, `r10` and `r11` until something is called, `rbx`, `r12`, `r13` and `r14` also across
//! calls.

use crate::facts::Facts;
use crate::routines::{FloatOperation, Routines};
use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, VecAssembler, dynasm};
use swarmrt_beam::instr::{Dst, Instr, Operand, Src};
use swarmrt_engine::BaselineCode;
use swarmrt_engine::layout;
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_machine::bif::BifTable;
use swarmrt_term::Term;

/// Collects machine code that is position-independent until it is finished.
pub type Assembler = VecAssembler<X64Relocation>;

/// Scratch; also the result of assists and routines.
pub const RAX: u8 = 0;
/// Kept across calls; the first argument of assists.
pub const RBX: u8 = 3;
/// The heap's top.
pub const RSI: u8 = 6;
/// Scratch.
pub const R10: u8 = 10;
/// Scratch, also for constants too large for an immediate.
pub const R11: u8 = 11;
/// Kept across calls; the second argument of assists.
pub const R12: u8 = 12;
/// Kept across calls; the third argument of assists.
pub const R13: u8 = 13;
/// Kept across calls; the match context.
pub const R14: u8 = 14;
/// The machine registers that hold X\[0\] to X\[2\]: `rcx`, `r8`, `r9`.
pub const PASSED: [u8; 3] = [1, 8, 9];

/// The instructions of a function.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// All of the module's.
    pub code: &'a [Instr],
    pub start: u32,
    pub end: u32,
    pub entry: u32,
    pub arity: u32,
}

impl Span<'_> {
    fn contains(&self, at: u32) -> bool {
        (self.start..self.end).contains(&at)
    }
    /// The address of the instruction `at` of the module.
    pub fn address(&self, at: u32) -> u64 {
        layout::address_in(self.code, at)
    }
}

/// What is emitted behind the function's code.
pub type Later<'a> = Box<dyn FnOnce(&mut Emitter<'a>) + 'a>;

/// One compilation of a function. In its methods `at` is the number of the instruction in its
/// module, and `fail`, `target` and other distances count instructions from it.
pub struct Emitter<'a> {
    pub ops: Assembler,
    pub span: Span<'a>,
    pub assists: &'static Assists,
    pub bifs: &'static BifTable,
    routines: &'a Routines,
    /// Label of each instruction, from the function's first on.
    labels: Vec<DynamicLabel>,
    is_target: Vec<bool>,
    /// By instruction: the label of its exit to the interpreter, if one was needed.
    exits: Vec<Option<DynamicLabel>>,
    later: Vec<Later<'a>>,
    pub facts: Facts,
    shared: Shared,
    pub cell_code: i32,
}

/// Places at the end of the function's code.
struct Shared {
    step: DynamicLabel,
    interpret: DynamicLabel,
    continues: DynamicLabel,
    /// The address of the function's first instruction.
    first: DynamicLabel,
    routines: [DynamicLabel; 6],
}

const STEP: usize = 0;
const ASSIST: usize = 1;
const ASK: usize = 2;
const INTERPRET: usize = 3;
const CONTINUES: usize = 4;
const TURN_OVER: usize = 5;

impl<'a> Emitter<'a> {
    /// Scans the function for jump targets; nothing is emitted yet. `routines` must outlive the
    /// code, which calls them by address.
    pub fn new(
        span: Span<'a>,
        assists: &'static Assists,
        bifs: &'static BifTable,
        routines: &'a Routines,
    ) -> Emitter<'a> {
        let mut ops = Assembler::new(0);
        let count = (span.end - span.start) as usize;
        let labels = (0..count).map(|_| ops.new_dynamic_label()).collect();
        let mut is_target = vec![false; count + 1];
        let mut mark = |at: u32, distance: i32| {
            let target = at.wrapping_add_signed(distance);
            if span.contains(target) {
                is_target[(target - span.start) as usize] = true;
            }
        };
        for at in span.start..span.end {
            match span.code[at as usize] {
                Instr::Fail { target } => mark(at, target),
                ref instr => instr.operands(&mut |operand| {
                    if let Operand::Jump(distance) = operand {
                        mark(at, distance);
                    }
                }),
            }
        }
        let mut label = || ops.new_dynamic_label();
        let shared = Shared {
            step: label(),
            interpret: label(),
            continues: label(),
            first: label(),
            routines: [label(), label(), label(), label(), label(), label()],
        };
        Emitter {
            ops,
            span,
            assists,
            bifs,
            routines,
            labels,
            is_target,
            exits: vec![None; count],
            later: Vec::new(),
            facts: Facts::default(),
            shared,
            cell_code: layout::cell_code_offset(),
        }
    }

    /// The function's code; nothing where it cannot be made.
    pub fn compile(mut self) -> Option<BaselineCode> {
        let mut pieces = Vec::new();
        for at in self.span.start..self.span.end {
            let number = (at - self.span.start) as usize;
            let instr = self.span.code[at as usize];
            if self.is_target[number] || matches!(instr, Instr::Cell { .. }) {
                self.facts.clear();
            }
            let label = self.labels[number];
            dynasm!(self.ops ; .arch x64 ; =>label);
            if let Instr::Cell { .. } = instr {
                pieces.push((at, self.ops.offset().0 as u32));
                if at == self.span.entry {
                    self.count_call(at);
                }
                continue;
            }
            self.instruction(at, instr);
        }
        while let Some(later) = self.later.pop() {
            self.facts.clear();
            later(&mut self);
        }
        self.shared_code();
        let bytes = self.ops.finalize().ok()?;
        Some(BaselineCode { bytes, pieces })
    }

    /// What the function's pieces share.
    fn shared_code(&mut self) {
        for at in self.span.start..self.span.end {
            if let Some(label) = self.exits[(at - self.span.start) as usize] {
                let distance = self.distance(at);
                let interpret = self.shared.interpret;
                dynasm!(self.ops ; .arch x64 ; =>label ; mov eax, distance ; jmp =>interpret);
            }
        }
        let Shared { step, interpret, continues, first, routines } = self.shared;
        dynasm!(self.ops
            ; .arch x64
            ; =>step
            ; add rbx, [=>first]
            ; jmp QWORD [=>routines[STEP]]
            ; =>interpret
            ; add rax, [=>first]
            ; mov [r15 + layout::IP], rax
            ; jmp QWORD [=>routines[INTERPRET]]
            ; =>continues
            ; add rax, rbx
            ; mov [r15 + layout::IP], rax
            ; jmp QWORD [=>routines[CONTINUES]]
            ; .align 8
        );
        let addresses = [
            (first, self.span.address(self.span.start)),
            (routines[STEP], self.routines.step),
            (routines[ASSIST], self.routines.assist),
            (routines[ASK], self.routines.ask),
            (routines[INTERPRET], self.routines.interpret),
            (routines[CONTINUES], self.routines.continues),
            (routines[TURN_OVER], self.routines.turn_over),
        ];
        for (label, address) in addresses {
            self.ops.dynamic_label(label);
            self.ops.push_u64(address);
        }
    }
    /// Bytes from the function's first instruction to `at`.
    fn distance(&self, at: u32) -> i32 {
        ((at - self.span.start) * layout::INSTR_BYTES as u32) as i32
    }

    // ---- Places ----

    /// A new label, to be placed later.
    pub fn label(&mut self) -> DynamicLabel {
        self.ops.new_dynamic_label()
    }
    /// The label of the instruction at `distance` from `at`; outside of the function, an exit to
    /// the interpreter at `at`.
    pub fn target(&mut self, at: u32, distance: i32) -> DynamicLabel {
        let target = at.wrapping_add_signed(distance);
        if self.span.contains(target) {
            self.labels[(target - self.span.start) as usize]
        } else {
            self.exit(at)
        }
    }
    /// The label of an instruction of this function.
    ///
    /// # Panics
    /// When `at` is outside of the function.
    pub fn place(&self, at: u32) -> DynamicLabel {
        self.labels[(at - self.span.start) as usize]
    }
    /// A label from which the interpreter goes on with the instruction `at`.
    pub fn exit(&mut self, at: u32) -> DynamicLabel {
        let number = (at - self.span.start) as usize;
        match self.exits[number] {
            Some(label) => label,
            None => {
                let label = self.label();
                *self.exits[number].insert(label)
            }
        }
    }
    /// Emits code behind the function's, for cases that are rare. Returns its label.
    pub fn later(&mut self, emit: impl FnOnce(&mut Emitter<'a>) + 'a) -> DynamicLabel {
        let label = self.label();
        self.later.push(Box::new(move |emitter| {
            dynasm!(emitter.ops ; .arch x64 ; =>label);
            emit(emitter);
        }));
        label
    }
    /// The label of code behind the function's that steps the instruction `at`.
    pub fn step_later(&mut self, at: u32) -> DynamicLabel {
        self.later(move |emitter| emitter.step(at))
    }
    /// The distance to the failure label when the operation at `at` stands in a guard: an
    /// `Instr::Fail` follows it.
    pub fn guard_fail(&self, at: u32) -> Option<i32> {
        match self.span.code.get(at as usize + 1) {
            Some(Instr::Fail { target }) => Some(target + 1),
            _ => None,
        }
    }
    /// Where an operation leads that fails: a guard's failure, or the interpreter, which raises.
    pub fn failing(&mut self, at: u32, fail: Option<i32>) -> DynamicLabel {
        match fail {
            Some(distance) => self.target(at, distance),
            None => self.exit(at),
        }
    }

    /// Has an assist execute the instruction, and jumps to the instruction that is next then.
    pub fn step(&mut self, at: u32) {
        let (distance, step) = (self.distance(at), self.shared.step);
        dynasm!(self.ops ; .arch x64 ; mov ebx, distance ; call =>step);
        let instr = self.span.code[at as usize];
        let properties = instr.properties();
        let mut places = Vec::new();
        if properties.over_cell {
            places.push(2);
        } else if !properties.ends {
            places.push(1);
        }
        instr.operands(&mut |operand| {
            if let Operand::Jump(distance) = operand {
                places.push(distance);
            }
        });
        if let Some(distance) = self.guard_fail(at) {
            places.push(distance);
        }
        places.retain(|&distance| self.span.contains(at.wrapping_add_signed(distance)));
        // With many successors, the jump goes by way of their cells.
        places.truncate(4);
        for distance in places {
            let place = self.target(at, distance);
            dynasm!(self.ops ; .arch x64 ; cmp rax, distance * layout::INSTR_BYTES as i32 ; je =>place);
        }
        let continues = self.shared.continues;
        dynasm!(self.ops ; .arch x64 ; jmp =>continues);
    }
    /// Has an instruction executed whose successor is the next one in the function.
    pub fn step_here(&mut self, at: u32) {
        self.step(at);
        self.facts.clear();
    }

    // ---- Operands ----

    /// Loads a register from `base + offset`, with the shorter form of `mov` where it does.
    pub fn load(&mut self, to: u8, base: u8, offset: i32) {
        match i8::try_from(offset) {
            Ok(offset) => dynasm!(self.ops ; .arch x64 ; mov Rq(to), [BYTE Rq(base) + offset]),
            Err(_) => dynasm!(self.ops ; .arch x64 ; mov Rq(to), [Rq(base) + offset]),
        }
    }
    /// Stores a register at `base + offset`. Changes no flags.
    pub fn store(&mut self, from: u8, base: u8, offset: i32) {
        match i8::try_from(offset) {
            Ok(offset) => dynasm!(self.ops ; .arch x64 ; mov [BYTE Rq(base) + offset], Rq(from)),
            Err(_) => dynasm!(self.ops ; .arch x64 ; mov [Rq(base) + offset], Rq(from)),
        }
    }
    /// Stores a constant at `base + offset`; `r11` is changed where it does not fit in 32 bits.
    pub fn store_word(&mut self, word: u64, base: u8, offset: i32) {
        if let Ok(word) = i32::try_from(word as i64) {
            match i8::try_from(offset) {
                Ok(offset) => {
                    dynasm!(self.ops ; .arch x64 ; mov QWORD [BYTE Rq(base) + offset], word);
                }
                Err(_) => dynasm!(self.ops ; .arch x64 ; mov QWORD [Rq(base) + offset], word),
            }
        } else {
            self.word(R11, word);
            self.store(R11, base, offset);
        }
    }
    /// Loads a constant into a register, with the shortest `mov`. Changes no flags.
    pub fn word(&mut self, to: u8, word: u64) {
        if let Ok(word) = u32::try_from(word) {
            dynasm!(self.ops ; .arch x64 ; mov Rd(to), word as i32);
        } else if let Ok(word) = i32::try_from(word as i64) {
            dynasm!(self.ops ; .arch x64 ; mov Rq(to), DWORD word);
        } else {
            dynasm!(self.ops ; .arch x64 ; mov Rq(to), QWORD word as i64);
        }
    }
    /// The word of an operand that is a constant; `None` for registers.
    pub fn constant(&self, at: u32, src: Src) -> Option<u64> {
        match src.kind() {
            Src::KIND_SMALL => Some(i64::from(src.0 as i32) as u64),
            Src::KIND_CONST => {
                // SAFETY: the pool of the module lies before its code, and constants lead into it.
                Some(unsafe { *(self.span.address(at) as *const u64).offset(src.offset()) })
            }
            _ => None,
        }
    }
    /// The integer of an operand that is a small constant.
    pub fn small_constant(&self, at: u32, src: Src) -> Option<i64> {
        // SAFETY: a constant of the module's pool.
        unsafe { Term::from_raw(self.constant(at, src)?) }.as_small()
    }
    /// The machine register that holds an operand's value: its own, or `scratch`, into which it is
    /// loaded.
    pub fn read(&mut self, at: u32, src: Src, scratch: u8) -> u8 {
        if let Some(word) = self.constant(at, src) {
            self.word(scratch, word);
            return scratch;
        }
        match src.as_x() {
            Some(x) if usize::from(x) < PASSED.len() => PASSED[usize::from(x)],
            Some(x) => {
                self.load(scratch, 15, layout::x(x.into()));
                scratch
            }
            None => {
                self.load(scratch, 7, src.index() as i32 * 8);
                scratch
            }
        }
    }
    /// Loads an operand's value into the register `to`.
    pub fn read_into(&mut self, at: u32, src: Src, to: u8) {
        let from = self.read(at, src, to);
        if from != to {
            dynasm!(self.ops ; .arch x64 ; mov Rq(to), Rq(from));
        }
    }
    /// The machine register in which a value for `dst` is best computed: its own, or `scratch`.
    /// [`Emitter::write`] then moves nothing.
    pub fn place_for(&self, dst: Dst, scratch: u8) -> u8 {
        if !dst.is_y() && dst.index() < PASSED.len() { PASSED[dst.index()] } else { scratch }
    }
    /// Writes a machine register to a destination; facts of it are forgotten.
    pub fn write(&mut self, dst: Dst, from: u8) {
        self.facts.written(dst);
        if dst.is_y() {
            self.store(from, 7, dst.index() as i32 * 8);
        } else if dst.index() < PASSED.len() {
            let to = PASSED[dst.index()];
            if to != from {
                dynasm!(self.ops ; .arch x64 ; mov Rq(to), Rq(from));
            }
        } else {
            self.store(from, 15, layout::x(dst.index()));
        }
    }
    /// Writes a constant to a destination; facts of it are forgotten.
    pub fn write_word(&mut self, dst: Dst, word: u64) {
        self.facts.written(dst);
        if dst.is_y() {
            self.store_word(word, 7, dst.index() as i32 * 8);
        } else if dst.index() < PASSED.len() {
            self.word(PASSED[dst.index()], word);
        } else {
            self.store_word(word, 15, layout::x(dst.index()));
        }
    }
    /// `move`: copies an operand and what is known of it.
    pub fn copy(&mut self, at: u32, src: Src, dst: Dst) {
        let known = self.facts.of(src);
        if let Some(word) = self.constant(at, src) {
            self.write_word(dst, word);
        } else {
            let to = self.place_for(dst, RAX);
            let from = self.read(at, src, to);
            self.write(dst, from);
        }
        if let Some(fact) = known {
            self.facts.learn(dst.as_src(), fact);
        }
    }
    /// Writes the values of operands, one behind the other, to [`SCRATCH`](layout::SCRATCH), and
    /// its address to the register `to`.
    pub fn spread(&mut self, at: u32, sources: impl Iterator<Item = Src>, to: u8) {
        for (number, src) in sources.enumerate() {
            let offset = layout::SCRATCH + number as i32 * 8;
            if let Some(word) = self.constant(at, src) {
                self.store_word(word, 15, offset);
            } else {
                let from = self.read(at, src, RAX);
                self.store(from, 15, offset);
            }
        }
        dynasm!(self.ops ; .arch x64 ; lea Rq(to), [r15 + layout::SCRATCH]);
    }

    // ---- Calling the machine ----

    /// Calls an assist with what is in `rbx`, `r12` and `r13`; its result is in `rax`.
    pub fn assist(&mut self, function: usize) {
        let routine = self.shared.routines[ASSIST];
        dynasm!(self.ops ; .arch x64 ; mov rax, QWORD function as i64 ; call QWORD [=>routine]);
    }
    /// Calls an assist as [`assist`](Self::assist) does; to `other` when it returns 0.
    pub fn assist_or(&mut self, function: usize, other: DynamicLabel) {
        self.assist(function);
        dynasm!(self.ops ; .arch x64 ; test rax, rax ; jz =>other);
    }
    /// Calls a function that sees only `rax` and `r10`, not the machine state; its result is in
    /// `rax`.
    pub fn ask(&mut self, function: usize) {
        let routine = self.shared.routines[ASK];
        dynasm!(self.ops ; .arch x64 ; mov r11, QWORD function as i64 ; call QWORD [=>routine]);
    }
    /// Applies an operation to the float words in `r10` and `r11`; to `other` where a routine
    /// cannot do it. The word of the result is in `rax`.
    pub fn float_words(&mut self, operation: FloatOperation, other: DynamicLabel) {
        self.word(RAX, self.routines.floats[operation as usize]);
        dynasm!(self.ops ; .arch x64 ; call rax ; test rax, rax ; jz =>other);
    }
    /// Leaves machine code as the turn is over; cell and arity are in the state.
    pub fn leave_turn_over(&mut self) {
        let routine = self.shared.routines[TURN_OVER];
        dynasm!(self.ops ; .arch x64 ; jmp QWORD [=>routine]);
    }
}
