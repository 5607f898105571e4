//! A bar chart as SVG, written by hand: a row for each contestant, its median as a bar, least and most as a whisker.

use std::fmt::Write as _;

use crate::figures::Series;

const ROW: usize = 26;
const LEFT: usize = 330;
const WIDTH: usize = 440;

/// Bars whose names begin with `ours` are in the house's colour.
pub(crate) fn bars(title: &str, bars: &[(String, Series)], ours: &str) -> String {
    let most = bars.iter().map(|(_, series)| series.most()).fold(1.0, f64::max);
    let (width, height) = (LEFT + WIDTH + 120, 50 + bars.len() * ROW);
    let x = |value: f64| LEFT as f64 + value / most * WIDTH as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    for (n, (name, series)) in bars.iter().enumerate() {
        let top = 40 + n * ROW;
        let (middle, colour) = (top + 10, if name.starts_with(ours) { "#1f6feb" } else { "#9aa4b2" });
        let (median, least, greatest) = (series.median(), series.least(), series.most());
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\
             <path d=\"M {:.1} {middle} H {:.1}\" stroke=\"#24292f\" stroke-width=\"1.5\"/>\
             <text x=\"{:.1}\" y=\"{}\">{median:.0}/s</text>",
            LEFT - 8,
            top + 14,
            escaped(name),
            top + 2,
            x(median) - LEFT as f64,
            x(least),
            x(greatest),
            x(greatest) + 6.0,
            top + 14,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_bar_for_each_and_no_markup_of_theirs() {
        let mut series = Series::default();
        for value in [10.0, 20.0, 30.0] {
            series.push(value);
        }
        let svg = bars("a <b>", &[("Omnibus & co".into(), series.clone()), ("other".into(), series)], "Omnibus");
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(svg.contains("a &lt;b&gt;") && svg.contains("Omnibus &amp; co") && svg.contains("20/s"));
    }
}
