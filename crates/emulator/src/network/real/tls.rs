//! Turns the settings of an SSL context, `TlsParameters`, into an OpenSSL handle that is ready to connect.
//!
//! Everything old that the manuals offer is switched on (SSL 3.0, RC4, security level 0), to act like a module of
//! 2015; TLS 1.3 is never offered. Sessions are kept here for resumption.

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::provider::Provider;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSession, SslSessionRef,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use super::cipher_suites;
use super::verification::{self, Leniency};
use crate::network::{OpenFailure, TlsParameters, Transport};

/// Everything for one handshake.
pub(super) struct Preparation {
    /// Ready for `SslStream::connect`.
    pub(super) ssl: Ssl,
    /// Why the server's certificate was refused, once it was.
    pub(super) objection: Objection,
    /// Where the session is stored after a successful handshake; `None` without resumption.
    pub(super) session_slot: Option<SessionSlot>,
}

/// Written by OpenSSL's verify callback, read when the handshake has failed.
#[derive(Clone, Default)]
pub(super) struct Objection(Arc<Mutex<Option<String>>>);

impl Objection {
    /// The text, if there was an objection.
    pub(super) fn text(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn raise(&self, text: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
    }
}

/// Names one session in the [`SessionCache`].
pub(super) struct SessionSlot {
    generation: u64,
    host: String,
    port: u16,
}

/// Sessions kept for resumption, by SSL context, host and port.
///
/// A session is only ever offered under the settings it was made with: other settings begin with an empty
/// cache, so that a session made without authentication is never used in place of one with it.
#[derive(Default)]
pub(super) struct SessionCache {
    contexts: Vec<CachedContext>,
    next_generation: u64,
}

struct CachedContext {
    ssl_context_id: u8,
    /// Distinguishes this OpenSSL context from all others that the cache has held.
    generation: u64,
    transport: Transport,
    parameters: TlsParameters,
    context: SslContext,
    sessions: Vec<CachedSession>,
}

struct CachedSession {
    host: String,
    port: u16,
    session: SslSession,
}

impl SessionCache {
    /// Makes everything ready for a handshake with `host`.
    ///
    /// # Errors
    /// [`OpenFailure::Setting`] for files that are not what they should be, [`OpenFailure::Handshake`] when
    /// no suite is left to offer.
    pub(super) fn prepare(
        &mut self,
        host: &str,
        port: u16,
        transport: Transport,
        parameters: &TlsParameters,
    ) -> Result<Preparation, OpenFailure> {
        let Some(ssl_context_id) = parameters.session_cache else {
            let context = build_context(transport, parameters)?;
            let (ssl, objection) = handle(&context, host, parameters).map_err(internal)?;
            return Ok(Preparation { ssl, objection, session_slot: None });
        };
        let cached = self.context(ssl_context_id, transport, parameters)?;
        let (mut ssl, objection) = handle(&cached.context, host, parameters).map_err(internal)?;
        if let Some(known) = cached.sessions.iter().find(|known| known.host == host && known.port == port) {
            // SAFETY: a session is stored only under the generation of the context that made it, and `ssl`
            // has just been made from that context.
            let offered = unsafe { ssl.set_session(&known.session) };
            if let Err(error) = offered {
                log::debug!("session of {host}:{port} not offered: {error}");
            }
        }
        let session_slot = SessionSlot { generation: cached.generation, host: host.to_owned(), port };
        Ok(Preparation { ssl, objection, session_slot: Some(session_slot) })
    }

    /// Keeps the session of a finished handshake.
    pub(super) fn store(&mut self, slot: &SessionSlot, session: &SslSessionRef) {
        let Some(cached) = self.contexts.iter_mut().find(|cached| cached.generation == slot.generation)
        else {
            return; // The settings changed during the handshake.
        };
        cached.sessions.retain(|known| (known.host.as_str(), known.port) != (slot.host.as_str(), slot.port));
        if cached.sessions.len() == SESSIONS_PER_CONTEXT {
            cached.sessions.remove(0);
        }
        cached.sessions.push(CachedSession {
            host: slot.host.clone(),
            port: slot.port,
            session: session.to_owned(),
        });
    }

