//! Reads an agent's lines for what they add up to, and leaves those unread that turn out not to matter.
//!
//! Most lines of a turn tell what its result tells again: the answer, its tokens. They wait until the result is there.
//! One that stands for its turn makes them void, with the turns before it that failed and wait, too: of those only the
//! results count, for the sums, and the lines of one whose result tells no tokens. At the end all that waits is read.

use super::{Account, Due, Fact, Kind, Reader, ResultFact};
use crate::line::{Top, Waiting};

/// So many bytes wait at most; then they are read, and all that follow, until there is a result.
const ROOM: usize = 256 << 10;

/// A reader of one worker's lines, and the sum of what they say.
#[derive(Debug)]
pub struct Tally {
    reader: Reader,
    account: Account,
    facts: Vec<Fact>,
    /// Lines that were not read yet, and the results among them.
    later: Waiting,
    held: Vec<Held>,
    /// About how much memory these results take.
    held_bytes: usize,
    /// Whether a turn begins among them.
    begins: bool,
    /// Whether no line waits.
    eager: bool,
}

/// A result that waits.
#[derive(Debug)]
struct Held {
    /// Behind so many of the lines that wait.
    behind: usize,
    result: Box<ResultFact>,
}

impl Tally {
    /// For lines of that kind, on top of what was read before.
    pub fn new(kind: Kind, account: Account) -> Self {
        Self {
            reader: Reader::new(kind),
            account,
            facts: Vec::new(),
            later: Waiting::default(),
            held: Vec::new(),
            held_bytes: 0,
            begins: false,
            eager: false,
        }
    }

    /// Checks a line as [`object`](crate::line::object) does; `show` is shown what it says that cannot wait. The second
    /// is whether it says anything that [`is_settled`](Self::is_settled) may hang on.
    #[inline]
    pub fn line(&mut self, line: &[u8], show: impl FnMut(&Fact)) -> (Option<Top>, bool) {
        let (top, due) = self.reader.look(line);
        if due == Due::Now || self.eager || line.len() > ROOM || !self.reader.put_off(line, &mut self.later) {
            return (top, self.read(line, show));
        }
        self.begins |= due == Due::Begins;
        if self.later.bytes() + self.held_bytes > ROOM {
            self.catch_up();
            self.eager = true;
        }
        (top, due == Due::Begins)
    }

    /// Reads the line that was looked at last; whether it says anything.
    fn read(&mut self, line: &[u8], show: impl FnMut(&Fact)) -> bool {
        let mut facts = std::mem::take(&mut self.facts);
        self.reader.read_on(line, &mut facts);
        facts.iter().for_each(show);
        let any = !facts.is_empty();
        self.eager &= !facts.iter().any(|fact| matches!(fact, Fact::Result(_)));
        match &facts[..] {
            [Fact::Result(result)] if result.stands_for_its_turn() => self.let_go(false),
            [Fact::Result(result)] if self.can_hold(result, line.len()) => self.hold(&mut facts, line.len()),
            facts if facts.iter().all(is_apart) => {}
            _ => self.catch_up(),
        }
        facts.drain(..).for_each(|fact| self.account.take(fact));
        self.facts = facts;
        any
    }

    /// Whether a result that does not stand for its turn may wait behind the lines that do: a later one that stands for
    /// its own makes them void, too.
    fn can_hold(&self, result: &ResultFact, length: usize) -> bool {
        let waits = self.later.count() > 0 || !self.held.is_empty();
        // A denial that is told again changes nothing, so its place among others matters.
        waits && result.denials.is_empty() && self.later.bytes() + self.held_bytes + length <= ROOM
    }

    fn hold(&mut self, facts: &mut Vec<Fact>, length: usize) {
        let behind = self.later.count();
        self.held.extend(facts.drain(..).filter_map(|fact| match fact {
            Fact::Result(result) => Some(Held { behind, result }),
            _ => None,
        }));
        self.held_bytes += length + size_of::<ResultFact>();
        self.begins = false;
    }

    /// As [`Account::is_settled`].
    pub fn is_settled(&self) -> bool {
        let ended = !self.held.is_empty() && self.account.pending.is_empty();
        !self.begins && (ended || self.account.is_settled())
    }

