//! Goal of this test: programs that know proxies reach servers through `--dynamic` as Debian has them, twelve at once, and
//! where microsocks connects or refuses to, the tunnel does so, too.
//!
//! apt-get and pip send the request for an http:// address to an HTTP proxy instead of CONNECT, which is not taken: they are
//! given SOCKS5 or an https:// address. Debian's pip has no SOCKS by itself. ssh has nc -X, which netcat-traditional lacks.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::git;
use super::ssh;
use qssl_test_common::harness::{
    Modem, NAME, Nginx, PAGE, Running, Tunnel, certificate_file, connect, echo, free_address,
    patterned_bytes, program, run, sha256_hex, temporary_directory,
};

#[test]
fn each_program_takes_it_as_its_proxy() {
    let world = World::start();
    for judge in JUDGES {
        judge(&world);
    }
}

#[test]
fn twelve_programs_at_once_take_it_as_their_proxy() {
    let world = World::start();
    std::thread::scope(|scope| {
        for judge in JUDGES.iter().cycle().take(12) {
            scope.spawn(|| judge(&world));
        }
    });
}

const JUDGES: [fn(&World); 9] = [
    |world| apt(world, "http", &format!("Acquire::http::Proxy=socks5h://{}", world.tunnel.address())),
    |world| apt(world, "https", &format!("Acquire::https::Proxy=http://{}", world.tunnel.address())),
    pip,
    |world| clone(world, "socks5h"),
    |world| clone(world, "http"),
    shell,
    wget,
    |world| curl(world, "socks5h"),
    |world| curl(world, "http"),
];

/// A web server with and without TLS, an sshd, and a proxy by which a modem reaches them as `server.test`.
struct World {
    nginx: Nginx,
    /// The newest commit of the repository there.
    head: String,
    keys: TempDir,
    _sshd: Running,
    tunnel: Tunnel,
    _modem: Modem,
}

impl World {
    fn start() -> World {
        let plain = free_address();
        let nginx = Nginx::with(&format!("listen {plain};"));
        let head = git::repository(nginx.root());
        debian_repository(&nginx.root().join("debian"));
        python_index(&nginx.root().join("simple"));
        let (keys, address) = (temporary_directory(), free_address());
        ssh::prepare(keys.path());
        let mut sshd = Command::new(program("sshd"));
        sshd.args(["-D", "-e", "-f"]).arg(keys.path().join("sshd_config"));
        sshd.args(["-o", &format!("ListenAddress={address}")]);
        let sshd = Running::start(&mut sshd);
        sshd.wait_for("Server listening on");
        let modem = Modem::with_options(&format!(
            "--map {NAME}:443={} --map {NAME}:80={plain} --map {NAME}:22={address}",
            nginx.address
        ));
        let device = modem.device(0);
        let usual = ["-d", &device, "--dynamic", "auto", "--allow-target", "*.test:22,80,443"];
        let tunnel = Tunnel::listen(&[&usual[..], &["--queue-timeout", "10min"]].concat());
        tunnel.wait_until_ready();
        World { nginx, head, keys, _sshd: sshd, tunnel, _modem: modem }
    }
}

/// A package, and the list that `deb ... ./` names.
fn debian_repository(root: &Path) {
    let package = temporary_directory();
    let control = package.path().join("DEBIAN");
    fs::create_dir_all(&control).expect("the directory is ours");
    fs::write(package.path().join("content"), patterned_bytes(50_000)).expect("the directory is ours");
    let fields = "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@server.test>\n\
                  Description: nothing\n";
    fs::write(control.join("control"), fields).expect("the directory is ours");
    fs::create_dir_all(root).expect("the directory is ours");
    let file = root.join("tiny_1.0_all.deb");
    let mut build = Command::new(program("dpkg-deb"));
    run(build.args(["--build", "--root-owner-group"]).arg(package.path()).arg(&file)).expect_success();
    let bytes = fs::read(&file).expect("dpkg-deb has made it");
    let list = format!(
        "{fields}Filename: ./tiny_1.0_all.deb\nSize: {}\nSHA256: {}\n",
        bytes.len(),
        sha256_hex(&bytes)
    );
    fs::write(root.join("Packages"), list).expect("the directory is ours");
}

