//! Match specifications: compiled once, then run on every object.
//!
//! See "Match Specifications in Erlang" in the ERTS User's Guide. A clause's head becomes a [`Pattern`], guards and
//! body become [`Expr`]essions. Variables are numbered in the order of their names' numbers. Terms that guards
//! work on stay where the object lives; what a body returns is copied to the process.

use super::object::OwnedTerm;
use crate::sequential;
use smallvec::{SmallVec, smallvec};
use std::cmp::Ordering;
use std::ops::RangeInclusive;
use swarmrt_heap::copy_whole;
use swarmrt_machine::bif::BifEntry;
use swarmrt_machine::{BifResult, Process, Vm};
use swarmrt_term::compare::{Family, family};
use swarmrt_term::release::{self, Release};
use swarmrt_term::{Alloc, Atom, Mfa, Term, am, atom, compare, equal_exact, map, print, stop};

/// What a specification is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    Table,
    Trace,
}

/// The head of a clause, or a part of it.
pub enum Pattern {
    Any,
    /// The first occurrence of a variable binds it, a later one compares.
    Bind(usize),
    Same(usize),
    /// A term without variables.
    Constant(Term),
    Tuple(Vec<Pattern>),
    /// Elements and the tail after them.
    List(Vec<Pattern>, Box<Pattern>),
    /// The keys that must be there, with what their values must match.
    Map(Vec<(Term, Pattern)>),
}

