//! How a close went that was given only so long.

use outflow::CloseError;

/// Whether a close only ran out of time, and did not find a queue that had ended by itself.
pub(crate) fn is_out_of_time(error: &CloseError) -> bool {
    match error {
        CloseError::Undelivered { .. } | CloseError::Aborted => true,
        CloseError::Sink { error, .. } => is_out_of_time(error),
        CloseError::Several(errors) => errors.iter().all(is_out_of_time),
        _ => false,
    }
}
