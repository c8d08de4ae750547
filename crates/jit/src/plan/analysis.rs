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

#[cfg(test)]
mod tests {
    use super::*;
    use swarmrt_beam::instr::{Dst, Src};

    /// A function `f/arity` of these instructions; the first is number 2.
    fn flow(arity: u32, body: &[Instr]) -> Flow {
        let head = [Instr::FuncInfo { function: 0, calls: 0 }, Instr::Cell { native: 0 }];
        let code = [&head, body].concat();
        Flow::of(&code, 0, code.len() as u32, 1, arity as usize)
    }

    fn registers(set: XSet) -> Vec<u32> {
        (0..TRACKED_X as u32).filter(|number| set & 1 << number != 0).collect()
    }

    #[test]
    fn what_either_way_reads_is_alive_before_a_test() {
        let flow = flow(
            4,
            &[
                Instr::MoveXX { from: 1, to: 5 },
                Instr::IsNilX { x: 2, fail: 3 },
                Instr::MoveXX { from: 5, to: 0 },
                Instr::Return,
                Instr::MoveXX { from: 3, to: 0 },
                Instr::Return,
            ],
        );
        for (at, expected) in [
            (2, vec![1, 2, 3]),
            (3, vec![2, 3, 5]),
            (4, vec![5]),
            (5, vec![0]),
            (6, vec![3]),
            // It shows all arguments.
            (0, vec![0, 1, 2, 3]),
        ] {
            assert_eq!(registers(flow.live_at(at)), expected, "before {at}");
        }
        assert_eq!(registers(flow.live_after(3)), [3, 5]);
        assert_eq!([3, 4, 6].map(|at| flow.is_target(at)), [false, false, true]);
        assert_eq!(flow.live_at(100), 0, "outside of the function");
    }

    #[test]
    fn what_is_written_only_where_a_test_holds_stays_alive_where_it_does_not() {
        let test = Instr::IsConsGetListX { x: 0, head: Dst::x(1), tail: Dst::x(0), fail: 2 };
        let flow = flow(2, &[test, Instr::Return, Instr::MoveXX { from: 1, to: 0 }, Instr::Return]);
        assert_eq!(registers(flow.live_at(2)), [0, 1], "x1 is read where it fails");
        assert_eq!(registers(flow.at(2).defs), [0, 1]);
    }

    #[test]
    fn loops_begin_where_something_jumps_back_to() {
        let flow = flow(
            1,
            &[
                Instr::MoveKX { to: 1, value: swarmrt_term::Term::NIL },
                Instr::AddXI { x: 0, to: 0, value: 1 },
                Instr::IsLtXI { x: 0, value: 10, fail: 2 },
                Instr::Jump { target: -2 },
                Instr::Return,
            ],
        );
        let loops: Vec<u32> = (0..7).filter(|&at| flow.is_loop(at)).collect();
        // The function itself may be one: it calls itself last.
        assert_eq!(loops, [2, 3]);
        assert_eq!(registers(flow.live_at(3)), [0]);
        assert_eq!(flow.at(5).next, None, "nothing follows a jump");
    }

    #[test]
    fn calls_read_their_arguments_and_end_the_flow() {
        let flow = flow(
            0,
            &[
                Instr::Call { arity: 3, target: -1 },
                Instr::Cell { native: 0 },
                Instr::CallFun { arity: 2 },
                Instr::Cell { native: 0 },
                Instr::Apply { arity: 1 },
                Instr::Cell { native: 0 },
                Instr::Return,
            ],
        );
        for (at, expected) in [
            (2, vec![0, 1, 2]),
            // The fun stands behind the arguments.
            (4, vec![0, 1, 2]),
            // Module and function do.
            (6, vec![0, 1, 2]),
            (8, vec![0]),
        ] {
            assert_eq!(registers(flow.live_at(at)), expected, "before {at}");
        }
        assert_eq!([2, 4, 6].map(|at| flow.at(at).next), [None; 3]);
    }

    #[test]
    fn a_guarded_operation_may_go_to_where_its_guard_fails() {
        let (a, b) = (Src::x(0), Src::x(1));
        let flow = flow(
            3,
            &[
                Instr::Add { a, b, dst: Dst::x(0) },
                Instr::Fail { target: 2 },
                Instr::Return,
                Instr::MoveXX { from: 2, to: 0 },
                Instr::Return,
            ],
        );
        assert_eq!(flow.at(2).jumps, [5]);
        assert_eq!(registers(flow.live_at(2)), [0, 1, 2]);
        assert!(flow.is_target(5));
    }

    #[test]
    fn floats_and_frames_are_noted_too() {
        let flow = flow(
            0,
            &[
                Instr::FloatAdd { a: 3, b: 4, to: 5 },
                Instr::StoreFloat { from: 5, dst: Dst::y(2) },
                Instr::FloatNeg { a: 5, to: 5 },
                Instr::StoreFloat { from: 5, dst: Dst::x(0) },
                Instr::Return,
            ],
        );
        assert_eq!((flow.f_live_at(2), flow.f_live_at(3)), (0b1_1000, 0b10_0000));
        assert_eq!((flow.f_live_at(4), flow.f_live_at(6)), (0b10_0000, 0));
        assert_eq!(flow.at(3).y_defs, [2]);
    }

    #[test]
    fn registers_beyond_those_that_are_tracked_are_none() {
        assert_eq!(below(3), 0b111);
        assert_eq!(below(TRACKED_X), XSet::MAX);
        assert_eq!(below(255), XSet::MAX);
        let flow = flow(0, &[Instr::MoveXX { from: 1000, to: 64 }, Instr::Return]);
        assert_eq!((flow.at(2).uses, flow.at(2).defs), (0, 0));
    }
}
