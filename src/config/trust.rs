//! What the host can check of certificates and keys: PEM, dates, names, and the host's own trust store.
//!
//! TLS is done by the modem. These checks only avoid uploads that cannot work. Nothing here verifies a
//! signature, and time is an argument.

use std::fmt;
use std::path::{Path, PathBuf};

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::ber::BerObjectContent;
use x509_parser::der_parser::der::{DerObject, parse_der};
use x509_parser::pem::Pem as DecodedPem;
use x509_parser::public_key::PublicKey as ParsedPublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AttributeTypeAndValue, SubjectPublicKeyInfo};

use crate::config::Pem;
use crate::config::secret::read_limited;
use qssl_core::settings::WHOLE_STORE;

/// A certificate, and what the host can find out about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The PEM block alone, with LF at line ends and at the end.
    pub pem: String,
    /// The subject's common name.
    pub common_name: Option<String>,
    /// The subject's organisation.
    pub organization: Option<String>,
    /// The subject's organisational unit, which old roots have in place of a common name.
    pub organizational_unit: Option<String>,
    /// Start of its validity, in seconds since 1970.
    pub not_before: i64,
    /// End of its validity, in seconds since 1970.
    pub not_after: i64,
    /// Whether it may sign others: basicConstraints allows it, or it is a self-signed certificate without
    /// extensions.
    pub is_authority: bool,
    public_key: Option<PublicKey>,
}

/// Whether a time is before, in or after a certificate's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// None of the other cases.
    Valid,
    /// It begins later.
    NotYet,
    /// It ends within [`SOON_DAYS`]; this number of whole days is left.
    EndsSoon(i64),
    /// It has ended.
    Expired,
}

/// A private key.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    /// The PEM block alone, with LF at line ends and at the end.
    pub pem: String,
    /// Whether a password is needed to read it.
    pub is_encrypted: bool,
    public_key: Option<PublicKey>,
}

/// The part by which keys are compared: an RSA modulus without leading zeros, or a point of a curve.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PublicKey {
    Rsa(Vec<u8>),
    Curve(Vec<u8>),
}

/// The host's trust store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustStore {
    /// The file it was read from.
    pub path: PathBuf,
    /// Its certificates, without those that cannot be read.
    pub certificates: Vec<Certificate>,
}

