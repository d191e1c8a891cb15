//! Tools in Rust that Python calls during a call: what they are, who has them, how they run.
//!
//! `host_tool.rs` is one tool, `fit.rs` looks whether arguments fit it, `registry.rs` has all of a host
//! and runs them, `context.rs` is what a running one knows of its caller. When a tool call begins and
//! ends is the engine's business.

mod context;
mod fit;
mod host_tool;
mod registry;

pub use context::ToolContext;
pub use host_tool::HostTool;
pub use registry::HostToolReport;
pub(crate) use registry::Registry;
