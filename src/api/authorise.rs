//! Who may call what: holds every call to the rule of its method, and says who calls.

use std::{
    future::{Ready, ready},
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use futures::future::Either;
use tonic::{
    Code, Request, Status,
    body::Body,
    codegen::http::{self, Response},
};
use tower::{Layer, Service};

use crate::{
    access::{Caller, Rule, rule_of},
    api::error::status,
};

static ANONYMOUS: LazyLock<Arc<Caller>> = LazyLock::new(|| Arc::new(Caller::anonymous()));

/// Who calls: whom the credential names, and nobody in particular where none was asked for.
pub(crate) fn caller<T>(request: &Request<T>) -> Arc<Caller> {
    let named = request.extensions().get::<Arc<Caller>>();
    Arc::clone(named.unwrap_or(&ANONYMOUS))
}

/// Wraps every service, inside of what finds out who calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AuthoriseLayer;

/// A service that is held to the rules.
#[derive(Clone, Debug)]
pub(crate) struct Authorise<S> {
    inner: S,
}

impl<S> Layer<S> for AuthoriseLayer {
    type Service = Authorise<S>;

    fn layer(&self, inner: S) -> Authorise<S> {
        Authorise { inner }
    }
}

impl<S> Service<http::Request<Body>> for Authorise<S>
where
    S: Service<http::Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // Without any source of credentials nobody is named, and everybody may do everything.
        let named = request.extensions().get::<Arc<Caller>>();
        match named.map_or(Ok(()), |caller| check(caller, request.uri().path())) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

/// Whether a caller may call the method of this path at all.
fn check(caller: &Caller, path: &str) -> Result<(), Status> {
    match rule_of(path).filter(|_| !caller.is_misnamed()) {
        Some(rule) if caller.satisfies(rule) => Ok(()),
        Some(Rule::AnyOf(scopes)) => Err(scope_missing(&scopes.to_string())),
        // A method that nobody thought of is closed, not open.
        _ => {
            let message = "no rule lets anybody call this method";
            Err(status(Code::PermissionDenied, "METHOD_FORBIDDEN", message, &[("method", path)]))
        }
    }
}

/// The credential lacks a scope; several names: it needs one of them.
fn scope_missing(scopes: &str) -> Status {
    let message = format!("the credential has no scope {}", scopes.replace(' ', " or "));
    status(Code::PermissionDenied, "SCOPE_MISSING", message, &[("scope", scopes)])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::{
        access::{METHODS, Scope, Scopes},
        api::proto,
    };

    /// The paths of all methods that this server answers.
    fn paths() -> BTreeSet<String> {
        let sets = [
            proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut paths = BTreeSet::new();
        for set in sets {
            for file in FileDescriptorSet::decode(set).unwrap().file {
                for service in &file.service {
                    paths.extend(service.method.iter().map(|method| {
                        format!("/{}.{}/{}", file.package(), service.name(), method.name())
                    }));
                }
            }
        }
        paths
    }

    fn with(scopes: Scopes) -> Caller {
        Caller { id: "someone".to_owned(), scopes, ..Caller::anonymous() }
    }

    #[test]
    fn every_method_of_every_service_has_a_rule_and_every_rule_a_method() {
        let paths = paths();
        assert!(paths.len() > 60, "{paths:?}");
        let ruled: BTreeSet<_> = paths.iter().filter(|path| rule_of(path).is_some()).collect();
        assert_eq!(ruled, paths.iter().collect());
        let ours: BTreeSet<_> =
            paths.iter().filter_map(|path| path.strip_prefix("/stockroom.v1.")).collect();
        assert_eq!(METHODS.iter().map(|(method, _)| *method).collect::<BTreeSet<_>>(), ours);
        assert_eq!(METHODS.len(), ours.len(), "a method has two rules");
    }

    #[test]
    fn each_method_is_open_to_its_scopes_and_to_no_other() {
        for path in paths() {
            let may = |scopes| check(&with(scopes), &path).is_ok();
            assert!(may(Scopes::ALL), "{path}");
            let Some(Rule::AnyOf(needed)) = rule_of(&path) else {
                assert!(path.starts_with("/grpc."), "{path} of ours needs no scope");
                assert!(may(Scopes::NONE), "{path}");
                continue;
            };
            assert!(!needed.is_empty() && !may(Scopes::NONE), "{path}");
            for scope in Scope::all() {
                assert_eq!(may(Scopes::of(&[scope])), needed.contains(scope), "{path} {scope}");
            }
            let others = Scope::all().filter(|scope| !needed.contains(*scope)).collect();
            assert!(!may(others), "{path}");
        }
    }

    #[test]
    fn every_scope_opens_something() {
        for scope in Scope::all() {
            let used = METHODS.iter().any(|(_, scopes)| scopes.contains(&scope));
            assert!(used, "{scope}");
        }
    }

    #[test]
    fn a_credential_that_names_nobody_or_the_service_opens_nothing() {
        for id in ["", "anonymous", "stockroom"] {
            let caller = Caller { id: id.to_owned(), ..Caller::anonymous() };
            let refused = check(&caller, "/stockroom.v1.NetworkService/GetItem").unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{id}");
        }
    }

    #[test]
    fn a_method_without_rule_is_closed_to_everybody() {
        for path in ["", "/", "/stockroom.v1.MovementService/Forget", "/stockroom.v1.", "/a.B/C"] {
            let refused = check(&with(Scopes::ALL), path).unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{path}");
        }
    }
}
