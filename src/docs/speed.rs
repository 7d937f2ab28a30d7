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
//! queue against a channel and a thread. Measured on 27 November 2026, on two cores with nothing else to do, with
//! `cargo run --release --manifest-path benches/ten_thousand/Cargo.toml`.
//!
//! | | unit | outflow | peer | ratio | was to be |
//! | --- | --- | --- | --- | --- | --- |
//! | set up | ms | 42 | 223 | 0.20 | 0.25 |
//! | 20 writes, delivered by all | ms | 114 | 73 | **1.68** | 0.4 |
//! | close | ms | 61 | 10 | **5.7** | 1.0 |
//! | memory | MB | 26 | 60 | **0.44** | 0.4 |
//! | 500 sinks hang: the other 9,500 have an event after | ms | 43 | | | 250 |
//! | a queue, 1 producer, against a crossbeam channel and a thread | ns an event | 24 | 23 | 1.09 | 1.15 |
//! | 2 producers | ns an event | 48 | 45 | 1.09 | 1.2 |
//! | 4 producers, against go-events | ns an event | 39 | 136 | 0.28 | 0.4 |
//! | a saturated bounded queue, against a bounded channel and a thread | ns an event | 65 | 136 | 0.51 | 1.3 |
//! | from a write to an idle queue's sink, against a thread on a channel | µs | 14 | 12 | 1.17 | 2.0 |
//! | fan-out to 10, against as many channels and threads | ns a delivery | 46 | 33 | **1.39** | 1.2 |
//! | fan-out to 100 | ns a delivery | 54 | 34 | **1.56** | 1.1 |
//! | `write_all` of 1,000 into a log with one follower, against `disruptor` | ns an event | 6.1 | 0.6 to 1.3 | **5 to 10** | 1.5 |
//! | an asynchronous queue, against a tokio channel and a task | ns an event | 52 | 53 | 0.89 | 1.3 |
//! | 10,000 of them on tokio, 500 dead: set up | ms | 53 | 172 | 0.31 | 0.5 |
//! | 20 writes to them | ms | 135 | 55 | **2.15** | 0.5 |
//! | memory of them | MB | 28 | 60 | 0.46 | 0.5 |
//!
//! With a [thread each](crate::queue::QueueOptions::dedicated) ten thousand queues are set up in 1,000 to 1,900 ms, have 20 writes
//! after 15 s, are closed after 850 ms and take 139 MB.
//!
//! What bounds the misses. A queue is some 2.3 kB in a dozen allocations: 1,016 bytes are a crossbeam channel with its first
//! block of 31 places, 528 its own state, 240 the worker, 232 the answer of its close. Deliveries to ten thousand and their
//! closes are misses of the cache. When two threads of a pool keep up with the writer, each event costs a wake-up and a poll of
//! its own: 200,000 events took 34 ms in a run with 44,000 polls, and 98 ms in one with 140,000. In a fan-out each
//! queue's gate, by which a close learns that the last write has left, costs some 13 ns. A follower of a log claims each event by
//! a compare-and-swap, without which an abort could not tell which events were begun; that alone takes longer than `disruptor`
//! for the whole. A queue with one producer was at 0.66 to 1.17 in three runs, and at 2.4 in one.
//!
//! # Keys
//!
//! A [keyed](crate::queue::QueueOptions::keyed) queue with 1,000 keys, eight at once, whose sink is ready at once, takes 82 to 91
//! ns an event, a plain one 29 to 34: **2.7** times that, from 2.5 to 2.9 in other runs, where 2.5 was the aim. An event is moved from
//! the channel into an index by its key, and out of that again, under a lock each. A tenth of it is the hash of the key, which is
//! SipHash, since keys may be chosen by strangers; with `foldhash` it was 2.4, at the price of a dependency.
//!
//! # Webhooks
//!
//! Requests a second of `http::AsyncHttpSink` (feature `http-async`), against loops written by hand over the same hyper on
//! the same two-thread runtime: `cargo run --release --manifest-path benches/webhooks/Cargo.toml`.
//!
//! | connections | | requests/s | by hand | ratio | was to be at least |
//! | --- | --- | --- | --- | --- | --- |
//! | 200 | awaited | 77,100 | 83,700 | 0.94 | 0.9 |
//! | 16 | awaited | 84,400 | 91,400 | 0.91 | 0.9 |
//! | 1, all on one core | awaited | 47,400 | 49,000 | 0.97 | 0.9 |
//! | 200 | behind a queue, against a tokio channel | 69,600 | 76,300 | **0.89** | 0.9 |
//! | 16 | the same | 80,300 | 85,400 | **0.88** | 0.9 |
//! | 1, all on one core | the same | 46,200 | 48,700 | 0.95 | 0.9 |
//!
//! By hand is a bare connection of hyper's. Against hyper-util's client, which keeps connections as the sink does, it is 0.96 to
//! 1.04. What the sink does besides is to keep connections, and to read an answer that comes before the body is sent.
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
