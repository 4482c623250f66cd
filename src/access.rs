//! Who may do what, pure: no IO, no gRPC. Imports nothing of ours but `stock`.
//!
//! A [`Caller`] is what a credential says of whoever holds it: what it may do (its [`Scopes`]), and where
//! and through which channels (its [`Reach`]). [`rule_of`] says what a method of the interface asks for;
//! a method without a rule can be called by nobody. What lies outside a caller's reach does not exist for
//! it: it gets the answer that is given for a name never heard of.

mod caller;
mod key_text;
mod rules;
mod scope;

pub use self::{
    caller::{Caller, Reach, SERVICE, Terminal},
    key_text::{KEY_MARK, KeyText},
    rules::{METHODS, Rule, rule_of},
    scope::{Scope, ScopeUnknown, Scopes},
};
