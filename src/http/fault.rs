//! The failures of a request, whichever client makes it. They are classified by type; their texts are not used, since they
//! may contain a secret.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};

use super::endpoint::Endpoint;
use super::{HttpError, TransportFailure};

/// A failure, classified.
pub(super) enum Fault {
    /// The timeout is over.
    Timeout,
    /// The client cannot write this request, however often it is tried.
    Request(&'static str),
    /// Everything else.
    Transport(TransportFailure, Cow<'static, str>),
}

impl Fault {
    pub(super) fn transport(failure: TransportFailure, detail: &'static str) -> Self {
        Self::Transport(failure, detail.into())
    }

    /// The error of a write to this endpoint.
    pub(super) fn into_error(self, endpoint: &Endpoint, timeout: Duration) -> HttpError {
        let endpoint = Arc::clone(&endpoint.name);
        match self {
            Self::Timeout => HttpError::Timeout { endpoint, timeout },
            Self::Request(reason) => HttpError::Encode { endpoint, source: Arc::new(Unsendable(reason)) },
            Self::Transport(failure, detail) => HttpError::Transport { endpoint, failure, detail },
        }
    }
}

/// A request that the client refuses to write. `build`, and the checks of what is made for each event, refuse it before.
#[derive(Debug, thiserror::Error)]
#[error("the client cannot write its request: {0}")]
struct Unsendable(&'static str);

/// What an error of connecting through a proxy says of it.
pub(super) fn of_proxy(fault: Fault) -> Cow<'static, str> {
    match fault {
        Fault::Timeout => "it did not answer in time".into(),
        Fault::Transport(TransportFailure::Resolve, _) => "its name has no address".into(),
        Fault::Transport(_, detail) => detail,
        Fault::Request(reason) => reason.into(),
    }
}

pub(super) const NO_TUNNEL: &str = "it did not answer CONNECT with 200";

/// Whether the connection is broken.
pub(super) fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};

    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

/// The same error again.
pub(super) fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

pub(super) fn of_io(error: &io::Error) -> Fault {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Fault::transport(TransportFailure::Tls, of_tls(error));
    }
    let failure = match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => TransportFailure::Connect,
        _ => TransportFailure::Connection,
    };
    Fault::Transport(failure, text_of(error).into())
}

/// The text of the operating system, else that of the kind. Other texts of an `io::Error` may contain a secret.
pub(super) fn text_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    }
}

pub(super) fn of_tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => OLD_TLS,
        rustls::Error::PeerIncompatible(_) => "the endpoint has no way to encrypt in common with this client",
        rustls::Error::InvalidMessage(_) => {
            "what came back is not TLS, as where a plain http server listens on that port"
        }
        _ => "",
    }
}

const OLD_TLS: &str = "the endpoint speaks neither TLS 1.2 nor TLS 1.3";

fn of_alert(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::ProtocolVersion => OLD_TLS,
        AlertDescription::CertificateRequired => {
            "the endpoint wants a client certificate: give it with `client_certificate`"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            "the endpoint does not accept the client certificate, or wants one and was shown none"
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "the endpoint ended the handshake: it has no way to encrypt in common with this client, or wants a \
             client certificate"
        }
        AlertDescription::UnrecognisedName => "the endpoint has no certificate for this host",
        _ => "the endpoint ended the handshake",
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "the certificate is not of an authority that is trusted here: name it with `root_certificate`"
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "the certificate names no host: a subjectAltName has to"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another host"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet"
        }
        CertificateError::BadSignature => "the certificate is not signed by the authority that it names",
        CertificateError::Revoked => "the certificate was revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not one for a server"
        }
        CertificateError::Other(OtherError(error)) => of_verification(error.downcast_ref()),
        _ => "the certificate is not valid",
    }
}

/// Failures for which rustls has no variant of its own.
fn of_verification(error: Option<&webpki::Error>) -> &'static str {
    match error {
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "the endpoint shows the certificate of an authority, as `openssl req -x509` makes it, and not one that \
             an authority gave to a server: make it with basicConstraints=CA:FALSE and a subjectAltName"
        }
        Some(webpki::Error::UnsupportedCertVersion) => {
            "the certificate is of X.509 version 1, as `openssl x509 -req` makes it without extensions: make it with \
             a subjectAltName"
        }
        _ => "the certificate is not valid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_a_certificate_that_rustls_has_no_error_for_the_message_says_what_is_wrong_with_it() {
        let message = |error| of_certificate(&CertificateError::Other(OtherError(Arc::new(error))));
        assert!(message(webpki::Error::CaUsedAsEndEntity).contains("`openssl req -x509`"));
        assert!(message(webpki::Error::UnsupportedCertVersion).contains("X.509 version 1"));
        assert_eq!(message(webpki::Error::PathLenConstraintViolated), "the certificate is not valid");
    }
}
