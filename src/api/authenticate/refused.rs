//! Why a credential is not taken. What is said helps its rightful holder and nobody else.

use tonic::{Code, Status};

use crate::api::error::status;

/// Why a call has no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It shows none.
    Missing,
    /// What it shows is worth nothing.
    Invalid(Flaw),
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It was taken back.
    Revoked,
    /// It is bound to a certificate, and shown by somebody else.
    Replayed,
    /// Whether it is good cannot be found out now.
    SourceAway,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Not one `authorization: Bearer ...` that is text.
    Scheme,
    /// Nobody was given this key. Whether its prefix is known is not told.
    UnknownKey,
    /// A token that is none, lacks something, or says what is not understood.
    Malformed,
    /// A token is signed with another algorithm than its key is for.
    Algorithm,
    /// The issuer has no such key.
    KeyUnknown,
    /// The signature is not that of the key.
    Signature,
    /// Issued by somebody else.
    Issuer,
    /// Issued for somebody else.
    Audience,
    /// The subject is no identifier.
    Subject,
    /// No authority vouches for the certificate any more.
    Certificate,
    /// The certificate names no terminal, and nothing else was shown.
    NoTerminal,
}

impl Refused {
    /// The reason of its ErrorInfo.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Refused::Missing => "CREDENTIAL_MISSING",
            Refused::Invalid(_) => "CREDENTIAL_INVALID",
            Refused::Expired => "CREDENTIAL_EXPIRED",
            Refused::NotYetValid => "CREDENTIAL_NOT_YET_VALID",
            Refused::Revoked => "CREDENTIAL_REVOKED",
            Refused::Replayed => "CREDENTIAL_REPLAYED",
            Refused::SourceAway => "CREDENTIALS_UNAVAILABLE",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Refused::Missing => "a credential is needed; send authorization: Bearer",
            Refused::Invalid(flaw) => flaw.message(),
            Refused::Expired => "the credential has expired; get a new one",
            Refused::NotYetValid => "the credential is not valid yet",
            Refused::Revoked => "the credential was revoked",
            Refused::Replayed => "the token belongs to the holder of another certificate",
            Refused::SourceAway => "credentials cannot be checked now; try again",
        }
    }
}

impl Flaw {
    fn name(self) -> &'static str {
        match self {
            Flaw::Scheme => "scheme",
            Flaw::UnknownKey => "unknown_key",
            Flaw::Malformed => "malformed",
            Flaw::Algorithm => "algorithm",
            Flaw::KeyUnknown => "key_unknown",
            Flaw::Signature => "signature",
            Flaw::Issuer => "issuer",
            Flaw::Audience => "audience",
            Flaw::Subject => "subject",
            Flaw::Certificate => "certificate",
            Flaw::NoTerminal => "no_terminal",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Flaw::Scheme => "send one header authorization: Bearer, and nothing else in it",
            Flaw::UnknownKey => "the API key is not known here",
            Flaw::Malformed => "the token is malformed, or lacks a claim",
            Flaw::Algorithm => "the token must be signed with the algorithm of its key",
            Flaw::KeyUnknown => "the issuer has no key with the id that the token names",
            Flaw::Signature => "the signature of the token is wrong",
            Flaw::Issuer => "the token is of another issuer",
            Flaw::Audience => "the token is for another audience",
            Flaw::Subject => "the subject of the token must match [A-Za-z0-9._:/-]{1,64}",
            Flaw::Certificate => "no authority vouches for the certificate any more",
            Flaw::NoTerminal => "the certificate must name one terminal in a URI",
        }
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Status {
        let metadata = match refused {
            Refused::Invalid(flaw) => &[("flaw", flaw.name())][..],
            _ => &[],
        };
        let code = match refused {
            Refused::SourceAway => Code::Unavailable,
            _ => Code::Unauthenticated,
        };
        status(code, refused.reason(), refused.message(), metadata)
    }
}
