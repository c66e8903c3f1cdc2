//! Compiles the contract without a system protoc.

use std::{env, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["patchwire/v1/patchwire.proto"], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("patchwire.bin");
    tonic_prost_build::configure()
        .bytes(".")
        .file_descriptor_set_path(&out)
        .compile_fds(descriptors)?;
    Ok(())
}
