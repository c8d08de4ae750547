//! The process dictionary.

use swarmrt_machine::{BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am, equal_exact};

fn or_undefined(value: Option<Term>) -> BifResult {
    Ok(value.unwrap_or(Term::atom(am::UNDEFINED)))
}

// The compiler has it as an instruction.
#[bif("erlang:get/1", guard)]
fn get_1(p: &mut Process, key: Term) -> BifResult {
    or_undefined(p.dictionary.get(key))
}

#[bif("erlang:put/2")]
fn put(p: &mut Process, key: Term, value: Term) -> BifResult {
    or_undefined(p.dictionary.put(key, value))
}

#[bif("erlang:erase/1")]
fn erase_1(p: &mut Process, key: Term) -> BifResult {
    or_undefined(p.dictionary.erase(key))
}

fn pairs(p: &mut Process) -> Term {
    let pairs: Vec<(Term, Term)> = p.dictionary.iter().collect();
    pairs.iter().rev().fold(Term::NIL, |list, &(key, value)| {
        let pair = p.tuple(&[key, value]);
        p.cons(pair, list)
    })
}

#[bif("erlang:get/0")]
fn get_0(p: &mut Process) -> BifResult {
    Ok(pairs(p))
}

#[bif("erlang:erase/0")]
fn erase_0(p: &mut Process) -> BifResult {
    let all = pairs(p);
    p.dictionary.clear();
    Ok(all)
}

#[bif("erlang:get_keys/0")]
fn get_keys_0(p: &mut Process) -> BifResult {
    let keys: Vec<Term> = p.dictionary.iter().map(|(key, _)| key).collect();
    Ok(p.list(&keys))
}

#[bif("erlang:get_keys/1")]
fn get_keys_1(p: &mut Process, value: Term) -> BifResult {
    let keys: Vec<Term> = p
        .dictionary
        .iter()
        .filter(|&(_, other)| equal_exact(other, value))
        .map(|(key, _)| key)
        .collect();
    Ok(p.list(&keys))
}
