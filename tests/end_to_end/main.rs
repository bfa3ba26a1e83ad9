//! End to end: the program itself, a modem on a pseudoterminal or on a device server, real TLS, and the real
//! programs that users combine with it.
//!
//! Each file tests one behaviour. They are one test binary, which links once. If a program is missing, the tests
//! that need it fail and name it.

mod authorities;
mod certificates;
mod cmux_devices;
mod cmux_frames;
mod cmux_killed;
mod coap;
mod connect_mode;
mod curl;
mod datagrams;
mod devices;
mod differential;
mod early_answers;
mod ends;
mod full_send_buffer;
mod git;
mod hostile_clients;
mod hostile_payload;
mod killed;
mod many_clients;
mod minimal;
mod modules;
mod mqtt;
mod payload;
mod plain_tcp;
mod proxy;
mod proxy_programs;
mod short_connections;
mod shutdown;
mod ssh;
mod tls_options;
mod usage;
mod wget;
