//! What an instruction does with each operand: its role. From the roles on an instruction's line in
//! the table follow the type of the operand, who reads and writes which register, and where jumps
//! lead.

use super::operand::{Dst, ExportPtr, FunPtr, NativePtr, Src, Table, Utf};
use std::fmt;
use swarmrt_term::Term;

/// What an instruction does with one register, or where it may lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    Read(Src),
    Write(Dst),
    ReadFloat(u16),
    WriteFloat(u16),
    /// Reads `R[0..n]`: arguments, or what is alive at an allocation.
    ReadBelow(u16),
    /// May go on so many instructions from here.
    Jump(i32),
}

/// A jump operand while it is still the number of a label; 0 where there is none.
pub enum Label<'a> {
    /// Becomes the distance to the label.
    Place(&'a mut i32),
    /// Becomes the distance to the instruction behind the cell at the label: the interpreter has
    /// nothing to do in the cell.
    PastCell(&'a mut i32),
}

/// The role of one operand.
pub trait Role {
    /// How it lies in the instruction.
    type Field: Copy;
    /// Shows the registers that it names and the places where it leads, reads before writes.
    fn visit(field: Self::Field, visit: &mut impl FnMut(Operand));
    /// Shows the jumps that are still labels.
    ///
    /// # Safety
    /// Nobody else uses the tables of the instruction.
    unsafe fn labels(_field: &mut Self::Field, _visit: &mut impl FnMut(Label<'_>)) {}
    /// How it is listed, in an instruction at number `at`.
    fn list(field: Self::Field, at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// Operands in a table beside the code.
pub trait Operands {
    fn visit(&self, visit: &mut impl FnMut(Operand));
    fn labels(&mut self, _visit: &mut impl FnMut(Label<'_>)) {}
}

macro_rules! roles {
    ($(#[doc = $meaning:literal] $role:ident($field:ty) |$name:ident, $visit:ident, $at:ident| { $($does:stmt)* } $shows:expr;)*) => {
        $(
            #[doc = $meaning]
            pub struct $role;
            impl Role for $role {
                type Field = $field;
                fn visit($name: $field, $visit: &mut impl FnMut(Operand)) {
                    let _ = &$visit;
                    $($does)*
                }
                fn list($name: $field, $at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    let _ = $at;
                    $shows(f)
                }
            }
        )*
    };
}

/// A writer of one value in the form of its type.
fn debug<T: fmt::Debug>(value: T) -> impl FnOnce(&mut fmt::Formatter<'_>) -> fmt::Result {
    move |f| write!(f, "{value:?}")
}

roles! {
    /// Reads a register or a constant.
    Read(Src) |src, visit, at| { visit(Operand::Read(src)) } debug(src);
    /// Writes a register.
    Write(Dst) |dst, visit, at| { visit(Operand::Write(dst)) } debug(dst);
    /// Reads a register of the form that is also written.
    ReadDst(Dst) |dst, visit, at| { visit(Operand::Read(dst.as_src())) } debug(dst);
    /// Reads a register and writes it.
    ReadWrite(Dst) |dst, visit, at| { visit(Operand::Read(dst.as_src())) visit(Operand::Write(dst)) } debug(dst);
    /// Reads `R[x]`.
    ReadX(u16) |x, visit, at| { visit(Operand::Read(Src::x(x))) } debug(Dst::x(x));
    /// Writes `R[x]`.
    WriteX(u16) |x, visit, at| { visit(Operand::Write(Dst::x(x))) } debug(Dst::x(x));
    /// Reads `Y[y]`.
    ReadY(u16) |y, visit, at| { visit(Operand::Read(Src::y(y))) } debug(Dst::y(y));
    /// Writes `Y[y]`.
    WriteY(u16) |y, visit, at| { visit(Operand::Write(Dst::y(y))) } debug(Dst::y(y));
    /// Reads `F[f]`.
    ReadF(u16) |number, visit, at| { visit(Operand::ReadFloat(number)) } |f: &mut fmt::Formatter<'_>| write!(f, "f{number}");
    /// Writes `F[f]`.
    WriteF(u16) |number, visit, at| { visit(Operand::WriteFloat(number)) } |f: &mut fmt::Formatter<'_>| write!(f, "f{number}");
    /// A number of X registers that are alive where the heap may be collected.
    Live(u16) |live, visit, at| { visit(Operand::ReadBelow(live)) } debug(live);
}

/// A number of arguments in the first X registers, and `MORE` registers behind them that are read.
pub struct Args<const MORE: u16 = 0>;

impl<const MORE: u16> Role for Args<MORE> {
    type Field = u16;
    fn visit(arity: u16, visit: &mut impl FnMut(Operand)) {
        visit(Operand::ReadBelow(arity + MORE));
    }
    fn list(arity: u16, _at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{arity}")
    }
}

fn list_place(distance: i32, at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "->{}", at.wrapping_add_signed(distance))
}

/// Where the instruction may lead. `OPTIONAL`: 0 says that it leads nowhere but on.
pub struct To<const OPTIONAL: bool = false>;
/// Where the instruction leads when it fails.
pub type Jump = To<false>;
/// Where the instruction leads when it fails, if that is not an exception.
pub type MaybeJump = To<true>;

impl<const OPTIONAL: bool> Role for To<OPTIONAL> {
    type Field = i32;
    fn visit(distance: i32, visit: &mut impl FnMut(Operand)) {
        if !OPTIONAL || distance != 0 {
            visit(Operand::Jump(distance));
        }
    }
    unsafe fn labels(label: &mut i32, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::Place(label));
    }
    fn list(distance: i32, at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if OPTIONAL && distance == 0 { f.write_str("raise") } else { list_place(distance, at, f) }
    }
}

/// A place in the function that control does not come to from here: a handler, or where a waiting
/// process goes on.
pub struct Place;

impl Role for Place {
    type Field = i32;
    fn visit(_distance: i32, _visit: &mut impl FnMut(Operand)) {}
    unsafe fn labels(label: &mut i32, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::Place(label));
    }
    fn list(distance: i32, at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list_place(distance, at, f)
    }
}

/// A function of this module, behind its cell.
pub struct Entry;

impl Role for Entry {
    type Field = i32;
    fn visit(_distance: i32, _visit: &mut impl FnMut(Operand)) {}
    unsafe fn labels(label: &mut i32, visit: &mut impl FnMut(Label<'_>)) {
        visit(Label::PastCell(label));
    }
    fn list(distance: i32, at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list_place(distance, at, f)
    }
}

macro_rules! plain {
    ($($field:ty),*) => {
        $(impl Role for $field {
            type Field = $field;
            fn visit(_value: $field, _visit: &mut impl FnMut(Operand)) {}
            fn list(value: $field, _at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{value:?}")
            }
        })*
    };
}
plain!(u8, u16, u32, u64, i32, Term, ExportPtr, NativePtr, Utf);

impl<T: Operands + fmt::Debug> Role for Table<T> {
    type Field = Table<T>;
    fn visit(table: Table<T>, visit: &mut impl FnMut(Operand)) {
        (*table).visit(visit);
    }
    unsafe fn labels(table: &mut Table<T>, visit: &mut impl FnMut(Label<'_>)) {
        // SAFETY: the caller sees to it that the table is nobody else's now.
        unsafe { (*table.as_ptr()).labels(visit) }
    }
    fn list(table: Table<T>, _at: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{table:?}")
    }
}

/// Reads each.
impl Operands for Box<[Src]> {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        self.iter().for_each(|&src| visit(Operand::Read(src)));
    }
}
impl Operands for [Src; 3] {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        self.iter().for_each(|&src| visit(Operand::Read(src)));
    }
}
/// The free variables of a fun.
impl Operands for (FunPtr, Box<[Src]>) {
    fn visit(&self, visit: &mut impl FnMut(Operand)) {
        self.1.visit(visit);
    }
}
/// Bits to compare with.
impl Operands for (u32, Box<[u8]>) {
    fn visit(&self, _visit: &mut impl FnMut(Operand)) {}
}
