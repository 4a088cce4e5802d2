//! The mock upstream as a program, for benchmarks and for clients in other languages.

use omniroute_testkit::mock::{MockUpstream, Settings};
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
A scripted OpenAI-compatible upstream.

usage: mock-upstream [--port PORT] [--workers N] [--record N]

  --port PORT   port on 127.0.0.1 (default: the variable PORT, or a free one)
  --workers N   threads that serve connections (default 1)
  --record N    requests kept for GET /__mock/requests (default 32; 0 for benchmarks)

Control: GET /__mock/stats, GET /__mock/requests?n=N, POST /__mock/behaviour, /__mock/reset, /__mock/refuse.
A prompt with [[fault:NAME key=value ...]] chooses the answer of its own request.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let settings = match settings(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}");
            return 64.into();
        }
    };
    match serve(settings).await {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("cannot serve on port {}: {error}", settings.port);
            1.into()
        }
    }
}

async fn serve(settings: Settings) -> std::io::Result<()> {
    // Listening for the signals first: one that comes during the start is not lost and does not kill.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mock = MockUpstream::start_with(settings).await?;
    println!("{}", mock.addr);
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    mock.stop().await;
    Ok(())
}

fn settings(mut words: impl Iterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings { kept_requests: 32, ..Settings::default() };
    settings.port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    while let Some(word) = words.next() {
        if word == "--help" {
            return Err(HELP.into());
        }
        let value = words.next().unwrap_or_default();
        let number = value.parse::<usize>().map_err(|_| format!("{word} needs a number, not {value:?}\n\n{HELP}"))?;
        match word.as_str() {
            "--port" => settings.port = u16::try_from(number).map_err(|_| format!("no such port: {number}"))?,
            "--workers" => settings.workers = number,
            "--record" => settings.kept_requests = number,
            _ => return Err(format!("unknown option {word}\n\n{HELP}")),
        }
    }
    Ok(settings)
}
