//! `omniroute healthcheck`: for containers without a shell. One request, one answer, no library between them.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::json;
use url::Url;

use crate::cli::CliError;
use crate::config::Config;

const WITHIN: Duration = Duration::from_secs(3);
/// The status line and what stands before it is all that counts.
const ENOUGH: u64 = 4096;

/// Ask whether the gateway is ready; anything but 200 is an error.
///
/// # Errors
/// Why it is not, or cannot be asked.
pub fn run(config: &Config, url: Option<&str>, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let url = match url {
        Some(url) => parse(url)?,
        None => parse(&format!("http://{}:{}/readyz", reachable(&config.server.host), config.server.port))?,
    };
    let status = ask(&url).map_err(|error| CliError::Failure(format!("{url} does not answer: {error}")))?;
    if status != 200 {
        return Err(CliError::Failure(format!("{url} answers {status}: not ready")));
    }
    if json {
        return Ok(writeln!(out, "{}", json!({ "ok": true, "url": url.as_str() }))?);
    }
    Ok(writeln!(out, "ready")?)
}

fn parse(text: &str) -> Result<Url, CliError> {
    let wrong = || CliError::Usage(format!("'{text}' is no http:// address of a gateway"));
    let mut url = Url::parse(text).map_err(|_| wrong())?;
    if url.scheme() != "http" || url.host().is_none() {
        return Err(wrong());
    }
    if url.path() == "/" {
        url.set_path("/readyz");
    }
    Ok(url)
}

/// A gateway that listens everywhere is asked here.
fn reachable(host: &str) -> String {
    match host.trim_matches(['[', ']']) {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    }
}

fn ask(url: &Url) -> io::Result<u16> {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let authority = format!("{host}:{port}");
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, WITHIN).and_then(|stream| exchange(stream, url.path(), &authority)) {
            Ok(status) => return Ok(status),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut stream: TcpStream, path: &str, authority: &str) -> io::Result<u16> {
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ENOUGH).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers is no HTTP server"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers once.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    fn checked(url: &str) -> Result<String, CliError> {
        let mut out = Vec::new();
        run(&Config::default(), Some(url), false, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_ready_gateway_is_ready() {
        assert_eq!(checked(&server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).unwrap(), "ready\n");
    }

    #[test]
    fn one_that_goes_away_or_is_no_gateway_is_not() {
        let draining = checked(&server("HTTP/1.1 503 Service Unavailable\r\n\r\n")).unwrap_err();
        let other = checked(&server("220 mail.example ESMTP\r\n")).unwrap_err();

        assert!(draining.to_string().ends_with("answers 503: not ready"), "{draining}");
        assert_eq!((draining.code(), other.code()), (1, 1));
    }

    #[test]
    fn a_port_without_a_listener_fails_and_a_wrong_address_is_a_wrong_question() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

        assert_eq!(checked(&format!("http://{free}")).unwrap_err().code(), 1);
        assert_eq!(checked("https://gw.example").unwrap_err().code(), 2);
        assert_eq!(checked("gw.example").unwrap_err().code(), 2);
    }

    #[test]
    fn a_gateway_that_listens_everywhere_is_asked_here() {
        let hosts = ["0.0.0.0", "::", "[::]", "::1", "gw.example"].map(reachable);

        assert_eq!(hosts, ["127.0.0.1", "[::1]", "[::1]", "[::1]", "gw.example"]);
    }
}
