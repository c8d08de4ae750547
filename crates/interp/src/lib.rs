//! The interpreter: tier 0, which starts at once and runs everything.
//!
//! Invariants: it keeps no state of its own between turns; everything that a process is lies in its
//! [`Process`](swarmrt_machine::Process). It knows nothing of other engines.

mod assist;
mod binary;
mod operations;
mod records;
mod run;

pub use assist::ASSISTS;
pub use run::Interpreter;
