//! gRPC: decodes, calls once, encodes.
pub mod proto;
