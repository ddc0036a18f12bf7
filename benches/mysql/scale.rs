//! Measures whether finding an available ticket costs more with many tickets or many held ones: a guard's acquire and release, by one
//! client. Held are the tickets of the lowest slots, or tickets at random. Where all are, what is measured is the refusal.

use crate::{
    contestants::{FLOORS, GUARD, ROW_LOCK},
    kit::{Client, Conn, Dice, Report, Row, Section, Spread, Stage, rate, rates, ratios},
    options::Options,
};
use diesel::connection::SimpleConnection;
use diesel_dbsemaphore as sem;

struct Case {
    name: &'static str,
    tickets: u32,
    held: u32,
    at_random: bool,
}

impl Case {
    fn new(tickets: u32, held: u32, at_random: bool) -> Self {
        let name = format!("{tickets}, {held}, {at_random}");
        Self {
            // There are a few.
            name: Box::leak(name.into_boxed_str()),
            tickets,
            held,
            at_random,
        }
    }

    fn all(many: u32) -> Vec<Self> {
        let mut cases = vec![Self::new(3, 0, false), Self::new(3, 3, false)];
        for tickets in [1000.min(many), many] {
            for percent in [0, 90, 99, 100] {
                cases.push(Self::new(tickets, tickets / 100 * percent, false));
            }
            cases.push(Self::new(tickets, tickets / 100 * 90, true));
        }
        cases
    }

    fn how(&self) -> &'static str {
        match self {
            Self { held: 0, .. } => "all available",
            Self { held, tickets, .. } if held == tickets => "none available: refused",
            Self { at_random, .. } if *at_random => "at random",
            _ => "a block",
        }
    }

    /// Locks single rows, as the library does.
    fn hold(&self, conn: &mut Conn) {
        let mut slots: Vec<u32> = (0..self.tickets).collect();
        if self.at_random {
            let mut dice = Dice::new(0);
            for last in (1..self.tickets).rev() {
                slots.swap(last as usize, dice.below(last + 1) as usize);
            }
        }
        for slots in slots[..self.held as usize].chunks(500) {
            let slots: Vec<String> = slots.iter().map(u32::to_string).collect();
            conn.batch_execute(&format!(
                "DO (SELECT COUNT(*) FROM (SELECT t.id FROM JSON_TABLE('[{}]', '$[*]' COLUMNS (slot int PATH '$')) AS c \
                     STRAIGHT_JOIN dbsemaphore_semaphore AS s ON s.name = '{}' \
                     STRAIGHT_JOIN dbsemaphore_ticket AS t FORCE INDEX (PRIMARY) ON t.semaphore_id = s.id AND t.slot = c.slot \
                     FOR UPDATE) AS held)",
                slots.join(", "),
                self.name
            ))
            .unwrap();
        }
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) {
    let stage = Stage::new();
    let cases = Case::all(options.many);
    let mut holder = stage.database.connect();
    for case in &cases {
        sem::make(&mut holder, case.name, case.tickets).unwrap();
    }
    holder
        .batch_execute("ANALYZE TABLE dbsemaphore_ticket; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; BEGIN")
        .unwrap();
    for case in &cases {
        case.hold(&mut holder);
    }
    let mut clients = [stage.client(0, "", 0)];
    let mut turn = |number: usize, time| match cases.get(number) {
        Some(case) => {
            clients[0].semaphore = case.name;
            rate(&mut clients, time, |client: &mut Client| {
                let acquired = (GUARD.turn)(client, &mut || ());
                assert_eq!(acquired, case.held < case.tickets, "{}", case.name);
            })
        }
        None => {
            let mut floors = FLOORS.into_iter();
            let floor = floors.find(|floor| floor.name == ROW_LOCK).unwrap();
            crate::acquire::rate_of(&floor, &mut clients, time)
        }
    };
    for number in 0..=cases.len() {
        turn(number, options.slice / 20);
    }
    let rates = rates(options, cases.len() + 1, turn);
    let rows = cases.iter().zip(&rates).map(|(case, each)| {
        let percent = f64::from(case.held) / f64::from(case.tickets) * 100.0;
        Row::new(case.how())
            .number("tickets", case.tickets)
            .number("held_percent", percent.round())
            .spread("time_of_3_free", ratios(&rates[0], each))
            .spread("time_of_row_lock", ratios(&rates[cases.len()], each))
            .spread("us", Spread::of(each.iter().map(|rate| 1e6 / rate)))
    });
    let rows = rows.collect();
    let title = format!(
        "A guard's acquire and release, by number of tickets and how many are held; {} rounds of {} ms",
        options.rounds,
        options.slice.as_millis()
    );
    let name = "scale";
    report.add(&stage, Section { name, title, rows });
}
