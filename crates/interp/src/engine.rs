//! The engine as the schedulers see it.

use crate::run::{Left, run};
use std::sync::Arc;
use swarmrt_beam::instr::Instr;
use swarmrt_beam::specialise::CellKind;
use swarmrt_engine::Tier;
use swarmrt_engine::cell::set_cell_code;
use swarmrt_engine::code::cell_at;
use swarmrt_engine::state::Registers;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::code::natives::NativeSlot;
use swarmrt_machine::schedule::{Engine, Outcome, Worker};
use swarmrt_machine::{Process, Vm};

/// The engine that interprets specialised instructions, and goes on in machine code where there is
/// some.
#[derive(Default)]
pub struct Interpreter {
    /// Has machine code made, if any is to be.
    pub tier: Option<Arc<Tier>>,
}

struct Thread {
    tier: Option<Arc<Tier>>,
    registers: Box<Registers>,
}

impl Engine for Interpreter {
    fn worker(&self) -> Box<dyn Worker> {
        Box::new(Thread { tier: self.tier.clone(), registers: Registers::new() })
    }
    fn loaded(&self, module: &ModuleCode) {
        if let Some(tier) = &self.tier {
            tier.loaded(module);
        }
    }
    fn set_breakpoint(&self, vm: &Vm, module: &ModuleCode, function: usize, on: bool) {
        let cell = cell_at(module, module.code.functions[function].entry);
        let kind = if on { CellKind::Breakpoint } else { CellKind::Entry };
        // SAFETY: an entry cell of the module, and what stands for such cells.
        unsafe { set_cell_code(cell, vm.code.no_code(kind)) };
    }
    fn forget_machine_code(&self, vm: &Vm, module: Option<&ModuleCode>) {
        match (&self.tier, module) {
            (Some(tier), Some(module)) => tier.uninstall(module),
            (Some(tier), None) => {
                vm.code.versions().iter().for_each(|module| tier.uninstall(module));
            }
            (None, _) => {}
        }
    }
    fn has_machine_code(&self) -> bool {
        self.tier.is_some()
    }
}

impl Worker for Thread {
    fn run(&mut self, process: &mut Process) -> Outcome {
        // SAFETY: the loader has verified all code that a process can stand in.
        let left = unsafe {
            if process.saves_calls() {
                run::<false, true>(None, process, &mut self.registers)
            } else {
                run::<false, false>(self.tier.as_deref(), process, &mut self.registers)
            }
        };
        match left {
            Left::Turn(outcome) => outcome,
            Left::Stepped | Left::Caught => unreachable!("a turn is not one step"),
        }
    }

    fn run_dirty(&mut self, process: &mut Process) {
        let registers = &mut self.registers;
        process.saved.restore(&mut registers.x);
        // SAFETY: the process stands at an instruction that calls a built-in.
        let instr = unsafe { *process.ip };
        if let Instr::NativeBody { slot, arity } = instr {
            // SAFETY: the process stands in the module's version.
            let native =
                unsafe { NativeSlot::at(slot) }.get().expect("a body that is called is there");
            process.result_at_hand = Some(native.call(process, &registers.x[..arity as usize]));
            return;
        }
        let (bif, arity) = instr
            .called_bif()
            .unwrap_or_else(|| unreachable!("{instr:?} does not call a built-in"));
        let result = process.vm.bifs.get(bif).call(process, &registers.x[..arity as usize]);
        process.result_at_hand = Some(result);
    }
}
