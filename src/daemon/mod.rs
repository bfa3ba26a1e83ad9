//! What a service has besides modem and clients: control, status, metrics, service manager, data usage, log, exit status.

pub mod activation;
pub(crate) mod capture;
pub mod control;
pub(crate) mod data_usage;
pub mod exit_status;
pub(crate) mod logging;
pub(crate) mod metrics;
pub(crate) mod notify;
pub(crate) mod sandbox;
pub(crate) mod sim_pin;
pub mod status;
