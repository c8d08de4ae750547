//! What an instruction reads and writes, where it leads, and from that which X registers are alive
//! where.

use swarmrt_beam::instr::{Instr, Operand};

/// X registers from here on always live in memory.
pub const TRACKED_X: usize = 64;

/// A set of the first [`TRACKED_X`] X registers.
pub type XSet = u64;

/// What one instruction means to the flow of values and control. Positions are instruction numbers.
#[derive(Default, Debug)]
pub struct Effects {
    pub uses: XSet,
    pub defs: XSet,
    /// The F registers that it reads and writes, of the first 32.
    pub f_uses: u32,
    pub f_defs: u32,
    /// The Y registers that it writes.
    pub y_defs: Vec<u16>,
    /// The next instruction to run, unless the flow ends here.
    pub next: Option<u32>,
    /// Other places to which it may lead.
    pub jumps: Vec<u32>,
}

/// The registers below `count`.
pub fn below(count: usize) -> XSet {
    if count >= TRACKED_X { XSet::MAX } else { (1 << count) - 1 }
}

fn x_bit(number: usize) -> XSet {
    if number < TRACKED_X { 1 << number } else { 0 }
}

impl Effects {
    /// What an operand adds, in the order of the instruction: what it has written itself is not
    /// read before it.
    fn add(&mut self, operand: Operand, at: u32) {
        let float_bit = |number: u16| 1u32.checked_shl(number.into()).unwrap_or(0);
        match operand {
            Operand::Read(src) => {
                self.uses |= src.as_x().map_or(0, |x| x_bit(x.into())) & !self.defs;
            }
            Operand::Write(dst) if dst.is_y() => self.y_defs.push(dst.index() as u16),
            Operand::Write(dst) => self.defs |= x_bit(dst.index()),
            Operand::ReadFloat(number) => self.f_uses |= float_bit(number),
            Operand::WriteFloat(number) => self.f_defs |= float_bit(number),
            Operand::ReadBelow(count) => self.uses |= below(count.into()),
            Operand::Jump(distance) => self.jumps.push(at.wrapping_add_signed(distance)),
        }
    }
}

/// The effects of the instruction at `at`. The flow within one function only: a call ends it, and
/// the place that it returns to is a beginning.
pub fn effects(code: &[Instr], at: u32) -> Effects {
    let instr = &code[at as usize];
    let properties = instr.properties();
    let next = if properties.ends { None } else { Some(at + 1 + u32::from(properties.over_cell)) };
    let mut effects = Effects { uses: below(properties.reads.into()), next, ..Effects::default() };
    instr.operands(&mut |operand| effects.add(operand, at));
    effects.defs |= below(properties.writes.into());
    if properties.guarded
        && let Instr::Fail { target } = code[at as usize + 1]
    {
        effects.jumps.push((at + 1).wrapping_add_signed(target));
    }
    effects
}

/// Writes that happen only where the instruction goes on to the next: not where it jumps.
fn may_jump_before_writing(effects: &Effects) -> bool {
    !effects.jumps.is_empty()
}

/// What is known of a function's instructions, from `start` on.
pub struct Flow {
    pub start: u32,
    pub effects: Vec<Effects>,
    /// The X registers alive before each, and the F registers.
    live: Vec<XSet>,
    f_live: Vec<u32>,
    /// Whether something jumps there, and whether from behind.
    is_target: Vec<bool>,
    is_loop: Vec<bool>,
}

impl Flow {
    /// Looks at the function whose instructions are `start..end`, with the cell at `entry`.
    pub fn of(code: &[Instr], start: u32, end: u32, entry: u32, arity: usize) -> Flow {
        let effects: Vec<Effects> = (start..end).map(|at| effects(code, at)).collect();
        let mut is_target = vec![false; effects.len()];
        let mut is_loop = vec![false; effects.len()];
        // The function begins anew where it calls itself last.
        if let Some(first) = is_loop.get_mut((entry + 1 - start) as usize) {
            *first = true;
        }
        // The receive loop goes on behind where it looks at the first message.
        for at in start..end {
            if matches!(code[at as usize], Instr::LoopRec { .. })
                && let Some(next) = is_target.get_mut((at + 1 - start) as usize)
            {
                *next = true;
                is_loop[(at + 1 - start) as usize] = true;
            }
        }
        for (at, effects) in (start..end).zip(&effects) {
            for &target in effects.jumps.iter().filter(|target| (start..end).contains(target)) {
                is_target[(target - start) as usize] = true;
                is_loop[(target - start) as usize] |= target <= at;
            }
        }
        let mut flow = Flow {
            start,
            live: vec![0; effects.len()],
            f_live: vec![0; effects.len()],
            effects,
            is_target,
            is_loop,
        };
        // Raising `function_clause` shows the arguments.
        flow.effects[0].uses = below(arity);
        flow.solve();
        flow
    }

    fn solve(&mut self) {
        loop {
            let mut changed = false;
            for at in (0..self.effects.len()).rev() {
                let effects = &self.effects[at];
                let mut after = effects.next.map_or(0, |next| self.live_at(next));
                if may_jump_before_writing(effects) {
                    let jumped =
                        effects.jumps.iter().fold(0, |live, &target| live | self.live_at(target));
                    after = (after & !effects.defs) | jumped;
                } else {
                    after &= !effects.defs;
                }
                let live = after | effects.uses;
                let f_after = effects
                    .next
                    .iter()
                    .chain(&effects.jumps)
                    .fold(0, |live, &place| live | self.f_live_at(place));
                let f_live = f_after & !effects.f_defs | effects.f_uses;
                if live != self.live[at] || f_live != self.f_live[at] {
                    self.live[at] = live;
                    self.f_live[at] = f_live;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// The effects of an instruction of this function.
    ///
    /// # Panics
    /// When `at` is outside of the function.
    pub fn at(&self, at: u32) -> &Effects {
        &self.effects[(at - self.start) as usize]
    }
    /// The X registers alive before the instruction.
    pub fn live_at(&self, at: u32) -> XSet {
        self.live.get(at.wrapping_sub(self.start) as usize).copied().unwrap_or(0)
    }
    /// The F registers alive before the instruction, of the first 32.
    pub fn f_live_at(&self, at: u32) -> u32 {
        self.f_live.get(at.wrapping_sub(self.start) as usize).copied().unwrap_or(0)
    }
    /// The X registers alive after the instruction, in any of its successors.
    pub fn live_after(&self, at: u32) -> XSet {
        let effects = self.at(at);
        let next = effects.next.map_or(0, |next| self.live_at(next));
        effects.jumps.iter().fold(next, |live, &target| live | self.live_at(target))
    }
    /// Whether something jumps there.
    pub fn is_target(&self, at: u32) -> bool {
        self.is_target.get(at.wrapping_sub(self.start) as usize).copied().unwrap_or(false)
    }
    /// Whether a loop begins there.
    pub fn is_loop(&self, at: u32) -> bool {
        self.is_loop.get(at.wrapping_sub(self.start) as usize).copied().unwrap_or(false)
    }
    /// Whether the function has an instruction with this number.
    pub fn contains(&self, at: u32) -> bool {
        (at.wrapping_sub(self.start) as usize) < self.effects.len()
    }
}
