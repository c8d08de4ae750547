//! Sequential tracing (`seq_trace`): tokens go along with messages from process to process, and the
//! system's tracer is told of the messages that carry one.
//!
//! A process without a token has `None` in [`Process::sequential`], which is all that sending and
//! receiving look at. A signal that carries a token has [`TOKEN_BIT`] in its kind, and its root is
//! the pair of the token and of what the kind says. In the mailbox the token is where the sender
//! was (`Fragment::from`), which nobody asks for there.

use crate::process::Process;
use crate::process::links::Tag;
use crate::process::spawn::Start;
use crate::process::trace;
use crate::signal::{self, SignalKind};
use crate::vm::Vm;
use std::sync::atomic::{AtomicU64, Ordering};
use swarmrt_heap::Fragment;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, atom};

/// In a signal's kind: a token comes with it.
pub(crate) const TOKEN_BIT: u32 = 1 << 31;

/// What a token asks to be reported, and how: the bits of the first element of OTP's tokens. The
/// names are those of `seq_trace:set_token/2`.
pub mod flags {
    /// Messages sent.
    pub const SEND: u32 = 1;
    /// Messages received.
    pub const RECEIVE: u32 = 1 << 1;
    /// Calls of `seq_trace:print/1,2`.
    pub const PRINT: u32 = 1 << 2;
    /// Events carry the time as `erlang:timestamp/0` has it.
    pub const TIMESTAMP: u32 = 1 << 3;
    /// Events carry monotonic time and a unique number that rises strictly.
    pub const STRICT_MONOTONIC_TIMESTAMP: u32 = 1 << 4;
    /// Events carry monotonic time.
    pub const MONOTONIC_TIMESTAMP: u32 = 1 << 5;
    /// All three; only one of them is set at a time.
    pub const TIMESTAMPS: u32 = TIMESTAMP | STRICT_MONOTONIC_TIMESTAMP | MONOTONIC_TIMESTAMP;
}

/// A token.
pub struct Token {
    /// Of [`flags`].
    pub flags: u32,
    pub label: Tag,
    /// The number of the message that it came with, and of the one before that.
    pub serial: i64,
    pub previous: i64,
    /// The sender.
    pub from: Term,
}

impl Token {
    /// `{Flags, Label, Serial, From, Previous}`.
    pub fn to_term<A: Alloc + ?Sized>(&self, heap: &mut A) -> Term {
        let label = swarmrt_heap::copy_whole(self.label.term(), heap);
        let (serial, previous) = (heap.int(self.serial), heap.int(self.previous));
        heap.tuple(&[Term::small(i64::from(self.flags)), label, serial, self.from, previous])
    }
    /// The token that such a term is; `None` for anything else.
    pub fn of(term: Term) -> Option<Token> {
        let tuple = term.as_tuple().filter(|tuple| tuple.arity() == 5)?;
        Some(Token {
            flags: u32::try_from(tuple.get(0).as_small()?).ok()?,
            label: Tag::new(tuple.get(1)),
            serial: tuple.get(2).as_small()?,
            from: tuple.get(3),
            previous: tuple.get(4).as_small()?,
        })
    }
}

/// The state of a process that has, or had, a token.
#[derive(Default)]
pub struct Sequential {
    pub token: Option<Token>,
    /// The last number given to a message.
    pub clock: i64,
    /// The number of the last message received.
    pub last: i64,
}

/// The process that gets the events, as set by `seq_trace:set_system_tracer/1`.
#[derive(Default)]
pub struct SystemTracer(AtomicU64);

impl SystemTracer {
    /// The number of the tracer's pid; `None` when there is none, or it has ended.
    pub fn get(&self, vm: &Vm) -> Option<u64> {
        let pid = self.0.load(Ordering::Acquire);
        (pid != 0 && vm.processes.get(pid).is_some()).then_some(pid)
    }
    /// Sets the tracer. Number 0 stands for none, so that the first process cannot be one.
    pub fn set(&self, pid: Option<u64>) {
        self.0.store(pid.unwrap_or(0), Ordering::Release);
    }
}

/// Tells the tracer `{seq_trace, Label, Event}`, with the time where the token asks for it.
fn tell(vm: &'static Vm, who: u64, token: &Token, event: impl FnOnce(&mut FragmentHeap) -> Term) {
    let Some(tracer) = vm.sequential_tracer.get(vm).filter(|&tracer| tracer != who) else { return };
    let mut heap = FragmentHeap::new();
    let event = event(&mut heap);
    let mut elements = vec![Term::atom(atom!("seq_trace")), token.label.term(), event];
    let kinds = [
        (flags::TIMESTAMP, trace::flags::TIMESTAMP),
        (flags::MONOTONIC_TIMESTAMP, trace::flags::MONOTONIC_TIMESTAMP),
        (flags::STRICT_MONOTONIC_TIMESTAMP, trace::flags::STRICT_MONOTONIC_TIMESTAMP),
    ];
    let wanted = kinds
        .iter()
        .filter(|(flag, _)| token.flags & flag != 0)
        .fold(0, |all, (_, kind)| all | kind);
    elements.extend(trace::timestamp(vm, wanted, &mut heap));
    let message = heap.tuple(&elements);
    signal::send_message(vm, Term::NONE, tracer, message);
}

