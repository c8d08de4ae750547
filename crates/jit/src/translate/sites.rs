//! Where bodies stand in a piece: how functions are entered without leaving it, and how they
//! return.

use super::{Next, Translator};
use crate::plan::analysis::below;
use crate::plan::inlining::{BodyNumber, Helper, Lambda, PIECE_INSTRUCTIONS_MAX};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};
use swarmrt_beam::instr::{Dst, ExportPtr, FunPtr, Src};
use swarmrt_engine::code::ARGUMENTS_MAX;
use swarmrt_engine::code::Stub;
use swarmrt_engine::layout::address_in;

/// The number of an inlined call, whose callee is one body; 0 is the function that is compiled.
pub(super) type Site = usize;

/// How a body is entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// From the interpreter or other pieces, to which it returns.
    Piece,
    /// By a call of an export, tail or not. It returns through the cell, to a piece of its own:
    /// after a loop the facts before it matter little.
    Export,
    /// By a call; it returns behind that.
    Call,
    /// By a tail call; it returns as its caller does.
    LastCall,
}

/// A body at its site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entered {
    pub(super) body: BodyNumber,
    by: Entry,
    from: ProgramPoint,
}

/// An instruction of a body, at one of the sites of that body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct ProgramPoint {
    pub(super) site: Site,
    /// The instruction's number in the body.
    pub(super) at: u32,
}

/// The bodies of a piece, by their sites.
pub(super) struct Sites {
    pub(super) entered: Vec<Entered>,
    /// The site of the body that is being translated.
    pub(super) current: Site,
    /// Inlined loops that are entered with funs: a piece is made for each, in which a turn can
    /// resume.
    pub(super) loops: Vec<InsideLoop>,
}

impl Default for Sites {
    fn default() -> Sites {
        Sites { entered: vec![Entered::FUNCTION], current: 0, loops: Vec::new() }
    }
}

/// A function that calls itself, inlined into one that passes it a fun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InsideLoop {
    pub body: BodyNumber,
    /// The fun, and the number of the argument that it is, from 0.
    pub fun: FunPtr,
    pub argument: usize,
    /// The export that the caller calls.
    pub export: ExportPtr,
}

impl Entered {
    const FUNCTION: Entered =
        Entered { body: 0, by: Entry::Piece, from: ProgramPoint { site: 0, at: 0 } };
}

impl Translator<'_, '_> {
    /// An instruction of the body that is being translated.
    pub(super) fn point(&self, at: u32) -> ProgramPoint {
        ProgramPoint { site: self.sites.current, at }
    }
    /// The site for a body that is entered here; `None` when too much is inlined already.
    pub(super) fn site_of(&mut self, at: u32, body: BodyNumber, by: Entry) -> Option<Site> {
        let entered = Entered { body, by, from: self.point(at) };
        if let Some(known) = self.sites.entered.iter().position(|&site| site == entered) {
            return Some(known);
        }
        let instructions: usize = self.sites.entered[1..]
            .iter()
            .map(|site| self.source.inlined.body(site.body).flow.effects.len())
            .sum();
        if instructions + self.source.inlined.body(body).flow.effects.len() > PIECE_INSTRUCTIONS_MAX
        {
            return None;
        }
        self.sites.entered.push(entered);
        Some(self.sites.entered.len() - 1)
    }
    /// The site at which a call of this module's function behind `cell` goes on, if that is within
    /// the piece; a loop goes back to a site that is entered already.
    pub(super) fn inside(&mut self, at: u32, cell: u32, last: bool) -> Option<Site> {
        let number = self.sites.entered[self.sites.current].body;
        let itself = if self.sites.current == 0 {
            cell == self.source.entry && self.begins_function()
        } else {
            self.body().called(at) == Some(number)
        };
        if itself {
            if !last {
                // One frame more each time: nothing would ever be known of the same register.
                self.write_frame();
                self.facts.forget_y();
            }
            return Some(self.sites.current);
        }
        let body = self.body().called(at)?;
        // Round by others: the same if it returns the same way.
        let mut around = self.sites.current;
        let mut by_last_calls = last;
        while around != 0 {
            let entered = self.sites.entered[around];
            if entered.body == body {
                return by_last_calls.then_some(around);
            }
            by_last_calls &= entered.by == Entry::LastCall;
            around = entered.from.site;
        }
        self.site_of(at, body, if last { Entry::LastCall } else { Entry::Call })
    }
    /// Begins the piece in an inlined loop, which returns as any function does.
    pub(super) fn begin_inside(&mut self, inside: InsideLoop) {
        self.sites.entered.push(Entered { body: inside.body, ..Entered::FUNCTION });
        self.sites.current = self.sites.entered.len() - 1;
    }
    /// Notes a loop that is entered with a fun.
    fn note_loop(&mut self, site: Site, arity: usize) {
        let body = self.sites.entered[site].body;
        let mut outermost = site;
        while !matches!(self.sites.entered[outermost].by, Entry::Export | Entry::Piece) {
            outermost = self.sites.entered[outermost].from.site;
        }
        let entered = self.sites.entered[outermost];
        if site == self.sites.current
            || entered.by == Entry::Piece
            || !self.source.inlined.body(body).is_loop
        {
            return;
        }
        let export = self.source.inlined.export_of(entered.body);
        let fun = (0..arity.min(ARGUMENTS_MAX))
            .find_map(|x| Some((x, self.facts.of(Dst::x(x as u16)).fun?)));
        if let (Some(export), Some((argument, fun))) = (export, fun) {
            let found = InsideLoop { body, fun, argument, export };
            if !self.sites.loops.contains(&found) {
                self.sites.loops.push(found);
            }
        }
    }
    /// Counts the call, and goes on in the body.
    pub(super) fn go_inside(&mut self, site: Site, arity: usize) -> Next {
        self.note_loop(site, arity);
        let body = self.source.inlined.body(self.sites.entered[site].body);
        let is_deeper =
            self.sites.current != 0 && self.sites.entered[site].from.site == self.sites.current;
        if is_deeper && !body.is_loop {
            // The turn ends a little later: at the next call of a loop, which is come back to, or
            // behind the outermost body.
            self.count_built_in();
        } else {
            let cell = address_in(body.code(self.source.code), body.entry);
            self.count_call(cell, arity, |translator| {
                translator.leave_by(Stub::TurnOver, Stub::TurnOverFloats, below(arity));
            });
        }
        // In the next round, floats are expected again.
        self.facts.mixed = false;
        let block = self.target_in(site, body.entry + 1);
        self.b.ins().jump(block, &[]);
        Next::End
    }

