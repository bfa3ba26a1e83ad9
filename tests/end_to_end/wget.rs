//! Goal of this test: wget fetches files through the tunnel, several over one connection, and continues a partial file,
//! in every access mode.

use std::fs;
use std::process::Command;

use qssl_test_common::harness::{
    MODES, Nginx, PAGE, Through, digest, patterned_bytes, patterned_file, program, rounds, run, sha256_hex,
    temporary_directory,
};

#[test]
fn files_and_the_rest_of_a_file_in_every_mode() {
    const BYTES: u64 = 1024 * 1024;
    let nginx = Nginx::start();
    let file = patterned_file(nginx.root(), BYTES);
    let name = file.file_name().and_then(|name| name.to_str()).expect("it is text");
    for mode in MODES {
        let through = Through::new(nginx.address, mode);
        let site = format!("http://{}", through.tunnel.address());
        for round in 0..rounds(1, 150) {
            let directory = temporary_directory();
            let half = patterned_bytes(BYTES / 2);
            fs::write(directory.path().join(name), half).expect("the directory is ours");
            let mut wget = Command::new(program("wget"));
            wget.env_clear().current_dir(&directory).args([
                "--no-verbose",
                "--no-proxy",
                "--tries=1",
                "--continue",
            ]);
            run(wget.arg(format!("{site}/page.html")).arg(format!("{site}/{name}"))).expect_success();
            let page = fs::read_to_string(directory.path().join("page.html")).expect("wget wrote it");
            assert_eq!(page, PAGE, "{mode}, round {round}");
            let whole = fs::read(directory.path().join(name)).expect("wget wrote it");
            assert_eq!(sha256_hex(&whole), digest(BYTES), "{mode}, round {round}");
        }
        through.tunnel.wait_for_count("bytes up", rounds(1, 150));
    }
}
