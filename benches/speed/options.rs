use crate::{DEFAULT_TOPICS, JSON, queue::Load};
use lexopt::prelude::*;
use std::{path::PathBuf, time::Duration};

pub(crate) const HELP: &str = "
--rounds N          interleaved rounds
--slice MS          how long each contestant runs in a round
--clients N,N       acquire, peers, network: how many clients
--seconds S         queue, peers: how long the workers work in a round
--load N,W,H        queue, peers: tickets, workers, milliseconds of each hold; may be repeated
--processes         queue: workers are processes, not threads
--hand-offs N       hand-off: how many in a round; and a tenth as many after kill -9
--operations N      memory, refusals: how many acquire and release
--python PROGRAM    peers, network, PostgreSQL only: an interpreter that has django-dbsemaphore
--json FILE         where the figures go, and chart and readme take them from; in target if not named
--svg FILE          where the chart goes: benches/speed.svg
--quick             so little of everything that only mistakes show
";

/// What can be changed in the command line.
pub(crate) struct Options {
    pub(crate) topics: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
    pub(crate) clients: Vec<usize>,
    pub(crate) time: Duration,
    pub(crate) loads: Vec<Load>,
    pub(crate) processes: bool,
    pub(crate) hand_offs: usize,
    pub(crate) operations: u32,
    pub(crate) python: Option<PathBuf>,
    pub(crate) json: PathBuf,
    pub(crate) svg: PathBuf,
    /// The largest semaphore, and the largest number of semaphores.
    pub(crate) many: u32,
}

impl Options {
    /// For titles.
    pub(crate) fn rounds_of_slices(&self) -> String {
        format!("{} rounds of {} ms", self.rounds, self.slice.as_millis())
    }

    /// None: the user wants help.
    pub(crate) fn parse() -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self {
            topics: Vec::new(),
            rounds: 9,
            slice: Duration::from_millis(200),
            clients: vec![1, 2, 8, 32],
            time: Duration::from_secs(4),
            loads: Vec::new(),
            processes: false,
            hand_offs: 400,
            operations: 1_000_000,
            python: None,
            json: JSON.into(),
            svg: "benches/speed.svg".into(),
            many: 100_000,
        };
        let mut words = lexopt::Parser::from_env();
        while let Some(word) = words.next()? {
            match word {
                Value(topic) => options.topics.push(topic.string()?),
                Long("rounds") => options.rounds = words.value()?.parse()?,
                Long("slice") => {
                    options.slice = Duration::from_millis(words.value()?.parse()?);
                }
                Long("clients") => options.clients = words.value()?.parse_with(list)?,
                Long("seconds") => options.time = Duration::from_secs(words.value()?.parse()?),
                Long("load") => {
                    let load: Load = words.value()?.parse()?;
                    options.loads.push(load);
                }
                Long("processes") => options.processes = true,
                Long("hand-offs") => options.hand_offs = words.value()?.parse()?,
                Long("operations") => options.operations = words.value()?.parse()?,
                Long("python") => options.python = Some(words.value()?.into()),
                Long("json") => options.json = words.value()?.into(),
                Long("svg") => options.svg = words.value()?.into(),
                Long("quick") => {
                    options.rounds = 2;
                    options.slice = Duration::from_millis(30);
                    options.clients = vec![1, 8];
                    options.time = Duration::from_secs(1);
                    options.hand_offs = 20;
                    options.operations = 10_000;
                    options.many = 1_000;
                }
                // Cargo says so.
                Long("bench") => {}
                Long("help") => return Ok(None),
                word => return Err(word.unexpected()),
            }
        }
        if options.topics.is_empty() {
            options.topics = DEFAULT_TOPICS.iter().map(ToString::to_string).collect();
        }
        Ok(Some(options))
    }
}

fn list(text: &str) -> Result<Vec<usize>, std::num::ParseIntError> {
    text.split(',').map(str::parse).collect()
}
