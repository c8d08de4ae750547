//! Compiles the machine code at the border of the engines.

use crate::translate::{PASSED_X, piece_signature};
use crate::{convention, frame};
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, MemFlagsData as MemFlags, Signature, StackSlotData,
    StackSlotKind, UserFuncName, Value, types,
};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use swarmrt_engine::code::{CodeMemory, EnterFn, Glue, Question, Stub, unwind};
use swarmrt_engine::layout;
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_engine::state::Exit;
use swarmrt_term::Atom;

/// What questions are called with.
pub fn question_signature() -> Signature {
    let mut signature = Signature::new(CallConv::PreserveAll);
    signature.params.extend([AbiParam::new(types::I64); 2]);
    signature
}

/// The signature of the stubs that take nothing.
pub fn saved_signature() -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.returns.push(AbiParam::new(types::I64));
    signature
}

/// All of it.
///
/// # Errors
/// What the code generator or the operating system says.
pub fn compile_glue(isa: &OwnedTargetIsa, assists: &Assists) -> Result<Glue, String> {
    let in_memory = |code: &[u8]| CodeMemory::new(code).map_err(|error| error.to_string());
    let pad = frame::pad(layout::CODE).map(|code| in_memory(&code)).transpose()?;
    let mut bytes = Vec::new();
    let mut add = |(code, entry): (Vec<u8>, usize)| {
        bytes.resize(bytes.len().next_multiple_of(16), 0xcc);
        let offset = bytes.len() + entry;
        bytes.extend_from_slice(&code);
        offset as u64
    };
    let trampoline = match &pad {
        Some(pad) if unwind::IS_KNOWN => unwind::trampoline(pad.address()),
        pad => compile_trampoline(isa, pad.as_ref().map(CodeMemory::address))?,
    };
    let trampoline = add((trampoline, 0));
    let mut exits = [0; Stub::ALL.len()];
    for (exit, stub) in exits.iter_mut().zip(Stub::ALL) {
        *exit = add(compile_stub(isa, assists, stub)?);
    }
    let mut questions = [0; Question::ALL.len()];
    let others = in_memory(&compile_question(isa, assists, Question::Order)?)?;
    for (address, question) in questions.iter_mut().zip(Question::ALL) {
        let code = match question {
            Question::Order => compile_order(isa, others.address())?,
            _ => compile_question(isa, assists, question)?,
        };
        *address = add((code, 0));
    }
    let memory = in_memory(&bytes)?;
    let start = memory.address();
    // SAFETY: the trampoline was compiled with this signature.
    let enter: EnterFn =
        unsafe { std::mem::transmute::<*const u8, EnterFn>((start + trampoline) as *const u8) };
    Ok(Glue {
        enter,
        exits: exits.map(|offset| start + offset),
        questions: questions.map(|offset| start + offset),
        memory: pad.into_iter().chain([others, memory]).collect(),
    })
}

