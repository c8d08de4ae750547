//! Evaluating guards and bodies.

use super::{Dialect, Expr, TraceAct};
use crate::{sequential, trace};
use swarmrt_heap::copy_whole;
use swarmrt_machine::Process;
use swarmrt_machine::process::trace::{Tracing, flags};
use swarmrt_term::{Alloc, Term, am, atom, map};

/// A run of a program on one term.
pub(super) struct Run<'a> {
    pub(super) p: &'a mut Process,
    pub(super) subject: Term,
    pub(super) variables: &'a [Term],
    pub(super) dialect: Dialect,
    /// The session in which a call is being traced; `None` where a specification is only tested.
    pub(super) session: Option<u32>,
    /// `{return_trace}` was evaluated.
    pub(super) returns: bool,
    /// `{exception_trace}` was evaluated.
    pub(super) exceptions: bool,
}

/// An error in a guard or body.
struct Failed;

/// What a function of specifications for calls comes to where there is no call.
fn tested(act: TraceAct) -> Term {
    match act {
        TraceAct::Caller | TraceAct::CallerLine => Term::atom(am::UNDEFINED),
        TraceAct::Stacktrace => Term::NIL,
        TraceAct::Trace => Term::bool(false),
        TraceAct::Enable | TraceAct::Disable | TraceAct::Silent => Term::bool(true),
    }
}

