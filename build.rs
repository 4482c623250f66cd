//! Compiles `proto/` with a pure-Rust compiler, so that no `protoc` has to be installed. The one
//! descriptor set feeds the generated code and, at run time, server reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const SERVICES: [&str; 8] = [
    "stockroom/v1/types.proto",
    "stockroom/v1/movement_service.proto",
    "stockroom/v1/ledger_service.proto",
    "stockroom/v1/network_service.proto",
    "stockroom/v1/availability_service.proto",
    "stockroom/v1/reservation_service.proto",
    "stockroom/v1/event_service.proto",
    "stockroom/v1/report_service.proto",
];

#[expect(clippy::disallowed_methods, reason = "cargo says there where the output goes")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=migrations");
    let descriptors = protox::compile(SERVICES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("stockroom.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
