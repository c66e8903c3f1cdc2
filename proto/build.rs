//! Compiles the contract without a system protoc.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["patchwire/v1/patchwire.proto"], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("patchwire.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
