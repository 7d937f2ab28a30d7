use std::error::Error;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::answer::Answer;
use super::encode::Encoded;
use super::endpoint::Endpoint;
use super::per_event::PerEvent;
use super::sign::{BadId, Signer, id_header};
use super::{HttpError, wall_clock};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

pub(super) type Encoder<E> = Box<dyn Fn(&E) -> Encoded + Send + Sync>;
pub(super) type IdOf<E> = Box<dyn Fn(&E) -> String + Send + Sync>;
pub(super) type Accepts = Box<dyn Fn(u16) -> bool + Send + Sync>;
pub(super) type OnAnswer<E> = Box<dyn Fn(&E, u16) + Send + Sync>;

/// Makes the request of an event, and judges the answer. It sends nothing.
pub(super) struct Requests<E> {
    pub(super) endpoint: Endpoint,
    /// The headers of every request.
    pub(super) headers: HeaderMap,
    pub(super) per_event: PerEvent<E>,
    pub(super) encode: Encoder<E>,
    pub(super) id_of: Option<IdOf<E>>,
    pub(super) signer: Option<Signer>,
    pub(super) accepts: Accepts,
    pub(super) on_answer: Option<OnAnswer<E>>,
}

/// A request that can be sent.
pub(super) struct Request {
    /// Where it goes; `None` for the sink's own endpoint.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl<E> Requests<E> {
    /// Makes the request of an event, anew for each attempt.
    pub(super) fn make(&self, event: &E) -> Result<Request, HttpError> {
        let unfit = |source: Arc<dyn Error + Send + Sync>| HttpError::Encode {
            endpoint: Arc::clone(&self.endpoint.name),
            source,
        };
        let body = (self.encode)(event).map_err(|error| unfit(error.into()))?;
        let endpoint = self.per_event.endpoint(event).map_err(|error| unfit(Arc::new(error)))?;
        let mut headers = self.headers.clone();
        self.per_event
            .add_headers(event, endpoint.as_ref(), &mut headers)
            .map_err(|error| unfit(Arc::new(error)))?;
        self.add_webhook_headers(event, &body, &mut headers).map_err(|error| unfit(Arc::new(error)))?;
        Ok(Request { endpoint, headers, body })
    }

    /// Adds the headers of a webhook. The id is the event's, the same for every attempt.
    fn add_webhook_headers(&self, event: &E, body: &[u8], headers: &mut HeaderMap) -> Result<(), BadId> {
        let Some(id_of) = &self.id_of else { return Ok(()) };
        let id = id_of(event);
        headers.insert(ID, id_header(&id)?);
        if let Some(signer) = &self.signer {
            let timestamp = wall_clock::unix_seconds();
            headers.insert(SIGNATURE, signer.sign(&id, timestamp, body));
            headers.insert(TIMESTAMP, timestamp.into());
        }
        Ok(())
    }

    /// Whether an answer means that the event was delivered.
    pub(super) fn judge(&self, event: &E, endpoint: &Endpoint, answer: Answer) -> Result<(), HttpError> {
        if let Some(on_answer) = &self.on_answer {
            on_answer(event, answer.status);
        }
        if (self.accepts)(answer.status) { Ok(()) } else { Err(answer.into_failure(endpoint)) }
    }
}
