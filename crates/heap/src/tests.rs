//! The collector against random graphs: whatever is reachable is the same before and after, and
//! what is not is freed.
//!
//! What the process holds is built twice, in its heap and in one that is never collected, and
//! compared.

use crate::process_heap::{MIN_BIN_VHEAP_WORDS, SLACK_WORDS};
use crate::*;
use proptest::prelude::*;
use std::sync::Arc;
use swarmrt_term::etf::{Interning, Resolver};
use swarmrt_term::{
    Alloc, Atom, Bits, FragmentHeap, FunIdentity, SharedBytes, Term, equal_exact, map,
};

/// What a term is to be.
#[derive(Clone, Debug)]
enum Shape {
    Small(i64),
    Big(bool, u64),
    Float(f64),
    Atom(u8),
    Nil,
    List(Vec<Shape>, Box<Shape>),
    Tuple(Vec<Shape>),
    /// With this many keys on top of those given: large ones are tries.
    Map(Vec<(Shape, Shape)>, u8),
    Binary(u8, usize),
    /// A part of a binary, from and to in bits.
    Part(u8, usize, usize, usize),
    Fun(Vec<Shape>),
    Reference(u64),
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|value| Shape::Small(i64::from(value))),
        any::<(bool, u64)>().prop_map(|(negative, digit)| Shape::Big(negative, digit | 1 << 63)),
        prop_oneof![
            Just(1.0),
            Just(1.0e300),
            Just(-0.0),
            any::<f64>().prop_filter("Erlang has no others", |value| value.is_finite())
        ]
        .prop_map(Shape::Float),
        any::<u8>().prop_map(Shape::Atom),
        Just(Shape::Nil),
        (any::<u8>(), 0..200usize).prop_map(|(byte, size)| Shape::Binary(byte, size)),
        (any::<u8>(), 65..200usize, 0..100usize, 0..400usize)
            .prop_map(|(byte, size, from, bits)| Shape::Part(byte, size, from, bits)),
        any::<u64>().prop_map(Shape::Reference),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 1..6), inner.clone())
                .prop_map(|(items, tail)| Shape::List(items, Box::new(tail))),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Shape::Tuple),
            (
                prop::collection::vec((inner.clone(), inner.clone()), 0..4),
                prop_oneof![Just(0u8), Just(40)]
            )
                .prop_map(|(pairs, more)| Shape::Map(pairs, more)),
            prop::collection::vec(inner, 0..4).prop_map(Shape::Fun),
        ]
    })
}

fn build<A: Alloc + ?Sized>(shape: &Shape, to: &mut A) -> Term {
    fn all<A: Alloc + ?Sized>(shapes: &[Shape], to: &mut A) -> Vec<Term> {
        shapes.iter().map(|shape| build(shape, to)).collect()
    }
    match shape {
        Shape::Small(value) => Term::small(*value),
        Shape::Big(negative, digit) => to.big(*negative, &[*digit, 1]),
        Shape::Float(value) => to.float(*value),
        Shape::Atom(number) => Term::atom(Atom::from_index(u32::from(*number) % 50)),
        Shape::Nil => Term::NIL,
        Shape::List(items, tail) => {
            let (items, tail) = (all(items, to), build(tail, to));
            to.list_with_tail(&items, tail)
        }
        Shape::Tuple(items) => {
            let items = all(items, to);
            to.tuple(&items)
        }
        Shape::Map(pairs, more) => {
            let mut terms: Vec<(Term, Term)> =
                pairs.iter().map(|(key, value)| (build(key, to), build(value, to))).collect();
            for number in 0..*more {
                let key = build(&Shape::Tuple(vec![Shape::Small(i64::from(number))]), to);
                terms.push((key, build(&Shape::Binary(number, 70), to)));
            }
            map::from_pairs(to, &terms)
        }
        Shape::Binary(byte, size) => to.binary(&vec![*byte; *size]),
        Shape::Part(byte, size, from, bits) => {
            let bytes: Vec<u8> = (0..*size).map(|at| byte.wrapping_add(at as u8)).collect();
            let whole = to.binary(&bytes);
            to.sub_binary(whole, *from, (*bits).min(size * 8 - from))
        }
        Shape::Fun(free) => {
            let free = all(free, to);
            let identity = FunIdentity {
                module: Atom::from_index(1),
                index: 1,
                old_index: 1,
                old_uniq: 1,
                uniq: [7; 16],
                arity: 1,
            };
            to.fun(Interning.fun(identity, free.len() as u32), 1, 0, &free)
        }
        Shape::Reference(number) => to.local_ref(*number, 1),
    }
}

