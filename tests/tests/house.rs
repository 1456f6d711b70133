//! The rules of the house, held against the workspace, and each held against a small wrong input that it must catch.

#![allow(clippy::unwrap_used)]

use tests::rules::order::Row;
use tests::rules::{lib_maps, no_twins, order, said_once, sizes, unsafe_only_in_sys};
use tests::{Breach, House, Source};

#[track_caller]
fn none(breaches: Vec<Breach>) {
    let lines: Vec<String> = breaches.iter().map(|breach| format!("  {breach}")).collect();
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), lines.join("\n"));
}

fn reasons(breaches: Vec<Breach>) -> Vec<String> {
    breaches.into_iter().map(|breach| breach.to_string()).collect()
}

fn sources() -> Vec<Source> {
    House::here().unwrap().sources().unwrap()
}

#[test]
fn the_dependency_graph_is_the_curriculum() {
    let house = House::here().unwrap();
    let table = order::table(&house.read("ARCHITECTURE.md").unwrap()).unwrap();
    let edges = order::edges(&house).unwrap();
    assert_eq!(edges.len(), 16, "sixteen chapters");
    none(order::check(&edges, &table));
}

#[test]
fn an_import_of_a_later_chapter_is_caught() {
    let edges = [Row::new("process", &["rootfs"]), Row::new("rootfs", &["process"])];
    let table = [Row::new("process", &["rootfs"]), Row::new("rootfs", &["process"])];
    let found = reasons(order::check(&edges, &table));
    assert_eq!(
        found,
        [
            "process: imports `rootfs`, which is not an earlier chapter",
            "ARCHITECTURE.md: allows `process` to import `rootfs`, which is not an earlier chapter",
        ]
    );
}

#[test]
fn an_import_that_the_table_does_not_name_is_caught() {
    let edges = [Row::new("process", &[]), Row::new("rootfs", &["process"])];
    let table =
        order::table("| chapter | may import |\n|---|---|\n| `process` | nothing |\n| `rootfs` | nothing |\n").unwrap();
    assert_eq!(
        reasons(order::check(&edges, &table)),
        ["rootfs: imports `process`, which ARCHITECTURE.md does not allow"]
    );
}

#[test]
fn a_test_may_import_any_earlier_chapter_and_no_later_one() {
    let table = [Row::new("process", &[]), Row::new("rootfs", &[])];
    let earlier = [Row::new("process", &[]), Row::new("rootfs", &[]).tested_with(&["process"])];
    assert!(order::check(&earlier, &table).is_empty());
    let later = [Row::new("process", &[]).tested_with(&["rootfs"]), Row::new("rootfs", &[])];
    let found = reasons(order::check(&later, &table));
    assert_eq!(found, ["process: imports `rootfs`, which is not an earlier chapter"]);
}

#[test]
fn a_document_without_the_table_is_caught() {
    let error = order::table("# Architecture\n\nNothing yet.\n").unwrap_err();
    assert_eq!(error.to_string(), "ARCHITECTURE.md has no table `| chapter | may import |`");
}

#[test]
fn files_fit_in_a_head() {
    none(sizes::files(&sources()));
}

#[test]
fn functions_fit_on_a_page() {
    none(sizes::functions(&sources()).unwrap());
}

#[test]
fn every_chapter_has_one_spine() {
    none(sizes::spines(&sources()).unwrap());
}

#[test]
fn a_long_file_is_caught() {
    let source = Source::imagined("chapters/01-process/src/long.rs", &"//! x\n".repeat(401));
    let found = reasons(sizes::files(&[source]));
    assert_eq!(found, ["chapters/01-process/src/long.rs: 401 lines, more than 400: it holds more than one idea"]);
}

#[test]
fn a_long_function_is_caught_wherever_it_hides() {
    let body = "    call();\n".repeat(59);
    let text = format!("struct S;\nimpl S {{\n  pub(crate) fn long(&self) {{\n{body}  }}\n}}\n");
    let found = reasons(sizes::functions(&[Source::imagined("a.rs", &text)]).unwrap());
    assert_eq!(found, ["a.rs:3: `long` has 61 lines, more than 60"]);
}

