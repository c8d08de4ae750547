//! What an instruction reads and writes, where it leads, and from that which X registers are alive where.

use swarmrt_beam::instr::{Dst, Instr, MatchStep, Select, Src};

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
    fn read(mut self, src: Src) -> Effects {
        if let Some(x) = src.as_x() {
            self.uses |= x_bit(x as usize);
        }
        self
    }
    fn floats(mut self, from: &[u16], to: Option<u16>) -> Effects {
        let bit = |number: u16| 1u32.checked_shl(number.into()).unwrap_or(0);
        self.f_uses = from.iter().fold(0, |uses, &number| uses | bit(number));
        self.f_defs = to.map_or(0, bit);
        self
    }
    fn write(mut self, dst: Dst) -> Effects {
        if dst.is_y() {
            self.y_defs.push(dst.index() as u16);
        } else {
            self.defs |= x_bit(dst.index());
        }
        self
    }
    fn jump(mut self, target: u32) -> Effects {
        self.jumps.push(target);
        self
    }
    fn read_x(mut self, x: u16) -> Effects {
        self.uses |= x_bit(x as usize);
        self
    }
    fn write_x(mut self, x: u16) -> Effects {
        self.defs |= x_bit(x as usize);
        self
    }
    fn read_all(self, sources: impl IntoIterator<Item = Src>) -> Effects {
        sources.into_iter().fold(self, Effects::read)
    }
}

