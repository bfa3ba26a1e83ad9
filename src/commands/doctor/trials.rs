//! Changes to the TLS settings that find the cause of a TLS failure, for which the module has only the code 566.

use crate::config::{self, Authentication, certificate_items};
use qssl_core::modem::Profile;
use qssl_core::modem::ssl_context::Setting;
use qssl_core::settings;

/// One change to the settings, and what is wrong if the connection works with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The change.
    pub setting: Setting,
    /// What is wrong, in words.
    pub cause: String,
    /// What to do about it.
    pub advice: String,
}

/// The changes to try for these settings on this module, the most likely and conclusive first. Each stands for a
/// different cause, and the last accepts every certificate.
///
/// `clock_is_right`: the modem's clock agrees with this machine's.
pub fn trials(tls: &config::Tls, datagrams: bool, profile: &Profile, clock_is_right: bool) -> Vec<Trial> {
    let authenticated = tls.authentication != Authentication::Insecure;
    let mut trials = Vec::new();
    let mut add = |key: &'static str, value: String, cause: &str, advice: &str| {
        let setting = Setting::new(key, value);
        trials.push(Trial { setting, cause: cause.to_owned(), advice: advice.to_owned() });
    };
    if profile.has_key("sni") {
        match tls.sni {
            Some(false) => {
                add("sni", "1".into(), "the server requires the host name (SNI)", "leave --no-sni out");
            }
            _ => add(
                "sni",
                "0".into(),
                "the server does not know the name that it is sent (SNI)",
                "check the name, or give --no-sni",
            ),
        }
    }
    if authenticated && tls.check_time != Some(false) {
        let (cause, advice) = match clock_is_right {
            true => (
                "the server's certificate, or one above it, has expired or is not valid yet",
                "have it renewed; --no-check-time accepts it as it is",
            ),
            false => (
                "the modem's clock is wrong, so the server's certificate looks expired or not yet valid",
                "a tunnel sets the clock when it starts; --ntp HOST sets it from the network",
            ),
        };
        add("ignorelocaltime", "1".into(), cause, advice);
    }
    if tls.version != config::TlsVersion::Any {
        let (key, any) =
            if datagrams { ("dtlsversion", 2) } else { ("sslversion", config::TlsVersion::Any as u8) };
        add(
            key,
            any.to_string(),
            "the server does not speak the TLS version that is asked for",
            "give --tls-version any, or the version that it speaks",
        );
    }
    if tls.cipher != settings::Cipher::ANY.0 {
        add(
            "ciphersuite",
            format!("0X{:04X}", settings::Cipher::ANY.0),
            "the server does not take the one cipher suite that is offered",
            "leave --cipher out, or give one that it takes",
        );
    }
    if tls.alpn.is_some() {
        add(
            "alpn",
            "\"\"".into(),
            "the server does not speak the protocol of --alpn",
            "leave --alpn out, or give one that it speaks",
        );
    }
    let ignored = tls.ignore_certificate_items;
    let ignores_name = ignored & certificate_items::COMMON_NAME != 0;
    if authenticated && !ignores_name && profile.checks_host_name() {
        let cause = "the server's certificate is for another name";
        let advice = "connect to the name in the certificate";
        if profile.has_key("ignorecertitem") {
            add("ignorecertitem", (ignored | certificate_items::COMMON_NAME).to_string(), cause, advice);
        } else {
            add("checkhost", "0".into(), cause, advice);
        }
    }
    if tls.client.is_some() && authenticated {
        add(
            "seclevel",
            "1".into(),
            "the module cannot use the client certificate and its key, or the server refuses them",
            "check the password of --key-password-file, and with qssl-tunnel cert check FILE --key FILE whether the key \
             belongs to the certificate",
        );
    }
    if authenticated {
        let cause = "the given authorities do not vouch for the server: it is signed by another, or sends its chain \
                     incompletely";
        let advice = "give its root with --ca FILE or --ca system:NAME";
        if profile.has_key("ignorecertitem") {
            add("ignorecertitem", (ignored | certificate_items::UNTRUSTED).to_string(), cause, advice);
            add(
                "seclevel",
                "0".into(),
                "the server's certificate is wrong in more than one way: its dates, its name, its use, or who has \
                 signed it",
                "look at it with openssl s_client; --insecure connects without looking",
            );
        } else {
            add("seclevel", "0".into(), cause, advice);
        }
    }
    trials
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(identity: &str) -> Profile {
        let mut profile = Profile::unknown();
        profile.learn_identity(&["Quectel".into(), identity.into(), "Revision: R1".into()]);
        profile
    }

    fn keys(tls: &config::Tls, profile: &Profile) -> Vec<String> {
        trials(tls, false, profile, true).iter().map(|trial| trial.setting.key.to_string()).collect()
    }

    fn trusting() -> config::Tls {
        let root = config::Pem { source: "ca.pem".into(), bytes: b"root".to_vec() };
        config::Tls::new(Authentication::Authorities(vec![root]))
    }

    #[test]
    fn only_what_can_make_a_difference_is_tried_and_the_certificate_last() {
        let tls = trusting();
        assert_eq!(
            keys(&tls, &module("EG800Q")),
            ["sni", "ignorelocaltime", "sslversion", "ignorecertitem", "ignorecertitem", "seclevel"]
        );
        assert_eq!(keys(&tls, &module("EC20")), ["ignorelocaltime", "sslversion", "seclevel"]);
        let insecure = config::Tls { authentication: Authentication::Insecure, ..tls.clone() };
        assert_eq!(keys(&insecure, &module("EC20")), ["sslversion"]);
        let narrow = config::Tls { version: config::TlsVersion::Any, cipher: 0x0035, ..insecure };
        assert_eq!(keys(&narrow, &module("EC20")), ["ciphersuite"]);
    }

    #[test]
    fn dates_are_blamed_on_the_clock_only_if_the_clock_is_wrong() {
        let cause = |clock_is_right| {
            let all = trials(&trusting(), false, &module("EC20"), clock_is_right);
            all.into_iter().find(|trial| trial.setting.key == "ignorelocaltime").expect("it is tried").cause
        };
        assert!(cause(true).starts_with("the server's certificate"));
        assert!(cause(false).starts_with("the modem's clock is wrong"));
    }
}
