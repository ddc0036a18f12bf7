use crate::options::Options;
use std::time::Duration;

/// In each round, everybody goes that often, a little at a time.
const PASSES: usize = 10;

/// The rates of all contestants, by contestant and round. What the machine does besides changes from second to second, so
/// a round is a mean over short goes of each, spread over all of its time.
pub(crate) fn rates(
    options: &Options,
    contestants: usize,
    mut rate: impl FnMut(usize, Duration) -> f64,
) -> Vec<Vec<f64>> {
    let time = options.slice / PASSES as u32;
    let passes = interleave(options.rounds * PASSES, contestants, |contestant| {
        rate(contestant, time)
    });
    let mean = |passes: &[f64]| passes.iter().sum::<f64>() / PASSES as f64;
    let rounds = passes
        .iter()
        .map(|passes| passes.chunks(PASSES).map(mean).collect());
    rounds.collect()
}

/// Lets each of the contestants go once in each round; returns what they did, by contestant and round. Each round begins
/// with another one, and every second goes backwards, so that nobody always comes after the same.
pub(crate) fn interleave<T>(
    rounds: usize,
    contestants: usize,
    mut go: impl FnMut(usize) -> T,
) -> Vec<Vec<T>> {
    let mut done: Vec<Vec<T>> = (0..contestants).map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for step in 0..contestants {
            let step = if round % 2 == 0 {
                step
            } else {
                contestants - step
            };
            let contestant = (round + step) % contestants;
            done[contestant].push(go(contestant));
        }
    }
    done
}
