//! The gate over real builds: the same one twice, and one with a slowdown planted in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use snakepit_bench::bounds::{Bounds, GateRules};
use snakepit_bench::gate::{self, Build, Outcome};

/// Several times what a call costs, so that a machine full of other work does not hide it.
const PLANTED_NS: u64 = 2_000_000;

fn build(planted_ns: u64) -> Build {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("SNAKEPIT_TEST_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| manifest.join("../target/snakepit/venvs/gil/bin/python"));
    assert!(python.exists(), "no Python for the tests: run `cargo xtask setup`");
    Build {
        drive: env!("CARGO_BIN_EXE_snakepit-drive").into(),
        python,
        adapter: manifest.join("python/bench_adapter.py"),
        variables: vec![("SNAKEPIT_DRIVE_PLANTED_NS".to_owned(), planted_ns.to_string())],
    }
}

fn compare(head: &Build) -> Outcome {
    let rules = GateRules {
        significance: 0.01,
        pairs: 7,
        thresholds: BTreeMap::from([("call/small/inflight=1".to_owned(), 0.3)]),
        instructions: 0.02,
    };
    let mut outcomes = gate::compare(&build(0), head, &rules, |_| {}).expect("both run");
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

#[test]
fn planted_slowdown_blocks_after_a_second_look() {
    let outcome = compare(&build(PLANTED_NS));
    assert!(outcome.blocks(), "{outcome:?}");
    assert_eq!(outcome.verdicts.len(), 2);
}

#[test]
fn unchanged_build_passes() {
    let outcome = compare(&build(0));
    assert!(!outcome.blocks(), "{outcome:?}");
}

#[test]
fn instructions_of_a_call_are_the_same_each_time() {
    let count = Path::new(env!("CARGO_BIN_EXE_snakepit-count"));
    let counted = || gate::instructions(count).unwrap();
    let Some((one, other)) = counted().zip(counted()) else {
        eprintln!("valgrind is not on this machine, and the gate says so itself");
        return;
    };
    assert!(one > 1_000.0, "{one} are too few for a call");
    assert!((one / other - 1.0).abs() < 0.005, "{one} and {other}");
}

#[test]
fn rules_of_the_workspace_can_be_read() {
    let bounds = Bounds::read().unwrap();
    assert!(bounds.gate.significance <= 0.01 && !bounds.gate.thresholds.is_empty());
}
