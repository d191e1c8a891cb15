#![doc = include_str!("../README.md")]

mod arena;
mod body;
mod books;
mod channel;
mod control;
mod error;
mod file;
mod layout;
mod ledger;
mod map;
mod regions;
mod segment;
mod system;

pub use arena::{Arena, ArenaOptions, Draft, Lease, POISON, Quota};
pub use body::{
    ArrayBody, Content, EXT_ARRAY, EXT_ARROW, EXT_SHARED, SharedBody, parse_arrow, write_arrow_head,
};
pub use books::{ArenaStats, PoolStats};
pub use channel::{DescriptorReceiver, DescriptorSender, PACKET_BYTES, descriptor_channel};
pub use control::{ControlReader, ControlWriter, FINISHED_IDS, RUNNING_SLOTS};
pub use error::{Breach, LendError, ShmError};
pub use file::FileRegion;
pub use layout::{Dtype, Element, Layout, LayoutError, MOST_DIMENSIONS, bytes_of, elements};
pub use ledger::{Grant, Ledger, Notice};
pub use regions::{RegionDraft, RegionError, RegionStats, RegionUse, Regions};
pub use segment::{ALIGNMENT, Reference, SMALLEST_SEGMENT, SegmentId, segment_bytes};
pub use system::available_bytes;
