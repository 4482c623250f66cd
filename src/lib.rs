//! Stockroom: one stock for every channel.
//!
//! Tills, web shops, marketplaces and warehouse systems report over gRPC what happened to stock and
//! ask what may still be promised. PostgreSQL holds the authoritative ledger; Redis carries what is
//! available and short-lived holds, and decides nothing for good. Three promises carry the design: no
//! unit is promised twice, no reported movement is lost, and none is counted twice, whatever dies.
//!
//! # Reading order
//! 1. [`stock`]: the domain, pure. What may be recorded, and what it does to stock. Every rule is
//!    here, and nothing else is.
//! 2. [`ledger`]: PostgreSQL. One transaction per batch under the lock of a partition's head, and all
//!    SQL of the project.
//! 3. [`availability`]: Redis. One script an operation: reads, holds, what surrounds a batch, and the
//!    projection.
//! 4. [`writer`]: the lanes. What is written queues per partition and is committed together; around
//!    the transaction of a batch Redis is asked before and told after. Holds, and the sweeper.
//! 5. [`feed`]: the ledger's entries in order: to Redis, to who watches, and as events to who subscribed.
//!    [`reads`]: from Redis, or from PostgreSQL where Redis cannot say it.
//! 6. [`access`]: who may do what, pure. [`api`]: gRPC. Decodes, calls once, encodes.
//! 7. [`ambient`]: the wall clock and chance; [`mutants`]: defects that the simulation must find.
//! 8. [`cli`]: the commands; [`embedded`]: the private databases of the default; [`config`]: every
//!    setting; [`telemetry`]: logs and the table of all metrics.
//!
//! The path of a movement is `api::movements -> writer -> ledger::transaction -> answer`; the decision
//! in the middle of it is [`stock::machine::apply`]. A reservation takes the same path, with admission
//! before the transaction and settling after it.
//!
//! # Who imports whom
//! `api` and `cli` may import everything, `writer`, `feed` and `reads` both stores, and `writer` also
//! `reads`, as does `feed`; `ledger` and `availability` never import each other, nor `writer` and
//! `feed`. Everyone imports `stock` and may import `access`; `stock` nothing of ours but `mutants`, which is empty in what is shipped.
//! `sqlx` is used in `ledger` only, `redis` in `availability` only, `tonic` in `api` and by the
//! commands that are clients; the lints hold this.
//!
//! # Invariants
//! - A request is granted only if the stock is there; CHECK constraints guard it a second time.
//! - A key has at most one effect in its scope (source, location), and a replay gets the first answer.
//! - Sequence numbers of a partition are dense and follow its commits; time never runs backwards
//!   along them.
//! - An entry is never changed, and a hash chain over the batches of a partition tells if one was. Every after-value is the one before plus the change; every position
//!   is the sum of its entries; units are conserved.
//! - SELLABLE is the fold of the uncorrected facts in the order of their own time, in which a count
//!   assigns: every order of arrival ends in the same balance.
//! - What is answered was committed, and what is rejected was kept.
//!
//! # Deliberately absent
//! Foreign keys, triggers and sequences on ledger tables (they could not be spread over many
//! databases); notifications inside a write (they serialise all commits); mocks (tests use real
//! databases).

pub mod access;
pub mod ambient;
pub mod api;
pub mod availability;
pub mod cli;
pub mod config;
pub mod embedded;
pub mod feed;
pub mod ledger;
pub mod mutants;
pub mod reads;
pub mod stock;
pub mod telemetry;
pub mod writer;
