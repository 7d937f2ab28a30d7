use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::BuildError;
use super::trust::{self, Trust};

/// How many sessions are kept to be resumed. A sink mostly has one host, and rustls would have room for 256.
const SESSIONS: usize = 16;

/// What encrypts the connections of an asynchronous client.
pub(super) fn connector(
    trust: &Trust,
    client: Option<&(Vec<u8>, Vec<u8>)>,
) -> Result<TlsConnector, BuildError> {
    let roots = if trust.is_given() { Arc::new(readable(trust)?) } else { public() };
    let config = trust::builder()
        .map_err(|_| BuildError::PublicRoots("the cryptography that rustls was given has no version of TLS"))?
        .with_root_certificates(roots);
    let mut config: ClientConfig = match client {
        None => config.with_no_client_auth(),
        Some((chain, key)) => {
            let (chain, key) =
                trust::client_certificate(chain, key).map_err(BuildError::ClientCertificate)?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(|_| BuildError::ClientCertificate("it is not the private key's"))?
        }
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(TlsConnector::from(Arc::new(config)))
}

fn readable(trust: &Trust) -> Result<RootCertStore, BuildError> {
    let mut roots = RootCertStore::empty();
    // `Trust::roots` refuses what cannot be read, but for some that the operating system has.
    roots.add_parsable_certificates(trust.roots()?);
    Ok(roots)
}

/// The authorities that Mozilla trusts, once for all sinks: they are 150 KiB.
fn public() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(read))
}