/// Why a certificate, a key or a trust store is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TrustError {
    #[error("no {wanted} in it (no line `-----BEGIN {wanted}-----`)")]
    Nothing { wanted: &'static str },
    #[error("holds a {found}, not a {wanted}")]
    Other { found: String, wanted: &'static str },
    #[error("DER, not PEM: convert it with `openssl x509 -inform der`")]
    Der,
    #[error("cut off: a line `-----END {label}-----` is missing")]
    CutOff { label: String },
    #[error("{label} number {number} in it is damaged")]
    Damaged { label: &'static str, number: usize },
    #[error("holds {count} private keys, one is needed")]
    SeveralKeys { count: usize },
    #[error("this machine has no trust store in any of {}: install ca-certificates or give --ca FILE", paths(.searched))]
    NoStore { searched: Vec<PathBuf> },
    #[error("{}: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("no root of this name in {}{}", .store.display(), list("did you mean", .nearest))]
    UnknownRoot { store: PathBuf, nearest: Vec<String> },
    #[error("{} roots have this name in {}{}", .candidates.len(), .store.display(), list("give one of", .candidates))]
    AmbiguousRoot { store: PathBuf, candidates: Vec<String> },
}

impl Certificate {
    /// Reads every certificate in `text`, in order, and skips everything else.
    ///
    /// # Errors
    /// If there is none, or one of them is damaged.
    pub fn all(text: &[u8]) -> Result<Vec<Certificate>, TrustError> {
        let blocks = blocks(text)?;
        let certificates: Vec<&Block> = blocks.iter().filter(|block| block.label == CERTIFICATE).collect();
        if certificates.is_empty() {
            return Err(nothing(text, &blocks, CERTIFICATE));
        }
        let number = |(index, block): (usize, &&Block)| {
            Certificate::read(block).ok_or(TrustError::Damaged { label: CERTIFICATE, number: index + 1 })
        };
        certificates.iter().enumerate().map(number).collect()
    }

    /// Whether the time `unix_seconds` is before, in or after its validity.
    pub fn validity(&self, unix_seconds: i64) -> Validity {
        let left_days = self.not_after.saturating_sub(unix_seconds).div_euclid(DAY_SECONDS);
        if unix_seconds > self.not_after {
            Validity::Expired
        } else if unix_seconds < self.not_before {
            Validity::NotYet
        } else if left_days < SOON_DAYS {
            Validity::EndsSoon(left_days)
        } else {
            Validity::Valid
        }
    }

    /// The end of its validity as a date, year first.
    pub fn last_day(&self) -> String {
        day(self.not_after)
    }

    /// The start of its validity as a date, year first.
    pub fn first_day(&self) -> String {
        day(self.not_before)
    }

    /// Its usual name: the common name, or else the organisational unit, or else the organisation.
    pub fn name(&self) -> &str {
        let names = [&self.common_name, &self.organizational_unit, &self.organization];
        names.into_iter().flatten().next().map_or("(no name)", String::as_str)
    }

    /// The PEM block for the upload; messages call it `source`.
    pub fn to_pem(&self, source: impl Into<String>) -> Pem {
        Pem { source: source.into(), bytes: self.pem.clone().into_bytes() }
    }

    fn read(block: &Block) -> Option<Certificate> {
        let der = block.decode()?;
        let (rest, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let validity = parsed.validity();
        Some(Certificate {
            pem: block.text.clone(),
            common_name: first_text(parsed.subject().iter_common_name()),
            organization: first_text(parsed.subject().iter_organization()),
            organizational_unit: first_text(parsed.subject().iter_organizational_unit()),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            is_authority: is_authority(&parsed),
            public_key: PublicKey::of_certificate(parsed.public_key()),
        })
    }
}

impl PrivateKey {
    /// Reads the one private key in `text`, and skips everything else.
    ///
    /// # Errors
    /// If there is none, several, or one that is damaged.
    pub fn read(text: &[u8]) -> Result<PrivateKey, TrustError> {
        let blocks = blocks(text)?;
        let keys: Vec<&Block> = blocks.iter().filter(|block| block.label.ends_with(PRIVATE_KEY)).collect();
        let block = match keys[..] {
            [] => return Err(nothing(text, &blocks, PRIVATE_KEY)),
            [block] => block,
            _ => return Err(TrustError::SeveralKeys { count: keys.len() }),
        };
        let is_encrypted =
            block.label == "ENCRYPTED PRIVATE KEY" || block.text.contains("\nProc-Type: 4,ENCRYPTED");
        let mut public_key = None;
        if !is_encrypted {
            let damaged = || TrustError::Damaged { label: PRIVATE_KEY, number: 1 };
            let der = block.decode().ok_or_else(damaged)?;
            let (_, object) = parse_der(&der).map_err(|_| damaged())?;
            object.as_sequence().map_err(|_| damaged())?;
            public_key = PublicKey::of_private(&block.label, &object);
        }
        Ok(PrivateKey { pem: block.text.clone(), is_encrypted, public_key })
    }

    /// Whether it belongs to `certificate`; `None` if this cannot be determined: the key is encrypted or of an
    /// unknown kind.
    pub fn belongs_to(&self, certificate: &Certificate) -> Option<bool> {
        match (&self.public_key, &certificate.public_key) {
            (Some(mine), Some(theirs)) => Some(mine == theirs),
            _ => None,
        }
    }
}

impl TrustStore {
    /// Reads the trust store: `ssl_cert_file` (the environment variable SSL_CERT_FILE) if given, or else the
    /// first of [`STORES`] that exists.
    ///
    /// # Errors
    /// If there is none, or it cannot be read, or it contains no certificate.
    pub fn read(ssl_cert_file: Option<&Path>) -> Result<TrustStore, TrustError> {
        let path = match ssl_cert_file {
            Some(path) => path.to_owned(),
            None => {
                let mut stores = STORES.iter().map(PathBuf::from);
                let existing = stores.find(|path| path.exists());
                existing.ok_or_else(|| TrustError::NoStore {
                    searched: STORES.iter().map(PathBuf::from).collect(),
                })?
            }
        };
        match read_limited(&path, LARGEST_STORE_BYTES) {
            Ok(text) => TrustStore::parse(path, &text),
            Err(reason) => Err(TrustError::Unreadable { path, reason }),
        }
    }

    /// Parses `text`, the content of the trust store at `path`. A certificate that cannot be read is left out:
    /// the file is the distribution's, and the wanted root may be another one.
    ///
    /// # Errors
    /// If no certificate in it can be read.
    pub fn parse(path: PathBuf, text: &[u8]) -> Result<TrustStore, TrustError> {
        let unreadable =
            |error: TrustError| TrustError::Unreadable { path: path.clone(), reason: error.to_string() };
        let blocks = blocks(text).map_err(unreadable)?;
        let certificates: Vec<Certificate> =
            blocks.iter().filter(|block| block.label == CERTIFICATE).filter_map(Certificate::read).collect();
        match certificates.is_empty() {
            true => Err(unreadable(nothing(text, &blocks, CERTIFICATE))),
            false => Ok(TrustStore { path, certificates }),
        }
    }

    /// The one root called `name`: its common name, or else its organisational unit or organisation, in upper
    /// or lower case.
    ///
    /// # Errors
    /// If there is none, or more than one; both name candidates.
    pub fn find(&self, name: &str) -> Result<&Certificate, TrustError> {
        let same = |other: &Option<String>| {
            other.as_deref().is_some_and(|o| o.to_lowercase() == name.to_lowercase())
        };
        let with = |test: &dyn Fn(&Certificate) -> bool| -> Vec<&Certificate> {
            self.certificates.iter().filter(|certificate| test(certificate)).collect()
        };
        let mut found = with(&|certificate| same(&certificate.common_name));
        if found.is_empty() {
            found = with(&|certificate| {
                same(&certificate.organizational_unit) || same(&certificate.organization)
            });
        }
        match found[..] {
            [one] => Ok(one),
            [] => Err(TrustError::UnknownRoot { store: self.path.clone(), nearest: self.like(name) }),
            _ => Err(TrustError::AmbiguousRoot {
                store: self.path.clone(),
                candidates: found.iter().map(|c| format!("{} (until {})", c.name(), c.last_day())).collect(),
            }),
        }
    }

    /// All authorities of the store that have not expired at `unix_seconds`; with `None` (the clock is not set),
    /// all of them.
    pub fn authorities(&self, unix_seconds: Option<i64>) -> Vec<Pem> {
        let expired =
            |c: &&Certificate| unix_seconds.is_some_and(|moment| c.validity(moment) == Validity::Expired);
        self.certificates.iter().filter(|c| !expired(c)).map(|c| c.to_pem(WHOLE_STORE)).collect()
    }

    /// The names that contain `name`, or else the one most similar to it.
    fn like(&self, name: &str) -> Vec<String> {
        let wanted = name.to_lowercase();
        let mut names: Vec<&str> = self.certificates.iter().map(Certificate::name).collect();
        qssl_core::sort_few(&mut names, |one, other| one < other);
        names.dedup();
        let contains = |candidate: &&&str| candidate.to_lowercase().contains(&wanted);
        let mut like: Vec<String> =
            names.iter().filter(contains).map(|candidate| (*candidate).to_owned()).collect();
        if like.is_empty() {
            like.extend(crate::config::nearest(name, names.into_iter()).map(str::to_owned));
        }
        like
    }
}

impl PublicKey {
    fn of_certificate(info: &SubjectPublicKeyInfo<'_>) -> Option<PublicKey> {
        match info.parsed().ok()? {
            ParsedPublicKey::RSA(key) => Some(PublicKey::rsa(key.modulus)),
            ParsedPublicKey::EC(point) => Some(PublicKey::Curve(point.data().to_vec())),
            _ => None,
        }
    }

    /// Reads PKCS#1 (RFC 8017, A.1.2), SEC 1 (RFC 5915), or PKCS#8 (RFC 5208) around either of them.
    fn of_private(label: &str, key: &DerObject<'_>) -> Option<PublicKey> {
        let fields = key.as_sequence().ok()?;
        match label {
            "RSA PRIVATE KEY" => Some(PublicKey::rsa(fields.get(1)?.as_slice().ok()?)),
            "EC PRIVATE KEY" => {
                let tagged = |field: &&DerObject<'_>| field.header.raw_tag() == Some(&[0xA1]);
                let BerObjectContent::Unknown(inner) = &fields.iter().find(tagged)?.content else {
                    return None;
                };
                let (_, point) = parse_der(inner.data).ok()?;
                let BerObjectContent::BitString(_, bits) = point.content else { return None };
                Some(PublicKey::Curve(bits.data.to_vec()))
            }
            "PRIVATE KEY" => {
                let algorithm = fields.get(1)?.as_sequence().ok()?.first()?.as_oid().ok()?.to_id_string();
                let label = match algorithm.as_str() {
                    "1.2.840.113549.1.1.1" => "RSA PRIVATE KEY",
                    "1.2.840.10045.2.1" => "EC PRIVATE KEY",
                    _ => return None,
                };
                let (_, inner) = parse_der(fields.get(2)?.as_slice().ok()?).ok()?;
                PublicKey::of_private(label, &inner)
            }
            _ => None,
        }
    }

    fn rsa(modulus: &[u8]) -> PublicKey {
        PublicKey::Rsa(modulus.iter().copied().skip_while(|byte| *byte == 0).collect())
    }
}

/// A PEM block: from its BEGIN line to its END line.
struct Block {
    label: String,
    text: String,
}

impl Block {
    fn decode(&self) -> Option<Vec<u8>> {
        DecodedPem::read(std::io::Cursor::new(self.text.as_bytes())).ok().map(|(pem, _)| pem.contents)
    }
}

/// Splits a file into its PEM blocks. Text between them is skipped.
fn blocks(text: &[u8]) -> Result<Vec<Block>, TrustError> {
    let text = String::from_utf8_lossy(text);
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines().map(str::trim) {
        let label = |start: &str| line.strip_prefix(start).and_then(|rest| rest.strip_suffix("-----"));
        if let Some(block) = &mut open {
            block.text.extend([line, "\n"]);
            if label("-----END ") == Some(&block.label) {
                blocks.extend(open.take());
            } else if label("-----BEGIN ").is_some() {
                break;
            }
        } else if let Some(label) = label("-----BEGIN ") {
            open = Some(Block { label: label.to_owned(), text: format!("{line}\n") });
        }
    }
    match open {
        Some(block) => Err(TrustError::CutOff { label: block.label }),
        None => Ok(blocks),
    }
}

/// The error for a file without the wanted block.
fn nothing(text: &[u8], blocks: &[Block], wanted: &'static str) -> TrustError {
    match blocks.first() {
        Some(block) => TrustError::Other { found: block.label.clone(), wanted },
        // A DER certificate begins with a SEQUENCE whose length has two bytes.
        None if text.starts_with(&[0x30, 0x82]) => TrustError::Der,
        None => TrustError::Nothing { wanted },
    }
}

/// Certificates of version 1 have no extensions; the old roots among them are self-signed.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        Ok(None) => certificate.extensions().is_empty() && certificate.subject() == certificate.issuer(),
        Err(_) => false,
    }
}

/// The first attribute as text; one in an unusual encoding is read as UTF-8, as far as it is valid.
fn first_text<'a>(mut attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<String> {
    let attribute = attributes.next()?;
    Some(match attribute.as_str() {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(attribute.as_slice()).into_owned(),
    })
}

