//! Logs, traces and metrics, configured by the standard `OTEL_*` variables.
//!
//! Traces and metrics are exported over OTLP when an endpoint is named:
//!
//! | variable | meaning |
//! |---|---|
//! | `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_{TRACES,METRICS}_ENDPOINT` | where to; without any of them nothing is exported |
//! | `OTEL_EXPORTER_OTLP_PROTOCOL`, `..._{TRACES,METRICS}_PROTOCOL` | `http/protobuf` (default) or `grpc` |
//! | `OTEL_EXPORTER_OTLP_HEADERS`, `..._TIMEOUT`, `OTEL_BSP_*`, `OTEL_METRIC_EXPORT_INTERVAL` | as the specification says |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | who we are; the default service name is `hilum` |
//! | `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` | `otlp` (default) or `none` |
//! | `OTEL_SDK_DISABLED` | `true` turns both off |
//!
//! Neither logs nor spans nor metrics hold a key, an attribute value or anything of a body: those may identify a patient.

mod instruments;
mod spans;

use std::env;
use std::io::IsTerminal as _;

use opentelemetry::global;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::EnvFilter;

pub use instruments::Instruments;
pub(crate) use spans::inner as inner_span;
pub use spans::{DeliverySpan, RecordSpan};

/// Targets that stay at `info`, whatever `RUST_LOG` says of everything.
const QUIET: [&str; 2] = ["cranelift_codegen", "wasmtime_internal_cranelift"];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A variable has a value that is not one of those allowed.
    #[error("{variable} is `{value}`; it may be {allowed}")]
    Variable {
        /// Its name.
        variable: String,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// The exporter refuses its configuration.
    #[error("the OTLP exporter for {signal} cannot be set up: {source}")]
    Exporter {
        /// `traces` or `metrics`.
        signal: &'static str,
        /// Why.
        source: ExporterBuildError,
    },
}

/// Keeps telemetry running; [`Telemetry::shutdown`] sends what is still queued.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

impl Telemetry {
    /// Sets up logs on standard error, and traces and metrics as the environment says. To be called within a tokio
    /// runtime, once in a process.
    pub fn start(format: LogFormat) -> Result<Self, TelemetryError> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        // The compiler of plugins says a line for each instruction at `debug`, which hides everything else.
        let filter = QUIET.iter().fold(filter, |filter, target| {
            let directive = format!("{target}=info").parse().expect("it is a directive");
            filter.add_directive(directive)
        });
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        // A second start in one process keeps the first one's subscriber, which is what tests want.
        let _ = match format {
            LogFormat::Pretty => logs.try_init(),
            LogFormat::Json => logs.json().try_init(),
        };
        if env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Self::default());
        }
        let resource = resource();
        let traces = exports("TRACES")?.then(|| span_exporter(&resource)).transpose()?;
        let metrics = exports("METRICS")?.then(|| metric_exporter(&resource)).transpose()?;
        if let Some(provider) = &traces {
            global::set_tracer_provider(provider.clone());
        }
        if let Some(provider) = &metrics {
            global::set_meter_provider(provider.clone());
        }
        Ok(Self { traces, metrics })
    }

    /// Where traces go, for people: the endpoint, or none.
    #[must_use]
    pub fn traces_endpoint(&self) -> Option<String> {
        self.traces.as_ref().and_then(|_| endpoint("TRACES"))
    }

    /// Sends what is still queued. Blocks for up to the exporters' timeouts.
    pub fn shutdown(self) {
        let results = [
            self.traces.map(|provider| provider.shutdown()),
            self.metrics.map(|provider| provider.shutdown()),
        ];
        for error in results.into_iter().flatten().filter_map(Result::err) {
            tracing::warn!(%error, "some telemetry could not be sent");
        }
    }
}

fn resource() -> Resource {
    let named = env::var("OTEL_SERVICE_NAME").is_ok()
        || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|text| text.contains("service.name="));
    let builder = Resource::builder();
    if named { builder.build() } else { builder.with_service_name("hilum").build() }
}

/// The endpoint for a signal, if one is named.
fn endpoint(signal: &str) -> Option<String> {
    let named = |variable: &str| env::var(variable).ok().filter(|value| !value.is_empty());
    named(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")).or_else(|| named("OTEL_EXPORTER_OTLP_ENDPOINT"))
}

fn exports(signal: &str) -> Result<bool, TelemetryError> {
    let variable = format!("OTEL_{signal}_EXPORTER");
    match env::var(&variable).as_deref() {
        Ok("none") => Ok(false),
        Ok("otlp" | "") | Err(_) => Ok(endpoint(signal).is_some()),
        Ok(value) => {
            Err(TelemetryError::Variable { variable, value: value.to_owned(), allowed: "`otlp` or `none`" })
        }
    }
}

fn protocol(signal: &str) -> Result<Protocol, TelemetryError> {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL");
    for variable in [own, "OTEL_EXPORTER_OTLP_PROTOCOL".to_owned()] {
        match env::var(&variable).as_deref() {
            Ok("grpc") => return Ok(Protocol::Grpc),
            Ok("http/protobuf") => return Ok(Protocol::HttpBinary),
            Ok("") | Err(_) => {}
            Ok(value) => {
                let allowed = "`http/protobuf` or `grpc`";
                return Err(TelemetryError::Variable { variable, value: value.to_owned(), allowed });
            }
        }
    }
    Ok(Protocol::HttpBinary)
}

fn span_exporter(resource: &Resource) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = match protocol("TRACES")? {
        Protocol::Grpc => SpanExporter::builder().with_tonic().build(),
        other => SpanExporter::builder().with_http().with_protocol(other).build(),
    };
    let exporter = exporter.map_err(|source| TelemetryError::Exporter { signal: "traces", source })?;
    Ok(SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(exporter).build())
}

fn metric_exporter(resource: &Resource) -> Result<SdkMeterProvider, TelemetryError> {
    let exporter = match protocol("METRICS")? {
        Protocol::Grpc => MetricExporter::builder().with_tonic().build(),
        other => MetricExporter::builder().with_http().with_protocol(other).build(),
    };
    let exporter = exporter.map_err(|source| TelemetryError::Exporter { signal: "metrics", source })?;
    Ok(SdkMeterProvider::builder().with_resource(resource.clone()).with_periodic_exporter(exporter).build())
}