pub enum Expr {
    Constant(Term),
    Variable(usize),
    /// `'$_'`: what is being matched.
    Whole,
    /// `'$$'`: all variables.
    Variables,
    Tuple(Vec<Expr>),
    List(Vec<Expr>, Box<Expr>),
    Map(Vec<(Expr, Expr)>),
    /// A built-in that may stand in a guard.
    Call(&'static BifEntry, Vec<Expr>),
    /// Strict `and` and `or`, of any number of booleans.
    All(Vec<Expr>),
    AnyOf(Vec<Expr>),
    AndAlso(Vec<Expr>),
    OrElse(Vec<Expr>),
    /// A tracing function: its effect is the tracer's business.
    Trace(Vec<Expr>, Term),
    /// `set_seq_token`, which only says here what the part is that it would set: which part, the value.
    SetSeqToken(Box<(Expr, Expr)>),
    GetSeqToken,
    IsSeqTrace,
    /// `{message, Expr}`.
    Message(Box<Expr>),
    /// `{display, Expr}`: writes the value.
    Display(Box<Expr>),
    /// `{return_trace}` or `{exception_trace}`, by name.
    Returns(Atom),
    ProcessDump,
    /// `{get_tcw}`, or `{set_tcw, Expr}`, which changes nothing where a specification is only tested.
    ControlWord(Option<Box<Expr>>),
}

pub struct Clause {
    pub head: Pattern,
    guards: Vec<Expr>,
    body: Vec<Expr>,
    variables: usize,
}

impl Clause {
    /// Which of `return_trace` and `exception_trace` the body asks for.
    fn returns(&self) -> Vec<Term> {
        let asks = |name: Atom| {
            self.body.iter().any(|expr| match expr {
                Expr::Returns(asked) => *asked == name,
                Expr::Message(message) => matches!(**message, Expr::Returns(asked) if asked == name),
                _ => false,
            })
        };
        [atom!("return_trace"), atom!("exception_trace")].into_iter().filter(|&name| asks(name)).map(Term::atom).collect()
    }
}

/// A compiled specification.
pub struct Program {
    pub clauses: Vec<Clause>,
    dialect: Dialect,
    variables_max: usize,
    /// What it was compiled from; its constants are part of it.
    _source: OwnedTerm,
}

// SAFETY: constants live in `source`, which never changes.
unsafe impl Send for Program {}
// SAFETY: as above.
unsafe impl Sync for Program {}

/// What is wrong with a specification, in the words of `erlang:match_spec_test/3`.
pub type Errors = Vec<String>;

/// Why a specification cannot be compiled.
pub enum CompileError {
    Invalid(Errors),
    /// It is nested more deeply than [`NESTING_MAX`].
    TooDeep,
}

/// Levels of tuples, lists and maps within each other: compiling, running and dropping a program recurse so deep.
const NESTING_MAX: usize = 500;

/// The elements of a list, and what stands in place of its end.
fn list_parts(list: Term) -> (Vec<Term>, Term) {
    let (mut elements, mut rest) = (Vec::new(), list);
    while let Some(cell) = rest.as_cons() {
        stop::step();
        elements.push(cell.head());
        rest = cell.tail();
    }
    (elements, rest)
}

/// Whether a term is nested in more than so many levels. Recurses as deep, without memory for it: a specification that
/// is given as a term is compiled for each call.
fn is_deeper(term: Term, levels: usize) -> bool {
    stop::step();
    let inside = |child: Term| !child.is_immediate() && (levels == 0 || is_deeper(child, levels - 1));
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

/// The number of a variable's name: `'$7'`. One that begins with a zero is an atom, and as in OTP numbers wrap around.
fn variable_number(term: Term) -> Option<u32> {
    let digits = term.as_atom()?.name().strip_prefix('$')?.as_bytes();
    let is_number = digits == b"0" || matches!(digits, [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    if !is_number {
        return None;
    }
    let number = digits.iter().fold(0i32, |number, &digit| number.wrapping_mul(10).wrapping_add(i32::from(digit - b'0')));
    u32::try_from(number).ok()
}

/// The numbers of a head's variables, which is not nested more deeply than [`NESTING_MAX`]: as often as they occur.
fn collect_variables(head: Term, found: &mut Variables) {
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

/// Whether a pattern, which is not nested more deeply than [`NESTING_MAX`], has neither variables nor `_`.
fn is_constant(term: Term) -> bool {
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
type Variables = SmallVec<[u32; 8]>;

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
            return if std::mem::replace(&mut self.bound[variable], true) { Pattern::Same(variable) } else { Pattern::Bind(variable) };
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
            return Pattern::Tuple(tuple.elements().iter().map(|&element| self.pattern(element)).collect());
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
            return Expr::Map(map::iter(term).map(|(key, value)| (self.expression(key), self.expression(value))).collect());
        }
        let Some(tuple) = term.as_tuple() else { return Expr::Constant(term) };
        let elements = tuple.elements();
        match *elements {
            [inner] if inner.is_tuple() => {
                let inner = inner.as_tuple().expect("just tested");
                Expr::Tuple(self.expressions(inner.elements()))
            }
            [name, ref args @ ..] if name.is_atom() && variable_number(name).is_none() => self.call(name.as_atom().expect("just tested"), args, term),
            _ => self.wrong(format!("{} is neither a function call, nor a tuple (tuples are written {{{{ ... }}}}).", print::display(term))),
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
                    _ => self.wrong(format!("Special form 'const' called with more than one argument in {}.", print::display(whole))),
                };
            }
            form @ ("and" | "or" | "andalso" | "orelse") => {
                if arguments.is_empty() {
                    return self.wrong(format!("Special form '{form}' called without arguments in {}.", print::display(whole)));
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
                return self.wrong(format!("Special form 'self' called with arguments in {}.", print::display(whole)));
            }
            form => {
                if let Some(special) = TRACE_FORMS.iter().find(|special| special.name == form) {
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
            None => return self.wrong(format!("Function {}/{arity} does_not_exist.", print::display(Term::atom(name)))),
            Some(false) => {
                return self.wrong(format!("Function {}/{arity} cannot be called in this context.", print::display(Term::atom(name))));
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
                    None => self.wrong(format!("Function {}/{arity} does_not_exist.", print::display(Term::atom(name)))),
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
            let how = if *form.arity.end() == 0 { "arguments" } else { "wrong number of arguments" };
            return self.wrong(format!("Special form '{}' called with {how} in {}.", form.name, print::display(whole)));
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
                let result = match name {
                    "caller" | "caller_line" => Term::atom(am::UNDEFINED),
                    "trace" => Term::bool(false),
                    "enable_trace" | "disable_trace" | "silent" => Term::bool(true),
                    _ => Term::NIL,
                };
                Expr::Trace(args, result)
            }
        }
    }
}

/// What only specifications of traces may call, and, but for `is_seq_trace`, only in their bodies.
struct TraceForm {
    name: &'static str,
    arity: RangeInclusive<usize>,
}

const TRACE_FORMS: [TraceForm; 14] = [
    TraceForm { name: "message", arity: 1..=1 },
    TraceForm { name: "caller", arity: 0..=0 },
    TraceForm { name: "caller_line", arity: 0..=0 },
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
            "is_atom" | "is_float" | "is_integer" | "is_list" | "is_number" | "is_pid" | "is_port" | "is_reference" | "is_tuple" | "is_map" | "is_binary"
            | "is_function" | "not" | "abs" | "hd" | "length" | "node" | "round" | "size" | "bit_size" | "byte_size" | "map_size" | "tl" | "trunc" | "float"
            | "+" | "-" | "bnot",
            1,
        ) => Release::R25,
        (
            "element" | "map_get" | "is_map_key" | "binary_part" | "+" | "-" | "*" | "/" | "div" | "rem" | "band" | "bor" | "bxor" | "bsl" | "bsr" | ">" | ">="
            | "<" | "=<" | "=:=" | "==" | "=/=" | "/=" | "xor",
            2,
        ) => Release::R25,
        ("is_record" | "binary_part", 3) => Release::R25,
        ("is_bitstring" | "is_boolean" | "tuple_size" | "ceil" | "floor", 1) | ("is_function" | "max" | "min", 2) => Release::R26,
        ("is_integer", 3) => Release::R29,
        _ => return false,
    };
    release::current() >= since
}

/// Compiles a specification.
pub fn compile(vm: &'static Vm, specification: Term, dialect: Dialect) -> Result<Program, CompileError> {
    if is_deeper(specification, NESTING_MAX) {
        return Err(CompileError::TooDeep);
    }
    let source = OwnedTerm::new(specification);
    let one = |text: &str| CompileError::Invalid(vec![text.to_owned()]);
    if !source.term.is_cons() {
        return Err(one("Match programs are not in a list."));
    }
    let list = source.term.list_to_vec().ok_or_else(|| one("Match programs are not in a proper list."))?;
    let mut clauses = Vec::with_capacity(list.len());
    for clause in list {
        let parts = clause.as_tuple().filter(|parts| parts.arity() == 3).ok_or_else(|| one("Match program part is not a tuple of arity 3."))?;
        let (head, guards, body) = (parts.get(0), parts.get(1), parts.get(2));
        let mut compiler = Compiler::new(vm, dialect, head);
        let count = compiler.variables.len();
        if dialect == Dialect::Trace && !head.is_list() && head.as_tuple().is_none() && head != Term::atom(am::UNDERSCORE) && variable_number(head).is_none() {
            return Err(one("Match head is invalid in this context."));
        }
        if dialect == Dialect::Trace && head.is_cons() && head.list_len().is_none() {
            return Err(one(&format!("Match expression part {} is not a proper list.", print::display(head))));
        }
        let pattern = match head.as_tuple().filter(|_| dialect == Dialect::Trace) {
            // Arguments are a list, and a tuple of them is as good.
            Some(arguments) => {
                let arguments = arguments.elements().iter().map(|&argument| compiler.pattern(argument)).collect();
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
    Ok(Program { clauses, dialect, variables_max, _source: source })
}

impl Pattern {
    /// Whether the term matches; binds variables.
    pub fn matches(&self, term: Term, variables: &mut [Term]) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Bind(variable) => {
                variables[*variable] = term;
                true
            }
            Pattern::Same(variable) => equal_exact(variables[*variable], term),
            Pattern::Constant(constant) => term == *constant || !constant.is_immediate() && equal_exact(*constant, term),
            Pattern::Tuple(elements) => term.as_tuple().is_some_and(|tuple| {
                tuple.arity() == elements.len() && elements.iter().zip(tuple.elements()).all(|(pattern, &element)| pattern.matches(element, variables))
            }),
            Pattern::List(elements, tail) => {
                let mut rest = term;
                for pattern in elements {
                    let Some(cell) = rest.as_cons() else { return false };
                    if !pattern.matches(cell.head(), variables) {
                        return false;
                    }
                    rest = cell.tail();
                }
                tail.matches(rest, variables)
            }
            Pattern::Map(pairs) => {
                term.is_map() && pairs.iter().all(|(key, pattern)| map::get(term, *key).is_some_and(|value| pattern.matches(value, variables)))
            }
        }
    }

    /// Where keys that match stand in term order, as far as the pattern says before its first open part.
    pub fn compare_prefix(&self, key: Term) -> Ordering {
        self.compare_open(key).0
    }

    /// The order, and whether what follows is open.
    fn compare_open(&self, key: Term) -> (Ordering, bool) {
        match self {
            Pattern::Any | Pattern::Bind(_) | Pattern::Same(_) | Pattern::Map(_) => (Ordering::Equal, true),
            Pattern::Constant(constant) => (compare(*constant, key), false),
            Pattern::Tuple(elements) => {
                let Some(tuple) = key.as_tuple() else { return (Family::Tuple.cmp(&family(key)), false) };
                match elements.len().cmp(&tuple.arity()) {
                    Ordering::Equal => {}
                    order => return (order, false),
                }
                for (pattern, &element) in elements.iter().zip(tuple.elements()) {
                    let (order, open) = pattern.compare_open(element);
                    if open || order.is_ne() {
                        return (order, open);
                    }
                }
                (Ordering::Equal, false)
            }
            Pattern::List(elements, tail) => {
                let mut rest = key;
                for pattern in elements {
                    let Some(cell) = rest.as_cons() else { return (Family::List.cmp(&family(rest)), false) };
                    let (order, open) = pattern.compare_open(cell.head());
                    if open || order.is_ne() {
                        return (order, open);
                    }
                    rest = cell.tail();
                }
                tail.compare_open(rest)
            }
        }
    }

    /// The key that alone can match, when the head has no variable there.
    pub fn bound_key(&self, keypos: usize) -> Option<Term> {
        match self.key_pattern(keypos)? {
            Pattern::Constant(key) => Some(*key),
            _ => None,
        }
    }

    /// The part of the head that the key has to match.
    pub fn key_pattern(&self, keypos: usize) -> Option<&Pattern> {
        match self {
            Pattern::Tuple(elements) => elements.get(keypos),
            _ => None,
        }
    }

    /// For a head without any variable.
    pub fn constant_key(&self, keypos: usize) -> Option<Term> {
        match self {
            Pattern::Constant(term) => term.as_tuple().filter(|tuple| keypos < tuple.arity()).map(|tuple| tuple.get(keypos)),
            _ => self.bound_key(keypos),
        }
    }

    /// Whether keys that match have a common beginning in term order.
    pub fn is_partly_bound(&self) -> bool {
        match self {
            Pattern::Any | Pattern::Bind(_) | Pattern::Same(_) | Pattern::Map(_) => false,
            Pattern::Constant(_) | Pattern::Tuple(_) | Pattern::List(..) => true,
        }
    }
}

/// A run of a program on one term.
struct Run<'a> {
    p: &'a mut Process,
    subject: Term,
    variables: &'a [Term],
    dialect: Dialect,
}

/// An error in a guard or body.
struct Failed;

impl Run<'_> {
    fn boolean(&mut self, expr: &Expr) -> Result<bool, Failed> {
        self.eval(expr)?.as_bool().ok_or(Failed)
    }

    /// The value of an expression; it may refer to the subject and to constants.
    fn eval(&mut self, expr: &Expr) -> Result<Term, Failed> {
        Ok(match expr {
            Expr::Constant(term) => *term,
            Expr::Variable(variable) => self.variables[*variable],
            Expr::Whole => self.subject,
            Expr::Variables => self.p.list(self.variables),
            Expr::Tuple(elements) => {
                let elements = elements.iter().map(|element| self.eval(element)).collect::<Result<Vec<_>, _>>()?;
                self.p.tuple(&elements)
            }
            Expr::List(elements, tail) => {
                let elements = elements.iter().map(|element| self.eval(element)).collect::<Result<Vec<_>, _>>()?;
                let tail = self.eval(tail)?;
                self.p.list_with_tail(&elements, tail)
            }
            Expr::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| Ok((self.eval(key)?, self.eval(value)?))).collect::<Result<Vec<_>, _>>()?;
                map::from_pairs(self.p, &pairs)
            }
            Expr::Call(entry, args) => {
                let mut values = [Term::NIL; 3];
                for (slot, arg) in values.iter_mut().zip(args) {
                    *slot = self.eval(arg)?;
                }
                entry.call(self.p, &values[..args.len()]).map_err(|_| Failed)?
            }
            Expr::All(parts) => {
                let mut result = true;
                for part in parts {
                    result &= self.boolean(part)?;
                }
                Term::bool(result)
            }
            Expr::AnyOf(parts) => {
                let mut result = false;
                for part in parts {
                    result |= self.boolean(part)?;
                }
                Term::bool(result)
            }
            Expr::AndAlso(parts) => match self.short_cut(parts, false)? {
                Some(last) => self.eval(last)?,
                None => Term::bool(false),
            },
            Expr::OrElse(parts) => match self.short_cut(parts, true)? {
                Some(last) => self.eval(last)?,
                None => Term::bool(true),
            },
            Expr::Message(message) => {
                self.eval(message)?;
                Term::bool(true)
            }
            Expr::Display(value) => {
                let value = self.eval(value)?;
                crate::terms::write_line(value);
                Term::bool(true)
            }
            Expr::Returns(_) => Term::bool(true),
            Expr::ProcessDump => crate::backtrace::process_dump(self.p),
            Expr::ControlWord(value) => {
                if let Some(value) = value {
                    self.eval(value)?;
                }
                crate::system_info::trace_control_word(self.p)
            }
            Expr::Trace(args, result) => {
                for arg in args {
                    self.eval(arg)?;
                }
                *result
            }
            Expr::SetSeqToken(both) => {
                let part = self.eval(&both.0)?;
                // Whatever the value is: it is not set.
                let _ = self.eval(&both.1);
                sequential::seq_trace_info(self.p, part).map_err(|_| Failed)?
            }
            Expr::GetSeqToken => sequential::current(self.p),
            Expr::IsSeqTrace => Term::bool(!sequential::current(self.p).is_nil()),
        })
    }

    /// The last operand, whose value is that of the whole, unless one before it is `decisive`.
    fn short_cut<'a>(&mut self, parts: &'a [Expr], decisive: bool) -> Result<Option<&'a Expr>, Failed> {
        let (last, parts) = parts.split_last().expect("there is an operand");
        for part in parts {
            if self.boolean(part)? == decisive {
                return Ok(None);
            }
        }
        Ok(Some(last))
    }

    /// The value of an expression, all of it on the heap of the process.
    fn build(&mut self, expr: &Expr) -> Result<Term, Failed> {
        Ok(match expr {
            Expr::Constant(term) => self.own(*term),
            Expr::Variable(variable) => self.own(self.variables[*variable]),
            Expr::Whole => self.own(self.subject),
            Expr::Variables => {
                let variables = self.variables;
                variables.iter().rev().fold(Term::NIL, |list, &value| {
                    let value = self.own(value);
                    self.p.cons(value, list)
                })
            }
            Expr::Tuple(elements) => {
                let elements = elements.iter().map(|element| self.build(element)).collect::<Result<Vec<_>, _>>()?;
                self.p.tuple(&elements)
            }
            Expr::List(elements, tail) => {
                let elements = elements.iter().map(|element| self.build(element)).collect::<Result<Vec<_>, _>>()?;
                let tail = self.build(tail)?;
                self.p.list_with_tail(&elements, tail)
            }
            Expr::Map(_) | Expr::Call(..) | Expr::AndAlso(_) | Expr::OrElse(_) => {
                let value = self.eval(expr)?;
                self.own(value)
            }
            _ => self.eval(expr)?,
        })
    }

    fn own(&mut self, term: Term) -> Term {
        if term.is_immediate() { term } else { copy_whole(term, self.p) }
    }

    fn guards_hold(&mut self, guards: &[Expr]) -> bool {
        guards.iter().all(|guard| matches!(self.eval(guard), Ok(value) if value == Term::bool(true)))
    }

    /// The value of the last expression, `'EXIT'` when it fails. Of a trace specification: what its last
    /// message says, `true` without one.
    fn body(&mut self, body: &[Expr]) -> Term {
        let mut value = Term::bool(true);
        for expr in body {
            let built = self.build(expr).unwrap_or(Term::atom(am::CAP_EXIT));
            if self.dialect == Dialect::Table {
                value = built;
            } else if let Expr::Message(message) = expr {
                value = self.build(message).unwrap_or(Term::atom(am::CAP_EXIT));
            }
        }
        value
    }
}

