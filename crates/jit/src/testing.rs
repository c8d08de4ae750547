//! What the tests of this crate share: modules compiled by `erlc`, and listings of what becomes of
//! their functions.

use crate::Lister;
use crate::plan::span::Span;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use swarmrt_beam::instr::Instr;
use swarmrt_engine::runtime::assists::Assists;
use swarmrt_engine::state::Registers;
use swarmrt_machine::Vm;
use swarmrt_machine::code::ModuleCode;
use swarmrt_machine::vm::Config;
use swarmrt_term::{Atom, Release};

/// Nothing is run here.
unsafe extern "C-unwind" fn no_step(_: *mut Registers, _: *const Instr) -> *const Instr {
    unreachable!("tests of the compiler run no code")
}

static ASSISTS: Assists = Assists::with_step(no_step);

/// A machine without schedulers, and a module that is loaded into it.
pub struct Bench {
    pub vm: &'static Vm,
    pub module: Arc<ModuleCode>,
}

impl Bench {
    /// With a module of these functions, all of them exported.
    ///
    /// # Panics
    /// When they cannot be compiled.
    pub fn new(functions: &str) -> Bench {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("swarmrt-jit-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
        let source =
            format!("-module(t).\n-compile([export_all, nowarn_export_all]).\n{functions}");
        std::fs::write(folder.join("t.erl"), source).expect("a file can be written there");
        let compiled = Command::new("erlc").arg("t.erl").current_dir(&folder).output();
        let compiled = compiled.expect("erlc is installed: run script/setup");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
        let bytes = std::fs::read(folder.join("t.beam")).expect("it was compiled");
        let _ = std::fs::remove_dir_all(&folder);
        let vm = Vm::new(Config::without_threads(Release::OLDEST));
        let module = vm.code.prepare(&bytes).map_err(|error| error.0).expect("it can be loaded").0;
        vm.code.finish(&module).expect("it is the first version");
        Bench { vm, module }
    }

    /// The number of the function `name/arity`.
    pub fn function(&self, name: &str, arity: u32) -> usize {
        self.module
            .function_number(Atom::new(name), arity)
            .unwrap_or_else(|| panic!("there is no {name}/{arity}"))
    }

    pub fn span(&self, name: &str, arity: u32) -> Span {
        Span::of(&self.module, self.function(name, arity))
    }

    /// The name of the function with this entry.
    pub fn name_at(&self, entry: u32) -> String {
        let function = self.module.function_at(entry).expect("it is a function's");
        format!("{}/{}", function.name, function.arity)
    }

    /// The listing of a function's machine code.
    pub fn listing(&self, name: &str, arity: u32) -> String {
        let mut lister = Lister::new(self.vm, &ASSISTS).map_err(|why| why.0).expect("x86-64");
        let number = self.function(name, arity);
        lister.function(&self.module, number).expect("it can be compiled")
    }
}
