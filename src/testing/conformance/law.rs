use std::fmt;

/// A law that every sink of this crate keeps. [`docs::guarantees`](crate::docs::guarantees) has their full text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Law {
    /// 1: an error hands back the event that was passed in, itself.
    HandedBack,
    /// 2: once `close` has returned, every write fails with `Closed`, from every thread.
    ClosedRefuses,
    /// 3: `close` never waits, may be called any number of times, from anywhere; every `Closing` waits for the
    /// same drain and gets the same outcome.
    CloseIsShared,
    /// 4: every event is accounted for, exactly once.
    Accounted,
    /// 5: what is downstream is closed with the sink, after the last write to it.
    ClosesDownstream,
    /// 6: events of one writer arrive in the order written, and what was written before another began
    /// precedes it.
    InOrder,
    /// 7: a downstream that refuses a write as `Closed` closes the sink above it, and never in silence.
    ClosedBelow,
    /// 8: the sink may be called from within its own downstream.
    CalledFromWithin,
    /// 9: a panic in user code leaves no sink hanging and no other event unaccounted for.
    SurvivesPanic,
}

impl Law {
    /// All nine, in order.
    pub const ALL: [Self; 9] = [
        Self::HandedBack,
        Self::ClosedRefuses,
        Self::CloseIsShared,
        Self::Accounted,
        Self::ClosesDownstream,
        Self::InOrder,
        Self::ClosedBelow,
        Self::CalledFromWithin,
        Self::SurvivesPanic,
    ];

    /// Its number, from 1 to 9.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    fn text(self) -> &'static str {
        match self {
            Self::HandedBack => "an error hands back the event that was passed in, itself",
            Self::ClosedRefuses => "once close has returned, every write fails with Closed",
            Self::CloseIsShared => "close never waits, and every Closing waits for the same drain",
            Self::Accounted => "every event is accounted for, exactly once",
            Self::ClosesDownstream => "a downstream is closed with the sink, after the last write to it",
            Self::InOrder => "events of one writer arrive in the order written",
            Self::ClosedBelow => {
                "a downstream that refuses as Closed closes the sink above it, never in silence"
            }
            Self::CalledFromWithin => "a sink may be called from within its own downstream",
            Self::SurvivesPanic => "a panic leaves no sink hanging and no other event unaccounted for",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {} ({})", self.number(), self.text())
    }
}

/// A law that a sink breaks, and how that showed.
///
/// # Examples
///
/// ```
/// use outflow::SinkExt;
/// use outflow::testing::{Conformance, Downstream, Law};
///
/// // `keep_open` passes no close on, and so breaks the laws of a close.
/// let violation = Conformance::new(|end: Downstream| end.keep_open()).run().unwrap_err();
/// assert_eq!(violation.law, Law::ClosedRefuses);
/// assert!(violation.to_string().starts_with("breaks law 2"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("breaks {law}: {what}")]
#[non_exhaustive]
pub struct Violation {
    /// The law that is broken.
    pub law: Law,
    /// What happened, and in which check.
    pub what: String,
}

impl Violation {
    pub(super) fn new(law: Law, what: impl Into<String>) -> Self {
        Self { law, what: what.into() }
    }
}
