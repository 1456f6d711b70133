#![allow(clippy::unwrap_used)]
use images::{Descriptor, media};

use super::*;

fn id(text: &str) -> DiffId {
    DiffId(Digest::of(text.as_bytes()))
}

fn run(below: &str, command: &str, env: &[(&str, &str)]) -> Inputs {
    let mut inputs = Inputs::new(vec![id(below)], [("command", command.to_owned())]);
    inputs.env = env.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    inputs
}

fn place(line: usize) -> Place {
    Place::new(Path::new("/x/Dockerfile"), line, "RUN make")
}

fn layer() -> Layer {
    Layer { diff_id: id("result"), blob: Descriptor::new(media::OCI_LAYER_GZIP, Digest::of(b"blob"), 4) }
}

#[test]
fn each_input_is_in_the_key_and_nothing_else_is() {
    let base = run("a", "make", &[("A", "1")]);
    assert_eq!(base.key(), run("a", "make", &[("A", "1")]).key());
    for other in [run("b", "make", &[("A", "1")]), run("a", "make all", &[("A", "1")]), run("a", "make", &[("A", "2")])]
    {
        assert_ne!(base.key(), other.key());
    }
    let mut copy = base.clone();
    copy.files.insert("x".to_owned(), "file 644".to_owned());
    assert_ne!(base.key(), copy.key());
}

#[test]
fn a_step_is_known_once_kept_while_its_layer_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache")).unwrap();
    let inputs = run("a", "make", &[("A", "1")]);
    let look = |inputs: &Inputs, there| match cache.look_up(&place(3), inputs, |_| there) {
        Verdict::Known { layer, why, .. } => (layer.is_some(), why),
        Verdict::Unknown { why } => (false, why),
    };
    assert_eq!(look(&inputs, true), (false, "it has not been built before".to_owned()));
    let record = Record {
        instruction: "RUN make".to_owned(),
        inputs: inputs.clone(),
        layer: Some(layer()),
        created: "2024-01-01T00:00:00Z".to_owned(),
    };
    cache.keep(&place(3), &record).unwrap();
    assert_eq!(
        look(&inputs, true),
        (true, "nothing changed: the layers below, its command, its environment".to_owned())
    );
    assert_eq!(look(&inputs, false), (false, "its layer is no longer in the store".to_owned()));
    assert_eq!(look(&run("a", "make", &[("A", "2")]), true).1, "the variable A changed");
    std::fs::write(cache.record(&inputs.key()), "{ damaged").unwrap();
    assert!(!look(&inputs, true).0);
}

#[test]
fn a_difference_is_told_in_words() {
    let mut before = run("a", "make", &[("A", "1"), ("B", "2")]);
    let mut now = run("b", "make all", &[("A", "1"), ("C", "3")]);
    assert_eq!(
        now.difference(&before),
        "a layer below it changed, its command changed, the variable C is new, the variable B is gone"
    );
    (before, now) = (run("a", "x", &[]), run("a", "x", &[]));
    for name in ["a", "b", "c", "d", "e", "f"] {
        now.files.insert(name.to_owned(), String::new());
    }
    assert_eq!(now.difference(&before), "a is new, b is new, c is new, and 3 more");
}
