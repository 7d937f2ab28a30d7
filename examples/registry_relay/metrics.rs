//! What Prometheus reads.

use std::error::Error;
use std::time::Duration;

use hyper::StatusCode;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use outflow::metrics::Publisher;
use tokio::time;

use crate::relay::Relay;

/// How often what was recorded is added up, whether anybody asks for it or not: until then each delivery
/// takes room.
const UPKEEP: Duration = Duration::from_secs(5);

/// Seconds. A delivery takes between a millisecond and the timeout.
const BUCKETS: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0];

/// The counts of this process. Clones share.
#[derive(Clone)]
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    /// Each endpoint's chain goes by the endpoint's name there.
    pub(crate) publisher: Publisher,
}

impl Metrics {
    /// Once a process, and before there is anything to count.
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let durations = Matcher::Full("outflow_delivery_duration_seconds".to_string());
        let handle =
            PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS)?.install_recorder()?;
        describe_counter!("registry_relay_answers_total", Unit::Count, "Answers to clients, by status");
        describe_counter!(
            "registry_relay_refused_total",
            Unit::Count,
            "Events that an endpoint refused for good"
        );
        describe_counter!(
            "registry_relay_parked_total",
            Unit::Count,
            "Bodies that cannot be relayed and are written down"
        );
        describe_gauge!(
            "registry_relay_on_disk_events",
            Unit::Count,
            "Events on disk that an endpoint does not have for certain"
        );
        describe_gauge!(
            "registry_relay_on_disk_bytes",
            Unit::Bytes,
            "The files of an endpoint's queue on disk"
        );
        Ok(Self { handle, publisher: Publisher::new() })
    }

    /// Keeps small what nobody asks for.
    pub(crate) async fn keep(self) {
        let mut ticks = time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.handle.run_upkeep();
        }
    }

    pub(crate) fn count_answer(&self, status: StatusCode) {
        counter!("registry_relay_answers_total", "status" => status.as_u16().to_string()).increment(1);
    }

    pub(crate) fn render(&self, relay: &Relay) -> String {
        self.publisher.update();
        counter!("registry_relay_parked_total").absolute(relay.parked());
        for leg in &relay.legs {
            let refused = counter!("registry_relay_refused_total", "endpoint" => leg.endpoint.to_string());
            refused.absolute(leg.tally().account.refused);
            if let Some(queue) = leg.on_disk() {
                let name = leg.endpoint.to_string();
                gauge!("registry_relay_on_disk_events", "endpoint" => name.clone())
                    .set(queue.pending() as f64);
                gauge!("registry_relay_on_disk_bytes", "endpoint" => name).set(queue.bytes() as f64);
            }
        }
        self.handle.render()
    }
}
