//! Owns the hash that tells whether inputs have changed since something was made from them. It is
//! no protection against forgery.

use std::fs;
use std::io;
use std::path::Path;

/// A running 64-bit FNV-1a hash over named pieces of input.
#[derive(Debug, Clone)]
pub struct Fingerprint {
    hash: u64,
}

impl Default for Fingerprint {
    fn default() -> Self {
        // FNV-1a offset basis.
        Self { hash: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Fingerprint {
    /// An empty fingerprint.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece of input; its length is part of it, so that pieces cannot run together.
    #[must_use]
    pub fn with(mut self, piece: impl AsRef<[u8]>) -> Self {
        let piece = piece.as_ref();
        self.feed(&piece.len().to_le_bytes());
        self.feed(piece);
        self
    }

    /// Adds a file's content.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn with_file(self, path: &Path) -> io::Result<Self> {
        Ok(self.with(fs::read(path)?))
    }

    /// Adds every file below `root`, by relative path and content, in an order that does not depend
    /// on the file system; `keep` decides by file or folder name.
    ///
    /// # Errors
    /// If a directory or file cannot be read.
    pub fn with_tree(mut self, root: &Path, keep: &dyn Fn(&str) -> bool) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(root, keep, &mut files)?;
        files.sort();
        for file in files {
            let relative = file.strip_prefix(root).unwrap_or(&file);
            self = self.with(relative.as_os_str().as_encoded_bytes()).with_file(&file)?;
        }
        Ok(self)
    }

    /// The fingerprint as sixteen hexadecimal digits.
    pub fn hex(&self) -> String {
        format!("{:016x}", self.hash)
    }

    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn collect(
    dir: &Path,
    keep: &dyn Fn(&str) -> bool,
    into: &mut Vec<std::path::PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(keep) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), keep, into)?;
        } else if kind.is_file() {
            into.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_run_together() {
        let split = |a: &str, b: &str| Fingerprint::new().with(a).with(b).hex();
        assert_ne!(split("ab", "c"), split("a", "bc"));
    }

    #[test]
    fn tree_changes_with_content_and_name_but_not_with_what_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let hash = || {
            let keep = |name: &str| name != "__pycache__";
            Fingerprint::new().with_tree(dir.path(), &keep).unwrap().hex()
        };
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/a.py"), "1").unwrap();
        let first = hash();
        fs::create_dir(dir.path().join("src/__pycache__")).unwrap();
        fs::write(dir.path().join("src/__pycache__/a.pyc"), "x").unwrap();
        assert_eq!(hash(), first);
        fs::write(dir.path().join("src/a.py"), "2").unwrap();
        let second = hash();
        assert_ne!(second, first);
        fs::rename(dir.path().join("src/a.py"), dir.path().join("src/b.py")).unwrap();
        assert_ne!(hash(), second);
    }
}
