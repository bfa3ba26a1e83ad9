//! Decides which errors of a server's certificate count, and which the settings ignore.
//!
//! OpenSSL reports each error to a callback. The bits of "ignorecertitem" are mbedTLS's, so each of OpenSSL's
//! error numbers is mapped to the bit that mbedTLS would have set for it.

use openssl::nid::Nid;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509ExtendedKeyUsage, X509KeyUsage, X509Ref, X509StoreContextRef};
use openssl_sys::{
    X509_V_ERR_CA_KEY_TOO_SMALL as CA_KEY_TOO_SMALL, X509_V_ERR_CA_MD_TOO_WEAK as CA_MD_TOO_WEAK,
    X509_V_ERR_CERT_HAS_EXPIRED as CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID as CERT_NOT_YET_VALID,
    X509_V_ERR_CERT_SIGNATURE_FAILURE as CERT_SIGNATURE_FAILURE, X509_V_ERR_CERT_UNTRUSTED as CERT_UNTRUSTED,
    X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT as DEPTH_ZERO_SELF_SIGNED_CERT,
    X509_V_ERR_EE_KEY_TOO_SMALL as EE_KEY_TOO_SMALL, X509_V_ERR_HOSTNAME_MISMATCH as HOSTNAME_MISMATCH,
    X509_V_ERR_INVALID_CA as INVALID_CA, X509_V_ERR_INVALID_PURPOSE as INVALID_PURPOSE,
    X509_V_ERR_IP_ADDRESS_MISMATCH as IP_ADDRESS_MISMATCH,
    X509_V_ERR_KEYUSAGE_NO_CERTSIGN as KEYUSAGE_NO_CERTSIGN,
    X509_V_ERR_PATH_LENGTH_EXCEEDED as PATH_LENGTH_EXCEEDED,
    X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN as SELF_SIGNED_CERT_IN_CHAIN,
    X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT as UNABLE_TO_GET_ISSUER_CERT,
    X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY as UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE as UNABLE_TO_VERIFY_LEAF_SIGNATURE,
};

use crate::network::TlsParameters;

/// The settings that decide whether an error is ignored, copied from the rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leniency {
    ignore_items: u32,
    ignore_chain: bool,
    ignore_signature: bool,
}

impl Leniency {
    pub(super) fn of(parameters: &TlsParameters) -> Self {
        Leniency {
            ignore_items: parameters.ignore_items,
            ignore_chain: parameters.ignore_chain,
            ignore_signature: parameters.ignore_signature,
        }
    }

    /// `None` when the error that `context` holds is ignored, else its text.
    pub(super) fn objection(self, context: &X509StoreContextRef) -> Option<String> {
        let error = context.error();
        let code = error.as_raw();
        if self.ignores(code, || misused_item(context)) {
            return None;
        }
        let subject = context.current_cert().map(subject_text).unwrap_or_default();
        Some(format!("{}{subject}", error.error_string()))
    }

    /// `misused` finds out which usage extension is at fault; it is only called if OpenSSL does not report it.
    fn ignores(self, code: i32, misused: impl FnOnce() -> u32) -> bool {
        // "ignoremulticertchainverify" ignores an incomplete chain, but not a complete chain that ends in
        // an unknown root.
        if self.ignore_chain && CHAIN_INCOMPLETE.contains(&code) {
            return true;
        }
        if self.ignore_signature && code == CERT_SIGNATURE_FAILURE {
            return true;
        }
        let item = match code {
            INVALID_PURPOSE => misused(),
            _ => item_of(code),
        };
        self.ignore_items & item != 0
    }
}

/// The first trusted certificate ends the chain, as in mbedTLS, where a CA need not be a root. Without
/// `check_time`, validity dates are ignored.
pub(super) fn flags(check_time: bool) -> X509VerifyFlags {
    let flags = X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::TRUSTED_FIRST;
    if check_time { flags } else { flags | X509VerifyFlags::NO_CHECK_TIME }
}

