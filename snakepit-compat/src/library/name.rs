//! Names of distributions, spelled in one way.

/// A distribution's name as PEP 503 compares it: lower case, and runs of `-`, `_` and `.` as one
/// hyphen.
///
/// # Examples
/// ```
/// assert_eq!(snakepit_compat::normalise_name("Scikit_Learn"), "scikit-learn");
/// ```
pub fn normalise_name(name: &str) -> String {
    let mut normalised = String::with_capacity(name.len());
    let mut separator = false;
    for character in name.trim().chars() {
        if matches!(character, '-' | '_' | '.') {
            separator = true;
            continue;
        }
        if separator {
            normalised.push('-');
            separator = false;
        }
        normalised.extend(character.to_lowercase());
    }
    if separator {
        normalised.push('-');
    }
    normalised
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_specification_are_the_same() {
        // The list in PEP 503.
        for name in ["friendly-bard", "Friendly-Bard", "FRIENDLY-BARD", "friendly.bard"] {
            assert_eq!(normalise_name(name), "friendly-bard");
        }
        for name in ["friendly_bard", "friendly--bard", "FrIeNdLy-._.-bArD"] {
            assert_eq!(normalise_name(name), "friendly-bard");
        }
    }

    proptest! {
        #[test]
        fn normalised_names_stay_as_they_are(name in "[A-Za-z0-9._-]{0,30}") {
            let once = normalise_name(&name);
            prop_assert_eq!(normalise_name(&once), once.clone());
            prop_assert!(!once.contains("--") && !once.contains(['_', '.']), "{}", once);
        }
    }
}
