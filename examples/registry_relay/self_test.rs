//! The service with a registry and receivers of its own.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use crate::args::{Args, Secrets};
use crate::check::Check;
use crate::envelope::{Event, MEDIA_TYPE};
use crate::input::Input;
use crate::receiver::{Fault, Receiver};
use crate::service::Service;

/// Posts real notifications to the service, as a registry does, and checks what arrives behind it.
pub(crate) fn run(args: Args, secrets: Secrets) -> Result<ExitCode, Box<dyn Error>> {
    let receivers = [Receiver::start(Fault::Overloaded)?, Receiver::start(Fault::Outage)?];
    let events: Vec<Event> = Input::samples()?.collect::<Result<Vec<_>, _>>()?.concat();
    let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
    receivers.iter().for_each(|receiver| receiver.go_down_at(ids.len() / 2));

    let args = Args {
        listen: ([127, 0, 0, 1], 0).into(),
        to: receivers.iter().map(Receiver::url).collect(),
        threshold: 3,
        backoff: Duration::from_millis(100),
        // One event a request, so that the outage falls between them.
        batch: 1,
        grace: Duration::from_secs(30),
        ..args
    };
    let bearer = secrets.token.as_ref().map(|token| format!("Bearer {}", token.reveal()));
    let (tell, happenings) = mpsc::channel();
    let service = Service::start(args, secrets, tell)?;
    for (leg, receiver) in service.relay.legs.iter().zip(&receivers) {
        crate::say(format_args!("{} {}", leg.endpoint, receiver.fault()));
    }

    let registry: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let door = format!("http://{}/events", service.address);
    for event in &events {
        let mut request = registry.post(&door).content_type(MEDIA_TYPE);
        if let Some(bearer) = &bearer {
            request = request.header("authorization", bearer);
        }
        // Any answer but a 2xx is an error.
        request.send(&event.envelope)?;
    }

    let ended = service.stop(happenings.into_iter());
    let verdict = ended.conclude();
    let mut all = ended.outcome.is_ok();
    for (leg, receiver) in ended.relay.legs.iter().zip(&receivers) {
        let arrivals = receiver.arrivals();
        let check = Check::new(&ids, &arrivals);
        all &= check.passed();
        let _ = writeln!(io::stdout(), "{}: {check}", leg.endpoint);
    }
    Ok(if all { verdict } else { ExitCode::FAILURE })
}
