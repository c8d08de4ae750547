//! Which functions are translated as part of the one that calls them.
//!
//! - A small function of the same module that calls nothing it would have to return from, and so
//!   needs no frame, and that is no loop.
//! - A small exported function of another module that calls a fun which it is given, such as
//!   `lists:foldl/3`, with the small local functions that do its work. It is inlined where the
//!   caller is known to pass a fun that can itself be inlined. It is inlined from the module's
//!   current version: before it goes there, the code checks that the export has not changed since
//!   the caller was compiled ([`Export::changes`]).
//! - The function of such a fun: a small one of the same module that calls nothing but built-ins
//!   and functions of its own kind.
//!
//! X registers are those of the caller anyway, frames and return addresses are on the stack as if
//! all had been called, so that the machine can be left anywhere. Caller and callees of the same
//! module are of the same version, so nothing of those has to be undone when it is replaced.

use crate::plan::analysis::Flow;
use crate::plan::span::Span;
use std::sync::Arc;
use swarmrt_beam::instr::{ExportPtr, FunPtr, Instr};
use swarmrt_engine::layout;
use swarmrt_machine::code::{CodeServer, Export, ModuleCode};

/// Functions with more instructions are called, not inlined.
const FUNCTION_INSTRUCTIONS_MAX: u32 = 16;
/// The limit for functions that call funs, and for the functions of funs.
const FUN_INSTRUCTIONS_MAX: u32 = 40;
/// The most instructions inlined into one function by direct calls.
const INSTRUCTIONS_MAX: u32 = 64;
/// The most instructions inlined into one piece.
pub const PIECE_INSTRUCTIONS_MAX: usize = 400;
/// The most levels of functions inlined into each other.
const DEPTH_MAX: usize = 3;

/// The bodies that may be inlined into one function. The first is the function itself.
pub struct Inlined {
    bodies: Vec<Body>,
    lambdas: Vec<Lambda>,
    helpers: Vec<Helper>,
}

/// The index of a body among those of [`Inlined`]; 0 is the function that is compiled.
pub type BodyNumber = usize;

/// A function, as the one that is compiled or as one that may be inlined into it.
pub struct Body {
    /// The module, where it is not that of the function that is compiled.
    other: Option<Arc<ModuleCode>>,
    pub entry: u32,
    pub arity: usize,
    pub flow: Flow,
    /// The number of its first instruction in listings, where all bodies stand one behind the
    /// other.
    location: u32,
    /// Calls that may be inlined, by place, and their bodies.
    calls: Vec<(u32, BodyNumber)>,
    /// Places where it calls itself, but not in tail position.
    pub recursions: Vec<u32>,
    /// Whether it calls itself.
    pub is_loop: bool,
}

impl Body {
    fn new(
        module: &ModuleCode,
        other: Option<&Arc<ModuleCode>>,
        span: &Span,
        location: u32,
    ) -> Body {
        let code = module.code.code();
        let calls_itself: Vec<u32> =
            span.places().filter(|&at| called(code, at) == Some(span.entry)).collect();
        let is_loop = !calls_itself.is_empty();
        let recursions = calls_itself
            .into_iter()
            .filter(|&at| matches!(code[at as usize], Instr::Call { .. }))
            .collect();
        Body {
            other: other.cloned(),
            entry: span.entry,
            arity: span.arity,
            flow: span.flow(module),
            location,
            calls: Vec::new(),
            recursions,
            is_loop,
        }
    }
    /// The instructions of its module; `own` are those of the module that is compiled.
    pub fn code<'a>(&'a self, own: &'a [Instr]) -> &'a [Instr] {
        self.other.as_ref().map_or(own, |module| module.code.code())
    }
    /// Its module, where that is not the one that is compiled.
    pub fn other(&self) -> Option<&ModuleCode> {
        self.other.as_deref()
    }
    /// Whether its module is the one that is compiled.
    pub fn is_own(&self) -> bool {
        self.other.is_none()
    }
    /// The body that may be inlined for the call at `at`; `None` when it is a real call.
    pub fn called(&self, at: u32) -> Option<BodyNumber> {
        self.calls
            .binary_search_by_key(&at, |&(call, _)| call)
            .ok()
            .map(|index| self.calls[index].1)
    }
    fn instructions(&self) -> u32 {
        self.flow.effects.len() as u32
    }
    /// The number by which listings name the instruction `at` of this body.
    pub fn location(&self, at: u32) -> u32 {
        self.location + at - self.flow.start
    }
}

