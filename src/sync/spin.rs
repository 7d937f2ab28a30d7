/// How many times a reader that finds nothing yields before it parks. A writer that finds it awake saves a system call.
const YIELDS: usize = 8;

/// How often it spins before each look at the channel.
const SPINS: usize = 256;

/// Gives writers a moment, some microseconds, before a reader parks. Whether there was something to do by then.
pub(crate) fn spin_then_yield(has_come: impl Fn() -> bool) -> bool {
    (0..YIELDS).any(|_| {
        // Not looked at while it fills up: every look takes the writers' cache line away from them.
        for _ in 0..SPINS {
            std::hint::spin_loop();
        }
        std::thread::yield_now();
        has_come()
    })
}
