//! Charts as inline SVG: bars with their intervals for contenders, lines for what was measured along
//! an axis. Colours come from the page's style, so that they follow light and dark.

use std::fmt::Write;

use super::markdown::{places, plain};
use super::wording::number;
use super::{Series, Table};

const WIDTH: f64 = 760.0;
/// Colours of the page's style for lines; the second one is the grey of others' bars and comes last.
const COLOURS: [usize; 8] = [0, 2, 3, 4, 5, 6, 7, 1];

/// The chart of one table; empty where there is nothing to draw.
pub(super) fn chart(table: &Table) -> String {
    let drawable = |series: &&Series| series.summary.median.is_finite();
    if table.series.iter().filter(drawable).count() == 0 {
        return String::new();
    }
    match table.axis {
        // Between two points a line would claim a course.
        Some(_) if places(table).len() > 2 => lines(table),
        _ => bars(table),
    }
}

/// A horizontal bar for each contender, from nought, with the interval of its median as a whisker.
fn bars(table: &Table) -> String {
    const ROW: f64 = 26.0;
    const RIGHT: f64 = 90.0;
    /// As wide as letters of the page's size are at the most, on average.
    const LETTER: f64 = 7.0;
    let name = |series: &Series| match (series.at, &table.axis) {
        (Some(at), Some(axis)) => format!("{}, {axis} {}", series.contender, plain(at)),
        _ => series.contender.clone(),
    };
    let letters = table.series.iter().map(|series| name(series).chars().count()).max();
    // Names are never cut off; what is left is for the bars.
    let left = (LETTER * letters.unwrap_or(0) as f64 + 16.0).max(160.0);
    let width = WIDTH.max(left + RIGHT + 200.0);
    let end = |series: &Series| series.summary.confidence.map_or(series.summary.median, |i| i.high);
    let most = table.series.iter().map(end).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| left + (width - left - RIGHT) * value.max(0.0) / most;
    let height = ROW * table.series.len() as f64 + 8.0;
    let mut svg = open(table, width, height);
    for (index, series) in table.series.iter().enumerate() {
        let top = 4.0 + ROW * index as f64;
        let middle = top + ROW / 2.0;
        let (median, length) = (series.summary.median, x(series.summary.median) - left);
        text(&mut svg, left - 8.0, middle + 4.0, "end", "", &name(series));
        put(
            &mut svg,
            &format!(
                r#"<rect class="f{}" x="{left}" y="{:.1}" width="{length:.1}" height="{:.1}" rx="2"/>"#,
                usize::from(!ours(&series.contender)),
                top + 4.0,
                ROW - 8.0
            ),
        );
        if let Some(interval) = series.summary.confidence {
            let (low, high) = (x(interval.low), x(interval.high));
            put(
                &mut svg,
                &format!(
                    r#"<path class="whisker" d="M{low:.1} {middle}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8"/>"#,
                    middle - 4.0,
                    middle - 4.0
                ),
            );
        }
        let label = x(end(series)).max(x(median)) + 6.0;
        text(&mut svg, label, middle + 4.0, "start", "", &number(median));
    }
    svg.push_str("</svg>");
    svg
}

