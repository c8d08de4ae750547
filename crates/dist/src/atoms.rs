//! The atom cache of a connection. Each direction has 2048 places; the sender says which atom is in
//! a place when it uses that place for the first time, or for another atom. A message lists the
//! places that it uses in its head, and the terms in it refer to that list.
//!
//! The place of an atom is fixed by its number. Where two atoms of one message have the same place,
//! the second is written out.

use swarmrt_term::Atom;
use swarmrt_term::atom::CACHE_PLACES as PLACES;

/// Places in a segment.
const SEGMENT: usize = 256;
/// Atoms that a message's head can list.
const LISTED_MAX: usize = 255;
/// In the flags of a listed atom: its text follows.
const IS_NEW: u8 = 8;
const NONE: u32 = u32::MAX;

/// What the peer has in its places.
pub struct Sent(Box<[u32; PLACES]>);

impl Default for Sent {
    fn default() -> Self {
        Sent(Box::new([NONE; PLACES]))
    }
}

/// What is in the places of the other direction.
pub struct Received(Vec<Option<Atom>>);

impl Default for Received {
    fn default() -> Self {
        Received(vec![None; PLACES])
    }
}

/// The atoms of one message, in the order of their list.
pub struct Listed {
    atoms: Vec<Atom>,
    /// The index in the list and 1, by place; 0 for a place that is not used. Empty until the first
    /// atom comes.
    by_place: Vec<u8>,
    is_used: bool,
}

impl Listed {
    /// An empty list; one that stays empty when atoms are to be written out.
    pub fn new(is_used: bool) -> Listed {
        Listed { atoms: Vec::new(), by_place: Vec::new(), is_used }
    }
}

/// Atoms up to which they are searched one by one.
const SEARCHED_MAX: usize = 12;

impl Listed {
    /// The place of an atom in the list, put there if need be; `None` where it is to be written
    /// out.
    pub fn index_of(&mut self, atom: Atom) -> Option<u8> {
        if !self.is_used {
            return None;
        }
        let place = atom.cache_place();
        let known = if self.by_place.is_empty() {
            self.atoms.iter().position(|&other| other.cache_place() == place)
        } else {
            usize::from(self.by_place[place]).checked_sub(1)
        };
        if let Some(index) = known {
            return (self.atoms[index] == atom).then_some(index as u8);
        }
        if self.atoms.len() == LISTED_MAX {
            return None;
        }
        self.atoms.push(atom);
        if !self.by_place.is_empty() {
            self.by_place[place] = self.atoms.len() as u8;
        } else if self.atoms.len() > SEARCHED_MAX {
            self.by_place = vec![0; PLACES];
            for (index, &atom) in self.atoms.iter().enumerate() {
                self.by_place[atom.cache_place()] = index as u8 + 1;
            }
        }
        Some(self.atoms.len() as u8 - 1)
    }
}

impl Listed {
    /// Writes the list: how many atoms, four bits of flags for each and as many for all, then place
    /// and text of each.
    pub fn write(&self, sent: &mut Sent, out: &mut Vec<u8>) {
        out.push(self.atoms.len() as u8);
        if self.atoms.is_empty() {
            return;
        }
        let flags_at = out.len();
        out.resize(flags_at + self.atoms.len() / 2 + 1, 0);
        let set = |out: &mut Vec<u8>, index: usize, flags: u8| {
            out[flags_at + index / 2] |= if index.is_multiple_of(2) { flags } else { flags << 4 };
        };
        let is_new = |sent: &Sent, atom: Atom| sent.0[atom.cache_place()] != atom.index();
        let is_long = self.atoms.iter().any(|&atom| is_new(sent, atom) && atom.name().len() > 0xff);
        set(out, self.atoms.len(), u8::from(is_long));
        for (index, &atom) in self.atoms.iter().enumerate() {
            let place = atom.cache_place();
            let new = is_new(sent, atom);
            set(out, index, (place / SEGMENT) as u8 | if new { IS_NEW } else { 0 });
            out.push((place % SEGMENT) as u8);
            if new {
                sent.0[place] = atom.index();
                let name = atom.name().as_bytes();
                if is_long {
                    out.extend((name.len() as u16).to_be_bytes());
                } else {
                    out.push(name.len() as u8);
                }
                out.extend_from_slice(name);
            }
        }
    }
}

