//! Core, line and emulated modem in simulated time: one behaviour per file.
//!
//! Nothing here sleeps or reads a clock, and everything random follows from a seed that is printed when a run fails.

mod buffer_mode;
mod client_leaves;
mod clock;
mod closed_everywhere;
mod closing;
mod cmux;
mod datagrams;
mod deadlines;
mod device_server;
mod echo;
mod far_end_closes;
mod flow_control;
mod found_by_chance;
mod hostile_clients;
mod hostile_modem;
mod limits;
mod line_errors;
mod losses;
mod many_clients;
mod no_network;
mod opening;
mod plain;
mod push_mode;
mod radio;
mod random;
mod recovery;
mod sending;
mod several_ports;
mod shutting_down;
mod starting;
mod tls_settings;
mod transparent_mode;
mod unsolicited;
mod warm;
