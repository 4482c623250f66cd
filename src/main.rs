//! The stockroom command.

fn main() {}
