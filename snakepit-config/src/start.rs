//! How the process of a worker comes to be. A plain choice; what it means is the profile's business.

/// How the process of a worker comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Forked from a process of the pool's that has imported the adapter; spawned where the adapter
    /// does not allow it, and then an event says why.
    Zygote,
    /// An interpreter of its own.
    Spawn,
}

impl Start {
    pub(crate) const NAMES: [&str; 2] = ["zygote", "spawn"];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zygote => "zygote",
            Self::Spawn => "spawn",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "zygote" => Some(Self::Zygote),
            "spawn" => Some(Self::Spawn),
            _ => None,
        }
    }
}

impl Default for Start {
    /// Forked where that works: on Linux.
    fn default() -> Self {
        if cfg!(target_os = "linux") { Self::Zygote } else { Self::Spawn }
    }
}