#[test]
fn a_chapter_without_a_spine_or_with_two_is_caught() {
    let none = Source::imagined("chapters/01-process/src/lib.rs", "fn a() {}\n");
    assert_eq!(reasons(sizes::spines(&[none]).unwrap()), ["chapters/01-process: no function is marked `// spine`"]);
    let text = "// spine\nfn a() {}\n// spine\n#[must_use]\nfn b() {}\n";
    let two = Source::imagined("chapters/01-process/src/lib.rs", text);
    assert!(reasons(sizes::spines(&[two]).unwrap())[0].starts_with("chapters/01-process: two spines: "));
    let astray = Source::imagined("chapters/01-process/src/lib.rs", "// spine\nstruct A;\n// spine\nfn a() {}\n");
    let found = reasons(sizes::spines(&[astray]).unwrap());
    assert_eq!(found, ["chapters/01-process/src/lib.rs:1: `// spine` does not stand right above a function"]);
}

#[test]
fn unsafe_stands_in_sys_only() {
    none(unsafe_only_in_sys::check(&sources()).unwrap());
}

#[test]
fn unsafe_elsewhere_is_caught_and_words_about_it_are_not() {
    let text = "// unsafe\nconst WORD: &str = \"unsafe\";\nmacro_rules! m { () => { unsafe { x() } } }\n";
    let elsewhere = Source::imagined("chapters/01-process/src/spawn.rs", text);
    let sys = Source::imagined("chapters/01-process/src/sys.rs", text);
    let found = reasons(unsafe_only_in_sys::check(&[elsewhere, sys]).unwrap());
    assert_eq!(found, ["chapters/01-process/src/spawn.rs:3: `unsafe` outside src/sys.rs"]);
}

#[test]
fn there_is_no_drawer_for_odds_and_ends() {
    none(no_twins::check(&sources()).unwrap());
}

#[test]
fn a_drawer_is_caught_as_a_file_and_as_a_module() {
    let file = Source::imagined("chapters/04-layers/src/utils.rs", "fn a() {}\n");
    let module = Source::imagined("chapters/04-layers/src/lib.rs", "mod inner { mod helpers { fn a() {} } }\n");
    assert_eq!(no_twins::check(&[file, module]).unwrap().len(), 2);
}

#[test]
fn every_library_begins_with_a_map() {
    none(lib_maps::check(&sources()).unwrap());
}

#[test]
fn a_library_that_keeps_a_module_off_its_map_is_caught() {
    let map = "//! One\n//! two\n//! three\n//! [`first`] is here.\n//! five\n";
    let text = format!("{map}pub mod first;\nmod second;\n#[cfg(test)]\nmod tests {{}}\n");
    let found = reasons(lib_maps::check(&[Source::imagined("chapters/01-process/src/lib.rs", &text)]).unwrap());
    assert_eq!(found, ["chapters/01-process/src/lib.rs: module `second` is not on the map"]);
    let short = Source::imagined("chapters/01-process/src/lib.rs", "//! A chapter.\n");
    let found = reasons(lib_maps::check(&[short]).unwrap());
    assert_eq!(found, ["chapters/01-process/src/lib.rs: begins with 1 lines of map, fewer than 5"]);
}

#[test]
fn no_error_prints_its_cause_twice() {
    none(said_once::check(&sources()).unwrap());
}

#[test]
fn a_cause_in_the_message_that_is_a_source_as_well_is_caught() {
    let text = r#"
        enum Error {
            #[error("read: {0}")]
            Marked(#[source] io::Error),
            #[error("open {}: {}", path.display(), source.kind())]
            Argument { path: PathBuf, source: io::Error },
            #[error("{operation}: {source:?}")]
            Named { operation: String, source: io::Error },
            #[error("sign {}", sign(.0))]
            From(#[from] io::Error),
            #[error(transparent)]
            Passed(#[from] process::CallError),
            #[error("open {path}")]
            HandedOn { path: String, source: io::Error },
            #[error("open {path}: {reason}")]
            Whole { path: String, reason: io::Error },
        }
    "#;
    let found = reasons(said_once::check(&[Source::imagined("a.rs", text)]).unwrap());
    assert_eq!(
        found,
        [
            "a.rs:4: `Marked` shows its source `0` in its message: it is printed twice",
            "a.rs:6: `Argument` shows its source `source` in its message: it is printed twice",
            "a.rs:8: `Named` shows its source `source` in its message: it is printed twice",
            "a.rs:10: `From` shows its source `0` in its message: it is printed twice",
        ]
    );
}
