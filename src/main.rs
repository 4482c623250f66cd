//! The stockroom command.

use std::process::ExitCode;

use clap::Parser as _;
use stockroom::cli::Cli;

/// A server allocates small pieces on every call and frees many of them on other threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
