//! Owns how the facts about a library lead to a rating: each of them can make it worse, none can
//! make it better.

use std::str::FromStr;

use pep440_rs::Version;

use super::{Abi, Import, ImportGil, Library, Profile, Rating, ReleasesGil, Threads};
use super::{Untested, Wheel};

/// A rating with what it rests on.
pub(super) struct Judgement {
    pub(super) rating: Rating,
    pub(super) reasons: Vec<String>,
    pub(super) advice: Option<String>,
}

pub(super) fn judge(
    library: Option<&Library>,
    version: Option<&str>,
    profile: Profile,
    abi: Abi,
) -> Judgement {
    if profile == Profile::Process {
        let reason = "each worker is a process of its own, with one call at a time";
        return Judgement { rating: Rating::Safe, reasons: vec![reason.to_owned()], advice: None };
    }
    let Some(library) = library else {
        return unknown_library();
    };
    let mut findings = Findings(Vec::new());
    match version.map(Version::from_str) {
        Some(Err(_)) => findings.add(
            Rating::Unknown,
            format!("`{}` is no version of a Python package", version.unwrap_or_default()),
        ),
        Some(Ok(version)) => facts(library, Some(&version), abi, &mut findings),
        None => facts(library, None, abi, &mut findings),
    }
    let (rating, reason) = documented(library);
    findings.add(rating, reason);
    findings.conclude(library)
}

fn unknown_library() -> Judgement {
    Judgement {
        rating: Rating::Unknown,
        reasons: vec!["it is not in the matrix: nothing is known about it and threads".to_owned()],
        advice: Some(
            "read what its documentation says about threads, and watch the worker's GIL state; or \
             use the process profile"
                .to_owned(),
        ),
    }
}

/// What its documentation promises.
fn documented(library: &Library) -> (Rating, String) {
    match library.threads {
        Threads::Safe => (Rating::Safe, "its documentation allows use from several threads".into()),
        Threads::SafeWithCare => {
            (Rating::SafeWithCare, "several threads may use it, if the advice is followed".into())
        }
        Threads::NotSafe => (Rating::NotSafe, "several threads at once break it".into()),
        Threads::Unknown => (Rating::Unknown, "nothing was found about it and threads".into()),
    }
}

/// What was seen of it.
fn facts(library: &Library, version: Option<&Version>, abi: Abi, findings: &mut Findings) {
    if let (Some(floor), Some(version)) = (library.floor.as_deref().and_then(parse), version)
        && *version < floor
    {
        findings.add(Rating::Unknown, format!("{version} is older than {floor}, which is judged"));
    }
    if !abi.free_threaded {
        let heavy = match library.releases_gil {
            ReleasesGil::Yes => "its heavy work lets other threads run",
            ReleasesGil::Partly => "some of its work lets other threads run",
            ReleasesGil::No => "its work keeps other threads waiting",
            ReleasesGil::Unknown => "it is not known to let other threads run",
        };
        findings.add(Rating::Safe, format!("this interpreter has a GIL; {heavy}"));
        return;
    }
    if abi.minor < 14 {
        let reason = "free-threaded Python before 3.14 is not supported: use 3.14t".to_owned();
        findings.add(Rating::Unsupported, reason);
        return;
    }
    wheels(library, version, abi, findings);
    let bound = matches!(&library.wheels, Some(wheels) if wheels.cp314t != Wheel::Any);
    // Only modules made for an ABI can turn the GIL on: the version of others does not matter.
    import(&library.import, version.filter(|_| bound), findings);
}

fn wheels(library: &Library, version: Option<&Version>, abi: Abi, findings: &mut Findings) {
    let Some(wheels) = &library.wheels else {
        return;
    };
    let newest = &wheels.newest;
    match &wheels.cp314t {
        Wheel::None => findings.add(
            Rating::Unsupported,
            format!(
                "no wheel for free-threaded Python up to {newest}; what is built from source can \
                 turn the GIL on"
            ),
        ),
        Wheel::Any => {}
        Wheel::Since(_) if abi.minor > 14 => findings
            .add(Rating::Unknown, format!("wheels were looked up for cp314t and not for {abi}")),
        Wheel::Since(first) => {
            let too_old = parse(first).zip(version).is_some_and(|(first, own)| *own < first);
            if too_old {
                findings.add(
                    Rating::Unsupported,
                    format!("wheels for {abi} begin with {first}: update to {newest}"),
                );
            }
        }
    }
}

fn import(import: &Import, version: Option<&Version>, findings: &mut Findings) {
    let text = |version: &Option<String>| version.clone().unwrap_or_else(|| "it".to_owned());
    match (import.gil, import.reason) {
        (ImportGil::On, _) => {
            let module = import.module.as_ref().map(|module| format!(" ({module})"));
            findings.add(
                Rating::Unsupported,
                format!(
                    "importing {} turns the GIL on{}: threads run one at a time from then on",
                    text(&import.to),
                    module.unwrap_or_default()
                ),
            );
        }
        (ImportGil::Off, _) => seen_off(import, version, findings),
        // The wheels have said so already.
        (ImportGil::Untested, Some(Untested::NoWheel)) => {}
        (ImportGil::Untested, Some(Untested::NotInstallable)) => findings.add(
            Rating::Unsupported,
            "it needs something that has no wheels for free-threaded Python".to_owned(),
        ),
        (ImportGil::Untested, _) => {
            let reason = "whether importing it keeps the GIL off was not tried".to_owned();
            findings.add(Rating::Unknown, reason);
        }
    }
}

/// What was seen holds for the versions between those that were seen.
fn seen_off(import: &Import, version: Option<&Version>, findings: &mut Findings) {
    let (Some(from), Some(to)) = (&import.from, &import.to) else {
        return findings.add(Rating::Safe, "importing it keeps the GIL off".to_owned());
    };
    let below = parse(from).zip(version).is_some_and(|(from, own)| *own < from);
    let above = parse(to).zip(version).is_some_and(|(to, own)| *own > to);
    if below {
        let reason = format!("importing it was tried from {from} on, and not with older versions");
        findings.add(Rating::Unknown, reason);
    } else if above {
        let reason = format!("importing {to} keeps the GIL off; newer ones were not tried");
        findings.add(Rating::SafeWithCare, reason);
    } else {
        let python = import.python.as_deref().unwrap_or("3.14t");
        let versions = if from == to { to.clone() } else { format!("{from} and {to}") };
        let reason = format!("importing {versions} keeps the GIL off with Python {python}");
        findings.add(Rating::Safe, reason);
    }
}

fn parse(version: &str) -> Option<Version> {
    Version::from_str(version).ok()
}

struct Findings(Vec<(Rating, String)>);

impl Findings {
    fn add(&mut self, rating: Rating, reason: String) {
        self.0.push((rating, reason));
    }

    fn conclude(mut self, library: &Library) -> Judgement {
        // Stable: of equal weight, what was seen comes before what was read.
        self.0.sort_by_key(|(rating, _)| std::cmp::Reverse(*rating));
        let rating = self.0.first().map_or(Rating::Unknown, |(rating, _)| *rating);
        let reasons = self.0.into_iter().map(|(_, reason)| reason).collect();
        Judgement { rating, reasons, advice: Some(library.advice.clone()) }
    }
}
