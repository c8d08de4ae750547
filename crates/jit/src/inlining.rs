//! Which calls are translated as part of their caller.
//!
//! A small function of the same module that calls nothing it would have to return from, and so needs no frame, and that is no
//! loop, is translated where it is called. Its X registers are those of the caller anyway; the return address is on the stack as
//! if it had been called, so that the machine can be left anywhere in it. Nothing has to be undone when a module is replaced:
//! caller and callee are of the same version.

use crate::analysis::Flow;
use crate::compile::Span;
use swarmrt_beam::instr::Instr;
use swarmrt_machine::code::ModuleCode;

/// Functions with more instructions are called.
const FUNCTION_INSTRUCTIONS_MAX: u32 = 16;
/// Instructions of other functions in one.
const INSTRUCTIONS_MAX: u32 = 64;

/// The functions that one function has inside.
#[derive(Default)]
pub struct Inlined {
    /// Entry cells and flows.
    bodies: Vec<(u32, Flow)>,
    /// Places of calls, in order, and which body stands there.
    calls: Vec<(u32, usize)>,
}

/// A body at one of its places. It is 0 for the function that is being compiled.
pub type Site = usize;

impl Inlined {
    pub fn of(module: &ModuleCode, span: &Span) -> Inlined {
        let code = module.code.code();
        let mut inlined = Inlined::default();
        let mut instructions = 0;
        for at in span.places() {
            let (Instr::Call { target, .. } | Instr::CallLast { target, .. } | Instr::CallOnly { target, .. }) = code[at as usize] else { continue };
            let entry = at.wrapping_add_signed(target) - 1;
            if entry == span.entry {
                continue;
            }
            let Some(number) = module.number_at(entry) else { continue };
            let callee = Span::of(module, number);
            if !module.code.is_loaded(number)
                || callee.instructions() > FUNCTION_INSTRUCTIONS_MAX
                || instructions + callee.instructions() > INSTRUCTIONS_MAX
                || !is_leaf(code, &callee)
            {
                continue;
            }
            instructions += callee.instructions();
            let body = inlined.bodies.iter().position(|&(known, _)| known == entry).unwrap_or_else(|| {
                inlined.bodies.push((entry, callee.flow(module)));
                inlined.bodies.len() - 1
            });
            inlined.calls.push((at, body));
        }
        inlined
    }

    /// What is inside at a call, if anything.
    pub fn site(&self, call: u32) -> Option<Site> {
        self.calls.binary_search_by_key(&call, |&(at, _)| at).ok().map(|index| index + 1)
    }
    /// The entry cell and the flow of the body at a site, and where it is called.
    pub fn body(&self, site: Site) -> Option<(u32, &Flow, u32)> {
        let &(call, body) = self.calls.get(site.checked_sub(1)?)?;
        let (entry, flow) = &self.bodies[body];
        Some((*entry, flow, call))
    }
}

/// Whether nothing returns into a function, nothing waits in it, and it does not call itself. It has no frame, then.
fn is_leaf(code: &[Instr], span: &Span) -> bool {
    span.places().all(|at| match code[at as usize] {
        Instr::Cell { .. } => at == span.entry,
        Instr::Allocate { .. } | Instr::BifBody { .. } => false,
        Instr::CallOnly { target, .. } => at.wrapping_add_signed(target) != span.entry + 1,
        _ => true,
    })
}
