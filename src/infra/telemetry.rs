//! Logs: text or JSON on standard error, with a level that a reload can change.
//!
//! Libraries that print what goes over the wire (headers, and with them keys) are capped at warnings by a filter of
//! its own, which no level and no directive can lift. The same filter takes the errors of the HTTP server for what they
//! are, notes on what strangers sent: they are shown only where something is logged at debug. Panics are logged with their place and without their text: the
//! text may quote the data that caused them.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{LogFormat, Logging};

/// Targets that print headers below the level of warnings, and one whose notices mean nothing to an operator.
const CAPPED: [&str; 9] =
    ["awc", "actix_http", "actix_web", "actix_tls", "rustls", "tokio_rustls", "h2", "actix_codec", "actix_server"];

/// Complains at ERROR about requests that cannot be parsed, bodies that break off and clients that leave: whoever reaches
/// the port could fill the log and wake an operator. Our own lines say what matters about them.
const COMPLAINS_ABOUT_STRANGERS: &str = "actix_http";

/// Why the logs cannot be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is none.
    #[error("logging.level is neither a level nor a list of directives: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Something else already receives the logs.
    #[error("the logs are already set up: {0}")]
    Taken(String),
}

/// Changes the level while the process runs; clones share it.
#[derive(Clone)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
    /// Whether something is logged at debug.
    detailed: Arc<AtomicBool>,
}

impl LogControl {
    /// Filter by this level or these directives from now on.
    ///
    /// # Errors
    /// When the text is neither; the old level stays.
    pub fn set(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = EnvFilter::try_new(level)?;
        // Before the reload, which asks every filter again.
        self.detailed.store(is_detailed(&filter), Ordering::Relaxed);
        self.filter.reload(filter).map_err(|error| TelemetryError::Taken(error.to_string()))
    }
}

/// Send the logs of this process to standard error, and panics to the logs.
///
/// # Errors
/// When the level is none or something else already receives the logs.
pub fn start(logging: &Logging) -> Result<LogControl, TelemetryError> {
    let json = match logging.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let (subscriber, control) = subscriber(&logging.level, json, std::io::stderr)?;
    subscriber.try_init().map_err(|error| TelemetryError::Taken(error.to_string()))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(control)
}

type Logs = Box<dyn Subscriber + Send + Sync>;

fn subscriber<W>(level: &str, json: bool, writer: W) -> Result<(Logs, LogControl), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(level)?;
    let detailed = Arc::new(AtomicBool::new(is_detailed(&filter)));
    let (filter, handle) = reload::Layer::new(filter);
    let base = tracing_subscriber::registry().with(filter);
    let ansi = !json && std::io::stderr().is_terminal();
    let plain = fmt::layer().with_writer(writer).with_ansi(ansi);
    let subscriber: Logs = if json {
        Box::new(base.with(plain.json().flatten_event(true).with_filter(capped(&detailed))))
    } else {
        Box::new(base.with(plain.with_filter(capped(&detailed))))
    };
    Ok((subscriber, LogControl { filter: handle, detailed }))
}

fn capped(detailed: &Arc<AtomicBool>) -> FilterFn<impl Fn(&Metadata<'_>) -> bool + use<>> {
    let detailed = Arc::clone(detailed);
    filter_fn(move |metadata| {
        let root = metadata.target().split("::").next().unwrap_or_default();
        let loud = *metadata.level() <= Level::WARN;
        if root == COMPLAINS_ABOUT_STRANGERS {
            return loud && detailed.load(Ordering::Relaxed);
        }
        loud || !CAPPED.contains(&root)
    })
}

fn is_detailed(filter: &EnvFilter) -> bool {
    filter.max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG)
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or("unnamed"), "a panic was caught at its border");
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    #[derive(Clone)]
    struct Page(Sender<Vec<u8>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).map(|()| bytes.len()).map_err(std::io::Error::other)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn page() -> (impl for<'a> MakeWriter<'a> + Send + Sync, Receiver<Vec<u8>>) {
        let (sender, receiver) = channel();
        let page = Page(sender);
        (move || page.clone(), receiver)
    }

    fn text(lines: &Receiver<Vec<u8>>) -> String {
        lines.try_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    fn logged(level: &str, events: impl FnOnce()) -> String {
        let (page, lines) = page();
        let (subscriber, _control) = subscriber(level, true, page).unwrap();
        tracing::subscriber::with_default(Arc::new(subscriber), events);
        text(&lines)
    }

    #[test]
    fn headers_on_the_wire_are_never_printed_whatever_the_level() {
        for level in ["trace", "awc=trace,actix_http::h1=trace,rustls=debug", "info,h2::codec=trace"] {
            let text = logged(level, || {
                tracing::trace!(target: "awc::client", "x-api-key");
                tracing::debug!(target: "actix_http::h1::decoder", "x-api-key");
                tracing::debug!(target: "rustls::client", "x-api-key");
                tracing::info!(target: "h2::codec", "x-api-key");
                tracing::warn!(target: "actix_http::h1", "a warning");
            });

            assert!(!text.contains("x-api-key") && text.contains("a warning"), "{level}: {text}");
        }
    }

    #[test]
    fn what_strangers_make_the_server_complain_about_is_shown_at_debug_only() {
        let complain = || tracing::error!(target: "actix_http::h1::dispatcher", "stream error");
        let (page, lines) = page();
        let (subscriber, control) = subscriber("info", true, page).unwrap();

        tracing::subscriber::with_default(Arc::new(subscriber), || {
            complain();
            assert_eq!(text(&lines), "");
            control.set("debug").unwrap();
            complain();
            assert!(text(&lines).contains("stream error"));
            control.set("info").unwrap();
            complain();
            assert_eq!(text(&lines), "");
        });
    }

    #[test]
    fn our_own_events_follow_the_level() {
        let text = logged("info,omniroute::routes=debug", || {
            tracing::debug!(target: "omniroute::gateway", "hidden");
            tracing::debug!(target: "omniroute::routes", "shown");
            tracing::info!(target: "omniroute::gateway", "seen");
        });

        assert!(!text.contains("hidden") && text.contains("shown") && text.contains("seen"), "{text}");
    }

    #[test]
    fn each_line_is_an_object_with_its_fields_at_the_top() {
        let text = logged("info", || tracing::info!(connection.name = "a", duration_ms = 3, "an attempt ended"));

        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();

        assert_eq!((&line["connection.name"], &line["duration_ms"]), (&"a".into(), &3.into()));
        assert_eq!(line["message"], "an attempt ended");
    }

    #[test]
    fn a_new_level_is_in_force_at_once_and_a_wrong_one_changes_nothing() {
        let (page, lines) = page();
        let (subscriber, control) = subscriber("info", true, page).unwrap();

        tracing::subscriber::with_default(Arc::new(subscriber), || {
            control.set("debug").unwrap();
            tracing::debug!("first");
            assert!(control.set("omniroute=loud").is_err());
            tracing::debug!("second");
        });

        let text = text(&lines);
        assert!(text.contains("first") && text.contains("second"), "{text}");
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_thread_and_without_its_text() {
        let (page, lines) = page();
        let (subscriber, _control) = subscriber("info", true, page).unwrap();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));

        let died = std::thread::Builder::new()
            .name("worker 1".into())
            .spawn(|| tracing::subscriber::with_default(Arc::new(subscriber), || panic!("sk-secret")))
            .unwrap()
            .join();
        std::panic::set_hook(before);

        let text = text(&lines);
        assert!(died.is_err() && text.contains("telemetry.rs:") && text.contains("worker 1"), "{text}");
        assert!(!text.contains("sk-secret"), "{text}");
    }
}
