//! What an agent's facts add up to at its end.

use super::{Fact, ResultFact};
use crate::line::{Exit, Usage};
use serde_json::json;
use std::collections::HashMap;

/// More messages of one turn, or tools denied, than are kept apart.
const MANY: usize = 1000;

/// More bytes of an answer than are kept: a worker that writes without end shall not fill our memory.
const MOST: usize = 64 << 20;

/// The sum of one attempt's facts: evidence for its outcome, and the content of its `exit`.
#[derive(Debug, Default)]
pub struct Account {
    /// The session's id, once known.
    pub session: Option<String>,
    /// The last result.
    pub result: Option<ResultFact>,
    /// How many results came.
    pub results: u32,
    /// Background work that is unfinished.
    pub pending: Vec<String>,
    /// Tools that were denied.
    pub denials: Vec<String>,
    /// The last usage limit that was told.
    pub limit: Option<(String, Option<f64>)>,
    /// The last error that was mentioned outside a result.
    pub trouble: Option<String>,
    /// Why the agent last tried again by itself, as long as no text has come since.
    pub retrying: Option<String>,
    /// Whether there is work that would be lost: a block of the answer, or a tool that has ended.
    pub worked: bool,
    /// Whether anything of an agent's own kind was read at all.
    pub spoke: bool,
    /// Whether a turn has begun that has no result yet.
    pub in_turn: bool,
    /// The blocks of this turn, finished.
    texts: Vec<String>,
    /// How many bytes these are.
    kept: usize,
    /// Whether an answer was too long to be kept whole.
    cut: bool,
    /// The block that is being written.
    open: String,
    /// Whether nothing but its pieces will tell the open block.
    only: bool,
    /// The text of the last turn that had one, while the present one has none.
    earlier: Option<String>,
    /// Tokens of the turns that are settled.
    settled: Usage,
    /// Tokens of each message of the turns that are not.
    messages: HashMap<String, Usage>,
    /// Tokens of messages of such a turn that are too many to be kept apart.
    further: Usage,
    /// What this run has cost, as far as it was told.
    cost: Option<f64>,
    /// What the conversation had cost at the last result.
    total: f64,
    /// Cost and tokens when the last turn was told.
    told: (Option<f64>, Usage),
}

impl Account {
    /// Takes one fact, whose texts need not be copied then.
    pub fn take(&mut self, fact: Fact) {
        self.spoke = true;
        match fact {
            Fact::Text { text, sub: false } => self.write(text),
            Fact::Result(result) => self.settle(*result),
            other => self.add(&other),
        }
    }

    /// Takes one fact.
    pub fn add(&mut self, fact: &Fact) {
        self.spoke = true;
        match fact {
            Fact::Init { session, .. } => {
                self.session = session.clone().or_else(|| self.session.take());
                self.in_turn = true;
                self.earlier = self.answer();
                // A result's text stands for its own turn.
                if let Some(result) = &mut self.result {
                    result.text = None;
                }
                self.forget();
            }
            Fact::Retry { because, .. } => self.retrying = Some(because.clone()),
            Fact::Text { text, sub: false } => self.write(text.clone()),
            Fact::Delta { text, only } => {
                self.only = *only;
                self.open.push_str(text);
                if self.open.len() > MOST {
                    self.cut = true;
                    let mut from = self.open.len() - MOST / 2;
                    while !self.open.is_char_boundary(from) {
                        from += 1;
                    }
                    self.open.drain(..from);
                }
            }
            Fact::ToolStart { .. } => self.close(),
            Fact::Denied { tool } => self.deny(tool),
            Fact::Usage { message, usage } if message.is_empty() => self.settled += *usage,
            Fact::Usage { message, usage } => {
                // The same message is told again for each of its blocks, at first with less than it will have used.
                let Some(known) = self.messages.get_mut(message) else {
                    if self.messages.len() >= MANY {
                        self.further += sum(&self.messages);
                        self.messages.clear();
                    }
                    self.messages.insert(message.clone(), *usage);
                    return;
                };
                known.input = known.input.max(usage.input);
                known.output = known.output.max(usage.output);
                known.cache_read = known.cache_read.max(usage.cache_read);
                known.cache_write = known.cache_write.max(usage.cache_write);
            }
            Fact::Cost(step) => self.spend(*step),
            Fact::Limit { status, resets_at, .. } => self.limit = Some((status.clone(), *resets_at)),
            Fact::Background(open) => self.pending.clone_from(open),
            Fact::Trouble(text) => self.trouble = Some(text.clone()),
            Fact::Result(result) => self.settle((**result).clone()),
            Fact::ToolEnd { .. } => self.worked = true,
            Fact::Text { .. } | Fact::Thinking | Fact::Tasks(_) => {}
        }
    }

