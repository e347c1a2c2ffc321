//! Streams that are added to a plan which is run already.

use super::check::check;
use super::read::read;
use super::{Format, Graph, Plan, Problem, Stream};
use crate::role::Roles;

impl Plan {
    /// The plan with the streams of a document, which may build on those of the plan, and have defaults of their own.
    /// Where the plan has all of them already it is as it was.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn grown(&self, text: &str, format: Format, roles: &Roles) -> Result<Self, Vec<Problem>> {
        let (part, lines, mut problems, whole) = read(text, format);
        // Who is added to a plan needs no name.
        problems.retain(|problem| !(problem.place == "name" && problem.line == 0));
        let line = |place: &str| {
            let mut outer = std::iter::successors(Some(place), |place| Some(place.rsplit_once('.')?.0));
            outer.find_map(|place| lines.0.get(place)).copied().unwrap_or(0)
        };
        let right = problems.is_empty();
        let mut tell = |place: String, what: &str| {
            problems.push(Problem {
                line: line(&place),
                place,
                what: what.to_owned(),
            });
        };
        for (key, given) in [
            ("prompt", part.prompt.is_some()),
            ("jobs", part.jobs > 0),
            ("wait", part.wait.is_some()),
        ] {
            if given {
                tell(key.to_owned(), "it is the whole plan's: take it out");
            }
        }
        let added: Vec<Stream> = part
            .streams
            .iter()
            .map(|stream| Stream {
                settings: part.settings(stream),
                ..stream.clone()
            })
            .collect();
        if right && !added.is_empty() && added.iter().all(|stream| self.streams.contains(stream)) {
            return Ok(self.clone());
        }
        let mut grown = self.clone();
        for stream in added {
            if self.get(&stream.name).is_some() {
                tell(
                    format!("stream.{}", stream.name),
                    "the plan has a stream of that name: choose another",
                );
            } else {
                grown.streams.push(stream);
            }
        }
        if part.streams.is_empty() {
            tell(
                "stream".to_owned(),
                "there is none: add [stream.NAME] with a prompt, or with run",
            );
        }
        if let (Ok(old), Ok(new)) = (Graph::new(self), Graph::new(&grown)) {
            let waits = (0..self.streams.len()).find(|&at| old.before(at) != new.before(at));
            if let Some(at) = waits {
                let late = new.before(at).iter().find(|&&before| before >= self.streams.len());
                let place = late.map_or(String::new(), |&late| format!("stream.{}", grown.streams[late].name));
                let what = "would have to wait for it, and is in the run already: take its phase or its instead out";
                tell(place, &format!("{} {what}", self.streams[at].name));
            }
        }
        if whole {
            problems.extend(check(&grown, &lines, roles));
        }
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(grown) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_added() {
        let roles = Roles::builtin();
        let text = "name='p'\nprompt='q'\n[stream.a]\nphase='parallel'\nrun=['x']\n[stream.b]\nrun=['x']\n";
        let plan = Plan::read(text, Format::Toml, &roles).unwrap();
        let add = |text: &str| plan.grown(text, Format::Toml, &roles);
        let told = |text: &str| {
            let problems = add(text).unwrap_err();
            problems
                .iter()
                .map(|problem| problem.told("f"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let grown =
            add("[defaults]\nretries=2\n[stream.c]\nafter=['a']\nrun=['echo','{{streams.a.text}}{{prompt}}']\n")
                .unwrap();
        assert_eq!(grown.streams.len(), 3);
        assert_eq!(grown.settings(&grown.streams[2]).retries, Some(2));
        let again = grown.grown(
            "[stream.c]\nretries=2\nafter=['a']\nrun=['echo','{{streams.a.text}}{{prompt}}']\n",
            Format::Toml,
            &roles,
        );
        assert_eq!(again.unwrap(), grown, "a second time nothing is added");
        assert_eq!(
            told("jobs=3\n[stream.a]\nrun=['y']\n"),
            "f:1: jobs: it is the whole plan's: take it out\nf:2: stream.a: the plan has a stream of that name: choose another"
        );
        assert!(told("[stream.c]\nafter=['d']\nrun=['y']\n").contains("there is no stream 'd'"));
        assert!(told("[stream.c]\nphase='foundation'\nrun=['y']\n").contains("a would have to wait for it"));
        assert!(
            told("[stream.c]\ninstead='b'\nrun=['y']\n[stream.d]\nafter=['c','d']\nrun=['y']\n")
                .contains("after itself")
        );
        assert!(told("").contains("there is none"));
    }
}
