//! Machine code that all pieces share: how functions of the machine are called.

use crate::emitter::{Assembler, R10, R11};
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, dynasm};
use swarmrt_engine::code::{CodeMemory, Glue, Stub};
use swarmrt_engine::layout;
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_term::Term;

/// Addresses of what pieces call and leave by. All but the ways out are called, and change no
/// registers but `rax`, `r10`, `r11`, and those that hold the machine state, which are read again.
pub struct Routines {
    /// Executes the instruction at the address in `rbx`. In `rax`: how many bytes from there the
    /// next one is.
    pub step: u64,
    /// Calls the function in `rax` with the scheduler's registers, `rbx`, `r12` and `r13`. In
    /// `rax`: what it returns.
    pub assist: u64,
    /// Calls the function in `r11`, which does not look at the machine state, with `rax` and `r10`.
    /// In `rax`: what it returns.
    pub ask: u64,
    /// Adds, subtracts, multiplies and divides the words in `r10` and `r11`, of which one is a
    /// float at least, or, to divide, none need be. In `rax`: the word of the result, or
    /// [`NO_TERM`](swarmrt_engine::runtime::assists::NO_TERM) where the machine has to do it.
    /// Changes `rbx` and `r12` as well.
    pub floats: [u64; 4],
    /// The way out of [`Stub::Interpret`].
    pub interpret: u64,
    /// The way out of [`Stub::SavedContinue`].
    pub continues: u64,
    /// The way out of [`Stub::TurnOver`].
    pub turn_over: u64,
    _memory: CodeMemory,
}

impl Routines {
    /// # Errors
    /// When the operating system refuses executable memory.
    pub fn new(assists: &Assists, glue: &Glue) -> std::io::Result<Routines> {
        let mut ops = Assembler::new(0);
        let exit = |stub: Stub| glue.exits[stub as usize];
        let step = step(&mut ops, assists, exit(Stub::SavedLeave));
        let assist = assist(&mut ops);
        let ask = ask(&mut ops);
        let floats =
            [FloatOperation::Add, FloatOperation::Sub, FloatOperation::Mul, FloatOperation::Div]
                .map(|operation| float(&mut ops, operation));
        let code = ops.finalize().map_err(std::io::Error::other)?;
        let memory = CodeMemory::new(&code)?;
        let at = |offset: usize| memory.address() + offset as u64;
        Ok(Routines {
            step: at(step),
            assist: at(assist),
            ask: at(ask),
            floats: floats.map(at),
            interpret: exit(Stub::Interpret),
            continues: exit(Stub::SavedContinue),
            turn_over: exit(Stub::TurnOver),
            _memory: memory,
        })
    }
}

/// Where [`Routines::step`] begins: it goes to `leave` when the process has given up the scheduler.
fn step(ops: &mut Assembler, assists: &Assists, leave: u64) -> usize {
    let start = ops.offset().0;
    let gone = ops.new_dynamic_label();
    save(ops);
    dynasm!(ops
        ; .arch x64
        ; sub rsp, 8
        ; mov rdi, r15
        ; mov rsi, rbx
        ; mov rax, QWORD assists.step as usize as i64
        ; call rax
        ; add rsp, 8
        ; test rax, rax
        ; jz =>gone
    );
    reload(ops);
    dynasm!(ops
        ; .arch x64
        ; sub rax, rbx
        ; ret
        // The piece is not returned to.
        ; =>gone
        ; add rsp, 8
        ; mov rax, QWORD leave as i64
        ; jmp rax
    );
    start
}

/// Where [`Routines::assist`] begins.
fn assist(ops: &mut Assembler) -> usize {
    let start = ops.offset().0;
    save(ops);
    dynasm!(ops
        ; .arch x64
        ; sub rsp, 8
        ; mov rdi, r15
        ; mov rsi, rbx
        ; mov rdx, r12
        ; mov rcx, r13
        ; call rax
        ; add rsp, 8
    );
    reload(ops);
    dynasm!(ops ; .arch x64 ; ret);
    start
}

