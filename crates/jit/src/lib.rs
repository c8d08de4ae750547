//! The optimising compiler: machine code by Cranelift, over the same machine state that the
//! interpreter works on.
//!
//! [`engine`](swarmrt_engine) says which functions are compiled, and installs the code. Nothing
//! here knows of the interpreter but as functions that execute an instruction or a part of one
//! ([`Assists`]): what machine code does not do itself, it has done by those.

mod compile;
mod convention;
mod frame;
mod glue;
mod listing;
mod plan;
mod symbols;
#[cfg(test)]
mod testing;
mod translate;

use compile::{PieceCompiler, Target};
use cranelift_codegen::settings::{self, Configurable};
pub use listing::Lister;
use std::sync::Arc;
use swarmrt_engine::code::Glue;
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_engine::{Backend, Compiler, Unavailable};

/// Cranelift, set up for this computer.
pub struct Cranelift(Arc<Target>);

impl Cranelift {
    /// # Errors
    /// When the processor or the operating system does not allow machine code.
    pub fn new(assists: &'static Assists) -> Result<Cranelift, Unavailable> {
        Ok(Cranelift(Arc::new(Target::new(assists)?)))
    }
}

impl Backend for Cranelift {
    fn glue(&self) -> &Glue {
        &self.0.glue
    }
    fn processor(&self) -> &str {
        &self.0.processor
    }
    fn compiler(&self) -> Box<dyn Compiler> {
        Box::new(PieceCompiler::new(self.0.clone()))
    }
}

impl Target {
    /// This computer, with the code at the border of the engines.
    fn new(assists: &'static Assists) -> Result<Target, Unavailable> {
        let mut flags = settings::builder();
        for (name, value) in [
            // Its optimisations cost a quarter of the time, and gain nothing that can be measured
            // on what comes from here.
            ("opt_level", "none"),
            ("preserve_frame_pointers", "true"),
            ("enable_pinned_reg", "true"),
            // The little that a piece keeps on the machine's stack never reaches over a page.
            ("enable_probestack", "false"),
            // Pieces are verified before their convention is changed.
            ("enable_verifier", "false"),
            ("unwind_info", "false"),
        ] {
            flags.set(name, value).map_err(|error| Unavailable::new(name, &error))?;
        }
        let isa = cranelift_native::builder()
            .map_err(|error| Unavailable::new("this processor", &error))?
            .finish(settings::Flags::new(flags))
            .map_err(|error| Unavailable::new("code generator", &error))?;
        let glue = glue::compile_glue(&isa, assists)
            .map_err(|error| Unavailable::new("code at the border", &error))?;
        let features: Vec<String> = isa.isa_flags().iter().map(ToString::to_string).collect();
        let processor = format!("{} {}", isa.triple(), features.join(" "));
        Ok(Target { isa, assists, glue, processor })
    }
}
