use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

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

    pub(super) fn roots(&self) -> Result<Vec<CertificateDer<'static>>, BuildError> {
        let mut trusted = Vec::new();
        for (number, pem) in (1..).zip(&self.own) {
            let refuse = |reason| BuildError::RootCertificate { number, reason };
            trusted.extend(certificates(pem).and_then(readable).map_err(refuse)?);
        }
        if self.system {
            let system = rustls_native_certs::load_native_certs().certs;
            // Often some of them cannot be read; clients skip those.
            if RootCertStore::empty().add_parsable_certificates(system.iter().cloned()).0 == 0 {
                return Err(BuildError::SystemRoots("it has none that can be read"));
            }
            trusted.extend(system);
        }
        if self.public {
            trusted.extend_from_slice(webpki_root_certs::TLS_SERVER_ROOT_CERTS);
        }
        Ok(trusted)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Err(_) => Err("it is not PEM"),
        Ok(none) if none.is_empty() => Err("there is no certificate in the PEM"),
        Ok(certificates) => Ok(certificates),
    }
}

fn readable(
    certificates: Vec<CertificateDer<'static>>,
) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|_| "it is not X.509")?;
    }
    Ok(certificates)
}

/// Begins a configuration, with the cryptography that ureq chooses, too.
pub(super) fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()));
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// The certificates of a chain and its key, which belong together.
pub(super) fn client_certificate(
    chain: &[u8],
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), &'static str> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "there is no private key in the PEM")?;
    builder()
        .map_err(|_| "no version of TLS is at hand")?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain.clone(), key.clone_key())
        .map_err(|_| "the private key cannot be read, or is not the certificate's")?;
    Ok((chain, key))
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
