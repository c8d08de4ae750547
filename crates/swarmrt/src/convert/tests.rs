use super::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use swarmrt_term::{Alloc, atom};

fn term_text(value: &impl Serialize) -> String {
    let mut heap = FragmentHeap::new();
    print::display(encode(value, &mut heap).expect("it has a term")).to_string()
}

fn back<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let mut heap = FragmentHeap::new();
    decode(encode(value, &mut heap).expect("it has a term")).expect("it is read back")
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(rename_all = "snake_case")]
enum Shape {
    Empty,
    Circle(f64),
    Line(i32, i32),
    Box { width: u8, height: u8 },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct All {
    numbers: Vec<i128>,
    name: String,
    missing: Option<u8>,
    there: Option<u8>,
    shapes: Vec<Shape>,
    unit: (),
    letter: char,
    flag: bool,
    pair: (i8, Atom),
    table: BTreeMap<String, u64>,
}

#[test]
fn values_have_the_terms_of_the_table() {
    for (text, wanted) in [
        (term_text(&(1, -2i64, u64::MAX)), "{1,-2,18446744073709551615}"),
        (term_text(&vec![1.5, 2.0]), "[1.500000e+00,2.000000e+00]"),
        (term_text(&"text"), "<<\"text\">>"),
        (term_text(&Atom::from("an atom")), "'an atom'"),
        (term_text(&Some(())), "undefined"),
        (term_text(&[Shape::Empty, Shape::Line(1, 2)]), "{empty,{line,1,2}}"),
        (term_text(&BTreeMap::from([("key", 1)])), "#{<<\"key\">>=>1}"),
        (term_text(&i128::MIN), "-170141183460469231731687303715884105728"),
    ] {
        assert_eq!(text, wanted);
    }
}

#[test]
fn values_are_read_back() {
    let all = All {
        numbers: vec![0, -1, i64::MIN.into(), u64::MAX.into(), i128::MAX, -i128::MAX],
        name: "größer".to_owned(),
        missing: None,
        there: Some(7),
        shapes: vec![
            Shape::Empty,
            Shape::Circle(0.5),
            Shape::Line(-1, 1),
            Shape::Box { width: 3, height: 4 },
        ],
        unit: (),
        letter: 'ß',
        flag: true,
        pair: (-8, Atom::from("ok")),
        table: (0..50).map(|number| (format!("key {number}"), number)).collect(),
    };
    assert_eq!(back(&all), all);
}

#[test]
fn what_is_of_another_shape_is_an_error() {
    let mut heap = FragmentHeap::new();
    let tuple = heap.tuple(&[Term::small(1), Term::atom(atom!("a"))]);
    assert!(decode::<(u8, u8)>(tuple).is_err());
    assert!(decode::<(u8, Atom, u8)>(tuple).is_err());
    assert_eq!(decode::<(u8, String)>(tuple), Ok((1, "a".to_owned())));
    assert!(decode::<u8>(Term::small(256)).is_err());
    assert!(decode::<bool>(Term::small(1)).is_err());
    let improper = heap.cons(Term::small(1), Term::small(2));
    assert!(decode::<Vec<u8>>(improper).is_err());
    assert!(encode(&f64::NAN, &mut heap).is_err());
    assert!(encode(&Atom("x".repeat(256)), &mut heap).is_err());
    assert!(encode_arguments(&1, &mut heap).is_err());
}

#[test]
fn text_is_read_from_all_that_erlang_has_for_it() {
    let mut heap = FragmentHeap::new();
    let [binary, list] = [heap.binary("hé".as_bytes()), heap.string("hé")];
    for term in [binary, list, Term::atom(swarmrt_term::Atom::new("hé"))] {
        assert_eq!(decode::<String>(term).as_deref(), Ok("hé"));
    }
}
