//! Throw-away authorities and certificates of every kind that a test or a demo needs, good and bad.

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name};

/// The kind of key in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// RSA with 2048 bits: what suites with RSA key exchange need, the EC20's among them.
    #[default]
    Rsa,
    /// P-256.
    Ec,
    /// Ed25519, which signs without a digest of its own choice.
    Ed25519,
}

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Usage {
    /// A TLS server.
    #[default]
    Server,
    /// A TLS client.
    Client,
}

/// The contents of a certificate.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    /// Names and addresses of the subject; the first is the common name.
    pub names: Vec<String>,
    /// Validity, in days from now: negative is past.
    pub valid_from_days: i64,
    /// End of the validity, in days from now.
    pub valid_until_days: i64,
    /// Its key.
    pub key: KeyKind,
    /// Its purpose.
    pub usage: Usage,
}

impl CertificateRequest {
    /// A good server certificate: valid from yesterday on for three months.
    pub fn server(name: &str) -> Self {
        CertificateRequest {
            names: vec![name.to_owned()],
            valid_from_days: -1,
            valid_until_days: 90,
            key: KeyKind::Rsa,
            usage: Usage::Server,
        }
    }

    /// A good client certificate.
    pub fn client(name: &str) -> Self {
        CertificateRequest { usage: Usage::Client, ..CertificateRequest::server(name) }
    }

    /// The same, but expired a day ago.
    pub fn expired(self) -> Self {
        CertificateRequest { valid_from_days: -30, valid_until_days: -1, ..self }
    }

    /// The same, but not valid before tomorrow.
    pub fn not_yet_valid(self) -> Self {
        CertificateRequest { valid_from_days: 1, valid_until_days: 90, ..self }
    }

    /// The same with another key.
    pub fn with_key(self, key: KeyKind) -> Self {
        CertificateRequest { key, ..self }
    }

    /// Signed with its own key only.
    ///
    /// # Errors
    /// What OpenSSL refuses, such as a name that does not fit.
    pub fn self_signed(&self) -> Result<Identity, ErrorStack> {
        let key = new_key(self.key)?;
        let certificate = build(self, &key, None)?;
        Ok(Identity { chain: vec![certificate], key })
    }
}

/// A certificate authority that exists for one test.
#[derive(Clone)]
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
    /// The certificates between this one and the root, nearest first, the root left out.
    intermediates: Vec<X509>,
}

impl Authority {
    /// A root with a P-256 key, valid for a year.
    ///
    /// # Errors
    /// OpenSSL reports an error.
    pub fn new(name: &str) -> Result<Self, ErrorStack> {
        Authority::with_key(name, KeyKind::Ec)
    }

    /// A root with a key of the kind given.
    ///
    /// # Errors
    /// OpenSSL reports an error.
    pub fn with_key(name: &str, kind: KeyKind) -> Result<Self, ErrorStack> {
        let key = new_key(kind)?;
        let certificate = build_authority(name, &key, None)?;
        Ok(Authority { certificate, key, intermediates: Vec::new() })
    }

    /// An authority signed by this one. What it issues has its certificate in the chain.
    ///
    /// # Errors
    /// OpenSSL reports an error.
    pub fn intermediate(&self, name: &str) -> Result<Self, ErrorStack> {
        let key = new_key(KeyKind::Ec)?;
        let certificate = build_authority(name, &key, Some(self))?;
        let mut intermediates = vec![certificate.clone()];
        intermediates.extend(self.intermediates.iter().cloned());
        Ok(Authority { certificate, key, intermediates })
    }

    /// A forged copy of this authority: what it issues looks the same and is signed with another key.
    ///
    /// # Errors
    /// OpenSSL reports an error.
    pub fn forger(&self) -> Result<Self, ErrorStack> {
        Ok(Authority { key: new_key(KeyKind::Ec)?, ..self.clone() })
    }

    /// Signs a certificate.
    ///
    /// # Errors
    /// OpenSSL reports an error.
    pub fn issue(&self, request: &CertificateRequest) -> Result<Identity, ErrorStack> {
        let key = new_key(request.key)?;
        let mut chain = vec![build(request, &key, Some(self))?];
        chain.extend(self.intermediates.iter().cloned());
        Ok(Identity { chain, key })
    }

