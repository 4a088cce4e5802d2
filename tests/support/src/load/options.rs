//! The command line of the load generator.

use std::net::SocketAddr;

/// What the program prints for `--help`.
pub const HELP: &str = "\
A load generator, closed-loop or open-loop, for benchmarks on this machine.

usage: load --url URL [--key KEY] [--model MODEL] (--requests N | --seconds S | --slow-streams N) [options]

  --url URL            http://127.0.0.1:PORT/v1/chat/completions or /v1/messages (loopback only)
  --key KEY            bearer key
  --model MODEL        model string (default mock-model)
  --prompt TEXT        user message (default hello); may carry a fault marker for the mock
  --connections N      connections, each with one request under way (default 64)
  --rate R             open loop: so many requests a second begin, whatever becomes of those before (with --seconds)
  --requests N         end after so many requests
  --seconds S          end after so long
  --stream             ask for streams and time their first token
  --slow-streams N     open N streams at once and read each to its end
  --pid PID            report processor time and memory of this process; may be repeated

Prints one JSON object. The exit code is 1 when a request failed.";

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where to.
    pub addr: SocketAddr,
    /// The path of the URL.
    pub path: String,
    /// The bearer key.
    pub key: String,
    /// The model string.
    pub model: String,
    /// The user message.
    pub prompt: String,
    /// Connections of the closed loop.
    pub connections: usize,
    /// The most requests.
    pub requests: Option<u64>,
    /// Requests that begin a second; none is the closed loop.
    pub rate: Option<f64>,
    /// The longest time.
    pub seconds: Option<f64>,
    /// Whether streams are asked for.
    pub stream: bool,
    /// Streams open at once; 0 is the closed loop.
    pub slow_streams: usize,
    /// Processes to report.
    pub pids: Vec<u32>,
}

/// Read the command line, or say what is wrong with it.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut url = None;
    let mut options = Options {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        path: String::new(),
        key: String::new(),
        model: "mock-model".into(),
        prompt: "hello".into(),
        connections: 64,
        requests: None,
        rate: None,
        seconds: None,
        stream: false,
        slow_streams: 0,
        pids: Vec::new(),
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--help" => return Err(HELP.into()),
            "--stream" => options.stream = true,
            "--url" => url = words.next(),
            name => {
                let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
                options.set(name, &value)?;
            }
        }
    }
    (options.addr, options.path) = target(&url.ok_or_else(|| format!("no --url\n\n{HELP}"))?)?;
    if options.rate.is_some() && options.seconds.is_none() {
        return Err("--rate needs --seconds".into());
    }
    if options.requests.is_none() && options.seconds.is_none() && options.slow_streams == 0 {
        return Err("one of --requests, --seconds and --slow-streams is needed: a load must end".into());
    }
    Ok(options)
}

impl Options {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "--key" => self.key = value.into(),
            "--model" => self.model = value.into(),
            "--prompt" => self.prompt = value.into(),
            "--connections" => self.connections = number(name, value)?,
            "--requests" => self.requests = Some(number(name, value)?),
            "--rate" => self.rate = Some(rate(value)?),
            "--seconds" => self.seconds = Some(seconds(value)?),
            "--slow-streams" => self.slow_streams = number(name, value)?,
            "--pid" => self.pids.push(number(name, value)?),
            _ => return Err(format!("unknown option {name}\n\n{HELP}")),
        }
        Ok(())
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} needs a number, not {value:?}"))
}

fn rate(value: &str) -> Result<f64, String> {
    let rate: f64 = number("--rate", value)?;
    if (0.1..=1e6).contains(&rate) { Ok(rate) } else { Err("--rate must be between 0.1 and 1000000".into()) }
}

fn seconds(value: &str) -> Result<f64, String> {
    let seconds: f64 = number("--seconds", value)?;
    if (0.0..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("--seconds must be between 0 and 3600".into()) }
}

/// Only this machine: the tool must not be able to press on anybody else's.
fn target(url: &str) -> Result<(SocketAddr, String), String> {
    let rest = url.strip_prefix("http://").ok_or("the URL must begin with http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.replace("localhost", "127.0.0.1");
    let addr: SocketAddr = host.parse().map_err(|_| format!("{host:?} is no address with a port"))?;
    if !addr.ip().is_loopback() {
        return Err(format!("{} is not this machine; only loopback targets are allowed", addr.ip()));
    }
    Ok((addr, format!("/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn only_loopback_targets_are_accepted() {
        for host in ["127.0.0.1:80", "127.9.9.9:1", "[::1]:80", "localhost:80"] {
            assert!(parsed(&format!("--requests 1 --url http://{host}/v1")).is_ok(), "{host}");
        }
        for host in ["10.0.0.1:80", "0.0.0.0:80", "example.com:80", "8.8.8.8:53", "127.0.0.1"] {
            assert!(parsed(&format!("--requests 1 --url http://{host}/v1")).is_err(), "{host}");
        }
        assert!(parsed("--requests 1 --url https://127.0.0.1:1/").is_err());
    }

    #[test]
    fn a_load_without_an_end_is_refused() {
        assert!(parsed("--url http://127.0.0.1:1/v1").unwrap_err().contains("must end"));
    }

    #[test]
    fn unknown_options_and_bad_numbers_are_named() {
        assert!(parsed("--url http://127.0.0.1:1/ --request 5").unwrap_err().contains("--request"));
        assert!(parsed("--url http://127.0.0.1:1/ --requests many").unwrap_err().contains("many"));
    }
}