/// Compiles a function whose body `build` makes from its parameters.
fn compile(
    isa: &OwnedTargetIsa,
    signature: Signature,
    build: impl FnOnce(&mut FunctionBuilder<'_>, &[Value]),
) -> Result<Context, String> {
    let mut context =
        Context::for_function(Function::with_name_signature(UserFuncName::default(), signature));
    let mut function_context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut function_context);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    let params = b.block_params(block).to_vec();
    build(&mut b, &params);
    b.seal_all_blocks();
    b.finalize(isa.frontend_config());
    convention::apply(&mut context.func);
    context
        .compile(isa.as_ref(), &mut ControlPlane::default())
        .map_err(|error| format!("{:?}", error.inner))?;
    Ok(context)
}
/// As [`compile`], for a function with an ordinary calling convention. Returns its machine code.
fn compile_function(
    isa: &OwnedTargetIsa,
    signature: Signature,
    build: impl FnOnce(&mut FunctionBuilder<'_>, &[Value]),
) -> Result<Vec<u8>, String> {
    let context = compile(isa, signature, build)?;
    Ok(context.compiled_code().expect("just compiled").code_buffer().to_vec())
}

/// Where the arguments of pieces lie while the interpreter runs.
fn places() -> impl Iterator<Item = i32> {
    [layout::STOP, layout::TOP, layout::REDUCTIONS].into_iter().chain((0..PASSED_X).map(layout::x))
}

/// `extern "C"` outside, the convention of pieces inside. It goes by the pad, if there is one.
fn compile_trampoline(isa: &OwnedTargetIsa, pad: Option<u64>) -> Result<Vec<u8>, String> {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend([AbiParam::new(types::I64); 2]);
    signature.returns.push(AbiParam::new(types::I64));
    compile_function(isa, signature, |b, params| {
        let (registers, code) = (params[0], params[1]);
        b.ins().store(MemFlags::trusted(), code, registers, layout::CODE);
        let code = pad.map_or(code, |pad| b.ins().iconst(types::I64, pad as i64));
        let arguments: Vec<_> = places()
            .map(|offset| b.ins().load(types::I64, MemFlags::trusted(), registers, offset))
            .collect();
        // Rust keeps what it likes in the register that is pinned here.
        let pinned = b.ins().get_pinned_reg(types::I64);
        b.ins().set_pinned_reg(registers);
        let piece = b.import_signature(piece_signature(PASSED_X));
        let call = b.ins().call_indirect(piece, code, &arguments);
        let exit = b.inst_results(call)[0];
        b.ins().set_pinned_reg(pinned);
        b.ins().return_(&[exit]);
    })
}

fn compile_stub(
    isa: &OwnedTargetIsa,
    assists: &Assists,
    stub: Stub,
) -> Result<(Vec<u8>, usize), String> {
    let is_saved = matches!(stub, Stub::SavedInterpret | Stub::SavedContinue | Stub::SavedLeave);
    let signature = if is_saved { saved_signature() } else { piece_signature(PASSED_X) };
    let context = compile(isa, signature, |b, params| {
        let registers = b.ins().get_pinned_reg(types::I64);
        for (&value, offset) in params.iter().zip(places()) {
            b.ins().store(MemFlags::trusted(), value, registers, offset);
        }
        if matches!(stub, Stub::TurnOverFloats | Stub::InterpretFloats) {
            let mut signature = Signature::new(CallConv::SystemV);
            signature.params.push(AbiParam::new(types::I64));
            let signature = b.import_signature(signature);
            let function = b.ins().iconst(types::I64, assists.make_words as usize as i64);
            // Code that is entered like a piece and returns needs stack room for its calls.
            let room =
                b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4));
            b.ins().stack_store(types::I64, registers, room, 0);
            b.ins().call_indirect(signature, function, &[registers]);
        }
        if matches!(stub, Stub::NoCodeEntry | Stub::Breakpoint) {
            let left = b.ins().iadd_imm_s(params[2], -1);
            b.ins().store(MemFlags::trusted(), left, registers, layout::REDUCTIONS);
        }
        let cell = match stub {
            Stub::NoCodeEntry | Stub::Breakpoint | Stub::TurnOver | Stub::TurnOverFloats => {
                Some(b.ins().load(types::I64, MemFlags::trusted(), registers, layout::CELL))
            }
            // Nobody has written below the stack since.
            Stub::NoCodeReturn => {
                Some(b.ins().load(types::I64, MemFlags::trusted(), params[0], -8))
            }
            _ => None,
        };
        if let Some(cell) = cell {
            let ip = b.ins().iadd_imm_s(cell, layout::INSTR_BYTES as i64);
            b.ins().store(MemFlags::trusted(), ip, registers, layout::IP);
        }
        let exit = match stub {
            Stub::NoCodeEntry
            | Stub::Breakpoint
            | Stub::NoCodeReturn
            | Stub::Interpret
            | Stub::InterpretFloats
            | Stub::SavedInterpret => Exit::Interpret,
            Stub::TurnOver | Stub::TurnOverFloats => Exit::Enter,
            Stub::SavedContinue => Exit::Continue,
            Stub::SavedLeave => Exit::Leave,
        };
        let exit = b.ins().iconst(types::I64, exit as i64);
        b.ins().return_(&[exit]);
    })?;
    frame::adapted(&context)
}

