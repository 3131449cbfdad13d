//! `--log`: spans and events of the library on standard error, for those who want to know what a
//! member does in between.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged, and how.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct Logging {
    /// Log to standard error: a level (error, warn, info, debug, trace), or levels of parts of the
    /// library: warn,plurix::session=debug.
    #[arg(long, global = true, value_name = "FILTER", env = "PLURIX_LOG")]
    log: Option<Filter>,
    /// How a line of the log looks.
    #[arg(long, global = true, value_name = "FORMAT", env = "PLURIX_LOG_FORMAT")]
    #[arg(value_enum, default_value_t = Format::Pretty)]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Pretty,
    /// An object of JSON in each line.
    Json,
}

impl Logging {
    /// Logs from here on, if that is wanted.
    pub(crate) fn begin(&self) {
        let Some(filter) = &self.log else {
            return;
        };
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            // Who has closed standard error misses nothing that it wanted.
            .log_internal_errors(false)
            .with_span_events(FmtSpan::CLOSE);
        let lines = match self.log_format {
            Format::Pretty => lines.boxed(),
            Format::Json => lines.json().boxed(),
        };
        tracing_subscriber::registry()
            .with(lines.with_filter(filter.targets.clone()))
            .init();
    }

    /// For a member that is to log in the same way.
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let Some(filter) = &self.log else {
            return Vec::new();
        };
        let format = match self.log_format {
            Format::Pretty => "pretty",
            Format::Json => "json",
        };
        vec![
            format!("--log={filter}").into(),
            format!("--log-format={format}").into(),
        ]
    }
}

/// Which spans and events are logged.
#[derive(Debug, Clone)]
struct Filter {
    text: String,
    targets: Targets,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A filter that means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is neither a level (off, error, warn, info, debug, trace) nor PART=LEVEL, \
     like plurix::session=debug"
)]
struct FilterError(String);

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut targets = Targets::new();
        for directive in text.split(',').map(str::trim) {
            let wrong = || FilterError(directive.to_owned());
            let (part, level) = match directive.split_once('=') {
                Some((part, level)) => (Some(part), level),
                None => (None, directive),
            };
            // A number would be a level, too, of which nobody knows the order.
            if !level.starts_with(|first: char| first.is_ascii_alphabetic()) {
                return Err(wrong());
            }
            let level: LevelFilter = level.parse().map_err(|_| wrong())?;
            targets = match part {
                Some("") => return Err(wrong()),
                Some(part) => targets.with_target(part, level),
                None => targets.with_default(level),
            };
        }
        Ok(Self {
            text: text.to_owned(),
            targets,
        })
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn a_filter_is_a_level_or_levels_of_parts() {
        let filter: Filter = "warn, plurix::session=debug".parse().unwrap();
        assert!(
            filter
                .targets
                .would_enable("plurix::session", &tracing::Level::DEBUG)
        );
        assert!(
            !filter
                .targets
                .would_enable("plurix::server", &tracing::Level::INFO)
        );
        assert!(
            filter
                .targets
                .would_enable("plurix::server", &tracing::Level::WARN)
        );
        let off: Filter = "off".parse().unwrap();
        assert_eq!(off.targets.default_level(), Some(LevelFilter::OFF));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in [
            "",
            "fly",
            "3",
            "plurix::session",
            "=debug",
            "plurix=fly",
            "info,,warn",
        ] {
            let error = text.parse::<Filter>().unwrap_err();
            assert!(error.to_string().contains("neither a level"), "{text}");
        }
    }
}