/// `{Kind, {Previous, Serial}, From, To, Message}`.
fn event(heap: &mut FragmentHeap, kind: Atom, token: &Token, to: Term, message: Term) -> Term {
    let (previous, serial) = (heap.int(token.previous), heap.int(token.serial));
    let serial = heap.tuple(&[previous, serial]);
    heap.tuple(&[Term::atom(kind), serial, token.from, to, message])
}

impl Process {
    /// Numbers the message that is about to be sent with the token. `false` when there is no token.
    fn count_sent(&mut self) -> bool {
        let pid = self.pid();
        let Some(sequential) = &mut self.sequential else { return false };
        let Some(token) = &mut sequential.token else { return false };
        sequential.clock += 1;
        token.serial = sequential.clock;
        token.previous = sequential.last;
        token.from = pid;
        true
    }

    /// A message is about to be sent: counts it, tells the tracer, and gives the token to go with
    /// it.
    pub(crate) fn token_to_send(
        &mut self,
        to: Term,
        message: Term,
        heap: &mut FragmentHeap,
    ) -> Option<Term> {
        if !self.count_sent() {
            return None;
        }
        let token = self.sequential.as_ref()?.token.as_ref()?;
        if token.flags & flags::SEND != 0 {
            tell(self.vm, self.id(), token, |heap| event(heap, atom!("send"), token, to, message));
        }
        Some(token.to_term(heap))
    }

    /// A message was taken out of the mailbox: its token is the process's from now on.
    #[cold]
    pub(crate) fn take_token(&mut self, message: &Fragment) {
        if message.kind & TOKEN_BIT == 0 {
            // What the system sends by itself leaves the token as it is.
            if !message.from.is_none()
                && let Some(sequential) = &mut self.sequential
            {
                sequential.token = None;
            }
            return;
        }
        let Some(token) = Token::of(message.from) else { return };
        if token.flags & flags::RECEIVE != 0 {
            let to = self.pid();
            tell(self.vm, self.id(), &token, |heap| {
                event(heap, atom!("receive"), &token, to, message.root)
            });
        }
        let sequential = self.sequential.get_or_insert_default();
        sequential.last = token.serial;
        sequential.clock = sequential.clock.max(token.serial);
        sequential.token = Some(token);
    }

    /// `seq_trace:print/1,2`: tells the tracer, if the token asks for it and has that label.
    pub fn print_sequential(&mut self, label: Option<Term>, info: Term) -> bool {
        if !self.count_sent() {
            return false;
        }
        let Some(token) = self.sequential.as_ref().and_then(|sequential| sequential.token.as_ref())
        else {
            return false;
        };
        let other =
            label.is_some_and(|label| !swarmrt_term::equal_exact(label, token.label.term()));
        if token.flags & flags::PRINT == 0 || other {
            return false;
        }
        tell(self.vm, self.id(), token, |heap| event(heap, atom!("print"), token, Term::NIL, info));
        true
    }

    /// The token goes with what the parent asks for, as if it had sent the child a message and got
    /// one.
    #[cold]
    pub(crate) fn hand_token_on(&mut self, child: &mut Process, start: Start, options: &[Term]) {
        let reference = self.make_ref();
        let mut heap = FragmentHeap::new();
        let (mfa, args) = match start {
            Start::Apply { module, function, args } => {
                let arity = Term::small(args.list_len().unwrap_or(0) as i64);
                (heap.tuple(&[Term::atom(module), Term::atom(function), arity]), args)
            }
            Start::Fun(fun) => {
                let mfa =
                    heap.tuple(&[Term::atom(am::ERLANG), Term::atom(am::APPLY), Term::small(2)]);
                (mfa, heap.list(&[fun, Term::NIL]))
            }
        };
        let options = heap.list(options);
        let reply_tag = Term::atom(atom!("spawn_reply"));
        let request = [
            Term::atom(atom!("spawn_request")),
            reference,
            self.pid(),
            self.group_leader,
            mfa,
            options,
            reply_tag,
            args,
        ];
        let request = heap.tuple(&request);
        let Some(token) = self.token_to_send(child.pid(), request, &mut heap).and_then(Token::of)
        else {
            return;
        };
        child.sequential = Some(Box::new(Sequential {
            clock: token.serial,
            last: token.serial,
            token: Some(token),
        }));
        let reply = heap.tuple(&[reply_tag, reference, Term::atom(am::OK), child.pid()]);
        child.token_to_send(self.pid(), reply, &mut heap);
    }

    /// Neither the process nor a message in its mailbox has a token any more.
    pub fn forget_tokens(&mut self) {
        self.sequential = None;
        self.mailbox.forget_tokens();
    }
}

/// Sends with the sender's token, and tells the tracer; `None` where there is no token. `kind` is
/// that of a signal whose root is the term alone; `shown` makes the message that the tracer sees,
/// of the sender's pid.
#[inline]
pub(crate) fn send(
    p: &mut Process,
    kind: SignalKind,
    to: u64,
    term: Term,
    shown: impl FnOnce(&mut FragmentHeap, Term) -> Term,
) -> Option<bool> {
    p.sequential.as_ref()?;
    let mut heap = FragmentHeap::new();
    let shown = shown(&mut heap, p.pid());
    let token = p.token_to_send(Term::pid(to), shown, &mut heap)?;
    let pair = heap.tuple(&[token, term]);
    Some(signal::send_with_token(p.vm, kind, p.pid(), to, pair))
}
