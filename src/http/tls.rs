use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::BuildError;
use super::trust::{self, Trust};

/// The TLS configuration of ureq. Certificates are checked here, since ureq skips a root certificate that it cannot
/// read, and panics on a client certificate that it cannot use, both when the first event is written.
pub(super) fn config(trust: &Trust, client: Option<&(Vec<u8>, Vec<u8>)>) -> Result<TlsConfig, BuildError> {
    let mut config = TlsConfig::builder();
    if trust.is_given() {
        config = config.root_certs(RootCerts::Specific(Arc::new(owned(&trust.roots()?))));
    }
    if let Some((chain, key)) = client {
        let (chain, _) = trust::client_certificate(chain, key).map_err(BuildError::ClientCertificate)?;
        let key = PrivateKey::from_pem(key)
            .map_err(|_| BuildError::ClientCertificate("there is no private key in the PEM"))?;
        config = config.client_cert(Some(ClientCert::new_with_certs(&owned(&chain), key)));
    }
    Ok(config.build())
}

fn owned(certificates: &[CertificateDer<'static>]) -> Vec<Certificate<'static>> {
    certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}
