//! Bytes as an external term. Whatever is accepted has to survive being written and read again, in
//! every variant of the format: exactly equal, in the same place of the order, with the same hashes
//! and the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cmp::Ordering;
use swarmrt_fuzz::arena::{Arena, decode_options};
use swarmrt_term::etf::{EncodeOptions, decode, encode, external_size};
use swarmrt_term::hash::{internal_hash, phash, phash2};
use swarmrt_term::release::{self, Release};
use swarmrt_term::{FragmentHeap, Term, compare, compare_exact, equal, equal_exact, print};

fuzz_target!(|bytes: &[u8]| {
    // With native records.
    release::set_current(Release::NEWEST);
    let arena = Arena::default();
    let mut heap = FragmentHeap::new();
    let Ok((term, used)) = decode(bytes, &mut heap, &arena, decode_options()) else { return };
    assert!(used <= bytes.len(), "more was used than there is");

    let plain = EncodeOptions::default();
    let variants = [
        plain,
        EncodeOptions { minor_version: 0, ..plain },
        EncodeOptions { minor_version: 2, ..plain },
        EncodeOptions { deterministic: true, ..plain },
        EncodeOptions { compressed: Some(6), ..plain },
    ];
    // Compressing takes longer than all the rest.
    let count = if phash2(term).is_multiple_of(16) { variants.len() } else { variants.len() - 1 };
    for options in &variants[..count] {
        let written = encode(term, options);
        assert!(written.len() <= external_size(term, options, usize::MAX).expect("there is no limit"), "larger than announced");
        let mut heap = FragmentHeap::new();
        let (again, used) = decode(&written, &mut heap, &arena, decode_options()).expect("what was written is read");
        assert_eq!(used, written.len(), "all that was written is read");
        assert_same(term, again);
        assert_eq!(encode(again, options), written, "written the same again");
    }
});

fn assert_same(term: Term, again: Term) {
    assert!(equal_exact(term, again) && equal(term, again), "equal");
    assert_eq!(compare(term, again), Ordering::Equal);
    assert_eq!(compare_exact(term, again), Ordering::Equal);
    assert_eq!(phash2(term), phash2(again));
    assert_eq!(phash(term, 1 << 32), phash(again, 1 << 32));
    assert_eq!(internal_hash(term), internal_hash(again));
    assert_eq!(print::print(term), print::print(again));
}
