//! The order in which a search looks at tickets.

use crate::cancel::random_id;

/// Returns each number below `count` once, in another order at each call. Neighbours are rarely looked at one after another: then it
/// does not matter if a long run of neighbours is held.
pub(super) fn random_order(count: u32) -> impl Iterator<Item = u32> {
    let modulus = count.max(1);
    let random = random_id();
    let (start, mut step) = (random % modulus, (random >> 12) % modulus + 1);
    while greatest_common_divisor(step, modulus) > 1 {
        step += 1;
    }
    let (start, step, modulus) = (u64::from(start), u64::from(step), u64::from(modulus));
    // Less than `count`, so that it fits.
    (0..u64::from(count)).map(move |n| ((start + n * step) % modulus) as u32)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::random_order;

    #[test]
    fn each_number_comes_once() {
        for count in [0, 1, 2, 3, 6, 12, 30, 97, 210] {
            for _ in 0..50 {
                let mut numbers: Vec<u32> = random_order(count).collect();
                numbers.sort_unstable();
                assert_eq!(numbers, (0..count).collect::<Vec<_>>());
            }
        }
    }
}