    /// A finished block; it repeats its pieces, unless they were all there is.
    fn write(&mut self, text: String) {
        self.worked = true;
        self.retrying = None;
        self.close();
        self.keep(text);
    }

    fn settle(&mut self, result: ResultFact) {
        self.in_turn = false;
        self.results += 1;
        self.session = result.session.clone().or_else(|| self.session.take());
        for tool in &result.denials {
            if !self.denials.contains(tool) {
                self.deny(tool);
            }
        }
        // A result tells its own turn's tokens, an interrupted one tells none, and the messages are all there is.
        self.settled += result.tokens().unwrap_or_else(|| self.unsettled());
        self.messages.clear();
        self.further = Usage::default();
        // What a conversation has cost grows from result to result; one that was resumed began with more than nothing.
        let grown = result.cost.map(|total| (total - self.total).max(0.0));
        if let Some(step) = result.step.or(grown) {
            self.spend(step);
        }
        self.total = result.cost.unwrap_or(self.total);
        if result.stands_for_its_turn() {
            // Nothing that was written in it is the answer then, and what went wrong was overcome.
            self.worked = true;
            (self.retrying, self.trouble, self.earlier) = (None, None, None);
            self.forget();
        }
        self.result = Some(result);
    }

    /// Forgets what the turn wrote.
    fn forget(&mut self) {
        self.texts.clear();
        self.kept = 0;
        self.open.clear();
    }

    fn spend(&mut self, step: f64) {
        *self.cost.get_or_insert(0.0) += step;
    }

    /// Takes over from the attempt before, whose conversation goes on: what that has cost is not spent anew.
    pub fn resume(&mut self, before: &Self) {
        self.session.clone_from(&before.session);
        self.total = before.total;
    }

    fn deny(&mut self, tool: &str) {
        // A worker that is denied without end shall not fill our memory.
        if self.denials.len() < MANY {
            self.denials.push(tool.to_owned());
        }
    }

    /// Keeps a block of the answer; of an answer without end its last blocks.
    fn keep(&mut self, block: String) {
        self.kept += block.len();
        self.texts.push(block);
        if self.kept > MOST {
            let mut over = self.kept - MOST / 2;
            // The last one always stays: a line has its own bound.
            let gone = self.texts[..self.texts.len() - 1]
                .iter()
                .take_while(|text| {
                    let goes = over > 0;
                    over = over.saturating_sub(text.len());
                    goes
                })
                .count();
            self.cut |= gone > 0;
            self.kept -= self.texts.drain(..gone).map(|text| text.len()).sum::<usize>();
        }
    }

    /// Tokens of the messages of a turn that has no result yet.
    fn unsettled(&self) -> Usage {
        let mut all = self.further;
        all += sum(&self.messages);
        all
    }

