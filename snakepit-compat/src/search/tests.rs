//! Searches among stand-ins: folders of links, archives made here.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

/// A folder for `PATH` whose programs are links to those in `tests/programs`.
fn folder(programs: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, target) in programs {
        symlink(program(target), dir.path().join(name)).unwrap();
    }
    dir
}

fn search(folders: &[&Path]) -> Search {
    // The stand-ins are shell scripts that use common programs: those stay on the real PATH.
    Search { path: env::join_paths(folders).unwrap(), ..Search::default() }
}

#[test]
fn shims_of_versions_not_selected_are_passed_over() {
    let shims = folder(&[("python3.15t", "shim"), ("python3.14t", "shim")]);
    let real = folder(&[("python3.14t", "python-3.14t")]);
    let found = search(&[shims.path(), real.path()]).find_free_threaded().unwrap();
    assert_eq!(found.executable, Path::new("/opt/python3.14t"));
}

#[test]
fn every_interpreter_is_listed_once_and_those_that_do_not_serve_with_the_reason() {
    let first = folder(&[("python3", "python-3.14t"), ("python3.13t", "python-3.13t")]);
    let second = folder(&[("python3.14t", "python-3.14t"), ("python3.12", "shim")]);
    let found = search(&[first.path(), second.path()]).find_all();
    let ok: Vec<_> = found.iter().filter_map(|one| one.outcome.as_ref().ok()).collect();
    assert_eq!(ok.len(), 1, "{found:?}");
    let reasons: Vec<_> =
        found.iter().filter_map(|one| Some(one.outcome.as_ref().err()?.to_string())).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("python3.14t")), "{reasons:?}");
}

#[test]
fn unsupported_python3_gives_way_to_a_versioned_name() {
    let names = folder(&[("python3", "python-3.10"), ("python3.14", "python-3.14t")]);
    let found = search(&[names.path()]).find_default().unwrap();
    assert_eq!(found.version.minor, 14);
}

#[test]
fn every_place_searched_in_vain_is_listed_with_its_reason() {
    let names = folder(&[("python3", "python-3.10"), ("python3.12", "shim")]);
    let error = search(&[names.path()]).find_default().unwrap_err().to_string();
    assert!(error.contains("python3 on PATH: ") && error.contains("3.10.4"), "{error}");
    assert!(error.contains("python3.12: command not found"), "{error}");
    assert!(error.contains("python3.14 on PATH: not there"), "{error}");
    assert!(error.contains("SNAKEPIT_PYTHON"), "{error}");
}

#[test]
fn named_interpreter_is_never_replaced() {
    let names = folder(&[("python3", "python-3.14t")]);
    let mut search = search(&[names.path()]);
    search.virtual_env = Some("/no/such/environment".into());
    let error = search.find_default().unwrap_err();
    assert!(matches!(error, FindError::Named { origin, .. } if origin.contains("environment")));

    search.default_variable = Some(program("pypy").into());
    let error = search.find_default().unwrap_err();
    assert!(matches!(error, FindError::Named { origin: "SNAKEPIT_PYTHON", .. }));

    search = search.explicit("python3");
    assert_eq!(search.find_default().unwrap().version.minor, 14);
}

#[test]
fn named_interpreter_with_a_gil_is_not_free_threaded() {
    let search = Search::from_env().explicit("python3");
    if search.find_default().unwrap().free_threaded {
        return;
    }
    let error = search.find_free_threaded().unwrap_err();
    assert!(matches!(error, FindError::NotFreeThreaded { .. }), "{error}");
}

#[test]
fn managed_copy_comes_after_path_and_hidden_ones_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path());
    let place = |name: &str| {
        let bin = cache.interpreters().join(name).join("bin");
        fs::create_dir_all(&bin).unwrap();
        symlink(program("python-3.14t"), bin.join("python3.14t")).unwrap();
    };
    let search = search(&[]).cache(cache.clone());
    place(".unpack-1");
    assert!(search.find_free_threaded().is_err());
    place("cpython-3.14.7t-linux-x86_64");
    assert_eq!(search.find_free_threaded().unwrap().version.minor, 14);
}

#[test]
fn archive_is_unpacked_into_the_cache_once() {
    let dir = tempfile::tempdir().unwrap();
    let (archives, tree) = (dir.path().join("archives"), dir.path().join("python3.14t"));
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::create_dir(&archives).unwrap();
    fs::copy(program("python-3.14t"), tree.join("bin/python3.14t")).unwrap();
    let (os, arch) = (env::consts::OS, env::consts::ARCH);
    let archive = archives.join(format!("cpython-3.14.7t-{os}-{arch}.tar.xz"));
    let packed = std::process::Command::new("tar")
        .args(["-cJf".as_ref(), archive.as_os_str(), "-C".as_ref(), dir.path().as_os_str()])
        .arg("python3.14t")
        .status();
    assert!(packed.unwrap().success());

    let search = search(&[]).cache(Cache::at(dir.path().join("cache"))).archives(&archives);
    let mut steps = Vec::new();
    let mut progress = |step: &str| steps.push(step.to_owned());
    assert!(search.find_free_threaded().is_err());
    search.provide_free_threaded(&mut progress).unwrap();
    search.provide_free_threaded(&mut progress).unwrap();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(search.find_free_threaded().is_ok());
}

#[test]
fn failed_ways_of_providing_are_all_named() {
    let dir = tempfile::tempdir().unwrap();
    let search = search(&[])
        .cache(Cache::at(dir.path().join("cache")))
        .archives(dir.path())
        .uv(program("not-python"));
    let error = search.provide_free_threaded(&mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("no file is called cpython-*t-"), "{error}");
    assert!(
        error.contains("uv python install: uv could not install it: unknown option"),
        "{error}"
    );
    assert!(error.contains("no file is called Python-3.14.*.tar.xz"), "{error}");
    assert!(error.contains("source package: apt-get is not on PATH"), "{error}");
}
