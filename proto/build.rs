//! Compiles the contract without a system protoc.

use std::{env, fs, path::PathBuf};

use prost::Message as _;
use tonic_prost_build::manual::{Builder, Method, Service};

/// The service whose messages carry a checksum, and with it a codec of our own. The last one of its file, because
/// taking it out must not renumber others, which their comments are found by.
const UPLINK: &str = "Uplink";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut descriptors = protox::compile(["patchwire/v1/patchwire.proto"], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("patchwire.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    for file in &mut descriptors.file {
        file.service.retain(|service| service.name() != UPLINK);
    }
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    let stream = Method::builder()
        .name("stream")
        .route_name("Stream")
        .input_type("crate::v1::EdgeMessage")
        .output_type("crate::v1::CloudMessage")
        .codec_path("crate::checked::CheckedCodec")
        .client_streaming()
        .server_streaming()
        .build();
    let uplink = Service::builder()
        .name(UPLINK)
        .package("patchwire.v1")
        .comment("Frames from edge nodes to the cloud.")
        .method(stream)
        .build();
    Builder::new().compile(&[uplink]);
    Ok(())
}
