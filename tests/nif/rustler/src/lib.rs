//! Functions of every kind that `rustler` offers, for `nif_rustler.erl`.

use rustler::env::SavedTerm;
use rustler::{
    Atom, BigInt, Binary, Encoder, Env, Error, ListIterator, LocalPid, MapIterator, Monitor, NewBinary, NifException,
    NifMap, NifRecord, NifResult, NifStruct, NifTaggedEnum, NifTuple, NifUnitEnum, NifUntaggedEnum, OwnedBinary,
    OwnedEnv, Reference, Resource, ResourceArc, Term,
};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

mod atoms {
    rustler::atoms! { ok, destroyed, down, from_thread, done, range, what = "what's that" }
}

// ---- Terms ----

#[rustler::nif]
fn add(a: i64, b: i64) -> i64 {
    a.wrapping_add(b)
}

#[rustler::nif]
fn numbers(a: u8, b: i32, c: u64, d: f64) -> (u8, i32, u64, f64) {
    (a, b, c, d)
}

#[rustler::nif]
fn wide(number: i128) -> i128 {
    number.wrapping_add(1)
}

#[rustler::nif]
fn big(number: BigInt) -> BigInt {
    number.clone() * number + 1
}

#[rustler::nif]
fn kind(term: Term) -> String {
    format!("{:?}", term.get_type())
}

#[rustler::nif]
fn shown(term: Term) -> String {
    format!("{term:?}")
}

#[rustler::nif]
fn order<'a>(a: Term<'a>, b: Term<'a>) -> (bool, bool, bool) {
    (a == b, a < b, a > b)
}

#[rustler::nif]
fn hash(term: Term) -> u64 {
    term.hash_internal(7)
}

#[rustler::nif]
fn phash2(term: Term) -> u32 {
    term.hash_phash2()
}

#[rustler::nif]
fn sum_list(items: ListIterator) -> NifResult<i64> {
    items.map(|item| item.decode::<i64>()).sum()
}

#[rustler::nif]
fn reversed<'a>(list: Term<'a>) -> NifResult<Term<'a>> {
    list.list_reverse()
}

#[rustler::nif]
fn new_atom<'a>(env: Env<'a>, text: &str) -> NifResult<Atom> {
    Atom::from_str(env, text)
}

#[rustler::nif]
fn existing_atom<'a>(env: Env<'a>, text: &str) -> NifResult<Option<Atom>> {
    Ok(Atom::existing_from_bytes(env, text.as_bytes()).ok())
}

#[rustler::nif]
fn odd_atom() -> Atom {
    atoms::what()
}

#[rustler::nif]
fn optional(value: Option<i64>) -> Option<i64> {
    value.filter(|number| number % 2 == 0)
}

#[rustler::nif]
fn make_reference<'a>(env: Env<'a>) -> Reference<'a> {
    env.make_ref()
}

// ---- Maps ----

#[rustler::nif]
fn map_round<'a>(map: Term<'a>) -> NifResult<(usize, i64, Term<'a>)> {
    let items = MapIterator::new(map).ok_or(Error::BadArg)?;
    let sum = items.map(|(_, value)| value.decode::<i64>()).sum::<NifResult<i64>>()?;
    let changed = map.map_put("new", sum)?.map_remove(1)?.map_update("old", 0)?;
    Ok((map.map_size()?, sum, changed))
}

#[rustler::nif]
fn map_both_ways(map: Term) -> NifResult<bool> {
    let forward: Vec<(Term, Term)> = MapIterator::new(map).ok_or(Error::BadArg)?.collect();
    let mut backward: Vec<(Term, Term)> = MapIterator::new(map).ok_or(Error::BadArg)?.rev().collect();
    backward.reverse();
    Ok(forward == backward)
}

#[rustler::nif]
fn hash_map(map: HashMap<String, Vec<i64>>) -> HashMap<String, i64> {
    map.into_iter().map(|(name, values)| (name, values.iter().sum())).collect()
}

// ---- Derived codecs ----

#[derive(NifMap)]
struct Point {
    x: i64,
    y: i64,
}

#[derive(NifTuple)]
struct Pair {
    left: i64,
    right: String,
}

#[derive(NifRecord)]
#[tag = "range"]
struct Range {
    from: i64,
    to: i64,
}

#[derive(NifStruct)]
#[module = "SwarmRT.Person"]
struct Person {
    name: String,
    age: u32,
}