/// Where [`Routines::ask`] begins.
fn ask(ops: &mut Assembler) -> usize {
    let start = ops.offset().0;
    dynasm!(ops
        ; .arch x64
        ; push rdi
        ; push rsi
        ; push rdx
        ; push rcx
        ; push r8
        ; push r9
        ; sub rsp, 8
        ; mov rdi, rax
        ; mov rsi, r10
        ; call r11
        ; add rsp, 8
        ; pop r9
        ; pop r8
        ; pop rcx
        ; pop rdx
        ; pop rsi
        ; pop rdi
        ; ret
    );
    start
}

/// What is done with two floats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloatOperation {
    Add,
    Sub,
    Mul,
    Div,
}

/// Where the routine of an operation begins.
fn float(ops: &mut Assembler, operation: FloatOperation) -> usize {
    let start = ops.offset().0;
    let no = ops.new_dynamic_label();
    if operation != FloatOperation::Div {
        // Of small integers the result would be one.
        dynasm!(ops ; .arch x64 ; mov eax, r10d ; and eax, r11d ; not eax ; test al, 0b11 ; jz =>no);
    }
    dynasm!(ops ; .arch x64 ; mov rbx, QWORD Term::FLOAT_BIAS as i64);
    unpack(ops, R10, 0, no);
    unpack(ops, R11, 1, no);
    match operation {
        FloatOperation::Add => dynasm!(ops ; .arch x64 ; addsd xmm0, xmm1),
        FloatOperation::Sub => dynasm!(ops ; .arch x64 ; subsd xmm0, xmm1),
        FloatOperation::Mul => dynasm!(ops ; .arch x64 ; mulsd xmm0, xmm1),
        FloatOperation::Div => dynasm!(ops ; .arch x64 ; divsd xmm0, xmm1),
    }
    let rare = ops.new_dynamic_label();
    dynasm!(ops
        ; .arch x64
        ; movq rax, xmm0
        // Without its sign, a common one is within a range.
        ; lea r10, [rax + rax]
        ; mov r11, QWORD Term::FLOATS_FROM as i64
        ; mov r12, r10
        ; sub r12, r11
        ; mov r11, QWORD Term::FLOATS_RANGE as i64
        ; cmp r12, r11
        ; jae =>rare
        ; add rax, rbx
        ; rol rax, 3
        ; ret
        ; =>rare
        ; test r10, r10
        ; jnz =>no
        ; shr rax, 61
        ; or rax, 0b010
        ; ret
        ; =>no
        ; xor eax, eax
        ; ret
    );
    start
}

/// A number that is held in the word in a register, as a float; `rbx` holds the bias of floats.
fn unpack(ops: &mut Assembler, word: u8, to: u8, no: DynamicLabel) {
    let (small, zero, done) =
        (ops.new_dynamic_label(), ops.new_dynamic_label(), ops.new_dynamic_label());
    dynasm!(ops
        ; .arch x64
        ; mov rax, Rq(word)
        ; mov r12d, eax
        ; and r12d, 0b11
        ; cmp r12d, 0b11
        ; je =>small
        ; cmp r12d, 0b10
        ; jne =>no
        ; cmp rax, Term::FLOAT_ZEROES_END as i32
        ; jb =>zero
        ; ror rax, 3
        ; sub rax, rbx
        ; movq Rx(to), rax
        ; jmp =>done
        ; =>zero
        // Bit 2 of a zero is its sign.
        ; and eax, 0b100
        ; shl rax, 61
        ; movq Rx(to), rax
        ; jmp =>done
        ; =>small
        ; sar rax, 2
        ; cvtsi2sd Rx(to), rax
        ; =>done
    );
}

/// Writes the machine state back.
fn save(ops: &mut Assembler) {
    dynasm!(ops
        ; .arch x64
        ; mov [r15 + layout::x(0)], rcx
        ; mov [r15 + layout::x(1)], r8
        ; mov [r15 + layout::x(2)], r9
        ; mov [r15 + layout::STOP], rdi
        ; mov [r15 + layout::TOP], rsi
        ; mov [r15 + layout::REDUCTIONS], rdx
    );
}

/// Reads the machine state again.
fn reload(ops: &mut Assembler) {
    dynasm!(ops
        ; .arch x64
        ; mov rcx, [r15 + layout::x(0)]
        ; mov r8, [r15 + layout::x(1)]
        ; mov r9, [r15 + layout::x(2)]
        ; mov rdi, [r15 + layout::STOP]
        ; mov rsi, [r15 + layout::TOP]
        ; mov rdx, [r15 + layout::REDUCTIONS]
    );
}
