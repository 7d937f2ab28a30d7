use std::error::Error;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How events become bytes and bytes events again. Called on the thread that writes and on the worker's, without a lock.
pub trait Encoding<E>: Send + Sync + 'static {
    /// Appends the event to `bytes`.
    ///
    /// # Errors
    ///
    /// If it cannot be encoded. Its write fails then.
    fn encode(&self, event: &E, bytes: &mut Vec<u8>) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Reads the event in `bytes`, which are what [`encode`](Encoding::encode) made, perhaps that of an older program.
    ///
    /// # Errors
    ///
    /// If it cannot be decoded. See [`undecodable`](super::DurableOptions::undecodable).
    fn decode(&self, bytes: &[u8]) -> Result<E, Box<dyn Error + Send + Sync>>;
}

/// MessagePack with the names of fields and variants, so that fields may be added (with `#[serde(default)]`), removed and
/// put in another order. No length is believed beyond the record that it stands in, and nesting is limited to 1,024.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

impl<E> Encoding<E> for MessagePack
where
    E: Serialize + DeserializeOwned,
{
    fn encode(&self, event: &E, bytes: &mut Vec<u8>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(rmp_serde::encode::write_named(bytes, event)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<E, Box<dyn Error + Send + Sync>> {
        Ok(rmp_serde::from_slice(bytes)?)
    }
}
