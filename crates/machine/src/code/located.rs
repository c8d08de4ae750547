//! Where addresses are in the source, kept by each thread for those that it asks about often:
//! programs that catch errors ask about the same few again and again.

use crate::code::CodeServer;
use std::cell::RefCell;
use std::sync::Arc;
use swarmrt_term::Mfa;

/// As [`Location`](crate::code::Location), without the module.
#[derive(Clone)]
pub struct Located {
    pub mfa: Mfa,
    /// File and line, where known.
    pub source: Option<(Arc<str>, u32)>,
}

/// Sets of addresses kept by a thread, each of two.
const SETS: usize = 128;

/// Address, state of the code when it was asked about, answer.
type Kept = Option<(usize, u64, Located)>;

thread_local! {
    static LOCATED: RefCell<Vec<[Kept; 2]>> = const { RefCell::new(Vec::new()) };
}

impl CodeServer {
    /// What is at an address.
    pub fn located(&self, address: usize) -> Option<Located> {
        self.with_located(address, None, Located::clone)
    }

    /// What `look` makes of what is at an address. `file` is a name that the answer shares if it
    /// is the same. `look` does not ask for other addresses.
    pub fn with_located<R>(
        &self,
        address: usize,
        file: Option<&Arc<str>>,
        look: impl FnOnce(&Located) -> R,
    ) -> Option<R> {
        let state = self.state();
        LOCATED.with_borrow_mut(|kept| {
            if kept.is_empty() {
                kept.resize(SETS, [None, None]);
            }
            // Instructions are 16 bytes long.
            let set = &mut kept[(address >> 4) % SETS];
            if let Some((_, _, located)) =
                set.iter().flatten().find(|(of, at, _)| *of == address && *at == state)
            {
                return Some(look(located));
            }
            let located = self.locate(address, |location| {
                let mfa = location.mfa;
                let source = location.source.map(|(name, line)| {
                    let name = if name.is_empty() {
                        format!("{}.erl", mfa.module.name())
                    } else {
                        name.to_owned()
                    };
                    let same = file.filter(|file| ***file == *name);
                    (same.map_or_else(|| name.into(), Arc::clone), line)
                });
                Located { mfa, source }
            })?;
            set.swap(0, 1);
            let (_, _, located) = set[0].insert((address, state, located));
            Some(look(located))
        })
    }
}
