//! Match specifications: compiled once, then run on every object.
//!
//! See "Match Specifications in Erlang" in the ERTS User's Guide. A clause's head becomes a [`Pattern`], guards and
//! body become [`Expr`]essions. Variables are numbered in the order of their names' numbers. Terms that guards
//! work on stay where the object lives; what a body returns is copied to the process.

use super::object::OwnedTerm;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use swarmrt_heap::copy_whole;
use swarmrt_machine::bif::BifFn;
use swarmrt_machine::{BifResult, Process, Vm};
use swarmrt_term::compare::{FAMILY_LIST, FAMILY_TUPLE, family};
use swarmrt_term::{Alloc, FragmentHeap, Mfa, Term, am, atom, compare, equal_exact, map};

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
    Call(BifFn, Vec<Expr>),
    /// Strict `and` and `or`, of any number of booleans.
    All(Vec<Expr>),
    AnyOf(Vec<Expr>),
    AndAlso(Vec<Expr>),
    OrElse(Vec<Expr>),
    /// A tracing function: its effect is the tracer's business.
    Trace(Vec<Expr>, Term),
    /// `{message, Expr}`.
    Message(Box<Expr>),
}

pub struct Clause {
    pub head: Pattern,
    guards: Vec<Expr>,
    body: Vec<Expr>,
    variables: usize,
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
        elements.push(cell.head());
        rest = cell.tail();
    }
    (elements, rest)
}

fn is_too_deep(term: Term) -> bool {
    let mut pending = vec![(term, 0)];
    while let Some((term, depth)) = pending.pop() {
        if depth > NESTING_MAX {
            return true;
        }
        if term.is_cons() {
            let (elements, tail) = list_parts(term);
            pending.extend(elements.into_iter().chain([tail]).filter(|element| !element.is_immediate()).map(|element| (element, depth + 1)));
        } else if let Some(tuple) = term.as_tuple() {
            pending.extend(tuple.elements().iter().filter(|element| !element.is_immediate()).map(|&element| (element, depth + 1)));
        } else if term.is_map() {
            pending.extend(map::iter(term).flat_map(|(key, value)| [(key, depth + 1), (value, depth + 1)]));
        }
    }
    false
}

