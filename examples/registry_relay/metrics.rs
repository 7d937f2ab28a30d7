//! What Prometheus reads.

use std::error::Error;

use hyper::StatusCode;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::leg::Tally;
use crate::relay::Relay;

/// The counts of this process.
pub(crate) struct Metrics(PrometheusHandle);

impl Metrics {
    /// Once a process.
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let handle = PrometheusBuilder::new().install_recorder()?;
        describe_counter!("registry_relay_answers_total", Unit::Count, "Answers to clients, by status");
        for (name, what) in [
            ("accepted", "Events taken for an endpoint"),
            ("delivered", "Events that the endpoint answered with a 2xx"),
            ("refused", "Events that the endpoint refused for good"),
            ("dropped", "Events that made room for newer ones"),
            ("lost", "Events neither delivered nor written down"),
        ] {
            describe_counter!(format!("registry_relay_{name}_total"), Unit::Count, what);
        }
        describe_counter!("registry_relay_requests_total", Unit::Count, "Requests to an endpoint");
        describe_counter!(
            "registry_relay_failures_total",
            Unit::Count,
            "Requests that were not answered with a 2xx"
        );
        describe_gauge!("registry_relay_waiting", Unit::Count, "Events taken and not delivered yet");
        Ok(Self(handle))
    }

    pub(crate) fn count_answer(&self, status: StatusCode) {
        counter!("registry_relay_answers_total", "status" => status.as_u16().to_string()).increment(1);
    }

    pub(crate) fn render(&self, relay: &Relay) -> String {
        for leg in &relay.legs {
            let endpoint = leg.endpoint.to_string();
            let Tally { accepted, posted, failed, delivered, refused, dropped, waiting, lost, .. } =
                leg.tally();
            for (name, count) in [
                ("registry_relay_accepted_total", accepted),
                ("registry_relay_delivered_total", delivered),
                ("registry_relay_refused_total", refused),
                ("registry_relay_dropped_total", dropped),
                ("registry_relay_lost_total", lost),
                ("registry_relay_requests_total", posted),
                ("registry_relay_failures_total", failed),
            ] {
                counter!(name, "endpoint" => endpoint.clone()).absolute(count);
            }
            gauge!("registry_relay_waiting", "endpoint" => endpoint).set(waiting as f64);
        }
        self.0.render()
    }
}
