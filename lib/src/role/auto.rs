//! `--role auto`: a crew role from the words of a task.

/// The role that was chosen, and the word that spoke for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The role's name.
    pub role: &'static str,
    /// Why, in a few words.
    pub because: String,
}

/// Words that speak for a role, whole or as a word's beginning. Where two roles have as many, the earlier one is chosen.
const WORDS: [(&str, &[&str]); 7] = [
    (
        "meta",
        &[
            "orchestrat",
            "coordinat",
            "delegat",
            "streams",
            "agents",
            "divide",
            "plan",
        ],
    ),
    (
        "bugfix",
        &[
            "bug",
            "fix",
            "fault",
            "crash",
            "broken",
            "regression",
            "wrong",
            "fails",
            "failing",
            "error",
            "leak",
            "debug",
        ],
    ),
    (
        "perf",
        &[
            "perf",
            "fast",
            "slow",
            "speed",
            "latency",
            "throughput",
            "optimi",
            "benchmark",
            "profil",
            "memory",
        ],
    ),
    ("test", &["test", "coverage", "spec", "assert", "fuzz"]),
    (
        "docs",
        &[
            "doc",
            "readme",
            "comment",
            "manual",
            "explain",
            "changelog",
            "tutorial",
            "guide",
        ],
    ),
    (
        "refactor",
        &[
            "refactor",
            "clean",
            "rename",
            "extract",
            "simplif",
            "restructur",
            "split",
            "move",
            "dedup",
            "untangle",
        ],
    ),
    (
        "codegen",
        &[
            "implement",
            "add",
            "create",
            "generat",
            "build",
            "write",
            "new",
            "feature",
            "endpoint",
            "support",
        ],
    ),
];

/// Chooses by the words of a task: the role with the most words of its own; the first word of a task counts double,
/// for it is what is to be done. A task that says nothing is code to be written.
pub fn choose(task: &str) -> Choice {
    let words: Vec<String> = task
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let mut best = (0, "codegen", Vec::new());
    for (role, beginnings) in WORDS {
        let mut score = 0;
        let mut found: Vec<&str> = Vec::new();
        for (at, word) in words.iter().enumerate() {
            if beginnings.iter().any(|beginning| word.starts_with(beginning)) {
                // A general word (write, add) says less than what the work is about.
                score += if role == "codegen" { 1 } else { 2 } + usize::from(at == 0);
                if !found.contains(&word.as_str()) {
                    found.push(word);
                }
            }
        }
        if score > best.0 {
            best = (score, role, found);
        }
    }
    let because = match best.2.as_slice() {
        [] => "no word of the task speaks for another".to_owned(),
        words => format!("the task says {}", words.join(", ")),
    };
    Choice { role: best.1, because }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_by_words() {
        for (task, role) in [
            ("write tests for the parser", "test"),
            ("Fix the crash when the file is empty", "bugfix"),
            ("make startup faster", "perf"),
            ("update the README and the docs", "docs"),
            ("rename Foo to Bar and extract the helper", "refactor"),
            ("implement an endpoint for logout", "codegen"),
            ("coordinate three agents to port the module", "meta"),
            ("", "codegen"),
            ("日本語", "codegen"),
        ] {
            assert_eq!(choose(task).role, role, "{task}");
        }
        assert_eq!(choose("write tests, tests!").because, "the task says tests");
    }
}
