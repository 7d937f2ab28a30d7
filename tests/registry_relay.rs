//! `examples/registry_relay` does what its page says, whatever its clients and its endpoints do.

#![cfg(unix)]

// How a relay accounts for events where no client and no endpoint can bring it about.
#[allow(dead_code, reason = "a part of it is tested here")]
#[path = "../examples/registry_relay/books.rs"]
mod books;
#[allow(dead_code, reason = "as `books`")]
#[path = "../examples/relay/envelope.rs"]
mod envelope;
#[allow(dead_code, reason = "as `books`")]
#[path = "../examples/registry_relay/held.rs"]
mod held;
#[path = "../examples/registry_relay/lines.rs"]
mod lines;
#[path = "../examples/registry_relay/notes.rs"]
mod notes;
#[path = "../examples/relay/out_of_time.rs"]
mod out_of_time;
mod service;
#[allow(dead_code, reason = "as `books`")]
#[path = "../examples/registry_relay/undelivered.rs"]
mod undelivered;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use outflow::queue::Batch;
use outflow::retry::Constant;
use outflow::{Buffer, Sink, SinkExt, sink};
use serde_json::Value;

use books::{Account, Books, Spill};
use envelope::Event;
use held::{Counted, Held};
use lines::{Cut as Cuttable, Lines};
use out_of_time::is_out_of_time;
use service::{
    Client, Cut, DEAD, Hang, MEDIA_TYPE, Refuse, Relay, Running, SOON, Scratch, Take, Webhook, envelope,
    event, wait_until,
};
use undelivered::Undelivered;

/// What no output may have in it.
const PLANTED: &str = "s3cr3t";

const ONE: &str = r#"{"id":"one","action":"push","size":1.50e2,"unheard-of":{"a" : [1, 2]}}"#;
const TWO: &str =
    r#"{ "id" : "two", "action":"pull", "big": 12345678901234567890123, "action2": "\u00e9 \"x\"" }"#;

#[test]
fn an_event_goes_out_as_it_came_in() {
    let webhook = Webhook::healthy();
    let relay = Relay::start(&["--batch", "1", "--to", &webhook.url("/hook?token=1")]);
    assert_eq!(relay.post(&format!("  {{\"events\" : [ {ONE} ,\n{TWO}]}}\r\n")).status, 202);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let requests = webhook.taken();
    let bodies: Vec<&str> = requests.iter().map(|request| &*request.body).collect();
    assert_eq!(bodies, [ONE, TWO].map(|event| envelope(&[event])));
    for (request, id) in requests.iter().zip(["one", "two"]) {
        assert!(request.head.starts_with("POST /hook?token=1 HTTP/1.1\r\n"), "{}", request.head);
        assert_eq!(request.header("content-type"), Some(MEDIA_TYPE));
        assert_eq!(request.header("webhook-id"), Some(id));
        assert_eq!(request.header("webhook-signature"), None, "there is no secret to sign with");
    }
}

#[test]
fn events_that_wait_go_out_together() {
    let webhook = Webhook::start(|number, _| if number == 0 { Hang } else { Take("200 OK") });
    let relay = Relay::start(&["--batch", "3", "--backoff", "1ms", "--to", &webhook.url("/")]);
    assert_eq!(relay.post(&envelope(&[event("0")])).status, 202);
    webhook.wait_for_requests(1);
    let ids: Vec<String> = (1..=7).map(|id| id.to_string()).collect();
    let events: Vec<String> = ids.iter().map(|id| event(id)).collect();
    assert_eq!(relay.post(&envelope(&events)).status, 202);
    webhook.release();
    assert_eq!(relay.terminate().code, Some(0));

    let requests = webhook.taken();
    let sizes: Vec<usize> = requests.iter().map(|request| request.events().len()).collect();
    assert_eq!(sizes, [1, 3, 3, 1]);
    assert_eq!(webhook.events(), [&[event("0")][..], &events].concat());
    let id = requests[1].header("webhook-id").unwrap();
    assert!(!ids.iter().any(|event| event == id), "of several events it is none of theirs: {id}");
}

#[test]
fn a_webhook_id_goes_with_the_same_bytes() {
    // Each envelope of several is cut off once, and comes again.
    let seen = Mutex::new(HashSet::new());
    let webhook = Webhook::start(move |number, request| match number {
        0 => Hang,
        _ if request.events().len() > 1 && seen.lock().unwrap().insert(request.body.clone()) => Cut,
        _ => Take("200 OK"),
    });
    let relay = Relay::start(&["--batch", "2", "--backoff", "1ms", "--to", &webhook.url("/")]);
    assert_eq!(relay.post(&envelope(&[event("0")])).status, 202);
    webhook.wait_for_requests(1);
    // A registry that missed the answer to `a` posts it again: it goes out in other company.
    for id in ["a", "b", "a", "c", "a", "b"] {
        assert_eq!(relay.post(&envelope(&[event(id)])).status, 202);
    }
    webhook.release();
    assert_eq!(relay.terminate().code, Some(0));
    assert_eq!(webhook.ids(), ["0", "a", "b", "a", "c", "a", "b"]);

    let (mut bytes, mut ids) = (HashMap::new(), HashMap::new());
    for request in webhook.all() {
        let id = request.header("webhook-id").unwrap().to_string();
        let body = request.body;
        assert_eq!(bytes.entry(id.clone()).or_insert(body.clone()), &body, "{id} has other bytes");
        assert_eq!(ids.entry(body.clone()).or_insert(id.clone()), &id, "{body} has another id");
    }
    assert_eq!(ids.len(), 3);
}

