//! The registered codes of cipher suites and OpenSSL's names for them.
//!
//! The modem's manuals name suites by code (section 2.1.1 in both). OpenSSL no longer has static ECDH, so
//! those codes have no name here: a modem that is set to offer only these finds no common cipher.

/// OpenSSL's name of a suite, or `None` where OpenSSL does not have it.
pub(super) fn openssl_name(code: u16) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// The suites that authenticate by pre-shared key: a modem that has a key and may offer everything offers
/// these too. The manuals' tables list none of them.
pub(super) const PRE_SHARED_KEY: &str = "PSK-AES256-GCM-SHA384:PSK-AES128-GCM-SHA256:PSK-AES256-CBC-SHA384:\
     PSK-AES128-CBC-SHA256:PSK-AES256-CBC-SHA:PSK-AES128-CBC-SHA:\
     ECDHE-PSK-AES256-CBC-SHA:ECDHE-PSK-AES128-CBC-SHA";

const NAMES: &[(u16, &str)] = &[
    (0x0004, "RC4-MD5"),
    (0x0005, "RC4-SHA"),
    (0x000A, "DES-CBC3-SHA"),
    (0x002F, "AES128-SHA"),
    (0x0035, "AES256-SHA"),
    (0x003C, "AES128-SHA256"),
    (0x003D, "AES256-SHA256"),
    (0x008B, "PSK-3DES-EDE-CBC-SHA"),
    (0x008C, "PSK-AES128-CBC-SHA"),
    (0x008D, "PSK-AES256-CBC-SHA"),
    (0x009C, "AES128-GCM-SHA256"),
    (0x009D, "AES256-GCM-SHA384"),
    (0x00A8, "PSK-AES128-GCM-SHA256"),
    (0x00A9, "PSK-AES256-GCM-SHA384"),
    (0x00AE, "PSK-AES128-CBC-SHA256"),
    (0x00AF, "PSK-AES256-CBC-SHA384"),
    (0xC007, "ECDHE-ECDSA-RC4-SHA"),
    (0xC008, "ECDHE-ECDSA-DES-CBC3-SHA"),
    (0xC009, "ECDHE-ECDSA-AES128-SHA"),
    (0xC00A, "ECDHE-ECDSA-AES256-SHA"),
    (0xC011, "ECDHE-RSA-RC4-SHA"),
    (0xC012, "ECDHE-RSA-DES-CBC3-SHA"),
    (0xC013, "ECDHE-RSA-AES128-SHA"),
    (0xC014, "ECDHE-RSA-AES256-SHA"),
    (0xC023, "ECDHE-ECDSA-AES128-SHA256"),
    (0xC024, "ECDHE-ECDSA-AES256-SHA384"),
    (0xC027, "ECDHE-RSA-AES128-SHA256"),
    (0xC028, "ECDHE-RSA-AES256-SHA384"),
    (0xC02B, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (0xC02C, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (0xC02F, "ECDHE-RSA-AES128-GCM-SHA256"),
    (0xC030, "ECDHE-RSA-AES256-GCM-SHA384"),
    (0xC035, "ECDHE-PSK-AES128-CBC-SHA"),
    (0xC036, "ECDHE-PSK-AES256-CBC-SHA"),
];

#[cfg(test)]
mod tests {
    use openssl::ssl::{Ssl, SslContext, SslMethod};

    use super::*;

    #[test]
    fn the_vendored_openssl_has_every_named_suite_under_its_code() {
        let context = SslContext::builder(SslMethod::tls_client()).expect("a context").build();
        let ssl = Ssl::new(&context).expect("an ssl");
        for (code, name) in NAMES {
            let lists = ssl.bytes_to_cipher_list(&code.to_be_bytes(), false).expect("a list of one");
            let names: Vec<_> = lists.suites.iter().map(|suite| suite.name()).collect();
            assert_eq!(names, [*name], "0X{code:04X}");
        }
    }

    #[test]
    fn static_ecdh_has_no_name() {
        for code in [0xC002, 0xC003, 0xC004, 0xC005, 0xC00C, 0xC00D, 0xC00E, 0xC00F, 0xC025, 0xC02A] {
            assert_eq!(openssl_name(code), None);
        }
    }
}