    /// Ends the open block.
    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        if self.only && !open.is_empty() {
            self.keep(open);
        }
    }

    /// What it puts into `exit`: all but how the process ended.
    pub fn exit(&self) -> Exit {
        Exit {
            session_id: self.session.clone(),
            text: self.answer(),
            turns: self.result.as_ref().and_then(|result| result.turns),
            cost_usd: self.cost(),
            usage: self.usage(),
            resets_at: self.limit.as_ref().and_then(|(_, resets_at)| *resets_at),
            denials: self.denials.iter().map(|tool| json!({ "tool": tool })).collect(),
            pending: self.pending.iter().map(|what| json!(what)).collect(),
            ..Exit::default()
        }
    }

    /// What the turn that has just ended puts into `turn`: its own cost and tokens.
    pub fn turn(&mut self) -> Exit {
        let (cost, usage) = (self.cost(), self.usage().unwrap_or_default());
        let (cost_before, before) = std::mem::replace(&mut self.told, (cost, usage));
        Exit {
            cost_usd: cost.map(|cost| cost - cost_before.unwrap_or(0.0)),
            usage: Some(usage - before).filter(|usage| *usage != Usage::default()),
            denials: self
                .result
                .iter()
                .flat_map(|result| &result.denials)
                .map(|tool| json!({ "tool": tool }))
                .collect(),
            ..self.exit()
        }
    }

    /// Whether a result has come, no turn has begun since, and nothing is pending.
    pub fn is_settled(&self) -> bool {
        self.result.is_some() && !self.in_turn && self.pending.is_empty()
    }

    /// Whether the last turn has ended with a result that its agent calls good.
    pub fn is_good(&self) -> bool {
        !self.in_turn && self.result.as_ref().is_some_and(ResultFact::is_good)
    }

    /// The answer: the last result's text, else what the last turn wrote, else what an earlier turn said.
    ///
    /// The text of a result that is an error tells the error, so what was written before that goes first.
    pub fn answer(&self) -> Option<String> {
        let result = self.result.as_ref();
        let text = || {
            result
                .and_then(|result| result.text.clone())
                .filter(|text| !text.is_empty())
        };
        let error = result.is_some_and(|result| result.error);
        if !error
            && !self.in_turn
            && let Some(text) = text()
        {
            return Some(text);
        }
        self.written().or_else(text).or_else(|| self.earlier.clone())
    }

    fn written(&self) -> Option<String> {
        let open = (!self.open.is_empty()).then_some(self.open.as_str());
        let blocks: Vec<&str> = self.texts.iter().map(String::as_str).chain(open).collect();
        (!blocks.is_empty()).then(|| blocks.join("\n\n"))
    }

    /// Whether an answer was too long to be kept whole: then it is its end.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Tokens, counted once per message; a result's own figure wins for its turn.
    pub fn usage(&self) -> Option<Usage> {
        let mut all = self.settled;
        all += self.unsettled();
        (all != Usage::default()).then_some(all)
    }

    /// Cost in US dollars, where the agent says it.
    pub fn cost(&self) -> Option<f64> {
        self.cost
    }
}