/// A process's heap with what it holds, and the same built where nothing is ever collected.
struct Model {
    heap: Heap,
    roots: Vec<Term>,
    /// Roots that lie on the stack, lowest address first, return addresses between them.
    stacked: usize,
    literals: LiteralArea,
    expected: FragmentHeap,
    expected_roots: Vec<Term>,
    expected_stack: Vec<Term>,
    /// Words of all that was ever built from the roots; kept small.
    size: usize,
}

/// Words on the stack for each term there.
const STACK_STEP: usize = 2;
/// Looks like a return address: tag bits of a header.
const RETURN_ADDRESS: u64 = 0x7000_1238;

impl Model {
    fn new() -> Model {
        Model {
            heap: Heap::new(12),
            roots: Vec::new(),
            stacked: 0,
            literals: LiteralArea::new(),
            expected: FragmentHeap::new(),
            expected_roots: Vec::new(),
            expected_stack: Vec::new(),
            size: 0,
        }
    }
    fn hold(&mut self, term: Term, expected: Term) {
        self.roots.push(term);
        self.expected_roots.push(expected);
    }
    fn collect(&mut self, need: usize, major: bool) {
        // SAFETY: all that is held is in the roots and on the stack.
        unsafe { self.heap.collect(need, &mut [&mut self.roots], major) };
        assert!(self.heap.room_words() >= need, "the room that was asked for");
        assert_eq!(self.heap.fragment_words(), 0, "fragments are folded in");
    }
    fn stack(&self) -> Vec<Term> {
        // SAFETY: every second word was pushed as a term.
        (0..self.stacked)
            .map(|at| unsafe { Term::from_raw(*self.heap.stop.add(at * STACK_STEP)) })
            .rev()
            .collect()
    }
    fn check(&self) {
        for (term, expected) in self.roots.iter().zip(&self.expected_roots) {
            assert!(equal_exact(*term, *expected), "{term:?} was {expected:?}");
        }
        for (term, expected) in self.stack().into_iter().zip(&self.expected_stack) {
            assert!(equal_exact(term, *expected), "on the stack: {term:?} was {expected:?}");
        }
    }
    /// Addresses of shared binaries in the lists of both generations, which must be live ones.
    fn shared_bytes(&self) -> usize {
        self.heap.off_heap_bytes()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Build(Shape),
    /// Arrives as a message.
    Receive(Shape),
    Literal(Shape),
    /// A tuple and a list cell of two of the roots.
    Combine(usize, usize),
    Drop(usize),
    Push(usize),
    Pop,
    Minor(usize),
    Major(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => shape().prop_map(Step::Build),
        2 => shape().prop_map(Step::Receive),
        1 => shape().prop_map(Step::Literal),
        3 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Step::Combine(a, b)),
        2 => any::<usize>().prop_map(Step::Drop),
        2 => any::<usize>().prop_map(Step::Push),
        1 => Just(Step::Pop),
        4 => (0..300usize).prop_map(Step::Minor),
        2 => (0..300usize).prop_map(Step::Major),
    ]
}

const SIZE_MAX: usize = 20_000;