/// The order of two terms: of two atoms by the first bytes of their names, and of others by the
/// question at `others`. That one keeps all registers, so that few are saved here.
fn compile_order(isa: &OwnedTargetIsa, others: u64) -> Result<Vec<u8>, String> {
    let table = Atom::ordinals();
    compile_function(isa, question_signature(), |b, params| {
        let (x, y) = (params[0], params[1]);
        let [atoms, decided, undecided] = [(); 3].map(|()| b.create_block());
        let tags = [x, y].map(|term| b.ins().bxor_imm_s(term, layout::ATOM_TAG));
        let tags = b.ins().bor(tags[0], tags[1]);
        let tags = b.ins().band_imm_s(tags, layout::IMMEDIATE_MASK);
        b.ins().brif(tags, undecided, &[], atoms, &[]);

        b.switch_to_block(atoms);
        let chunks = b.ins().iconst(types::I64, table.chunks as i64);
        let ordinals = [x, y].map(|atom| {
            let number = b.ins().ushr_imm_u(atom, layout::ATOM_SHIFT);
            let chunk = b.ins().ushr_imm_u(number, i64::from(table.chunk_bits));
            let chunk = b.ins().ishl_imm_u(chunk, 3);
            let chunk = b.ins().iadd(chunks, chunk);
            let chunk = b.ins().load(types::I64, MemFlags::trusted(), chunk, 0);
            let entry = b.ins().band_imm_s(number, (1 << table.chunk_bits) - 1);
            let entry = b.ins().ishl_imm_u(entry, i64::from(table.entry_shift));
            let entry = b.ins().iadd(chunk, entry);
            b.ins().load(types::I64, MemFlags::trusted(), entry, table.offset as i32)
        });
        let differ = b.ins().icmp(IntCC::NotEqual, ordinals[0], ordinals[1]);
        b.ins().brif(differ, decided, &[], undecided, &[]);

        b.switch_to_block(decided);
        let [is_less, is_greater] = [IntCC::UnsignedLessThan, IntCC::UnsignedGreaterThan]
            .map(|comparison| b.ins().icmp(comparison, ordinals[0], ordinals[1]));
        let [is_less, is_greater] =
            [is_less, is_greater].map(|truth| b.ins().uextend(types::I64, truth));
        let answer = b.ins().isub(is_greater, is_less);
        let registers = b.ins().get_pinned_reg(types::I64);
        b.ins().store(MemFlags::trusted(), answer, registers, layout::ANSWER);
        b.ins().return_(&[]);

        b.switch_to_block(undecided);
        let signature = b.import_signature(question_signature());
        let function = b.ins().iconst(types::I64, others as i64);
        b.ins().call_indirect(signature, function, &[x, y]);
        b.ins().return_(&[]);
    })
}

fn compile_question(
    isa: &OwnedTargetIsa,
    assists: &Assists,
    question: Question,
) -> Result<Vec<u8>, String> {
    let function = match question {
        Question::EqualExact => assists.equal_exact as usize,
        Question::Equal => assists.equal as usize,
        Question::Order => assists.order as usize,
        Question::BoxedFloat => assists.boxed_float as usize,
    };
    compile_function(isa, question_signature(), |b, params| {
        let mut signature = Signature::new(CallConv::SystemV);
        signature.params.extend([AbiParam::new(types::I64); 2]);
        signature.returns.push(AbiParam::new(types::I64));
        let signature = b.import_signature(signature);
        let function = b.ins().iconst(types::I64, function as i64);
        let call = b.ins().call_indirect(signature, function, params);
        let answer = b.inst_results(call)[0];
        let registers = b.ins().get_pinned_reg(types::I64);
        b.ins().store(MemFlags::trusted(), answer, registers, layout::ANSWER);
        b.ins().return_(&[]);
    })
}