fn apt(world: &World, scheme: &str, proxy: &str) {
    let directory = temporary_directory();
    let root = directory.path();
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(root.join(folder)).expect("the directory is ours");
    }
    fs::write(root.join("status"), "").expect("the directory is ours");
    let source = format!("deb [trusted=yes] {scheme}://{NAME}/debian ./\n");
    fs::write(root.join("sources.list"), source).expect("the directory is ours");
    for command in [&["update"][..], &["download", "tiny"]] {
        let mut apt = Command::new(program("apt-get"));
        apt.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(root);
        for option in [
            format!("Dir::Etc::SourceList={}/sources.list", root.display()),
            format!("Dir::State={}/state", root.display()),
            format!("Dir::State::status={}/status", root.display()),
            format!("Dir::Cache={}/cache", root.display()),
            format!("Acquire::https::CAInfo={}", certificate_file()),
            proxy.to_owned(),
        ] {
            apt.args(["-o", &option]);
        }
        // The user _apt may not enter the directory.
        apt.args(["-o", "APT::Sandbox::User=root", "-o", "APT::Update::Error-Mode=any"]);
        apt.args(["-o", "Dir::Etc::SourceParts=-", "-o", "Acquire::Retries=0", "--quiet"]);
        run(apt.args(command)).expect_success();
    }
    let name = "tiny_1.0_all.deb";
    let got = fs::read(root.join(name)).expect("apt-get has fetched it");
    assert_eq!(got, fs::read(world.nginx.root().join("debian").join(name)).expect("it is there"));
}

/// An index with one package, whose file zipfile makes.
fn python_index(root: &Path) {
    const MAKE: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('tiny.py', '')
    about = 'tiny-1.0.dist-info/'
    wheel.writestr(about + 'METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n')
    wheel.writestr(about + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(about + 'RECORD', '')
";
    let folder = root.join("tiny");
    fs::create_dir_all(&folder).expect("the directory is ours");
    let mut make = Command::new(program("python3"));
    run(make.args(["-c", MAKE]).arg(folder.join(WHEEL))).expect_success();
    let page = format!("<!DOCTYPE html><html><body><a href=\"{WHEEL}\">{WHEEL}</a></body></html>\n");
    fs::write(folder.join("index.html"), page).expect("the directory is ours");
}

fn pip(world: &World) {
    let directory = temporary_directory();
    let mut pip = Command::new(program("pip3"));
    pip.env_clear().env("PIP_CONFIG_FILE", "/dev/null").current_dir(&directory);
    pip.envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"));
    pip.args(["download", "--quiet", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]);
    pip.args(["--cert", certificate_file(), "--index-url", &format!("https://{NAME}/simple/")]);
    run(pip.args(["--proxy", &format!("http://{}", world.tunnel.address()), "tiny"])).expect_success();
    let got = fs::read(directory.path().join(WHEEL)).expect("pip has fetched it");
    assert_eq!(got, fs::read(world.nginx.root().join("simple/tiny").join(WHEEL)).expect("it is there"));
}

fn clone(world: &World, protocol: &str) {
    let directory = temporary_directory();
    let mut command = git::git(directory.path());
    command.env_remove("no_proxy");
    command.args(["-c", &format!("http.proxy={protocol}://{}", world.tunnel.address())]);
    command.env("GIT_SSL_CAINFO", certificate_file());
    command.args(["clone", "--quiet", &format!("https://{NAME}/repository.git"), "clone"]);
    run(&mut command).expect_success();
    let clone = directory.path().join("clone");
    let cloned = run(git::git(&clone).args(["rev-parse", "HEAD"])).expect_success().text();
    assert_eq!(cloned, world.head, "{protocol}");
    run(git::git(&clone).args(["fsck", "--full", "--strict"])).expect_success();
}

fn shell(world: &World) {
    let proxy = format!("{} -X 5 -x {} %h %p", program("nc.openbsd").display(), world.tunnel.address());
    let mut command = ssh::command("ssh", world.keys.path(), &proxy);
    assert_eq!(run(command.args([NAME, "echo there"])).expect_success().text(), "there\n");
}

fn wget(world: &World) {
    let mut wget = Command::new(program("wget"));
    wget.env_clear().env("https_proxy", format!("http://{}", world.tunnel.address()));
    wget.args(["--no-verbose", "--tries=1", "--ca-certificate", certificate_file(), "-O", "-"]);
    assert_eq!(run(wget.arg(format!("https://{NAME}/page.html"))).expect_success().text(), PAGE);
}

fn curl(world: &World, protocol: &str) {
    let mut curl = Command::new(program("curl"));
    curl.env_clear().args(["--silent", "--show-error", "--cacert", certificate_file()]);
    curl.args(["--proxy", &format!("{protocol}://{}", world.tunnel.address())]);
    assert_eq!(
        run(curl.arg(format!("https://{NAME}/page.html"))).expect_success().text(),
        PAGE,
        "{protocol}"
    );
}

/// What became of a request, as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The connection is there, and carries bytes.
    Connected,
    /// There is a reply that says no.
    Refused,
    /// There is no method of authentication to go on with: the reply says so, or it was no SOCKS5.
    NoMethod,
    /// The request gets no reply.
    Closed,
}