fn sum(messages: &HashMap<String, Usage>) -> Usage {
    let mut sum = Usage::default();
    messages.values().for_each(|usage| sum += *usage);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(facts: &[Fact]) -> Account {
        let mut account = Account::default();
        facts.iter().for_each(|fact| account.add(fact));
        account
    }

    fn text(text: &str) -> Fact {
        let text = text.to_owned();
        Fact::Text { text, sub: false }
    }

    fn delta(text: &str, only: bool) -> Fact {
        let text = text.to_owned();
        Fact::Delta { text, only }
    }

    fn init() -> Fact {
        Fact::Init {
            session: None,
            model: None,
        }
    }

    fn result(text: &str, cost: f64, output: u64) -> Fact {
        Fact::Result(Box::new(ResultFact {
            text: Some(text.to_owned()),
            cost: Some(cost),
            usage: Some(Usage {
                output,
                ..Usage::default()
            }),
            ..ResultFact::default()
        }))
    }

    fn usage(message: &str, output: u64) -> Fact {
        Fact::Usage {
            message: message.to_owned(),
            usage: Usage {
                output,
                ..Usage::default()
            },
        }
    }

    #[test]
    fn a_second_result_adds_its_tokens_and_tells_the_whole_cost() {
        let account = account(&[
            init(),
            usage("a", 1),
            result("one", 0.5, 10),
            init(),
            result("two", 0.7, 5),
        ]);
        assert_eq!(account.usage().map(|usage| usage.output), Some(15));
        assert_eq!(account.cost(), Some(0.7));
        assert_eq!(account.answer().as_deref(), Some("two"));
        assert_eq!(account.results, 2);
    }

    #[test]
    fn a_resumed_conversation_costs_what_it_costs_from_now_on() {
        let mut account = Account::default();
        let result = |cost: f64, step: Option<f64>| {
            let result = ResultFact {
                cost: Some(cost),
                step,
                ..ResultFact::default()
            };
            Fact::Result(Box::new(result))
        };
        account.add(&result(5.0, Some(1.0)));
        assert_eq!(account.cost(), Some(1.0));
        account.add(&result(7.0, None));
        assert_eq!(account.cost(), Some(3.0));
        let mut next = Account::default();
        next.resume(&account);
        next.add(&result(7.5, None));
        assert_eq!(next.cost(), Some(0.5));
    }

    #[test]
    fn the_answer_of_an_earlier_turn_stands_until_there_is_another() {
        let mut account = account(&[init(), result("one", 0.0, 0), init()]);
        assert_eq!(account.answer().as_deref(), Some("one"));
        account.add(&result("", 0.0, 0));
        assert_eq!(account.answer().as_deref(), Some("one"));
        account.add(&init());
        account.add(&text("more"));
        assert_eq!(account.answer().as_deref(), Some("more"));
    }

    #[test]
    fn an_error_does_not_hide_what_was_written() {
        let failed = |text: &str| {
            Fact::Result(Box::new(ResultFact {
                error: true,
                text: Some(text.to_owned()),
                ..ResultFact::default()
            }))
        };
        let cut = account(&[init(), text("half an"), usage("a", 7), failed("diagnostic")]);
        assert_eq!(cut.answer().as_deref(), Some("half an"));
        assert_eq!(cut.usage().map(|usage| usage.output), Some(7));
        assert_eq!(account(&[init(), failed("no")]).answer().as_deref(), Some("no"));
    }

    #[test]
    fn pieces_count_until_their_block_is_there() {
        let mut account = account(&[init(), delta("a", false), delta("b", false)]);
        assert_eq!(account.answer().as_deref(), Some("ab"));
        account.add(&text("ab"));
        account.add(&delta("c", true));
        let tool = Fact::ToolStart {
            id: String::new(),
            name: String::new(),
            what: String::new(),
        };
        account.add(&tool);
        account.add(&delta("d", true));
        assert_eq!(account.answer().as_deref(), Some("ab\n\nc\n\nd"));
    }

    #[test]
    fn nothing_grows_without_end() {
        let mut long = Account::default();
        long.add(&init());
        let block = "x".repeat(1 << 20);
        for _ in 0..100 {
            long.add(&text(&block));
        }
        assert!(long.kept <= MOST && long.kept >= MOST / 4 && long.is_cut());
        assert!(long.answer().unwrap().len() <= MOST + 1000);
        for only in [false, true] {
            let mut open = Account::default();
            for _ in 0..100 {
                open.add(&delta(&"é".repeat(1 << 19), only));
            }
            assert!(open.answer().unwrap().len() <= MOST);
        }
        let mut many = Account::default();
        for number in 0..10 * MANY as u64 {
            many.add(&usage(&number.to_string(), 1));
            many.add(&Fact::Denied { tool: "t".to_owned() });
            many.add(&Fact::Result(Box::default()));
            many.add(&usage(&number.to_string(), 1));
        }
        let denied = ResultFact {
            denials: (0..10 * MANY).map(|number| number.to_string()).collect(),
            ..ResultFact::default()
        };
        many.add(&Fact::Result(Box::new(denied)));
        assert_eq!(many.denials.len(), MANY);
        let mut turn = Account::default();
        for number in 0..10 * MANY as u64 {
            turn.add(&usage(&number.to_string(), 1));
        }
        assert!(turn.messages.len() <= MANY);
        assert_eq!(turn.usage().map(|usage| usage.output), Some(10 * MANY as u64));
    }

    #[test]
    fn a_message_told_again_counts_once() {
        let account = account(&[
            usage("a", 1),
            usage("a", 9),
            usage("a", 1),
            usage("b", 2),
            usage("", 4),
            usage("", 4),
        ]);
        assert_eq!(account.usage().map(|usage| usage.output), Some(19));
    }
}
