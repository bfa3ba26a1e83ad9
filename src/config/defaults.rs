//! What holds when nothing is said. The help texts name the same values, which a test compares.

use std::time::Duration;

use super::{
    ApnAuth, Authentication, Control, Device, Limits, Modem, OnClosed, OpenOn, Pdp, PdpType, Process,
    Recovery, Tls, TlsVersion, Wait, WhenFull, cipher,
};
use crate::at::{IdSet, PdpContextId, SOCKET_COUNT, SSL_CONTEXT_COUNT, USUAL_PATIENCE};

impl Default for Modem {
    fn default() -> Self {
        Modem {
            devices: vec![Device::Auto],
            baud: 115_200,
            flow_control: None,
            sockets: IdSet::first(SOCKET_COUNT),
            ssl_contexts: IdSet::first(SSL_CONTEXT_COUNT),
            sim_pin: None,
            pdp: Pdp::default(),
            ntp: None,
            recovery: Recovery::Session,
            reset_command: None,
            reset_after: Duration::from_secs(60),
            poll_interval: None,
            wait: Wait::Forever,
            liveness_interval: Duration::from_secs(60),
            command_timeout: USUAL_PATIENCE,
            send_timeout: Duration::from_secs(60),
        }
    }
}

impl Default for Pdp {
    fn default() -> Self {
        Pdp {
            context: PdpContextId::new(1).expect("every module has PDP context 1"),
            kind: PdpType::Ipv4,
            apn: None,
            user: None,
            password: None,
            auth: ApnAuth::None,
            dns: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect_timeout: Duration::from_secs(60),
            half_close_timeout: Duration::from_secs(60),
            idle_timeout: Duration::ZERO,
            lifetime: Duration::ZERO,
            first_byte_timeout: Duration::ZERO,
            queue_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(10),
            when_full: WhenFull::Wait,
            on_closed: OnClosed::Eof,
            open_on: OpenOn::Accept,
            max_clients: None,
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Process {
            shutdown_timeout: Duration::from_secs(30),
            control: Control::Default,
            state_directory: None,
            monthly_budget: None,
            hex_dump: false,
            record_up: None,
            record_down: None,
        }
    }
}

impl Tls {
    /// Every setting but the authentication at its default. There is no default for that one: whoever
    /// makes a [`Tls`] has to say whom it trusts.
    pub fn new(authentication: Authentication) -> Self {
        Tls {
            version: TlsVersion::Tls12,
            cipher: cipher::Cipher::ANY.0,
            authentication,
            client: None,
            sni: None,
            alpn: None,
            psk: None,
            session_resumption: false,
            renegotiation: false,
            check_time: None,
            ignore_certificate_items: 0,
            ignore_chain: false,
            ignore_signature: false,
        }
    }
}
