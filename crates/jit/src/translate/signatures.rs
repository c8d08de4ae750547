//! Signatures of what a piece calls, each imported into its function when it is first needed.

use super::I64;
use crate::glue::{question_signature, saved_signature};
use cranelift_codegen::ir::{AbiParam, SigRef, Signature};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;
use std::collections::HashMap;

/// X registers that come as arguments.
pub const PASSED_X: usize = 3;

/// The signature of a piece that takes this many X registers as arguments. All arguments are in
/// machine registers, so that one who passes more than are taken does no harm.
pub fn piece_signature(passed: usize) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.extend(vec![AbiParam::new(I64); 3 + passed.min(PASSED_X)]);
    signature.returns.push(AbiParam::new(I64));
    signature
}

/// The signature of a function of the machine that takes words and gives one.
fn words_signature(count: usize) -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend(vec![AbiParam::new(I64); count]);
    signature.returns.push(AbiParam::new(I64));
    signature
}

#[derive(Default)]
pub(super) struct Signatures {
    /// By how many X registers they take.
    pieces: [Option<SigRef>; PASSED_X + 1],
    question: Option<SigRef>,
    saved: Option<SigRef>,
    /// By how many words they take.
    words: HashMap<usize, SigRef>,
}

impl Signatures {
    /// A piece that takes `passed` X registers, at most [`PASSED_X`].
    pub fn piece(&mut self, b: &mut FunctionBuilder<'_>, passed: usize) -> SigRef {
        *self.pieces[passed].get_or_insert_with(|| b.import_signature(piece_signature(passed)))
    }
    /// A question about two terms ([`Question`](swarmrt_engine::code::Question)).
    pub fn question(&mut self, b: &mut FunctionBuilder<'_>) -> SigRef {
        *self.question.get_or_insert_with(|| b.import_signature(question_signature()))
    }
    /// An exit that takes no arguments, as all state is written back.
    pub fn saved(&mut self, b: &mut FunctionBuilder<'_>) -> SigRef {
        *self.saved.get_or_insert_with(|| b.import_signature(saved_signature()))
    }
    /// A function of the machine that takes `count` words and returns one.
    pub fn words(&mut self, b: &mut FunctionBuilder<'_>, count: usize) -> SigRef {
        *self.words.entry(count).or_insert_with(|| b.import_signature(words_signature(count)))
    }
}
