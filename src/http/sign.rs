//! Signatures as the Standard Webhooks specification 1.0.0 defines them.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use ring::hmac;

use super::{BuildError, headers};

/// The prefix by which a secret is recognized.
const PREFIX: &str = "whsec_";

/// The base64 of secrets, which come with padding and without.
const BASE64_OF_SECRETS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The longest id, in bytes. Endpoints store ids to compare them; and a line of a head that is longer than the client's
/// buffer could never be sent.
const LONGEST_ID: usize = 256;

/// The length of a signature, with the space before the next.
const SIGNATURE_LENGTH: usize = "v1,".len() + 44 + " ".len();

/// The keys that a webhook is signed with: one, or several while a key is being replaced.
pub(super) struct Signer {
    keys: Vec<hmac::Key>,
}

impl Signer {
    pub(super) fn new(secrets: &[String]) -> Result<Self, BuildError> {
        let keys = (1..).zip(secrets).map(|(number, secret)| {
            let refuse = |reason| BuildError::Secret { number, reason };
            if !headers::fits("webhook-signature", number * SIGNATURE_LENGTH - " ".len()) {
                return Err(refuse("the signatures of so many do not fit in a header"));
            }
            key(secret).map_err(refuse)
        });
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// The value of `webhook-signature`: for each key, in order, `v1,` and the signature of id, timestamp and
    /// body.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> HeaderValue {
        let signatures: Vec<String> = self
            .keys
            .iter()
            .map(|key| {
                let mut signed = hmac::Context::with_key(key);
                signed.update(format!("{id}.{timestamp}.").as_bytes());
                signed.update(body);
                format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
            })
            .collect();
        HeaderValue::try_from(signatures.join(" ")).expect("base64 is fit for a header")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} keys)", self.keys.len())
    }
}

fn key(secret: &str) -> Result<hmac::Key, &'static str> {
    let encoded = secret.strip_prefix(PREFIX).ok_or("it does not begin with whsec_")?;
    let bytes = BASE64_OF_SECRETS.decode(encoded).map_err(|_| "what follows whsec_ is not base64")?;
    if !(24..=64).contains(&bytes.len()) {
        return Err("it does not have 24 to 64 bytes");
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// An id that cannot be sent, and is not shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadId {
    #[error("its webhook id is empty")]
    Empty,
    #[error("its webhook id has a full stop in it, which cannot be distinguished from the one after the id")]
    FullStop,
    #[error("its webhook id has a character in it that is not visible ASCII")]
    Character,
    #[error("its webhook id has {0} bytes, and at most {LONGEST_ID} are sent")]
    TooLong(usize),
}

/// The value of `webhook-id`.
pub(super) fn id_header(id: &str) -> Result<HeaderValue, BadId> {
    if id.is_empty() {
        return Err(BadId::Empty);
    }
    if id.len() > LONGEST_ID {
        return Err(BadId::TooLong(id.len()));
    }
    if id.contains('.') {
        return Err(BadId::FullStop);
    }
    if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadId::Character);
    }
    HeaderValue::from_str(id).map_err(|_| BadId::Character)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the specification's own libraries are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn signer(secrets: &[&str]) -> Result<Signer, BuildError> {
        Signer::new(&secrets.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn secret_of(bytes: usize) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(vec![7; bytes]))
    }

    #[test]
    fn signs_as_the_libraries_of_the_specification_do() {
        assert_eq!(signer(&[SECRET]).unwrap().sign(ID, TIMESTAMP, BODY), SIGNATURE);
    }

    #[test]
    fn several_secrets_give_several_signatures_in_order() {
        let other = secret_of(64);
        let second = signer(&[&other]).unwrap().sign(ID, TIMESTAMP, BODY);
        let both = signer(&[SECRET, &other]).unwrap().sign(ID, TIMESTAMP, BODY);
        assert_eq!(both, format!("{SIGNATURE} {}", second.to_str().unwrap()));
    }

    #[test]
    fn id_timestamp_and_body_are_all_signed() {
        let signer = signer(&[SECRET]).unwrap();
        assert_ne!(signer.sign("msg_other", TIMESTAMP, BODY), SIGNATURE);
        assert_ne!(signer.sign(ID, TIMESTAMP + 1, BODY), SIGNATURE);
        assert_ne!(signer.sign(ID, TIMESTAMP, b"{}"), SIGNATURE);
    }

    #[test]
    fn a_secret_has_24_to_64_bytes() {
        for (bytes, good) in [(0, false), (23, false), (24, true), (64, true), (65, false)] {
            let secret = secret_of(bytes);
            assert_eq!(signer(&[&secret]).is_ok(), good, "{bytes}");
            // Without the padding it is the same secret.
            assert_eq!(signer(&[secret.trim_end_matches('=')]).is_ok(), good, "{bytes}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_by_its_number() {
        for (secret, reason) in [
            ("", "does not begin with whsec_"),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_"),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_"),
            ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin with whsec_"),
            ("whsec_", "24 to 64"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "not base64"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_", "not base64"),
            ("whsec_ MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "not base64"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "not base64"),
        ] {
            let refused = signer(&[SECRET, secret]).unwrap_err().to_string();
            assert!(refused.starts_with("signing secret 2 is none") && refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn an_id_is_visible_ascii_without_a_full_stop() {
        for id in ["a", ID, "!~", "a,b:c/d"] {
            assert_eq!(id_header(id).unwrap(), id);
        }
        assert!(id_header(&"a".repeat(256)).is_ok());
        let long = id_header(&"a".repeat(257)).unwrap_err().to_string();
        assert_eq!(long, "its webhook id has 257 bytes, and at most 256 are sent");
        for id in ["", ".", "a.b", "a b", " a", "a\t", "a\n", "a\r\nb: c", "a\u{7f}", "ä", "\0"] {
            assert!(id_header(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn a_signer_prints_no_key() {
        assert_eq!(format!("{:?}", signer(&[SECRET, SECRET]).unwrap()), "Signer(2 keys)");
    }
}
