//! The OTP release whose libraries run, as a value.
//!
//! It decides whatever differs between releases, and is asked when code is loaded and when the
//! machine is set up. [`current`] is for the few places without a machine at hand; it is asked on
//! slow paths only.

use std::sync::atomic::{AtomicU8, Ordering};

/// A supported OTP release. Later releases are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Release {
    R25 = 25,
    R26 = 26,
    R27 = 27,
    R28 = 28,
    R29 = 29,
}

impl Release {
    /// The first supported release.
    pub const OLDEST: Release = Release::R25;
    /// The last supported release.
    pub const NEWEST: Release = Release::R29;
    /// The supported releases, oldest first.
    pub const ALL: [Release; 5] =
        [Release::R25, Release::R26, Release::R27, Release::R28, Release::R29];

    /// The release with this number, if it is supported.
    pub fn from_number(number: u32) -> Option<Release> {
        Release::ALL.into_iter().find(|&release| u32::from(release.number()) == number)
    }

    /// The number by which OTP calls the release, such as 27.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// `+0.0` and `-0.0` are different terms: under `=:=`, in patterns and as keys (OTP 27).
    pub fn distinguishes_zeros(self) -> bool {
        self >= Release::R27
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.number().fmt(f)
    }
}

const _: () = {
    let last = (Release::NEWEST.number() - Release::OLDEST.number()) as usize;
    assert!(Release::ALL.len() == last + 1, "no number between them is left out");
};

/// The place in [`Release::ALL`] of the release in use.
static CURRENT: AtomicU8 = AtomicU8::new(0);

/// The release in use; [`Release::OLDEST`] until [`set_current`] is called.
#[inline]
pub fn current() -> Release {
    Release::ALL[usize::from(CURRENT.load(Ordering::Relaxed))]
}

/// Sets the release in use: once, before there are terms to compare.
pub fn set_current(release: Release) {
    CURRENT.store(release.number() - Release::OLDEST.number(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_order() {
        assert_eq!(Release::from_number(24), None);
        assert_eq!(Release::from_number(30), None);
        for release in Release::ALL {
            assert_eq!(Release::from_number(u32::from(release.number())), Some(release));
        }
        assert!(Release::ALL.is_sorted());
        assert_eq!(Release::R27.to_string(), "27");
    }
}
