//! A tunnel and its counts as they are read: all fields in one struct.
//!
//! The code that serde derives to read a flattened struct copies everything, and is many times as large.

use std::collections::BTreeMap;

use qssl_core::modem::Counters;
use qssl_core::relay::TunnelCounters;
use serde::Deserialize;

use super::{Budget, Counts, Tunnel};

/// The fields of a [`Tunnel`].
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct TunnelFields {
    name: String,
    listen: Vec<String>,
    target: String,
    allow_target: Vec<String>,
    mode: String,
    ssl_context: Option<u32>,
    clients: BTreeMap<String, usize>,
    warm: usize,
    accepted: u64,
    refused: u64,
    opens: u64,
    served_warm: u64,
    resets: u64,
    up_bytes: u64,
    down_bytes: u64,
    datagrams: BTreeMap<String, usize>,
    today_bytes: u64,
    month_bytes: u64,
}

/// The fields of [`Counts`].
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct CountsFields {
    opens: u64,
    open_failures: BTreeMap<String, u64>,
    open_seconds: Option<[f64; 3]>,
    sent_bytes: u64,
    received_bytes: u64,
    wire_bytes_out: u64,
    wire_bytes_in: u64,
    send_fails: u64,
    resyncs: u64,
    port_opens: u64,
    reboots: u64,
    waiting_clients: usize,
    waiting_commands: usize,
    budget: Option<Budget>,
}

impl From<TunnelFields> for Tunnel {
    fn from(fields: TunnelFields) -> Tunnel {
        let counters = TunnelCounters {
            accepted: fields.accepted,
            refused: fields.refused,
            opens: fields.opens,
            served_warm: fields.served_warm,
            resets: fields.resets,
            up_bytes: fields.up_bytes,
            down_bytes: fields.down_bytes,
            ..TunnelCounters::default()
        };
        Tunnel {
            name: fields.name,
            listen: fields.listen,
            target: fields.target,
            allow_target: fields.allow_target,
            mode: fields.mode,
            ssl_context: fields.ssl_context,
            clients: fields.clients,
            warm: fields.warm,
            counters,
            datagrams: fields.datagrams,
            today_bytes: fields.today_bytes,
            month_bytes: fields.month_bytes,
        }
    }
}

impl From<CountsFields> for Counts {
    fn from(fields: CountsFields) -> Counts {
        Counts {
            modem: Counters {
                opens: fields.opens,
                open_failures: fields.open_failures,
                open_seconds: fields.open_seconds,
                sent_bytes: fields.sent_bytes,
                received_bytes: fields.received_bytes,
                wire_bytes_out: fields.wire_bytes_out,
                wire_bytes_in: fields.wire_bytes_in,
                send_fails: fields.send_fails,
                resyncs: fields.resyncs,
                port_opens: fields.port_opens,
                reboots: fields.reboots,
            },
            waiting_clients: fields.waiting_clients,
            waiting_commands: fields.waiting_commands,
            budget: fields.budget,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::*;

    /// Reads what this writes, with another number in each field that has one.
    fn every_number_is_read_back<T: Serialize + DeserializeOwned>(written: &T) {
        let mut json = serde_json::to_value(written).unwrap();
        let fields = json.as_object_mut().unwrap().values_mut();
        for (number, value) in (1..).zip(fields.filter(|value| value.is_number())) {
            *value = Value::from(number);
        }
        let read: T = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), json);
    }

    #[test]
    fn no_field_is_lost_or_taken_for_another() {
        every_number_is_read_back(&Tunnel::default());
        every_number_is_read_back(&Counts::default());
    }
}
