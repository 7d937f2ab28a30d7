//! What every sink is: the trait, its error, and the mark of a sink that cannot fail.

mod error;
mod never;
mod shared;
mod sink;

pub use self::error::WriteError;
pub use self::never::Never;
pub(crate) use self::never::refused;
pub use self::shared::SharedSink;
pub(crate) use self::shared::erase;
pub use self::sink::Sink;
