//! The cache of worker packages, filled from wheels that are made here: the worker package in them
//! is a stand-in written in Python, so that no compiler is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use snakepit_compat::{
    Cache, InstallError, Interpreter, Source, WORKER_VERSION, WorkerPackage, source_fingerprint,
};

const MAKE_WHEEL: &str = "
import sys, zipfile
path, native = sys.argv[1:]
with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as wheel:
    wheel.writestr('snakepit/__init__.py', '')
    if native:
        wheel.writestr('snakepit/_native.py', native)
";

fn python() -> Interpreter {
    Interpreter::probe("python3").expect("these tests need a python3")
}

/// A wheel for any ordinary interpreter of this platform, whose native module has this text.
fn wheel(dir: &Path, version: &str, abi: &str, native: &str) -> PathBuf {
    let platform = python().platform.replace(['-', '.'], "_");
    let path = dir.join(format!("snakepit_worker-{version}-cp311-{abi}-{platform}.whl"));
    let made = Command::new("python3").args(["-c", MAKE_WHEEL]).arg(&path).arg(native).status();
    assert!(made.is_ok_and(|status| status.success()));
    path
}

fn install(cache: &Cache, source: &Source) -> Result<(WorkerPackage, bool), InstallError> {
    WorkerPackage::install(&python(), source, None, cache, &mut |_| {})
}

fn contract(name: &str) -> String {
    format!("def contract(): return '{name}'")
}

#[test]
fn installed_wheel_is_located_with_its_contract() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    assert_eq!(WorkerPackage::find_in(&cache, &python()), None);
    let wheel = wheel(dir.path(), WORKER_VERSION, "abi3", &contract("c1"));

    let (package, changed) = install(&cache, &Source::Wheel(wheel)).unwrap();
    assert!(changed);
    assert!(package.path.join("snakepit/__init__.py").is_file());
    assert!(package.serves("c1") && !package.serves("c2"));
    assert_eq!(WorkerPackage::find_in(&cache, &python()), Some(package.clone()));
    let entry = cache.worker_packages(WORKER_VERSION).join("abi3");
    assert_eq!(entry.canonicalize().unwrap(), package.path.canonicalize().unwrap());
}

#[test]
fn same_wheel_is_not_installed_again_and_another_one_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    let source = Source::Wheel(dir.path().to_owned());
    wheel(dir.path(), WORKER_VERSION, "abi3", &contract("c1"));
    let (first, _) = install(&cache, &source).unwrap();
    assert_eq!(install(&cache, &source).unwrap(), (first.clone(), false));

    wheel(dir.path(), WORKER_VERSION, "abi3", &contract("c2"));
    let (second, changed) = install(&cache, &source).unwrap();
    assert!(changed && second.serves("c2"));
    assert_eq!(WorkerPackage::find_in(&cache, &python()), Some(second));
    // Workers that run from the previous one may still import from it.
    assert!(first.path.join("snakepit/_native.py").is_file());

    wheel(dir.path(), WORKER_VERSION, "abi3", &contract("c3"));
    install(&cache, &source).unwrap();
    assert!(!first.path.exists());
}

#[test]
fn damaged_entry_is_not_found_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    let source = Source::Wheel(wheel(dir.path(), WORKER_VERSION, "abi3", &contract("c1")));
    let (package, _) = install(&cache, &source).unwrap();
    fs::remove_dir_all(package.path.join("snakepit")).unwrap();
    assert_eq!(WorkerPackage::find_in(&cache, &python()), None);
    let (again, changed) = install(&cache, &source).unwrap();
    assert!(changed && again.path.join("snakepit/_native.py").is_file());
}

#[test]
fn wheels_of_another_version_or_abi_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    wheel(dir.path(), "9.9.9", "abi3", "");
    let other_abi = wheel(dir.path(), WORKER_VERSION, "cp314t", "");
    for named in [dir.path().to_owned(), other_abi] {
        let error = install(&cache, &Source::Wheel(named)).unwrap_err();
        assert!(matches!(error, InstallError::NoWheel { .. }), "{error}");
    }
}

#[test]
fn package_that_does_not_import_is_never_published() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    let good = wheel(dir.path(), WORKER_VERSION, "abi3", &contract("c1"));
    let (before, _) = install(&cache, &Source::Wheel(good)).unwrap();

    let broken = "raise ImportError('GLIBC_9.99 not found')";
    let broken = wheel(dir.path(), WORKER_VERSION, "abi3", broken);
    let error = install(&cache, &Source::Wheel(broken)).unwrap_err();
    assert!(matches!(error, InstallError::Import { .. }));
    assert!(error.to_string().contains("GLIBC_9.99"), "{error}");
    assert_eq!(WorkerPackage::find_in(&cache, &python()), Some(before));
    // Nothing half-made is left behind.
    let left = fs::read_dir(cache.worker_packages(WORKER_VERSION)).unwrap();
    let hidden = left.flatten().filter(|entry| entry.file_name().as_encoded_bytes()[0] == b'.');
    assert_eq!(hidden.count(), 0);
}

#[test]
fn package_that_only_has_the_name_is_not_imported() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    let foreign = wheel(dir.path(), WORKER_VERSION, "abi3", "");
    let error = install(&cache, &Source::Wheel(foreign)).unwrap_err();
    assert!(matches!(error, InstallError::Foreign { .. }), "{error}");
}

#[test]
fn file_that_is_no_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    let path = wheel(dir.path(), WORKER_VERSION, "abi3", "");
    fs::write(&path, "not a zip").unwrap();
    let error = install(&cache, &Source::Wheel(path)).unwrap_err();
    assert!(matches!(error, InstallError::Unpack { .. }), "{error}");
}

#[test]
fn source_fingerprint_follows_the_sources_and_names_a_missing_tree() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("python");
    assert!(source_fingerprint(&tree).unwrap_err().to_string().contains("complete Snakepit"));
    for folder in ["python/rust", "python/src/snakepit", "proto", "snakepit-shm/src"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let files = [
        "Cargo.toml",
        "Cargo.lock",
        "python/Cargo.toml",
        "python/pyproject.toml",
        "snakepit-shm/Cargo.toml",
        "python/src/snakepit/tool.py",
    ];
    for file in files {
        fs::write(dir.path().join(file), "1").unwrap();
    }
    let mut seen = vec![source_fingerprint(&tree).unwrap()];
    for file in files {
        fs::write(dir.path().join(file), "2").unwrap();
        let now = source_fingerprint(&tree).unwrap();
        assert!(!seen.contains(&now), "{file} is not part of the fingerprint");
        seen.push(now);
    }
}

#[test]
fn worker_version_is_that_of_the_worker_package() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/Cargo.toml");
    // A published crate lies in no workspace; there the version was checked before publishing.
    let Ok(manifest) = fs::read_to_string(manifest) else {
        return;
    };
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = "));
    assert_eq!(version, Some(format!("\"{WORKER_VERSION}\"").as_str()));
}