fn item_of(code: i32) -> u32 {
    match code {
        CERT_HAS_EXPIRED => ITEM_EXPIRED,
        CERT_NOT_YET_VALID => ITEM_NOT_YET_VALID,
        HOSTNAME_MISMATCH | IP_ADDRESS_MISMATCH => ITEM_COMMON_NAME,
        CERT_SIGNATURE_FAILURE
        | DEPTH_ZERO_SELF_SIGNED_CERT
        | SELF_SIGNED_CERT_IN_CHAIN
        | UNABLE_TO_GET_ISSUER_CERT
        | UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        | UNABLE_TO_VERIFY_LEAF_SIGNATURE
        | CERT_UNTRUSTED
        | INVALID_CA
        | PATH_LENGTH_EXCEEDED => ITEM_NOT_TRUSTED,
        KEYUSAGE_NO_CERTSIGN => ITEM_KEY_USAGE,
        CA_MD_TOO_WEAK => ITEM_BAD_DIGEST,
        EE_KEY_TOO_SMALL | CA_KEY_TOO_SMALL => ITEM_BAD_KEY,
        _ => ITEM_OTHER,
    }
}

/// Which extension forbids the use as a TLS server. An absent extension forbids nothing.
fn misused_item(context: &X509StoreContextRef) -> u32 {
    let Some(certificate) = context.current_cert() else { return ITEM_OTHER };
    let extended = certificate.extended_key_usage();
    if extended.is_some_and(|usage| !usage.contains(X509ExtendedKeyUsage::SSL_SERVER)) {
        return ITEM_EXTENDED_KEY_USAGE;
    }
    let useful =
        X509KeyUsage::DIGITAL_SIGNATURE | X509KeyUsage::KEY_ENCIPHERMENT | X509KeyUsage::KEY_AGREEMENT;
    if certificate.key_usage().is_some_and(|usage| !usage.intersects(useful)) {
        return ITEM_KEY_USAGE;
    }
    ITEM_NETSCAPE_TYPE
}

fn subject_text(certificate: &X509Ref) -> String {
    let common_name = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next();
    match common_name.and_then(|entry| entry.data().to_string().ok()) {
        Some(name) => format!(" (certificate of {name:?})"),
        None => String::new(),
    }
}

const ITEM_EXPIRED: u32 = 1;
const ITEM_COMMON_NAME: u32 = 4;
const ITEM_NOT_TRUSTED: u32 = 8;
const ITEM_OTHER: u32 = 256;
const ITEM_NOT_YET_VALID: u32 = 512;
const ITEM_KEY_USAGE: u32 = 2048;
const ITEM_EXTENDED_KEY_USAGE: u32 = 4096;
const ITEM_NETSCAPE_TYPE: u32 = 8192;
const ITEM_BAD_DIGEST: u32 = 16384;
const ITEM_BAD_KEY: u32 = 65536;

const CHAIN_INCOMPLETE: [i32; 4] = [
    UNABLE_TO_GET_ISSUER_CERT,
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    UNABLE_TO_VERIFY_LEAF_SIGNATURE,
    CERT_UNTRUSTED,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn ignoring(items: u32) -> Leniency {
        Leniency { ignore_items: items, ignore_chain: false, ignore_signature: false }
    }

    #[test]
    fn each_bit_waves_through_its_own_complaint_only() {
        assert!(ignoring(1).ignores(CERT_HAS_EXPIRED, || 0));
        assert!(!ignoring(1).ignores(CERT_NOT_YET_VALID, || 0));
        assert!(!ignoring(8).ignores(HOSTNAME_MISMATCH, || 0));
        assert!(ignoring(4).ignores(HOSTNAME_MISMATCH, || 0));
        assert!(ignoring(8).ignores(SELF_SIGNED_CERT_IN_CHAIN, || 0));
        assert!(ignoring(4096).ignores(INVALID_PURPOSE, || ITEM_EXTENDED_KEY_USAGE));
        assert!(!ignoring(2048).ignores(INVALID_PURPOSE, || ITEM_EXTENDED_KEY_USAGE));
        assert!(ignoring(1_048_575).ignores(CERT_HAS_EXPIRED, || 0));
    }

    #[test]
    fn an_incomplete_chain_may_be_ignored_and_a_foreign_root_not() {
        let lenient = Leniency { ignore_items: 0, ignore_chain: true, ignore_signature: false };
        assert!(lenient.ignores(UNABLE_TO_GET_ISSUER_CERT_LOCALLY, || 0));
        assert!(!lenient.ignores(SELF_SIGNED_CERT_IN_CHAIN, || 0));
    }
}
