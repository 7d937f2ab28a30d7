//! Classifies a failure of the client by its type. The text of the failure is not used: some of ureq's texts contain the
//! URL, others what the endpoint sent, which may be something secret that it got.

use std::borrow::Cow;
use std::io;

use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};

use super::TransportFailure;
use super::head::Head;

/// What this crate's parts of the client report, inside [`ureq::Error::Other`].
#[derive(Debug, thiserror::Error)]
pub(super) enum OwnError {
    #[error("no thread could be started to look up the host's name")]
    NoThread(io::Error),
    #[error("the proxy made no connection")]
    Proxy(Box<ureq::Error>),
    #[error("the connection was dead when it was used again")]
    Dead(Box<ureq::Error>),
    #[error("the answer cannot be read: {0}")]
    Unreadable(&'static str),
    /// For the sink this is an answer and no failure: the endpoint answered before it had read the whole request.
    #[error("the endpoint answered before it had the whole request")]
    Answered(Head),
}

impl From<OwnError> for ureq::Error {
    fn from(own: OwnError) -> Self {
        Self::Other(Box::new(own))
    }
}

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
    fn transport(failure: TransportFailure, detail: &'static str) -> Self {
        Self::Transport(failure, detail.into())
    }
}

/// Whether the connection is broken.
pub(super) fn is_broken(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};

    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
        ),
        _ => false,
    }
}

/// Whether the connection was broken before the client used it again.
pub(super) fn was_dead(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Other(other) => matches!(other.downcast_ref(), Some(OwnError::Dead(_))),
        _ => false,
    }
}

/// The answer that came although the request could not be sent as a whole; any other error is passed on.
pub(super) fn answered(error: ureq::Error) -> Result<Head, ureq::Error> {
    match error {
        ureq::Error::Other(other) => match other.downcast::<OwnError>() {
            Ok(own) => match *own {
                OwnError::Answered(head) => Ok(head),
                own => Err(own.into()),
            },
            Err(other) => Err(ureq::Error::Other(other)),
        },
        error => Err(error),
    }
}

impl From<ureq::Error> for Fault {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Self::Timeout,
            ureq::Error::Io(error) => of_io(&error),
            ureq::Error::Rustls(error) => Self::transport(TransportFailure::Tls, of_tls(&error)),
            ureq::Error::Tls(_) | ureq::Error::TlsRequired => Self::transport(TransportFailure::Tls, ""),
            ureq::Error::HostNotFound => Self::transport(TransportFailure::Resolve, ""),
            ureq::Error::ConnectionFailed => Self::transport(TransportFailure::Connect, ""),
            // The client gets only heads of answers that `head` has rewritten, so that this is about the request.
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => Self::Request(
                "a line of its head does not fit in 16 KiB, a header has a character that is not visible ASCII, it \
                 has more than one Host, or its method carries no event",
            ),
            ureq::Error::BadUri(_) => Self::Request("its URL has no host, or no such scheme"),
            ureq::Error::Other(other) => match other.downcast::<OwnError>() {
                Ok(own) => (*own).into(),
                Err(_) => Self::transport(TransportFailure::Other, ""),
            },
            _ => Self::transport(TransportFailure::Other, ""),
        }
    }
}

impl From<OwnError> for Fault {
    fn from(own: OwnError) -> Self {
        match own {
            OwnError::NoThread(error) => {
                let detail =
                    format!("no thread could be started to look up the host's name: {}", text_of(&error));
                Self::Transport(TransportFailure::Other, detail.into())
            }
            OwnError::Proxy(error) => Self::Transport(TransportFailure::Proxy, of_proxy(*error)),
            OwnError::Dead(error) => (*error).into(),
            OwnError::Unreadable(reason) => Self::transport(TransportFailure::Protocol, reason),
            // Taken by `answered` before, and never made on a tunnel's connection to its proxy.
            OwnError::Answered(_) => Self::transport(TransportFailure::Protocol, ""),
        }
    }
}

fn of_proxy(error: ureq::Error) -> Cow<'static, str> {
    if let ureq::Error::ConnectProxyFailed(_) = error {
        return "it did not answer CONNECT with 200".into();
    }
    match error.into() {
        Fault::Timeout => "it did not answer in time".into(),
        Fault::Transport(TransportFailure::Resolve, _) => "its name has no address".into(),
        Fault::Transport(_, detail) => detail,
        Fault::Request(reason) => reason.into(),
    }
}

fn of_io(error: &io::Error) -> Fault {
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
fn text_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    }
}

fn of_tls(error: &rustls::Error) -> &'static str {
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
    use std::sync::Arc;

    use super::*;

    #[test]
    fn for_a_certificate_that_rustls_has_no_error_for_the_message_says_what_is_wrong_with_it() {
        let message = |error| of_certificate(&CertificateError::Other(OtherError(Arc::new(error))));
        assert!(message(webpki::Error::CaUsedAsEndEntity).contains("`openssl req -x509`"));
        assert!(message(webpki::Error::UnsupportedCertVersion).contains("X.509 version 1"));
        assert_eq!(message(webpki::Error::PathLenConstraintViolated), "the certificate is not valid");
    }
}
