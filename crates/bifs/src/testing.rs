//! What the tests of built-ins share: a machine whose schedulers never start, a process of it, and
//! terms from their text.

use std::iter::Peekable;
use std::str::Chars;
use swarmrt_machine::process::spawn::{SpawnOptions, Start, spawn};
use swarmrt_machine::vm::Config;
use swarmrt_machine::{BifResult, Process, Vm, pin};
use swarmrt_term::{Alloc, Atom, Mfa, Release, Term, am, map, print};

/// A process that only the calling thread touches, on a machine of its own.
pub(crate) fn process() -> &'static mut Process {
    let vm = Vm::new(Config::without_threads(Release::OLDEST));
    crate::register(vm, "13.0");
    let start = Start::Apply { module: am::ERLANG, function: am::APPLY, args: Term::NIL };
    let pid = spawn(vm, None, start, SpawnOptions::default()).expect("there is room");
    let _guard = pin();
    let cell = vm.processes.get(pid).expect("it is alive");
    // SAFETY: no scheduler runs, and this is the only reference that is ever made to it.
    unsafe { &mut *cell.process.get() }
}

/// Calls a built-in, as `module:name`.
pub(crate) fn call(p: &mut Process, name: &str, args: &[Term]) -> BifResult {
    let (module, function) = name.split_once(':').expect("module and function");
    let mfa =
        Mfa { module: Atom::new(module), function: Atom::new(function), arity: args.len() as u32 };
    let number = p.vm.bifs.number(mfa).unwrap_or_else(|| panic!("there is no {name}"));
    p.vm.bifs.get(number).call(p, args)
}

pub(crate) fn text(term: Term) -> String {
    print::display(term).to_string()
}

/// The term that a text of Erlang stands for: integers, floats, atoms, tuples, lists, maps.
pub(crate) fn term(p: &mut Process, text: &str) -> Term {
    let mut reader = Reader { p, rest: text.chars().peekable() };
    let term = reader.term();
    assert_eq!(reader.next_sign(), None, "behind the term in {text}");
    term
}

struct Reader<'a> {
    p: &'a mut Process,
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn next_sign(&mut self) -> Option<char> {
        while self.rest.next_if(|sign| sign.is_whitespace()).is_some() {}
        self.rest.peek().copied()
    }

    fn takes(&mut self, sign: char) -> bool {
        self.next_sign() == Some(sign) && self.rest.next().is_some()
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        std::iter::from_fn(|| self.rest.next_if(|sign| belongs(*sign))).collect()
    }

    fn term(&mut self) -> Term {
        match self.next_sign().expect("a term") {
            '{' => {
                self.rest.next();
                let elements = self.items('}');
                self.p.tuple(&elements)
            }
            '[' => {
                self.rest.next();
                let elements = self.items(']');
                let tail = if self.takes('|') { self.last(']') } else { Term::NIL };
                self.p.list_with_tail(&elements, tail)
            }
            '#' => {
                self.rest.next();
                assert!(self.takes('{'), "a map");
                let items = self.items('}');
                let pairs: Vec<_> = items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                map::from_pairs(&mut self.p.heap, &pairs)
            }
            '\'' => {
                self.rest.next();
                let name = self.word(|sign| sign != '\'');
                self.rest.next();
                Term::atom(Atom::new(&name))
            }
            sign if sign == '-' || sign.is_ascii_digit() => {
                let number = self.word(|sign| sign == '-' || sign == '.' || sign.is_ascii_digit());
                match number.parse() {
                    Ok(integer) => self.p.int(integer),
                    Err(_) => self.p.float(number.parse().expect("a number")),
                }
            }
            _ => {
                let name = self.word(|sign| sign == '_' || sign.is_ascii_alphanumeric());
                assert!(!name.is_empty(), "no term begins with {:?}", self.rest.peek());
                Term::atom(Atom::new(&name))
            }
        }
    }

    /// Terms up to the end or a tail; what stands between them is no matter.
    fn items(&mut self, end: char) -> Vec<Term> {
        let mut items = Vec::new();
        while !self.takes(end) {
            if self.next_sign() == Some('|') {
                break;
            }
            items.push(self.term());
            while self.takes(',') || self.takes('=') || self.takes('>') {}
        }
        items
    }

    fn last(&mut self, end: char) -> Term {
        let term = self.term();
        assert!(self.takes(end), "{end} behind the tail");
        term
    }
}
