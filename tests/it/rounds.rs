//! The rounds of a race are scaled by the environment.

use crate::common::{factor, panic_message, parse, rounds};

#[test]
fn a_race_has_the_scaled_number_of_rounds_and_at_least_one() {
    assert_eq!(rounds(1000_u64), (1000.0 * factor()).round().max(1.0) as u64);
    assert!(rounds(1_usize) >= 1);
    assert_eq!([" 0.1", "1", "10 "].map(parse), [0.1, 1.0, 10.0]);
}

#[test]
fn a_factor_that_is_nonsense_is_refused() {
    for text in ["", "ten", "0", "-1", "inf", "NaN"] {
        let message = panic_message(|| parse(text));
        assert!(message.contains(&format!("OUTFLOW_TEST_ROUNDS is {text:?}")), "{message}");
    }
}
