//! The one form of results: what was measured, on what, by which command, with every sample. Owns
//! the format (`report.schema.json` is made from these types) and what is derived from samples;
//! how it looks is `markdown`'s and `html`'s business.
//!
//! Invariant: whatever is shown of a figure can be derived again from the samples that are kept.

pub mod compare;
pub mod html;
pub mod machine;
pub mod markdown;
pub mod original;
mod svg;
pub mod wording;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::machine::{Machine, Run};
use crate::stats::{Fit, Interval, Summary, paired_ratio};

/// Raised when older reports cannot be read any more.
pub const FORMAT: u32 = 1;

/// One run of the benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of this form.
    pub format: u32,
    /// What was run, when and on what.
    pub run: Run,
    /// What was measured, in order.
    pub sections: Vec<Section>,
}

/// One section of the benchmark, run by a process of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Section {
    /// Its name on the command line.
    pub id: String,
    /// The command that measures it again.
    pub command: String,
    /// How long it took.
    pub seconds: f64,
    /// What it consists of.
    pub parts: Vec<Part>,
    /// Why it did not come to its end, or what went wrong on the way.
    pub failures: Vec<String>,
}

/// What belongs under one heading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// The heading.
    pub title: String,
    /// What has to be known to read the figures.
    pub notes: Vec<String>,
    /// The figures.
    pub tables: Vec<Table>,
    /// What they have to keep.
    pub gates: Vec<Gate>,
    /// What the original says about itself, beside what was measured.
    pub claims: Vec<Claim>,
}

/// Contenders that did the same work, in one unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// What was done, such as `call/small/inflight=64`.
    pub workload: String,
    /// What was measured of it, such as `p99`; empty where the unit says all.
    #[serde(default)]
    pub measure: String,
    /// The unit of all samples.
    pub unit: String,
    /// Which direction is the good one.
    pub better: Better,
    /// The parameter along which it was measured, if there is one; each series has its `at` then.
    #[serde(default)]
    pub axis: Option<String>,
    /// The contender that the others are set against, if that says something.
    #[serde(default)]
    pub over: Option<String>,
    /// The contenders.
    pub series: Vec<Series>,
    /// How contenders grow along the axis.
    #[serde(default)]
    pub growth: Vec<Growth>,
}

/// Which direction is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    More,
    /// Less is better.
    Less,
}

/// All samples of one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Whose they are.
    pub contender: String,
    /// Where on the table's axis.
    #[serde(default)]
    pub at: Option<f64>,
    /// What was set, by name, beyond what the workload's id says.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// Each sample, in the order in which they were taken.
    pub samples: Vec<f64>,
    /// What they come to.
    pub summary: Summary,
}

/// How one contender's figure grows along a table's axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// Whose.
    pub contender: String,
    /// How.
    pub fit: Fit,
}

/// A figure that has to keep a bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// What the figure is.
    pub claim: String,
    /// The figure.
    pub value: f64,
    /// Its interval of confidence where it is a ratio of samples.
    pub confidence: Option<Interval>,
    /// What it has to keep.
    pub bound: Bound,
    /// Whether it does.
    pub kept: bool,
}

/// What a figure has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Bound {
    /// Whether a value keeps it; what is no number does not.
    pub fn kept(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }
}

/// A figure that the original states of itself, beside the one measured here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// What it is about.
    pub about: String,
    /// What the original states, or what was measured of it elsewhere; none where that is not known.
    pub original: Option<String>,
    /// What was measured here, with its unit.
    pub measured: String,
    /// What the difference means.
    pub meaning: String,
}

impl Series {
    /// Of a contender's samples, of which there is at least one.
    pub fn new(contender: &str, samples: Vec<f64>) -> Self {
        let summary = Summary::of(&samples);
        let (at, parameters) = (None, BTreeMap::new());
        Self { contender: contender.to_owned(), at, parameters, samples, summary }
    }
}

impl Table {
    /// A table without contenders yet.
    pub fn new(workload: &str, unit: &str, better: Better) -> Self {
        Self {
            workload: workload.to_owned(),
            measure: String::new(),
            unit: unit.to_owned(),
            better,
            axis: None,
            over: None,
            series: Vec::new(),
            growth: Vec::new(),
        }
    }

    /// Says what of the workload the samples measure.
    #[must_use]
    pub fn measure(mut self, what: &str) -> Self {
        self.measure = what.to_owned();
        self
    }

    /// Says along which parameter it is measured.
    #[must_use]
    pub fn along(mut self, parameter: &str) -> Self {
        self.axis = Some(parameter.to_owned());
        self
    }

    /// Says whom the others are set against.
    #[must_use]
    pub fn over(mut self, contender: &str) -> Self {
        self.over = Some(contender.to_owned());
        self
    }

    /// Adds one sample of a contender.
    pub fn add(&mut self, contender: &str, sample: f64) {
        self.place(contender, None, sample);
    }

    /// Adds one sample of a contender somewhere on the axis.
    pub fn add_at(&mut self, contender: &str, at: f64, sample: f64) {
        self.place(contender, Some(at), sample);
    }

