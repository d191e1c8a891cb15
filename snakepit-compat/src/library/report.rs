//! Owns the verdict on everything that a project uses, taken together.

use std::fmt;

use serde::Serialize;

use super::requirements::Requirements;
use super::{Abi, Profile, Rating, Verdict, check};

/// What a profile and an interpreter mean for each library of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The profile that was asked about.
    pub profile: Profile,
    /// The interpreter's ABI.
    pub abi: Abi,
    /// The worst of the ratings; safe, if there is no library.
    pub rating: Rating,
    /// Each library, the worst first, then by name.
    pub verdicts: Vec<Verdict>,
    /// What was there and names no library.
    pub ignored: Vec<String>,
}

/// Judges everything that a project uses.
///
/// # Examples
/// ```
/// use snakepit_compat::{Abi, Profile, Rating, Requirements, generate_report};
///
/// let used = Requirements::from_names(["numpy", "pandas==3.1.1"]);
/// let report = generate_report(&used, Profile::Thread, "cp314t".parse()?);
/// assert_eq!(report.rating, Rating::NotSafe);
/// assert_eq!(report.verdicts[0].name, "pandas");
/// println!("{report}");
/// # Ok::<(), snakepit_compat::InvalidAbi>(())
/// ```
pub fn generate_report(used: &Requirements, profile: Profile, abi: Abi) -> Report {
    let mut verdicts: Vec<Verdict> = used
        .libraries
        .iter()
        .map(|library| {
            let mut verdict = check(&library.name, library.version.as_deref(), profile, abi);
            if verdict.rating == Rating::Unknown && library.pure == Some(true) {
                let reason = "it is pure Python: importing it cannot turn the GIL on by itself";
                verdict.reasons.push(reason.to_owned());
            }
            verdict
        })
        .collect();
    verdicts.sort_by(|a, b| (b.rating, &a.name).cmp(&(a.rating, &b.name)));
    let rating = verdicts.first().map_or(Rating::Safe, |verdict| verdict.rating);
    Report { profile, abi, rating, verdicts, ignored: used.ignored.clone() }
}

impl Report {
    /// How many libraries have this rating.
    pub fn count(&self, rating: Rating) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.rating == rating).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, abi, verdicts, ignored, .. } = self;
        writeln!(f, "{profile} profile, {abi}: {} libraries", verdicts.len())?;
        for verdict in verdicts {
            let version = verdict.version.as_deref().unwrap_or("");
            let name = format!("{} {version}", verdict.name);
            writeln!(f, "  {:14}  {:28}  {}", verdict.rating, name.trim_end(), verdict.reasons[0])?;
        }
        for line in ignored {
            writeln!(f, "  {:14}  {line}", "not looked at")?;
        }
        Ok(())
    }
}