impl Received {
    /// Reads a list at the front of `bytes`; the atoms, and the bytes behind it. `None` for what is
    /// no list, or refers to places that nothing is in.
    pub fn read<'b>(&mut self, bytes: &'b [u8]) -> Option<(Vec<Atom>, &'b [u8])> {
        let (&count, rest) = bytes.split_first()?;
        let count = usize::from(count);
        if count == 0 {
            return Some((Vec::new(), rest));
        }
        let (flags, mut rest) = rest.split_at_checked(count / 2 + 1)?;
        let flags_of = |index: usize| flags[index / 2] >> (4 * (index % 2)) & 0xf;
        let is_long = flags_of(count) & 1 != 0;
        let mut atoms = Vec::with_capacity(count);
        for index in 0..count {
            let flags = flags_of(index);
            let (&within, after) = rest.split_first()?;
            let place = usize::from(flags & 7) * SEGMENT + usize::from(within);
            rest = after;
            if flags & IS_NEW != 0 {
                let length = if is_long {
                    let (length, after) = rest.split_first_chunk::<2>()?;
                    rest = after;
                    usize::from(u16::from_be_bytes(*length))
                } else {
                    let (&length, after) = rest.split_first()?;
                    rest = after;
                    usize::from(length)
                };
                let (name, after) = rest.split_at_checked(length)?;
                rest = after;
                self.0[place] = Some(Atom::try_new(std::str::from_utf8(name).ok()?).ok()?);
            }
            atoms.push(self.0[place]?);
        }
        Some((atoms, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atoms(count: usize) -> Vec<Atom> {
        (0..count).map(|number| Atom::new(&format!("listed {number}"))).collect()
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let (mut sent, mut received) = (Sent::default(), Received::default());
        for count in [0, 1, 2, 11, 12, 13, 255, 300, 2] {
            let mut listed = Listed::new(true);
            let given = atoms(count);
            let indexes: Vec<Option<u8>> =
                given.iter().map(|&atom| listed.index_of(atom)).collect();
            let again: Vec<Option<u8>> = given.iter().map(|&atom| listed.index_of(atom)).collect();
            assert_eq!(indexes, again);
            let mut out = Vec::new();
            listed.write(&mut sent, &mut out);
            out.extend(b"rest");
            let (read, rest) = received.read(&out).expect("a list");
            assert_eq!(rest, b"rest");
            for (atom, index) in given.iter().zip(indexes) {
                assert!(index.is_none_or(|index| read[usize::from(index)] == *atom));
            }
        }
    }

    #[test]
    fn the_second_time_only_the_place_is_written() {
        let mut sent = Sent::default();
        let mut sizes = Vec::new();
        for _ in 0..2 {
            let mut listed = Listed::new(true);
            listed.index_of(Atom::new("an atom that is listed twice"));
            let mut out = Vec::new();
            listed.write(&mut sent, &mut out);
            sizes.push(out.len());
        }
        assert_eq!(sizes, [3 + 1 + 28, 3]);
    }

    #[test]
    fn long_names_and_other_letters_come_across() {
        let (mut sent, mut received) = (Sent::default(), Received::default());
        let long = "ÿλ字".repeat(63);
        let mut listed = Listed::new(true);
        let given = [Atom::new("short"), Atom::new(&long), Atom::new("")];
        for atom in given {
            listed.index_of(atom);
        }
        let mut out = Vec::new();
        listed.write(&mut sent, &mut out);
        assert_eq!(received.read(&out).expect("a list").0, given);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let mut received = Received::default();
        for bytes in
            [&[][..], &[1], &[1, 0, 7], &[1, 8, 0, 200, 1], &[2, 0x88, 1, 0, 1, 0xff], &[255, 0]]
        {
            assert!(received.read(bytes).is_none(), "{bytes:?}");
        }
    }
}
