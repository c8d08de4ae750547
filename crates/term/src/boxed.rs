//! Views of list cells and boxed terms: how code reads what a pointer points at.
//!
//! A view is a pointer to the term's first word. Views are `Copy` and are only valid while the heap
//! that holds the term is: nothing may be collected while a view is in use, which is why built-ins
//! never collect.

use crate::atom::Atom;
use crate::binary::{SharedBytes, shared_bin};
use crate::creator::Creator;
use crate::node::NodeInfo;
use crate::reference::{RefKind, RefValue};
use crate::word::{Header, Subtag, Term};
use std::borrow::Cow;
use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicU64;

macro_rules! view {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(*mut u64);
        impl $name {
            /// The view of the term at an address.
            ///
            /// # Safety
            /// `ptr` points at a live term of this kind.
            #[inline(always)]
            pub const unsafe fn from_ptr(ptr: *mut u64) -> Self {
                Self(ptr)
            }
            /// Address of the term's first word: its header, or the head of a list cell.
            #[inline(always)]
            pub const fn ptr(self) -> *mut u64 {
                self.0
            }
            #[allow(dead_code, reason = "not every view reads raw words")]
            #[inline(always)]
            fn word(self, index: usize) -> u64 {
                // SAFETY: callers stay within the words that the term's layout has.
                unsafe { *self.0.add(index) }
            }
            #[allow(dead_code, reason = "not every view holds terms")]
            #[inline(always)]
            fn term_at(self, index: usize) -> Term {
                // SAFETY: callers only name words that the layout says are terms.
                unsafe { Term::from_raw(*self.0.add(index)) }
            }
        }
    };
}

view!(
    /// A list cell: head, tail.
    Cons
);
impl Cons {
    /// The first element.
    #[inline(always)]
    pub fn head(self) -> Term {
        self.term_at(0)
    }
    /// The rest: a list cell, the empty list, or any term where the list is improper.
    #[inline(always)]
    pub fn tail(self) -> Term {
        self.term_at(1)
    }
}

