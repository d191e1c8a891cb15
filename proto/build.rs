//! Generates the messages of `proto/snakepit/v1` without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/snakepit/v1/worker.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Payload bytes are slices of the receive buffer, never copies of it.
        .bytes(".")
        .build_client(std::env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(std::env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_transport(false)
        // The set of frames is one enum; boxing its large members would cost an allocation a call.
        .type_attribute(".snakepit.v1.WorkerMessage.frame", "#[allow(clippy::large_enum_variant)]")
        .type_attribute(".snakepit.v1.HostMessage.frame", "#[allow(clippy::large_enum_variant)]")
        .compile_fds(descriptors)?;
    Ok(())
}
