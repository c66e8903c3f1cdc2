//! What the kernel knows of this process, under the names that all Prometheus clients use.

use std::fmt;

use procfs::{ProcResult, WithCurrentSystemInfo as _};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Reads `/proc/self` at each scrape; what cannot be read is 0.
#[derive(Debug)]
pub(super) struct Process;

#[derive(Default)]
struct Now {
    cpu_seconds: f64,
    resident_bytes: u64,
    open_fds: u64,
    max_fds: u64,
    threads: i64,
    started: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = now().unwrap_or_default();
        let mut put = |name, help, unit: Option<Unit>, metric: &dyn Encoded| {
            let kind = metric.kind();
            let encoder = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            metric.put(encoder)
        };
        let help = "Processor time used";
        let cpu = ConstCounter::new(now.cpu_seconds);
        put("process_cpu", help, Some(Unit::Seconds), &cpu)?;
        let help = "Memory in use";
        let resident = ConstGauge::new(now.resident_bytes);
        put(
            "process_resident_memory",
            help,
            Some(Unit::Bytes),
            &resident,
        )?;
        let open = ConstGauge::new(now.open_fds);
        put("process_open_fds", "Open file descriptors", None, &open)?;
        let help = "Most file descriptors that may be open";
        put("process_max_fds", help, None, &ConstGauge::new(now.max_fds))?;
        put(
            "process_threads",
            "Threads",
            None,
            &ConstGauge::new(now.threads),
        )?;
        let help = "When the process started, since the Unix epoch";
        let started = ConstGauge::new(now.started);
        put("process_start_time", help, Some(Unit::Seconds), &started)
    }
}

/// [`EncodeMetric`] for a caller that has metrics of several types.
trait Encoded {
    fn kind(&self) -> prometheus_client::metrics::MetricType;
    fn put(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> fmt::Result;
}

impl<M: EncodeMetric> Encoded for M {
    fn kind(&self) -> prometheus_client::metrics::MetricType {
        self.metric_type()
    }

    fn put(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> fmt::Result {
        self.encode(encoder)
    }
}

fn now() -> ProcResult<Now> {
    let process = procfs::process::Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    let max_fds = match process.limits()?.max_open_files.soft_limit {
        procfs::process::LimitValue::Value(most) => most,
        procfs::process::LimitValue::Unlimited => u64::MAX,
    };
    let booted = procfs::boot_time_secs()? as f64;
    Ok(Now {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        resident_bytes: stat.rss_bytes().get(),
        open_fds: process.fd_count()? as u64,
        max_fds,
        threads: stat.num_threads,
        started: booted + stat.starttime as f64 / ticks,
    })
}