    /// The OpenSSL context of these settings, made anew when they differ from the last ones.
    fn context(
        &mut self,
        ssl_context_id: u8,
        transport: Transport,
        parameters: &TlsParameters,
    ) -> Result<&CachedContext, OpenFailure> {
        // The time is set per handshake, so a different time does not make different settings.
        let timeless = TlsParameters { check_time: parameters.check_time.map(|_| 0), ..parameters.clone() };
        let position = self.contexts.iter().position(|cached| cached.ssl_context_id == ssl_context_id);
        if let Some(position) = position {
            let cached = &self.contexts[position];
            if cached.transport == transport && cached.parameters == timeless {
                return Ok(&self.contexts[position]);
            }
            self.contexts.remove(position);
        }
        let generation = self.next_generation;
        self.next_generation += 1;
        let context = build_context(transport, parameters)?;
        let parameters = timeless;
        let cached = CachedContext {
            ssl_context_id,
            generation,
            transport,
            parameters,
            context,
            sessions: Vec::new(),
        };
        self.contexts.push(cached);
        Ok(&self.contexts[self.contexts.len() - 1])
    }
}

/// Loads OpenSSL's separate provider for RC4 and single DES. Later calls do nothing.
pub(crate) fn load_old_algorithms() {
    static LEGACY: OnceLock<Option<Provider>> = OnceLock::new();
    LEGACY.get_or_init(|| match Provider::try_load(None, "legacy", true) {
        Ok(provider) => Some(provider),
        Err(error) => {
            log::warn!("openssl has no legacy provider, RC4 suites will fail: {error}");
            None
        }
    });
}

/// The highest number of sessions kept for one SSL context; the oldest is dropped first.
const SESSIONS_PER_CONTEXT: usize = 16;

fn build_context(transport: Transport, parameters: &TlsParameters) -> Result<SslContext, OpenFailure> {
    load_old_algorithms();
    let (method, (lowest, highest)) = match transport {
        Transport::Tcp => (SslMethod::tls_client(), tls_versions(parameters.version)),
        Transport::Udp | Transport::UdpService => {
            (SslMethod::dtls_client(), dtls_versions(parameters.dtls_version))
        }
    };
    let mut context = SslContext::builder(method).map_err(internal)?;
    // This comes first: everything that is set later is checked against this level.
    context.set_security_level(0);
    context
        .set_mode(SslMode::AUTO_RETRY | SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER);
    context.set_min_proto_version(Some(lowest)).map_err(internal)?;
    context.set_max_proto_version(Some(highest)).map_err(internal)?;
    set_suites(&mut context, parameters)?;
    set_options(&mut context, parameters).map_err(internal)?;
    if parameters.security_level >= 1 {
        set_authorities(&mut context, parameters)?;
    }
    if parameters.security_level >= 2 {
        set_client_certificate(&mut context, parameters)?;
    }
    if let Some((identity, key)) = &parameters.psk {
        set_pre_shared_key(&mut context, identity, key)?;
    }
    Ok(context.build())
}

/// The lowest and the highest version of a value of "sslversion".
fn tls_versions(version: u8) -> (SslVersion, SslVersion) {
    match version {
        0 => (SslVersion::SSL3, SslVersion::SSL3),
        1 => (SslVersion::TLS1, SslVersion::TLS1),
        2 => (SslVersion::TLS1_1, SslVersion::TLS1_1),
        3 => (SslVersion::TLS1_2, SslVersion::TLS1_2),
        _ => (SslVersion::SSL3, SslVersion::TLS1_2),
    }
}

/// The same of a value of "dtlsversion".
fn dtls_versions(version: u8) -> (SslVersion, SslVersion) {
    match version {
        0 => (SslVersion::DTLS1, SslVersion::DTLS1),
        1 => (SslVersion::DTLS1_2, SslVersion::DTLS1_2),
        _ => (SslVersion::DTLS1, SslVersion::DTLS1_2),
    }
}

fn set_suites(context: &mut SslContextBuilder, parameters: &TlsParameters) -> Result<(), OpenFailure> {
    let mut names: Vec<&str> =
        parameters.cipher_suites.iter().filter_map(|code| cipher_suites::openssl_name(*code)).collect();
    // A single code selects just that suite. The whole list, with a key set, includes the suites for the key.
    if parameters.psk.is_some() && parameters.cipher_suites.len() > 1 {
        names.push(cipher_suites::PRE_SHARED_KEY);
    }
    let no_suite =
        || OpenFailure::Handshake("none of the cipher suites to offer is known to this TLS library".into());
    if names.is_empty() {
        return Err(no_suite());
    }
    context.set_cipher_list(&names.join(":")).map_err(|_| no_suite())
}

fn set_options(context: &mut SslContextBuilder, parameters: &TlsParameters) -> Result<(), ErrorStack> {
    // A datagram's length is not asked of the kernel.
    context.set_options(SslOptions::NO_QUERY_MTU);
    if !parameters.renegotiation {
        context.set_options(SslOptions::NO_RENEGOTIATION);
    }
    if parameters.session_cache.is_none() {
        context.set_options(SslOptions::NO_TICKET);
    }
    if !parameters.alpn.is_empty() {
        let name = parameters.alpn.as_bytes();
        let name = &name[..name.len().min(255)];
        // The list has one entry: its length, then the name.
        let mut list = vec![name.len() as u8];
        list.extend_from_slice(name);
        context.set_alpn_protos(&list)?;
    }
    Ok(())
}

fn set_authorities(context: &mut SslContextBuilder, parameters: &TlsParameters) -> Result<(), OpenFailure> {
    let mut store = X509StoreBuilder::new().map_err(internal)?;
    for file in &parameters.authorities {
        for certificate in certificates(file, "the CA file")? {
            store.add_cert(certificate).map_err(internal)?;
        }
    }
    context.set_cert_store(store.build());
    Ok(())
}

fn set_client_certificate(
    context: &mut SslContextBuilder,
    parameters: &TlsParameters,
) -> Result<(), OpenFailure> {
    let (Some(certificate), Some(key)) = (&parameters.client_certificate, &parameters.client_key) else {
        return Err(OpenFailure::Setting(
            "seclevel 2 needs a client certificate and its key, set clientcert and clientkey".into(),
        ));
    };
    let mut chain = certificates(certificate, "the client certificate file")?.into_iter();
    let own = chain.next().ok_or_else(|| not_a_certificate("the client certificate file"))?;
    let key = private_key(key, parameters.client_key_password.as_deref())?;
    context.set_certificate(&own).map_err(internal)?;
    for issuer in chain {
        context.add_extra_chain_cert(issuer).map_err(internal)?;
    }
    let fits = context.set_private_key(&key).and_then(|()| context.check_private_key());
    fits.map_err(|_| OpenFailure::Setting("the client key does not belong to the client certificate".into()))
}

fn set_pre_shared_key(context: &mut SslContextBuilder, identity: &str, key: &str) -> Result<(), OpenFailure> {
    let identity = CString::new(identity)
        .map_err(|_| OpenFailure::Setting("the PSK identity contains a NUL character".into()))?;
    let key = key.as_bytes().to_vec();
    context.set_psk_client_callback(move |_, _, identity_buffer, key_buffer| {
        let identity = identity.as_bytes_with_nul();
        // Without a key OpenSSL ends the handshake, which is right for one that does not fit.
        if identity.len() > identity_buffer.len() || key.len() > key_buffer.len() {
            return Ok(0);
        }
        identity_buffer[..identity.len()].copy_from_slice(identity);
        key_buffer[..key.len()].copy_from_slice(&key);
        Ok(key.len())
    });
    Ok(())
}

/// The settings that belong to one handshake only: the name and the time.
fn handle(
    context: &SslContext,
    host: &str,
    parameters: &TlsParameters,
) -> Result<(Ssl, Objection), ErrorStack> {
    let mut ssl = Ssl::new(context)?;
    let address = host.parse::<IpAddr>().ok();
    if parameters.sni && address.is_none() {
        ssl.set_hostname(host)?;
    }
    let objection = Objection::default();
    if parameters.security_level == 0 {
        ssl.set_verify(SslVerifyMode::NONE);
        return Ok((ssl, objection));
    }
    let verification = ssl.param_mut();
    verification.set_flags(verification::flags(parameters.check_time.is_some()))?;
    if let Some(seconds) = parameters.check_time {
        #[allow(clippy::useless_conversion, reason = "time_t has 32 bits on some targets")]
        verification.set_time(seconds.try_into().unwrap_or(i32::MAX.into()));
    }
    if parameters.check_host {
        match address {
            Some(address) => verification.set_ip(address)?,
            None => verification.set_host(host)?,
        }
    }
    let leniency = Leniency::of(parameters);
    let raised = objection.clone();
    ssl.set_verify_callback(SslVerifyMode::PEER, move |accepted, state| {
        if accepted {
            return true;
        }
        match leniency.objection(state) {
            None => true,
            Some(text) => {
                raised.raise(text);
                false
            }
        }
    });
    Ok((ssl, objection))
}

/// Reads PEM (any number of certificates) or DER (one).
fn certificates(file: &[u8], what: &str) -> Result<Vec<X509>, OpenFailure> {
    let pem = X509::stack_from_pem(file).unwrap_or_default();
    if !pem.is_empty() {
        return Ok(pem);
    }
    X509::from_der(file).map(|certificate| vec![certificate]).map_err(|_| not_a_certificate(what))
}

/// Reads PEM or DER, encrypted or not. The passphrase is always given, because OpenSSL would otherwise ask
/// for it on the terminal.
fn private_key(file: &[u8], password: Option<&str>) -> Result<PKey<Private>, OpenFailure> {
    let password = password.unwrap_or_default().as_bytes();
    PKey::private_key_from_pem_passphrase(file, password)
        .or_else(|_| PKey::private_key_from_pkcs8_passphrase(file, password))
        .or_else(|_| PKey::private_key_from_der(file))
        .map_err(|_| OpenFailure::Setting("the client key cannot be read with the password given".into()))
}

fn not_a_certificate(what: &str) -> OpenFailure {
    OpenFailure::Setting(format!("{what} holds no certificate in PEM or DER"))
}

fn internal(error: ErrorStack) -> OpenFailure {
    OpenFailure::Setting(error_text(&error))
}

/// Takes a handshake as far as it goes; `None` while it is under way.
pub(super) fn handshake<S: Read + Write>(
    stream: &mut SslStream<S>,
    objection: &Objection,
) -> Option<Result<(), OpenFailure>> {
    match stream.connect() {
        Ok(()) => Some(Ok(())),
        Err(error) if matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => None,
        Err(error) => Some(Err(match objection.text() {
            Some(text) => OpenFailure::Verification(text),
            None => OpenFailure::Handshake(handshake_text(&error)),
        })),
    }
}

pub(super) fn handshake_text(error: &openssl::ssl::Error) -> String {
    match (error.ssl_error(), error.io_error()) {
        (Some(stack), _) if !stack.errors().is_empty() => error_text(stack),
        (_, Some(error)) => error.to_string(),
        _ => "server closed the connection".to_owned(),
    }
}

/// OpenSSL's reasons, without its file names and numbers.
pub(super) fn error_text(stack: &ErrorStack) -> String {
    let reasons: Vec<&str> = stack.errors().iter().filter_map(|error| error.reason()).collect();
    if reasons.is_empty() { "TLS library gave no reason".to_owned() } else { reasons.join(", ") }
}
