//! The kernel's figures of this process, under the names that all Prometheus clients use.

use std::fmt;

use procfs::{ProcResult, WithCurrentSystemInfo as _};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Reads `/proc/self` at each scrape; values that cannot be read are 0.
#[derive(Debug)]
pub(super) struct Process;

#[derive(Default)]
struct Now {
    cpu_seconds: f64,
    resident_bytes: f64,
    open_fds: f64,
    max_fds: f64,
    threads: f64,
    started: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = now().unwrap_or_default();
        let cpu = ConstCounter::new(now.cpu_seconds);
        let (seconds, bytes) = (Unit::Seconds, Unit::Bytes);
        let kind = cpu.metric_type();
        let help = "Processor time used";
        let counter = encoder.encode_descriptor("process_cpu", help, Some(&seconds), kind)?;
        cpu.encode(counter)?;
        let started = "When the process started, since the Unix epoch";
        let memory = "process_resident_memory";
        for (name, help, unit, value) in [
            (memory, "Memory in use", Some(&bytes), now.resident_bytes),
            (
                "process_open_fds",
                "Open file descriptors",
                None,
                now.open_fds,
            ),
            (
                "process_max_fds",
                "Most file descriptors that may be open",
                None,
                now.max_fds,
            ),
            ("process_threads", "Threads", None, now.threads),
            ("process_start_time", started, Some(&seconds), now.started),
        ] {
            let gauge = ConstGauge::new(value);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, unit, kind)?)?;
        }
        Ok(())
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
        resident_bytes: stat.rss_bytes().get() as f64,
        open_fds: process.fd_count()? as f64,
        max_fds: max_fds as f64,
        threads: stat.num_threads as f64,
        started: booted + stat.starttime as f64 / ticks,
    })
}
