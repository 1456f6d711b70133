//! Bars and curves, as an SVG that reads on a light and on a dark page.

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

/// A plot: its title, dots, and a line through some.
pub(crate) type Plot<'a> = (&'a str, Vec<(f64, f64)>, Vec<(f64, f64)>);

/// Plots one below the other, all from 0 up, with one scale from left to right.
pub(crate) fn plots(plots: &[Plot<'_>]) -> String {
    const HEIGHT: f64 = 200.0;
    let right = plots.iter().flat_map(|(_, dots, line)| dots.iter().chain(line)).map(|dot| dot.0).fold(1.0, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {}\" font-family=\"sans-serif\" font-size=\"14\" fill=\"#7a8aa0\">\n",
        (HEIGHT + 70.0) * plots.len() as f64
    );
    for (index, (title, dots, line)) in plots.iter().enumerate() {
        let top = (HEIGHT + 70.0) * index as f64 + 30.0;
        // One start in a thousand that the machine held up is no reason to press all others to the ground.
        let mut heights: Vec<f64> = dots.iter().chain(line).map(|dot| dot.1).collect();
        heights.sort_by(f64::total_cmp);
        let most = heights.get(heights.len() * 99 / 100).copied().unwrap_or(1.0).max(0.001) * 1.1;
        let place = |(x, y): (f64, f64)| (50.0 + 640.0 * x / right, top + HEIGHT * (1.0 - (y / most).min(1.0)));
        // Writing to a String cannot fail.
        let _ = writeln!(svg, "<text x=\"50\" y=\"{}\" font-weight=\"bold\">{title}</text>", top - 8.0);
        for value in [0.0, most / 2.0, most] {
            let (_, y) = place((0.0, value));
            let _ = writeln!(
                svg,
                "<path d=\"M50 {y:.1}H690\" stroke=\"#7a8aa0\" stroke-opacity=\"0.3\"/><text x=\"44\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                y + 5.0
            );
        }
        for dot in dots {
            let (x, y) = place(*dot);
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.2\" fill=\"#5b7fa6\"/>");
        }
        let points: Vec<String> = line.iter().map(|dot| place(*dot)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#b0742f\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        let bottom = top + HEIGHT + 18.0;
        let _ = writeln!(svg, "<text x=\"690\" y=\"{bottom}\" text-anchor=\"end\">{right:.0} containers</text>");
    }
    svg + "</svg>\n"
}
