//! A chain under watch: what it counts, as Prometheus scrapes it.
//!
//! ```text
//! cargo run --release --example metrics --features metrics
//! ```
//!
//! 200 events go to an endpoint that fails every third attempt, through a queue. What a scrape answers is
//! printed, and checked. A service would hand `render()` out at `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use outflow::metrics::Publisher;
use outflow::retry::Constant;
use outflow::{Buffer, Counter, Meter, Sink, SinkExt, sink};

const EVENTS: u64 = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // First the recorder: what is published to none is gone.
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full("outflow_delivery_duration_seconds".to_owned()),
            &[0.001, 0.01, 0.1, 1.0, 10.0],
        )?
        .install_recorder()?;

    let attempts = AtomicU64::new(0);
    let endpoint = sink::from_fn(move |_: &u64| {
        if attempts.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            Err("503 Service Unavailable")
        } else {
            Ok(())
        }
    });

    let meter = Meter::new();
    let retries = Counter::new();
    let webhooks = endpoint
        .metered(&meter) // below the retry: attempts
        .retry(Constant::new(Duration::from_micros(100)))
        .count_retries(&retries)
        .queued_with(Buffer::bounded(10_000));

    let publisher = Publisher::new();
    publisher
        .meter("webhooks", &meter)
        .latency("webhooks", &meter)
        .retries("webhooks", &retries)
        .queue("webhooks", &webhooks);

    for event in 0..EVENTS {
        webhooks.write(event).map_err(|refused| refused.to_string())?;
    }
    webhooks.close().within(Duration::from_secs(10))?;

    // What `/metrics` does.
    publisher.update();
    let page = prometheus.render();
    println!("{page}");

    // Two of three attempts succeed, so half as many fail; the last one succeeds.
    let failed = (EVENTS - 1) / 2;
    for line in [
        format!("outflow_events_total{{sink=\"webhooks\"}} {}", EVENTS + failed),
        format!("outflow_successes_total{{sink=\"webhooks\"}} {EVENTS}"),
        format!("outflow_failures_total{{sink=\"webhooks\"}} {failed}"),
        "outflow_errors_total{sink=\"webhooks\",reason=\"panic\"} 0".to_owned(),
        format!("outflow_retries_total{{sink=\"webhooks\"}} {failed}"),
        format!("outflow_queue_accepted_total{{queue=\"webhooks\"}} {EVENTS}"),
        format!("outflow_queue_delivered_total{{queue=\"webhooks\"}} {EVENTS}"),
        "outflow_queue_pending{queue=\"webhooks\"} 0".to_owned(),
        format!("outflow_delivery_duration_seconds_count{{sink=\"webhooks\",outcome=\"success\"}} {EVENTS}"),
    ] {
        if !page.lines().any(|other| other == line) {
            return Err(format!("the scrape lacks this line: {line}").into());
        }
    }
    println!("{EVENTS} events were delivered in {} attempts, and the scrape says so", EVENTS + failed);
    Ok(())
}