macro_rules! boxed_view {
    ($(#[$doc:meta])* $name:ident) => {
        view!($(#[$doc])* $name);
        impl $name {
            /// The first word, which says the kind and the number of words that follow.
            #[inline(always)]
            pub fn header(self) -> Header {
                Header(self.word(0))
            }
            /// The term that this is a view of.
            #[inline(always)]
            pub fn term(self) -> Term {
                Term::from_boxed_ptr(self.0)
            }
        }
    };
}

boxed_view!(
    /// A tuple; elements count from 0 here.
    Tuple
);
impl Tuple {
    /// Number of elements.
    #[inline(always)]
    pub fn arity(self) -> usize {
        self.header().words()
    }
    /// The element at `index`, from 0; it must be less than the arity.
    #[inline(always)]
    pub fn get(self, index: usize) -> Term {
        debug_assert!(index < self.arity());
        self.term_at(index + 1)
    }
    /// All elements. The slice is valid as long as the heap is not collected.
    #[inline(always)]
    pub fn elements<'a>(self) -> &'a [Term] {
        // SAFETY: `arity` terms follow the header.
        unsafe { std::slice::from_raw_parts(self.0.add(1).cast::<Term>(), self.arity()) }
    }
}

boxed_view!(
    /// A native record (OTP 29): its definition, and the value of each field in the order of the
    /// definition.
    ///
    /// The definition is a tuple that no program sees, made by
    /// [`record_definition`](crate::alloc::Alloc::record_definition): module, name, whether it is
    /// exported, a hash of these and the fields, and the names of the fields. A record made by a
    /// module's code shares the definition with it as a literal.
    Record
);
impl Record {
    /// Where in a definition the names of the fields begin.
    pub const FIELDS_AT: usize = 4;

    /// The definition tuple that the record was made with.
    #[inline(always)]
    pub fn definition(self) -> Tuple {
        // SAFETY: the first word is the definition, a tuple.
        unsafe { Tuple::from_ptr(self.term_at(1).boxed_ptr()) }
    }
    /// The module that defines the record, an atom.
    pub fn module(self) -> Term {
        self.definition().get(0)
    }
    /// The record's name, an atom.
    pub fn name(self) -> Term {
        self.definition().get(1)
    }
    /// Whether other modules may access the fields.
    pub fn is_exported(self) -> bool {
        self.definition().get(2) == Term::bool(true)
    }
    /// The hash of module, name, export and fields, which `phash2` begins with.
    pub(crate) fn definition_hash(self) -> u32 {
        self.definition().get(3).small_value() as u32
    }
    /// The names of the fields.
    pub fn fields<'a>(self) -> &'a [Term] {
        &self.definition().elements()[Self::FIELDS_AT..]
    }
    /// The values of the fields, in the order of [`Record::fields`].
    #[inline(always)]
    pub fn values<'a>(self) -> &'a [Term] {
        // SAFETY: the values follow the definition.
        unsafe {
            std::slice::from_raw_parts(self.0.add(2).cast::<Term>(), self.header().words() - 1)
        }
    }
    /// The values in the order in which OTP has them, and hashes them: that in which the node has
    /// made the atoms that name the fields.
    pub(crate) fn values_as_hashed<'a>(self) -> Cow<'a, [Term]> {
        let made = |field: &Term| field.as_atom().expect("a field's name").order_of_making();
        if self.fields().is_sorted_by_key(made) {
            return Cow::Borrowed(self.values());
        }
        let mut fields: Vec<_> = self.fields().iter().map(made).zip(self.values()).collect();
        fields.sort_unstable_by_key(|&(made, _)| made);
        Cow::Owned(fields.into_iter().map(|(_, &value)| value).collect())
    }
    /// Index of the field into [`Record::values`]; `None` when the record has no such field.
    pub fn position(self, field: Term) -> Option<usize> {
        self.fields().iter().position(|&name| name == field)
    }
    /// The value of the field named `field`, an atom; `None` when the record has no such field.
    pub fn get(self, field: Term) -> Option<Term> {
        self.position(field).map(|position| self.values()[position])
    }
}

boxed_view!(
    /// An integer outside the small range: sign in the header, magnitude in 64-bit digits, least
    /// significant first, the last one not zero.
    Big
);
impl Big {
    /// Whether the integer is below zero.
    pub fn is_negative(self) -> bool {
        self.header().has(Subtag::BigNeg)
    }
    /// The magnitude in 64-bit digits, least significant first; the last one is not zero.
    pub fn digits<'a>(self) -> &'a [u64] {
        // SAFETY: the header's words are the digits.
        unsafe { std::slice::from_raw_parts(self.0.add(1), self.header().words()) }
    }
}

boxed_view!(
    /// A map of at most [`FlatMap::SIZE_MAX`] pairs: a tuple of sorted keys, and the values.
    FlatMap
);
impl FlatMap {
    /// Pairs up to which a map is flat, as `MAP_SMALL_MAP_LIMIT` of OTP's `erl_map.h`.
    pub const SIZE_MAX: usize = 32;
    /// Pairs in the map.
    #[inline(always)]
    pub fn size(self) -> usize {
        self.header().words() - 1
    }
    /// The tuple of the keys. Maps made from each other may share it.
    #[inline(always)]
    pub fn keys_tuple(self) -> Term {
        self.term_at(1)
    }
    /// Exchanges the tuple of the keys for one that is equal to it.
    ///
    /// # Safety
    /// The map lies where the caller may write, and nobody else looks at it.
    pub unsafe fn set_keys_tuple(self, keys: Term) {
        debug_assert!(keys.is_tuple_of(self.size()));
        // SAFETY: the first word is the keys tuple; the caller's for the rest.
        unsafe { *self.0.add(1) = keys.raw() };
    }
    /// The keys in term order.
    #[inline(always)]
    pub fn keys<'a>(self) -> &'a [Term] {
        // SAFETY: the first word is the keys tuple.
        unsafe { Tuple::from_ptr(self.keys_tuple().boxed_ptr()) }.elements()
    }
    /// The values, in the order of [`FlatMap::keys`].
    #[inline(always)]
    pub fn values<'a>(self) -> &'a [Term] {
        // SAFETY: `size` values follow the keys tuple.
        unsafe { std::slice::from_raw_parts(self.0.add(2).cast::<Term>(), self.size()) }
    }
}

boxed_view!(
    /// The root of a map of more than [`FlatMap::SIZE_MAX`] pairs: a trie on the keys' hashes.
    /// Children are pairs (list cells: key, value) or [`MapNode`]s.
    HashMap
);
impl HashMap {
    /// Pairs in the whole map.
    #[inline]
    pub fn size(self) -> usize {
        self.word(1) as usize
    }
    /// Bit n: the root has a child at branch n (0–15). The children stand in the order of the
    /// branches.
    #[inline]
    pub fn bitmap(self) -> u64 {
        self.word(2)
    }
    /// The children that the bitmap announces: pairs (list cells) and inner nodes.
    #[inline]
    pub fn children<'a>(self) -> &'a [Term] {
        // SAFETY: the words after size and bitmap are children.
        unsafe {
            std::slice::from_raw_parts(self.0.add(3).cast::<Term>(), self.header().words() - 2)
        }
    }
}

boxed_view!(
    /// An inner node of a hash map.
    MapNode
);
impl MapNode {
    /// Bit n: the node has a child at branch n (0–15), as in [`HashMap::bitmap`].
    #[inline]
    pub fn bitmap(self) -> u64 {
        self.word(1)
    }
    /// The children that the bitmap announces: pairs (list cells) and inner nodes.
    #[inline]
    pub fn children<'a>(self) -> &'a [Term] {
        // SAFETY: the words after the bitmap are children.
        unsafe {
            std::slice::from_raw_parts(self.0.add(2).cast::<Term>(), self.header().words() - 1)
        }
    }
}

/// What the term layer needs to know of the function that a fun runs. It is the first field of the
/// machine's fun entries, which live as long as the machine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunIdentity {
    pub module: Atom,
    /// Position among the module's funs, from 0. `old_index` is the number that the compiler gave
    /// it.
    pub index: u32,
    pub old_index: u32,
    pub old_uniq: u32,
    /// The MD5 of the module.
    pub uniq: [u8; 16],
    pub arity: u8,
}

/// Module, function, arity; the first field of the machine's export entries, which live as long as
/// the machine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mfa {
    pub module: Atom,
    pub function: Atom,
    pub arity: u32,
}

boxed_view!(
    /// A fun made by `fun … end`: its entry, and the values of its free variables.
    Fun
);
impl Fun {
    /// Words before the free variables, header included.
    pub const FREE_START: usize = 3;
    /// The word with the arity, the maker and [`Self::OWN_HOLDER`].
    pub const MAKER_WORD: usize = 2;
    /// Set where the fun has a holder of its entry of its own, as OTP 26 to 28 count them: what
    /// code makes shares its module's, as its copies in messages do. A fun that is decoded, or
    /// copied with its literals (into a table), has its own, and so have copies of it.
    pub const OWN_HOLDER: u64 = 1 << 63;
    /// Address of the machine's fun entry, of which the identity is the first field.
    #[inline(always)]
    pub fn entry_ptr(self) -> *const FunIdentity {
        self.word(1) as *const FunIdentity
    }
    /// Which fun of which module it is.
    #[inline(always)]
    pub fn identity<'a>(self) -> &'a FunIdentity {
        // SAFETY: fun entries are never freed.
        unsafe { &*self.entry_ptr() }
    }
    /// Arguments that a call passes, free variables not counted.
    #[inline(always)]
    pub fn arity(self) -> u32 {
        (self.word(Self::MAKER_WORD) & 0xff) as u32
    }
    /// The process that counts as its maker: from OTP 27 on `init`, the first one.
    pub fn creator(self) -> Creator {
        Creator::unpack((self.word(Self::MAKER_WORD) & !Self::OWN_HOLDER) >> 8)
    }
    /// See [`Self::OWN_HOLDER`].
    pub fn has_own_holder(self) -> bool {
        self.word(Self::MAKER_WORD) & Self::OWN_HOLDER != 0
    }
    /// The values of the free variables, in the order that the function takes them behind its
    /// arguments.
    #[inline(always)]
    pub fn free<'a>(self) -> &'a [Term] {
        // SAFETY: free variables follow the two raw words.
        unsafe {
            std::slice::from_raw_parts(
                self.0.add(Self::FREE_START).cast::<Term>(),
                self.header().words() - 2,
            )
        }
    }
}

boxed_view!(
    /// `fun M:F/A`.
    ExportFun
);
impl ExportFun {
    /// Address of the machine's export entry, of which the name is the first field.
    #[inline(always)]
    pub fn entry_ptr(self) -> *const Mfa {
        self.word(1) as *const Mfa
    }
    /// The function that it calls.
    #[inline(always)]
    pub fn mfa<'a>(self) -> &'a Mfa {
        // SAFETY: export entries are never freed.
        unsafe { &*self.entry_ptr() }
    }
}

/// Words of a counted reference after its header. The last two stand where a shared binary has its
/// own: the raw shared bytes, and the next off-heap term.
pub const COUNTED_REF_WORDS: usize = 4;

boxed_view!(
    /// A reference of this node: `[id] [low word]`, whose meaning [`RefValue`](crate::RefValue)
    /// tells; one that holds shared memory has two more words.
    LocalRef
);
impl LocalRef {
    /// The number that tells the reference from all others of the run. See
    /// [`RefValue`](crate::RefValue) for the slot that it may hold.
    #[inline(always)]
    pub fn id(self) -> u64 {
        self.word(1)
    }
    /// What the reference stands for: nothing, an alias, a table, or shared memory.
    pub fn ref_kind(self) -> RefKind {
        RefValue::of(self).kind()
    }
    /// The raw word of the shared memory of a counted reference, if it holds some.
    pub fn counted_raw(self) -> Option<u64> {
        (self.header().words() == COUNTED_REF_WORDS).then(|| self.word(shared_bin::SHARED))
    }
    /// The shared memory of a counted reference, which lives at least as long as the term does.
    /// `None` for one that came from outside when the memory was no more.
    pub fn counted_words<'a>(self) -> Option<&'a [AtomicU64]> {
        if self.header().words() != COUNTED_REF_WORDS {
            return None;
        }
        // SAFETY: a counted reference holds shared bytes made of whole words, at an address fit for
        // such.
        unsafe {
            let shared = ManuallyDrop::new(SharedBytes::from_raw(self.word(shared_bin::SHARED)));
            Some(std::slice::from_raw_parts(shared.data().cast(), shared.capacity() / 8))
        }
    }
    /// The numbers as printed right to left: `#Ref<0.N2.N1.N0>`; N0 has 18 bits.
    pub fn numbers(self) -> [u32; 3] {
        let id = self.id();
        [self.word(2) as u32, id as u32, (id >> 32) as u32]
    }
}

boxed_view!(
    /// A pid, port or reference of another node, of an earlier incarnation of this one, or a pid of
    /// this one that is [`PidData::Beyond`](crate::node::PidData::Beyond).
    External
);
impl External {
    /// The name of the node that made the identifier.
    pub fn node(self) -> Atom {
        Atom::from_index(self.word(1) as u32)
    }
    /// The incarnation of that node: see "creation" in the External Term Format.
    pub fn creation(self) -> u32 {
        self.word(2) as u32
    }
    /// The first number of it as text: that of the node's name, 0 for this node's.
    pub fn channel(self) -> u32 {
        if self.node() == NodeInfo::this().name { 0 } else { self.node().index() }
    }
    /// Pid: id, serial. Port: the number's two halves. Reference: its words.
    pub fn numbers<'a>(self) -> &'a [u64] {
        // SAFETY: the words after node and creation are the numbers.
        unsafe { std::slice::from_raw_parts(self.0.add(3), self.header().words() - 2) }
    }
}

boxed_view!(
    /// The state of matching a bitstring; offsets in bits, counted from the start of the original's
    /// data.
    MatchContext
);
impl MatchContext {
    /// Words of a match context, header included.
    pub const WORDS: usize = 4;
    /// Bit at which matching goes on, counted from the start of the original's data.
    #[inline(always)]
    pub fn offset(self) -> usize {
        self.word(1) as usize
    }
    /// Bit behind the last one that is matched, counted from the start of the original's data.
    #[inline(always)]
    pub fn end(self) -> usize {
        self.word(2) as usize
    }
    /// The heap or shared binary that it reads (never a sub-binary).
    #[inline(always)]
    pub fn original(self) -> Term {
        self.term_at(3)
    }
    /// Moves the position; the only mutation of a term that is not freshly built.
    #[inline(always)]
    pub fn set_offset(self, bit_offset: usize) {
        // SAFETY: the word is the context's own, and a context is never shared between processes.
        unsafe { *self.0.add(1) = bit_offset as u64 }
    }
}
