//! What tests race with: how often, and how far apart.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::OnceLock;

/// `n` times the factor in the environment variable `OUTFLOW_TEST_ROUNDS`, and at least one: for a loop whose count is a
/// matter of chance. A count that is part of what is promised is not scaled.
///
/// # Panics
///
/// Panics if the variable is no number above zero.
pub fn rounds<N>(n: N) -> N
where
    N: TryInto<u32, Error: Debug> + TryFrom<u32, Error: Debug>,
{
    let n: u32 = n.try_into().expect("rounds are counted in 32 bits");
    let scaled = (f64::from(n) * factor()).round().clamp(1.0, f64::from(i32::MAX));
    N::try_from(scaled as u32).expect("OUTFLOW_TEST_ROUNDS makes more rounds than fit")
}

/// The factor in `OUTFLOW_TEST_ROUNDS`.
pub fn factor() -> f64 {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    *FACTOR.get_or_init(|| match std::env::var_os("OUTFLOW_TEST_ROUNDS") {
        None => 1.0,
        Some(text) => parse(&text.to_string_lossy()),
    })
}

/// The factor that `text` says.
pub fn parse(text: &str) -> f64 {
    match text.trim().parse() {
        Ok(factor) if f64::is_finite(factor) && factor > 0.0 => factor,
        _ => panic!("OUTFLOW_TEST_ROUNDS is {text:?}: set it to a factor above zero, such as 0.1, 1 or 10"),
    }
}

/// Turns the processor over `turns` times.
pub fn spin_for<N: Default>(turns: N)
where
    Range<N>: Iterator,
{
    (N::default()..turns).for_each(|_| std::hint::spin_loop());
}

/// Spins for fewer than `most` turns, another number in each round, and the same in the same round.
pub fn spin_below(round: u32, most: u32) {
    spin_for((round.wrapping_mul(2_654_435_761) >> 20) % most);
}

/// About as long as threads that were let go at the same time are apart.
pub fn spin(round: u32) {
    spin_below(round, 3000);
}
