//! What every sink is: the trait, its error, and the traits of sinks that cannot fail and of those that never
//! wait.

mod async_sink;
mod closed_flag;
mod delegate;
mod error;
mod face;
mod immediate;
mod never;
mod recv;
mod run;
mod shared;
mod shared_async;
mod sink;

pub use self::async_sink::AsyncSink;
pub(crate) use self::closed_flag::ClosedFlag;
pub(crate) use self::delegate::delegate;
pub use self::error::WriteError;
pub(crate) use self::face::AnySink;
pub use self::immediate::ImmediateSink;
pub use self::never::Never;
pub(crate) use self::never::refused;
pub use self::recv::{Lagged, RecvError, TryRecvError};
pub use self::run::WriteAllError;
pub(crate) use self::run::write_all;
pub use self::shared::SharedSink;
pub(crate) use self::shared::{Reliable, erase};
pub use self::shared_async::SharedAsyncSink;
pub use self::sink::Sink;
