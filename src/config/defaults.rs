//! The defaults. A test compares them with the help texts.

use qssl_core::Settings;

use super::{Control, Process};

impl Default for Process {
    fn default() -> Self {
        Process {
            shutdown_timeout: Settings::default().shutdown_timeout,
            control: Control::Default,
            state_directory: None,
            monthly_budget: None,
            hex_dump: false,
            record_up: None,
            record_down: None,
            metrics: None,
            no_sandbox: false,
        }
    }
}
