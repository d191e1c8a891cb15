//! The shipped library matrix: its form, its promises about names, and what is concluded from it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use snakepit_compat::{
    Abi, Filter, ImportGil, Profile, Rating, Threads, Untested, Wheel, check, get_library_info,
    list_all,
};

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn free_threaded() -> Abi {
    "cp314t".parse().unwrap()
}

#[test]
fn data_have_the_form_that_the_schema_promises() {
    let schema: Value = serde_json::from_str(&data("libraries.schema.json")).unwrap();
    let text = data("libraries.toml");
    let data: Value = toml::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(&data)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
    // The schema refuses, too.
    let broken: Value =
        toml::from_str(&text.replace("gil = \"off\"", "gil = \"perhaps\"")).unwrap();
    assert!(!validator.is_valid(&broken));
}

#[test]
fn libraries_stand_in_order_and_each_name_means_one() {
    let all = list_all(&Filter::default());
    assert!(all.len() >= 45, "{}", all.len());
    assert!(all.is_sorted_by_key(|library| &library.name));
    let names: Vec<&String> =
        all.iter().flat_map(|library| library.aliases.iter().chain([&library.name])).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
}

#[test]
fn every_fact_fits_the_others() {
    for library in list_all(&Filter::default()) {
        let name = &library.name;
        let import = &library.import;
        assert_eq!(import.gil == ImportGil::On, import.module.is_some(), "{name}");
        assert_eq!(library.stdlib, library.wheels.is_none(), "{name}");
        if let Some(wheels) = &library.wheels {
            let none = wheels.cp314t == Wheel::None;
            assert_eq!(import.reason == Some(Untested::NoWheel), none, "{name}");
        }
    }
}

#[test]
fn names_and_classes_that_users_of_the_original_know_keep_their_place() {
    let place = |name: &str| get_library_info(name).unwrap_or_else(|| panic!("{name}")).threads;
    let safe =
        ["numpy", "scipy", "polars", "plotly", "requests", "httpx", "psycopg2", "transformers"];
    for name in safe {
        assert_eq!(place(name), Threads::Safe, "{name}");
    }
    for name in ["torch", "tensorflow", "scikit-learn", "xgboost", "lightgbm", "spacy"] {
        assert_eq!(place(name), Threads::SafeWithCare, "{name}");
    }
    for name in ["pandas", "matplotlib", "sqlite3"] {
        assert_eq!(place(name), Threads::NotSafe, "{name}");
    }
    let advice = |name: &str| get_library_info(name).unwrap().advice.clone();
    for (name, word) in [
        ("torch", "set_num_threads"),
        ("scikit-learn", "n_jobs=1"),
        ("xgboost", "nthread"),
        ("lightgbm", "num_threads"),
        ("spacy", "thread-local"),
    ] {
        assert!(advice(name).contains(word), "{name}: {}", advice(name));
    }
}

#[test]
fn wheels_imports_and_sharing_each_decide_by_themselves() {
    let rating = |name: &str| check(name, None, Profile::Thread, free_threaded()).rating;
    assert_eq!(rating("numpy"), Rating::Safe);
    // Has wheels and keeps the GIL off, and is not thread-safe.
    assert_eq!(rating("pandas"), Rating::NotSafe);
    // Has wheels, and importing it turns the GIL on.
    let lxml = check("lxml", None, Profile::Thread, free_threaded());
    assert_eq!(lxml.rating, Rating::Unsupported);
    assert!(lxml.reasons[0].contains("lxml.etree"), "{:?}", lxml.reasons);
    // Is thread-safe, and has no wheels; or needs something that has none.
    assert_eq!(rating("orjson"), Rating::Unsupported);
    assert_eq!(rating("polars"), Rating::Unsupported);
    // The same without free threading: wheels and imports do not matter there.
    let gil: Abi = "cp312".parse().unwrap();
    assert_eq!(check("orjson", None, Profile::Thread, gil).rating, Rating::Safe);
}

#[test]
fn versions_are_compared_as_python_does() {
    let rating =
        |version: &str| check("numpy", Some(version), Profile::Thread, free_threaded()).rating;
    let first = get_library_info("numpy").unwrap().import.from.clone().unwrap();
    assert_eq!(rating(&first), Rating::Safe);
    // Text comparison would have 2.10 before 2.3.
    assert_eq!(rating("2.10"), Rating::SafeWithCare);
    assert_eq!(rating(&format!("{first}rc1")), Rating::Unsupported);
    assert_eq!(rating("not a version"), Rating::Unknown);
    let verdict = check("numpy", Some("2.0.0"), Profile::Thread, free_threaded());
    assert!(verdict.reasons[0].contains(&first), "{:?}", verdict.reasons);
}

#[test]
fn free_threaded_3_13_is_unsupported_with_the_remedy() {
    let verdict = check("numpy", None, Profile::Thread, "cp313t".parse().unwrap());
    assert_eq!(verdict.rating, Rating::Unsupported);
    assert!(verdict.reasons[0].contains("3.14t"), "{:?}", verdict.reasons);
}

#[test]
fn filters_narrow_the_list() {
    let mut filter = Filter::default();
    filter.threads = Some(Threads::NotSafe);
    filter.free_threaded_wheels = true;
    let names: Vec<&str> = list_all(&filter).iter().map(|library| library.name.as_str()).collect();
    assert!(names.contains(&"pandas") && !names.contains(&"numpy"), "{names:?}");
    filter.name = Some("PAND".to_owned());
    assert_eq!(list_all(&filter).len(), 1);
}
