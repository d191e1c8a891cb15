//! Conversion of a nested document in the worker's interpreter, beside Python's own `json`.

use std::collections::BTreeMap;

use anyhow::Result;
use snakepit::{PoolConfig, Snakepit};
use snakepit_bench::report::{Better, Table};
use snakepit_bench::workload::Setting;

use super::{Bound, Run};

/// How often each step is taken for one sample.
const ROUNDS: usize = 20;

/// Samples for one elsewhere: each takes a tenth of a second.
const FOR_ONE: usize = 3;

pub(crate) async fn run(run: &mut Run) -> Result<()> {
    run.title("Conversion of a nested document of 100 KB in the worker");
    let interpreters = [
        ("GIL", Some(run.setting.python.clone())),
        ("free-threaded", run.setting.free_threaded.clone()),
    ];
    for (name, python) in interpreters {
        let Some(python) = python else {
            run.failure("not measured without a GIL: there is no such environment");
            continue;
        };
        let pool = PoolConfig::builder("default")
            .adapter(format!("{}/bench_conversion.py", Setting::python_dir()))
            .python(python.display().to_string())
            .workers(1)
            .build()?;
        let snakepit = Snakepit::builder().pool(pool).start().await?;
        let workload = format!("convert/document/python={name}");
        let mut table = Table::new(&workload, "µs", Better::Less);
        for round in 0..=run.samples * FOR_ONE {
            let steps: BTreeMap<String, f64> = snakepit.execute("sample", (ROUNDS,)).await?;
            // The first round warms up.
            for (step, us) in steps.iter().filter(|_| round > 0) {
                table.add(step, *us);
            }
        }
        run.table(&table);
        let both = |how: &str| {
            table.median(&format!("read, {how}")) + table.median(&format!("write, {how}"))
        };
        let ratio = both("Python's json") / both("MessagePack");
        run.gate(&format!("conversion against Python's json ({name})"), ratio, Bound::AtLeast(1.8));
        let ratio = both("Python's json") / both("JSON in Rust");
        run.note(&format!(
            "With JSON on the wire it is {ratio:.2} times as fast as Python's json."
        ));
        super::stop([snakepit]).await?;
    }
    Ok(())
}
