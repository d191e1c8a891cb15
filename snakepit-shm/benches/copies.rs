//! What shared memory costs beside a plain copy of the same bytes, measured in turns: into a warm
//! segment, into one that has to be made, and showing one to a worker that has it mapped or has not.
//!
//! `cargo bench -p snakepit-shm` prints medians, and the ratio that matters: a warm segment takes bytes
//! at 85 % of the speed of a plain copy or better.

use std::hint::black_box;
use std::time::{Duration, Instant};

use snakepit_shm::{
    Arena, ArenaOptions, DescriptorReceiver, Ledger, Quota, Reference, Regions, descriptor_channel,
};

const SIZES: [(&str, usize); 4] =
    [("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("8 MiB", 8 << 20), ("64 MiB", 64 << 20)];
const ROUNDS: usize = 21;
const GATE: f64 = 0.85;

struct Medians {
    plain: Duration,
    warm: Duration,
    cold: Duration,
    first_view: Duration,
    view: Duration,
    /// Of the speeds of a warm and a plain copy that were made one after the other.
    ratio: f64,
}

fn main() {
    // `cargo test --benches` runs this as well, to see that it works.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 3 };
    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "bytes", "plain copy", "warm", "cold", "first view", "later view", "warm / plain"
    );
    let mut large = 0.0;
    for (name, size) in SIZES {
        let Medians { plain, warm, cold, first_view, view, ratio } = measure(size, rounds);
        if size == 64 << 20 {
            large = ratio;
        }
        println!(
            "{name:>8} {plain:>12.1?} {warm:>12.1?} {cold:>12.1?} {first_view:>12.1?} {view:>12.1?} \
             {:>11.0} %",
            ratio * 100.0
        );
    }
    println!(
        "64 MiB into a warm segment: {:.0} % of a plain copy's speed, gate {:.0} %",
        large * 100.0,
        GATE * 100.0
    );
}

/// One host and one worker in this process, joined as two are.
struct Link {
    arena: Arena,
    quota: Quota,
    ledger: Ledger,
    regions: Regions,
}

impl Link {
    fn new() -> Self {
        let arena = Arena::new(ArenaOptions { total_bytes: 1 << 30, poison: false });
        let quota = arena.quota("bench", 1 << 30);
        let (sender, worker) = descriptor_channel().expect("descriptors");
        let ledger = Ledger::new(&quota, sender, || {});
        let regions = Regions::new(DescriptorReceiver::new(worker), |_, _| {});
        Self { arena, quota, ledger, regions }
    }

    /// Copies bytes into a segment and prepares to show them.
    fn put(&self, bytes: &[u8]) -> Reference {
        let mut draft = self.quota.draft(bytes.len()).expect("memory");
        draft.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
        self.ledger.lend(&draft.freeze(bytes.len())).expect("a worker that lives")
    }

    /// Looks at them and lets them go.
    fn look(&self, reference: &Reference) {
        let seen = self.regions.view(reference).expect("it was lent");
        black_box(seen.as_ptr());
        drop(seen);
        self.ledger.release(reference.segment, reference.generation).expect("it was lent");
    }

    fn forget_all(&self, reference: &Reference) {
        self.arena.trim(0);
        self.regions.forget([reference.segment]);
    }
}

fn measure(size: usize, rounds: usize) -> Medians {
    let source: Vec<u8> = (0..size).map(|n| n as u8).collect();
    // On a page's boundary, as segments are: copies depend on how the two addresses differ.
    let mut memory = vec![1_u8; size + 4096];
    let start = memory.as_ptr().align_offset(4096);
    let target = &mut memory[start..start + size];
    let link = Link::new();
    let mut samples: [Vec<Duration>; 5] = Default::default();
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let (cold, reference) = timed(|| link.put(&source));
        let (first_view, ()) = timed(|| link.look(&reference));
        let mut plain = || timed(|| black_box(&mut *target).copy_from_slice(&source)).0;
        let first = (round % 2 == 0).then(&mut plain);
        let (warm, reference) = timed(|| link.put(&source));
        let plain = first.unwrap_or_else(plain);
        let (view, ()) = timed(|| link.look(&reference));
        ratios.push(plain.as_secs_f64() / warm.as_secs_f64());
        for (list, sample) in samples.iter_mut().zip([plain, warm, cold, first_view, view]) {
            list.push(sample);
        }
        link.forget_all(&reference);
    }
    let [plain, warm, cold, first_view, view] = samples.map(median);
    ratios.sort_unstable_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    Medians { plain, warm, cold, first_view, view, ratio }
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let made = run();
    (started.elapsed(), made)
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}
