//! Reads an agent's lines for what they add up to, and leaves those unread that turn out not to matter.
//!
//! Most lines of a turn tell what its result tells again: the answer, its tokens. They wait until the result is there.
//! One that stands for its turn makes them void; for any other, and at the end, they are read after all.

use super::{Account, Due, Fact, Kind, Reader};
use crate::line::Top;

/// So many bytes wait at most; then they are read, and all that follow, until there is a result.
const ROOM: usize = 256 << 10;

/// A reader of one worker's lines, and the sum of what they say.
#[derive(Debug)]
pub struct Tally {
    reader: Reader,
    account: Account,
    facts: Vec<Fact>,
    /// Lines that were not read yet, each with its line feed.
    later: Vec<u8>,
    /// Whether a turn begins among them.
    begins: bool,
    /// Whether no line waits.
    eager: bool,
}

impl Tally {
    /// For lines of that kind, on top of what was read before.
    pub fn new(kind: Kind, account: Account) -> Self {
        Self {
            reader: Reader::new(kind),
            account,
            facts: Vec::new(),
            later: Vec::new(),
            begins: false,
            eager: false,
        }
    }

    /// Checks a line as [`object`](crate::line::object) does; `show` is shown what it says that cannot wait. The second
    /// is whether it says anything that [`is_settled`](Self::is_settled) may hang on.
    #[inline]
    pub fn line(&mut self, line: &[u8], show: impl FnMut(&Fact)) -> (Option<Top>, bool) {
        let (top, due) = self.reader.look(line);
        if due == Due::Now || self.eager {
            return (top, self.read(line, show));
        }
        self.later.extend_from_slice(line);
        self.later.push(b'\n');
        self.begins |= due == Due::Begins;
        if self.later.len() > ROOM {
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
        let result = facts.iter().find_map(|fact| match fact {
            Fact::Result(result) => Some(result),
            _ => None,
        });
        self.eager &= result.is_none();
        if result.is_some_and(|result| result.stands_for_its_turn()) {
            self.later.clear();
            self.begins = false;
        } else if !facts.iter().all(is_apart) {
            self.catch_up();
        }
        let any = !facts.is_empty();
        facts.drain(..).for_each(|fact| self.account.take(fact));
        self.facts = facts;
        any
    }

    /// As [`Account::is_settled`].
    pub fn is_settled(&self) -> bool {
        !self.begins && self.account.is_settled()
    }

    /// How many results came.
    pub fn results(&self) -> u32 {
        self.account.results
    }

    /// What all lines add up to.
    pub fn account(&mut self) -> &mut Account {
        self.catch_up();
        &mut self.account
    }

    /// Reads what waits.
    fn catch_up(&mut self) {
        let mut facts = Vec::new();
        for line in self.later.split_inclusive(|&byte| byte == b'\n') {
            self.reader.object(&line[..line.len() - 1], &mut facts);
            facts.drain(..).for_each(|fact| self.account.take(fact));
        }
        self.later.clear();
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
