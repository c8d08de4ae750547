//! The interpreter: tier 0, which starts at once and runs everything.
//!
//! Invariants: it keeps no state of its own between turns; everything that a process is lies in its
//! [`Process`](swarmrt_machine::Process). It knows nothing of other engines.

mod engine;
mod run;
#[cfg(test)]
mod tests;

pub use engine::Interpreter;
use swarmrt_engine::runtime::assists::Assists;

/// What machine code has done for it, with this interpreter's step.
pub static ASSISTS: Assists = Assists::with_step(run::step);