#[derive(NifException)]
#[module = "SwarmRT.Failure"]
struct Failure {
    message: String,
}

#[derive(NifUnitEnum)]
enum Colour {
    Red,
    DarkGreen,
}

#[derive(NifTaggedEnum)]
enum Shape {
    Nothing,
    Circle(i64),
    Rectangle { width: i64, height: i64 },
}

#[derive(NifUntaggedEnum)]
enum Either {
    Number(i64),
    Text(String),
}

#[rustler::nif]
fn mirrored(point: Point) -> Point {
    Point { x: point.y, y: point.x }
}

#[rustler::nif]
fn paired(pair: Pair) -> Pair {
    Pair { left: pair.left + 1, right: pair.right.to_uppercase() }
}

#[rustler::nif]
fn widened(range: Range) -> Range {
    Range { from: range.from - 1, to: range.to + 1 }
}

#[rustler::nif]
fn older(person: Person) -> Person {
    Person { age: person.age + 1, ..person }
}

#[rustler::nif]
fn other_colour(colour: Colour) -> Colour {
    match colour {
        Colour::Red => Colour::DarkGreen,
        Colour::DarkGreen => Colour::Red,
    }
}

#[rustler::nif]
fn grown(shape: Shape) -> Shape {
    match shape {
        Shape::Nothing => Shape::Circle(0),
        Shape::Circle(radius) => Shape::Circle(radius + 1),
        Shape::Rectangle { width, height } => Shape::Rectangle { width: width + 1, height: height + 1 },
    }
}

#[rustler::nif]
fn either(value: Either) -> Either {
    match value {
        Either::Number(number) => Either::Text(number.to_string()),
        Either::Text(text) => Either::Number(text.len() as i64),
    }
}

// ---- Errors ----

#[rustler::nif]
fn fails(how: &str) -> NifResult<i64> {
    match how {
        "badarg" => Err(Error::BadArg),
        "atom" => Err(Error::Atom("an_error")),
        "raise_atom" => Err(Error::RaiseAtom("raised")),
        "raise_term" => Err(Error::RaiseTerm(Box::new((1, "term")))),
        "term" => Err(Error::Term(Box::new("reason"))),
        "exception" => Err(Error::RaiseTerm(Box::new(Failure { message: "no".to_owned() }))),
        "panic" => panic!("on purpose"),
        _ => Ok(0),
    }
}

#[rustler::nif]
fn result(number: i64) -> Result<i64, String> {
    if number < 0 { Err("negative".to_owned()) } else { Ok(number) }
}

// ---- Binaries ----

#[rustler::nif]
fn doubled<'a>(env: Env<'a>, data: Binary) -> NifResult<Binary<'a>> {
    let mut owned = OwnedBinary::new(data.len());
    owned.as_mut_slice().copy_from_slice(&data);
    if !owned.realloc(data.len() * 2) {
        return Err(Error::RaiseAtom("enomem"));
    }
    owned.as_mut_slice()[data.len()..].copy_from_slice(&data);
    Ok(owned.release(env))
}

#[rustler::nif]
fn new_binary<'a>(env: Env<'a>, size: usize) -> Binary<'a> {
    let mut binary = NewBinary::new(env, size);
    binary.as_mut_slice().iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
    binary.into()
}

#[rustler::nif]
fn middle<'a>(data: Binary<'a>) -> NifResult<Binary<'a>> {
    data.make_subbinary(data.len() / 4, data.len() / 2)
}

#[rustler::nif]
fn io_list(data: Term) -> NifResult<Vec<u8>> {
    Ok(Binary::from_iolist(data)?.as_slice().iter().rev().copied().collect())
}

#[rustler::nif]
fn external<'a>(env: Env<'a>, term: Term<'a>) -> NifResult<(Term<'a>, usize)> {
    let binary = term.to_binary();
    let (term, used) = env.binary_to_term(&binary).ok_or(Error::BadArg)?;
    Ok((term, binary.len() - used))
}

// ---- Resources ----

static OBJECTS: AtomicI64 = AtomicI64::new(0);

struct Counter {
    value: Mutex<i64>,
    bytes: Vec<u8>,
    owner: LocalPid,
}

