//! The calling convention of pieces.
//!
//! Cranelift knows one convention for tail calls, in which a function saves the registers that its
//! caller may want to find unchanged. Pieces have no such callers: they only ever call each other
//! last, and the trampoline saves all registers once. Cranelift's convention for the code of Winch
//! is the same in how arguments are passed, on x86-64, and saves nothing. So a piece is made, and
//! checked, as one of the `tail` convention, and generated as one of Winch's.

use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::CallConv;

/// What pieces are generated with.
pub const PIECES: CallConv =
    if cfg!(target_arch = "x86_64") { CallConv::Winch } else { CallConv::Tail };

/// Has a function follow the convention of pieces wherever it follows that of tail calls.
pub fn apply(function: &mut Function) {
    let stencil = &mut function.stencil;
    let signatures =
        stencil.dfg.signatures.values_mut().chain(std::iter::once(&mut stencil.signature));
    for signature in signatures.filter(|signature| signature.call_conv == CallConv::Tail) {
        signature.call_conv = PIECES;
    }
}
