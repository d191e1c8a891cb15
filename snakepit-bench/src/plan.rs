//! Workloads as data: `workloads.toml` says what is measured, under which heading, with how much
//! warm-up and how many samples. A workload is its id, from which everything else follows.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// Everything that is measured by the same driver.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The tables, in order.
    pub table: Vec<PlannedTable>,
}

/// Workloads that are shown together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTable {
    /// The section it belongs to.
    pub section: String,
    /// Its heading.
    pub title: String,
    /// What has to be known to read it.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What is shown of each workload.
    pub measures: Vec<Measure>,
    /// The parameter along which workloads are shown, if there is one.
    #[serde(default)]
    pub axis: Option<String>,
    /// The workload that the others are set against, whatever its place on the axis.
    #[serde(default)]
    pub over: Option<String>,
    /// Calls before anything counts.
    pub warm_up: usize,
    /// How long a sample is to take, in milliseconds; halved, and halved again, in a quick run.
    pub sample_ms: u64,
    /// Samples of each workload; as many as the run has unless it is set.
    #[serde(default)]
    pub samples: Option<usize>,
    /// The workloads' ids; `{a,b}` stands for one id with each.
    pub workloads: Vec<String>,
    /// The most that a quick run goes along the axis.
    #[serde(default)]
    pub quick_most: Option<f64>,
}

/// What is shown of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Calls per second in the closed loop.
    Rate,
    /// Megabytes of payload per second, there and back counted once.
    Bandwidth,
    /// The median of the latencies in the closed loop.
    P50,
    /// Their 90th percentile.
    P90,
    /// Their 99th percentile.
    P99,
    /// Their 99.9th percentile.
    P999,
    /// CPU per call of the host, its caller included.
    CpuHost,
    /// CPU per call of the workers.
    CpuWorkers,
    /// The median of the latencies in the open loop, at half of the closed loop's rate.
    OpenP50,
    /// Their 99th percentile.
    OpenP99,
    /// Their 99.9th percentile.
    OpenP999,
}

impl Plan {
    /// The workspace's.
    ///
    /// # Errors
    /// When the file has a mistake.
    pub fn read() -> Result<Self> {
        let plan: Self = toml::from_str(include_str!("../workloads.toml"))?;
        for table in &plan.table {
            let workloads = table.expanded(false).with_context(|| table.title.clone())?;
            let over = table.reference().with_context(|| table.title.clone())?;
            let known = |over: &String| workloads.iter().any(|w| table.contender(w) == *over);
            ensure!(over.iter().all(known), "{}: {over:?} is not measured", table.title);
        }
        Ok(plan)
    }
}

impl PlannedTable {
    /// Its workloads, one for each of the values in braces.
    ///
    /// # Errors
    /// When an id has a mistake, or no place on the axis.
    pub fn expanded(&self, quick: bool) -> Result<Vec<Workload>> {
        let mut workloads = Vec::new();
        for id in self.workloads.iter().flat_map(|id| expand(id)) {
            let workload: Workload = id.parse()?;
            let at = self.at(&workload)?;
            let most = self.quick_most.filter(|_| quick).unwrap_or(f64::INFINITY);
            if at.is_none_or(|at| at <= most) {
                workloads.push(workload);
            }
        }
        Ok(workloads)
    }

    /// A workload's place on the axis.
    ///
    /// # Errors
    /// When it has none although there is an axis.
    pub fn at(&self, workload: &Workload) -> Result<Option<f64>> {
        let Some(axis) = &self.axis else { return Ok(None) };
        let at = workload.parameters.get(axis);
        let at = at.with_context(|| format!("{workload} says nothing of {axis}"))?;
        Ok(Some(at.parse().with_context(|| format!("{axis} of {workload}"))?))
    }

    /// What the workload is called that the others are set against.
    ///
    /// # Errors
    /// When its id has a mistake.
    pub fn reference(&self) -> Result<Option<String>> {
        let over = self.over.as_ref().map(|id| id.parse::<Workload>()).transpose()?;
        Ok(over.map(|workload| self.contender(&workload)))
    }

    /// What a workload is called among those of its table: its parameters but for the axis.
    pub fn contender(&self, workload: &Workload) -> String {
        let named =
            workload.parameters.iter().filter(|(name, _)| Some(*name) != self.axis.as_ref());
        let words: Vec<String> = named.map(|(name, value)| format!("{name}={value}")).collect();
        words.join(", ")
    }
}

/// An id for each of the values in its first braces, and so on.
fn expand(id: &str) -> Vec<String> {
    let Some((before, rest)) = id.split_once('{') else { return vec![id.to_owned()] };
    let Some((values, after)) = rest.split_once('}') else { return vec![id.to_owned()] };
    values.split(',').flat_map(|value| expand(&format!("{before}{value}{after}"))).collect()
}

/// One workload: `call/TOOL/name=value/…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The tool.
    pub tool: String,
    /// Its parameters, by name.
    pub parameters: BTreeMap<String, String>,
}

impl Workload {
    /// A number among the parameters.
    ///
    /// # Errors
    /// When it is none.
    pub fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        name: &str,
        default: T,
    ) -> Result<T> {
        match self.parameters.get(name) {
            None => Ok(default),
            Some(text) => text.parse().with_context(|| format!("{name} of {self}")),
        }
    }

    /// A word among the parameters.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call/{}", self.tool)?;
        self.parameters.iter().try_for_each(|(name, value)| write!(f, "/{name}={value}"))
    }
}

/// The parameters that mean something.
const PARAMETERS: [&str; 11] = [
    "backend", "bytes", "inflight", "ms", "pools", "prefetch", "profile", "rounds", "size",
    "threads", "workers",
];

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(id: &str) -> Result<Self> {
        let rest = id.strip_prefix("call/").with_context(|| format!("{id} is no call"))?;
        let mut parts = rest.split('/');
        let tool = parts.next().filter(|tool| !tool.is_empty()).context("an id names its tool")?;
        let mut parameters = BTreeMap::new();
        for part in parts {
            let Some((name, value)) = part.split_once('=') else {
                bail!("{part} in {id} is no name=value")
            };
            ensure!(PARAMETERS.contains(&name), "{name} in {id} means nothing");
            let before = parameters.insert(name.to_owned(), value.to_owned());
            ensure!(before.is_none(), "{name} comes twice in {id}");
        }
        Ok(Self { tool: tool.to_owned(), parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_and_written_alike() {
        let id = "call/small/inflight=64/profile=process";
        assert_eq!(id.parse::<Workload>().unwrap().to_string(), id);
    }

    #[test]
    fn mistaken_ids_are_refused() {
        for id in ["small", "call/", "call/small/inflight", "call/small/x=1"] {
            assert!(id.parse::<Workload>().is_err(), "{id}");
        }
        assert!("call/small/workers=1/workers=2".parse::<Workload>().is_err());
    }

    #[test]
    fn braces_stand_for_each_combination() {
        let ids = expand("a={1,2}/b={x,y}");
        assert_eq!(ids, ["a=1/b=x", "a=1/b=y", "a=2/b=x", "a=2/b=y"]);
    }

    #[test]
    fn plan_of_the_workspace_has_no_mistake() {
        let plan = Plan::read().unwrap();
        assert!(plan.table.iter().all(|table| !table.workloads.is_empty()));
    }
}