/// The number of a variable's name: `'$7'`.
fn variable_number(term: Term) -> Option<u32> {
    let digits = term.as_atom()?.name().strip_prefix('$')?;
    let plain = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn collect_variables(head: Term, found: &mut BTreeMap<u32, usize>) {
    let mut pending = vec![head];
    while let Some(term) = pending.pop() {
        if let Some(number) = variable_number(term) {
            found.insert(number, 0);
        } else if let Some(cell) = term.as_cons() {
            pending.push(cell.head());
            pending.push(cell.tail());
        } else if let Some(tuple) = term.as_tuple() {
            pending.extend_from_slice(tuple.elements());
        } else if term.is_map() {
            pending.extend(map::iter(term).map(|(_, value)| value));
        }
    }
}

/// Whether a pattern has neither variables nor `_`.
fn is_constant(term: Term) -> bool {
    let mut pending = vec![term];
    while let Some(term) = pending.pop() {
        if term == Term::atom(am::UNDERSCORE) || variable_number(term).is_some() {
            return false;
        } else if let Some(cell) = term.as_cons() {
            pending.push(cell.head());
            pending.push(cell.tail());
        } else if let Some(tuple) = term.as_tuple() {
            pending.extend_from_slice(tuple.elements());
        } else if term.is_map() {
            // A map matches by the keys it names, not as a whole.
            return false;
        }
    }
    true
}

struct Compiler {
    vm: &'static Vm,
    dialect: Dialect,
    variables: BTreeMap<u32, usize>,
    bound: Vec<bool>,
    in_body: bool,
    errors: Errors,
}

impl Compiler {
    fn pattern(&mut self, term: Term) -> Pattern {
        if term == Term::atom(am::UNDERSCORE) {
            return Pattern::Any;
        }
        if let Some(number) = variable_number(term) {
            let variable = self.variables[&number];
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
                if !is_constant(key) && !key.is_map() {
                    self.errors.push(format!("Variable {} found in map key.", key.as_atom().map_or("_", swarmrt_term::Atom::name)));
                }
                (key, self.pattern(value))
            })
            .collect();
        Pattern::Map(pairs)
    }

    fn expressions(&mut self, terms: &[Term]) -> Vec<Expr> {
        terms.iter().map(|&term| self.expression(term)).collect()
    }

    fn expression(&mut self, term: Term) -> Expr {
        if term.is_cons() {
            let (elements, tail) = list_parts(term);
            let elements = self.expressions(&elements);
            return Expr::List(elements, Box::new(self.expression(tail)));
        }
        if let Some(number) = variable_number(term) {
            return match self.variables.get(&number) {
                Some(&variable) => Expr::Variable(variable),
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
            [name, value] if name == Term::atom(atom!("const")) => Expr::Constant(value),
            [name, ref args @ ..] if name.is_atom() => self.call(name.as_atom().expect("just tested").name(), args),
            _ => {
                self.errors.push(if elements.is_empty() {
                    "Empty tuple in match expression.".into()
                } else {
                    "Illegal function or tuple in match expression.".into()
                });
                Expr::Constant(Term::NIL)
            }
        }
    }

    fn call(&mut self, name: &str, arguments: &[Term]) -> Expr {
        let args = self.expressions(arguments);
        match (name, args.len()) {
            ("and", 1..) => return Expr::All(args),
            ("or", 1..) => return Expr::AnyOf(args),
            ("andalso", 1..) => return Expr::AndAlso(args),
            ("orelse", 1..) => return Expr::OrElse(args),
            ("is_seq_trace", 0) => return Expr::Constant(Term::bool(false)),
            ("get_tcw", 0) => return Expr::Constant(Term::small(0)),
            ("is_record", 2) => {
                self.errors.push("Function is_record/2 does_not_exist.".into());
                return Expr::Constant(Term::NIL);
            }
            _ => {}
        }
        if self.dialect == Dialect::Trace && self.in_body && name == "message" && args.len() == 1 {
            return Expr::Message(Box::new(args.into_iter().next().expect("just counted")));
        }
        if self.dialect == Dialect::Trace && self.in_body && is_trace_function(name, args.len()) {
            let result = match name {
                "caller" => Term::atom(am::UNDEFINED),
                "message" | "return_trace" | "exception_trace" | "set_seq_token" | "enable_trace" | "disable_trace" | "trace" | "silent" | "process_dump" => {
                    Term::bool(true)
                }
                _ => Term::NIL,
            };
            return Expr::Trace(args, result);
        }
        if is_guard_function(name, args.len()) {
            let mfa = Mfa { module: am::ERLANG, function: swarmrt_term::Atom::new(name), arity: args.len() as u32 };
            if let Some(number) = self.vm.bifs.number(mfa) {
                return Expr::Call(self.vm.bifs.get(number).function, args);
            }
        }
        self.errors.push(format!("Function {name}/{} does_not_exist.", args.len()));
        Expr::Constant(Term::NIL)
    }
}

fn is_trace_function(name: &str, arity: usize) -> bool {
    matches!(
        (name, arity),
        ("message", 1)
            | ("caller", 0)
            | ("return_trace", 0)
            | ("exception_trace", 0)
            | ("process_dump", 0)
            | ("display", 1)
            | ("set_tcw", 1)
            | ("silent", 1)
            | ("set_seq_token", 2)
            | ("get_seq_token", 0)
            | ("enable_trace" | "disable_trace", 1 | 2)
            | ("trace", 2 | 3)
    )
}

fn is_guard_function(name: &str, arity: usize) -> bool {
    match arity {
        0 => matches!(name, "self" | "node"),
        1 => matches!(
            name,
            "is_atom"
                | "is_float"
                | "is_integer"
                | "is_list"
                | "is_number"
                | "is_pid"
                | "is_port"
                | "is_reference"
                | "is_tuple"
                | "is_map"
                | "is_binary"
                | "is_bitstring"
                | "is_boolean"
                | "is_function"
                | "not"
                | "abs"
                | "hd"
                | "length"
                | "node"
                | "round"
                | "size"
                | "bit_size"
                | "byte_size"
                | "tuple_size"
                | "map_size"
                | "tl"
                | "trunc"
                | "float"
                | "ceil"
                | "floor"
                | "+"
                | "-"
                | "bnot"
        ),
        2 => matches!(
            name,
            "element"
                | "map_get"
                | "is_map_key"
                | "is_function"
                | "binary_part"
                | "+"
                | "-"
                | "*"
                | "/"
                | "div"
                | "rem"
                | "band"
                | "bor"
                | "bxor"
                | "bsl"
                | "bsr"
                | ">"
                | ">="
                | "<"
                | "=<"
                | "=:="
                | "=="
                | "=/="
                | "/="
                | "xor"
                | "max"
                | "min"
        ),
        3 => matches!(name, "is_record" | "binary_part"),
        _ => false,
    }
}

/// Compiles a specification.
pub fn compile(vm: &'static Vm, specification: Term, dialect: Dialect) -> Result<Program, CompileError> {
    if is_too_deep(specification) {
        return Err(CompileError::TooDeep);
    }
    let source = OwnedTerm::new(specification);
    let one = |text: &str| CompileError::Invalid(vec![text.to_owned()]);
    let list = source.term.list_to_vec().ok_or_else(|| one("Match programs are not in a list."))?;
    if list.is_empty() {
        return Err(one("Match expression is empty."));
    }
    let mut clauses = Vec::with_capacity(list.len());
    let mut errors = Errors::new();
    for clause in list {
        let parts = clause.as_tuple().filter(|parts| parts.arity() == 3).ok_or_else(|| one("Match program part is not a 3-tuple."))?;
        let (head, guards, body) = (parts.get(0), parts.get(1), parts.get(2));
        let mut variables = BTreeMap::new();
        collect_variables(head, &mut variables);
        for (position, slot) in variables.values_mut().enumerate() {
            *slot = position;
        }
        let count = variables.len();
        let mut compiler = Compiler { vm, dialect, variables, bound: vec![false; count], in_body: false, errors: Vec::new() };
        if dialect == Dialect::Trace && !head.is_list() && head != Term::atom(am::UNDERSCORE) && variable_number(head).is_none() {
            return Err(one("Match head is invalid."));
        }
        let pattern = compiler.pattern(head);
        let (Some(guards), Some(body)) = (guards.list_to_vec(), body.list_to_vec()) else { return Err(one("Match expression is not a list.")) };
        if body.is_empty() && dialect == Dialect::Table {
            return Err(one("Body clause does not return anything."));
        }
        let guards = compiler.expressions(&guards);
        compiler.in_body = true;
        let body = compiler.expressions(&body);
        errors.append(&mut compiler.errors);
        clauses.push(Clause { head: pattern, guards, body, variables: count });
    }
    if !errors.is_empty() {
        return Err(CompileError::Invalid(errors));
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
                let Some(tuple) = key.as_tuple() else { return (FAMILY_TUPLE.cmp(&family(key)), false) };
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
                    let Some(cell) = rest.as_cons() else { return (FAMILY_LIST.cmp(&family(rest)), false) };
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
            Expr::Call(function, args) => {
                let mut values = [Term::NIL; 3];
                for (slot, arg) in values.iter_mut().zip(args) {
                    *slot = self.eval(arg)?;
                }
                function(self.p, &values[..args.len()]).map_err(|_| Failed)?
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
            Expr::AndAlso(parts) => {
                for part in parts {
                    if !self.boolean(part)? {
                        return Ok(Term::bool(false));
                    }
                }
                Term::bool(true)
            }
            Expr::OrElse(parts) => {
                for part in parts {
                    if self.boolean(part)? {
                        return Ok(Term::bool(true));
                    }
                }
                Term::bool(false)
            }
            Expr::Message(message) => {
                self.eval(message)?;
                Term::bool(true)
            }
            Expr::Trace(args, result) => {
                for arg in args {
                    self.eval(arg)?;
                }
                *result
            }
        })
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
            Expr::Map(_) | Expr::Call(..) => {
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

/// `[{Pattern, [], [Result]}]`, as the short forms of `ets` mean it.
pub fn pattern_specification(heap: &mut FragmentHeap, pattern: Term, result: Term) -> Term {
    let body = heap.list(&[result]);
    let clause = heap.tuple(&[pattern, Term::NIL, body]);
    heap.list(&[clause])
}

/// `erlang:match_spec_test/3`.
pub fn test(p: &mut Process, subject: Term, specification: Term, dialect: Dialect) -> BifResult {
    Ok(match compile(p.vm, specification, dialect) {
        Ok(program) => {
            let value = program.run(p, subject).unwrap_or(Term::bool(false));
            p.tuple(&[Term::atom(am::OK), value, Term::NIL, Term::NIL])
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