/// The function of a fun.
#[derive(Clone, Copy)]
pub struct Lambda {
    fun: FunPtr,
    pub body: BodyNumber,
    /// Arguments, and the free variables that follow them.
    pub arity: usize,
    pub free: usize,
}

/// An exported function of another module that calls funs.
#[derive(Clone, Copy)]
pub struct Helper {
    export: ExportPtr,
    pub body: BodyNumber,
    /// [`Export::changes`] when the export led to this body: the code checks it.
    pub changes: u64,
}

impl Inlined {
    /// Chooses what may be inlined in a function: callees of its own module, the functions of funs
    /// that it makes, and the exported functions that it passes those funs to.
    pub fn of(server: &CodeServer, module: &ModuleCode, span: &Span) -> Inlined {
        let code = module.code.code();
        let function = Body::new(module, None, span, span.places().start);
        let mut inlined =
            Inlined { bodies: vec![function], lambdas: Vec::new(), helpers: Vec::new() };
        let mut instructions = 0;
        for at in span.places() {
            let Some(callee) = called(code, at)
                .filter(|&entry| entry != span.entry)
                .and_then(|entry| Span::around(module, entry))
            else {
                continue;
            };
            if callee.instructions() > FUNCTION_INSTRUCTIONS_MAX
                || instructions + callee.instructions() > INSTRUCTIONS_MAX
                || !is_leaf(code, &callee)
            {
                continue;
            }
            instructions += callee.instructions();
            let body = inlined.body_of(module, None, &callee);
            inlined.bodies[0].calls.push((at, body));
        }
        inlined.find_lambdas(module, span);
        if !inlined.lambdas.is_empty() {
            inlined.find_helpers(server, code, span);
        }
        inlined
    }

    /// The body of this number.
    pub fn body(&self, number: BodyNumber) -> &Body {
        &self.bodies[number]
    }
    /// The other modules of which something may be inlined.
    pub fn others(&self) -> impl Iterator<Item = &ModuleCode> {
        self.bodies.iter().filter_map(|body| body.other.as_deref())
    }
    /// The other module that this address is an instruction of, and the instruction's number.
    pub fn other_instr(&self, address: u64) -> Option<(&ModuleCode, u32)> {
        let module = self.others().find(|module| module.range().contains(&(address as usize)))?;
        Some((module, ((address - module.range().start as u64) / layout::INSTR_BYTES) as u32))
    }
    /// The function of a fun, if that may be inlined.
    pub fn lambda(&self, fun: FunPtr) -> Option<Lambda> {
        self.lambdas.iter().find(|lambda| lambda.fun == fun).copied()
    }
    /// Whether the function of a fun may be inlined, and a function that calls it.
    fn has_inside(&self, fun: FunPtr) -> bool {
        self.lambda(fun).is_some() && !self.helpers.is_empty()
    }
    /// The function that an export led to, if that may be inlined.
    pub fn helper(&self, export: ExportPtr) -> Option<Helper> {
        self.helpers.iter().find(|helper| helper.export == export).copied()
    }
    /// The instruction that a location in a listing means.
    pub fn at_location<'a>(&'a self, location: u32, own: &'a [Instr]) -> Option<&'a Instr> {
        let body = self.bodies.iter().find(|body| {
            (body.location..body.location + body.instructions()).contains(&location)
        })?;
        body.code(own).get((location - body.location + body.flow.start) as usize)
    }

    /// The export that leads to a body.
    pub fn export_of(&self, body: BodyNumber) -> Option<ExportPtr> {
        self.helpers.iter().find(|helper| helper.body == body).map(|helper| helper.export)
    }

