//! From terms to programs.

use super::{Clause, CompileError, Dialect, Errors, Expr, Pattern, Program, TraceAct};
use crate::ets::object::OwnedTerm;
use smallvec::{SmallVec, smallvec};
use std::ops::RangeInclusive;
use swarmrt_machine::Vm;
use swarmrt_term::release::Release;
use swarmrt_term::{Atom, Mfa, Term, am, atom, map, print, release, stop};

/// Levels of tuples, lists and maps within each other: compiling, running and dropping a program
/// recurse so deep.
pub(super) const NESTING_MAX: usize = 500;

/// The elements of a list, and what stands in place of its end.
pub(super) fn list_parts(list: Term) -> (Vec<Term>, Term) {
    let (mut elements, mut rest) = (Vec::new(), list);
    while let Some(cell) = rest.as_cons() {
        stop::step();
        elements.push(cell.head());
        rest = cell.tail();
    }
    (elements, rest)
}

/// Whether a term is nested in more than so many levels. Recurses as deep, without memory for it: a
/// specification that is given as a term is compiled for each call.
pub(super) fn is_deeper(term: Term, levels: usize) -> bool {
    stop::step();
    let inside =
        |child: Term| !child.is_immediate() && (levels == 0 || is_deeper(child, levels - 1));
    if term.is_cons() {
        let mut rest = term;
        while let Some(cell) = rest.as_cons() {
            stop::step();
            if inside(cell.head()) {
                return true;
            }
            rest = cell.tail();
        }
        inside(rest)
    } else if let Some(tuple) = term.as_tuple() {
        tuple.elements().iter().any(|&element| inside(element))
    } else {
        term.is_map() && map::iter(term).any(|(key, value)| inside(key) || inside(value))
    }
}

