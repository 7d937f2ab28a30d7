//! Classifies a failure of ureq by its type. Its text is not used: some texts contain the URL, others what the endpoint
//! sent, which may be something secret that it got.

use std::borrow::Cow;
use std::io;

use super::TransportFailure;
use super::fault::{self, Fault, NO_TUNNEL, of_io, of_tls, text_of};
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

/// Whether the connection is broken.
pub(super) fn is_broken(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if fault::is_broken(error))
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
    match error {
        ureq::Error::ConnectProxyFailed(_) => NO_TUNNEL.into(),
        error => fault::of_proxy(error.into()),
    }
}