fn apply(model: &mut Model, step: &Step) {
    let count = model.roots.len();
    match step {
        Step::Build(shape) => {
            let (term, expected) =
                (build(shape, &mut model.heap), build(shape, &mut model.expected));
            model.hold(term, expected);
        }
        Step::Receive(shape) => {
            let expected = build(shape, &mut model.expected);
            let message = Fragment::copy_of(expected);
            // SAFETY: just made, and in no list.
            let term = unsafe {
                assert_eq!(
                    (*message).words(),
                    size_words(expected),
                    "the size that was counted is what the copy takes"
                );
                let root = (*message).root;
                model.heap.adopt(message);
                root
            };
            model.hold(term, expected);
        }
        Step::Literal(shape) => {
            let expected = build(shape, &mut model.expected);
            let term = model.literals.copy_in(expected);
            model.hold(term, expected);
        }
        Step::Combine(a, b) if count > 0 && model.size < SIZE_MAX => {
            let (a, b) = (a % count, b % count);
            let term = model.heap.tuple(&[model.roots[a], model.roots[b]]);
            let term = model.heap.cons(term, model.roots[a]);
            let expected =
                model.expected.tuple(&[model.expected_roots[a], model.expected_roots[b]]);
            let expected = model.expected.cons(expected, model.expected_roots[a]);
            model.size += size_whole(expected);
            model.hold(term, expected);
        }
        Step::Drop(at) if count > 0 => {
            model.roots.swap_remove(at % count);
            model.expected_roots.swap_remove(at % count);
        }
        Step::Push(at) if count > 0 => {
            if model.heap.room_words() < STACK_STEP {
                model.collect(STACK_STEP, false);
            }
            // SAFETY: there is room.
            unsafe {
                model.heap.stop = model.heap.stop.sub(STACK_STEP);
                *model.heap.stop = model.roots[at % count].raw();
                *model.heap.stop.add(1) = RETURN_ADDRESS;
            }
            model.stacked += 1;
            model.expected_stack.push(model.expected_roots[at % count]);
        }
        Step::Pop if model.stacked > 0 => {
            // SAFETY: it was pushed.
            model.heap.stop = unsafe { model.heap.stop.add(STACK_STEP) };
            model.stacked -= 1;
            model.expected_stack.pop();
        }
        Step::Minor(need) => model.collect(*need, false),
        Step::Major(need) => model.collect(*need, true),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_reachable_survives(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in &steps {
            apply(&mut model, step);
            model.check();
        }
        let literals: Vec<(usize, Term)> = model.roots.iter().copied().enumerate().filter(|(_, term)| is_literal(*term)).collect();
        model.collect(0, true);
        for (at, literal) in literals {
            prop_assert_eq!(model.roots[at].raw(), literal.raw(), "literals stay where they are");
        }
        model.check();
        // SAFETY: the roots and the stack are all that is held.
        unsafe { model.heap.collect_to_fit(&mut [&mut model.roots]) };
        model.check();
        prop_assert_eq!(model.heap.old_used_words(), 0);

        // Nothing is held any more, and nothing is left.
        model.roots.clear();
        model.expected_roots.clear();
        model.stacked = 0;
        model.heap.stop = model.heap.stack_base();
        model.collect(0, true);
        prop_assert_eq!(model.heap.occupied_words(), 0);
        prop_assert_eq!(model.shared_bytes(), 0);
    }

    #[test]
    fn literals_that_leave_are_copied_out(shapes in prop::collection::vec(shape(), 1..6), held in prop::collection::vec(shape(), 0..3)) {
        let mut model = Model::new();
        for shape in &shapes {
            apply(&mut model, &Step::Literal(shape.clone()));
        }
        for (at, shape) in held.iter().enumerate() {
            apply(&mut model, &Step::Build(shape.clone()));
            let last = model.roots.len() - 1;
            apply(&mut model, &Step::Combine(at, last));
        }
        let leaving = Leaving::new(model.literals.ranges().collect());
        // SAFETY: the roots and the stack are all that is held.
        unsafe {
            if model.heap.may_refer(&leaving, &[&mut model.roots]) {
                model.heap.collect(0, &mut [&mut model.roots], true);
                model.heap.copy_out(&leaving, &mut [&mut model.roots]);
            }
        }
        model.collect(0, true);
        prop_assert!(model.roots.iter().all(|term| !is_literal(*term)));
        // The next literals take their place.
        model.literals = LiteralArea::new();
        let mut others = LiteralArea::new();
        for _ in 0..shapes.len() * 20 {
            others.tuple(&[Term::small(-1); 30]);
        }
        model.check();
    }
}

/// A binary of `size` bytes in the heap, and a handle that tells who else holds its bytes.
fn shared(heap: &mut Heap, size: usize) -> (Term, SharedBytes) {
    let bytes = SharedBytes::copy_from(&vec![1; size]);
    let term = heap.shared_bin(bytes.clone(), 0, size * 8);
    (term, bytes)
}

#[test]
fn shared_binaries_are_let_go_of() {
    let mut heap = Heap::new(233);
    let (kept, kept_bytes) = shared(&mut heap, 1000);
    let (_, dropped) = shared(&mut heap, 1000);
    let part = heap.sub_binary(kept, 80, 80);
    let mut roots = vec![part];
    assert_eq!((kept_bytes.references(), dropped.references()), (2, 2));
    // SAFETY: the part is all that is held.
    unsafe { heap.collect(0, &mut [&mut roots], false) };
    assert_eq!(
        (kept_bytes.references(), dropped.references()),
        (2, 1),
        "a part holds on to the whole"
    );
    assert_eq!(&*Bits::of(roots[0]).to_bytes(), &[1; 10]);

    // What has grown old is let go of by a major collection only.
    // SAFETY: the part is all that is held.
    unsafe { heap.collect(0, &mut [&mut roots], false) };
    roots.clear();
    unsafe { heap.collect(0, &mut [&mut roots], true) };
    assert_eq!(kept_bytes.references(), 1);
    assert_eq!(heap.off_heap_bytes(), 0);
}

#[test]
fn a_heap_that_goes_lets_go_of_its_binaries() {
    let mut heap = Heap::new(233);
    let (term, in_block) = shared(&mut heap, 100);
    let message = Fragment::copy_of(term);
    assert_eq!(in_block.references(), 3, "the message holds it too");
    // SAFETY: just made, and in no list.
    unsafe { heap.adopt(message) };
    drop(heap);
    assert_eq!(in_block.references(), 1);
}

#[test]
fn a_message_that_is_dropped_lets_go_of_its_binaries() {
    let mut heap = FragmentHeap::new();
    let bytes = SharedBytes::copy_from(&[1; 100]);
    let term = heap.shared_bin(bytes.clone(), 0, 800);
    let message = Fragment::copy_of(term);
    assert_eq!(bytes.references(), 3);
    // SAFETY: just made, and nobody reads it.
    unsafe { Fragment::free(message) };
    assert_eq!(bytes.references(), 2);
}

#[test]
fn bytes_outside_the_heap_ask_for_a_collection() {
    let mut heap = Heap::new(233);
    let limit = MIN_BIN_VHEAP_WORDS as usize * 8;
    let bytes = SharedBytes::copy_from(&vec![0; limit / 4]);
    let mut made = 0;
    while !heap.wants_collection {
        heap.shared_bin(bytes.clone(), 0, limit / 4 * 8);
        made += 1;
        assert!(made < 10, "the limit is passed long since");
    }
    assert!(made > 4, "not before the limit");
    // SAFETY: nothing is held.
    unsafe { heap.collect(0, &mut [], false) };
    assert!(!heap.wants_collection);
    assert_eq!((heap.off_heap_bytes(), bytes.references()), (0, 1));
}

#[test]
fn a_full_block_overflows_into_fragments_that_a_collection_folds_in() {
    let mut heap = Heap::new(40);
    let mut list = Term::NIL;
    for number in 0..1000 {
        list = heap.cons(Term::small(number), list);
    }
    assert!(heap.fragment_words() >= 1900, "most of it did not fit the block");
    assert!(heap.wants_collection);
    let mut roots = vec![list];
    // SAFETY: the list is all that is held.
    unsafe { heap.collect(10, &mut [&mut roots], false) };
    assert_eq!(heap.fragment_words(), 0);
    assert!(!heap.wants_collection);
    let items = roots[0].list_to_vec().expect("a proper list");
    assert_eq!(items.len(), 1000);
    assert!(items.iter().rev().enumerate().all(|(at, item)| *item == Term::small(at as i64)));
}

#[test]
fn survivors_of_one_collection_are_promoted_by_the_next() {
    let mut heap = Heap::new(233);
    let mut roots = vec![heap.tuple(&[Term::small(1); 5])];
    // An old generation to be promoted into.
    // SAFETY: the tuple is all that is held.
    unsafe { heap.collect(0, &mut [&mut roots], true) };
    roots.push(heap.tuple(&[Term::small(2); 5]));
    // SAFETY: the tuples are all that is held.
    unsafe { heap.collect(0, &mut [&mut roots], false) };
    assert_eq!((heap.used_words(), heap.old_used_words()), (6, 6), "young ones stay for once");
    // SAFETY: the tuples are all that is held.
    unsafe { heap.collect(0, &mut [&mut roots], false) };
    assert_eq!((heap.used_words(), heap.old_used_words()), (0, 12));
    let old = roots.clone();
    // SAFETY: the tuples are all that is held.
    unsafe { heap.collect(0, &mut [&mut roots], false) };
    assert!(
        roots.iter().zip(&old).all(|(now, then)| now.raw() == then.raw()),
        "old ones stay where they are"
    );
}

#[test]
fn a_deep_stack_moves_with_its_block() {
    let mut heap = Heap::new(40);
    let word = heap.tuple(&[Term::small(7)]);
    let mut roots = vec![word];
    for depth in 0..5000 {
        if heap.room_words() == 0 {
            // SAFETY: the stack holds terms, and the roots the tuple.
            unsafe { heap.collect(1, &mut [&mut roots], false) };
        }
        // SAFETY: there is room.
        unsafe {
            heap.stop = heap.stop.sub(1);
            *heap.stop = if depth % 3 == 0 { roots[0].raw() } else { Term::small(depth).raw() };
        }
    }
    assert_eq!(heap.stack_words(), 5000);
    for depth in 0..5000 {
        // SAFETY: pushed above.
        let term = unsafe { Term::from_raw(*heap.stack_base().sub(depth + 1)) };
        if depth % 3 == 0 {
            assert!(equal_exact(term, roots[0]));
        } else {
            assert_eq!(term, Term::small(depth as i64));
        }
    }
    assert!(heap.block_words() >= 5000 + SLACK_WORDS);
}

#[test]
fn a_heap_is_as_it_was_when_there_is_no_memory() {
    let mut heap = Heap::new(233);
    let tuple = heap.tuple(&[Term::small(1), Term::NIL]);
    let mut roots = vec![tuple];
    for major in [false, true] {
        // SAFETY: the tuple is all that is held.
        let refused = unsafe { heap.try_collect(1 << 58, &mut [&mut roots], major) };
        assert!(refused.is_err());
        assert_eq!(roots[0].raw(), tuple.raw());
        assert_eq!(heap.used_words(), 3);
    }
    // SAFETY: the tuple is all that is held.
    unsafe { heap.collect(10, &mut [&mut roots], true) };
    assert_eq!(roots[0].as_tuple().expect("a tuple").elements(), [Term::small(1), Term::NIL]);
}

#[test]
fn copies_share_literals_but_those_that_leave() {
    let mut area = LiteralArea::new();
    let literal = area.tuple(&[Term::small(1), Term::small(2)]);
    let mut heap = FragmentHeap::new();
    let term = heap.list(&[literal]);
    let copy =
        |term| copy_term(term, &mut FragmentHeap::new()).as_cons().expect("a list").head().raw();
    let head = |heap: &mut FragmentHeap| copy_term(term, heap).as_cons().expect("a list").head();
    let mut copies = FragmentHeap::new();
    assert_eq!(head(&mut copies).raw(), literal.raw());
    assert_eq!(size_words(term), 2);
    assert_eq!(size_whole(term), 5);
    let leaving = Arc::new(Leaving::new(area.ranges().collect()));
    begin_leaving(leaving.clone());
    let moved = head(&mut copies);
    end_leaving(&leaving);
    assert_ne!(moved.raw(), literal.raw());
    assert!(equal_exact(moved, literal));
    assert_eq!(copy(term), literal.raw());
}

#[test]
fn garbage_does_not_make_a_heap_grow() {
    let mut heap = Heap::new(233);
    // Beyond what a process gets for collecting often.
    for _ in 0..500 {
        while heap.room_words() >= 4 {
            heap.tuple(&[Term::NIL; 3]);
        }
        // SAFETY: nothing is held.
        unsafe { heap.collect(4, &mut [], false) };
    }
    assert!(heap.total_words() < 40_000, "{} words for nothing", heap.total_words());
}

#[test]
fn old_binaries_that_are_garbage_ask_for_a_major_collection() {
    const BYTES: usize = 100_000;
    let mut heap = Heap::new(233);
    let mut roots = [Term::NIL; 2];
    let mut bytes_max = 0;
    for _ in 0..200 {
        // It lives for two collections: long enough to be promoted.
        roots[1] = roots[0];
        roots[0] = shared(&mut heap, BYTES).0;
        // SAFETY: all that is held is in the roots.
        unsafe { heap.collect(0, &mut [&mut roots], false) };
        bytes_max = bytes_max.max(heap.off_heap_bytes());
    }
    assert!(bytes_max < MIN_BIN_VHEAP_WORDS as usize * 8 * 4, "{bytes_max} bytes are kept");
}

#[test]
fn copies_of_what_shares_much_are_small() {
    let mut heap = FragmentHeap::new();
    let mut term = heap.cons(Term::small(1), Term::NIL);
    for level in 0..200 {
        term = if level % 2 == 0 {
            heap.cons(term, term)
        } else {
            heap.tuple(&[term, Term::small(level), term])
        };
    }
    let words = size_words(term);
    // So many are copied without a look at what is shared, in tests, and the rest once.
    assert!(words < (1 << 12) + 2000, "{words}");
    let fragment = Fragment::copy_of(term);
    // SAFETY: just made, and freed when it was looked at.
    unsafe {
        assert_eq!((*fragment).words(), words);
        let (mut copy, mut original) = ((*fragment).root, term);
        while let (Some(copied), Some(source)) = (copy.as_tuple(), original.as_tuple()) {
            assert_eq!(copied.get(1), source.get(1));
            (copy, original) = (
                copied.get(0).as_cons().expect("a cell").head(),
                source.get(0).as_cons().expect("a cell").head(),
            );
        }
        assert!(copy.as_cons().is_some_and(|cell| cell.head() == Term::small(1)));
        Fragment::free(fragment);
    }
}
