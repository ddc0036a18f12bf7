//! Random sequences of calls over several sessions, beside a plain model of a semaphore with a queue.
//!
//! One step is carried out after another, each until everybody is asleep or done, so that the model says exactly who
//! acquires what. A failing sequence is shrunk to a short one.

mod actor;
mod queue;
mod session;
mod step;
mod world;

use crate::kit::{ServerDatabase, on_each_server, rounds};
use diesel_dbsemaphore as sem;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use stand::Backend;
use std::thread;
use step::{Step, step};
use world::World;

on_each_server!(behaves_as_the_model_does,);

fn play<D: ServerDatabase>(database: &D, steps: &[Step]) -> Result<(), TestCaseError> {
    sem::destroy(&mut database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let mut world = World::new(scope, database);
        world.carry_out(Step::Make(3))?;
        let played = steps.iter().try_for_each(|&step| world.carry_out(step));
        for actor in &world.actors {
            // Also those that are stuck, so that the threads end.
            D::Backend::kill_session(&mut world.observer, actor.session);
        }
        played
    })?;
    database.assert_no_queue();
    Ok(())
}

fn behaves_as_the_model_does<D: ServerDatabase>() {
    thread::scope(|scope| {
        // Two at a time, for they sleep a lot.
        for _ in 0..2 {
            scope.spawn(|| {
                let database = D::with_size(0);
                // Who holds some and waits for more may be in a deadlock; the model doesn't tell the server's victim.
                database.find_deadlocks_late();
                let cases = u32::try_from(rounds(300) / 2).unwrap();
                let config = Config {
                    cases,
                    failure_persistence: None,
                    max_shrink_iters: 100,
                    ..Config::default()
                };
                TestRunner::new(config)
                    .run(&prop::collection::vec(step(), 1..25), |steps| {
                        play(&database, &steps)
                    })
                    .unwrap_or_else(|error| panic!("{error}"));
            });
        }
    });
}
