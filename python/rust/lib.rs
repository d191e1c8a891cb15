//! The native half of a Snakepit worker: the link to the host, the calls that come over it, and
//! the conversion of values.
//!
//! Owns the module `snakepit._native`; adapters and discovery are Python's. Invariant: everything
//! here is safe without the GIL, and every wait lets go of the interpreter.

mod call;
mod codec;
mod death;
mod dispatch;
mod dump;
mod event;
mod heap;
mod link;
mod options;
mod process;
mod python;
mod shm;
mod tool;
mod turns;
mod values;
mod zygote;

#[pyo3::pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::call::{CurrentCall, LoopWake, ToolFuture};
    #[pymodule_export]
    use crate::codec::Marker;
    #[pymodule_export]
    use crate::dispatch::{Cancelled, ChunkSink, HostError, Serving};
    #[pymodule_export]
    use crate::dump::show_stacks;
    #[pymodule_export]
    use crate::event::tell;
    #[pymodule_export]
    use crate::heap::fill_heap;
    #[pymodule_export]
    use crate::link::Link;
    #[pymodule_export]
    use crate::options::Options;
    #[pymodule_export]
    use crate::process::{arm, die_with_parent, flush_outputs, outlive_parent};
    #[pymodule_export]
    use crate::shm::{Buffer, empty};
    #[pymodule_export]
    use crate::tool::{ArgumentsError, Tool};
    #[pymodule_export]
    use crate::turns::compete;
    #[pymodule_export]
    use crate::values::{DecodeError, EncodeError, from_json, nearest, pack, to_json, unpack};
    #[pymodule_export]
    use crate::zygote::ForkServer;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        for (name, kind) in crate::tool::KINDS {
            module.add(name, kind)?;
        }
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("contract", snakepit_proto::contract())
    }
}
