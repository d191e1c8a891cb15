//! Owns the question that users ask of the matrix, and the shape of the answer: may this library,
//! in this version, be used in a worker of this profile under this interpreter? How the facts lead
//! to an answer is `judge`'s business.
//!
//! Invariant: a library that nothing is known about is never called safe in a thread worker.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Library, get_library_info, judge, normalise_name};
use crate::interpreter::Interpreter;

/// The kind of worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Profile {
    /// One call at a time, in a process of its own.
    Process,
    /// Many calls at a time, in the threads of one process.
    Thread,
}

/// The ABI of an interpreter: what wheels must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Abi {
    /// 14 in 3.14.
    pub minor: u32,
    /// Whether it is a free-threaded build's.
    pub free_threaded: bool,
}

/// A text that is no ABI tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no ABI tag: write cp314t for free-threaded Python 3.14, cp312 for ordinary 3.12")]
pub struct InvalidAbi(pub String);

/// How well a library goes with a profile and an interpreter, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rating {
    /// Nothing is to be done.
    Safe,
    /// The advice is to be followed.
    SafeWithCare,
    /// Nothing is known; look before you trust it.
    Unknown,
    /// Several threads at once break it.
    NotSafe,
    /// It cannot be installed there, or takes free threading away.
    Unsupported,
}

/// The answer about one library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The library's name, normalised.
    pub name: String,
    /// The version that was asked about; the newest one known otherwise.
    pub version: Option<String>,
    /// The profile that was asked about.
    pub profile: Profile,
    /// The ABI that was asked about.
    pub abi: Abi,
    /// How well they go together.
    pub rating: Rating,
    /// What the rating rests on, the decisive reason first.
    pub reasons: Vec<String>,
    /// What to do, where there is something to do.
    pub advice: Option<String>,
    /// Everything that is known about it.
    #[serde(skip)]
    pub library: Option<&'static Library>,
}

/// Judges a library for a profile and an interpreter's ABI.
///
/// Versions are compared as PEP 440 says; without one, the newest that was looked at is judged.
///
/// # Examples
/// ```
/// use snakepit_compat::{Abi, Profile, Rating, check};
///
/// let abi: Abi = "cp314t".parse()?;
/// assert_eq!(check("numpy", Some("2.4.1"), Profile::Thread, abi).rating, Rating::Safe);
/// // Before there were wheels for this ABI.
/// assert_eq!(check("numpy", Some("2.2.0"), Profile::Thread, abi).rating, Rating::Unsupported);
/// // Not in the matrix, hence not safe.
/// assert_eq!(check("left-pad", None, Profile::Thread, abi).rating, Rating::Unknown);
/// assert_eq!(check("left-pad", None, Profile::Process, abi).rating, Rating::Safe);
/// # Ok::<(), snakepit_compat::InvalidAbi>(())
/// ```
pub fn check(name: &str, version: Option<&str>, profile: Profile, abi: Abi) -> Verdict {
    let library = get_library_info(name);
    let judgement = judge::judge(library, version, profile, abi);
    Verdict {
        name: library.map_or_else(|| normalise_name(name), |library| library.name.clone()),
        version: version.map(str::to_owned),
        profile,
        abi,
        rating: judgement.rating,
        reasons: judgement.reasons,
        advice: judgement.advice,
        library,
    }
}

impl Abi {
    /// The ABI of an interpreter.
    pub fn of(interpreter: &Interpreter) -> Self {
        Self { minor: interpreter.version.minor, free_threaded: interpreter.free_threaded }
    }
}

impl FromStr for Abi {
    type Err = InvalidAbi;

    fn from_str(text: &str) -> Result<Self, InvalidAbi> {
        let invalid = || InvalidAbi(text.to_owned());
        let digits = text.strip_prefix("cp3").ok_or_else(invalid)?;
        let (digits, free_threaded) = match digits.strip_suffix('t') {
            Some(digits) => (digits, true),
            None => (digits, false),
        };
        // `parse` would take a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let minor = digits.parse().map_err(|_| invalid())?;
        Ok(Self { minor, free_threaded })
    }
}

impl TryFrom<String> for Abi {
    type Error = InvalidAbi;

    fn try_from(text: String) -> Result<Self, InvalidAbi> {
        text.parse()
    }
}

impl From<Abi> for String {
    fn from(abi: Abi) -> Self {
        abi.to_string()
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cp3{}{}", self.minor, if self.free_threaded { "t" } else { "" })
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Thread => "thread",
        })
    }
}

impl fmt::Display for Rating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Safe => "safe",
            Self::SafeWithCare => "safe with care",
            Self::Unknown => "unknown",
            Self::NotSafe => "not safe",
            Self::Unsupported => "unsupported",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn abi_tags_are_read_back(minor in 0u32..1000, free_threaded: bool) {
            let abi = Abi { minor, free_threaded };
            prop_assert_eq!(abi.to_string().parse::<Abi>(), Ok(abi));
        }

        #[test]
        fn what_is_read_as_an_abi_tag_is_one(text in "cp3?[0-9+t]{0,5}|.*") {
            if let Ok(abi) = text.parse::<Abi>() {
                let digits = text.trim_start_matches("cp3").trim_end_matches('t');
                prop_assert_eq!(digits.parse::<u32>().unwrap(), abi.minor);
            }
        }

        #[test]
        fn no_library_is_unsafe_in_a_process_of_its_own(name in "[a-z-]{1,12}", minor in 11u32..16) {
            let abi = Abi { minor, free_threaded: minor > 13 };
            prop_assert_eq!(check(&name, None, Profile::Process, abi).rating, Rating::Safe);
        }

        #[test]
        fn any_version_is_judged_without_panicking(version in ".*") {
            for library in crate::list_all(&crate::Filter::default()) {
                let abi = Abi { minor: 14, free_threaded: true };
                check(&library.name, Some(&version), Profile::Thread, abi);
            }
        }
    }
}
