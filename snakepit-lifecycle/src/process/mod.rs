//! Child processes: the only place that makes them, and the one that reaps them.
//!
//! Owns spawning, exit, output and signals of one process and its group. It knows nothing of
//! workers' calls or links. A child is made by the host's spawning thread, or by a zygote that was,
//! and is the same afterwards. Invariants: a child leads its own process group, dies when the host
//! dies, has `/dev/null` as its input and its output read to the end; the group is killed before
//! the child is reaped, so no grandchild in it survives; one that left the group is found by the
//! mark it inherited, while the host lives.
//!
//! What only Linux has is in `linux`; another system needs new bodies there and no new shape here.

mod child;
mod limits;
mod linux;
mod marker;
mod orphans;
mod output;
mod reaper;
mod spawner;
mod spec;
mod strays;
mod zygote;

pub use child::{Child, ExitReport, ExitStatus};
pub use limits::system_error;
pub use linux::raise_descriptor_limit;
pub use marker::{MARKER_VARIABLE, Marker};
pub use orphans::adopt_orphans;
pub use output::{Output, OutputOptions};
pub use reaper::Reaper;
pub use spawner::Spawner;
pub use spec::ChildSpec;
pub use zygote::{Fitness, ForkError, ForkSpec, Starting, Zygote};
