//! The generated contract, `proto/stockroom/v1`.
#![expect(clippy::disallowed_types, reason = "generated clients and servers are made of tonic's")]
#![expect(clippy::too_many_lines, reason = "generated: one function for all methods of a service")]

tonic::include_proto!("stockroom.v1");

/// The compiled descriptors of the contract, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stockroom.bin"));
