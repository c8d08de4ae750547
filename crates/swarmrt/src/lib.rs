//! The embedding API: a machine within a Rust program.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use swarmrt::{Builder, Otp};
//!
//! let machine = Builder::embedded(Otp::find(None)?).boot()?;
//! let sum: i64 = machine.call("lists", "sum", (vec![1, 2, 3],))?.wait()?.decode()?;
//! assert_eq!(sum, 6);
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: knows nothing of argument parsing; what the command line says arrives as [`Builder`]
//! fields and boot arguments.

mod builder;
mod call;
pub mod convert;
pub mod coverage;
mod embedded;
mod host;
mod listing;
mod memory;
mod otp;

pub use builder::{BootError, Builder, Engines, Source};
pub use call::{Call, CallError};
pub use convert::{Atom, ConversionError, OwnedTerm};
pub use embedded::{Kept, Machine};
pub use host::{HostError, HostModule};
pub use listing::disassemble;
pub use otp::{Otp, OtpError};
pub use swarmrt_beam as beam;
pub use swarmrt_bifs::processors::Processors;
pub use swarmrt_engine as engine;
pub use swarmrt_io::Interrupt;
pub use swarmrt_machine as machine;
pub use swarmrt_nif as nif;
pub use swarmrt_term as term;
pub use swarmrt_term::refusal;
