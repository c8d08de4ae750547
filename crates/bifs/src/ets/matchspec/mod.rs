//! Match specifications: compiled once, then run on every object.
//!
//! See "Match Specifications in Erlang" in the ERTS User's Guide. A clause's head becomes a
//! [`Pattern`], guards and body become [`Expr`]essions. Variables are numbered in the order of
//! their names' numbers. Terms that guards work on stay where the object lives; what a body returns
//! is copied to the process.

mod compile;
mod pattern;
mod run;
#[cfg(test)]
mod tests;

pub use compile::{compile, compile_pattern};

use crate::ets::object::OwnedTerm;
use compile::list_parts;
use run::Run;
use swarmrt_machine::bif::BifEntry;
use swarmrt_machine::code::breakpoints::Decision;
use swarmrt_machine::{BifResult, Process};
use swarmrt_term::{Alloc, Atom, Term, am, atom, equal_exact};

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

/// A guard or an expression of a body, compiled.
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
    /// What asks or changes how the call that is being traced is traced.
    Trace(TraceAct, Vec<Expr>),
    /// `set_seq_token`, which only says here what the part is that it would set: which part, the
    /// value.
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
    /// `{get_tcw}`, or `{set_tcw, Expr}`, which changes nothing where a specification is only
    /// tested.
    ControlWord(Option<Box<Expr>>),
}

/// A function of specifications for calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceAct {
    Caller,
    CallerLine,
    Stacktrace,
    Silent,
    Enable,
    Disable,
    Trace,
}

/// One clause of a match specification, `{Head, Guards, Body}`, compiled.
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
                Expr::Message(message) => {
                    matches!(**message, Expr::Returns(asked) if asked == name)
                }
                _ => false,
            })
        };
        [atom!("return_trace"), atom!("exception_trace")]
            .into_iter()
            .filter(|&name| asks(name))
            .map(Term::atom)
            .collect()
    }
}

/// A compiled specification.
pub struct Program {
    pub clauses: Vec<Clause>,
    dialect: Dialect,
    variables_max: usize,
    /// What it was compiled from; its constants are part of it.
    source: OwnedTerm,
}

// SAFETY: constants live in `source`, which never changes.
unsafe impl Send for Program {}
// SAFETY: constants live in `source`, which never changes.
unsafe impl Sync for Program {}

/// What is wrong with a specification, in the words of `erlang:match_spec_test/3`.
pub type Errors = Vec<String>;

/// Why a specification cannot be compiled.
pub enum CompileError {
    Invalid(Errors),
    /// It is nested more deeply than [`NESTING_MAX`].
    TooDeep,
}

impl Program {
    /// What it was compiled from.
    pub fn source(&self) -> Term {
        self.source.term
    }
    /// Finds the first clause that the term matches.
    fn clause_for<R>(
        &self,
        p: &mut Process,
        term: Term,
        then: impl FnOnce(&mut Run<'_>, &Clause) -> R,
    ) -> Option<R> {
        self.clause_in_session(p, term, None, then)
    }

    /// As [`clause_for`](Self::clause_for), with effects on the tracing of a call in a session.
    fn clause_in_session<R>(
        &self,
        p: &mut Process,
        term: Term,
        session: Option<u32>,
        then: impl FnOnce(&mut Run<'_>, &Clause) -> R,
    ) -> Option<R> {
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
            let mut run = Run {
                p,
                subject: term,
                variables: &variables[..clause.variables],
                dialect: self.dialect,
                session,
                returns: false,
                exceptions: false,
            };
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

    /// What the specification says of a call with the arguments in that list, in a session.
    pub fn decide(&self, p: &mut Process, args: Term, session: u32) -> Decision {
        let decided = self.clause_in_session(p, args, Some(session), |run, clause| {
            let message = run.body(&clause.body);
            Decision { message, returns: run.returns, exceptions: run.exceptions }
        });
        decided.unwrap_or(Decision { message: Term::bool(false), ..Decision::TOLD })
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
                        None => clause
                            .head
                            .constant_key(keypos)
                            .is_some_and(|constant| rebuilds_constant(key, constant)),
                    }
            }),
            Some(Expr::Constant(term)) => match (term.as_tuple(), clause.head.constant_key(keypos))
            {
                (Some(tuple), Some(key)) => {
                    tuple.elements().get(keypos).is_some_and(|&element| equal_exact(element, key))
                }
                _ => false,
            },
            _ => false,
        })
    }
}

/// `erlang:match_spec_test/3`.
pub fn test(p: &mut Process, subject: Term, specification: Term, dialect: Dialect) -> BifResult {
    Ok(match compile(p.vm, specification, dialect) {
        Ok(program) => {
            let run = program
                .clause_for(p, subject, |run, clause| (run.body(&clause.body), clause.returns()));
            let (value, returns) = run.unwrap_or((Term::bool(false), Vec::new()));
            let returns = p.list(&returns);
            p.tuple(&[Term::atom(am::OK), value, returns, Term::NIL])
        }
        Err(error) => {
            let errors = match error {
                CompileError::Invalid(errors) => errors,
                CompileError::TooDeep => {
                    vec!["Match specification is nested too deeply.".to_owned()]
                }
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

/// Whether an expression makes again what the pattern matched.
fn rebuilds(expr: &Expr, pattern: &Pattern) -> bool {
    let all = |exprs: &[Expr], patterns: &[Pattern]| {
        exprs.len() == patterns.len()
            && exprs.iter().zip(patterns).all(|(expr, pattern)| rebuilds(expr, pattern))
    };
    match (expr, pattern) {
        (Expr::Variable(a), Pattern::Bind(b) | Pattern::Same(b)) => a == b,
        (_, Pattern::Constant(term)) => rebuilds_constant(expr, *term),
        (Expr::Tuple(exprs), Pattern::Tuple(patterns)) => all(exprs, patterns),
        (Expr::List(exprs, end), Pattern::List(patterns, tail)) => {
            all(exprs, patterns) && rebuilds(end, tail)
        }
        _ => false,
    }
}

fn rebuilds_constant(expr: &Expr, constant: Term) -> bool {
    match expr {
        Expr::Constant(term) => equal_exact(*term, constant),
        Expr::Tuple(exprs) => constant.as_tuple().is_some_and(|tuple| {
            tuple.arity() == exprs.len()
                && exprs
                    .iter()
                    .zip(tuple.elements())
                    .all(|(expr, &element)| rebuilds_constant(expr, element))
        }),
        Expr::List(exprs, end) => {
            let (elements, tail) = list_parts(constant);
            elements.len() == exprs.len()
                && exprs
                    .iter()
                    .zip(elements)
                    .all(|(expr, element)| rebuilds_constant(expr, element))
                && rebuilds_constant(end, tail)
        }
        _ => false,
    }
}

/// `{element, KeyPos, '$_'}`.
fn is_key_of_whole(expr: &Expr, keypos: usize) -> bool {
    match expr {
        Expr::Call(_, args) => {
            matches!(&args[..], [Expr::Constant(position), Expr::Whole] if position.as_small() == Some(keypos as i64 + 1))
        }
        _ => false,
    }
}
