//! The book is true, on every test run.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use book::check::{Changes, check};
use book::pages::House;
use book::render;

fn house() -> House {
    House::find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn every_include_link_and_output_of_the_book_is_true() {
    let report = check(&house(), Changes::Refuse).unwrap();
    assert!(report.wrong.is_empty(), "{}", report.wrong.join("\n"));
    assert!(report.executed >= 1, "no console block was executed");
}

#[test]
fn the_rendered_book_loads_nothing_from_another_host() {
    let out = render::build(&house()).unwrap();
    let page = std::fs::read_to_string(out.join("index.html")).unwrap();
    for foreign in ["src=\"http", "href=\"http://", "@import"] {
        assert!(!page.contains(foreign), "{foreign} in index.html");
    }
    assert!(page.contains("Cooper"));
}
