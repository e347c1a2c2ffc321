//! What is printed.

use std::io;

/// What a figure has to be.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// Only told.
    None,
}

/// A table that is printed as it grows.
pub struct Table {
    /// Which rows; all where there is no word.
    words: Vec<String>,
    rows: usize,
    missed: Vec<String>,
    left_out: usize,
}

impl Table {
    pub fn new(words: Vec<String>) -> Self {
        println!("| what | measured | bar | met | ours against the yardstick, medians |\n|---|---|---|---|---|");
        Self {
            words,
            rows: 0,
            missed: Vec::new(),
            left_out: 0,
        }
    }

    /// Whether a row of that name is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }

    /// Measures a row, where it is asked for: the figure, and what is to be told beside it.
    pub fn row(&mut self, name: &str, bar: Bar, measure: impl FnOnce() -> io::Result<(f64, String)>) {
        if !self.wants(name) {
            return;
        }
        self.rows += 1;
        match measure() {
            Ok((figure, told)) => self.told(name, bar, figure, &told),
            Err(error) => {
                self.left_out += 1;
                println!("| {name} | - | {} | left out | {error} |", show(bar));
            }
        }
    }

    fn told(&mut self, name: &str, bar: Bar, figure: f64, told: &str) {
        // What is shown is what counts.
        let shown = format!("{figure:.2}");
        let figure: f64 = shown.parse().unwrap_or(figure);
        let met = match bar {
            Bar::AtMost(most) => figure <= most,
            Bar::AtLeast(least) => figure >= least,
            Bar::None => true,
        };
        if !met {
            self.missed.push(name.to_owned());
        }
        let verdict = match bar {
            Bar::None => "",
            _ if met => "yes",
            _ => "**no**",
        };
        println!("| {name} | {shown} | {} | {verdict} | {told} |", show(bar));
    }

    /// The last line.
    pub fn end(&self) {
        println!(
            "\n{} rows, {} left out, {} not met{}{}",
            self.rows,
            self.left_out,
            self.missed.len(),
            if self.missed.is_empty() { "" } else { ": " },
            self.missed.join("; ")
        );
    }
}

fn show(bar: Bar) -> String {
    match bar {
        Bar::AtMost(most) => format!("≤ {most}"),
        Bar::AtLeast(least) => format!("≥ {least}"),
        Bar::None => String::new(),
    }
}
