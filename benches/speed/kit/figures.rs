use serde_json::{Value, json};

/// One figure, over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self {
            median,
            min: values[0],
            max: values[values.len() - 1],
        }
    }

    pub(crate) fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// Of each value to the one of the same round: what else the machine does changes from round to round.
pub(crate) fn ratios(values: &[f64], base: &[f64]) -> Spread {
    Spread::of(values.iter().zip(base).map(|(value, base)| value / base))
}
