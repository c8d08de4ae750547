//! Functions in Rust that programs of a machine call, as those of any module.

use crate::convert::{ConversionError, decode_arguments, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use swarmrt_beam::assemble::{NativeFunction, native_module};
use swarmrt_heap::copy_term;
use swarmrt_machine::bif::BifKind;
use swarmrt_machine::code::natives::{HostFunction, Native};
use swarmrt_machine::{BifExit, BifResult, Process, Vm};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term};

/// What a function in Rust raises: an error with this reason.
pub struct HostError {
    reason: Box<Reason>,
}

/// Makes the term.
type Reason = dyn FnOnce(&mut FragmentHeap) -> Result<Term, ConversionError> + Send;

impl HostError {
    /// An error whose reason is a value.
    pub fn new(reason: impl Serialize + Send + 'static) -> HostError {
        HostError { reason: Box::new(move |heap| encode(&reason, heap)) }
    }
    /// `badarg`.
    pub fn badarg() -> HostError {
        HostError::new(crate::Atom::from("badarg"))
    }
}

/// The reason is the error's text, a binary.
impl<E: fmt::Display> From<E> for HostError {
    fn from(error: E) -> HostError {
        HostError::new(error.to_string())
    }
}

/// A module of functions in Rust.
pub struct HostModule {
    name: String,
    functions: Vec<(String, u8, Arc<dyn HostFunction>)>,
}

struct Closure<F> {
    kind: BifKind,
    call: F,
}

impl<F> HostFunction for Closure<F>
where
    F: Fn(&[Term], &mut FragmentHeap) -> Result<Term, HostError> + Send + Sync,
{
    fn kind(&self) -> BifKind {
        self.kind
    }
    fn call(&self, process: &mut Process, arguments: &[Term]) -> BifResult {
        let mut heap = FragmentHeap::new();
        // A panic is the function's fault, and an error of whoever calls it.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.call)(arguments, &mut heap)));
        let outcome = outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(HostError::new((crate::Atom::from("panic"), text)))
        });
        match outcome {
            Ok(value) => Ok(copy_term(value, &mut process.heap)),
            Err(error) => {
                let reason = (error.reason)(&mut heap)
                    .unwrap_or_else(|error| heap.binary(error.0.as_bytes()));
                Err(BifExit::Error(copy_term(reason, &mut process.heap)))
            }
        }
    }
}

impl HostModule {
    /// A module of that name without functions.
    pub fn new(name: &str) -> HostModule {
        HostModule { name: name.to_owned(), functions: Vec::new() }
    }

    /// Adds a function that takes its arguments as a tuple, `()` for none. It runs on a scheduler,
    /// so it has to be quick (less than a millisecond). Arguments of another shape are a `badarg`.
    #[must_use]
    pub fn function<A, R, F>(self, name: &str, arity: u8, function: F) -> HostModule
    where
        A: DeserializeOwned,
        R: Serialize,
        F: Fn(A) -> Result<R, HostError> + Send + Sync + 'static,
    {
        self.with(name, arity, BifKind::Normal, function)
    }

    /// Adds a function that may wait or compute for long: it runs on a dirty scheduler.
    #[must_use]
    pub fn blocking_function<A, R, F>(self, name: &str, arity: u8, function: F) -> HostModule
    where
        A: DeserializeOwned,
        R: Serialize,
        F: Fn(A) -> Result<R, HostError> + Send + Sync + 'static,
    {
        self.with(name, arity, BifKind::DirtyIo, function)
    }

    fn with<A, R, F>(mut self, name: &str, arity: u8, kind: BifKind, function: F) -> HostModule
    where
        A: DeserializeOwned,
        R: Serialize,
        F: Fn(A) -> Result<R, HostError> + Send + Sync + 'static,
    {
        let call = move |arguments: &[Term], heap: &mut FragmentHeap| {
            let arguments = decode_arguments(arguments).map_err(|_| HostError::badarg())?;
            let value = function(arguments)?;
            encode(&value, heap).map_err(HostError::from)
        };
        self.functions.push((name.to_owned(), arity, Arc::new(Closure { kind, call })));
        self
    }

    /// Makes it a module of a machine.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub(crate) fn install(self, vm: &'static Vm) -> Result<(), String> {
        let functions: Vec<NativeFunction<'_>> = self
            .functions
            .iter()
            .map(|(name, arity, _)| NativeFunction { name, arity: *arity })
            .collect();
        let bytes = native_module(&self.name, &functions);
        let module = vm.code.prepare(&bytes).map_err(|error| error.0)?.0;
        for (name, arity, function) in self.functions {
            let number = module
                .function_number(Atom::new(&name), arity.into())
                .ok_or_else(|| format!("{name}/{arity} is there twice"))?;
            if !module.natives.fill(number, Native::Host(function)) {
                return Err(format!("{name}/{arity} is there twice"));
            }
        }
        vm.finish_loading(&module).map_err(|name| format!("{name} has an old version still"))
    }
}
