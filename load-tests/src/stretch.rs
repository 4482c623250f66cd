//! Stretches of a closed loop that are measured in turns, and what is left of them.

use std::time::Duration;

use crate::{
    cpu,
    latency::Latency,
    load::{self, Client},
    stats::median,
    usage::Processes,
};

/// One stretch.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Calls a second.
    pub per_s: f64,
    /// Of every call.
    pub latency: Latency,
    /// CPU time of the process that answered, in microseconds a call.
    pub cpu_us: f64,
}

impl std::fmt::Display for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stretch { per_s, cpu_us, latency, .. } = self;
        write!(f, "{per_s:.0}/s, {latency}, {cpu_us:.1} us of CPU a call")
    }
}

/// Whose CPU time is counted.
#[derive(Clone, Copy, Debug)]
pub enum Cpu {
    /// Of one process.
    Process(u32),
    /// Of a process and its children.
    Family(u32),
    /// Of a server and both its databases.
    Service(Processes),
    /// Of both databases alone.
    Databases(Processes),
}

impl Cpu {
    fn used(self) -> anyhow::Result<Duration> {
        match self {
            Cpu::Process(pid) => cpu::of_process(pid),
            Cpu::Family(pid) => cpu::of_family(pid),
            Cpu::Service(processes) => Ok(processes.usage()?.service()),
            Cpu::Databases(processes) => Ok(processes.usage()?.databases()),
        }
    }
}

/// Somebody who calls, over all rounds.
#[derive(Debug)]
pub struct Caller<C> {
    name: &'static str,
    clients: Vec<C>,
    /// CPU time of what answers.
    cpu: Cpu,
    /// Calls of all stretches, the first included.
    pub calls: u64,
    counted: Vec<Stretch>,
}

impl<C: Client> Caller<C> {
    /// Clients of what uses `cpu`.
    pub fn new(name: &'static str, clients: Vec<C>, cpu: Cpu) -> Caller<C> {
        Caller { name, clients, cpu, calls: 0, counted: Vec::new() }
    }

    /// Calls for `lasting`. Round 0 warms up and does not count.
    ///
    /// # Errors
    /// A call fails.
    pub async fn stretch(&mut self, round: u32, lasting: Duration) -> anyhow::Result<()> {
        let before = self.cpu.used()?;
        let (outcome, clients) = load::closed(std::mem::take(&mut self.clients), lasting).await?;
        let used = self.cpu.used()?.saturating_sub(before);
        self.clients = clients;
        let calls = outcome.latency.count();
        let stretch = Stretch {
            per_s: outcome.per_s(),
            cpu_us: used.as_secs_f64() * 1_000_000.0 / calls.max(1) as f64,
            latency: outcome.latency,
        };
        self.calls += calls;
        if round > 0 {
            eprintln!("  round {round}, {}: {stretch}", self.name);
            self.counted.push(stretch);
        }
        Ok(())
    }

    /// The median over the rounds that count.
    pub fn median(&self, of: fn(&Stretch) -> f64) -> f64 {
        median(&self.counted.iter().map(of).collect::<Vec<_>>())
    }

    /// The clients.
    pub fn clients(&self) -> &[C] {
        &self.clients
    }
}

/// Calls a second.
pub fn per_s(stretch: &Stretch) -> f64 {
    stretch.per_s
}

/// CPU time of what answers, in microseconds a call.
pub fn cpu_us(stretch: &Stretch) -> f64 {
    stretch.cpu_us
}

/// What 99 of 100 calls did not exceed, in milliseconds.
pub fn p99_ms(stretch: &Stretch) -> f64 {
    stretch.latency.percentile_ms(99.0)
}