#[rustler::resource_impl]
impl Resource for Counter {
    const IMPLEMENTS_DESTRUCTOR: bool = true;
    const IMPLEMENTS_DOWN: bool = true;
    fn destructor(self, env: Env<'_>) {
        OBJECTS.fetch_sub(1, Ordering::SeqCst);
        let _ = env.send(&self.owner, (atoms::destroyed(), *self.value.lock().unwrap()));
    }
    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        let _ = env.send(&self.owner, (atoms::down(), pid, *self.value.lock().unwrap()));
    }
}

/// Larger alignment than that of a word.
#[repr(align(64))]
struct Aligned(u64);

#[rustler::resource_impl]
impl Resource for Aligned {}

#[rustler::nif]
fn counter(env: Env, value: i64) -> ResourceArc<Counter> {
    OBJECTS.fetch_add(1, Ordering::SeqCst);
    ResourceArc::new(Counter { value: Mutex::new(value), bytes: vec![b'x'; 100], owner: env.pid() })
}

#[rustler::nif]
fn count(counter: ResourceArc<Counter>) -> i64 {
    let mut value = counter.value.lock().unwrap();
    *value += 1;
    *value
}

#[rustler::nif]
fn counter_bytes<'a>(env: Env<'a>, counter: ResourceArc<Counter>) -> Binary<'a> {
    counter.make_binary(env, |counter| &counter.bytes)
}

#[rustler::nif]
fn watch(env: Env, counter: ResourceArc<Counter>, pid: LocalPid) -> bool {
    env.monitor(&counter, &pid).is_some()
}

#[rustler::nif]
fn watch_and_stop(env: Env, counter: ResourceArc<Counter>, pid: LocalPid) -> (bool, bool) {
    match env.monitor(&counter, &pid) {
        Some(monitor) => (env.demonitor(&counter, &monitor), env.demonitor(&counter, &monitor)),
        None => (false, false),
    }
}

#[rustler::nif]
fn aligned() -> (bool, ResourceArc<Aligned>) {
    let object = ResourceArc::new(Aligned(42));
    ((&raw const *object).is_aligned(), object)
}

#[rustler::nif]
fn aligned_value(object: ResourceArc<Aligned>) -> u64 {
    object.0
}

#[rustler::nif]
fn objects() -> i64 {
    OBJECTS.load(Ordering::SeqCst)
}

// ---- Schedulers and threads ----

#[rustler::nif(schedule = "DirtyCpu")]
fn dirty_cpu(number: u64) -> (u64, bool) {
    ((1..=number).sum(), rustler::thread::is_scheduler_thread())
}

#[rustler::nif(schedule = "DirtyIo")]
fn dirty_io(text: String) -> String {
    text.chars().rev().collect()
}

#[rustler::nif]
fn timeslice(env: Env) -> bool {
    rustler::schedule::consume_timeslice(env, 100)
}

/// Sends `term` from `threads` threads, `each` times.
#[rustler::nif]
fn send_from_threads(env: Env, term: Term, threads: usize, each: usize) -> Atom {
    let pid = env.pid();
    for thread in 0..threads {
        let mut own = OwnedEnv::new();
        let saved = own.save(term);
        std::thread::spawn(move || {
            for number in 0..each {
                let copy: SavedTerm = own.run(|env| own.save(saved.load(env)));
                let mut message = OwnedEnv::new();
                let sent = own.run(|env| {
                    let term = copy.load(env);
                    message.send_and_clear(&pid, |to| (atoms::from_thread(), thread, number, term.in_env(to)))
                });
                assert!(sent.is_ok());
            }
            let _ = own.send_and_clear(&pid, |_| (atoms::done(), thread));
        });
    }
    atoms::ok()
}

#[rustler::nif]
fn spawned(env: Env, number: i64) -> Atom {
    rustler::spawn::<rustler::ThreadSpawner, _>(env, move |env| (number * 2).encode(env));
    atoms::ok()
}

#[rustler::nif]
fn named<'a>(env: Env<'a>, name: Atom) -> Option<LocalPid> {
    env.whereis_pid(name)
}

#[rustler::nif]
fn alive(env: Env, pid: LocalPid) -> bool {
    pid.is_alive(env)
}

fn load(_env: Env, info: Term) -> bool {
    // Traces of panics name functions of the machine.
    std::panic::set_hook(Box::new(|_| {}));
    info.decode::<i64>().is_ok_and(|info| info == 17)
}

rustler::init!("nif_rustler", load = load);
