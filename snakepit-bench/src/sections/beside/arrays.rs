//! Numpy arrays there and back, ours in turn with what others offer: given back as they came, and
//! another one in their place.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use snakepit::{Array, Snakepit};
use snakepit_bench::grpcio::Servers;
use snakepit_bench::peers;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::{facade, load};

use super::super::{Bound, Run};
use super::{GRPCIO, Others, each};

const SNAKEPIT: &str = "snakepit";

/// 8 and 64 MB of numbers.
const SIZES: [usize; 2] = [8_000_000, 64_000_000];

/// A round of them all takes some four seconds, for each size and kind.
const MOST_SAMPLES: usize = 4;

/// The tool in `bench_numpy.py` that it is, and what `peers.py` calls it.
const KINDS: [(&str, &str); 2] = [("echo", "array"), ("negate", "negate")];

pub(super) async fn run(
    run: &mut Run,
    others: &mut Others,
    servers: Option<&Servers>,
) -> Result<()> {
    run.title("Peers: numpy arrays there and back, one call at a time");
    run.note(
        "`echo` gives back what came, `negate` another array of the same size. Whoever copies an array \
         to send it does so in every call; ThreadPoolExecutor hands it over by reference, and grpcio \
         has the bytes and no array.",
    );
    let adapter = run.setting.numpy_adapter();
    let snakepit = facade::start_with(&run.setting, 0, |pool| {
        pool.adapter(adapter).shared_memory_quota(1 << 30)
    })
    .await?;
    for size in SIZES {
        for kind in KINDS {
            one(run, &snakepit, others, servers, (size, kind)).await?;
        }
    }
    super::super::stop([snakepit]).await
}

async fn one(
    run: &mut Run,
    snakepit: &Snakepit,
    others: &mut Others,
    servers: Option<&Servers>,
    (size, (tool, kind)): (usize, (&'static str, &str)),
) -> Result<()> {
    let workload = format!("call/{tool}/bytes={size}/inflight=1");
    let mut table = Table::new(&workload, "ms", Better::Less).over(SNAKEPIT);
    let array = Array::from_vec(vec![1.0_f64; size / 8], [size / 8])?;
    let bytes = Bytes::from(vec![7; size]);
    let calls = run.calls(128_000_000 / size).max(2);
    let per_call = |seconds: f64| seconds * 1e3 / calls as f64;
    // The servers' limit of a message is below what is measured last.
    let servers = servers.filter(|_| tool == "echo" && size == SIZES[0]);
    for round in 0..=run.samples.min(MOST_SAMPLES) {
        let start = Instant::now();
        for _ in 0..calls {
            let back: Array = snakepit.execute(tool, (&array,)).await?;
            debug_assert_eq!(back.shape(), array.shape());
        }
        let mut found = vec![(SNAKEPIT, per_call(start.elapsed().as_secs_f64()))];
        each(run, others, |_, name, peer| {
            found.push((name, per_call(peer.sample(kind, size, calls, 1)?.seconds)));
            Ok(())
        });
        if let Some(servers) = servers {
            let echo = |number| servers.call(number, "/Peer/echo", bytes.clone());
            let sample = load::closed(calls, 1, echo).await?;
            found.push((GRPCIO, per_call(sample.wall.as_secs_f64())));
        }
        for (name, value) in found.into_iter().filter(|_| round > 0) {
            table.add(name, value);
        }
    }
    run.table(&table);
    for name in table.contenders() {
        // What stays in the process is the limit, not a contender.
        if name != SNAKEPIT && name != peers::THREADS {
            let label = format!("{tool} of {} MB: {name} over ours", size / 1_000_000);
            run.gate(&label, table.ratio(&name, SNAKEPIT), Bound::AtLeast(1.0));
        }
    }
    Ok(())
}
