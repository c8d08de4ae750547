//! Names that have numbers before they are atoms. They can be reserved only while there are no atoms
//! but the listed ones, so that this is a program of its own.

use swarmrt_term::Atom;

#[test]
fn a_reserved_name_is_no_atom_before_somebody_makes_it() {
    let listed = Atom::listed();
    assert!(Atom::reserve(&["the first name", "the second name"]));
    let all = || Atom::all().map(Atom::index).skip_while(|&number| number < listed);
    assert_eq!((Atom::count() as u32, all().next()), (listed, None));
    assert_eq!(Atom::checked(listed + 1), None);
    assert_eq!(Atom::numbered_name(listed + 1), Some("the second name"));
    let second = Atom::new("the second name");
    assert_eq!((Atom::count() as u32, second.index()), (listed + 1, listed + 1));
    assert!(all().eq([listed + 1]));
    assert_eq!((Atom::checked(listed), Atom::checked(listed + 1)), (None, Some(second)));
    let further = Atom::new("a further name");
    assert!(all().eq([second.index(), further.index()]));
    assert_eq!(further.order_of_making(), second.order_of_making() + 1);
    let first = Atom::new("the first name");
    assert!(first < second && first.order_of_making() > further.order_of_making());
    assert_eq!((Atom::checked(listed + 3), Atom::numbered_name(listed + 3)), (None, None));
}
