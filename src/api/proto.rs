//! The generated contract, `proto/stockroom/v1`.

tonic::include_proto!("stockroom.v1");

/// The compiled descriptors of the contract, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stockroom.bin"));
