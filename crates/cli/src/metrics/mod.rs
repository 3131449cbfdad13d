//! What a page server tells a monitoring system: its numbers in Prometheus' text format, over HTTP, on a
//! thread of its own that asks the server's loop when it is asked itself.

mod text;

use std::io::Cursor;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use plurix::Monitor;
use tiny_http::{Header, Method, Request, Response, Server};

use crate::Usage;

/// A page server that takes longer to answer is said to be unavailable.
const PATIENCE: Duration = Duration::from_secs(2);
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Clone, Args)]
pub(crate) struct MetricsOptions {
    /// Serve metrics for Prometheus on http://ADDR/metrics, and /healthz.
    #[arg(long = "metrics", value_name = "HOST:PORT")]
    address: Option<String>,
    /// Let other machines read the metrics; they are told to whoever asks.
    #[arg(long, requires = "address")]
    metrics_public: bool,
}

impl MetricsOptions {
    /// Begins to serve, if that is wished; answers where.
    pub(crate) fn serve(&self, monitor: Monitor) -> anyhow::Result<Option<SocketAddr>> {
        let Some(text) = &self.address else {
            return Ok(None);
        };
        let addresses = text.to_socket_addrs();
        let addresses = addresses.map_err(|error| Usage(format!("--metrics {text}: {error}")))?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let is_local = addresses.iter().all(|address| address.ip().is_loopback());
        if !is_local && !self.metrics_public {
            let why = format!(
                "other machines can reach {text}, and metrics need no secret: give a loopback address \
                 like 127.0.0.1:9100, or --metrics-public"
            );
            return Err(Usage(why).into());
        }
        let server = Server::http(addresses.as_slice());
        let server =
            server.map_err(|error| anyhow::anyhow!("cannot serve metrics on {text}: {error}"))?;
        let found = server.server_addr().to_ip();
        std::thread::Builder::new()
            .name("plurix-metrics".to_owned())
            .spawn(move || {
                for request in server.incoming_requests() {
                    answer(request, &monitor);
                }
            })
            .context("cannot start a thread")?;
        Ok(found)
    }
}

fn answer(request: Request, monitor: &Monitor) {
    let path = request.url().split('?').next().unwrap_or_default();
    let is_read = matches!(request.method(), Method::Get | Method::Head);
    let response = match path {
        "/metrics" | "/healthz" if !is_read => told(405, "only GET is answered here\n"),
        "/metrics" => match monitor.status(PATIENCE) {
            Some(status) => told(200, &text::of(&status)),
            None => told(503, "the page server does not answer\n"),
        },
        "/healthz" => match monitor.status(PATIENCE) {
            Some(_) => told(200, "ok\n"),
            None => told(503, "the page server does not answer\n"),
        },
        _ => told(404, "there are /metrics and /healthz\n"),
    };
    // Who asked and has gone misses nothing that it wanted.
    let _ = request.respond(response);
}

fn told(code: u16, text: &str) -> Response<Cursor<Vec<u8>>> {
    let header = Header::from_bytes("Content-Type", TEXT).expect("a header of letters");
    Response::from_string(text)
        .with_status_code(code)
        .with_header(header)
}
