//! The files of a run that was interrupted. Owns what of them counts as done: complete lines of the
//! output, and failures of those lines.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Deserialize;
use snakepit::{Error, ErrorKind};

use crate::cli::diagnostic::Failure;

/// Opens the output for appending after its complete lines; gives how many those are.
pub(super) fn open_output(
    path: &Path,
    resume: bool,
    overwrite: bool,
) -> Result<(File, u64), Failure> {
    let failed = |error| cannot("open", path, &error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        // A device or a pipe has nothing to continue.
        return Ok((file, 0));
    }
    if resume {
        let done = complete_lines(&mut file).map_err(failed)?;
        return Ok((file, done));
    }
    if !overwrite && file.metadata().map_err(failed)?.len() > 0 {
        let message = format!("{} is there already", path.display());
        let error = Error::new(ErrorKind::InvalidConfig, message)
            .with_help("continue that run with --resume, or replace it with --overwrite");
        return Err(Failure::invalid(error));
    }
    file.set_len(0).map_err(failed)?;
    Ok((file, 0))
}

/// Counts the lines that have an end, cuts off what follows them, and stands there.
fn complete_lines(file: &mut File) -> std::io::Result<u64> {
    let mut lines = 0;
    let mut end = 0;
    let mut offset = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        for (position, _) in buffer[..read].iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            lines += 1;
            end = offset + position as u64 + 1;
        }
        offset += read as u64;
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(lines)
}

/// Opens the file of failures; a run that continues another keeps what that one wrote.
pub(super) fn open_failures(path: &Path, resume: bool) -> Result<File, Failure> {
    let opened = if resume {
        OpenOptions::new().append(true).create(true).open(path)
    } else {
        File::create(path)
    };
    opened.map_err(|error| cannot("open", path, &error))
}

/// Drops failures of lines after `last`, which will be run again; gives the file for appending.
pub(super) fn keep_failures(path: &Path, last: u64) -> Result<File, Failure> {
    #[derive(Deserialize)]
    struct Numbered {
        line: u64,
    }
    let failed = |error| cannot("continue", path, &error);
    let mut kept = Vec::new();
    for line in BufReader::new(File::open(path).map_err(failed)?).split(b'\n') {
        let line = line.map_err(failed)?;
        let done = serde_json::from_slice::<Numbered>(&line).is_ok_and(|n| n.line <= last);
        if done {
            kept.extend(line);
            kept.push(b'\n');
        }
    }
    let mut file = File::create(path).map_err(failed)?;
    file.write_all(&kept).map_err(failed)?;
    Ok(file)
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot {what} {}: {error}", path.display()))
}