/// The number of a variable's name: `'$7'`. One that begins with a zero is an atom, and as in OTP
/// numbers wrap around.
fn variable_number(term: Term) -> Option<u32> {
    let digits = term.as_atom()?.name().strip_prefix('$')?.as_bytes();
    let is_number = digits == b"0"
        || matches!(digits, [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    if !is_number {
        return None;
    }
    let number = digits
        .iter()
        .fold(0i32, |number, &digit| number.wrapping_mul(10).wrapping_add(i32::from(digit - b'0')));
    u32::try_from(number).ok()
}

/// The numbers of a head's variables, which is not nested more deeply than [`NESTING_MAX`]: as
/// often as they occur.
pub(super) fn collect_variables(head: Term, found: &mut Variables) {
    stop::step();
    if let Some(number) = variable_number(head) {
        found.push(number);
    } else if head.is_cons() {
        let mut rest = head;
        while let Some(cell) = rest.as_cons() {
            collect_variables(cell.head(), found);
            rest = cell.tail();
        }
        collect_variables(rest, found);
    } else if let Some(tuple) = head.as_tuple() {
        tuple.elements().iter().for_each(|&element| collect_variables(element, found));
    } else if head.is_map() {
        map::iter(head).for_each(|(_, value)| collect_variables(value, found));
    }
}

/// Whether a pattern, which is not nested more deeply than [`NESTING_MAX`], has neither variables
/// nor `_`.
pub(super) fn is_constant(term: Term) -> bool {
    stop::step();
    if term.is_cons() {
        let mut rest = term;
        while let Some(cell) = rest.as_cons() {
            if !is_constant(cell.head()) {
                return false;
            }
            rest = cell.tail();
        }
        is_constant(rest)
    } else if let Some(tuple) = term.as_tuple() {
        tuple.elements().iter().all(|&element| is_constant(element))
    } else {
        // A map matches by the keys it names, not as a whole.
        term != Term::atom(am::UNDERSCORE) && variable_number(term).is_none() && !term.is_map()
    }
}

/// The numbers of a clause's variables, in order; a variable's slot is its position.
pub(super) type Variables = SmallVec<[u32; 8]>;

struct Compiler {
    vm: &'static Vm,
    dialect: Dialect,
    variables: Variables,
    bound: SmallVec<[bool; 8]>,
    in_body: bool,
    errors: Errors,
}

impl Compiler {
    /// For a clause with that head.
    fn new(vm: &'static Vm, dialect: Dialect, head: Term) -> Compiler {
        let mut variables = Variables::new();
        collect_variables(head, &mut variables);
        variables.sort_unstable();
        variables.dedup();
        let bound = smallvec![false; variables.len()];
        Compiler { vm, dialect, variables, bound, in_body: false, errors: Vec::new() }
    }

    fn slot(&self, number: u32) -> Option<usize> {
        self.variables.binary_search(&number).ok()
    }

    fn pattern(&mut self, term: Term) -> Pattern {
        stop::step();
        if term == Term::atom(am::UNDERSCORE) {
            return Pattern::Any;
        }
        if let Some(number) = variable_number(term) {
            let variable = self.slot(number).expect("all variables of the head were collected");
            return if std::mem::replace(&mut self.bound[variable], true) {
                Pattern::Same(variable)
            } else {
                Pattern::Bind(variable)
            };
        }
        if is_constant(term) {
            return Pattern::Constant(term);
        }
        if term.is_cons() {
            let (elements, tail) = list_parts(term);
            let elements = elements.into_iter().map(|element| self.pattern(element)).collect();
            return Pattern::List(elements, Box::new(self.pattern(tail)));
        }
        if let Some(tuple) = term.as_tuple() {
            return Pattern::Tuple(
                tuple.elements().iter().map(|&element| self.pattern(element)).collect(),
            );
        }
        let pairs = map::iter(term)
            .map(|(key, value)| {
                // What is inside a key is taken as it stands.
                if variable_number(key).is_some() {
                    self.errors.push("Variable found in map key.".into());
                } else if key == Term::atom(am::UNDERSCORE) {
                    self.errors.push("Underscore found in map key.".into());
                }
                (key, self.pattern(value))
            })
            .collect();
        Pattern::Map(pairs)
    }

    /// The expressions of a guard or a body.
    fn sequence(&mut self, list: Term) -> Vec<Expr> {
        if !list.is_list() {
            self.errors.push("Match expression is not a list.".into());
            return Vec::new();
        }
        let (terms, tail) = list_parts(list);
        let expressions = self.expressions(&terms);
        if !tail.is_nil() {
            self.errors.push("Match expression is not a proper list.".into());
        }
        expressions
    }

    fn expressions(&mut self, terms: &[Term]) -> Vec<Expr> {
        terms.iter().map(|&term| self.expression(term)).collect()
    }

    fn expression(&mut self, term: Term) -> Expr {
        stop::step();
        if term.is_cons() {
            let (elements, tail) = list_parts(term);
            let elements = self.expressions(&elements);
            return Expr::List(elements, Box::new(self.expression(tail)));
        }
        if let Some(number) = variable_number(term) {
            return match self.slot(number) {
                Some(variable) => Expr::Variable(variable),
                None => {
                    self.errors.push(format!("Variable ${number} is unbound."));
                    Expr::Constant(Term::NIL)
                }
            };
        }
        if term == Term::atom(am::DOLLAR_UNDERSCORE) {
            return Expr::Whole;
        }
        if term == Term::atom(am::DOUBLE_DOLLAR) {
            return Expr::Variables;
        }
        if term.is_map() {
            return Expr::Map(
                map::iter(term)
                    .map(|(key, value)| (self.expression(key), self.expression(value)))
                    .collect(),
            );
        }
        let Some(tuple) = term.as_tuple() else { return Expr::Constant(term) };
        let elements = tuple.elements();
        match *elements {
            [inner] if inner.is_tuple() => {
                let inner = inner.as_tuple().expect("just tested");
                Expr::Tuple(self.expressions(inner.elements()))
            }
            [name, ref args @ ..] if name.is_atom() && variable_number(name).is_none() => {
                self.call(name.as_atom().expect("just tested"), args, term)
            }
            _ => self.wrong(format!(
                "{} is neither a function call, nor a tuple (tuples are written {{{{ ... }}}}).",
                print::display(term)
            )),
        }
    }

    /// Notes an error; something to go on with.
    fn wrong(&mut self, text: String) -> Expr {
        self.errors.push(text);
        Expr::Constant(Term::NIL)
    }

    fn call(&mut self, name: Atom, arguments: &[Term], whole: Term) -> Expr {
        let arity = arguments.len();
        match name.name() {
            "const" => {
                return match *arguments {
                    [value] => Expr::Constant(value),
                    _ => self.wrong(format!(
                        "Special form 'const' called with more than one argument in {}.",
                        print::display(whole)
                    )),
                };
            }
            form @ ("and" | "or" | "andalso" | "orelse") => {
                if arguments.is_empty() {
                    return self.wrong(format!(
                        "Special form '{form}' called without arguments in {}.",
                        print::display(whole)
                    ));
                }
                let args = self.expressions(arguments);
                return match form {
                    "and" => Expr::All(args),
                    "or" => Expr::AnyOf(args),
                    "andalso" => Expr::AndAlso(args),
                    _ => Expr::OrElse(args),
                };
            }
            "self" if arity > 0 => {
                return self.wrong(format!(
                    "Special form 'self' called with arguments in {}.",
                    print::display(whole)
                ));
            }
            form => {
                let is_known = form != "current_stacktrace" || release::current() >= Release::R27;
                if is_known
                    && let Some(special) = TRACE_FORMS.iter().find(|special| special.name == form)
                {
                    return self.trace_form(special, arguments, whole);
                }
            }
        }
        let in_trace = self.dialect == Dialect::Trace;
        let allowed = match (name.name(), arity) {
            ("get_tcw", 0) => Some(in_trace),
            ("set_tcw", 1) => Some(in_trace && self.in_body),
            _ => is_guard_function(name.name(), arity).then_some(true),
        };
        match allowed {
            None => {
                return self.wrong(format!(
                    "Function {}/{arity} does_not_exist.",
                    print::display(Term::atom(name))
                ));
            }
            Some(false) => {
                return self.wrong(format!(
                    "Function {}/{arity} cannot be called in this context.",
                    print::display(Term::atom(name))
                ));
            }
            Some(true) => {}
        }
        let mut args = self.expressions(arguments);
        match (name.name(), args.pop()) {
            ("get_tcw", _) => Expr::ControlWord(None),
            ("set_tcw", Some(value)) => Expr::ControlWord(Some(Box::new(value))),
            (_, last) => {
                args.extend(last);
                let mfa = Mfa { module: am::ERLANG, function: name, arity: arity as u32 };
                match self.vm.bifs.number(mfa) {
                    Some(number) => Expr::Call(self.vm.bifs.get(number), args),
                    None => self.wrong(format!(
                        "Function {}/{arity} does_not_exist.",
                        print::display(Term::atom(name))
                    )),
                }
            }
        }
    }

    fn trace_form(&mut self, form: &TraceForm, arguments: &[Term], whole: Term) -> Expr {
        // As OTP has it.
        let shown = if form.name == "set_seq_token" { "set_seq_trace" } else { form.name };
        if self.dialect != Dialect::Trace {
            return self.wrong(format!("Special form '{shown}' used in wrong dialect."));
        }
        if !self.in_body && form.name != "is_seq_trace" {
            return self.wrong(format!("Special form '{shown}' called in guard context."));
        }
        if !form.arity.contains(&arguments.len()) {
            let how =
                if *form.arity.end() == 0 { "arguments" } else { "wrong number of arguments" };
            return self.wrong(format!(
                "Special form '{}' called with {how} in {}.",
                form.name,
                print::display(whole)
            ));
        }
        let is_depth = |term: &Term| term.as_small().is_some_and(|depth| depth >= 0);
        if form.name == "current_stacktrace" && !arguments.iter().all(is_depth) {
            return self.wrong(format!(
                "Special form 'current_stacktrace' called with non small argument in {}.",
                print::display(whole)
            ));
        }
        let mut args = self.expressions(arguments);
        match (form.name, args.pop()) {
            ("message", Some(message)) => Expr::Message(Box::new(message)),
            ("display", Some(value)) => Expr::Display(Box::new(value)),
            ("return_trace", _) => Expr::Returns(atom!("return_trace")),
            ("exception_trace", _) => Expr::Returns(atom!("exception_trace")),
            ("process_dump", _) => Expr::ProcessDump,
            ("set_seq_token", Some(value)) => Expr::SetSeqToken(Box::new((args.remove(0), value))),
            ("get_seq_token", _) => Expr::GetSeqToken,
            ("is_seq_trace", _) => Expr::IsSeqTrace,
            (name, last) => {
                args.extend(last);
                let act = match name {
                    "caller" => TraceAct::Caller,
                    "caller_line" => TraceAct::CallerLine,
                    "current_stacktrace" => TraceAct::Stacktrace,
                    "silent" => TraceAct::Silent,
                    "enable_trace" => TraceAct::Enable,
                    "disable_trace" => TraceAct::Disable,
                    "trace" => TraceAct::Trace,
                    other => unreachable!("{other} is not among the forms"),
                };
                Expr::Trace(act, args)
            }
        }
    }
}

/// What only specifications of traces may call, and, but for `is_seq_trace`, only in their bodies.
struct TraceForm {
    name: &'static str,
    arity: RangeInclusive<usize>,
}

const TRACE_FORMS: [TraceForm; 15] = [
    TraceForm { name: "message", arity: 1..=1 },
    TraceForm { name: "caller", arity: 0..=0 },
    TraceForm { name: "caller_line", arity: 0..=0 },
    TraceForm { name: "current_stacktrace", arity: 0..=1 },
    TraceForm { name: "return_trace", arity: 0..=0 },
    TraceForm { name: "exception_trace", arity: 0..=0 },
    TraceForm { name: "process_dump", arity: 0..=0 },
    TraceForm { name: "display", arity: 1..=1 },
    TraceForm { name: "silent", arity: 1..=1 },
    TraceForm { name: "set_seq_token", arity: 2..=2 },
    TraceForm { name: "get_seq_token", arity: 0..=0 },
    TraceForm { name: "is_seq_trace", arity: 0..=0 },
    TraceForm { name: "enable_trace", arity: 1..=2 },
    TraceForm { name: "disable_trace", arity: 1..=2 },
    TraceForm { name: "trace", arity: 2..=3 },
];

/// Whether the release in use knows the function in specifications.
fn is_guard_function(name: &str, arity: usize) -> bool {
    let since = match (name, arity) {
        ("self" | "node", 0) => Release::R25,
        (
            "is_atom" | "is_float" | "is_integer" | "is_list" | "is_number" | "is_pid" | "is_port"
            | "is_reference" | "is_tuple" | "is_map" | "is_binary" | "is_function" | "not" | "abs"
            | "hd" | "length" | "node" | "round" | "size" | "bit_size" | "byte_size" | "map_size"
            | "tl" | "trunc" | "float" | "+" | "-" | "bnot",
            1,
        ) => Release::R25,
        (
            "element" | "map_get" | "is_map_key" | "binary_part" | "+" | "-" | "*" | "/" | "div"
            | "rem" | "band" | "bor" | "bxor" | "bsl" | "bsr" | ">" | ">=" | "<" | "=<" | "=:="
            | "==" | "=/=" | "/=" | "xor",
            2,
        ) => Release::R25,
        ("is_record" | "binary_part", 3) => Release::R25,
        ("is_bitstring" | "is_boolean" | "tuple_size" | "ceil" | "floor", 1)
        | ("is_function" | "max" | "min", 2) => Release::R26,
        ("is_integer", 3) => Release::R29,
        _ => return false,
    };
    release::current() >= since
}

/// Compiles a specification.
pub fn compile(
    vm: &'static Vm,
    specification: Term,
    dialect: Dialect,
) -> Result<Program, CompileError> {
    if is_deeper(specification, NESTING_MAX) {
        return Err(CompileError::TooDeep);
    }
    let source = OwnedTerm::new(specification);
    let one = |text: &str| CompileError::Invalid(vec![text.to_owned()]);
    if !source.term.is_cons() {
        return Err(one("Match programs are not in a list."));
    }
    let list =
        source.term.list_to_vec().ok_or_else(|| one("Match programs are not in a proper list."))?;
    let mut clauses = Vec::with_capacity(list.len());
    for clause in list {
        let parts = clause
            .as_tuple()
            .filter(|parts| parts.arity() == 3)
            .ok_or_else(|| one("Match program part is not a tuple of arity 3."))?;
        let (head, guards, body) = (parts.get(0), parts.get(1), parts.get(2));
        let mut compiler = Compiler::new(vm, dialect, head);
        let count = compiler.variables.len();
        if dialect == Dialect::Trace
            && !head.is_list()
            && head.as_tuple().is_none()
            && head != Term::atom(am::UNDERSCORE)
            && variable_number(head).is_none()
        {
            return Err(one("Match head is invalid in this context."));
        }
        if dialect == Dialect::Trace && head.is_cons() && head.list_len().is_none() {
            return Err(one(&format!(
                "Match expression part {} is not a proper list.",
                print::display(head)
            )));
        }
        let pattern = match head.as_tuple().filter(|_| dialect == Dialect::Trace) {
            // Arguments are a list, and a tuple of them is as good.
            Some(arguments) => {
                let arguments = arguments
                    .elements()
                    .iter()
                    .map(|&argument| compiler.pattern(argument))
                    .collect();
                Pattern::List(arguments, Box::new(Pattern::Constant(Term::NIL)))
            }
            None => compiler.pattern(head),
        };
        let guards = compiler.sequence(guards);
        if dialect == Dialect::Table && !body.is_cons() {
            compiler.errors.push("Body clause does not return anything.".into());
            return Err(CompileError::Invalid(compiler.errors));
        }
        compiler.in_body = true;
        let body = compiler.sequence(body);
        if !compiler.errors.is_empty() {
            return Err(CompileError::Invalid(compiler.errors));
        }
        clauses.push(Clause { head: pattern, guards, body, variables: count });
    }
    let variables_max = clauses.iter().map(|clause| clause.variables).max().unwrap_or(0);
    Ok(Program { clauses, dialect, variables_max, source })
}

/// Compiles `[{Pattern, [], [Result]}]`, as the short forms of `ets` mean it.
pub fn compile_pattern(
    vm: &'static Vm,
    pattern: Term,
    result: Expr,
) -> Result<Program, CompileError> {
    /// The list and the tuple around the pattern.
    const LEVELS_AROUND: usize = 2;
    if is_deeper(pattern, NESTING_MAX - LEVELS_AROUND) {
        return Err(CompileError::TooDeep);
    }
    let source = OwnedTerm::new(pattern);
    let mut compiler = Compiler::new(vm, Dialect::Table, source.term);
    let head = compiler.pattern(source.term);
    if !compiler.errors.is_empty() {
        return Err(CompileError::Invalid(compiler.errors));
    }
    let variables = compiler.variables.len();
    let clause = Clause { head, guards: Vec::new(), body: vec![result], variables };
    Ok(Program { clauses: vec![clause], dialect: Dialect::Table, variables_max: variables, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarmrt_term::{Alloc, FragmentHeap};

    #[test]
    fn depth_is_that_of_tuples_lists_tails_and_maps() {
        let mut heap = FragmentHeap::new();
        let flat = heap.list(&[Term::NIL; 100_000]);
        assert!(!is_deeper(flat, 0), "a long list is not deep");
        let mut tuple = heap.tuple(&[]);
        let mut list = heap.list(&[Term::NIL]);
        let mut map = map::empty(&mut heap);
        for depth in 0..5 {
            for term in [tuple, list, map] {
                assert!(!is_deeper(term, depth) && (depth == 0 || is_deeper(term, depth - 1)));
            }
            tuple = heap.tuple(&[Term::NIL, tuple]);
            list = heap.list(&[Term::NIL, list]);
            map = map::from_pairs(&mut heap, &[(Term::NIL, map)]);
        }
        let improper = heap.list_with_tail(&[Term::NIL, Term::NIL], tuple);
        assert!(is_deeper(improper, 5) && !is_deeper(improper, 6), "the tail is one level down");
    }

    #[test]
    fn variables_are_found_wherever_they_stand() {
        let mut heap = FragmentHeap::new();
        let [first, second, third] = ["$1", "$2", "$30"].map(|name| Term::atom(Atom::new(name)));
        let tail = heap.list_with_tail(&[first, Term::NIL], third);
        let value = map::from_pairs(&mut heap, &[(first, second)]);
        let pattern = heap.tuple(&[tail, value, first]);
        let mut found = Variables::new();
        collect_variables(pattern, &mut found);
        assert_eq!(found[..], [1, 30, 2, 1]);
        for (term, constant) in
            [(tail, false), (value, false), (Term::atom(am::UNDERSCORE), false), (Term::NIL, true)]
        {
            let within = heap.tuple(&[Term::NIL, term]);
            assert_eq!((is_constant(term), is_constant(within)), (constant, constant));
        }
    }
}