    /// Its own certificate in PEM, to be trusted by a client.
    pub fn pem(&self) -> Vec<u8> {
        pem(&self.certificate)
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &X509 {
        &self.certificate
    }
}

/// A certificate, those that lead to its root, and its key.
#[derive(Clone)]
pub struct Identity {
    pub(super) chain: Vec<X509>,
    pub(super) key: PKey<Private>,
}

impl Identity {
    /// The certificate alone, in PEM.
    pub fn certificate_pem(&self) -> Vec<u8> {
        pem(&self.chain[0])
    }

    /// The certificate and the intermediate ones after it, in PEM.
    pub fn chain_pem(&self) -> Vec<u8> {
        self.chain.iter().flat_map(pem).collect()
    }

    /// The key in PEM, not encrypted.
    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().expect("a key in memory can be written as PEM")
    }

    /// The key in PEM, encrypted with AES-256.
    pub fn encrypted_key_pem(&self, password: &str) -> Vec<u8> {
        let pem = self.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), password.as_bytes());
        pem.expect("a key in memory can be written as PEM")
    }

    /// The same without the certificates between its own and the root, as if a server did not send them.
    pub fn without_intermediates(mut self) -> Self {
        self.chain.truncate(1);
        self
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

fn new_key(kind: KeyKind) -> Result<PKey<Private>, ErrorStack> {
    match kind {
        KeyKind::Rsa => PKey::from_rsa(Rsa::generate(2048)?),
        KeyKind::Ec => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            PKey::from_ec_key(EcKey::generate(&group)?)
        }
        KeyKind::Ed25519 => PKey::generate_ed25519(),
    }
}

fn build_authority(name: &str, key: &PKey<Private>, issuer: Option<&Authority>) -> Result<X509, ErrorStack> {
    let mut builder = begin(name, key, issuer, (-2, 365))?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    finish(builder, key, issuer)
}

fn build(
    request: &CertificateRequest,
    key: &PKey<Private>,
    issuer: Option<&Authority>,
) -> Result<X509, ErrorStack> {
    let common_name = request.names.first().map_or("nobody", String::as_str);
    let mut builder = begin(common_name, key, issuer, (request.valid_from_days, request.valid_until_days))?;
    builder.append_extension(BasicConstraints::new().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().key_encipherment().build()?)?;
    let mut usage = ExtendedKeyUsage::new();
    match request.usage {
        Usage::Server => usage.server_auth(),
        Usage::Client => usage.client_auth(),
    };
    builder.append_extension(usage.build()?)?;
    if !request.names.is_empty() {
        let mut names = SubjectAlternativeName::new();
        for name in &request.names {
            match name.parse::<std::net::IpAddr>() {
                Ok(_) => names.ip(name),
                Err(_) => names.dns(name),
            };
        }
        let extension = names.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(extension)?;
    }
    finish(builder, key, issuer)
}

fn begin(
    common_name: &str,
    key: &PKey<Private>,
    issuer: Option<&Authority>,
    (from_days, until_days): (i64, i64),
) -> Result<X509Builder, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;

    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(issuer.map_or(&name, |issuer| issuer.certificate.subject_name()))?;
    let (from, until) = (days_from_now(from_days)?, days_from_now(until_days)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&until)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

fn finish(
    mut builder: X509Builder,
    key: &PKey<Private>,
    issuer: Option<&Authority>,
) -> Result<X509, ErrorStack> {
    let issuer_certificate = issuer.map(|issuer| issuer.certificate.as_ref());
    let subject_key = SubjectKeyIdentifier::new().build(&builder.x509v3_context(issuer_certificate, None))?;
    builder.append_extension(subject_key)?;
    if issuer.is_some() {
        let mut identifier = AuthorityKeyIdentifier::new();
        let identifier = identifier.keyid(true).build(&builder.x509v3_context(issuer_certificate, None))?;
        builder.append_extension(identifier)?;
    }
    let signer = issuer.map_or(key, |issuer| &issuer.key);
    let digest = if signer.id() == Id::ED25519 { MessageDigest::null() } else { MessageDigest::sha256() };
    builder.sign(signer, digest)?;
    Ok(builder.build())
}

fn days_from_now(days: i64) -> Result<Asn1Time, ErrorStack> {
    let now = super::unix_seconds();
    #[allow(clippy::useless_conversion, reason = "time_t has 32 bits on some targets")]
    Asn1Time::from_unix((now + days * SECONDS_PER_DAY).try_into().unwrap_or(i32::MAX.into()))
}

fn pem(certificate: &X509) -> Vec<u8> {
    certificate.to_pem().expect("a certificate in memory can be written as PEM")
}