    fn body_of(
        &mut self,
        module: &ModuleCode,
        other: Option<&Arc<ModuleCode>>,
        span: &Span,
    ) -> BodyNumber {
        let same_module =
            |body: &Body| body.other.as_ref().map(Arc::as_ptr) == other.map(Arc::as_ptr);
        let known =
            self.bodies.iter().position(|body| body.entry == span.entry && same_module(body));
        known.unwrap_or_else(|| {
            // Those of the function's own module keep the numbers that they have there.
            let location = other.map_or(span.places().start, |_| self.end_of_locations(module));
            self.bodies.push(Body::new(module, other, span, location));
            self.bodies.len() - 1
        })
    }
    fn end_of_locations(&self, module: &ModuleCode) -> u32 {
        const OWN_INSTRUCTIONS_MAX: u32 = 1 << 28;
        debug_assert!(
            (module.code.code().len() as u32) < OWN_INSTRUCTIONS_MAX,
            "a module's instructions are numbered"
        );
        let others = self.bodies.iter().filter(|body| !body.is_own());
        others.map(|body| body.location + body.instructions()).max().unwrap_or(OWN_INSTRUCTIONS_MAX)
    }

    /// Adds the funs that the function makes.
    fn find_lambdas(&mut self, module: &ModuleCode, span: &Span) {
        let code = module.code.code();
        for at in span.places() {
            let Instr::MakeFun { arity, ref free, .. } = code[at as usize] else { continue };
            let (fun, free) = (free.0, free.1.len());
            let Some(span) = module.fun_cell(fun).and_then(|cell| Span::around(module, cell))
            else {
                continue;
            };
            let arity = usize::from(arity);
            if self.lambda(fun).is_none()
                && arity + free <= crate::plan::analysis::TRACKED_X
                && stays_inside(module, &span, DEPTH_MAX)
            {
                let body = self.with_callees(module, None, &span, DEPTH_MAX);
                self.lambdas.push(Lambda { fun, body, arity, free });
            }
        }
    }
    /// Adds the exports that the function seems to call with these funs.
    fn find_helpers(&mut self, server: &CodeServer, code: &[Instr], span: &Span) {
        for at in span.places() {
            let (Instr::CallExt { export, .. }
            | Instr::CallExtLast { export, .. }
            | Instr::CallExtOnly { export, .. }) = code[at as usize]
            else {
                continue;
            };
            if self.helper(export).is_some() {
                continue;
            }
            let changes = Export::of(export).changes();
            let entry = Export::of(export).entry() as usize;
            let Some(module) = server.module_at(entry) else { continue };
            let cell = ((entry - module.range().start) as u64 / layout::INSTR_BYTES) as u32 - 1;
            let Some(span) = Span::around(&module, cell) else { continue };
            if Export::of(export).changes() == changes && calls_funs(&module, &span, DEPTH_MAX) {
                let body = self.with_callees(&module, Some(&module), &span, DEPTH_MAX);
                self.helpers.push(Helper { export, body, changes });
            }
        }
    }
    /// A body, with the callees that may be inlined into it.
    fn with_callees(
        &mut self,
        module: &ModuleCode,
        other: Option<&Arc<ModuleCode>>,
        span: &Span,
        depth: usize,
    ) -> BodyNumber {
        let code = module.code.code();
        let known = self.bodies.len();
        let number = self.body_of(module, other, span);
        if number < known || depth == 0 {
            return number;
        }
        for at in span.places() {
            let Some(callee) = called(code, at).and_then(|entry| Span::around(module, entry))
            else {
                continue;
            };
            let itself = callee.entry == span.entry;
            if itself
                || stays_inside(module, &callee, depth - 1)
                || calls_funs(module, &callee, depth - 1)
            {
                let body = if itself {
                    number
                } else {
                    self.with_callees(module, other, &callee, depth - 1)
                };
                self.bodies[number].calls.push((at, body));
            }
        }
        number
    }
}

