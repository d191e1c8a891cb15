//! How a cost grows: the power of what it is measured against, and the point from which it grows
//! differently.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// With fewer points on a side of the knee a line through them says nothing.
const SIDE: usize = 3;

/// Two lines must leave so much less of the error than one before a knee is named.
const BETTER: f64 = 0.25;

/// A smaller difference of the powers is none that would matter to anybody.
const TURN: f64 = 0.2;

/// How something grows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fit {
    /// The power of x that y grows with: 0 does not grow, 1 grows in proportion. Up to the knee if
    /// there is one.
    pub power: f64,
    /// The share of the variation that the fit explains.
    pub explained: f64,
    /// The x from which it grows with another power.
    pub knee: Option<f64>,
    /// That power.
    pub power_after: Option<f64>,
}

/// Fits `y = a · x^power` to points in ascending x, all of them above nought, in one or two pieces;
/// none of fewer than three points.
pub fn fit(points: &[(f64, f64)]) -> Option<Fit> {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .filter(|(x, y)| *x > 0.0 && *y > 0.0)
        .map(|(x, y)| (x.ln(), y.ln()))
        .collect();
    if logs.len() < SIDE {
        return None;
    }
    let whole = line(&logs);
    let mean = logs.iter().map(|(_, y)| y).sum::<f64>() / logs.len() as f64;
    let variation: f64 = logs.iter().map(|(_, y)| (y - mean).powi(2)).sum();
    let explained = |error: f64| if variation > 1e-12 { 1.0 - error / variation } else { 1.0 };
    let single = Fit {
        power: whole.slope,
        explained: explained(whole.error),
        knee: None,
        power_after: None,
    };
    // The point at the knee belongs to both pieces.
    let pieces = (SIDE - 1..logs.len().saturating_sub(SIDE - 1)).map(|knee| {
        let (before, after) = (line(&logs[..=knee]), line(&logs[knee..]));
        (knee, before, after, before.error + after.error)
    });
    let best = pieces.min_by(|a, b| a.3.total_cmp(&b.3));
    let fitted = match best {
        Some((knee, before, after, error))
            if error < BETTER * whole.error && (before.slope - after.slope).abs() > TURN =>
        {
            Fit {
                power: before.slope,
                explained: explained(error),
                knee: Some(logs[knee].0.exp()),
                power_after: Some(after.slope),
            }
        }
        _ => single,
    };
    Some(fitted)
}

#[derive(Clone, Copy)]
struct Line {
    slope: f64,
    /// The sum of squares that it leaves.
    error: f64,
}

fn line(points: &[(f64, f64)]) -> Line {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|p| p.0), mean(|p| p.1));
    let width: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let joint: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let slope = if width > 0.0 { joint / width } else { 0.0 };
    let left = |(x, y): &(f64, f64)| (y - y_mean - slope * (x - x_mean)).powi(2);
    Line { slope, error: points.iter().map(left).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn powers_of_two(count: i32) -> impl Iterator<Item = f64> {
        (0..count).map(|n| 2_f64.powi(n))
    }

    #[test]
    fn proportional_growth_has_power_one_and_no_knee() {
        let points: Vec<_> = powers_of_two(8).map(|x| (x, 3.0 * x)).collect();
        let fit = fit(&points).unwrap();
        assert!((fit.power - 1.0).abs() < 1e-9 && fit.knee.is_none(), "{fit:?}");
        assert!(fit.explained > 0.999);
    }

    #[test]
    fn knee_is_where_constant_cost_begins_to_grow() {
        let points: Vec<_> = powers_of_two(12).map(|x| (x, f64::max(64.0, x))).collect();
        let fit = fit(&points).unwrap();
        assert!(fit.power.abs() < 0.05, "{fit:?}");
        assert!((fit.knee.unwrap() - 64.0).abs() < 1.0, "{fit:?}");
        assert!((fit.power_after.unwrap() - 1.0).abs() < 0.05, "{fit:?}");
    }

    #[test]
    fn noise_has_no_knee() {
        let noise = [1.0, 1.1, 0.95, 1.05, 0.9, 1.08, 1.0, 0.97];
        let points: Vec<_> = powers_of_two(8).zip(noise).map(|(x, n)| (x, 50.0 * n)).collect();
        let fit = fit(&points).unwrap();
        assert!(fit.power.abs() < 0.1 && fit.knee.is_none(), "{fit:?}");
    }

    #[test]
    fn two_points_are_no_growth() {
        assert!(fit(&[(1.0, 1.0), (2.0, 2.0)]).is_none());
    }
}
