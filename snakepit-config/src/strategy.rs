//! Which worker takes a call. A plain choice; what it means is the engine's business.

/// Which of several workers with a free slot takes a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// The least busy one for its size.
    #[default]
    Spread,
    /// The busiest one: a worker that serves is filled before the next one is used.
    Fill,
}

impl Strategy {
    pub(crate) const NAMES: [&str; 2] = ["spread", "fill"];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Fill => "fill",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Spread, Self::Fill].into_iter().find(|strategy| strategy.name() == name)
    }
}
