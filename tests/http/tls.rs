//! TLS: connections only to endpoints of a trusted authority, and within the same timeout.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use outflow::Sink;
use outflow::http::{BuildError, HttpError, HttpSink, HttpSinkBuilder, TransportFailure};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::BuildFace;
use crate::common::in_time;
use crate::server::{Request, Server, empty, in_a_process_of_its_own, report};

/// A certificate and its key, in PEM.
struct Identity {
    certificate: String,
    key: String,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    fn issue_to(&self, name: &str) -> Identity {
        self.issue(&CertificateParams::new([name.to_string()]).unwrap())
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The configuration of a server that presents `identity`, and asks for a certificate of `clients` if that is given.
fn server_config(identity: &Identity, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

pub(crate) type Tls = StreamOwned<ServerConnection, TcpStream>;

fn serving<F>(config: Arc<ServerConfig>, f: F) -> Server
where
    F: Fn(Tls) + Send + Sync + 'static,
{
    Server::raw(move |stream, _| {
        f(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream))
    })
}

fn accepting(config: Arc<ServerConfig>) -> Server {
    serving(config, |mut stream| {
        while let Ok(Some(_)) = Request::read(&mut stream) {
            stream.write_all(empty("200 OK").as_bytes()).unwrap();
        }
    })
}

fn post(server: &Server) -> HttpSinkBuilder<String> {
    HttpSink::post(format!("https://{}/", server.address)).bearer("s3cr3t")
}

/// An encrypted endpoint that does what a test wants, and a builder of a sink for it.
pub(crate) fn encrypted<F>(f: F) -> (Server, HttpSinkBuilder<String>)
where
    F: Fn(Tls) + Send + Sync + 'static,
{
    let authority = Authority::new("ours");
    let server = serving(server_config(&authority.issue_to("127.0.0.1"), None), f);
    let builder = post(&server).root_certificate(authority.certificate);
    (server, builder)
}

fn refused(builder: HttpSinkBuilder<String>) -> (TransportFailure, String) {
    match builder.build_face().unwrap().write("event".to_string()).unwrap_err().error().unwrap() {
        error @ HttpError::Transport { failure, .. } => (*failure, error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn delivers_to_an_endpoint_of_an_authority_that_is_trusted() {
    let authority = Authority::new("ours");
    let server = accepting(server_config(&authority.issue_to("127.0.0.1"), None));
    let other = Authority::new("another");
    // Several authorities, in one PEM or in several, are all trusted.
    let both = format!("{}{}", other.certificate, authority.certificate);
    for builder in [
        post(&server).root_certificate(authority.certificate.clone()),
        post(&server).root_certificate(other.certificate).root_certificate(authority.certificate.clone()),
        post(&server).root_certificate(both),
    ] {
        let before = server.connections();
        let sink = builder.build_face().unwrap();
        for _ in 0..3 {
            sink.write("event".to_string()).unwrap();
        }
        assert_eq!(server.connections() - before, 1);
    }
}

#[test]
fn no_other_authority_is_trusted() {
    let authority = Authority::new("ours");
    let server = accepting(server_config(&authority.issue_to("127.0.0.1"), None));
    let trusting = |authority: Authority| post(&server).root_certificate(authority.certificate);
    for (builder, reason) in [
        (post(&server), "not of an authority that is trusted here"),
        (trusting(Authority::new("another")), "not of an authority that is trusted here"),
        // An authority that only has the same name.
        (trusting(Authority::new("ours")), "not signed by the authority"),
    ] {
        let (failure, text) = refused(builder);
        assert_eq!(failure, TransportFailure::Tls);
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_certificate_for_another_host_time_or_purpose_is_refused() {
    let authority = Authority::new("ours");
    let mut expired = CertificateParams::new(["127.0.0.1".to_string()]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let mut clients = CertificateParams::new(["127.0.0.1".to_string()]).unwrap();
    clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (identity, reason) in [
        (authority.issue_to("other.example"), "for another host"),
        (authority.issue(&expired), "expired"),
        (authority.issue(&clients), "not one for a server"),
    ] {
        let server = accepting(server_config(&identity, None));
        let (failure, text) = refused(post(&server).root_certificate(authority.certificate.clone()));
        assert_eq!(failure, TransportFailure::Tls);
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn sends_a_client_certificate_to_an_endpoint_that_asks_for_one() {
    let authority = Authority::new("ours");
    let config = server_config(&authority.issue_to("127.0.0.1"), Some(&authority));
    let server = accepting(config);
    let client = authority.issue_to("client.example");
    let trusting = || post(&server).root_certificate(authority.certificate.clone());

    let sink =
        trusting().client_certificate(client.certificate.clone(), client.key.clone()).build_face().unwrap();
    sink.write("event".to_string()).unwrap();
    let (failure, text) = refused(trusting());
    assert_eq!(failure, TransportFailure::Tls, "{text}");
    assert!(
        text.contains("the endpoint wants a client certificate: give it with `client_certificate`"),
        "{text}"
    );
    let stranger = Authority::new("another").issue_to("client.example");
    let (failure, text) = refused(trusting().client_certificate(stranger.certificate, stranger.key));
    assert_eq!(failure, TransportFailure::Tls, "{text}");
    assert!(text.contains("the endpoint does not accept the client certificate"), "{text}");

    // A key that does not belong to the certificate is found when the sink is built.
    let other = authority.issue_to("client.example");
    let mixed = trusting().client_certificate(client.certificate, other.key).build_face().unwrap_err();
    assert!(matches!(mixed, BuildError::ClientCertificate(_)), "{mixed}");
}

/// An endpoint that sends these bytes when a handshake begins.
fn saying(bytes: Vec<u8>) -> Server {
    Server::raw(move |mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0; 4096]);
    })
}

#[test]
fn the_error_says_that_an_endpoint_speaks_no_tls_or_an_old_version() {
    // The alerts of `openssl s_server -tls1`, and of a server that has no cipher in common.
    let protocol_version = vec![0x15, 3, 3, 0, 2, 2, 70];
    let handshake_failure = vec![0x15, 3, 3, 0, 2, 2, 40];
    // A server that proceeds with TLS 1.0, as old ones do.
    let mut server_hello = vec![0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    server_hello.extend([7; 32]);
    server_hello.extend([0, 0, 0x2f, 0]);
    let plain = empty("400 Bad Request").into_bytes();
    for (bytes, reason) in [
        (protocol_version, "the endpoint speaks neither TLS 1.2 nor TLS 1.3"),
        (server_hello, "the endpoint speaks neither TLS 1.2 nor TLS 1.3"),
        (
            handshake_failure,
            "it has no way to encrypt in common with this client, or wants a client certificate",
        ),
        (plain, "what came back is not TLS, as where a plain http server listens on that port"),
    ] {
        let (failure, text) = refused(post(&saying(bytes)));
        assert_eq!(failure, TransportFailure::Tls, "{text}");
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn the_error_for_a_certificate_as_openssl_makes_it_by_default_says_that_it_is_an_authoritys() {
    let mut params = CertificateParams::new(["127.0.0.1".to_string()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let identity = Identity { certificate: certificate.clone(), key: key.serialize_pem() };
    let server = accepting(server_config(&identity, None));
    let (failure, text) = refused(post(&server).root_certificate(certificate));
    assert_eq!(failure, TransportFailure::Tls);
    assert!(text.contains("as `openssl req -x509` makes it") && text.contains("CA:FALSE"), "{text}");

    // Such a certificate has no name either.
    let authority = Authority::new("ours");
    let nameless = authority.issue(&CertificateParams::default());
    let server = accepting(server_config(&nameless, None));
    let (failure, text) = refused(post(&server).root_certificate(authority.certificate));
    assert_eq!(failure, TransportFailure::Tls);
    assert!(text.contains("the certificate names no host: a subjectAltName has to"), "{text}");
}

#[test]
fn ones_own_root_is_trusted_beside_the_public_ones() {
    let (_server, builder) = encrypted(|mut stream| {
        let _ = Request::read(&mut stream);
        stream.write_all(empty("200 OK").as_bytes()).unwrap();
    });
    builder.public_roots().build_face().unwrap().write("event".to_string()).unwrap();
}

#[test]
fn the_systems_roots_are_trusted_if_that_is_asked_for() {
    let authority = Authority::new("ours");
    let server = accepting(server_config(&authority.issue_to("127.0.0.1"), None));
    let roots = concat!(env!("CARGO_TARGET_TMPDIR"), "/http-system-roots.pem");
    std::fs::write(roots, authority.certificate).unwrap();
    let url = format!("https://{}/", server.address);
    let outcome = |roots| {
        in_a_process_of_its_own(
            concat!(module_path!(), "::writes_to_an_endpoint_of_the_systems_roots"),
            &[("OUTFLOW_TEST_SYSTEM", &url), ("SSL_CERT_FILE", roots), ("SSL_CERT_DIR", "")],
        )
    };
    assert_eq!(outcome(roots), "Ok(()), not by default");
    let none = outcome("/dev/null");
    assert_eq!(none, "the roots of the operating system cannot be used: it has none that can be read");
}

#[test]
fn writes_to_an_endpoint_of_the_systems_roots() {
    let Ok(url) = std::env::var("OUTFLOW_TEST_SYSTEM") else { return };
    let write = |builder: HttpSinkBuilder<&'static str>| builder.build_face().map(|sink| sink.write("event"));
    let by_default = write(HttpSink::post(url.as_str())).unwrap();
    assert!(matches!(
        by_default.unwrap_err().error(),
        Some(HttpError::Transport { failure: TransportFailure::Tls, .. })
    ));
    match write(HttpSink::post(url).system_roots()) {
        Ok(outcome) => report(&format!("{outcome:?}, not by default")),
        Err(error) => report(&error.to_string()),
    }
}

const TIMEOUT: Duration = Duration::from_millis(400);
const SLACK: Duration = Duration::from_secs(3);

fn times_out(builder: HttpSinkBuilder<String>) {
    let sink = builder.timeout(TIMEOUT).build_face().unwrap();
    let (refused, took) = in_time("the write", move || {
        let begun = Instant::now();
        (sink.write("event".to_string()).unwrap_err(), begun.elapsed())
    });
    assert!(matches!(refused.error(), Some(HttpError::Timeout { .. })), "{refused:?}");
    assert!(took >= TIMEOUT && took < TIMEOUT + SLACK, "{took:?}");
}

#[test]
fn a_handshake_that_stalls_or_drips_does_not_outlast_the_time() {
    let silent = Server::raw(|mut stream, _| {
        // Until the client closes the connection.
        while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    });
    times_out(post(&silent));

    let dripping = Server::raw(|mut stream, _| {
        let _ = stream.read(&mut [0; 1024]);
        // The head of a handshake record of 16 KiB, and then its content.
        for byte in [0x16, 3, 3, 0x3f, 0xff].into_iter().chain(std::iter::repeat(2)) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    times_out(post(&dripping));
}

#[test]
fn a_record_that_drips_in_does_not_outlast_the_time() {
    let authority = Authority::new("ours");
    let config = server_config(&authority.issue_to("127.0.0.1"), None);
    let server = serving(config, |mut stream| {
        Request::read(&mut stream).unwrap().unwrap();
        // One record, which cannot be decrypted before it is complete.
        let (connection, socket) = (&mut stream.conn, &mut stream.sock);
        let mut record = Vec::new();
        connection
            .writer()
            .write_all(format!("{}{}", empty("200 OK"), "a".repeat(8_000)).as_bytes())
            .unwrap();
        connection.write_tls(&mut record).unwrap();
        for byte in record {
            if socket.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    times_out(post(&server).root_certificate(authority.certificate));
}