#[test]
fn what_is_filtered_out_is_answered_and_not_relayed() {
    let event = |id: &str, action: &str, repository: &str, media_type: &str| {
        let target = format!(r#"{{"repository":"{repository}","mediaType":"{media_type}"}}"#);
        format!(r#"{{"id":"{id}","action":"{action}","target":{target}}}"#)
    };
    let events = envelope(&[
        event("a", "push", "library/alpine", "manifest"),
        event("b", "pull", "library/alpine", "manifest"),
        event("c", "delete", "library/alpine", "manifest"),
        event("d", "push", "library/alpine/deep", "manifest"),
        event("e", "push", "mirror/library/alpine", "manifest"),
        event("f", "push", "library/alpine", "layer"),
        event("g", "push", "librarY/alpine", "manifest"),
        r#"{"id":"h","action":"push"}"#.to_string(),
        r#"{"id":"i","action":"push","target":{}}"#.to_string(),
    ]);
    for (args, relayed) in [
        (&[][..], "abcdefghi"),
        (&["--only", "push,delete"], "acdefghi"),
        (&["--only", "push", "--only", "pull"], "abdefghi"),
        (&["--repository", "library/*"], "abcf"),
        (&["--repository", "library/**"], "abcdf"),
        (&["--repository", "**/alpine"], "abcefg"),
        (&["--repository", "mirror/**", "--repository", "librar[Y]/*"], "eg"),
        (&["--ignore-media-type", "layer"], "abcdeghi"),
        (&["--ignore-media-type", "layer", "--ignore-media-type", "manifest"], "hi"),
        (&["--only", "push", "--repository", "library/*", "--ignore-media-type", "layer"], "a"),
        (&["--only", "mount"], ""),
    ] {
        let webhook = Webhook::healthy();
        let relay = Relay::start(&[args, &["--to", &webhook.url("/")]].concat());
        assert_eq!(relay.post(&events).status, 202);
        assert_eq!(relay.terminate().code, Some(0));
        assert_eq!(webhook.ids().concat(), relayed, "{args:?}");
    }
}

#[test]
fn it_answers_at_once_though_no_endpoint_does() {
    let hanging = Webhook::start(|_, _| Hang);
    let relay = Relay::start(&["--to", &hanging.url("/"), "--to", DEAD]);
    let mut client = relay.client();
    let answered_within = |id: u32| {
        let begun = Instant::now();
        assert_eq!(client.post(&[], envelope(&[event(&id.to_string())]).as_bytes()).status, 202);
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..500).map(answered_within).collect();
    times.sort();
    // It is a fraction of a millisecond; the endpoints take for ever.
    assert!(times[250] < Duration::from_millis(10), "{times:?}");
    assert!(times[499] < Duration::from_secs(1), "{times:?}");
}

#[test]
fn a_body_that_is_no_envelope_is_told_why_and_harms_nothing() {
    let webhook = Webhook::healthy();
    let relay = Relay::start(&["--to", &webhook.url("/")]);
    let mut client = relay.client();
    let second = r#"{"events":["#.len() + ONE.len() + 2;
    let long = |head: &str, tail: &str| format!("{head}\"{}\"{tail}", "x".repeat(10_000)).into_bytes();
    for (body, reason) in [
        (b"".to_vec(), "an envelope is a JSON object".to_string()),
        (b"[]".to_vec(), "byte 1, an envelope is a JSON object".to_string()),
        (b"{}".to_vec(), "missing field `events`".to_string()),
        (br#"{"events":{}}"#.to_vec(), "expected a sequence".to_string()),
        (br#"{"events":[]} x"#.to_vec(), "trailing characters".to_string()),
        (br#"{"events":["x"]}"#.to_vec(), "byte 12, an event is a JSON object".to_string()),
        (br#"{"events":[{"id":"a"}]}"#.to_vec(), "missing field `action`".to_string()),
        (br#"{"events":[{"id":"","action":"push"}]}"#.to_vec(), "`id` of this event is empty".to_string()),
        (br#"{"events":[{"id":"a.b","action":"push"}]}"#.to_vec(), r#"the event id "a.b""#.to_string()),
        (br#"{"events":[{"id":"a\nb","action":"push"}]}"#.to_vec(), r#"the event id "a\nb""#.to_string()),
        (b"{\"events\":[\xff]}".to_vec(), "byte 12, this is not UTF-8".to_string()),
        (long(r#"{"events":"#, "}"), "invalid type: string".to_string()),
        (long(r#"{"events":[{"action":"a","id":"#, "}]}"), "an event id has more than 256 bytes".to_string()),
        // A good event before it is not taken either.
        (format!(r#"{{"events":[{ONE},{{"id":"x"}}]}}"#).into_bytes(), format!("byte {}", second + 9)),
        ([&b"{\"events\":"[..], &b"[".repeat(60_000)].concat(), "byte".to_string()),
    ] {
        let answer = client.post(&[], &body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains(&reason), "{reason:?} is not in {answer:?}");
        assert!(answer.body.len() < 400, "it is no echo: {answer:?}");
    }
    assert_eq!(client.post(&[], envelope(&[TWO]).as_bytes()).status, 202, "over the same connection");
    assert_eq!(client.post(&[], envelope::<&str>(&[]).as_bytes()).status, 202, "an empty one is one");
    assert_eq!(relay.terminate().code, Some(0));
    assert_eq!(webhook.ids(), ["two"]);
}

#[test]
fn without_a_file_a_body_over_the_limit_is_refused_however_it_is_sent() {
    let webhook = Webhook::healthy();
    let relay = Relay::start(&["--max-body", "1000", "--to", &webhook.url("/")]);
    let padded = |id: &str, length: usize| padded(id, length).into_bytes();
    let fits = padded("fits", 1000);
    let over = padded("over", 1001);

    assert_eq!(relay.client().post(&[], &fits).status, 202);
    assert_eq!(relay.client().post(&[], &over).status, 413);
    assert_eq!(relay.client().post(&[], &padded("far", 1_000_000)).status, 413);
    assert_eq!(relay.client().post(&["expect: 100-continue"], &over).status, 413, "before it is sent");

    let content_type = format!("content-type: {MEDIA_TYPE}");
    for (body, status) in [(&fits, 202), (&over, 413)] {
        let headers = [&*content_type, "transfer-encoding: chunked"];
        assert_eq!(relay.client().post_with(&headers, &chunked(body)).status, status, "chunked");
        for body in [gzip(body), [gzip(&body[..500]), gzip(&body[500..])].concat()] {
            assert!(body.len() < 1000);
            assert_eq!(relay.client().post(&["content-encoding: gzip"], &body).status, status, "compressed");
            let headers = [&*content_type, "content-encoding: gzip", "transfer-encoding: chunked"];
            assert_eq!(relay.client().post_with(&headers, &chunked(&body)).status, status, "both");
        }
    }
    // 50 MB in 50 kB.
    let bomb = gzip(&vec![b' '; 50_000_000]);
    let generous = Relay::start(&["--max-body", "100000", "--to", DEAD]);
    assert!(bomb.len() < 100_000);
    assert_eq!(generous.client().post(&["content-encoding: gzip"], &bomb).status, 413);
    assert!(memory(&generous.process, "VmHWM") < 50_000_000, "it is not unpacked");

    assert_eq!(relay.client().post(&["content-encoding: gzip"], b"no gzip").status, 400);
    assert_eq!(relay.client().post(&["content-encoding: gzip"], &gzip(&fits)[..40]).status, 400, "cut short");
    assert_eq!(relay.client().post(&["content-encoding: br"], &fits).status, 415);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0));
    for said in
        ["more than 1000 bytes: raise --max-body; a registry posts it again", "there is --undelivered"]
    {
        assert!(ended.stderr.contains(said), "{said:?} is not in {ended:?}");
    }
    assert!(webhook.ids().iter().all(|id| id == "fits"), "{:?}", webhook.ids());
    assert_eq!(webhook.ids().len(), 6);
}

#[test]
fn what_cannot_be_relayed_is_written_down_and_holds_up_nothing() {
    let scratch = Scratch::new("parked");
    let file = scratch.join("undelivered.ndjson");
    let webhook = Webhook::healthy();
    let relay = Relay::start(&["--undelivered", &file, "--backlog", "3", "--to", &webhook.url("/")]);
    let agent = "x".repeat(70_000);
    let pull =
        |id: &str| format!(r#"{{ "id":"{id}", "action":"pull","request":{{"useragent":"{agent} \""}} }}"#);
    let large = |id: &str| envelope(&[pull(id)]);
    let too_long = "the body has more than 65536 bytes: raise --max-body";

    // As a registry does: the next when the last was taken.
    let mut client = relay.client();
    let mut answers = vec![
        client.post(&[], large("large").as_bytes()),
        client.post(&[], envelope(&[event("small")]).as_bytes()),
        client.post(&["content-encoding: gzip"], &gzip(large("gzip").as_bytes())),
        client.post(&[], envelope(&["a", "b", "c", "d"].map(event)).as_bytes()),
        client.post(&[], b"{\"events\" : [{\"id\":\"a b\",\"action\":\"\\\\ \\\" \"}]}"),
        client.post(&[], b"{\"events\":[\xff]}"),
        client.post(&["content-encoding: gzip"], b"no gzip"),
    ];
    let content_type = format!("content-type: {MEDIA_TYPE}");
    let chunks = chunked(large("chunked").as_bytes());
    answers.push(client.post_with(&[&content_type, "transfer-encoding: chunked"], &chunks));
    answers.push(client.post(&[], envelope(&[event("behind")]).as_bytes()));
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 202, "{number}: {answer:?}");
    }
    assert_eq!(answers[0].body, format!("this is not relayed, but written down: {too_long}\n"));
    assert_eq!(answers[1].body, "");
    webhook.wait_for_events(2);
    assert_eq!(webhook.ids(), ["small", "behind"]);
    assert_eq!(relay.metric("registry_relay_parked_total"), Some(7));
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "nothing is lost: {ended:?}");
    for said in [
        &format!("bytes that cannot be relayed are written to --undelivered: {too_long}"),
        "written down: 7\n",
    ] {
        assert!(ended.stderr.contains(said), "{said:?} is not in {ended:?}");
    }

    let compact = |id: &str| {
        let event = pull(id).replace("{ ", "{").replace(r#", "action""#, r#","action""#).replace(" }", "}");
        format!(r#"{{"reason":"{too_long}","envelope":{}}}"#, envelope(&[event]))
    };
    let written = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 7, "{lines:?}");
    assert_eq!([lines[0], lines[1], lines[6]], [&*compact("large"), &compact("gzip"), &compact("chunked")]);
    let events = envelope(&["a", "b", "c", "d"].map(event));
    let too_many = "an envelope with more events than a backlog holds: raise --backlog";
    assert_eq!(lines[2], format!(r#"{{"reason":"{too_many}","envelope":{events}}}"#));
    let reason = r#"{"reason":"the event id \"a b\" is not visible ASCII without a full stop","#;
    assert_eq!(lines[3], format!(r#"{reason}"envelope":{{"events":[{{"id":"a b","action":"\\ \" "}}]}}}}"#));
    assert!(
        lines[4].starts_with(r#"{"reason":"this is no envelope: at byte 12, this is not UTF-8","base64":""#)
    );
    assert_eq!(lines[5], r#"{"reason":"the body is not gzip","base64":"bm8gZ3ppcA=="}"#);
    for line in &lines[4..6] {
        let line: Value = serde_json::from_str(line).unwrap();
        let body = BASE64_STANDARD.decode(line["base64"].as_str().unwrap()).unwrap();
        assert!([&b"{\"events\":[\xff]}"[..], b"no gzip"].contains(&&*body), "{body:?}");
    }
}

#[test]
fn of_what_is_too_large_only_what_is_wanted_is_written_down() {
    let scratch = Scratch::new("unwanted");
    let file = scratch.join("undelivered.ndjson");
    let args = ["--undelivered", &file, "--max-body", "1000", "--only", "push", "--to", DEAD];
    let relay = Relay::start(&[&args[..], &["--grace", "0s"]].concat());
    let pull = padded("a", 2000).replace("push", "pull");
    assert_eq!(relay.post(&pull).status, 202);
    assert!(!fs::exists(&file).unwrap(), "nobody wants it");
    assert_eq!(relay.post(&padded("b", 2000)).status, 202);
    assert!(fs::read_to_string(&file).unwrap().contains(r#""id":"b""#));
}

/// Larger than any event of a registry.
#[test]
fn what_is_written_down_has_a_limit_and_takes_little_memory() {
    let scratch = Scratch::new("largest");
    let file = scratch.join("undelivered.ndjson");
    let webhook = Webhook::healthy();
    let relay = Relay::start(&["--undelivered", &file, "--client-timeout", "1m", "--to", &webhook.url("/")]);
    let over = padded("over", (32 << 20) + 1);
    let answer = relay.post(&over);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.body.contains("more than 33554432 bytes: raise --max-body"), "{answer:?}");
    let answer = relay.client().post(&["content-encoding: gzip"], &gzip(over.as_bytes()));
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(!fs::exists(&file).unwrap());

    let [head, tail] = [r#"{"events":[{"id":"a","action":"b","c":""#, r#""}]}"#];
    let largest = [head, &"x".repeat((32 << 20) - head.len() - tail.len()), tail].concat();
    let (address, posted) = (relay.address, largest.as_bytes());
    thread::scope(|scope| {
        let post = move || assert_eq!(Client::connect(address).post(&[], posted).status, 202);
        (0..4).for_each(|_| _ = scope.spawn(post));
    });
    let memory = memory(&relay.process, "VmHWM");
    assert!(memory < 192 << 20, "{memory}");
    assert_eq!(relay.post(&envelope(&[event("behind")])).status, 202);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("33554432 bytes: raise --max-body; a registry posts it again"),
        "{ended:?}"
    );
    assert_eq!(webhook.ids(), ["behind"]);
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written.lines().count(), 4);
    assert!(written.lines().all(|line| line.ends_with(&format!(r#","envelope":{largest}}}"#))));
}

#[test]
fn what_can_neither_be_relayed_nor_written_down_is_not_taken() {
    let scratch = Scratch::new("not-parked");
    let file = scratch.join("undelivered.ndjson");
    let webhook = Webhook::healthy();
    let args = ["--undelivered", &file, "--max-body", "1000", "--to", &webhook.url("/")];
    let relay = with_short_files(&args);
    let not_taken = |length: usize, why: &str| {
        let answer = relay.post(&format!("{}{}", "[".repeat(length), "]".repeat(length)));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
        assert!(answer.body.contains(why), "{why:?} is not in {answer:?}");
    };
    assert_eq!(relay.post("[1]").status, 202);
    // A disk that is full, as it were.
    not_taken(5000, "it cannot be written down: File too large");
    assert_eq!(relay.post("[2]").status, 202);
    let parked: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_string).collect();
    assert!(parked.len() == 2 && parked[0].ends_with(":[1]}") && parked[1].ends_with(":[2]}"), "{parked:?}");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "precious").unwrap();
    not_taken(10, "none of what was not delivered");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    fs::remove_file(&file).unwrap();
    assert_eq!(relay.post("[3]").status, 202);
    assert_eq!(relay.post(&envelope(&[event("behind")])).status, 202);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("cannot be written down either, and are refused until they can"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("and written down: 3\n"), "{ended:?}");
    assert_eq!(webhook.ids(), ["behind"]);
}

#[test]
fn what_a_run_has_left_is_appended_to() {
    let scratch = Scratch::new("left");
    let file = scratch.join("undelivered.ndjson");
    let args = ["--undelivered", &file, "--grace", "0s", "--to", DEAD];
    let run = |ids: &[&str]| {
        let mut relay = Relay::start(&args);
        let said = relay.process.wait_for_stderr("listening").unwrap().to_string();
        ids.iter().for_each(|id| assert_eq!(relay.post(&envelope(&[event(id)])).status, 202));
        assert_eq!(relay.terminate().code, Some(0));
        said
    };
    assert!(!run(&["a", "b"]).contains("lines of before"));
    assert!(run(&["c"]).contains(&format!("--undelivered {file} is there, with lines of before: 2;")));
    let ids = ids_in(&file);
    // What was being posted may be written after what was not.
    assert_eq!((ids[..2].iter().map(String::as_str).collect(), &*ids[2]), (HashSet::from(["a", "b"]), "c"));

    // The machine stopped in the middle of a line.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], br#"{"endpoint":"http"#].concat()).unwrap();
    assert!(run(&["d"]).contains("lines of before: 4;"));
    let lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_string).collect();
    assert_eq!(
        lines.iter().map(|line| line.contains(r#""event":"#)).collect::<Vec<_>>(),
        [true, true, true, false, true]
    );
    assert_eq!(lines[3], r#"{"endpoint":"http"#, "it stays, and nothing goes behind it");
    // Before its first was there, or just when it was made.
    for (torn, before) in [
        (r#"{"endp"#, "lines of before: 1;"),
        (r#"{"reason":"x"#, "lines of before: 1;"),
        ("", "lines of before: 0;"),
    ] {
        fs::write(&file, torn).unwrap();
        assert!(run(&["e"]).contains(before), "{torn:?}");
        let lines = fs::read_to_string(&file).unwrap();
        assert_eq!(id_of_line(lines.lines().last().unwrap()), "e", "{torn:?}");
        assert_eq!(lines.lines().count(), if torn.is_empty() { 1 } else { 2 }, "{torn:?}");
    }
    // While one writes to it, another does not.
    let relay = Relay::start(&args);
    assert_eq!(relay.post("[]").status, 202);
    let ended =
        Running::start(&mut Relay::command(&[&args[..], &["--listen", "127.0.0.1:0"]].concat())).finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("another process writes to it"),
        "two would cut off each other's lines: {ended:?}"
    );
    assert_eq!(relay.terminate().code, Some(0));
}

/// The command of its page, with another program, file and endpoint.
#[test]
fn what_was_written_down_is_sent_again_by_the_command_of_the_page() {
    let scratch = Scratch::new("replay");
    let file = scratch.join("undelivered.ndjson");
    let refusing = Webhook::start(|_, _| Refuse("422 Unprocessable Content"));
    let args = ["--undelivered", &file, "--max-body", "1000", "--grace", "0s"];
    let relay = Relay::start(&[&args[..], &["--to", &refusing.url("/"), "--to", DEAD]].concat());
    assert_eq!(relay.post(&envelope(&[ONE, TWO])).status, 202);
    assert_eq!(relay.post(&padded("large", 2000)).status, 202);
    wait_until("it is refused", || fs::read_to_string(&file).unwrap().contains("answered 422"));
    assert_eq!(relay.terminate().code, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 5);

    let page = include_str!("../examples/registry_relay/main.rs");
    let (_, command) = page.split_once("//! again=").expect("the page has the command");
    let (command, _) = command.split_once("//! ```").unwrap();
    let program = service::example("relay");
    let webhook = Webhook::healthy();
    let mut command = format!("again={}", command.replace("//! ", ""));
    for (text, other) in [
        ("cargo run --release --example relay --", program.to_str().unwrap()),
        ("/var/lib/relay", scratch.path().to_str().unwrap()),
        ("https://hooks.example:443", &refusing.url("")),
        ("https://hooks.example/registry", &webhook.url("/")),
    ] {
        assert!(command.contains(text), "{text:?} is not in {command}");
        command = command.replace(text, other);
    }
    let ended = Running::start(Command::new("sh").args(["-ec", &command])).finish();
    assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
    // What came in, less its whitespace, and nothing twice: the other endpoint's is its own.
    let one = ONE.replace(r#"a" : [1, 2"#, r#"a":[1,2"#);
    let two = r#"{"id":"two","action":"pull","big":12345678901234567890123,"action2":"\u00e9 \"x\""}"#;
    let mut events = webhook.events();
    events.sort();
    assert_eq!(events, [event("large"), one, two.to_string()]);
    assert!(!fs::exists(&file).unwrap(), "it was moved away");
}

/// An envelope of so many bytes.
fn padded(id: &str, length: usize) -> String {
    let envelope = envelope(&[event(id)]);
    let padding = " ".repeat(length - envelope.len());
    envelope + &padding
}

#[test]
fn without_a_file_an_envelope_with_more_events_than_a_backlog_holds_is_refused() {
    let relay = Relay::start(&["--backlog", "2", "--when-full", "drop-oldest", "--to", DEAD]);
    let answer = relay.post(&envelope(&["a", "b", "c"].map(event)));
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(relay.post(&envelope(&["a", "b"].map(event))).status, 202);
}

#[test]
fn only_what_can_be_an_envelope_is_taken() {
    let relay = Relay::start(&["--to", DEAD]);
    let good = envelope(&[ONE]);
    let length = format!("content-length: {}", good.len());
    for (content_type, status) in [
        ("", 415),
        ("content-type: text/plain", 415),
        ("content-type: application/x-www-form-urlencoded", 415),
        ("content-type: application/json", 202),
        ("content-type: Application/JSON; charset=utf-8", 202),
        // That of the registry's next version.
        ("content-type: application/vnd.docker.distribution.events.v2+json", 202),
        ("content-type: application/json-not", 415),
        ("content-type: text/x+json", 415),
    ] {
        let headers = [&*length, content_type];
        let headers = if content_type.is_empty() { &headers[..1] } else { &headers[..] };
        assert_eq!(relay.client().post_with(headers, good.as_bytes()).status, status, "{content_type:?}");
    }
    assert_eq!(relay.get("/events").status, 405);
    assert_eq!(relay.get("/events").header("allow"), Some("POST"));
    assert_eq!(relay.get("/").status, 404);
    let post = "POST /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(relay.client().request(post, b"").status, 405);
}

#[test]
fn without_the_token_there_is_401() {
    let webhook = Webhook::healthy();
    let mut command = Relay::command(&["--token", "--listen", "127.0.0.1:0", "--to", &webhook.url("/")]);
    let relay = Relay::run(command.env("REGISTRY_RELAY_TOKEN", PLANTED));
    let wrong = [
        "x-nothing: at all",
        "authorization: Bearer",
        "authorization: Bearer ",
        "authorization: Bearer s3cr3",
        "authorization: Bearer s3cr3t7",
        "authorization: Bearer S3CR3T",
        "authorization: Basic s3cr3t",
        "authorization: s3cr3t",
    ];
    for header in wrong {
        let answer = relay.client().post(&[header], envelope(&[ONE]).as_bytes());
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{header}");
        // Nor is it told what else there is.
        for asked in ["GET /metrics", "POST /metrics", "GET /events", "GET /", "DELETE /nothing"] {
            let head = format!("{asked} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n\r\n");
            assert_eq!(relay.client().request(&head, b"").status, 401, "{asked}, {header}");
        }
    }
    let unread = relay.client().post(&["authorization: Bearer no"], b"no envelope");
    assert_eq!(unread.status, 401, "it is not even looked at");
    for header in ["authorization: Bearer s3cr3t", "Authorization: bearer s3cr3t"] {
        assert_eq!(relay.client().post(&[header], envelope(&[TWO]).as_bytes()).status, 202, "{header}");
    }
    assert_eq!(
        relay.get("/healthz").status,
        200,
        "which whoever starts it asks for, and which tells nothing"
    );
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0));
    let said = "what was posted is refused (401): bring the token, as Authorization: Bearer; a registry posts it again";
    assert!(ended.stderr.contains(said), "{ended:?}");
    assert_eq!(webhook.ids(), ["two", "two"]);
}

#[test]
fn without_a_token_it_listens_on_loopback_alone() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:0.0.0.0]:0"] {
        let ended = Running::start(&mut Relay::command(&["--listen", address, "--to", DEAD])).finish();
        assert_eq!(ended.code, Some(1), "{address}: {ended:?}");
        assert!(ended.stderr.contains("REGISTRY_RELAY_TOKEN is not set"), "{address}: {ended:?}");
    }
    let mut command = Relay::command(&["--listen", "0.0.0.0:0", "--to", DEAD]);
    let relay = Relay::run(command.env("REGISTRY_RELAY_TOKEN", PLANTED));
    assert_eq!(Client::connect(([127, 0, 0, 1], relay.address.port()).into()).post(&[], b"").status, 401);

    let ended = Running::start(&mut Relay::command(&["--token", "--to", DEAD])).finish();
    assert_eq!(ended.code, Some(1), "--token asks for one: {ended:?}");
    let mut command = Relay::command(&["--to", DEAD]);
    let ended = Running::start(command.env("REGISTRY_RELAY_TOKEN", "")).finish();
    assert_eq!(ended.code, Some(1), "an empty one would be none: {ended:?}");
}

#[test]
fn a_page_in_a_browser_cannot_post_nor_read() {
    let webhook = Webhook::healthy();
    let open = Relay::start(&["--to", &webhook.url("/")]);
    let mut command = Relay::command(&["--listen", "127.0.0.1:0", "--to", &webhook.url("/")]);
    let guarded = Relay::run(command.env("REGISTRY_RELAY_TOKEN", PLANTED));
    let body = envelope(&[ONE]);
    let asked_as = |relay: &Relay, begin: &str, headers: &str| {
        let post = begin.starts_with("POST");
        let length = if post { body.len() } else { 0 };
        let head = format!(
            "{begin}\r\n{headers}content-type: application/json\r\n\
             authorization: Bearer {PLANTED}\r\ncontent-length: {length}\r\n\r\n"
        );
        relay.client().request(&head, if post { body.as_bytes() } else { b"" }).status
    };
    let (post, get) = ("POST /events HTTP/1.1", "GET /metrics HTTP/1.1");

    // Its own name is resolved to loopback, so that for its browser all this is its own server. With the token
    // it may be a registry's name for us, since no page has that.
    for host in [
        "evil.example",
        "evil.example:5056",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.1",
        "",
        "[",
    ] {
        let host = format!("host: {host}\r\n");
        assert_eq!(asked_as(&open, post, &host), 421, "{host}");
        assert_eq!(asked_as(&open, get, &host), 421, "{host}");
        assert_eq!(asked_as(&guarded, get, &host), 200, "{host}");
    }
    assert_eq!(asked_as(&open, post, "host: localhost\r\nhost: evil.example\r\n"), 421);
    assert_eq!(asked_as(&open, "POST http://evil.example/events HTTP/1.1", "host: localhost\r\n"), 421);
    // That a page posts stands there, whosever it is.
    for origin in ["http://evil.example", "null", "http://localhost:3000"] {
        let headers = format!("host: localhost\r\norigin: {origin}\r\n");
        for relay in [&open, &guarded] {
            assert_eq!(asked_as(relay, post, &headers), 403, "{origin}");
            assert_eq!(asked_as(relay, get, &headers), 403, "{origin}");
        }
    }
    assert!(webhook.all().is_empty(), "{:?}", webhook.all());

    for host in
        ["localhost", "LOCALHOST:5056", "127.0.0.1:5056", "127.1.2.3", "[::1]:5056", "[::ffff:127.0.0.1]"]
    {
        assert_eq!(asked_as(&open, get, &format!("host: {host}\r\n")), 200, "{host}");
    }
    assert_eq!(asked_as(&open, "GET /metrics HTTP/1.0", ""), 200, "it is no browser that says no host");
    assert_eq!(
        asked_as(&open, "GET /healthz HTTP/1.1", "host: relay.example\r\n"),
        200,
        "which tells nothing"
    );
}

#[test]
fn a_slow_client_is_let_go_and_holds_up_nobody() {
    let webhook = Webhook::healthy();
    let relay = Relay::start(&["--client-timeout", "1s", "--to", &webhook.url("/")]);
    let begun = Instant::now();
    // Long before the end of one that only does not get its answers.
    let in_time = Duration::from_millis(2500);
    let head = format!("POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {MEDIA_TYPE}\r\n");

    // One sends nothing, one its head bit by bit, one its body.
    let silent = relay.client();
    let slow_head = relay.client();
    let dribble = |mut stream: TcpStream, text: String| {
        thread::spawn(move || {
            for byte in text.bytes().cycle() {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        })
    };
    dribble(slow_head.stream.try_clone().unwrap(), head.clone());
    let mut slow_body = relay.client();
    slow_body.stream.write_all(format!("{head}content-length: 1000\r\n\r\n").as_bytes()).unwrap();
    dribble(slow_body.stream.try_clone().unwrap(), " ".to_string());

    // Meanwhile everybody else is served.
    for id in 0..50 {
        assert_eq!(relay.post(&envelope(&[event(&id.to_string())])).status, 202);
    }
    assert_eq!(slow_body.answer().map(|answer| answer.status), Some(408));
    for mut client in [silent, slow_head] {
        assert!(client.answer().is_none_or(|answer| answer.status == 408));
    }
    assert!(begun.elapsed() < in_time, "{:?}", begun.elapsed());

    // One that has been served idles.
    let mut idle = relay.client();
    let begun = Instant::now();
    assert_eq!(idle.post(&[], envelope(&[TWO]).as_bytes()).status, 202);
    assert!(idle.answer().is_none());
    assert!(begun.elapsed() < in_time, "{:?}", begun.elapsed());
    assert_eq!(relay.terminate().code, Some(0));
    assert_eq!(webhook.ids().len(), 51);
}

#[test]
fn a_client_that_reads_no_answer_is_let_go() {
    let relay = Relay::start(&["--client-timeout", "200ms", "--to", DEAD]);
    let mut stream = relay.client().stream;
    stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    // More answers than any buffer holds: in the end no request is taken any more, and then it is over.
    let requests = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    let deadline = Instant::now() + SOON;
    let mut blocked = false;
    let over = loop {
        assert!(Instant::now() < deadline, "it is never let go");
        match stream.write(requests.as_bytes()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => blocked = true,
            Err(error) => break error,
        }
    };
    assert!(blocked, "{over}");
    assert!(matches!(over.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{over}");
}

#[test]
fn only_so_many_are_connected_and_the_others_get_their_turn() {
    let relay = Relay::start(&["--max-connections", "2", "--client-timeout", "1m", "--to", DEAD]);
    let [mut first, mut second] = [relay.client(), relay.client()];
    let healthz = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    // A head that is not ended holds a seat.
    first.stream.write_all(healthz.trim_end().as_bytes()).unwrap();
    second.stream.write_all(healthz.trim_end().as_bytes()).unwrap();

    let mut third = relay.client();
    third.stream.write_all(healthz.as_bytes()).unwrap();
    third.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.answer().is_none(), "there is no seat");
    third.stream.set_read_timeout(Some(SOON)).unwrap();

    first.stream.write_all(b"\r\n\r\n").unwrap();
    let answer = first.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "others are waiting");
    assert_eq!(third.answer().unwrap().status, 200);
    second.stream.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(second.answer().unwrap().status, 200);
    // When there are seats, a connection is kept.
    drop(second);
    let mut alone = relay.client();
    wait_until("there are seats", || alone_is_kept(&mut alone, &relay));
}

fn alone_is_kept(client: &mut Client, relay: &Relay) -> bool {
    let answer = client.request("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", b"");
    let kept = answer.header("connection").is_none();
    if !kept {
        *client = relay.client();
    }
    kept
}

/// Envelopes of three from eight clients, at endpoints whose backlogs are soon full.
#[test]
fn an_envelope_is_admitted_whole_or_not_at_all() {
    // The one hangs until everything is posted, so that its backlog is the limit; the other takes what it
    // gets.
    let hanging = Webhook::start(|number, _| if number == 0 { Hang } else { Take("200 OK") });
    let healthy = Webhook::healthy();
    let relay = Relay::start(&[
        "--backlog",
        "100",
        "--batch",
        "1",
        "--backoff",
        "1ms",
        "--grace",
        "1m",
        "--to",
        &hanging.url("/"),
        "--to",
        &healthy.url("/"),
    ]);
    assert_eq!(relay.post(&envelope(&[event("first")])).status, 202);
    hanging.wait_for_requests(1);

    let admitted: Vec<(String, bool)> = thread::scope(|scope| {
        let client = |number: usize| {
            let mut client = relay.client();
            move || {
                let post = |round| {
                    let name = format!("{number}-{round}");
                    let events = ["a", "b", "c"].map(|part| event(&format!("{name}-{part}")));
                    let answer = client.post(&[], envelope(&events).as_bytes());
                    match answer.status {
                        202 => (name, true),
                        503 => {
                            assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
                            assert!(answer.body.contains("backlog"), "{answer:?}");
                            (name, false)
                        }
                        _ => panic!("{answer:?}"),
                    }
                };
                (0..50).map(post).collect::<Vec<_>>()
            }
        };
        let clients: Vec<_> = (0..8).map(|number| scope.spawn(client(number))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let count = admitted.iter().filter(|(_, admitted)| *admitted).count();
    assert_eq!(count, 33, "99 of 100 events, and no room for three more");
    hanging.release();
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let arrived = healthy.ids();
    assert_eq!(arrived, hanging.ids(), "every endpoint gets the same, in the same order");
    for (envelope, parts) in arrived[1..].chunks(3).map(|parts| (parts[0].trim_end_matches("-a"), parts)) {
        assert_eq!(parts, ["a", "b", "c"].map(|part| format!("{envelope}-{part}")), "it is together");
        assert!(admitted.contains(&(envelope.to_string(), true)), "{envelope} was refused");
    }
    assert_eq!(arrived.len(), 1 + 3 * count);
}

#[test]
fn drop_oldest_goes_on_and_counts_for_the_endpoint_that_is_full() {
    let hanging = Webhook::start(|number, _| if number == 0 { Hang } else { Take("200 OK") });
    let healthy = Webhook::healthy();
    let relay = Relay::start(&[
        "--when-full",
        "drop-oldest",
        "--backlog",
        "10",
        "--batch",
        "1",
        "--backoff",
        "1ms",
        "--to",
        &hanging.url("/"),
        "--to",
        &healthy.url("/"),
    ]);
    assert_eq!(relay.post(&envelope(&[event("first")])).status, 202);
    hanging.wait_for_requests(1);
    let ids: Vec<String> = (0..100).map(|id| id.to_string()).collect();
    for (count, id) in ids.iter().enumerate() {
        assert_eq!(relay.post(&envelope(&[event(id)])).status, 202);
        // It keeps up, so that nothing of its own is dropped.
        healthy.wait_for_events(count + 2);
    }
    let dropped = |webhook: &Webhook| format!("outflow_queue_dropped_total{{queue=\"{}\"}}", webhook.url(""));
    assert_eq!(relay.metric(&dropped(&hanging)), Some(90));
    assert_eq!(relay.metric(&dropped(&healthy)), Some(0));
    hanging.release();
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "it was asked for: {ended:?}");
    assert_eq!(hanging.ids(), [&["first".to_string()][..], &ids[90..]].concat());
    assert_eq!(healthy.ids().len(), 101);
    let dropped: Vec<u64> = ended.rows().iter().map(|row| row.dropped).collect();
    assert_eq!(dropped, [90, 0], "{ended:?}");
}

#[test]
fn what_was_not_delivered_is_written_with_its_endpoint() {
    let scratch = Scratch::new("undelivered");
    let file = scratch.join("undelivered.ndjson");
    let healthy = Webhook::healthy();
    let hanging = Webhook::start(|number, _| if number == 0 { Take("200 OK") } else { Hang });
    let mut command =
        Relay::command(&["--listen", "127.0.0.1:0", "--undelivered", &file, "--grace", "200ms"]);
    command.args(["--batch", "2", "--to", &healthy.url("/"), "--to", DEAD, "--to", &hanging.url("/")]);
    let relay = Relay::run(&mut command);
    assert_eq!(relay.post(&envelope(&[event("first")])).status, 202);
    wait_until("it is delivered", || hanging.ids() == ["first"]);
    let events = [ONE.to_string(), TWO.to_string(), event("three"), event("four"), event("five")];
    assert_eq!(relay.post(&envelope(&events)).status, 202);
    healthy.wait_for_events(6);
    hanging.wait_for_requests(2);
    assert!(!fs::exists(&file).unwrap(), "there is nothing to write yet");
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "nothing is lost: {ended:?}");

    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let ids_of = |endpoint: &str| {
        let lines = written.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines = lines.filter(|line| line["endpoint"] == endpoint);
        let mut ids: Vec<String> =
            lines.map(|line| line["event"]["id"].as_str().unwrap().to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids_of(&healthy.url("")), [""; 0]);
    assert_eq!(ids_of(DEAD), ["first", "five", "four", "one", "three", "two"].sorted());
    assert_eq!(ids_of(&hanging.url("")), ["five", "four", "one", "three", "two"].sorted(), "in flight, too");
    // As they came in, but on one line each.
    assert!(
        written.contains(r#""event":{"id":"one","action":"push","size":1.50e2,"unheard-of":{"a":[1,2]}}}"#)
    );
    assert!(
        written.contains(
            r#"{"id":"two","action":"pull","big":12345678901234567890123,"action2":"\u00e9 \"x\""}"#
        )
    );
    assert_eq!(written.lines().count(), 11, "{written}");
    let lost: Vec<(u64, u64)> = ended.rows().iter().map(|row| (row.written, row.lost)).collect();
    assert_eq!(lost, [(0, 0), (6, 0), (5, 0)], "{ended:?}");
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl<const N: usize> Sorted for [&str; N] {
    fn sorted(mut self) -> Self {
        self.sort_unstable();
        self
    }
}

#[test]
fn what_is_delivered_leaves_no_file() {
    let scratch = Scratch::new("no-file");
    let file = scratch.join("undelivered.ndjson");
    let webhook = Webhook::healthy();
    let relay = Relay::start(&["--undelivered", &file, "--to", &webhook.url("/")]);
    assert_eq!(relay.post(&envelope(&[ONE])).status, 202);
    assert_eq!(relay.terminate().code, Some(0));
    assert!(!fs::exists(&file).unwrap());
}

#[test]
fn the_file_is_never_somebody_elses_nor_behind_a_link() {
    let scratch = Scratch::new("existing");
    let (file, target) = (scratch.join("undelivered.ndjson"), scratch.join("target"));
    let in_the_way: [(&str, &dyn Fn()); 4] = [
        ("a file", &|| fs::write(&file, "precious").unwrap()),
        ("a link to a file", &|| symlink(&target, &file).unwrap()),
        ("a link to nothing", &|| symlink(scratch.join("nothing"), &file).unwrap()),
        ("a folder", &|| fs::create_dir(&file).unwrap()),
    ];
    for (what, put) in in_the_way {
        // What is there at the start is told at the start, and what comes later, at the end.
        for at_the_start in [true, false] {
            fs::write(&target, "precious").unwrap();
            let mut command = Relay::command(&["--listen", "127.0.0.1:0", "--undelivered", &file]);
            command.args(["--grace", "0s", "--to", DEAD]);
            let ended = if at_the_start {
                put();
                Running::start(&mut command).finish()
            } else {
                let relay = Relay::run(&mut command);
                put();
                assert_eq!(relay.post(&envelope(&[ONE])).status, 202);
                let ended = relay.terminate();
                assert!(
                    ended.stderr.contains(&format!("not delivered to {DEAD}: 1, and not written")),
                    "{ended:?}"
                );
                ended
            };
            assert_eq!(ended.code, Some(1), "{what}: {ended:?}");
            assert!(ended.stderr.contains("move it away, or name another file"), "{what}: {ended:?}");
            assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
            assert!(!fs::exists(scratch.join("nothing")).unwrap());
            match what {
                "a file" => assert_eq!(fs::read_to_string(&file).unwrap(), "precious"),
                "a folder" => fs::remove_dir(&file).unwrap(),
                _ => assert!(fs::symlink_metadata(&file).unwrap().is_symlink()),
            }
            let _ = fs::remove_file(&file);
        }
    }
    let nowhere = scratch.join("nowhere/undelivered.ndjson");
    let ended = Running::start(&mut Relay::command(&["--undelivered", &nowhere, "--to", DEAD])).finish();
    assert_eq!(ended.code, Some(1), "it is told at the start: {ended:?}");
}

#[test]
fn a_file_that_was_moved_away_or_removed_is_made_anew() {
    let scratch = Scratch::new("moved");
    let (file, moved) = (scratch.join("undelivered.ndjson"), scratch.join("undelivered.ndjson.1"));
    let webhook = Webhook::start(|_, _| Refuse("422 Unprocessable Content"));
    let relay = Relay::start(&["--undelivered", &file, "--grace", "100ms", "--to", &webhook.url("/")]);
    let post = |id: &str| assert_eq!(relay.post(&envelope(&[event(id)])).status, 202);
    let is_written = |id: &str| {
        post(id);
        let holds = || fs::exists(&file).unwrap() && ids_in(&file).iter().any(|written| written == id);
        wait_until(&format!("{id} is written"), holds);
    };
    ["a", "b"].iter().for_each(|id| is_written(id));
    fs::rename(&file, &moved).unwrap();
    is_written("c");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_file(&file).unwrap();
    is_written("d");
    assert_eq!(ids_in(&file), ["d"]);
    assert_eq!(ids_in(&moved), ["a", "b"]);

    // What stands there now is somebody else's.
    fs::rename(&file, &moved).unwrap();
    fs::write(&file, "precious").unwrap();
    post("e");
    webhook.wait_for_requests(5);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("1, and not written: the file that is there is none"), "{ended:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(ids_in(&moved), ["d"]);
}

/// Each line is there when the file is removed, or in the one that is made next.
#[test]
fn no_line_goes_into_a_file_that_is_removed_meanwhile() {
    const LINES: usize = 3000;
    let scratch = Scratch::new("removed");
    let file = scratch.join("undelivered.ndjson");
    let undelivered = Undelivered::at(file.as_ref()).unwrap().0;
    let mut ids: HashSet<String> = HashSet::new();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let write = |id: usize| undelivered.write("endpoint", "reason", &one(&id.to_string()));
            (0..LINES).for_each(|id| write(id).unwrap());
        });
        while !writer.is_finished() {
            let Ok(mut removed) = fs::File::open(&file) else { continue };
            fs::remove_file(&file).unwrap();
            let mut text = String::new();
            removed.read_to_string(&mut text).unwrap();
            // The last may just be on its way.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            ids.extend(whole.lines().map(id_of_line));
        }
    });
    if fs::exists(&file).unwrap() {
        ids.extend(ids_in(&file));
    }
    let missing: Vec<usize> = (0..LINES).filter(|id| !ids.contains(&id.to_string())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_line_that_does_not_fit_leaves_nothing_behind() {
    let scratch = Scratch::new("disk-full");
    let file = scratch.join("undelivered.ndjson");
    let webhook = Webhook::start(|_, _| Refuse("422 Unprocessable Content"));
    let relay = with_short_files(&["--undelivered", &file, "--grace", "0s", "--to", &webhook.url("/")]);
    assert_eq!(relay.post(&envelope(&[event("fits")])).status, 202);
    wait_until("it is written", || fs::exists(&file).unwrap() && ids_in(&file) == ["fits"]);
    let large = format!(r#"{{"id":"large","action":"push","padding":"{}"}}"#, "x".repeat(10_000));
    assert_eq!(relay.post(&envelope(&[large, event("behind")])).status, 202);
    wait_until("it is refused alone", || webhook.all().last().unwrap().events().len() == 1);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("not written: File too large"), "{ended:?}");
    assert_eq!(ids_in(&file), ["fits", "behind"], "whole lines, whatever did not fit between them");
    assert_eq!((ended.rows()[0].written, ended.rows()[0].lost), (2, 1), "{ended:?}");
}

/// No file of this relay can be longer than a few KiB, as if the disk were full.
fn with_short_files(args: &[&str]) -> Relay {
    let relay = Relay::command(&[&["--listen", "127.0.0.1:0"], args].concat());
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\""]);
    command.arg(relay.get_program()).args(relay.get_args());
    relay.get_envs().for_each(|(name, _)| _ = command.env_remove(name));
    Relay::run(&mut command)
}

#[test]
fn no_line_goes_behind_one_that_could_not_be_cut_off() {
    /// Takes `room` bytes, and can be cut off when it is `whole`.
    #[derive(Default)]
    struct Failing {
        bytes: Vec<u8>,
        room: usize,
        whole: Cell<bool>,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room - self.bytes.len());
            self.bytes.extend(&bytes[..taken]);
            if taken == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Cuttable for &mut Failing {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.whole.get() {
                return Err(ErrorKind::ReadOnlyFilesystem.into());
            }
            self.bytes.truncate(length.try_into().unwrap());
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut file = Failing { room: 10, ..Failing::default() };
    let mut lines = Lines::new(&mut file);
    lines.write(&[b"one\n"]).unwrap();
    assert_eq!(lines.write(&[b"too long\n"]).unwrap_err().kind(), ErrorKind::StorageFull);
    for _ in 0..2 {
        assert_eq!(lines.write(&[b"two\n"]).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        assert_eq!(lines.sync().unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem, "its end is no line");
    }
    lines.file().whole.set(true);
    lines.write(&[b"three\n"]).unwrap();
    lines.sync().unwrap();
    assert_eq!(file.bytes, b"one\nthree\n");
}

#[test]
fn without_a_file_what_was_not_delivered_is_the_exit_status() {
    let relay = Relay::start(&["--grace", "0s", "--to", DEAD]);
    assert_eq!(relay.post(&envelope(&["a", "b"].map(event))).status, 202);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&format!("not delivered to {DEAD}: 2")), "{ended:?}");
    assert_eq!(ended.rows()[0].lost, 2, "{ended:?}");
}

#[test]
fn an_event_that_is_refused_for_good_blocks_no_other() {
    let scratch = Scratch::new("refused");
    let file = scratch.join("undelivered.ndjson");
    // Refuses whatever has the poisoned event in it; the first hangs, so that the others wait and go out
    // together.
    let webhook = Webhook::start(|number, request| match number {
        0 => Hang,
        _ if request.body.contains("poisoned") => Refuse("422 Unprocessable Content"),
        _ => Take("200 OK"),
    });
    let args = ["--undelivered", &file, "--backoff", "1ms", "--to", &webhook.url("/")];
    let relay = Relay::start(&args);
    assert_eq!(relay.post(&envelope(&[event("first")])).status, 202);
    webhook.wait_for_requests(1);
    assert_eq!(relay.post(&envelope(&["a", "poisoned", "b"].map(event))).status, 202);
    webhook.release();
    webhook.wait_for_events(3);
    assert_eq!(webhook.ids(), ["first", "a", "b"]);
    assert_eq!(relay.post(&envelope(&[event("poisoned-too")])).status, 202);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "what is written is not lost: {ended:?}");

    let written = fs::read_to_string(&file).unwrap();
    let line = |id: &str| {
        let (url, event) = (webhook.url(""), event(id));
        format!("{{\"endpoint\":\"{url}\",\"reason\":\"{url} answered 422\",\"event\":{event}}}\n")
    };
    assert_eq!(written, line("poisoned") + &line("poisoned-too"));
    let rows = ended.rows();
    assert_eq!((rows[0].delivered, rows[0].refused, rows[0].written), (3, 2, 2), "{ended:?}");
}

#[test]
fn an_endpoint_that_refuses_a_batch_and_asks_for_time_gets_it() {
    let scratch = Scratch::new("retry-after");
    let file = scratch.join("undelivered.ndjson");
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let webhook = Webhook::start(move |number, request| {
        seen.lock().unwrap().push((Instant::now(), request.events().len()));
        match number {
            0 => Hang,
            _ if request.events().len() > 1 => Refuse("413 Content Too Large\r\nretry-after: 1"),
            _ => Take("200 OK"),
        }
    });
    let relay = Relay::start(&["--undelivered", &file, "--backoff", "1ms", "--to", &webhook.url("/")]);
    assert_eq!(relay.post(&envelope(&[event("first")])).status, 202);
    webhook.wait_for_requests(1);
    assert_eq!(relay.post(&envelope(&["a", "b"].map(event))).status, 202);
    webhook.release();
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(webhook.ids(), ["first", "a", "b"]);

    let times = times.lock().unwrap();
    let refused = times.iter().position(|(_, events)| *events == 2).unwrap();
    let waited = times[refused + 1].0 - times[refused].0;
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
}

#[test]
fn of_a_batch_that_is_delivered_one_by_one_each_event_is_accounted_for_once() {
    let scratch = Scratch::new("one-by-one");
    let file = scratch.join("undelivered.ndjson");
    let webhook = Webhook::start(|number, request| match number {
        0 => Hang,
        _ if request.events().len() > 1 || request.body.contains("poisoned") => {
            Refuse("422 Unprocessable Content")
        }
        _ if request.body.contains("hang") => {
            // For longer than the grace, but not for ever: the write may come back while it is given up.
            thread::sleep(Duration::from_millis(300));
            Cut
        }
        _ => Take("200 OK"),
    });
    let args = ["--undelivered", &file, "--backoff", "1ms", "--grace", "1ms", "--to", &webhook.url("/")];
    let relay = Relay::start(&args);
    assert_eq!(relay.post(&envelope(&[event("first")])).status, 202);
    webhook.wait_for_requests(1);
    let batch = ["a", "poisoned-1", "b", "poisoned-2", "hang", "behind"];
    assert_eq!(relay.post(&envelope(&batch.map(event))).status, 202);
    webhook.release();
    wait_until("it hangs", || webhook.all().last().unwrap().events() == [event("hang")]);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");

    assert_eq!(webhook.ids(), ["first", "a", "b"]);
    assert_eq!(ids_in(&file), ["poisoned-1", "poisoned-2", "hang", "behind"]);
    let [row] = &ended.rows()[..] else { panic!("{ended:?}") };
    assert_eq!(
        (row.accepted, row.delivered, row.refused, row.written, row.lost),
        (7, 3, 2, 4, 0),
        "{ended:?}"
    );
}

#[test]
fn without_a_file_an_event_that_is_refused_is_tried_again() {
    let webhook =
        Webhook::start(|number, _| if number < 3 { Refuse("404 Not Found") } else { Take("200 OK") });
    let relay = Relay::start(&["--backoff", "1ms", "--to", &webhook.url("/")]);
    assert_eq!(relay.post(&envelope(&[event("a")])).status, 202);
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(webhook.ids(), ["a"]);
}

#[test]
fn what_is_refused_and_cannot_be_written_down_is_tried_again() {
    let scratch = Scratch::new("no-disk");
    let file = scratch.join("undelivered.ndjson");
    let webhook = Webhook::start(|_, _| Refuse("422 Unprocessable Content"));
    let relay = Relay::start(&["--undelivered", &file, "--to", &webhook.url("/")]);
    fs::write(&file, "in the way").unwrap();
    assert_eq!(relay.post(&envelope(&[event("a")])).status, 202);
    webhook.wait_for_requests(2);
    fs::remove_file(&file).unwrap();
    wait_until("it is written", || {
        fs::read_to_string(&file).is_ok_and(|written| written.contains(r#""id":"a""#))
    });
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((ended.rows()[0].refused, ended.rows()[0].lost), (1, 0), "{ended:?}");
}

#[test]
fn sigterm_stops_listening_and_drains() {
    // Slow, so that most of it is still to be delivered.
    let webhook = Webhook::start(|_, _| {
        thread::sleep(Duration::from_millis(5));
        Take("200 OK")
    });
    let mut relay = Relay::start(&["--batch", "1", "--grace", "1m", "--to", &webhook.url("/")]);
    let ids: Vec<String> = (0..100).map(|id| id.to_string()).collect();
    let events: Vec<String> = ids.iter().map(|id| event(id)).collect();
    let mut connected = relay.client();
    assert_eq!(connected.post(&[], envelope(&events).as_bytes()).status, 202);
    // One is in the middle of a request.
    let late = envelope(&[event("late")]);
    let head = format!("POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {MEDIA_TYPE}\r\n");
    let mut sending = relay.client();
    sending.stream.write_all(format!("{head}content-length: {}\r\n\r\n", late.len()).as_bytes()).unwrap();
    assert_eq!(relay.get("/healthz").status, 200, "so that its head has been read");

    relay.process.signal("TERM");
    relay.process.wait_for_stderr("stopping").unwrap();
    assert!(connected.answer().is_none(), "who idles is let go");
    wait_until("nobody listens", || TcpStream::connect(relay.address).is_err());
    sending.stream.write_all(late.as_bytes()).unwrap();
    if let Some(answer) = sending.answer() {
        assert_eq!(answer.status, 503, "it is told to come again");
    }
    let ended = relay.process.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(webhook.ids(), ids);
}

#[test]
fn a_second_signal_ends_the_grace() {
    let scratch = Scratch::new("second");
    let file = scratch.join("undelivered.ndjson");
    let mut relay = Relay::start(&["--undelivered", &file, "--grace", "1h", "--to", DEAD]);
    assert_eq!(relay.post(&envelope(&[ONE])).status, 202);
    relay.process.signal("INT");
    relay.process.wait_for_stderr("stopping").unwrap();
    relay.process.signal("TERM");
    let ended = relay.process.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(fs::read_to_string(&file).unwrap().contains(r#""id":"one""#));
}

#[test]
fn everything_is_signed_with_each_of_the_secrets() {
    let secrets =
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];
    let webhook = Webhook::start(|number, _| if number == 0 { Cut } else { Take("200 OK") });
    let mut command =
        Relay::command(&["--listen", "127.0.0.1:0", "--backoff", "1ms", "--to", &webhook.url("/")]);
    let relay = Relay::run(command.env("REGISTRY_RELAY_SIGNING_SECRETS", secrets.join(" ")));
    assert_eq!(relay.post(&envelope(&[ONE])).status, 202);
    webhook.wait_for_events(1);
    assert_eq!(relay.post(&envelope(&[TWO])).status, 202);
    assert_eq!(relay.terminate().code, Some(0));
    let requests = webhook.all();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        secrets.iter().for_each(|secret| request.assert_signed_with(secret));
    }
    let id = |number: usize| requests[number].header("webhook-id");
    assert_eq!(
        [id(0), id(1), id(2)],
        [Some("one"), Some("one"), Some("two")],
        "the same when it is sent again"
    );
}

#[test]
fn what_cannot_work_is_refused_at_the_start_and_no_secret_is_shown() {
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = Relay::command(args);
        env.iter().for_each(|(name, value)| _ = command.env(name, value));
        let ended = Running::start(&mut command).finish();
        assert!(!format!("{ended:?}").contains(PLANTED), "{ended:?}");
        ended
    };
    for args in [
        &[][..],
        &["--to"],
        &["http://127.0.0.1:1/s3cr3t"],
        &["--to", DEAD, "http://127.0.0.1:1/s3cr3t"],
        &["--to", DEAD, "https:/hooks.example/s3cr3t"],
        &["--to", DEAD, "HTTP:hooks.example/s3cr3t"],
        &["--to", DEAD, "--undelivered", "https:/hooks.example/s3cr3t"],
        &["--to", DEAD, "--undelivered=https://hooks.example/s3cr3t"],
        &["--to", DEAD, "--too=https:/hooks.example/s3cr3t"],
        &["--to", DEAD, "--listen", "http://127.0.0.1:1/s3cr3t"],
        &["--to", DEAD, "--listen", "localhost"],
        &["--to", DEAD, "--only", ""],
        &["--to", DEAD, "--repository", "a**"],
        &["--to", DEAD, "--backlog", "0"],
        &["--to", DEAD, "--batch", "0"],
        &["--to", DEAD, "--max-body", "0"],
        &["--to", DEAD, "--max-connections", "0"],
        &["--to", DEAD, "--client-timeout", "0s"],
        &["--to", DEAD, "--timeout", "2h"],
        &["--to", DEAD, "--when-full", "block"],
        &["--to", DEAD, "--self-test"],
    ] {
        assert_eq!(run(args, &[]).code, Some(2), "{args:?}");
    }
    for (option, most) in [
        ("--backlog", "10000000"),
        ("--batch", "10000000"),
        ("--max-body", "1073741824"),
        ("--max-connections", "100000"),
    ] {
        for number in [&format!("{most}0"), "1000000000000", "9223372036854775807", "18446744073709551615"] {
            let ended = run(&["--to", DEAD, option, number], &[]);
            assert_eq!(ended.code, Some(2), "{option} {number}: {ended:?}");
            let said = format!("{number} is not in 1..={most}");
            assert!(ended.stderr.contains(&said), "{option} {number}: {ended:?}");
        }
        // The most that there can be is no promise that is broken later.
        let relay = Relay::start(&["--to", DEAD, "--grace", "0s", option, most]);
        let good = envelope(&[event("a")]);
        assert_eq!(
            relay.client().post(&["content-encoding: gzip"], &gzip(good.as_bytes())).status,
            202,
            "{option}"
        );
        assert_eq!(relay.post(&good).status, 202, "{option}");
        assert_eq!(relay.terminate().rows()[0].lost, 2, "{option}");
    }
    for (url, reason) in [
        ("s3cr3t", "it does not begin with http:// or https://"),
        ("ftp://127.0.0.1/s3cr3t", "its scheme is neither http nor https"),
        ("http://s3cr3t@:80/", "it has no host"),
        ("http://127.0.0.1:0/s3cr3t", "its port is not between 1 and 65535"),
        ("http://[::1]8080/s3cr3t", "what follows its host is no port"),
        ("http://s3cr3t:s3cr3t@192.0.2.1/s3cr3t", "in the open"),
    ] {
        let ended = run(&["--listen", "127.0.0.1:0", "--to", "http://127.0.0.1:1/s3cr3t", "--to", url], &[]);
        assert_eq!(ended.code, Some(1), "{url}: {ended:?}");
        assert!(ended.stderr.contains(reason), "{url}: {ended:?}");
    }
    for secrets in
        ["s3cr3t", "whsec_s3cr3t", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_s3cr3t-s3cr3t-s3cr3t-s3cr3t"]
    {
        let ended =
            run(&["--listen", "127.0.0.1:0", "--to", DEAD], &[("REGISTRY_RELAY_SIGNING_SECRETS", secrets)]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("signing secret"), "{ended:?}");
    }
    let ended = run(&["--to", DEAD], &[("REGISTRY_RELAY_TOKEN", "s3cr3t s3cr3t")]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = run(&["--listen", &taken.local_addr().unwrap().to_string(), "--to", DEAD], &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("--listen 127.0.0.1"), "{ended:?}");
}

#[test]
fn no_secret_is_shown_whatever_happens() {
    const SIGNING: &str = "whsec_czNjcjN0czNjcjN0czNjcjN0czNjcjN0czNjcjN0";
    let scratch = Scratch::new("secrets");
    let file = scratch.join("undelivered.ndjson");
    let failing = Webhook::start(|_, _| Refuse("500 Internal Server Error"));
    let refusing = Webhook::start(|_, _| Refuse("302 Found\r\nlocation: http://elsewhere.example/s3cr3t"));
    let plain = Webhook::healthy();
    let urls = [
        failing.url("/s3cr3t?s3cr3t#s3cr3t").replace("//", "//s3cr3t:s3cr3t@"),
        refusing.url("/s3cr3t"),
        format!("{DEAD}/s3cr3t?token=s3cr3t"),
        plain.url("/s3cr3t").replace("http:", "https:"),
    ];
    let mut command =
        Relay::command(&["--listen", "127.0.0.1:0", "--undelivered", &file, "--grace", "100ms"]);
    urls.iter().for_each(|url| _ = command.args(["--to", url]));
    command.env("REGISTRY_RELAY_TOKEN", PLANTED).env("REGISTRY_RELAY_SIGNING_SECRETS", SIGNING);
    let relay = Relay::run(&mut command);
    let mut shown = String::new();
    let bearer = format!("authorization: Bearer {PLANTED}");
    for headers in [&["authorization: Bearer s3cr3t-not"][..], &[&bearer]] {
        for body in [envelope(&[ONE]), "no envelope".to_string()] {
            let answer = relay.client().post(headers, body.as_bytes());
            shown += &format!("{answer:?}");
        }
    }
    failing.wait_for_requests(1);
    refusing.wait_for_requests(1);
    let metrics =
        relay.client().request(&format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\n{bearer}\r\n\r\n"), b"");
    assert_eq!(metrics.status, 200);
    shown += &format!("{metrics:?}{:?}", relay.get("/healthz"));
    let ended = relay.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    shown += &format!("{ended:?}{}", fs::read_to_string(&file).unwrap());

    // It did happen.
    for said in
        ["answered 500", "answered 302", "elsewhere.example", DEAD, "Bearer", "outflow_queue_accepted_total"]
    {
        assert!(shown.contains(said), "{said:?} is not in {shown}");
    }
    for secret in [PLANTED, SIGNING, "czNjcjN0"] {
        assert!(!shown.contains(secret), "{secret:?} is in {shown}");
    }
}

#[test]
fn metrics_say_where_every_event_is() {
    let healthy = Webhook::healthy();
    let relay = Relay::start(&["--to", &healthy.url("/"), "--to", DEAD]);
    assert_eq!(relay.post(&envelope(&["a", "b", "c"].map(event))).status, 202);
    assert_eq!(relay.post("no envelope").status, 400);
    let of_queue = |name: &str, endpoint: &str| format!("outflow_queue_{name}{{queue=\"{endpoint}\"}}");
    let of_posts = |name: &str, endpoint: &str| format!("outflow_{name}{{sink=\"{endpoint}\"}}");
    relay.wait_for_metric(&of_queue("delivered_total", &healthy.url("")), 3);
    for (name, endpoint, value) in [
        ("accepted_total", &*healthy.url(""), 3),
        ("pending", &healthy.url(""), 0),
        ("in_flight", &healthy.url(""), 0),
        ("accepted_total", DEAD, 3),
        ("delivered_total", DEAD, 0),
        ("dropped_total", DEAD, 0),
    ] {
        assert_eq!(relay.metric(&of_queue(name, endpoint)), Some(value), "{name} of {endpoint}");
    }
    let waiting = relay.metric(&of_queue("pending", DEAD)).zip(relay.metric(&of_queue("in_flight", DEAD)));
    assert_eq!(waiting.map(|(pending, in_flight)| pending + in_flight), Some(3));
    assert_eq!(relay.metric(&of_posts("failures_total", &healthy.url(""))), Some(0));
    assert!(relay.metric(&of_posts("failures_total", DEAD)) > Some(0));
    assert!(relay.metric(&of_posts("retries_total", DEAD)) > Some(0));
    let answered = format!(
        "outflow_delivery_duration_seconds_count{{sink=\"{}\",outcome=\"success\"}}",
        healthy.url("")
    );
    assert_eq!(relay.metric(&answered), relay.metric(&of_posts("successes_total", &healthy.url(""))));
    assert_eq!(relay.metric("registry_relay_answers_total{status=\"202\"}"), Some(1));
    assert_eq!(relay.metric("registry_relay_answers_total{status=\"400\"}"), Some(1));
    assert_eq!(
        relay.get("/metrics").header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
}

#[test]
fn what_a_queue_leaves_that_ends_by_a_panic_is_written_and_not_dropped() {
    let scratch = Scratch::new("panic");
    for file in [Some(scratch.join("undelivered.ndjson")), None] {
        let undelivered = file.as_ref().map(|file| Undelivered::at(file.as_ref()).unwrap().0);
        let books = Arc::new(Books::new("endpoint".to_string(), undelivered.as_ref(), false));
        let (go_on, told) = mpsc::channel();
        let told = Mutex::new(told);
        let post = sink::for_each(move |events: Vec<Event>| {
            told.lock().unwrap().recv().unwrap();
            if events[0].id == "bad" {
                panic::resume_unwind(Box::new("planned"));
            }
        });
        let buffer = Buffer::bounded(3).drop_oldest().spill(Spill::new(&books));
        let queue = Held::new(Counted::new(post, &books), &books).batched_with(Batch::of(1), buffer);
        write(&queue, "delivered");
        wait_until("it is being posted", || queue.stats().in_flight == 1 && queue.is_empty());
        ["evicted", "bad", "behind-1", "behind-2"].iter().for_each(|id| write(&queue, id));
        (0..2).for_each(|_| go_on.send(()).unwrap());
        wait_until("it has ended", || queue.is_closed());

        let error = queue.close().wait().unwrap_err();
        assert!(!is_out_of_time(&error), "{error:?}");
        assert!(books.are_balanced(queue.stats().accepted), "{:?}", books.account());
        let (written, lost) = if file.is_some() { (3, 0) } else { (0, 3) };
        assert_eq!(books.account(), Account { delivered: 1, refused: 0, dropped: 1, written, lost });
        if let Some(file) = file {
            assert_eq!(ids_in(&file), ["bad", "behind-1", "behind-2"]);
        }
    }
}

#[test]
fn what_was_taken_from_a_write_is_not_written_again_when_the_write_comes_back() {
    let scratch = Scratch::new("taken");
    let file = scratch.join("undelivered.ndjson");
    let undelivered = Undelivered::at(file.as_ref()).unwrap().0;
    let books = Arc::new(Books::new("endpoint".to_string(), Some(&undelivered), false));
    let (go_on, told) = mpsc::channel();
    let told = Mutex::new(told);
    let post = sink::from_fn(move |_: &Vec<Event>| told.lock().unwrap().recv().unwrap());
    let post = Counted::new(post, &books).retry(Constant::new(Duration::ZERO));
    let buffer = Buffer::bounded(10).spill(Spill::new(&books));
    let queue = Held::new(post, &books).batched_with(Batch::of(2), buffer);
    write(&queue, "first");
    wait_until("it is being posted", || queue.stats().in_flight == 1 && queue.is_empty());
    ["a", "b", "c"].iter().for_each(|id| write(&queue, id));
    go_on.send(Ok(())).unwrap();
    wait_until("they are being posted", || queue.len() == 1);

    books.end();
    let error = queue.close().abort().unwrap_err();
    assert!(is_out_of_time(&error), "{error:?}");
    assert!(!books.are_balanced(4), "two are in hand: {:?}", books.account());
    books.leave_in_hand("nobody waits");
    assert!(books.are_balanced(4), "{:?}", books.account());
    go_on.send(Err("too late")).unwrap();
    wait_until("they have come back", || queue.stats().in_flight == 0);
    assert_eq!(ids_in(&file), ["c", "a", "b"]);
    assert_eq!(books.account(), Account { delivered: 1, refused: 0, dropped: 0, written: 3, lost: 0 });
    books.balance(5);
    assert_eq!(books.account().lost, 1, "one that nobody has accounted for");
}

fn write(queue: &impl Sink<Event, Error = Infallible>, id: &str) {
    queue.write(one(id)).unwrap();
}

fn one(id: &str) -> Event {
    envelope::parse(&envelope(&[event(id)])).unwrap().remove(0)
}

#[test]
fn its_own_test_passes() {
    let ended = Running::start(&mut Relay::command(&["--self-test"])).finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.matches(": all 251 events arrived, in order").count(), 2, "{ended:?}");
}

/// The ids of the events in a file of what was not delivered.
fn ids_in(file: &str) -> Vec<String> {
    let written = fs::read_to_string(file).unwrap();
    written.lines().map(id_of_line).collect()
}

fn id_of_line(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    line["event"]["id"].as_str().unwrap().to_string()
}

/// What `books` says goes nowhere here.
fn say(_message: impl std::fmt::Display) {}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    for chunk in body.chunks(100) {
        write!(chunks, "{:x}\r\n", chunk.len()).unwrap();
        chunks.extend(chunk);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\n\r\n");
    chunks
}

/// Bytes of memory, as Linux counts them for a process.
fn memory(process: &Running, what: &str) -> u64 {
    let mut status = String::new();
    let mut file = fs::File::open(format!("/proc/{}/status", process.id())).unwrap();
    file.read_to_string(&mut status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