impl Program {
    /// Finds the first clause that the term matches.
    fn clause_for<R>(&self, p: &mut Process, term: Term, then: impl FnOnce(&mut Run<'_>, &Clause) -> R) -> Option<R> {
        let mut few = [Term::NIL; 8];
        let mut many = Vec::new();
        let variables = if self.variables_max <= few.len() {
            &mut few[..]
        } else {
            many.resize(self.variables_max, Term::NIL);
            &mut many[..]
        };
        for clause in &self.clauses {
            if !clause.head.matches(term, variables) {
                continue;
            }
            let mut run = Run { p, subject: term, variables: &variables[..clause.variables], dialect: self.dialect };
            if run.guards_hold(&clause.guards) {
                return Some(then(&mut run, clause));
            }
        }
        None
    }

    /// What the specification makes of a term, on the heap of the process.
    pub fn run(&self, p: &mut Process, term: Term) -> Option<Term> {
        self.clause_for(p, term, |run, clause| run.body(&clause.body))
    }

    /// Whether the specification answers `true`.
    pub fn says_true(&self, p: &mut Process, term: Term) -> bool {
        self.clause_for(p, term, |run, clause| match clause.body.last() {
            Some(Expr::Constant(value)) if clause.body.len() == 1 => *value == Term::bool(true),
            _ => run.body(&clause.body) == Term::bool(true),
        })
        .unwrap_or(false)
    }

    /// Whether every body makes a tuple with the key of the object that it replaces.
    pub fn keeps_key(&self, keypos: usize) -> bool {
        self.clauses.iter().all(|clause| match clause.body.last() {
            Some(Expr::Whole) => true,
            Some(Expr::Tuple(elements)) => elements.get(keypos).is_some_and(|key| {
                is_key_of_whole(key, keypos)
                    || match clause.head.key_pattern(keypos) {
                        Some(pattern) => rebuilds(key, pattern),
                        None => clause.head.constant_key(keypos).is_some_and(|constant| rebuilds_constant(key, constant)),
                    }
            }),
            Some(Expr::Constant(term)) => match (term.as_tuple(), clause.head.constant_key(keypos)) {
                (Some(tuple), Some(key)) => tuple.elements().get(keypos).is_some_and(|&element| equal_exact(element, key)),
                _ => false,
            },
            _ => false,
        })
    }
}

/// Whether an expression makes again what the pattern matched.
fn rebuilds(expr: &Expr, pattern: &Pattern) -> bool {
    let all = |exprs: &[Expr], patterns: &[Pattern]| exprs.len() == patterns.len() && exprs.iter().zip(patterns).all(|(expr, pattern)| rebuilds(expr, pattern));
    match (expr, pattern) {
        (Expr::Variable(a), Pattern::Bind(b) | Pattern::Same(b)) => a == b,
        (_, Pattern::Constant(term)) => rebuilds_constant(expr, *term),
        (Expr::Tuple(exprs), Pattern::Tuple(patterns)) => all(exprs, patterns),
        (Expr::List(exprs, end), Pattern::List(patterns, tail)) => all(exprs, patterns) && rebuilds(end, tail),
        _ => false,
    }
}

fn rebuilds_constant(expr: &Expr, constant: Term) -> bool {
    match expr {
        Expr::Constant(term) => equal_exact(*term, constant),
        Expr::Tuple(exprs) => constant
            .as_tuple()
            .is_some_and(|tuple| tuple.arity() == exprs.len() && exprs.iter().zip(tuple.elements()).all(|(expr, &element)| rebuilds_constant(expr, element))),
        Expr::List(exprs, end) => {
            let (elements, tail) = list_parts(constant);
            elements.len() == exprs.len() && exprs.iter().zip(elements).all(|(expr, element)| rebuilds_constant(expr, element)) && rebuilds_constant(end, tail)
        }
        _ => false,
    }
}

/// `{element, KeyPos, '$_'}`.
fn is_key_of_whole(expr: &Expr, keypos: usize) -> bool {
    match expr {
        Expr::Call(_, args) => matches!(&args[..], [Expr::Constant(position), Expr::Whole] if position.as_small() == Some(keypos as i64 + 1)),
        _ => false,
    }
}

/// Compiles `[{Pattern, [], [Result]}]`, as the short forms of `ets` mean it.
pub fn compile_pattern(vm: &'static Vm, pattern: Term, result: Expr) -> Result<Program, CompileError> {
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
    Ok(Program { clauses: vec![clause], dialect: Dialect::Table, variables_max: variables, _source: source })
}

/// `erlang:match_spec_test/3`.
pub fn test(p: &mut Process, subject: Term, specification: Term, dialect: Dialect) -> BifResult {
    Ok(match compile(p.vm, specification, dialect) {
        Ok(program) => {
            let run = program.clause_for(p, subject, |run, clause| (run.body(&clause.body), clause.returns()));
            let (value, returns) = run.unwrap_or((Term::bool(false), Vec::new()));
            let returns = p.list(&returns);
            p.tuple(&[Term::atom(am::OK), value, returns, Term::NIL])
        }
        Err(error) => {
            let errors = match error {
                CompileError::Invalid(errors) => errors,
                CompileError::TooDeep => vec!["Match specification is nested too deeply.".to_owned()],
            };
            let errors: Vec<Term> = errors
                .iter()
                .map(|text| {
                    let text = p.string(text);
                    p.tuple(&[Term::atom(am::ERROR), text])
                })
                .collect();
            let errors = p.list(&errors);
            p.tuple(&[Term::atom(am::ERROR), errors])
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarmrt_term::FragmentHeap;

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
        for (term, constant) in [(tail, false), (value, false), (Term::atom(am::UNDERSCORE), false), (Term::NIL, true)] {
            let within = heap.tuple(&[Term::NIL, term]);
            assert_eq!((is_constant(term), is_constant(within)), (constant, constant));
        }
    }
}