/// The effects of the instruction at `at`. The flow within one function only: a call ends it, and the place that it
/// returns to is a beginning.
#[allow(clippy::too_many_lines, reason = "one arm an instruction")]
pub fn effects(code: &[Instr], at: u32) -> Effects {
    let to = |distance: i32| at.wrapping_add_signed(distance);
    let flow = || Effects { next: Some(at + 1), ..Effects::default() };
    let end = Effects::default;
    let with = |mut effects: Effects, uses: XSet| {
        effects.uses |= uses;
        effects
    };
    // A guard's operation leads to the target of the `Fail` behind it when it fails.
    let guarded = |effects: Effects| match code[at as usize + 1] {
        Instr::Fail { target } => effects.jump((at + 1).wrapping_add_signed(target)),
        _ => effects,
    };
    match code[at as usize] {
        Instr::Cell { .. } | Instr::Nop | Instr::Fail { .. } => flow(),
        Instr::NotLoaded => unreachable!("only what is loaded is compiled"),
        // Raises, with the arguments still in place.
        Instr::FuncInfo { .. } => with(end(), XSet::MAX),
        Instr::MoveXX { from, to } => flow().read_x(from).write_x(to),
        Instr::MoveXY { from, to } => flow().read_x(from).write(Dst::y(to)),
        Instr::MoveYX { to, .. } | Instr::MoveKX { to, .. } => flow().write_x(to),
        Instr::Move { src, dst } => flow().read(src).write(dst),
        // The second move may read what the first has written.
        Instr::MoveXX2 { from1, to1, from2, to2 } => {
            let second = if from2 == to1 { flow() } else { flow().read_x(from2) };
            second.read_x(from1).write_x(to1).write_x(to2)
        }
        Instr::MoveXY2 { from1, to1, from2, to2 } => flow().read_x(from1).read_x(from2).write(Dst::y(to1)).write(Dst::y(to2)),
        Instr::MoveYX2 { to1, to2, .. } => flow().write_x(to1).write_x(to2),
        Instr::Swap { a, b } => flow().read(a.as_src()).read(b.as_src()).write(a).write(b),
        Instr::InitY { registers } => registers.iter().fold(flow(), |effects, &y| effects.write(Dst::y(y))),
        Instr::Allocate { live, .. } | Instr::TestHeap { live, .. } => with(flow(), below(live as usize)),
        Instr::Deallocate { .. } | Instr::Trim { .. } => flow(),
        Instr::Call { arity, .. }
        | Instr::CallLast { arity, .. }
        | Instr::CallOnly { arity, .. }
        | Instr::CallExt { arity, .. }
        | Instr::CallExtLast { arity, .. }
        | Instr::CallExtOnly { arity, .. } => with(end(), below(arity as usize)),
        // Past the cell that a trap returns to; nothing but the result is alive there.
        Instr::CallBif { arity, .. } => Effects { uses: below(arity as usize), defs: XSet::MAX, next: Some(at + 2), ..Effects::default() },
        Instr::CallBifLast { arity, .. } | Instr::CallBifOnly { arity, .. } | Instr::BifBody { arity, .. } => with(end(), below(arity as usize)),
        Instr::Apply { arity } | Instr::ApplyLast { arity, .. } => with(end(), below(arity as usize + 2)),
        Instr::CallFun { arity } => with(end(), below(arity as usize + 1)),
        Instr::CallFun2 { arity, fun } | Instr::CallFunLast { arity, fun, .. } => with(end().read(fun), below(arity as usize)),
        Instr::ApplyArgsLast { .. } => with(end(), below(3)),
        Instr::Return => with(end(), 1),
        Instr::CallErrorHandler { .. } | Instr::ProcessEnd | Instr::ApplyArgs | Instr::Hibernated | Instr::ApplyFunArgs => with(end(), XSet::MAX),
        Instr::Jump { target } => end().jump(to(target)),
        Instr::SelectVal { src, select } | Instr::SelectArity { src, select } => {
            let (targets, fail, keys): (&[i32], i32, &[Src]) = match &*select {
                Select::Jump { targets, fail, .. } | Select::Search { targets, fail, .. } => (targets, *fail, &[]),
                Select::Each { keys, targets, fail } => (targets, *fail, keys),
            };
            let effects = end().read(src).read_all(keys.iter().copied()).jump(to(fail));
            targets.iter().fold(effects, |effects, &target| effects.jump(to(target)))
        }
        Instr::IsInteger { src, fail }
        | Instr::IsFloat { src, fail }
        | Instr::IsNumber { src, fail }
        | Instr::IsAtom { src, fail }
        | Instr::IsPid { src, fail }
        | Instr::IsReference { src, fail }
        | Instr::IsPort { src, fail }
        | Instr::IsNil { src, fail }
        | Instr::IsBinary { src, fail }
        | Instr::IsBitstring { src, fail }
        | Instr::IsList { src, fail }
        | Instr::IsCons { src, fail }
        | Instr::IsTuple { src, fail }
        | Instr::IsTupleOf { src, fail, .. }
        | Instr::TestArity { src, fail, .. }
        | Instr::IsMap { src, fail }
        | Instr::IsBoolean { src, fail }
        | Instr::IsFunction { src, fail } => flow().read(src).jump(to(fail)),
        Instr::IsTaggedTuple { src, tag, fail, .. } => flow().read(src).read(tag).jump(to(fail)),
        Instr::IsConsX { x, fail }
        | Instr::IsNilX { x, fail }
        | Instr::IsLtXI { x, fail, .. }
        | Instr::IsGeXI { x, fail, .. }
        | Instr::IsEqImmX { x, fail, .. }
        | Instr::IsNeImmX { x, fail, .. } => flow().read_x(x).jump(to(fail)),
        Instr::IsConsGetListX { x, head, tail, fail } => flow().read_x(x).write(head).write(tail).jump(to(fail)),
        Instr::IsFunctionOf { src: a, arity: b, fail }
        | Instr::IsLt { a, b, fail }
        | Instr::IsGe { a, b, fail }
        | Instr::IsEq { a, b, fail }
        | Instr::IsNe { a, b, fail }
        | Instr::IsEqExact { a, b, fail }
        | Instr::IsNeExact { a, b, fail } => flow().read(a).read(b).jump(to(fail)),
        Instr::GetList { src, head, tail } => flow().read(src).write(head).write(tail),
        Instr::GetHead { src, dst } | Instr::GetTail { src, dst } | Instr::GetElement { src, dst, .. } => flow().read(src).write(dst),
        Instr::GetElement2 { src, dst1, dst2, .. } => flow().read(src).write(dst1).write(dst2),
        Instr::SetElement { value, tuple, .. } => flow().read(value).read(tuple),
        Instr::PutList { head, tail, dst } => flow().read(head).read(tail).write(dst),
        Instr::PutTuple { dst, elements } => flow().read_all(elements.iter().copied()).write(dst),
        Instr::UpdateRecord { dst, update } => flow().read(update.source).read_all(update.updates.iter().map(|&(_, src)| src)).write(dst),
        Instr::MakeFun { dst, free, .. } => flow().read_all(free.1.iter().copied()).write(dst),
        Instr::Add { a, b, dst }
        | Instr::Sub { a, b, dst }
        | Instr::Mul { a, b, dst }
        | Instr::IntDiv { a, b, dst }
        | Instr::Rem { a, b, dst }
        | Instr::Band { a, b, dst }
        | Instr::Bor { a, b, dst }
        | Instr::Bxor { a, b, dst }
        | Instr::Bsl { a, b, dst }
        | Instr::Bsr { a, b, dst }
        | Instr::Element { a, b, dst }
        | Instr::Bif2 { a, b, dst, .. } => guarded(flow().read(a).read(b).write(dst)),
        Instr::AddXI { x, to, .. } => guarded(flow().read_x(x).write_x(to)),
        Instr::AddYI { dst, .. } | Instr::Bif0 { dst, .. } => guarded(flow().write(dst)),
        Instr::Bif1 { a, dst, .. } | Instr::Hd { a, dst } | Instr::Tl { a, dst } | Instr::TupleSize { a, dst } => guarded(flow().read(a).write(dst)),
        Instr::Bif3 { dst, args, .. } => guarded(flow().read_all(*args).write(dst)),
        Instr::SelfPid { dst } => flow().write(dst),
        Instr::LoadFloat { src, to } => flow().read(src).floats(&[], Some(to)),
        Instr::StoreFloat { from, dst } => flow().write(dst).floats(&[from], None),
        Instr::MoveFloat { from, to } => flow().floats(&[from], Some(to)),
        Instr::FloatAdd { a, b, to } | Instr::FloatSub { a, b, to } | Instr::FloatMul { a, b, to } | Instr::FloatDiv { a, b, to } => {
            flow().floats(&[a, b], Some(to))
        }
        Instr::FloatNeg { a, to } => flow().floats(&[a], Some(to)),
        Instr::Badmatch { src } | Instr::CaseEnd { src } | Instr::TryCaseEnd { src } | Instr::Badrecord { src } => end().read(src),
        Instr::IfEnd => end(),
        Instr::Catch { y, .. } | Instr::TryEnd { y } => flow().write(Dst::y(y)),
        Instr::CatchEnd { y } => with(flow().write_x(0).write(Dst::y(y)), below(4)),
        Instr::TryCase { y } => with(flow().write(Dst::y(y)).write_x(0).write_x(1).write_x(2), below(4)),
        Instr::Raise { trace, reason } => end().read(trace).read(reason),
        Instr::BuildStacktrace => with(flow().write_x(0), 1),
        Instr::RawRaise => with(flow().write_x(0), below(3)),
        Instr::Send => with(flow().write_x(0), below(2)),
        Instr::LoopRec { wait } => flow().write_x(0).jump(to(wait)),
        Instr::RemoveMessage | Instr::Timeout => flow(),
        Instr::LoopRecEnd { target } => end().jump(to(target)),
        Instr::Wait { .. } => end(),
        Instr::WaitTimeout { time, .. } => flow().read(time),
        Instr::RecvMarkerReserve { dst } => flow().write(dst),
        Instr::RecvMarkerBind { marker, reference } => flow().read(marker).read(reference),
        Instr::RecvMarkerClear { reference } | Instr::RecvMarkerUse { reference } => flow().read(reference),
        Instr::PutMap { dst, put } => {
            let effects = flow().read(put.map).read_all(put.pairs.iter().flat_map(|&(key, value)| [key, value])).write(dst);
            if put.fail == 0 { effects } else { effects.jump(to(put.fail)) }
        }
        Instr::GetMap { get } => {
            let effects = flow().read(get.map).read_all(get.pairs.iter().map(|&(key, _)| key));
            let effects = get.pairs.iter().filter_map(|&(_, dst)| dst).fold(effects, Effects::write);
            if get.fail == 0 { effects } else { effects.jump(to(get.fail)) }
        }
        Instr::BsStartMatch { src, dst, fail } => {
            let effects = flow().read(src).write(dst);
            if fail == 0 { effects } else { effects.jump(to(fail)) }
        }
        Instr::BsGetInteger { context, size, dst, fail, .. }
        | Instr::BsGetFloat { context, size, dst, fail, .. }
        | Instr::BsGetBinary { context, size, dst, fail, .. } => flow().read(context.as_src()).read(size).write(dst).jump(to(fail)),
        Instr::BsGetRest { context, dst, fail, .. } | Instr::BsGetUtf { context, dst, fail, .. } => flow().read(context.as_src()).write(dst).jump(to(fail)),
        Instr::BsSkip { context, size, fail, .. } => flow().read(context.as_src()).read(size).jump(to(fail)),
        Instr::BsSkipRest { context, fail, .. }
        | Instr::BsTestTail { context, fail, .. }
        | Instr::BsTestUnit { context, fail, .. }
        | Instr::BsMatchString { context, fail, .. }
        | Instr::BsSkipUtf { context, fail, .. } => flow().read(context.as_src()).jump(to(fail)),
        Instr::BsGetTail { context, dst } | Instr::BsGetPosition { context, dst } => flow().read(context.as_src()).write(dst),
        Instr::BsSetPosition { context, position } => flow().read(context.as_src()).read(position),
        Instr::BsMatch { plan } => {
            let mut effects = flow().read(plan.context).jump(to(plan.fail));
            for step in &plan.steps {
                effects = match step {
                    MatchStep::Binary { dst, .. } | MatchStep::Integer { dst, .. } | MatchStep::GetTail { dst } => effects.write(*dst),
                    MatchStep::Equals { value, .. } => effects.read(*value),
                    MatchStep::EnsureAtLeast { .. } | MatchStep::EnsureExactly { .. } | MatchStep::Skip { .. } => effects,
                };
            }
            effects
        }
        Instr::BsCreateBin { plan } => {
            let sources = plan.segments.iter().flat_map(|segment| [Some(segment.value), segment.size]).flatten();
            let effects = flow().read_all(sources).write(plan.dst);
            if plan.fail == 0 { effects } else { effects.jump(to(plan.fail)) }
        }
        Instr::BsInitWritable => with(flow().write_x(0), 1),
    }
}

