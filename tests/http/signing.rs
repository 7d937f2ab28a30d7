//! Signatures are as the Standard Webhooks specification defines: its own library accepts them.

use std::convert::Infallible;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use outflow::http::{HttpError, HttpSink};
use outflow::retry::{Breaker, Constant};
use outflow::{Sink, SinkExt, sink};

use super::{BuildFace, Face};
use crate::server::{Request, Server, empty};

const SECRETS: [&str; 2] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==",
];

/// An event is its id and its body.
type Webhook = (&'static str, &'static str);

fn signing(server: &Server) -> Face<Webhook> {
    let mut builder = HttpSink::post(server.url()).webhook_id(|webhook: &Webhook| webhook.0.to_string());
    for secret in SECRETS {
        builder = builder.sign_with(secret);
    }
    builder
        .encode(|webhook: &Webhook| Ok::<_, Infallible>(webhook.1.as_bytes().to_vec()))
        .build_face()
        .unwrap()
}

fn signed(request: &Request) -> [String; 3] {
    ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| request.header(name).unwrap().to_string())
}

#[test]
fn the_id_and_the_body_stay_and_timestamp_and_signature_are_those_of_the_attempt() {
    let server = Server::answering(|number, _| empty(if number < 2 { "503 Unavailable" } else { "200 OK" }));
    // More than a second, so that the timestamp changes.
    let retry = signing(&server).retry(Constant::new(Duration::from_millis(1_100)));
    retry.write(("msg_1", r#"{"a":1}"#)).unwrap();

    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let attempts: Vec<_> = requests.iter().map(signed).collect();
    for pair in 0..2 {
        assert_eq!(requests[pair].body, requests[pair + 1].body);
        let ([id, time, signature], [next_id, next_time, next_signature]) =
            (&attempts[pair], &attempts[pair + 1]);
        assert_eq!(id, next_id);
        assert!(time.parse::<u64>().unwrap() < next_time.parse().unwrap());
        assert_ne!(signature, next_signature);
    }
}

#[test]
fn each_secret_makes_a_signature() {
    let server = Server::status("200 OK");
    signing(&server).write(("msg_1", "{}")).unwrap();
    let [_, _, signatures] = signed(&server.requests()[0]);
    let signatures: Vec<_> = signatures.split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(signatures.iter().all(|signature| signature.starts_with("v1,") && signature.len() == 3 + 44));
    assert_ne!(signatures[0], signatures[1]);
}

#[test]
fn an_id_alone_is_sent_without_a_signature() {
    let server = Server::status("200 OK");
    let sink = HttpSink::post(server.url()).webhook_id(|id: &u64| format!("push-{id}")).build_face().unwrap();
    sink.write(7).unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.header("webhook-id"), Some("push-7"));
    assert_eq!((request.header("webhook-timestamp"), request.header("webhook-signature")), (None, None));
}

#[test]
fn a_bad_id_fails_for_good_and_is_not_shown() {
    let server = Server::status("200 OK");
    let sink = signing(&server);
    for id in ["", "s3cr3t.a", "s3cr3t a", "s3cr3t\r\nx: y", "s3cr3tä", "s3cr3t\u{7f}"] {
        let refused = sink.write((id, "{}")).unwrap_err();
        let error = refused.error().unwrap();
        assert!(matches!(error, HttpError::Encode { .. }) && !error.is_transient(), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_id_that_is_too_long_is_given_up_at_once_and_does_not_block_the_queue_behind_it() {
    let server = Server::status("200 OK");
    let dead = sink::collector();
    let queue = HttpSink::post(server.url())
        .webhook_id(|length: &usize| "a".repeat(*length))
        .build_face()
        .unwrap()
        .retry(Breaker::new(5, Duration::from_millis(1)))
        .honor_retry_after()
        .give_up_when(|failure| !failure.error.is_transient())
        .dead_letter(dead.clone())
        .queued();
    for length in [257, 20_000, 256] {
        queue.write(length).unwrap();
    }
    queue.close().within(Duration::from_secs(20)).unwrap();
    let dead: Vec<_> = dead.take().iter().map(|dead| (dead.event, dead.error.to_string())).collect();
    let why = |length: usize| {
        let said = format!("its webhook id has {length} bytes, and at most 256 are sent");
        (length, format!("the event cannot be encoded for http://{}: {said}", server.address))
    };
    assert_eq!(dead, [why(257), why(20_000)]);
    let sent: Vec<_> =
        server.requests().iter().map(|request| request.header("webhook-id").unwrap().len()).collect();
    assert_eq!(sent, [256]);
}

/// Has the specification's own library verify requests. It reads them from standard input, each with its secrets, as a line
/// of JSON.
const VERIFY: &str = r#"
import json, sys
from datetime import datetime, timezone
from standardwebhooks import Webhook, WebhookVerificationError
count = 0
for line in sys.stdin:
    case = json.loads(line)
    headers = case["headers"]
    signatures = headers["webhook-signature"].split(" ")
    for secret, signature in zip(case["secrets"], signatures, strict=True):
        webhook = Webhook(secret)
        webhook.verify(case["body"], headers, json_parse=False)
        time = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=timezone.utc)
        assert webhook.sign(headers["webhook-id"], time, case["body"]) == signature, "another signature"
        for forgery in {"webhook-id": "msg_other"}, {"webhook-signature": "v1,AAAA"}:
            try:
                webhook.verify(case["body"], dict(headers, **forgery), json_parse=False)
            except WebhookVerificationError:
                continue
            sys.exit("the library accepts whatever it is given")
        count += 1
print("verified", count)
"#;

/// A Python that has `standardwebhooks`. `OUTFLOW_STANDARDWEBHOOKS` names one that must have it; `.ci/run`
/// sets it.
fn python() -> Option<String> {
    if let Ok(python) = std::env::var("OUTFLOW_STANDARDWEBHOOKS") {
        return Some(python);
    }
    let found =
        Command::new("python3").args(["-c", "import standardwebhooks"]).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success()).then(|| "python3".to_string())
}

#[test]
fn the_specifications_own_library_accepts_what_is_signed() {
    let Some(python) = python() else {
        let why = "python3 has no `standardwebhooks`, and OUTFLOW_STANDARDWEBHOOKS names no other";
        // Written to the stream itself, since the test harness captures `eprintln!`.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED the_specifications_own_library_accepts_what_is_signed: {why}"
        );
        return;
    };
    static CASES: Mutex<String> = Mutex::new(String::new());
    let server = Server::answering(|_, request| {
        let [id, timestamp, signature] = signed(request);
        let case = serde_json::json!({
            "secrets": SECRETS,
            "headers": { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature },
            "body": request.text(),
        });
        *CASES.lock().unwrap() += &format!("{case}\n");
        empty("200 OK")
    });
    let sink = signing(&server);
    let webhooks =
        [("msg_1", "{}"), ("a", ""), ("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", r#"{"type":"a.b","ä":"\u0000"}"#)];
    for webhook in webhooks {
        sink.write(webhook).unwrap();
    }

    let mut child = Command::new(&python)
        .args(["-c", VERIFY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python}: {error}"));
    child.stdin.take().unwrap().write_all(CASES.lock().unwrap().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the library refused what was signed, or is not there");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "verified 6");
}