/// A line for each contender, both axes logarithmic.
fn lines(table: &Table) -> String {
    const HEIGHT: f64 = 340.0;
    const LEFT: f64 = 70.0;
    const RIGHT: f64 = 20.0;
    const TOP: f64 = 12.0;
    let contenders = table.contenders();
    let bottom = HEIGHT - 36.0;
    let legend = 20.0 * contenders.len() as f64;
    let drawn =
        |series: &&Series| series.at.is_some_and(|at| at > 0.0) && series.summary.median > 0.0;
    let points: Vec<&Series> = table.series.iter().filter(drawn).collect();
    let x_range = Range::of(points.iter().filter_map(|series| series.at));
    let y_range = Range::of(points.iter().map(|series| series.summary.median));
    let x = |at: f64| LEFT + (WIDTH - LEFT - RIGHT) * x_range.share(at);
    let y = |value: f64| bottom - (bottom - TOP) * y_range.share(value);
    let mut svg = open(table, WIDTH, HEIGHT + legend);
    for at in places(table) {
        put(&mut svg, &format!(r#"<path class="grid" d="M{:.1} {TOP}V{bottom}"/>"#, x(at)));
        text(&mut svg, x(at), bottom + 16.0, "middle", "small", &plain(at));
    }
    for tick in y_range.ticks() {
        let right = WIDTH - RIGHT;
        put(&mut svg, &format!(r#"<path class="grid" d="M{LEFT} {:.1}H{right}"/>"#, y(tick)));
        text(&mut svg, LEFT - 6.0, y(tick) + 4.0, "end", "small", &number(tick));
    }
    let axis = table.axis.as_deref().unwrap_or_default();
    text(&mut svg, WIDTH - RIGHT, HEIGHT - 4.0, "end", "small", axis);
    for (index, contender) in contenders.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut own: Vec<&&Series> = points.iter().filter(|s| s.contender == *contender).collect();
        own.sort_by(|a, b| a.at.unwrap_or(0.0).total_cmp(&b.at.unwrap_or(0.0)));
        let mut path = String::new();
        for series in own {
            let (px, py) = (x(series.at.unwrap_or(1.0)), y(series.summary.median));
            let step = if path.is_empty() { 'M' } else { 'L' };
            write!(path, "{step}{px:.1} {py:.1}").expect("a string takes all");
            put(
                &mut svg,
                &format!(r#"<circle class="f{colour}" cx="{px:.1}" cy="{py:.1}" r="3"/>"#),
            );
        }
        put(&mut svg, &format!(r#"<path class="line s{colour}" d="{path}"/>"#));
        let at = HEIGHT + 20.0 * index as f64 + 6.0;
        put(&mut svg, &format!(r#"<path class="line s{colour}" d="M{LEFT} {at}h24"/>"#));
        text(&mut svg, LEFT + 32.0, at + 4.0, "start", "", contender);
    }
    svg.push_str("</svg>");
    svg
}

/// Bars of our own stand out from those of others.
fn ours(contender: &str) -> bool {
    let others = ["Pool", "Executor", "loky", "Ray", "grpcio", "bare", "Python's"];
    !others.iter().any(|other| contender.contains(other))
}

/// A logarithmic range that holds all values.
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .fold((f64::INFINITY, f64::MIN_POSITIVE), |(low, high), v| (low.min(v), high.max(v)));
        // What hardly differs is not drawn as if it did.
        let (low, high) = if high / low < 4.0 { (low / 2.0, high * 2.0) } else { (low, high) };
        Self { low: low.ln(), high: high.ln() }
    }

    fn share(&self, value: f64) -> f64 {
        (value.ln() - self.low) / (self.high - self.low)
    }

    /// Powers of ten inside, and their halves and fifths where there are few.
    fn ticks(&self) -> Vec<f64> {
        let decades = self.low.exp().log10().floor() as i32..=self.high.exp().log10().ceil() as i32;
        let steps: &[f64] = if decades.clone().count() > 4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = decades.flat_map(|decade| steps.iter().map(move |s| s * 10_f64.powi(decade)));
        all.filter(|tick| (self.low..=self.high).contains(&tick.ln())).collect()
    }
}

fn open(table: &Table, width: f64, height: f64) -> String {
    let what = escape(&format!("{} {} in {}", table.workload, table.measure, table.unit));
    format!(r#"<svg role="img" viewBox="0 0 {width} {height}"><title>{what}</title>"#)
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, content: &str) {
    let content = escape(content);
    put(
        svg,
        &format!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{content}</text>"#
        ),
    );
}

fn put(svg: &mut String, element: &str) {
    svg.push_str(element);
}

/// Text as it may stand in HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
