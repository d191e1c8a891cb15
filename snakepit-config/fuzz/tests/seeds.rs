//! The fuzz targets without a fuzzer: each seed, and many texts that are made of them. It runs on any
//! toolchain, always the same texts, and that it is built means that the targets are.

use std::path::Path;

/// Texts that are made for each target; some seconds of a debug build.
const ROUNDS: usize = 3_000;

/// What settings are written with: where a change is most likely to matter.
const WORDS: [&str; 24] = [
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "=",
    ":",
    ",",
    "\"",
    "'",
    "\n",
    "#",
    "0",
    "-1",
    "18446744073709551616",
    "nan",
    "null",
    "none",
    "pool",
    "ttl",
    "1h",
    "%{",
    "~w(",
];

#[test]
fn any_document_is_settings_or_problems() {
    survives("document", snakepit_config_fuzz::document);
}

#[test]
fn any_elixir_file_is_settings_or_problems() {
    survives("elixir", snakepit_config_fuzz::elixir);
}

fn survives(target: &str, run: fn(&[u8])) {
    let seeds = seeds(target);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    seeds.iter().for_each(|seed| told(seed, run));
    for _ in 0..ROUNDS {
        let mut text = dice.one_of(&seeds).clone();
        for _ in 0..=dice.below(4) {
            change(&mut text, &mut dice, &seeds);
        }
        told(&text, run);
    }
}

/// Runs a target, and shows the text if it fails on it.
fn told(text: &[u8], run: fn(&[u8])) {
    struct Shown<'a>(&'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the text was:\n{}", String::from_utf8_lossy(self.0));
            }
        }
    }
    let _shown = Shown(text);
    run(text);
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let entries = std::fs::read_dir(directory).expect("there are seeds");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

/// Changes a text in one place.
fn change(text: &mut Vec<u8>, dice: &mut Dice, seeds: &[Vec<u8>]) {
    let (one, other) = (dice.below(text.len() + 1), dice.below(text.len() + 1));
    let (start, end) = (one.min(other), one.max(other));
    match dice.below(6) {
        0 => drop(text.splice(start..end.min(start + 8), [])),
        1 => drop(text.splice(start..start, dice.one_of(&WORDS).bytes())),
        2 => drop(text.splice(start..end.min(start + 3), dice.one_of(&WORDS).bytes())),
        // A piece of another text, or of this one again.
        3 => {
            let seed = dice.one_of(seeds);
            let from = dice.below(seed.len());
            let piece = seed[from..seed.len().min(from + 40)].to_vec();
            drop(text.splice(start..start, piece));
        }
        4 => text.truncate(end),
        _ => {
            if let Some(byte) = text.get_mut(start) {
                // Mostly still text.
                *byte = (*byte ^ (1 << dice.below(7))) & 0x7f;
            }
        }
    }
}

/// Marsaglia's xorshift: the same texts each time, so that a failure can be looked at.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}
