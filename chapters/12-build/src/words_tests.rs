#![allow(clippy::unwrap_used)]
use super::*;

fn lookup(name: &str) -> Option<String> {
    match name {
        "v" => Some("value".to_owned()),
        "path" => Some("/usr/local/bin".to_owned()),
        "empty" => Some(String::new()),
        _ => None,
    }
}

fn expanded(word: &str) -> Result<String, String> {
    expand(word, '\\', &lookup)
}

#[test]
fn variables_expand_as_the_reference_says() {
    for (written, means) in [
        ("$v", "value"),
        ("${v}", "value"),
        ("a${v}b", "avalueb"),
        ("$vb", ""),
        ("$none", ""),
        ("${none:-x}", "x"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${v:-x}", "value"),
        ("${v:+x}", "x"),
        ("${none:+x}", ""),
        ("${empty:+x}", ""),
        ("${empty+x}", "x"),
        ("${none:-${v}}", "value"),
        ("${none:-a b}", "a b"),
        ("${none:-'}'}", "}"),
        ("\\$v", "$v"),
        ("'$v'", "$v"),
        ("\"$v\"", "value"),
        ("\"\\$v\"", "$v"),
        ("\"a\\b\"", "a\\b"),
        ("a\\ b", "a b"),
        ("it''s", "its"),
        ("$", "$"),
        ("100$ ", "100$ "),
        ("$1", "$1"),
        ("a\\", "a\\"),
        ("${path#/}", "usr/local/bin"),
        ("${path#*/}", "usr/local/bin"),
        ("${path##*/}", "bin"),
        ("${path%/*}", "/usr/local"),
        ("${path%%/*}", ""),
        ("${path/local/x}", "/usr/x/bin"),
        ("${path//\\//-}", "-usr-local-bin"),
    ] {
        assert_eq!(expanded(written).as_deref(), Ok(means), "{written}");
    }
}

#[test]
fn bad_forms_are_refused() {
    for (written, says) in [
        ("${v", "no closing brace"),
        ("${}", "needs a name"),
        ("${v:x}", "unsupported modifier"),
        ("${v^}", "unsupported modifier"),
        ("'a", "single-quote"),
        ("\"a", "double-quote"),
        ("${none:?no such thing}", "none: no such thing"),
        ("${none?}", "not allowed to be unset"),
    ] {
        let message = expanded(written).unwrap_err();
        assert!(message.contains(says), "{written}: {message}");
    }
}

#[test]
fn nesting_and_growth_are_bounded() {
    let deep = "${n:-".repeat(100) + &"}".repeat(100);
    assert!(expanded(&deep).unwrap_err().contains("nested deeper"));
    let long = |_: &str| Some("x".repeat(MAX_LENGTH));
    assert!(expand("$a$a", '\\', &long).unwrap_err().contains("more than"));
}

#[test]
fn words_split_at_unquoted_blanks_and_keep_their_quotes() {
    assert_eq!(split("a='b c'  \"d e\"f g\\ h ${i:-j}", '\\'), ["a='b c'", "\"d e\"f", "g\\ h", "${i:-j}"]);
    assert!(split("  ", '\\').is_empty());
}

#[test]
fn in_a_heredoc_quotes_are_text() {
    let text = "it's \"$v\" \\$v \\n ${none:-x}\n";
    assert_eq!(expand_text(text, '\\', &lookup).unwrap(), "it's \"value\" $v \\n x\n");
}
