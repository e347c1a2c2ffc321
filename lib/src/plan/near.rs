//! What somebody may have meant.

/// The name that is most like another one, where one is.
pub(super) fn near<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let scored = names.into_iter().map(|name| (distance(text, name), name));
    let best = scored.min_by_key(|(distance, _)| *distance)?;
    (best.0 <= 1 + text.len() / 4 && best.0 < text.len()).then_some(best.1)
}

/// How many letters differ, a swap of two being one; long names are compared by their beginnings.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let other = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = other.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let names = ["after", "when", "worktree"];
        assert_eq!(near("afetr", names), Some("after"));
        assert_eq!(near("worktre", names), Some("worktree"));
        assert_eq!(near("zz", names), None);
        assert_eq!(near("a", ["b"]), None);
        assert_eq!(near("", []), None);
    }
}