impl Run<'_> {
    fn boolean(&mut self, expr: &Expr) -> Result<bool, Failed> {
        self.eval(expr)?.as_bool().ok_or(Failed)
    }

    fn values(&mut self, exprs: &[Expr]) -> Result<Vec<Term>, Failed> {
        exprs.iter().map(|expr| self.eval(expr)).collect()
    }

    /// The value of an expression; it may refer to the subject and to constants.
    fn eval(&mut self, expr: &Expr) -> Result<Term, Failed> {
        Ok(match expr {
            Expr::Constant(term) => *term,
            Expr::Variable(variable) => self.variables[*variable],
            Expr::Whole => self.subject,
            Expr::Variables => self.p.list(self.variables),
            Expr::Tuple(elements) => {
                let elements = self.values(elements)?;
                self.p.tuple(&elements)
            }
            Expr::List(elements, tail) => {
                let elements = self.values(elements)?;
                let tail = self.eval(tail)?;
                self.p.list_with_tail(&elements, tail)
            }
            Expr::Map(pairs) => {
                let pairs = pairs
                    .iter()
                    .map(|(key, value)| Ok((self.eval(key)?, self.eval(value)?)))
                    .collect::<Result<Vec<_>, _>>()?;
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
            Expr::Returns(name) => {
                let is_return = *name == atom!("return_trace");
                self.returns |= is_return;
                self.exceptions |= !is_return;
                Term::bool(true)
            }
            Expr::ProcessDump => crate::backtrace::process_dump(self.p),
            Expr::ControlWord(value) => {
                let before = crate::system_info::trace_control_word(self.p);
                if let Some(value) = value {
                    let word = self.eval(value)?;
                    if self.session.is_some() {
                        let word = word.as_small().filter(|word| (0..1 << 32).contains(word));
                        crate::system_info::set_trace_control_word(self.p.vm, word.ok_or(Failed)?);
                    }
                }
                before
            }
            Expr::Trace(act, args) => {
                let args = self.values(args)?;
                match self.session {
                    Some(session) => self.act(*act, &args, session)?,
                    None => tested(*act),
                }
            }
            Expr::SetSeqToken(both) => {
                let part = self.eval(&both.0)?;
                let value = self.eval(&both.1);
                if self.session.is_some() {
                    sequential::seq_trace(self.p, part, value?).map_err(|_| Failed)?
                } else {
                    // Whatever the value is: it is not set.
                    sequential::seq_trace_info(self.p, part).map_err(|_| Failed)?
                }
            }
            Expr::GetSeqToken => sequential::current(self.p),
            Expr::IsSeqTrace => Term::bool(!sequential::current(self.p).is_nil()),
        })
    }

    /// Asks or changes how the process is traced in a session.
    fn act(&mut self, act: TraceAct, args: &[Term], session: u32) -> Result<Term, Failed> {
        Ok(match (act, args) {
            (TraceAct::Caller, _) => match self.p.calling_function() {
                Some(mfa) => self.p.mfa(mfa),
                None => Term::atom(am::UNDEFINED),
            },
            (TraceAct::CallerLine, _) => trace::caller_line(self.p),
            (TraceAct::Stacktrace, args) => {
                let depth = match args {
                    [depth] => depth
                        .as_small()
                        .and_then(|depth| usize::try_from(depth).ok())
                        .ok_or(Failed)?,
                    _ => self.p.vm.backtrace_depth(),
                };
                self.p.trace_of_callers(depth)
            }
            (TraceAct::Silent, [value]) => {
                if let (Some(on), Some(now)) = (value.as_bool(), self.p.trace.of(session)) {
                    let flag = flags::SILENT;
                    let flags = if on { now.flags | flag } else { now.flags & !flag };
                    self.p.trace.set(Tracing { flags, ..now });
                }
                *value
            }
            (TraceAct::Enable | TraceAct::Disable, _) => {
                let (whom, flag) = match *args {
                    [whom, flag] => (whom, flag),
                    [flag] => (self.p.pid(), flag),
                    _ => return Err(Failed),
                };
                let flag = trace::flag_of(flag).ok_or(Failed)?;
                let (off, on) = if act == TraceAct::Enable { (0, flag) } else { (flag, 0) };
                let tracer = self.p.trace.of(session).map(|now| now.tracer);
                trace::change_traced(self.p, whom, session, (off, on), tracer).ok_or(Failed)?;
                Term::bool(true)
            }
            (TraceAct::Trace, _) => {
                let (whom, off, on) = match *args {
                    [whom, off, on] => (whom, off, on),
                    [off, on] => (self.p.pid(), off, on),
                    _ => return Err(Failed),
                };
                let (off, named) = trace::parse(off).map_err(|_| Failed)?;
                let (on, named_last) = trace::parse(on).map_err(|_| Failed)?;
                let own = self.p.trace.of(session).map(|now| now.tracer);
                let tracer = named_last.or(named).or(own);
                if tracer.is_some_and(|tracer| !trace::is_tracer(self.p.vm, tracer)) {
                    return Err(Failed);
                }
                let changed = trace::change_traced(self.p, whom, session, (off, on), tracer);
                Term::bool(changed.ok_or(Failed)?)
            }
            (TraceAct::Silent, _) => return Err(Failed),
        })
    }

    /// The last operand, whose value is that of the whole, unless one before it is `decisive`.
    fn short_cut<'a>(
        &mut self,
        parts: &'a [Expr],
        decisive: bool,
    ) -> Result<Option<&'a Expr>, Failed> {
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
                let elements = elements
                    .iter()
                    .map(|element| self.build(element))
                    .collect::<Result<Vec<_>, _>>()?;
                self.p.tuple(&elements)
            }
            Expr::List(elements, tail) => {
                let elements = elements
                    .iter()
                    .map(|element| self.build(element))
                    .collect::<Result<Vec<_>, _>>()?;
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

    pub(super) fn guards_hold(&mut self, guards: &[Expr]) -> bool {
        guards
            .iter()
            .all(|guard| matches!(self.eval(guard), Ok(value) if value == Term::bool(true)))
    }

    /// The value of the last expression, `'EXIT'` when it fails. Of a trace specification: what its
    /// last message says, `true` without one.
    pub(super) fn body(&mut self, body: &[Expr]) -> Term {
        let mut value = Term::bool(true);
        for expr in body {
            let built = |built: Result<Term, Failed>| built.unwrap_or(Term::atom(am::CAP_EXIT));
            if let Expr::Message(message) = expr {
                value = built(self.build(message));
                continue;
            }
            let built = built(self.build(expr));
            if self.dialect == Dialect::Table {
                value = built;
            }
        }
        value
    }
}
