//! The documents that people copy are right: those in `examples/` and those in the texts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use snakepit_config::{Config, PoolConfig};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files below a directory with this ending.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn examples_are_valid_and_name_files_that_are_there() {
    let mut documents = files(&root().join("examples"), "toml");
    // A package of its own holds documents of cargo's.
    documents.retain(|path| !path.starts_with(root().join("examples/third-profile")));
    assert!(documents.len() >= 2, "{documents:?}");
    for path in documents {
        let config = Config::from_file(&path).unwrap_or_else(|error| panic!("{error}"));
        for pool in config.pools() {
            if let Some(file) = pool.adapter().file() {
                assert!(file.is_file(), "{}: no {}", path.display(), file.display());
            }
        }
    }
}

#[test]
fn settings_in_the_texts_are_valid() {
    let mut texts = files(&root().join("docs"), "md");
    texts.extend(["README.md", "snakepit/README.md", "snakepit-config/README.md"].map(|file| {
        let path = root().join(file);
        assert!(path.is_file(), "{}", path.display());
        path
    }));
    let mut documents = 0;
    for path in texts {
        let text = fs::read_to_string(&path).unwrap();
        // Only whole documents: a dependency in a manifest is TOML, too.
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.contains("[pool.")) {
            let config = Config::from_toml(block)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let names: Vec<_> = config.pools().iter().map(PoolConfig::name).collect();
            assert!(!names.is_empty(), "{}", path.display());
            documents += 1;
        }
    }
    assert!(documents >= 2, "only {documents} documents found");
}
