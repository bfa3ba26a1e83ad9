//! What a service has beside modem and clients: control, status, service manager, accounts, log, exit status.

pub mod activation;
pub mod capture;
pub mod control;
pub mod data_usage;
pub mod exit_status;
pub mod logging;
pub mod notify;
pub mod sim_pin;
pub mod status;
