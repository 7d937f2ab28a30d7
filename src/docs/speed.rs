//! What each part costs, against the same written by hand and against other crates, with what was missed.
//!
//! Measured on 25 November 2026 on two cores of a shared machine; medians, and medians of the pairwise ratios of runs
//! in turn. Two commands make the tables anew:
//!
//! ```text
//! cargo bench --bench throughput -- --ratios
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! # Chains, queues, broadcasters
//!
//! Nanoseconds an event. "By hand" is the same without this crate, measured in the same run: a closure for the chain, a
//! crossbeam channel and a thread for a queue, a loop over `Vec<Arc<dyn Fn(&E)>>` for a broadcast. The last column is
//! what go-events takes on such a machine.
//!
//! | | outflow | by hand | ratio | go-events |
//! | --- | --- | --- | --- | --- |
//! | chain of 4 combinators | 0.4 | 0.4 | 1.00 | |
//! | retry that succeeds, breaker | 1.9 | | | 401 |
//! | queue, 1 producer | 29 | 40 | 0.73 | 122 |
//! | queue, 2 producers | 41 | 40 | 1.02 | |
//! | queue, 4 producers | 46 | 35 | 1.27 | 231 |
//! | queue, batches of 100 | 30 | 38 | 0.81 | |
//! | channel | 30 | 37 | 0.80 | |
//! | broadcast to 1 | 15 | 1.4 | 11 | 487 |
//! | broadcast to 10 | 22 | 14 | **1.61** | 544 |
//! | broadcast to 100 | 139 | 149 | 0.94 | 740 |
//! | broadcast to 1,000 | 1,210 | 1,437 | 0.85 | 3,894 |
//! | broadcast to 2 queued retries | 84 | | | 1,208 |
//!
//! A broadcast to ten sinks was to take 1.5 times the bare loop, and takes 1.6; from 1.3 to 2.3 in other runs, since
//! the loop's own memory lies differently in each. A write costs some 14 ns before the first sink. 11 of them are one
//! load of the list of sinks, which is swapped and never changed, so that a write takes no lock and a close learns when
//! the last write has returned. Each sink then costs less than a closure does.
//!
//! A queue can be faster than the bare channel because its worker looks again for some microseconds before it sleeps,
//! which spares its writers the wake-up. On a busier machine the ratios of one and two producers were up to 1.4.
//!
//! Times on a shared machine vary; instructions do not. `.ci/instructions` counts those of a write under callgrind and
//! fails if a chain of inspect, filter and map takes more than 1.02 times the same by hand, or a retry under a breaker,
//! on its success path, more than 1.3 times.
//!
//! A [metered](crate::SinkExt::metered) write costs 11 ns, whether the feature `metrics` is on or not (an uncontended
//! meter). With its latency recorded to the Prometheus exporter it costs 109 ns: two looks at the clock and the record.
//!
//! # Ten thousand queues
//!
//! A queue each behind one broadcaster, on the [pool](super::workers), against go-events, whose queues are goroutines; then one
//! queue against a channel and a thread. Measured on 27 November 2026 with
//! `cargo run --release --manifest-path benches/ten_thousand/Cargo.toml`, beside other work (load 4 to 5 on two cores), which
//! makes the absolute times long.
//!
//! | | unit | outflow | peer | ratio | was to be |
//! | --- | --- | --- | --- | --- | --- |
//! | set up | ms | 90 | 422 | 0.23 | 0.25 |
//! | 20 writes, delivered by all | ms | 351 | 161 | **2.22** | 0.4 |
//! | close | ms | 125 | 13 | **8.8** | 1.0 |
//! | memory | MB | 34 | 60 | **0.56** | 0.4 |
//! | 500 sinks hang: the other 9,500 have an event after | ms | 99 | | | 250 |
//! | a queue, 1 producer, against a crossbeam channel and a thread | ns an event | 58 | 52 | 1.09 | 1.2 |
//! | 2 producers | ns an event | 59 | 64 | 0.99 | 1.2 |
//! | 4 producers, against go-events | ns an event | 60 | 217 | 0.27 | 0.4 |
//! | a saturated bounded queue, against a bounded channel and a thread | ns an event | 111 | 81 | **1.42** | 1.3 |
//! | from a write to an idle queue's sink, against a thread on a channel | | | | 1.02 | 2.0 |
//! | fan-out to 10, against as many channels and threads | ns a delivery | 43 | 32 | **1.35** | 1.2 |
//! | fan-out to 100 | ns a delivery | 76 | 54 | **1.29** | 1.1 |
//! | `write_all` of 1,000 into a log with one follower, against `disruptor` | ns an event | 6.9 | 1.3 | **5.1** | 1.5 |
//! | an asynchronous queue, against a tokio channel and a task | ns an event | 50 | 42 | 1.19 | 1.3 |
//! | 10,000 of them on tokio, 500 dead: set up | ms | 92 | 250 | 0.33 | 0.5 |
//! | 20 writes to them | ms | 296 | 101 | **2.76** | 0.5 |
//! | memory of them | MB | 36 | 60 | **0.59** | 0.5 |
//!
//! On an idle machine ten thousand queues are set up in 44 ms, have 20 writes after 40 ms, as go-events', and are closed after
//! 38 ms. With a [thread each](crate::queue::QueueOptions::dedicated) that is 1,000 to 1,900 ms, 15 s, 850 ms and 139 MB.
//!
//! What bounds the misses. A queue is some 3.2 kB in a dozen allocations: 1,024 bytes are its own state, 1,016 a crossbeam
//! channel with its first block of 31 places, 352 the worker, 272 the answer of its close. Deliveries to ten thousand and their
//! closes are misses of the cache, and more so beside other work. In a fan-out each queue's gate, by which a close learns that
//! the last write has left, costs some 13 ns. A saturated bounded queue was between 0.5 and 1.4 from run to run. A follower of
//! a log claims each event by a compare-and-swap, without which an abort could not tell which events were begun; that alone
//! takes longer than `disruptor` for the whole.
//!
//! # The log
//!
//! With `Arc` events and readers on threads, everything delivered. Followers are threads that write to a sink; cursors
//! are read by threads of the benchmark's own. Of the peers `bus` and `async-broadcast` hold 1024 events, and
//! `tokio::sync::broadcast`, which loses events otherwise, all of them.
//!
//! | | unit | log | peer | ratio | was to be |
//! | --- | --- | --- | --- | --- | --- |
//! | 1 follower, against a bare crossbeam channel | ns an event | 35 | 42 | 0.72 | 1.0 |
//! | 1 cursor, against the same | ns an event | 26 | 41 | 0.64 | 1.0 |
//! | 2 followers, against `bus` | ns an event | 38 | 80 | 0.48 | 0.6 |
//! | 2 followers, against tokio | ns an event | 38 | 122 | 0.33 | 0.6 |
//! | 2 followers, against `async-broadcast` | ns an event | 38 | 321 | 0.12 | 0.6 |
//! | 2 cursors, against `bus` | ns an event | 38 | 79 | 0.51 | |
//! | 10 followers, against `bus` | ns an event | 70 | 251 | 0.27 | 0.3 |
//! | 10 followers, against tokio | ns an event | 70 | 327 | **0.21** | 0.2 |
//! | 10 followers, against `async-broadcast` | ns an event | 70 | 750 | 0.09 | 0.2 |
//! | 10 cursors, against `bus` | ns an event | 49 | 214 | 0.23 | |
//! | 100 followers | ns a delivery | 5.0 | | | 6.0 |
//! | from a write to an idle reader, against crossbeam | µs | 9.4 | 9.3 | 1.02 | 2.0 |
//! | from a write to one of 10 idle readers, against crossbeam's one | µs | 59 | 9.4 | 6.1 | |
//! | a write with 10,000 idle cursors, against with 1 | ns an event | 11 | 11 | 0.99 | 1.2 |
//! | 10,000 cursors: set up, against go-events with 10,000 queues | ms | 0.28 | 51 | 0.01 | 0.1 |
//! | 10,000 cursors: 20 writes read by all | ms | 0.76 | 88 | 0.01 | 0.1 |
//! | 10,000 cursors: close | ms | 0.34 | 16 | 0.02 | 0.1 |
//! | 10,000 cursors: memory | MB | 0.84 | 52 | 0.02 | 0.1 |
//!
//! Ten followers were to take 0.2 of what tokio takes, and take 0.21; from run to run 0.20 to 0.25, and 0.24 to 0.34 of
//! `bus`. A follower claims each event with a compare-and-swap before it writes it, so that an abort or a detach knows
//! exactly which events were begun, and can spill the others while a write hangs. That is about 2 of the 5 to 7 ns of a
//! delivery: a plain store in its place, which would be wrong, took 53 ns at ten followers and 3.6 ns a delivery at a
//! hundred. A cursor claims nothing.
//!
//! On one core (`taskset -c 0`) it is 41 ns an event with one follower (0.75 of a channel), 46 with two (0.58 of `bus`),
//! 99 with ten (0.44 of `bus`, 0.19 of tokio, 0.25 of `async-broadcast`), 7.9 a delivery with a hundred. An idle reader
//! gets an event as soon as on two cores (1.02 of a channel). Many idle readers are woken one after the other: one of
//! ten has a write after 59 to 73 µs on two cores, after 45 on one.
//!
//! # How long a reader looks before it sleeps
//!
//! A reader that finds nothing spins for a moment and yields, sixteen times, before it sleeps. What was tried, on two
//! cores, in ns an event (a delivery at 100):
//!
//! | yields, spins before each | 1 follower | 2 | 10 | 100 |
//! | --- | --- | --- | --- | --- |
//! | 2, 64 | 31 | 45 | 73 | 5.3 |
//! | 4, none | 35 | 42 | 69 | 5.5 |
//! | 8, none | 31 | 39 | 68 | 5.5 |
//! | 8, 64 | 38 | 38 | 72 | 6.2 |
//! | 8, 256 | 35 | 44 | 69 | 6.1 |
//! | 16, 16 | 36 | 37 | 70 | 5.4 |
//! | 32, none | 37 | 40 | 72 | 5.7 |
//!
//! It matters that a reader yields at all, and hardly how often.