/// Which number a refusal has is left out: microsocks knows fewer causes.
#[test]
fn what_microsocks_connects_or_refuses_is_connected_or_refused() {
    let echo = echo_server();
    let closed = free_address().port();
    let address = free_address();
    let mut twin = Command::new(program("microsocks"));
    twin.args(["-i", "127.0.0.1", "-p", &address.port().to_string()]);
    // It prints nothing when it listens.
    let _twin = Running::start(&mut twin);
    let twin_listens = || std::net::TcpStream::connect(address).is_ok();
    while !twin_listens() {
        std::thread::yield_now();
    }
    let modem = Modem::with_options("");
    let device = modem.device(0);
    let tunnel = Tunnel::listen(&["-d", &device, "--dynamic", "socks5", "--allow-target", "*:1-65535"]);
    tunnel.wait_until_ready();

    let request = |command: u8, kind: u8, host: &[u8], port: u16| {
        [&[5, command, 0, kind], host, &port.to_be_bytes()].concat()
    };
    let named = |name: &str| [&[name.len() as u8], name.as_bytes()].concat();
    let ours = Ipv4Addr::LOCALHOST.octets();
    let usual: &[u8] = &[5, 1, 0];
    for (what, greeting, request) in [
        ("an address", usual, request(1, 1, &ours, echo.port())),
        ("a name", usual, request(1, 3, &named("localhost"), echo.port())),
        ("several methods", &[5, 3, 2, 1, 0], request(1, 1, &ours, echo.port())),
        ("a closed port", usual, request(1, 1, &ours, closed)),
        ("a closed port of a name", usual, request(1, 3, &named("localhost"), closed)),
        ("an unknown name", usual, request(1, 3, &named("nobody.invalid"), 80)),
        ("BIND", usual, request(2, 1, &ours, echo.port())),
        ("UDP ASSOCIATE", usual, request(3, 1, &ours, echo.port())),
        ("an unknown command", usual, request(9, 1, &ours, echo.port())),
        ("an unknown kind of address", usual, request(1, 9, &ours, echo.port())),
        ("no acceptable method", &[5, 1, 2], Vec::new()),
        ("SOCKS4", &[4, 1, 0, 80, 127, 0, 0, 1, 0], Vec::new()),
    ] {
        let [wanted, got] = [address, tunnel.address()].map(|proxy| ask(proxy, greeting, &request));
        assert_eq!(got, wanted, "{what}");
    }
}

fn ask(proxy: SocketAddr, greeting: &[u8], request: &[u8]) -> Answer {
    let mut client = connect(proxy);
    client.write_all(greeting).expect("it is read");
    let mut method = [0; 2];
    if client.read_exact(&mut method).is_err() || method != [5, 0] {
        return Answer::NoMethod;
    }
    client.write_all(request).expect("it is read");
    let mut reply = [0; 10];
    match client.read_exact(&mut reply) {
        Err(_) => Answer::Closed,
        Ok(()) if reply[1] == 0 => {
            echo(&mut client, b"carried");
            Answer::Connected
        }
        Ok(()) => Answer::Refused,
    }
}

fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut from = client.try_clone().expect("a descriptor");
                let _ = std::io::copy(&mut from, &mut client);
            });
        }
    });
    address
}

const WHEEL: &str = "tiny-1.0-py3-none-any.whl";
