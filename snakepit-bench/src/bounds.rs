//! What performance is held to: `perf.toml` at the workspace's root.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// How head is compared with its base.
    pub gate: GateRules,
    /// The most of each count, by the key it has in a report.
    pub counts: BTreeMap<String, f64>,
}

/// How head is compared with its base.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateRules {
    /// A change must be less likely than this to be chance.
    pub significance: f64,
    /// Pairs of samples of each workload.
    pub pairs: usize,
    /// How much more a workload may cost, by its id: 0.1 is a tenth.
    pub thresholds: BTreeMap<String, f64>,
    /// How many more instructions may be executed.
    pub instructions: f64,
}

impl Bounds {
    /// Reads the workspace's.
    ///
    /// # Errors
    /// When the file is missing or is not of this form.
    pub fn read() -> Result<Self> {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../perf.toml"));
        let text = std::fs::read_to_string(file).context("perf.toml cannot be read")?;
        toml::from_str(&text).context("perf.toml")
    }
}
