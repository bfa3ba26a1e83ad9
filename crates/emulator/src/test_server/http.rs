//! As much of HTTP/1.1 as curl needs to download and upload bytes.

use std::io;

use super::{Connection, Stream, send_pattern};

/// Serves requests until the client ends or asks to close.
pub(super) fn serve(connection: &Connection<'_>, stream: &mut Stream) -> io::Result<()> {
    let mut ahead = Vec::new();
    while let Some(head) = read_head(connection, stream, &mut ahead)? {
        let request = Request::parse(&head);
        if request.expects_continue {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let bytes = request.path.strip_prefix("/bytes/").and_then(|count| count.parse::<u64>().ok());
        match (request.method, bytes) {
            ("GET" | "HEAD", Some(bytes)) => {
                stream.write_all(head_of("200 OK", "application/octet-stream", bytes).as_bytes())?;
                if request.method == "GET" {
                    send_pattern(stream, bytes)?;
                }
            }
            ("GET", None) if request.path == "/" => respond(stream, "200 OK", GREETING)?,
            ("PUT" | "POST", _) => {
                let digest = connection.digest(stream, &mut ahead, request.body_bytes)?;
                respond(stream, "200 OK", &format!("{digest}\n"))?;
            }
            _ => respond(stream, "404 Not Found", "no such thing here\n")?,
        }
        if request.closes {
            return Ok(());
        }
    }
    Ok(())
}

struct Request<'a> {
    method: &'a str,
    path: &'a str,
    body_bytes: u64,
    expects_continue: bool,
    closes: bool,
}

impl<'a> Request<'a> {
    fn parse(head: &'a str) -> Self {
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut request = Request {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            body_bytes: 0,
            expects_continue: false,
            closes: words.next() == Some("HTTP/1.0"),
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => request.body_bytes = value.parse().unwrap_or(0),
                "expect" => request.expects_continue = value.eq_ignore_ascii_case("100-continue"),
                "connection" => request.closes |= value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        request
    }
}

const GREETING: &str = "hello from the server\n";
const HEAD_LIMIT_BYTES: usize = 16_384;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Reads up to the empty line; what came after it stays in `ahead`. `None` at the client's end.
fn read_head(
    connection: &Connection<'_>,
    stream: &mut Stream,
    ahead: &mut Vec<u8>,
) -> io::Result<Option<String>> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = ahead.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
            let head = String::from_utf8_lossy(&ahead[..end]).into_owned();
            ahead.drain(..end + HEAD_END.len());
            return Ok(Some(head));
        }
        if ahead.len() > HEAD_LIMIT_BYTES {
            return Err(io::Error::other("request head too long"));
        }
        match connection.read(stream, &mut buffer)? {
            0 => return Ok(None),
            count => ahead.extend_from_slice(&buffer[..count]),
        }
    }
}

fn respond(stream: &mut Stream, status: &str, text: &str) -> io::Result<()> {
    let head = head_of(status, "text/plain", text.len() as u64);
    stream.write_all(format!("{head}{text}").as_bytes())
}

fn head_of(status: &str, kind: &str, bytes: u64) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {bytes}\r\n\r\n")
}
