//! Owns the free-threaded interpreters in the user's cache: lists them, unpacks one from an archive,
//! has `uv` install one. Nothing outside the cache is changed.
//!
//! Reasons are plain text: the search that asks lists them among the other places it tried.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cache::Cache;
use crate::child;
use crate::interpreter::Interpreter;
use crate::probe;

/// Unpacking 35 MB of xz takes two seconds here; a slow disk may take much longer.
const UNPACK_LIMIT: Duration = Duration::from_secs(300);
/// A download of 30 MB over a slow line.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);
/// The version that `uv` is asked for: the oldest that is supported has the most wheels.
const UV_VERSION: &str = "3.14t";

/// The free-threaded interpreters in the cache, newest first, none of them asked yet.
pub(crate) fn installed(cache: &Cache) -> Vec<PathBuf> {
    let mut found: Vec<((u32, u32), PathBuf)> = Vec::new();
    let directories = fs::read_dir(cache.interpreters()).into_iter().flatten().flatten();
    for directory in directories {
        // Hidden ones are still being made.
        if directory.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let programs = fs::read_dir(directory.path().join("bin")).into_iter().flatten().flatten();
        found.extend(programs.filter_map(|program| {
            let version = free_threaded_name(program.file_name().to_str()?)?;
            Some((version, program.path()))
        }));
    }
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Unpacks the newest archive of this platform, unless it has been unpacked already.
pub(crate) fn unpack_archive(
    dir: &Path,
    cache: &Cache,
    progress: &mut dyn FnMut(&str),
) -> Result<Interpreter, String> {
    let suffix = format!("t-{OS}-{ARCH}.tar.xz");
    let entries = fs::read_dir(dir).map_err(|error| error.to_string())?;
    let mut archives: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix("cpython-")?.strip_suffix(&suffix)?;
            let numbers = version.split('.').map_while(|part| part.parse().ok()).collect();
            Some((numbers, entry.path()))
        })
        .collect();
    archives.sort();
    let (_, archive) =
        archives.pop().ok_or_else(|| format!("no file is called cpython-*{suffix}"))?;
    progress(&format!("unpacking {}", archive.display()));

    let interpreters = cache.interpreters();
    let home = make_home(&archive, &interpreters)
        .map_err(|error| format!("{} could not be unpacked: {error}", archive.display()))?;
    let program = installed(cache).into_iter().find(|program| program.starts_with(&home));
    let program = program
        .ok_or_else(|| format!("{} holds no bin/python3.14t or later", archive.display()))?;
    probe::probe_path(&program).map_err(|error| error.to_string())
}

/// Has `uv` download an interpreter into the cache.
pub(crate) fn install_with_uv(
    uv: &Path,
    cache: &Cache,
    progress: &mut dyn FnMut(&str),
) -> Result<Interpreter, String> {
    progress(&format!("asking uv for Python {UV_VERSION}"));
    let mut command = Command::new(uv);
    command
        .args(["python", "install", "--no-config", "--no-bin", UV_VERSION, "--install-dir"])
        .arg(cache.interpreters());
    let finished = child::run(command, DOWNLOAD_LIMIT).map_err(|error| error.to_string())?;
    if !finished.status.success() {
        return Err(format!("uv could not install it: {}", finished.tail().replace('\n', "; ")));
    }
    let found = installed(cache).into_iter().find_map(|program| {
        probe::probe_path(&program).ok().filter(|interpreter| interpreter.free_threaded)
    });
    found.ok_or_else(|| "uv reported success but left no interpreter that runs".to_owned())
}

/// `(3, 14)` for `python3.14t`, if that version is supported.
fn free_threaded_name(name: &str) -> Option<(u32, u32)> {
    let minor = name.strip_prefix("python3.")?.strip_suffix('t')?.parse().ok()?;
    (minor >= 14).then_some((3, minor))
}

/// The folder `<interpreters>/<archive's name>`, appearing only when it is whole.
fn make_home(archive: &Path, interpreters: &Path) -> io::Result<PathBuf> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let home = interpreters.join(name.trim_end_matches(".tar.xz"));
    if home.exists() {
        return Ok(home);
    }
    fs::create_dir_all(interpreters)?;
    let stage = tempfile::Builder::new().prefix(".unpack-").tempdir_in(interpreters)?;
    let mut command = Command::new("tar");
    command.arg("-xJf").arg(archive).arg("-C").arg(stage.path()).arg("--no-same-owner");
    let finished = child::run(command, UNPACK_LIMIT).map_err(io::Error::other)?;
    if !finished.status.success() {
        return Err(io::Error::other(format!("tar (with xz) said: {}", finished.tail())));
    }
    // One folder at the top is the usual shape; its name says nothing that ours does not.
    let top: Vec<_> = fs::read_dir(stage.path())?.collect::<io::Result<_>>()?;
    let whole = match top.as_slice() {
        [only] => only.path(),
        _ => stage.path().to_owned(),
    };
    match fs::rename(&whole, &home) {
        // Somebody else was quicker, with the same archive.
        Err(_) if home.exists() => Ok(home),
        renamed => renamed.map(|()| home),
    }
}