fn day(unix_seconds: i64) -> String {
    match ASN1Time::from_timestamp(unix_seconds) {
        Ok(time) => time.to_datetime().date().to_string(),
        Err(_) => "an impossible date".to_owned(),
    }
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// `; lead: a, b, c and 4 more`, or nothing.
fn list(lead: &str, names: &[String]) -> String {
    match names.len() {
        0 => String::new(),
        count if count > MOST_CANDIDATES => {
            format!("; {lead} {} and {} more", names[..MOST_CANDIDATES].join(", "), count - MOST_CANDIDATES)
        }
        _ => format!("; {lead} {}", names.join(", ")),
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

/// Where distributions keep their trust store in one file.
pub const STORES: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// A certificate that expires within this many days causes a warning.
pub const SOON_DAYS: i64 = 30;

const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";
const DAY_SECONDS: i64 = 24 * 3600;
/// The stores of distributions have about 0.25 MB.
const LARGEST_STORE_BYTES: u64 = 8 << 20;
/// How many names a message lists.
const MOST_CANDIDATES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &[u8] = include_bytes!("../../tests/config_files/certificates/root.pem");
    const STORE: &[u8] = include_bytes!("../../tests/config_files/certificates/store.pem");
    const CLIENT_RSA: &[u8] = include_bytes!("../../tests/config_files/certificates/client-rsa.pem");
    const CLIENT_EC: &[u8] = include_bytes!("../../tests/config_files/certificates/client-ec.pem");
    const RSA_PKCS8: &[u8] = include_bytes!("../../tests/config_files/certificates/key-rsa-pkcs8.pem");
    const RSA_PKCS1: &[u8] = include_bytes!("../../tests/config_files/certificates/key-rsa-pkcs1.pem");
    const EC_SEC1: &[u8] = include_bytes!("../../tests/config_files/certificates/key-ec-sec1.pem");
    const EC_PKCS8: &[u8] = include_bytes!("../../tests/config_files/certificates/key-ec-pkcs8.pem");
    const EC_ENCRYPTED: &[u8] = include_bytes!("../../tests/config_files/certificates/key-ec-encrypted.pem");
    const EC_SEC1_ENCRYPTED: &[u8] =
        include_bytes!("../../tests/config_files/certificates/key-ec-sec1-encrypted.pem");
    const ED25519: &[u8] = include_bytes!("../../tests/config_files/certificates/key-ed25519.pem");
    const DER: &[u8] = include_bytes!("../../tests/config_files/certificates/root.der");

    /// 2100-01-01, and the end of the roots' validity, 2120-01-01.
    const IN_2100: i64 = 4_102_444_800;
    const START_OF_2120: i64 = 4_733_510_400;

    fn one(text: &[u8]) -> Certificate {
        Certificate::all(text).expect("a certificate").remove(0)
    }

    fn store() -> TrustStore {
        TrustStore::parse("/store".into(), STORE).expect("a trust store")
    }

    #[test]
    fn a_certificate_is_told_by_name_kind_and_dates() {
        let root = one(ROOT);
        assert_eq!(root.name(), "Example Root CA");
        assert_eq!(root.organization.as_deref(), Some("Example Trust"));
        assert!(root.is_authority);
        assert!(!one(CLIENT_RSA).is_authority);
        assert_eq!((root.first_day().as_str(), root.last_day().as_str()), ("2020-01-01", "2120-01-01"));
        assert_eq!(root.pem.as_bytes(), ROOT);
    }

    #[test]
    fn validity_has_sharp_ends() {
        let root = one(ROOT);
        assert_eq!(root.validity(root.not_before - 1), Validity::NotYet);
        assert_eq!(root.validity(root.not_before), Validity::Valid);
        assert_eq!(root.validity(START_OF_2120 - 30 * DAY_SECONDS), Validity::Valid);
        assert_eq!(root.validity(START_OF_2120 - 30 * DAY_SECONDS + 1), Validity::EndsSoon(29));
        assert_eq!(root.validity(START_OF_2120), Validity::EndsSoon(0));
        assert_eq!(root.validity(START_OF_2120 + 1), Validity::Expired);
        assert_eq!(root.validity(i64::MIN), Validity::NotYet);
        assert_eq!(root.validity(i64::MAX), Validity::Expired);
    }

    #[test]
    fn a_key_is_matched_with_its_certificate_in_every_unencrypted_form() {
        for (key, mine, other) in [
            (RSA_PKCS8, CLIENT_RSA, CLIENT_EC),
            (RSA_PKCS1, CLIENT_RSA, CLIENT_EC),
            (EC_SEC1, CLIENT_EC, CLIENT_RSA),
            (EC_PKCS8, CLIENT_EC, ROOT),
        ] {
            let key = PrivateKey::read(key).expect("a key");
            assert_eq!(key.belongs_to(&one(mine)), Some(true));
            assert_eq!(key.belongs_to(&one(other)), Some(false));
            assert!(!key.is_encrypted);
        }
    }

    #[test]
    fn what_cannot_be_told_is_not_claimed() {
        for key in [EC_ENCRYPTED, EC_SEC1_ENCRYPTED] {
            let key = PrivateKey::read(key).expect("a key");
            assert!(key.is_encrypted);
            assert_eq!(key.belongs_to(&one(CLIENT_EC)), None);
        }
        let key = PrivateKey::read(ED25519).expect("a key");
        assert_eq!((key.is_encrypted, key.belongs_to(&one(CLIENT_EC))), (false, None));
    }

    #[test]
    fn a_file_that_is_something_else_is_named_for_what_it_is() {
        let error = |text: &[u8]| Certificate::all(text).unwrap_err().to_string();
        assert_eq!(error(DER), "DER, not PEM: convert it with `openssl x509 -inform der`");
        assert_eq!(error(EC_SEC1), "holds a EC PRIVATE KEY, not a CERTIFICATE");
        assert_eq!(error(b"hello"), "no CERTIFICATE in it (no line `-----BEGIN CERTIFICATE-----`)");
        assert_eq!(error(&ROOT[..300]), "cut off: a line `-----END CERTIFICATE-----` is missing");
        assert_eq!(PrivateKey::read(ROOT).unwrap_err().to_string(), "holds a CERTIFICATE, not a PRIVATE KEY");
        let two = [EC_SEC1, RSA_PKCS8].concat();
        assert_eq!(PrivateKey::read(&two).unwrap_err(), TrustError::SeveralKeys { count: 2 });
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let text = String::from_utf8(ROOT.to_vec()).expect("PEM is text");
        let damaged = [ROOT, text.replacen("MII", "MI!", 1).as_bytes()].concat();
        let error = Certificate::all(&damaged).unwrap_err();
        assert_eq!(error, TrustError::Damaged { label: CERTIFICATE, number: 2 });
        for length in 0..ROOT.len() {
            assert!(Certificate::all(&ROOT[..length]).is_err() || length >= ROOT.trim_ascii_end().len());
        }
    }

    #[test]
    fn text_around_blocks_and_line_ends_of_other_systems_do_no_harm() {
        let text = String::from_utf8(ROOT.to_vec()).expect("PEM is text");
        let windows = format!("subject=anyone\r\n{}\r\n", text.replace('\n', "\r\n"));
        assert_eq!(one(windows.as_bytes()), one(ROOT));
        let both = [EC_SEC1, CLIENT_EC].concat();
        assert_eq!(one(&both), one(CLIENT_EC));
        assert_eq!(PrivateKey::read(&both), PrivateKey::read(EC_SEC1));
    }

    #[test]
    fn a_root_is_found_by_its_name_whatever_the_case() {
        let store = store();
        assert_eq!(store.find("example ROOT ca").expect("a root").pem.as_bytes(), ROOT);
        assert_eq!(store.find("Class 2 Authority").expect("a root").name(), "Class 2 Authority");
        assert_eq!(store.find("old trust").expect("a root").name(), "Class 2 Authority");
    }

    #[test]
    fn a_name_that_is_not_unique_lists_the_candidates() {
        assert_eq!(
            store().find("Example Trust").unwrap_err().to_string(),
            "2 roots have this name in /store; give one of Example Root CA (until 2120-01-01), \
             Second Root CA (until 2120-01-01)"
        );
        assert_eq!(
            store().find("root").unwrap_err().to_string(),
            "no root of this name in /store; did you mean Example Root CA, Second Root CA"
        );
        let error = store().find("Exmaple Root CA").unwrap_err().to_string();
        assert_eq!(error, "no root of this name in /store; did you mean Example Root CA");
        assert_eq!(store().find("?").unwrap_err().to_string(), "no root of this name in /store");
    }

    #[test]
    fn the_whole_store_leaves_out_what_has_expired_if_the_clock_is_right() {
        let sources: Vec<String> =
            store().authorities(Some(IN_2100)).into_iter().map(|pem| pem.source).collect();
        assert_eq!(sources, [WHOLE_STORE, WHOLE_STORE]);
        assert_eq!(store().authorities(None).len(), 3);
    }

    #[test]
    fn a_trust_store_that_is_not_there_is_named() {
        let error = TrustStore::read(Some(Path::new("/nonexistent/ca.crt"))).unwrap_err().to_string();
        assert_eq!(error, "/nonexistent/ca.crt: no such file or directory");
        let error = TrustStore::parse("/store".into(), b"").unwrap_err().to_string();
        assert_eq!(error, "/store: no CERTIFICATE in it (no line `-----BEGIN CERTIFICATE-----`)");
    }
}
