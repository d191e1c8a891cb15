//! 1 MB there and back inline, one call at a time and four in flight.

use anyhow::Result;
use snakepit::config::SharedMemoryMode::Off;
use snakepit_bench::peers::Peers;
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::Echo;
use snakepit_bench::{facade, load};

use super::{Bound, Run};

const SIZE: usize = 1_000_000;
const PEER: &str = "multiprocessing.Pool";

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Large: 1 MB of bytes there and back, inline");
    let calls = run.calls(400);
    let snakepit = facade::start_with(&run.setting, 8, |pool| pool.shared_memory(Off)).await?;
    let mut peers = Peers::start(&run.setting)?;
    let echo = Echo { data: serde_bytes::ByteBuf::from(vec![0; SIZE]) };
    for window in [1, 4] {
        let workload = format!("call/echo/bytes={SIZE}/inflight={window}");
        let mut table = Table::new(&workload, "calls/s", Better::More);
        for round in 0..=run.samples {
            let ours = load::windowed(&snakepit, &echo, calls, window).await?;
            let theirs = peers.sample(PEER, "echo", SIZE, calls, window)?;
            if round > 0 {
                table.add("snakepit", ours.rate(calls));
                table.add(PEER, calls as f64 / theirs.seconds);
            }
        }
        run.table(&table);
        let ratio = table.ratio("snakepit", PEER);
        let claim = format!("1 MB there and back over {PEER}, {window} in flight");
        run.gate(&claim, ratio, Bound::AtLeast(3.0));
    }
    super::stop([snakepit]).await
}
