//! Bars, as an SVG that reads on a light and on a dark page.

use std::fmt::Write as _;

use crate::timing::Timing;

const WIDTH: f64 = 420.0;
const ROW: f64 = 30.0;

/// A bar for each median, Cooper's in another colour.
pub(crate) fn bars(results: &[Timing], own: &str) -> String {
    groups(&[("", results)], own)
}

/// Several such pictures, one below the other, with one scale for all.
pub(crate) fn groups(groups: &[(&str, &[Timing])], own: &str) -> String {
    let most = groups.iter().flat_map(|(_, results)| *results).map(|result| result.median).fold(1.0, f64::max);
    let titles = groups.iter().filter(|(title, _)| !title.is_empty()).count();
    let rows = titles + groups.iter().map(|(_, results)| results.len()).sum::<usize>();
    let height = ROW * rows as f64 + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" font-family=\"sans-serif\" font-size=\"14\" fill=\"#7a8aa0\">\n"
    );
    let mut y = 10.0;
    for (title, results) in groups {
        if !title.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(svg, "<text x=\"190\" y=\"{}\" font-weight=\"bold\">{title}</text>", y + 18.0);
            y += ROW;
        }
        for result in *results {
            let length = WIDTH * result.median / most;
            let colour = if result.name == own { "#b0742f" } else { "#5b7fa6" };
            let _ = writeln!(
                svg,
                "<text x=\"180\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"190\" y=\"{y}\" width=\"{length:.1}\" \
                 height=\"20\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\">{:.1} ms</text>",
                y + 15.0,
                result.name,
                198.0 + length,
                y + 15.0,
                result.median
            );
            y += ROW;
        }
    }
    svg + "</svg>\n"
}
