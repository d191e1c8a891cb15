//! A worker package that comes from another release.

use std::path::{Path, PathBuf};
use std::process::Command;

use snakepit::ErrorKind;

use crate::support::{builder, python, start_error};

/// The directory of the worker package the interpreter has.
fn installed_package() -> PathBuf {
    let output = Command::new(python())
        .args(["-c", "import os, snakepit; print(os.path.dirname(snakepit.__file__))"])
        .output()
        .unwrap();
    assert!(output.status.success(), "run `cargo xtask setup`");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn package_of_another_contract_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let package = directory.path().join("snakepit");
    copy(&installed_package(), &package);
    // The contract's fingerprint is a number in the extension: another one in its place.
    let contract = u64::from_str_radix(&snakepit_proto::contract(), 16).unwrap().to_ne_bytes();
    let extension = std::fs::read_dir(&package)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "so"))
        .unwrap();
    let mut bytes = std::fs::read(&extension).unwrap();
    let places: Vec<usize> = bytes
        .windows(contract.len())
        .enumerate()
        .filter_map(|(place, window)| (window == contract).then_some(place))
        .collect();
    assert!(
        !places.is_empty(),
        "the extension does not hold the contract: run `cargo xtask setup`"
    );
    for place in places {
        bytes[place] ^= 1;
    }
    std::fs::write(&extension, bytes).unwrap();

    let error =
        start_error(builder("plain.py").default_pool(|pool| pool.worker_package(directory.path())));
    assert_eq!(error.kind(), ErrorKind::VersionMismatch, "{error:?}");
    assert!(error.help().is_some_and(|help| help.contains("snakepit setup")), "{error:?}");
}
