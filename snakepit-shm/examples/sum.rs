//! Shared memory between two programs, without Python and without the rest of Snakepit: a host shows
//! arrays to a worker, which is this program started again, and reads what the worker makes of them.
//! The arrays stay where they are written; what goes between the two are lines of text that say where.
//!
//! `cargo run -p snakepit-shm --example sum`

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use snakepit_shm::{
    Arena, ArenaOptions, DescriptorReceiver, Dtype, Grant, Layout, Lease, Ledger, Notice, Quota,
    Reference, Regions, SegmentId, bytes_of, descriptor_channel, elements,
};

const ELEMENTS: usize = 1_000_000;
const ROUNDS: usize = 20;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    match env::args().nth(1).as_deref() {
        Some("worker") => worker(),
        _ => host(),
    }
}

/// Shows the worker an array per round; the answer is the running sums, an array as large.
fn host() -> Result<(), Failure> {
    let arena = Arena::new(ArenaOptions { total_bytes: 64 << 20, poison: false });
    let quota = arena.quota("sums", 64 << 20);
    let (sender, channel) = descriptor_channel()?;
    let (stream, worker_end) = UnixStream::pair()?;
    // Two sockets, in the places that every program has: descriptors come in on its standard input,
    // lines go both ways on its standard output.
    let mut child = Command::new(env::current_exe()?)
        .arg("worker")
        .stdin(Stdio::from(channel))
        .stdout(Stdio::from(OwnedFd::from(worker_end)))
        .spawn()?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let ledger = Ledger::new(&quota, sender, || {});

    let layout = Layout::new(Dtype::F64, vec![ELEMENTS])?;
    ledger.want(1, layout.byte_len() as u64)?;
    for round in 0..ROUNDS {
        let values: Vec<f64> = (0..ELEMENTS).map(|n| (n + round) as f64).collect();
        let array = shared(&quota, &values)?;
        let call = ledger.lend(&array)?;
        send_notices(&ledger, &stream)?;
        writeln!(&stream, "sum {}", text_of(&call))?;
        let result = answer(&ledger, &mut lines)?;
        let sums: &[f64] = elements(&layout, result.as_slice())?;
        assert_eq!(sums.last(), Some(&values.iter().sum()));
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    child.wait()?;
    ledger.close();
    let stats = arena.stats();
    let (megabytes, segments) = (layout.byte_len() / 1_000_000, stats.pools[0].misses);
    println!("{ROUNDS} arrays of {megabytes} MB there and back, through {segments} segments");
    assert_eq!(stats.in_use_bytes(), 0, "everything has come back");
    Ok(())
}

/// Writes an array into shared memory: the one copy that it takes.
fn shared(quota: &Quota, values: &[f64]) -> Result<Lease, Failure> {
    let bytes = bytes_of(values);
    let mut draft = quota.draft(bytes.len())?;
    draft.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
    Ok(draft.freeze(bytes.len()))
}

fn send_notices(ledger: &Ledger, mut stream: &UnixStream) -> Result<(), Failure> {
    for notice in ledger.notices() {
        match notice {
            Notice::Grant { grant: Some(Grant { segment, generation, size_bytes }), .. } => {
                writeln!(stream, "grant {segment} {generation} 0 {size_bytes}")?;
            }
            Notice::Forget { segment } => writeln!(stream, "forget {segment} 0 0 0")?,
            _ => {}
        }
    }
    Ok(())
}

fn answer(ledger: &Ledger, lines: &mut Lines<BufReader<UnixStream>>) -> Result<Lease, Failure> {
    for line in lines {
        let (what, reference) = read(&line?)?;
        match what.as_str() {
            "release" => ledger.release(reference.segment, reference.generation)?,
            _ => return Ok(ledger.take(&reference)?),
        }
    }
    Err("the worker has ended".into())
}

/// Answers each array with its running sums, written where the host reads them.
fn worker() -> Result<(), Failure> {
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    let stream = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    let (releases, released) = mpsc::channel();
    let release = move |segment: SegmentId, generation| {
        // It fails when this program is over, and then the host knows anyway.
        let _ = releases.send(Reference { segment, generation, offset: 0, size_bytes: 0 });
    };
    let regions = Regions::new(DescriptorReceiver::new(channel), release);
    for line in BufReader::new(stream.try_clone()?).lines() {
        let (what, reference) = read(&line?)?;
        let Reference { segment, generation, size_bytes, .. } = reference;
        match what.as_str() {
            "grant" => regions.granted(&Grant { segment, generation, size_bytes })?,
            "forget" => regions.forget([segment]),
            _ => {
                let result = running_sums(&regions, &reference)?;
                for reference in released.try_iter() {
                    writeln!(&stream, "release {}", text_of(&reference))?;
                }
                writeln!(&stream, "result {}", text_of(&result))?;
            }
        }
    }
    Ok(())
}

fn running_sums(regions: &Regions, reference: &Reference) -> Result<Reference, Failure> {
    let seen = regions.view(reference)?;
    let layout = Layout::new(Dtype::F64, vec![seen.len() / 8])?;
    let values: &[f64] = elements(&layout, seen.as_slice().ok_or("it is a file")?)?;
    let mut draft = regions.draft(seen.len()).ok_or("nothing is granted")?;
    let mut sum = 0.0;
    for (place, value) in draft.as_mut_slice().chunks_exact_mut(8).zip(values) {
        sum += value;
        place.copy_from_slice(&f64::to_le_bytes(sum));
    }
    let (result, _) = draft.hand_over(0..seen.len());
    Ok(result)
}

fn text_of(reference: &Reference) -> String {
    let Reference { segment, generation, offset, size_bytes } = reference;
    format!("{segment} {generation} {offset} {size_bytes}")
}

fn read(line: &str) -> Result<(String, Reference), Failure> {
    let (what, numbers) = line.split_once(' ').ok_or("a line without numbers")?;
    let numbers = numbers.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [segment, generation, offset, size_bytes] = numbers[..] else {
        return Err("a reference has four numbers".into());
    };
    Ok((what.to_owned(), Reference { segment: SegmentId(segment), generation, offset, size_bytes }))
}
