//! A virtual machine that QEMU emulates.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

/// The running machine. Dropping it ends it.
pub struct Machine(Child);

impl Machine {
    /// Starts a machine with the kernel and the initrd of this folder. It ends when it is powered off or reboots.
    /// `variables` end the kernel's command line; `arguments` are QEMU's, and one of them is `-serial stdio`.
    ///
    /// # Panics
    /// If QEMU cannot be started.
    pub fn start(
        image: &Path,
        variables: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Machine {
        // The machine ends with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "qemu-system-x86_64"]);
        command.args([
            "-M",
            "q35",
            "-cpu",
            "max",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-nic",
            "none",
        ]);
        command.arg("-kernel").arg(image.join("kernel")).arg("-initrd").arg(image.join("initrd"));
        let kernel = "console=ttyS0 panic=-1 random.trust_cpu=on mitigations=off";
        command.arg("-append").arg(format!("{kernel} {variables}")).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        Machine(child.expect("setpriv is part of every Debian"))
    }

    /// The lines on its standard output, which are shown as well, until it ends.
    ///
    /// # Panics
    /// If they have been taken before.
    pub fn lines(&mut self) -> Receiver<String> {
        let output = self.0.stdout.take().expect("piped, and read once");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let line = line.trim_end();
                println!("{line}");
                if sender.send(line.to_owned()).is_err() {
                    break;
                }
            }
        });
        receiver
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
