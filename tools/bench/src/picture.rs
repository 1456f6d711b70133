//! Bars, as an SVG that reads on a light and on a dark page.

use std::fmt::Write as _;

use crate::timing::Timing;

const WIDTH: f64 = 420.0;
const ROW: f64 = 30.0;

/// A bar for each median, Cooper's in another colour.
pub(crate) fn bars(results: &[Timing], own: &str) -> String {
    let most = results.iter().map(|result| result.median).fold(1.0, f64::max);
    let height = ROW * results.len() as f64 + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" font-family=\"sans-serif\" font-size=\"14\" fill=\"#7a8aa0\">\n"
    );
    for (index, result) in results.iter().enumerate() {
        let y = 10.0 + ROW * index as f64;
        let length = WIDTH * result.median / most;
        let colour = if result.name == own { "#b0742f" } else { "#5b7fa6" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"180\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"190\" y=\"{y}\" width=\"{length:.1}\" height=\"20\" \
             fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\">{:.1} ms</text>",
            y + 15.0,
            result.name,
            198.0 + length,
            y + 15.0,
            result.median
        );
    }
    svg + "</svg>\n"
}
