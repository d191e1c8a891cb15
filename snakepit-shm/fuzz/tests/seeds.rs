//! The fuzz targets without a fuzzer: each seed, and many byte strings that are made of them. It runs
//! on any toolchain, always the same bytes, and that it is built means that the targets are.

use std::path::Path;

#[test]
fn any_body_is_within_its_bounds_or_refused() {
    survives("bodies", 60_000, snakepit_shm_fuzz::bodies);
}

#[test]
fn any_packet_is_a_mapping_or_refused() {
    survives("packets", 5_000, snakepit_shm_fuzz::packets);
}

#[test]
fn any_message_of_a_worker_is_obeyed_or_refused() {
    survives("worker", 5_000, snakepit_shm_fuzz::worker);
}

/// `rounds` is some seconds of a debug build.
fn survives(target: &str, rounds: usize, run: fn(&[u8])) {
    let seeds = seeds(target);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    seeds.iter().for_each(|seed| told(seed, run));
    for _ in 0..rounds {
        let mut bytes = dice.one_of(&seeds).clone();
        for _ in 0..=dice.below(4) {
            change(&mut bytes, &mut dice, &seeds);
        }
        told(&bytes, run);
    }
}

/// Runs a target, and shows the bytes if it fails on them.
fn told(bytes: &[u8], run: fn(&[u8])) {
    struct Shown<'a>(&'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the bytes were: {:02x?}", self.0);
            }
        }
    }
    let _shown = Shown(bytes);
    run(bytes);
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let entries = std::fs::read_dir(directory).expect("there are seeds");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

/// Changes a byte string in one place.
fn change(bytes: &mut Vec<u8>, dice: &mut Dice, seeds: &[Vec<u8>]) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(5) {
        0 => bytes.truncate(at),
        // A piece of another one, or of this one again.
        1 | 2 => {
            let seed = dice.one_of(seeds);
            let from = dice.below(seed.len());
            let piece = seed[from..seed.len().min(from + 26)].to_vec();
            drop(bytes.splice(at..at, piece));
        }
        3 => {
            let end = bytes.len().min(at + 8);
            // Where numbers are most likely to be mistaken.
            let edge = *dice.one_of(&[0, 0x7f, 0x80, 0xcf, 0xff]);
            bytes[at..end].fill(edge);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}

/// Marsaglia's xorshift: the same bytes each time, so that a failure can be looked at.
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