/// The functions into which both the fun with this entry cell and the function that they pass it to
/// may be inlined: their numbers, and the cells in front of the instructions that make the fun.
/// Samples do not find such a function when it is called seldom and with a long list.
pub fn makers(server: &CodeServer, module: &ModuleCode, entry: u32) -> Vec<(usize, u32)> {
    let code = module.code.code();
    let Some(fun) = module.fun_at(entry) else { return Vec::new() };
    let makes =
        |at: &u32| matches!(&code[*at as usize], Instr::MakeFun { free, .. } if free.0 == fun);
    let cell_before = |at: u32| {
        let number = module.number_at(at)?;
        let span = Span::of(module, number);
        let cell = (span.entry..at)
            .rev()
            .find(|&cell| matches!(code[cell as usize], Instr::Cell { .. }))?;
        Inlined::of(server, module, &span).has_inside(fun).then_some((number, cell))
    };
    (0..code.len() as u32).filter(makes).filter_map(cell_before).collect()
}

/// The entry cell of the function of the module that is called at a place, if one is.
fn called(code: &[Instr], at: u32) -> Option<u32> {
    match code[at as usize] {
        Instr::Call { target, .. }
        | Instr::CallLast { target, .. }
        | Instr::CallOnly { target, .. } => Some(at.wrapping_add_signed(target) - 1),
        _ => None,
    }
}

/// Whether nothing returns into a function, nothing waits in it, and it does not call itself. It
/// has no frame, then.
fn is_leaf(code: &[Instr], span: &Span) -> bool {
    span.places().all(|at| match code[at as usize] {
        Instr::Cell { .. } => at == span.entry,
        Instr::Allocate { .. } | Instr::BifBody { .. } | Instr::NativeBody { .. } => false,
        // It has others inside itself, perhaps.
        Instr::MakeFun { .. } => false,
        Instr::CallOnly { target, .. } => at.wrapping_add_signed(target) != span.entry + 1,
        _ => true,
    })
}

/// Whether a small function calls nothing but built-ins and functions of which the same holds, and
/// does not wait.
fn stays_inside(module: &ModuleCode, span: &Span, depth: usize) -> bool {
    let code = module.code.code();
    let stays = |at: u32| {
        let properties = code[at as usize].properties();
        let inside = |entry| {
            depth > 0
                && Span::around(module, entry)
                    .is_some_and(|callee| stays_inside(module, &callee, depth - 1))
        };
        !(properties.calls_out || properties.calls_fun || properties.waits)
            && called(code, at).is_none_or(inside)
    };
    span.instructions() <= FUN_INSTRUCTIONS_MAX && span.places().all(stays)
}

