//! Generates the messages below `proto/snakepit` without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files = vec!["proto/snakepit/v1/worker.proto"];
    if std::env::var_os("CARGO_FEATURE_CONTROL").is_some() {
        files.push("proto/snakepit/control/v1/control.proto");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        // Payload bytes are slices of the receive buffer, never copies of it.
        .bytes(".")
        // It is rare, and would make every frame as large as itself.
        .boxed(".snakepit.v1.ToolError.error")
        .build_client(std::env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(std::env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_transport(false)
        // The set of frames is one enum; boxing its large members would cost an allocation a call.
        .type_attribute(".snakepit.v1.WorkerMessage.frame", "#[allow(clippy::large_enum_variant)]")
        .type_attribute(".snakepit.v1.HostMessage.frame", "#[allow(clippy::large_enum_variant)]")
        .compile_fds(descriptors)?;
    Ok(())
}