    /// How many results came.
    pub fn results(&self) -> u32 {
        self.account.results + self.held.len() as u32
    }

    /// What all lines add up to.
    pub fn account(&mut self) -> &mut Account {
        self.catch_up();
        &mut self.account
    }

    /// Reads what waits.
    fn catch_up(&mut self) {
        self.let_go(true);
    }

    /// Lets go of what waits: of the results among it the sums count, also where not `all` is read. One that tells no
    /// tokens leaves them to its turn's lines.
    fn let_go(&mut self, all: bool) {
        let mut facts = Vec::new();
        let mut held = self.held.drain(..).peekable();
        for (at, members) in self.later.lines().enumerate() {
            while let Some(held) = held.next_if(|held| held.behind <= at) {
                self.account.take(Fact::Result(held.result));
            }
            if all || held.peek().is_some_and(|held| held.result.tokens().is_none()) {
                self.reader.read_late(members, &mut facts);
                facts.drain(..).for_each(|fact| self.account.take(fact));
            }
        }
        held.for_each(|held| self.account.take(Fact::Result(held.result)));
        self.later.clear();
        self.held_bytes = 0;
        self.begins = false;
    }
}

/// Whether it adds up to the same before the lines that wait as behind them.
fn is_apart(fact: &Fact) -> bool {
    matches!(fact, Fact::Background(_) | Fact::Denied { .. } | Fact::Limit { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    type Lines = Vec<Vec<u8>>;

    /// Lines of the recordings, those first that can wait.
    static LINES: LazyLock<(Lines, Lines)> = LazyLock::new(|| {
        let mut lines = Vec::new();
        for agent in ["claude", "qwen"] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/recordings");
            for file in std::fs::read_dir(folder.join(agent)).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "ndjson") {
                    let text = std::fs::read(path).unwrap();
                    lines.extend(text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
                }
            }
        }
        let mut reader = Reader::new(Kind::Claude);
        lines.into_iter().partition(|line| reader.look(line).1 != Due::Now)
    });

    /// What can be seen of it.
    fn seen(account: &mut Account) -> String {
        let (exit, turn) = (account.exit(), account.turn());
        let flags = (
            account.worked,
            account.spoke,
            account.in_turn,
            account.is_cut(),
            account.is_good(),
        );
        let words = (
            &account.trouble,
            &account.retrying,
            &account.limit,
            &account.pending,
            &account.denials,
        );
        let rest = (account.answer(), account.results, &account.result);
        format!("{flags:?} {words:?} {rest:?} {exit:?} {turn:?}")
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

        /// What is left unread adds up to the same.
        #[test]
        fn adds_up_to_what_all_lines_say(
            lines in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..60), qwen: bool,
        ) {
            let kind = if qwen { Kind::Qwen } else { Kind::Claude };
            let mut tally = Tally::new(kind, Account::default());
            let (mut reader, mut account) = (Reader::new(kind), Account::default());
            for (which, dice) in lines {
                let line = which.get(if dice < 160 { &LINES.0 } else { &LINES.1 });
                tally.line(line, |_| ());
                let mut facts = Vec::new();
                reader.read(line, &mut facts);
                facts.into_iter().for_each(|fact| account.take(fact));
                prop_assert_eq!((tally.results(), tally.is_settled()), (account.results, account.is_settled()));
                if dice % 16 == 0 {
                    prop_assert_eq!(seen(tally.account()), seen(&mut account));
                }
            }
            prop_assert_eq!(seen(tally.account()), seen(&mut account));
        }
    }

    /// A line with two subtypes says what the last one means.
    #[test]
    fn nothing_waits_under_a_false_name() {
        let mut tally = Tally::new(Kind::Claude, Account::default());
        for name in ["one", "two"] {
            let first = if name == "one" { r#""subtype":"init","# } else { "" };
            let line = format!(
                r#"{{"type":"system",{first}"subtype":"background_tasks_changed","tasks":[{{"task_id":"t","description":"{name}"}}]}}"#
            );
            tally.line(line.as_bytes(), |_| ());
        }
        assert_eq!(tally.account().pending, ["two"]);
    }

    #[test]
    fn most_lines_can_wait() {
        assert!(LINES.0.len() > 2 * LINES.1.len());
    }
}
