//! Whether the settings file has changed. Owns how that is found out; what follows from it is not its
//! business.
//!
//! Editors and deployments replace a file by renaming another one over it, or the link to the directory
//! it is in, so the directory is watched and the file's text decides. Invariant: text that has been
//! told of once is not told of again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::cli::diagnostic::Failure;

/// So long nothing must happen before the file is read: whoever writes it may do so in pieces.
const QUIET: Duration = Duration::from_millis(200);

/// Watches one file.
pub(super) struct Watch {
    file: PathBuf,
    /// As it was told of last; `None` where it could not be read.
    text: Option<Vec<u8>>,
    events: mpsc::Receiver<()>,
    /// Ends the watching when dropped.
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begins to watch a file as it is now.
    pub(super) fn begin(file: &Path) -> Result<Self, Failure> {
        let failed = |error: notify::Error| {
            Failure::usage(format!("cannot watch {}: {error}", file.display()))
        };
        // One is enough to say that there were some.
        let (tell, events) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event| match event {
            // Reading the file is an event, too, and would be followed by another.
            Ok(notify::Event { kind: notify::EventKind::Access(_), .. }) => {}
            Ok(_) => drop(tell.try_send(())),
            Err(error) => tracing::warn!(%error, "the settings file cannot be watched"),
        })
        .map_err(failed)?;
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        watcher.watch(directory, RecursiveMode::NonRecursive).map_err(failed)?;
        let text = std::fs::read(file).ok();
        Ok(Self { file: file.to_path_buf(), text, events, _watcher: watcher })
    }

    /// Resolves when there is another text in the file.
    ///
    /// # Cancel safety
    /// Dropping the future loses no change.
    pub(super) async fn changed(&mut self) {
        loop {
            // Looked at before waiting: the events of a wait that was given up are gone.
            match tokio::fs::read(&self.file).await {
                Ok(text) if Some(&text) != self.text.as_ref() => {
                    self.settle().await;
                    // What it is by now, and whoever cannot read it then says so.
                    self.text = std::fs::read(&self.file).ok();
                    return;
                }
                // A file that is away for a moment is being replaced.
                _ => {}
            }
            if self.events.recv().await.is_none() {
                // Only when the watcher is gone, and this with it.
                return std::future::pending().await;
            }
        }
    }

    async fn settle(&mut self) {
        loop {
            tokio::select! {
                () = sleep(QUIET) => return,
                Some(()) = self.events.recv() => {}
            }
        }
    }
}