/// Whether a small function calls a fun, itself or by small functions of its module, and does not
/// wait.
fn calls_funs(module: &ModuleCode, span: &Span, depth: usize) -> bool {
    let code = module.code.code();
    let calls = |at: u32| {
        let by_another = |entry: u32| {
            depth > 0
                && entry != span.entry
                && Span::around(module, entry)
                    .is_some_and(|callee| calls_funs(module, &callee, depth - 1))
        };
        code[at as usize].properties().calls_fun || called(code, at).is_some_and(by_another)
    };
    span.instructions() <= FUN_INSTRUCTIONS_MAX
        && span.places().any(calls)
        && !span.places().any(|at| code[at as usize].properties().waits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    /// The calls of other functions of the module in a function, in order: inlined or not.
    fn calls(bench: &Bench, name: &str, arity: u32) -> String {
        let code = bench.module.code.code();
        let span = bench.span(name, arity);
        let inlined = Inlined::of(&bench.vm.code, &bench.module, &span);
        let calls = span.places().filter_map(|at| Some((at, called(code, at)?)));
        let shown = calls.map(|(at, entry)| {
            let word = if inlined.body(0).called(at).is_some() { "inlines" } else { "calls" };
            format!("{word} {}", bench.name_at(entry))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn small_functions_without_a_frame_are_inlined() {
        let long = (0..20).map(|n| format!("is_atom(element({n}, X))")).collect::<Vec<_>>();
        let bench = Bench::new(&format!(
            "leaf(X) -> X bxor 5.
             of_leaf(X) -> leaf(X) + 1.
             last(X) -> leaf(X).
             framed(X) -> Y = leaf(X), of_leaf(Y) + X.
             of_framed(X) -> framed(X) + 1.
             loop(0) -> ok; loop(N) -> loop(N - 1).
             of_loop(X) -> loop(X), ok.
             waits(X) -> receive X -> X end.
             of_waits(X) -> waits(X), ok.
             large(X) when {} -> a; large(_) -> b.
             of_large(X) -> large(X), ok.
             itself(0) -> 1; itself(N) -> N * itself(N - 1).
             ",
            long.join(" orelse ").replace("element(0, X)", "X"),
        ));
        for (name, expected) in [
            ("of_leaf", "inlines leaf/1"),
            ("last", "inlines leaf/1"),
            // It has a frame itself, which is no matter.
            ("framed", "inlines leaf/1, calls of_leaf/1"),
            ("of_framed", "calls framed/1"),
            ("of_loop", "calls loop/1"),
            ("of_waits", "calls waits/1"),
            ("of_large", "calls large/1"),
            ("itself", "calls itself/1"),
        ] {
            assert_eq!(calls(&bench, name, 1), expected, "{name}/1");
        }
        let span = bench.span("itself", 1);
        let inlined = Inlined::of(&bench.vm.code, &bench.module, &span);
        let body = inlined.body(0);
        assert_eq!((body.is_loop, body.recursions.len()), (true, 1), "not in tail position");
        let inlined = Inlined::of(&bench.vm.code, &bench.module, &bench.span("loop", 1));
        assert_eq!((inlined.body(0).is_loop, inlined.body(0).recursions.len()), (true, 0));
    }

    #[test]
    fn calls_are_inlined_up_to_a_limit() {
        let functions: String = (0..20).map(|n| format!("f{n}(X) -> X bxor {n}.\n")).collect();
        let body: Vec<String> = (0..20).map(|n| format!("f{n}(X)")).collect();
        let bench = Bench::new(&format!("{functions}all(X) -> {{{}}}.", body.join(", ")));
        let calls = calls(&bench, "all", 1);
        let of_one = bench.span("f0", 1).instructions();
        let inlined = calls.matches("inlines").count() as u32;
        assert_eq!(inlined, INSTRUCTIONS_MAX / of_one, "{calls}");
        let (first, others) = calls.split_at(calls.find("calls").expect("some are left"));
        assert!(!first.contains("calls") && !others.contains("inlines"), "the first ones are");
    }

    #[test]
    fn funs_that_stay_inside_are_inlined_into_who_calls_them() {
        let bench = Bench::new(
            "each(F, [H | T]) -> [F(H) | each(F, T)]; each(_, []) -> [].
             simple(L, K) -> t:each(fun(X) -> X + K end, L).
             helped(L) -> t:each(fun(X) -> small(X) end, L).
             small(X) -> X bxor 1.
             outside(L) -> t:each(fun(X) -> lists:reverse(X) end, L).
             waiting(L) -> t:each(fun(X) -> receive X -> X end end, L).
             elsewhere(L, K) -> other:each(fun(X) -> X + K end, L).",
        );
        let outcome = |name: &str, arity: u32| {
            let span = bench.span(name, arity);
            let inlined = Inlined::of(&bench.vm.code, &bench.module, &span);
            (inlined.lambdas.len(), inlined.helpers.len())
        };
        for (name, arity, expected) in [
            ("simple", 2, (1, 1)),
            ("helped", 1, (1, 1)),
            // The fun leaves the module, or waits: nothing is asked about the rest then.
            ("outside", 1, (0, 0)),
            ("waiting", 1, (0, 0)),
            // Nothing is loaded there.
            ("elsewhere", 2, (1, 0)),
        ] {
            assert_eq!(outcome(name, arity), expected, "{name}/{arity}: funs, helpers");
        }
        let makers = |name: &str| {
            let module = &bench.module;
            let fun = (0..module.code.functions.len())
                .map(|number| Span::of(module, number))
                .find(|span| bench.name_at(span.entry).starts_with(&format!("-{name}")))
                .expect("there is a fun");
            let makers = makers(&bench.vm.code, module, fun.entry);
            makers.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
        };
        assert_eq!(makers("simple"), [bench.function("simple", 2)]);
        assert_eq!(makers("outside"), [], "nothing is inside there");
    }
}
