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