/// Writes that happen only where the instruction goes on to the next: not where it jumps.
fn may_jump_before_writing(effects: &Effects) -> bool {
    !effects.jumps.is_empty()
}

/// Whether an instruction does nothing in machine code but leave it: what ends a function's flow by raising, or is not worth
/// more.
pub fn only_leaves(instr: &Instr) -> bool {
    matches!(
        instr,
        Instr::FuncInfo { .. }
            | Instr::Badmatch { .. }
            | Instr::CaseEnd { .. }
            | Instr::TryCaseEnd { .. }
            | Instr::Badrecord { .. }
            | Instr::IfEnd
            | Instr::Raise { .. }
            | Instr::TryCase { .. }
            | Instr::CallErrorHandler { .. }
            | Instr::ProcessEnd
            | Instr::Hibernated
            | Instr::ApplyArgs
            | Instr::ApplyArgsLast { .. }
            | Instr::ApplyFunArgs
    )
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
        let mut flow = Flow { start, live: vec![0; effects.len()], f_live: vec![0; effects.len()], effects, is_target, is_loop };
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
                if !may_jump_before_writing(effects) {
                    after &= !effects.defs;
                } else {
                    let jumped = effects.jumps.iter().fold(0, |live, &target| live | self.live_at(target));
                    after = (after & !effects.defs) | jumped;
                }
                let live = after | effects.uses;
                let f_after = effects.next.iter().chain(&effects.jumps).fold(0, |live, &place| live | self.f_live_at(place));
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
    /// Those alive after it, wherever it leads.
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
    pub fn contains(&self, at: u32) -> bool {
        (at.wrapping_sub(self.start) as usize) < self.effects.len()
    }
}
