//! `book look`: the rendered book in a real browser, without a network.
//!
//! Chromium, headless, opens each page at two widths and in both colours; it reports what its console said, every address that it
//! wanted, and takes a picture of each. Whether a picture can be read is for a person to say: look at them. What a program can say, it
//! says: no error on any console, no request for anything but files of the book, and a search that finds what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The name of the browser's program.
const BROWSER: &str = "chromium";
/// What is searched for, and a page that has it.
const WORD: (&str, &str) = ("pivot_root", "03-rootfs.html");
/// A desk and a phone, in pixels.
const WIDTHS: [u32; 2] = [1100, 390];
/// The browser's numbers for the colours that its user prefers.
const COLOURS: [(&str, &str); 2] = [("dark", "0"), ("light", "1")];

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Pages opened, each in every width and colour.
    pub pages: usize,
    /// The pictures.
    pub pictures: Vec<PathBuf>,
    /// What is wrong.
    pub wrong: Vec<String>,
}

/// Opens the book that was rendered to `out`, and leaves pictures in `pictures`.
///
/// # Errors
/// There is no browser, or it fails.
pub fn look(out: &Path, pictures: &Path) -> Result<Seen> {
    fs::create_dir_all(pictures).with_context(|| format!("cannot make {}", pictures.display()))?;
    let work = tempfile::tempdir().context("no temporary directory")?;
    let mut names: Vec<String> = fs::read_dir(out)
        .with_context(|| format!("cannot list {}", out.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".html") && !["print.html", "toc.html", "404.html"].contains(&name.as_str()))
        .collect();
    names.sort();
    let mut seen = Seen { pages: names.len(), ..Seen::default() };
    for name in &names {
        for (width, (colour, preference)) in WIDTHS.into_iter().flat_map(|width| COLOURS.map(|colour| (width, colour)))
        {
            let picture = pictures.join(format!("{}-{width}-{colour}.png", name.trim_end_matches(".html")));
            let page = framed(work.path(), &out.join(name), width)?;
            let words = [
                format!("--window-size={},{}", width.max(500), 7000),
                format!("--blink-settings=preferredColorScheme={preference}"),
                format!("--screenshot={}", picture.display()),
            ];
            let (_, wrong) = browse(work.path(), &words, &format!("file://{}", page.display()))?;
            seen.wrong.extend(wrong.into_iter().map(|wrong| format!("{name}, {width} wide, {colour}: {wrong}")));
            seen.pictures.push(picture);
        }
    }
    let address = format!("file://{}/index.html?search={}", out.display(), WORD.0);
    let (found, wrong) = browse(work.path(), &["--dump-dom".to_owned()], &address)?;
    seen.wrong.extend(wrong.into_iter().map(|wrong| format!("search: {wrong}")));
    let results = found.split("id=\"mdbook-searchresults\"").nth(1).or(found.split("id=\"searchresults\"").nth(1));
    if !results.is_some_and(|results| results.contains(&format!("{}?", WORD.1))) {
        seen.wrong.push(format!("search: {} is not found in {}", WORD.0, WORD.1));
    }
    Ok(seen)
}

/// The browser's window is never narrower than 500 pixels; a frame is.
fn framed(work: &Path, page: &Path, width: u32) -> Result<PathBuf> {
    if width >= 500 {
        return Ok(page.to_owned());
    }
    let frame = work.join("frame.html");
    let html = format!(
        "<!doctype html><body style=\"margin: 0\"><iframe src=\"file://{}\" style=\"border: 0; width: {width}px; height: 7000px\"></iframe>",
        page.display()
    );
    fs::write(&frame, html).context("cannot write a page")?;
    Ok(frame)
}

/// Opens an address; what the browser prints, and what went wrong: errors on the console, requests to elsewhere.
fn browse(work: &Path, words: &[String], address: &str) -> Result<(String, Vec<String>)> {
    let log = work.join("requests.json");
    let mut browser = Command::new(BROWSER);
    // As root it refuses to run in its own sandbox; it opens nothing but our own files.
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
    browser.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    browser.args(["--virtual-time-budget=4000", "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND"]);
    browser.arg(format!("--user-data-dir={}", work.join("profile").display()));
    browser.arg(format!("--log-net-log={}", log.display())).args(words).arg(address);
    let output = browser.output().with_context(|| format!("cannot run {BROWSER}: is it installed?"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{BROWSER} ended with {}: {said}", output.status);
    let console = said.lines().filter(|line| line.contains(":CONSOLE:"));
    let mut wrong: Vec<String> = console.map(str::to_owned).collect();
    wrong.extend(elsewhere(&fs::read_to_string(&log).context("the browser kept no record of requests")?));
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), wrong))
}

/// What the record calls the initiator of a request that no page made: the browser itself wants its updates and its time.
const NO_PAGE: &str = "not an origin";

/// The addresses on the network that pages asked for, of a record of requests: one event a line.
fn elsewhere(log: &str) -> Vec<String> {
    let parameters = |line: &str| {
        let event: Value = serde_json::from_str(line.trim_end_matches(',')).ok()?;
        event.get("params").cloned()
    };
    let foreign = log.lines().filter_map(parameters).filter_map(|parameters| {
        let (initiator, url) = (parameters["initiator"].as_str()?, parameters["url"].as_str()?);
        let by_page = initiator != NO_PAGE && (url.starts_with("http") || url.starts_with("ws"));
        by_page.then(|| format!("asks for {url}"))
    });
    foreign.collect::<BTreeSet<String>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_to_elsewhere_is_found_in_the_record_and_the_browsers_own_are_not() {
        let events = [
            r#"{"constants":{},"events":["#,
            r#"{"params":{"initiator":"null","url":"file:///book/index.html"},"type":136},"#,
            r#"{"params":{"initiator":"null","url":"https://example.org/a.js"},"type":136},"#,
            r#"{"params":{"initiator":"file://","url":"wss://example.org/b"},"type":136},"#,
            r#"{"params":{"initiator":"not an origin","url":"https://updates.example.org/"},"type":136},"#,
            r#"{"params":{"url":"https://example.org/a.js"},"type":2}]}"#,
        ];
        assert_eq!(
            elsewhere(&events.join("\n")),
            ["asks for https://example.org/a.js", "asks for wss://example.org/b"]
        );
    }
}
