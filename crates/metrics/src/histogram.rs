//! Histograms of whole numbers: four buckets for each power of two, so that what is shown is within
//! an eighth of what was recorded.

/// Buckets for each power of two.
const PARTS: u32 = 4;
/// From here on everything is in the last bucket: 2^36, as microseconds 19 hours.
const EXPONENT_MAX: u32 = 36;
/// The cells of one: its buckets, and the sum of all values.
pub const CELLS: usize = BUCKETS + 1;
/// Which of its cells the sum is.
pub const SUM: usize = BUCKETS;
const BUCKETS: usize = (EXPONENT_MAX * PARTS) as usize;

/// The bucket of a value.
pub fn bucket(value: u64) -> usize {
    // 0 to 3 have a bucket each.
    if value < u64::from(PARTS) {
        return value as usize;
    }
    let exponent = value.ilog2();
    let part = value >> (exponent - PARTS.ilog2()) & u64::from(PARTS - 1);
    let bucket = (exponent - 1) * PARTS + part as u32;
    (bucket as usize).min(BUCKETS - 1)
}

/// The middle of a bucket.
fn middle(bucket: usize) -> f64 {
    let (exponent, part) = (bucket as u32 / PARTS + 1, bucket as u32 % PARTS);
    if exponent == 1 {
        return f64::from(part);
    }
    let width = 2_f64.powi(exponent as i32 - 2);
    2_f64.powi(exponent as i32) + width * (f64::from(part) + 0.5)
}

/// How recorded values are distributed. All but the count are in the unit of the name.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSummary {
    /// How many were recorded.
    pub count: u64,
    /// Of all values.
    pub sum: f64,
    counts: Vec<u64>,
    unit: f64,
}

impl HistogramSummary {
    /// From the cells of all threads.
    pub(crate) fn new(cells: &[u64], unit: u32) -> Self {
        let (unit, counts) = (f64::from(unit), cells[..BUCKETS].to_vec());
        Self { count: counts.iter().sum(), sum: cells[SUM] as f64 / unit, counts, unit }
    }

    /// The value that this share of all values does not exceed, such as 0.99; 0 of nothing.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(bucket) / self.unit;
            }
        }
        0.0
    }

    /// The mean; 0 of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_values_that_are_close_together() {
        let mut before = 0;
        for value in (0..5_000).chain((13..36).map(|it| 1 << it)) {
            let at = bucket(value);
            assert!(before <= at, "{value}");
            before = at;
            let off = (middle(at) - value as f64).abs();
            assert!(off <= value as f64 / 8.0, "{value} is shown as {}", middle(at));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut cells = vec![0; CELLS];
        for value in 1..=1_000_u64 {
            cells[bucket(value * 1_000)] += 1;
            cells[SUM] += value * 1_000;
        }
        let summary = HistogramSummary::new(&cells, 1_000);
        assert_eq!((summary.count, summary.sum, summary.mean()), (1_000, 500_500.0, 500.5));
        for (share, value) in [(0.5, 500.0), (0.99, 990.0), (0.0, 1.0), (1.0, 1_000.0)] {
            let off = (summary.quantile(share) - value).abs();
            assert!(off <= value / 8.0, "{share}: {}", summary.quantile(share));
        }
        let none = HistogramSummary::new(&vec![0; CELLS], 1);
        assert_eq!((none.quantile(0.5), none.mean()), (0.0, 0.0));
    }
}