    /// The call that a body returns behind, where that can be no other.
    pub(super) fn only_way_back(&self) -> Option<ProgramPoint> {
        let mut site = self.sites.current;
        loop {
            let entered = self.sites.entered[site];
            let recurs = site != 0 && !self.source.inlined.body(entered.body).recursions.is_empty();
            match entered.by {
                _ if recurs => return None,
                Entry::Piece | Entry::Export => return None,
                Entry::Call => return Some(entered.from),
                Entry::LastCall => site = entered.from.site,
            }
        }
    }
    /// Returns to the cell that was taken off the stack, where that may be in the piece.
    pub(super) fn ways_back(&mut self, cell: Value) -> Option<Next> {
        let mut site = self.sites.current;
        loop {
            let entered = self.sites.entered[site];
            let body = self.source.inlined.body(entered.body);
            for &call in if site == 0 { &[] } else { body.recursions.as_slice() } {
                let known = self.facts.clone();
                // It had another frame.
                self.facts.forget_y();
                let block = self.target_in(site, call + 2);
                self.facts = known;
                let wanted = self.place(address_in(body.code(self.source.code), call + 1));
                let other = self.b.ins().icmp(IntCC::NotEqual, cell, wanted);
                self.require(other, block);
            }
            match entered.by {
                Entry::Piece | Entry::Export => return None,
                Entry::Call => return Some(self.go_back(entered.from)),
                Entry::LastCall => site = entered.from.site,
            }
        }
    }
    /// Goes on behind an inlined call whose return address has been popped.
    pub(super) fn go_back(&mut self, call: ProgramPoint) -> Next {
        let ProgramPoint { site, at: call } = call;
        let block = self.target_in(site, call + 2);
        self.b.ins().jump(block, &[]);
        Next::End
    }

    // ---- Funs ----

    /// The function of a fun that can be inside, when it is known which, and takes so many
    /// arguments.
    pub(crate) fn known_fun(&self, at: u32, src: Src, arity: u16) -> Option<Lambda> {
        let lambda = self.source.inlined.lambda(self.fact(at, src).fun?)?;
        (lambda.arity == usize::from(arity)).then_some(lambda)
    }
    /// The function that an export leads to, if it may be inlined and an argument is a known fun.
    pub(super) fn helper(&self, export: ExportPtr, arity: u16) -> Option<Helper> {
        let helper = self.source.inlined.helper(export)?;
        (self.sites.current == 0 && (0..arity).any(|x| self.facts.of(Dst::x(x)).fun.is_some()))
            .then_some(helper)
    }
    /// Calls the function of a fun without leaving the piece, if there is room in it.
    pub(crate) fn call_known_fun(
        &mut self,
        at: u32,
        fun: Value,
        lambda: Lambda,
        frame: Option<u16>,
    ) -> Option<Next> {
        let by = if frame.is_some() { Entry::LastCall } else { Entry::Call };
        let site = self.site_of(at, lambda.body, by)?;
        for variable in 0..lambda.free {
            let value = self.load(fun, swarmrt_engine::layout::boxed(3 + variable));
            self.def_x(lambda.arity + variable, value);
        }
        self.pop_or_push(at, frame);
        Some(self.go_inside(site, lambda.arity + lambda.free))
    }
}
