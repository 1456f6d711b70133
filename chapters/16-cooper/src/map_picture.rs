//! A container's map as a picture: an SVG that follows the reader's choice of light or dark.
//!
//! The container is a box on the host. Everything inside it is drawn inside; its cables leave through the lower edge, into
//! the bridges of the host, and from there into the world.

use std::fmt::Write as _;

use crate::map::{Group, Scene, Wire, size};

const WIDTH: f64 = 1000.0;
/// Between two things.
const GAP: f64 = 20.0;
/// A line of text.
const LINE: f64 = 20.0;
/// The widths of the two columns inside the container.
const COLUMN: f64 = 430.0;

/// Plain colours first, for programs that know no media queries; those of the dark page over them.
const STYLE: &str = "<style>
  text { font: 13px ui-monospace, 'DejaVu Sans Mono', Menlo, monospace; fill: #2b2620 }
  .title { font: 600 22px system-ui, 'DejaVu Sans', sans-serif }
  .head { font: 600 12px system-ui, 'DejaVu Sans', sans-serif; letter-spacing: .06em; fill: #a8622a }
  .dim { fill: #85796a } .mark { fill: #a8622a } .small { font-size: 11px }
  .middle { text-anchor: middle } .end { text-anchor: end }
  .ground { fill: #ffffff } .box { fill: #f6f2ec; stroke: #a8622a; stroke-width: 2 }
  .card { fill: #ffffff; stroke: #d9cfc0 } .own { fill: #f0ddc8; stroke: #a8622a }
  .shared { fill: none; stroke: #b8ab98; stroke-dasharray: 4 3 }
  .rail { fill: #e6ded2 } .fill { fill: #a8622a } .plug { fill: #d8eaee; stroke: #3f7d8c; stroke-width: 1.5 }
  .wire { fill: none; stroke: #3f7d8c; stroke-width: 3; stroke-linecap: round }
  @media (prefers-color-scheme: dark) {
    text { fill: #ece5d8 } .head, .mark { fill: #dd9a5c } .dim { fill: #a29683 }
    .ground { fill: #17150f } .box { fill: #211e17; stroke: #dd9a5c }
    .card { fill: #2b2720; stroke: #4a4337 } .own { fill: #4a3522; stroke: #dd9a5c } .shared { stroke: #6b6253 }
    .rail { fill: #4a4337 } .fill { fill: #dd9a5c } .plug { fill: #1f3a41; stroke: #6fb3c2 } .wire { stroke: #6fb3c2 }
  }
</style>
";

/// The whole picture.
pub(crate) fn draw(scene: &Scene) -> String {
    let mut canvas = Canvas(String::new());
    let (left, right) = (40.0 + GAP, 40.0 + GAP + COLUMN + GAP);
    canvas.text(40.0, 44.0, "title", &scene.name);
    canvas.text(WIDTH - 40.0, 44.0, "dim end", &format!("{}   {}", scene.image, scene.id));
    let top = 64.0;
    let mut y = top + GAP;
    for part in [process, namespaces, group, privileges] {
        y = part(&mut canvas, scene, left, y) + GAP;
    }
    let other = mounts(&mut canvas, scene, right, top + GAP) + GAP;
    let bottom = y.max(other) + GAP;
    let end = network(&mut canvas, scene, bottom);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {end}\" width=\"{WIDTH}\" height=\"{end}\" role=\"img\" aria-label=\"the container {}\">\n{STYLE}",
        escaped(&scene.name)
    );
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "<rect class=\"ground\" width=\"{WIDTH}\" height=\"{end}\"/>");
    let _ = writeln!(
        svg,
        "<rect class=\"box\" x=\"40\" y=\"{top}\" width=\"{}\" height=\"{}\" rx=\"14\"/>",
        WIDTH - 80.0,
        bottom - top
    );
    svg + &canvas.0 + "</svg>\n"
}

fn process(canvas: &mut Canvas, scene: &Scene, x: f64, y: f64) -> f64 {
    let end = canvas.card(x, y, "PROCESS", 2);
    canvas.text(x + 14.0, y + 46.0, "", &cut(&scene.command, 50));
    canvas.text(x + 14.0, y + 66.0, "dim", &format!("pid {} on this machine, uid {}", scene.pid, scene.user));
    end
}

/// A chip for each: filled where it is the container's own.
fn namespaces(canvas: &mut Canvas, scene: &Scene, x: f64, y: f64) -> f64 {
    let end = canvas.card(x, y, "NAMESPACES", 4);
    let wide = (COLUMN - 28.0 - 3.0 * 8.0) / 4.0;
    for (index, namespace) in scene.namespaces.iter().enumerate() {
        let (column, row) = ((index % 4) as f64, (index / 4) as f64);
        let (left, top) = (x + 14.0 + column * (wide + 8.0), y + 32.0 + row * 40.0);
        let class = if namespace.shared { "shared" } else { "own" };
        canvas.rect(class, left, top, wide, 34.0, 6.0);
        canvas.text(left + wide / 2.0, top + 15.0, "middle", namespace.kind);
        let below = if namespace.shared { "shared".to_owned() } else { namespace.number.to_string() };
        canvas.text(left + wide / 2.0, top + 28.0, "middle small dim", &below);
    }
    end
}

fn group(canvas: &mut Canvas, Scene { group, .. }: &Scene, x: f64, y: f64) -> f64 {
    let end = canvas.card(x, y, "CONTROL GROUP", 4);
    let Group { path, memory, pids, cpu } = group;
    canvas.text(x + 14.0, y + 46.0, "dim", &cut(path, 52));
    gauge(canvas, (x, y + 68.0), "memory", (memory.0, memory.1), &size(memory.0), memory.1.map(size));
    gauge(canvas, (x, y + 88.0), "processes", *pids, &pids.0.to_string(), pids.1.map(|count| count.to_string()));
    canvas.text(x + 14.0, y + 108.0, "", &format!("{:10} {cpu:.2} s", "processor"));
    end
}

/// A name, a bar, and what it means.
fn gauge(
    canvas: &mut Canvas,
    (x, y): (f64, f64),
    name: &str,
    (used, most): (u64, Option<u64>),
    shown: &str,
    limit: Option<String>,
) {
    canvas.text(x + 14.0, y, "", name);
    let share = most.map_or(0.0, |most| used as f64 / most.max(1) as f64).min(1.0);
    canvas.rect("rail", x + 98.0, y - 9.0, 130.0, 8.0, 4.0);
    if share > 0.0 {
        canvas.rect("fill", x + 98.0, y - 9.0, (130.0 * share).max(8.0), 8.0, 4.0);
    }
    let limit = limit.map_or("no limit".to_owned(), |limit| format!("of {limit}"));
    canvas.text(x + 240.0, y, "dim", &format!("{shown} {limit}"));
}

fn privileges(canvas: &mut Canvas, scene: &Scene, x: f64, y: f64) -> f64 {
    let lines = wrapped(&scene.capabilities, 50);
    let end = canvas.card(x, y, "PRIVILEGES", lines.len() + 1);
    for (index, line) in lines.iter().enumerate() {
        canvas.text(x + 14.0, y + 46.0 + LINE * index as f64, "", line);
    }
    let nnp = if scene.no_new_privileges { ", no_new_privs" } else { "" };
    let last = y + 46.0 + LINE * lines.len() as f64;
    canvas.text(x + 14.0, last, "dim", &format!("seccomp: {}{nnp}", scene.seccomp));
    end
}

fn mounts(canvas: &mut Canvas, scene: &Scene, x: f64, y: f64) -> f64 {
    let lines = wrapped(&scene.covered, 50);
    let covered = if scene.covered.is_empty() { 0 } else { lines.len() + 1 };
    let end = canvas.card(x, y, "MOUNTS", scene.mounts.len() + covered);
    for (index, mount) in scene.mounts.iter().enumerate() {
        let at = y + 46.0 + LINE * index as f64;
        canvas.text(x + 14.0, at, "", &cut(&mount.target, 25));
        canvas.text(
            x + 222.0,
            at,
            if mount.read_only { "dim" } else { "mark" },
            if mount.read_only { "ro" } else { "rw" },
        );
        canvas.text(x + 248.0, at, "dim", &cut(&format!("{} {}", mount.kind, mount.source), 22));
    }
    if covered > 0 {
        let at = y + 50.0 + LINE * scene.mounts.len() as f64;
        canvas.text(x + 14.0, at, "dim", "masked or made read-only:");
        for (index, line) in lines.iter().enumerate() {
            canvas.text(x + 14.0, at + LINE * (index + 1) as f64, "small dim", line);
        }
    }
    end
}

/// The cables, the bridges, and the world; where the picture ends.
fn network(canvas: &mut Canvas, scene: &Scene, edge: f64) -> f64 {
    if scene.wires.is_empty() {
        let shared = scene.namespaces.iter().any(|namespace| namespace.kind == "net" && namespace.shared);
        let words = if shared { "on this machine's own network" } else { "no cable leads out" };
        canvas.text(WIDTH / 2.0, edge + 30.0, "middle dim", words);
        return edge + 60.0;
    }
    let wide = (WIDTH - 80.0) / scene.wires.len() as f64;
    for (index, wire) in scene.wires.iter().enumerate() {
        cable(canvas, scene, wire, 40.0 + wide * (index as f64 + 0.5), edge, wide);
    }
    edge + 280.0 + LINE * scene.ports.len() as f64
}

fn cable(canvas: &mut Canvas, scene: &Scene, wire: &Wire, x: f64, edge: f64, wide: f64) {
    let half = (wide / 2.0 - 12.0).min(210.0);
    let letters = (half * 2.0 / 8.0) as usize;
    // All plugs are as tall as the tallest, so that the bridges stand in a row.
    let most = scene.wires.iter().map(|wire| wire.addresses.len()).max().unwrap_or(1);
    let tall = 32.0 + LINE * most as f64;
    let bridge = edge + tall / 2.0 + 74.0;
    if wire.bridged {
        canvas.wire(x, edge + tall / 2.0, bridge);
        canvas.text(x + 12.0, (edge + tall / 2.0 + bridge) / 2.0 + 4.0, "small dim", &wire.host_end);
    }
    canvas.rect("plug", x - half, edge - tall / 2.0, half * 2.0, tall, 8.0);
    canvas.text(
        x,
        edge - tall / 2.0 + 20.0,
        "middle",
        &cut(&format!("{}  {}", wire.interface, wire.addresses[0]), letters),
    );
    for (index, more) in wire.addresses.iter().skip(1).enumerate() {
        canvas.text(x, edge - tall / 2.0 + 20.0 + LINE * (index + 1) as f64, "middle", &cut(more, letters));
    }
    canvas.text(x, edge + tall / 2.0 - 10.0, "middle small dim", &wire.mac);
    if !wire.bridged {
        canvas.text(x, bridge, "middle dim", &format!("network {}, made by a plugin", wire.network));
        return;
    }
    canvas.rect("plug", x - half, bridge, half * 2.0, 50.0, 8.0);
    canvas.text(x, bridge + 21.0, "middle", &cut(&format!("{}  {}", wire.bridge, wire.gateway), letters));
    canvas.text(x, bridge + 39.0, "middle small dim", &format!("bridge of network {}", wire.network));
    canvas.wire(x, bridge + 50.0, bridge + 78.0);
    canvas.text(x, bridge + 96.0, "middle small dim", &cut(&format!("table inet {}", wire.table), letters * 5 / 4));
    canvas.text(x, bridge + 116.0, "middle", wire.way_out);
    // Ports lead to the network that is the way out, which is the first.
    let first = scene.wires.first().is_some_and(|first| first.interface == wire.interface);
    for (index, port) in scene.ports.iter().enumerate().filter(|_| first) {
        canvas.text(x, bridge + 142.0 + LINE * index as f64, "middle mark", &port.to_string());
    }
}

/// The elements, in the order in which they are painted.
struct Canvas(String);

impl Canvas {
    fn rect(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64, radius: f64) {
        let shape = format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius}\"");
        let _ = writeln!(self.0, "<rect class=\"{class}\" {shape}/>");
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" xml:space=\"preserve\">{}</text>",
            escaped(text)
        );
    }

    fn wire(&mut self, x: f64, from: f64, to: f64) {
        let _ = writeln!(self.0, "<path class=\"wire\" d=\"M{x:.1} {from:.1}V{to:.1}\"/>");
    }

    /// A card with a heading and room for some lines; where it ends.
    fn card(&mut self, x: f64, y: f64, title: &str, lines: usize) -> f64 {
        let height = 40.0 + LINE * lines as f64;
        self.rect("card", x, y, COLUMN, height, 8.0);
        self.text(x + 14.0, y + 22.0, "head", title);
        y + height
    }
}

/// At most so many characters.
fn cut(text: &str, most: usize) -> String {
    crate::table::ellipsis(text, most.max(2))
}

/// Words in lines of at most `most` characters.
fn wrapped(words: &[String], most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    if lines.is_empty() { vec!["none".to_owned()] } else { lines }
}

/// Names and commands are whatever somebody typed.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_typed_is_no_markup() {
        assert_eq!(escaped("<a>&\"\u{1b}"), "&lt;a&gt;&amp;&quot; ");
    }

    #[test]
    fn words_are_put_into_lines() {
        let words: Vec<String> = ["CHOWN", "KILL", "SETUID"].map(str::to_owned).to_vec();
        assert_eq!(wrapped(&words, 11), ["CHOWN KILL", "SETUID"]);
        assert_eq!(wrapped(&[], 11), ["none"]);
    }
}