    fn place(&mut self, contender: &str, at: Option<f64>, sample: f64) {
        let same = |series: &&mut Series| series.contender == contender && series.at == at;
        if let Some(series) = self.series.iter_mut().find(same) {
            series.samples.push(sample);
            return;
        }
        self.series.push(Series { at, ..Series::new(contender, vec![sample]) });
    }

    /// Derives what is said about the samples; to be called when all of them are there.
    pub fn conclude(&mut self) {
        for series in &mut self.series {
            series.summary = Summary::of(&series.samples);
        }
        self.growth.clear();
        if self.axis.is_none() {
            return;
        }
        for contender in self.contenders() {
            let of = |series: &&Series| series.contender == contender;
            let mut points: Vec<(f64, f64)> = self
                .series
                .iter()
                .filter(of)
                .filter_map(|series| Some((series.at?, crate::stats::median(&series.samples))))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            if let Some(fit) = crate::stats::fit(&points) {
                self.growth.push(Growth { contender: contender.to_owned(), fit });
            }
        }
    }

    /// The contenders' names in the order in which they came.
    pub fn contenders(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for series in &self.series {
            if !names.contains(&series.contender) {
                names.push(series.contender.clone());
            }
        }
        names
    }

    /// The samples of a contender; none of one that is not there.
    pub fn samples(&self, contender: &str) -> &[f64] {
        let of = self.series.iter().find(|series| series.contender == contender);
        of.map_or(&[], |series| &series.samples)
    }

    /// The median of a contender's samples; NaN if it has none.
    pub fn median(&self, contender: &str) -> f64 {
        crate::stats::median(self.samples(contender))
    }

    /// One contender over another, round by round, with its interval.
    pub fn ratio(&self, contender: &str, over: &str) -> Measured {
        let (value, confidence) = paired_ratio(self.samples(contender), self.samples(over));
        Measured { value, confidence }
    }

    /// A series over the one that it is set against, which is at the same place of the axis; none if
    /// there is no such one, or it is that one.
    pub fn beside(&self, series: &Series) -> Option<Measured> {
        let over = self.over.as_ref().filter(|over| **over != series.contender)?;
        let is_it = |other: &&Series| other.contender == *over && other.at == series.at;
        let (value, confidence) =
            paired_ratio(&series.samples, &self.series.iter().find(is_it)?.samples);
        Some(Measured { value, confidence })
    }

    /// What identifies a series in this report and in later ones.
    pub fn key(&self, series: &Series) -> String {
        let mut key = self.workload.clone();
        for part in [&self.measure, &self.unit, &series.contender] {
            if !part.is_empty() {
                key.push_str(" · ");
                key.push_str(part);
            }
        }
        if let (Some(axis), Some(at)) = (&self.axis, series.at) {
            key.push_str(&format!(" · {axis}={at}"));
        }
        key
    }
}

/// A figure, with its interval where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The figure.
    pub value: f64,
    /// Its interval of confidence.
    pub confidence: Option<Interval>,
}

impl From<f64> for Measured {
    fn from(value: f64) -> Self {
        Self { value, confidence: None }
    }
}

impl Gate {
    /// Judges a figure.
    pub fn new(claim: &str, measured: Measured, bound: Bound) -> Self {
        let Measured { value, confidence } = measured;
        // A median of nothing among those drawn, or nought below the line: no interval is known.
        let confidence = confidence.filter(|ends| ends.low.is_finite() && ends.high.is_finite());
        let kept = bound.kept(value);
        Self { claim: claim.to_owned(), value, confidence, bound, kept }
    }
}

impl Report {
    /// A report of a run, without sections yet.
    pub fn new(run: Run) -> Self {
        Self { format: FORMAT, run, sections: Vec::new() }
    }

    /// Reads a report.
    ///
    /// # Errors
    /// When the file is none, or of another version of the form.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let report: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no report of snakepit-load", path.display()))?;
        anyhow::ensure!(
            report.format == FORMAT,
            "{} has format {}, and this program reads {FORMAT}",
            path.display(),
            report.format
        );
        Ok(report)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let unfinished = path.with_extension("json.part");
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(&unfinished, text + "\n")
            .and_then(|()| std::fs::rename(&unfinished, path))
            .with_context(|| path.display().to_string())
    }

    /// All gates with the section they belong to.
    pub fn gates(&self) -> impl Iterator<Item = (&Section, &Gate)> {
        self.parts().flat_map(|(section, part)| part.gates.iter().map(move |gate| (section, gate)))
    }

    /// All tables.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.parts().flat_map(|(_, part)| &part.tables)
    }

    /// What has failed, gates that were missed apart.
    pub fn failures(&self) -> impl Iterator<Item = (&Section, &str)> {
        self.sections
            .iter()
            .flat_map(|section| section.failures.iter().map(move |text| (section, text.as_str())))
    }

    fn parts(&self) -> impl Iterator<Item = (&Section, &Part)> {
        self.sections.iter().flat_map(|section| section.parts.iter().map(move |p| (section, p)))
    }
}
