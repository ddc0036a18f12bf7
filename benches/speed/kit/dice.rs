use std::time::Duration;

/// The same numbers in each run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(number: u32) -> Self {
        Self(u64::from(number) + 1)
    }

    /// At least 0 and below 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as f64 / f64::from(1u32 << 31)
    }

    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        (self.share() * f64::from(limit)) as u32
    }

    /// Half to one and a half of it.
    pub(crate) fn about(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(0.5 + self.share())
    }
}
