use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::BuildError;

/// The certificate authorities that a sink trusts. If none is named, those that Mozilla trusts.
#[derive(Default)]
pub(super) struct Trust {
    /// In PEM.
    pub(super) own: Vec<Vec<u8>>,
    /// Those that the operating system trusts.
    pub(super) system: bool,
    /// Those that Mozilla trusts, in addition to the others.
    pub(super) public: bool,
}

impl Trust {
    /// Whether any authority was named.
    pub(super) fn is_given(&self) -> bool {
        self.system || self.public || !self.own.is_empty()
    }

    fn roots(&self) -> Result<Vec<Certificate<'static>>, BuildError> {
        let mut trusted = Vec::new();
        for (number, pem) in (1..).zip(&self.own) {
            let refuse = |reason| BuildError::RootCertificate { number, reason };
            trusted.extend(certificates(pem).and_then(readable).map_err(refuse)?);
        }
        if self.system {
            let system = rustls_native_certs::load_native_certs().certs;
            // Often some of them cannot be read; ureq skips those.
            if RootCertStore::empty().add_parsable_certificates(system.iter().cloned()).0 == 0 {
                return Err(BuildError::SystemRoots("it has none that can be read"));
            }
            trusted.extend(owned(&system));
        }
        if self.public {
            trusted.extend(owned(webpki_root_certs::TLS_SERVER_ROOT_CERTS));
        }
        Ok(trusted)
    }
}

/// The TLS configuration of a sink. Certificates are checked here, since ureq skips a root certificate that it cannot
/// read, and panics on a client certificate that it cannot use, both when the first event is written.
pub(super) fn config(trust: &Trust, client: Option<&(Vec<u8>, Vec<u8>)>) -> Result<TlsConfig, BuildError> {
    let mut config = TlsConfig::builder();
    if trust.is_given() {
        config = config.root_certs(RootCerts::Specific(Arc::new(trust.roots()?)));
    }
    if let Some((chain, key)) = client {
        let certificate = client_certificate(chain, key).map_err(BuildError::ClientCertificate)?;
        config = config.client_cert(Some(certificate));
    }
    Ok(config.build())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Err(_) => Err("it is not PEM"),
        Ok(none) if none.is_empty() => Err("there is no certificate in the PEM"),
        Ok(certificates) => Ok(certificates),
    }
}

fn readable(certificates: Vec<CertificateDer<'static>>) -> Result<Vec<Certificate<'static>>, &'static str> {
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|_| "it is not X.509")?;
    }
    Ok(owned(&certificates))
}

fn client_certificate(chain: &[u8], key: &[u8]) -> Result<ClientCert, &'static str> {
    let chain = certificates(chain)?;
    let checked = PrivateKeyDer::from_pem_slice(key).map_err(|_| "there is no private key in the PEM")?;
    // Chosen as ureq does.
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()));
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| "no version of TLS is at hand")?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain.clone(), checked)
        .map_err(|_| "the private key cannot be read, or is not the certificate's")?;
    let key = PrivateKey::from_pem(key).map_err(|_| "there is no private key in the PEM")?;
    Ok(ClientCert::new_with_certs(&owned(&chain), key))
}

fn owned(certificates: &[CertificateDer<'static>]) -> Vec<Certificate<'static>> {
    certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn own(name: &str) -> Vec<u8> {
        let params = CertificateParams::new([name.to_string()]).unwrap();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem().into()
    }

    #[test]
    fn the_public_roots_stand_beside_ones_own_and_can_all_be_read() {
        let alone = Trust { own: vec![own("a.example"), own("b.example")], ..Trust::default() };
        assert_eq!(alone.roots().unwrap().len(), 2);
        let both = Trust { public: true, ..alone };
        let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        assert_eq!(both.roots().unwrap().len(), 2 + public.len());
        let (read, ignored) = RootCertStore::empty().add_parsable_certificates(public.iter().cloned());
        assert!(read > 100 && ignored == 0, "{read} {ignored}");
    }
}
