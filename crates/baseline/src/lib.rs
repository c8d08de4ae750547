//! The baseline compiler: machine code for x86-64 in one pass over the instructions of a function,
//! fast enough for a scheduler to wait for it.
//!
//! The machine state stays where the interpreter and other machine code expect it: stack pointer,
//! heap top, reductions and the first X registers in the machine registers in which pieces pass
//! them, everything else in memory. Each instruction becomes a fixed sequence; what it does not do
//! itself is done by the [`Assists`], or the instruction is stepped. So a piece may be entered and
//! left at any instruction. Facts about registers hold only within a straight run of instructions
//! that nothing jumps into.

#![allow(
    clippy::useless_conversion,
    clippy::used_underscore_binding,
    reason = "what the macro that assembles makes"
)]

#[cfg(target_arch = "x86_64")]
mod arithmetic;
#[cfg(target_arch = "x86_64")]
mod assisted;
#[cfg(target_arch = "x86_64")]
mod binaries;
#[cfg(target_arch = "x86_64")]
mod calls;
#[cfg(target_arch = "x86_64")]
mod emitter;
#[cfg(target_arch = "x86_64")]
mod facts;
#[cfg(target_arch = "x86_64")]
mod instruction;
#[cfg(target_arch = "x86_64")]
mod numbers;
#[cfg(target_arch = "x86_64")]
mod routines;
#[cfg(target_arch = "x86_64")]
mod terms;

use swarmrt_engine::code::Glue;
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_engine::{BaselineCode, BaselineCompiler, Unavailable};
use swarmrt_machine::Vm;
use swarmrt_machine::code::ModuleCode;

/// Functions with more instructions stay with the interpreter until they are found running.
const FUNCTION_INSTRUCTIONS_MAX: u32 = 20_000;

/// The baseline compiler of a machine.
pub struct Baseline {
    #[cfg(target_arch = "x86_64")]
    routines: routines::Routines,
    assists: &'static Assists,
}

#[cfg(target_arch = "x86_64")]
impl Baseline {
    /// `glue` has the ways out of machine code, and stays for as long as the code.
    ///
    /// # Errors
    /// When the operating system does not allow machine code.
    pub fn new(assists: &'static Assists, glue: &Glue) -> Result<Option<Baseline>, Unavailable> {
        let routines = routines::Routines::new(assists, glue)
            .map_err(|error| Unavailable::new("routines of the baseline compiler", &error))?;
        Ok(Some(Baseline { routines, assists }))
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Baseline {
    /// There is none for this processor.
    ///
    /// # Errors
    /// None.
    pub fn new(_: &'static Assists, _: &Glue) -> Result<Option<Baseline>, Unavailable> {
        Ok(None)
    }
}

impl BaselineCompiler for Baseline {
    #[cfg(target_arch = "x86_64")]
    fn compile(
        &self,
        vm: &'static Vm,
        module: &ModuleCode,
        function: usize,
    ) -> Option<BaselineCode> {
        let functions = &module.code.functions;
        let (start, entry, arity) =
            (functions[function].start, functions[function].entry, functions[function].arity);
        let end =
            functions.get(function + 1).map_or(module.code.code().len() as u32, |next| next.start);
        if end - start > FUNCTION_INSTRUCTIONS_MAX || !module.code.is_loaded(function) {
            return None;
        }
        let span = emitter::Span { code: module.code.code(), start, end, entry, arity };
        emitter::Emitter::new(span, self.assists, vm.bifs, &self.routines).compile()
    }
    #[cfg(not(target_arch = "x86_64"))]
    fn compile(&self, _: &'static Vm, _: &ModuleCode, _: usize) -> Option<BaselineCode> {
        None
    }
}
