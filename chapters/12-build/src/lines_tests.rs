#![allow(clippy::unwrap_used)]
use super::*;

fn texts(source: &str) -> Vec<(usize, String)> {
    let (_, lines) = split(Path::new("Dockerfile"), source).unwrap();
    lines.into_iter().map(|line| (line.number, line.text)).collect()
}

fn refusal(source: &str) -> String {
    split(Path::new("Dockerfile"), source).unwrap_err().to_string()
}

#[test]
fn comments_and_blank_lines_vanish_even_inside_an_instruction() {
    let source = "# hello\n\nFROM a\nRUN one && \\\n  # why\n\n  two\n  # last\nUSER x\n";
    assert_eq!(texts(source), [(3, "FROM a".to_owned()), (4, "RUN one &&   two".to_owned()), (9, "USER x".to_owned())]);
}

#[test]
fn a_continuation_may_be_followed_by_blanks() {
    assert_eq!(texts("RUN a \\  \t\nb\n"), [(1, "RUN a b".to_owned())]);
}

#[test]
fn two_backslashes_do_not_continue() {
    assert_eq!(texts("RUN a \\\\\nUSER b\n"), [(1, "RUN a \\\\".to_owned()), (2, "USER b".to_owned())]);
}

#[test]
fn a_continuation_at_the_end_of_the_file_is_dropped() {
    assert_eq!(texts("RUN a \\"), [(1, "RUN a".to_owned())]);
}

#[test]
fn a_backtick_escapes_when_the_directive_says_so() {
    assert_eq!(texts("# escape=`\nRUN a `\nb\\\n"), [(2, "RUN a b\\".to_owned())]);
}

#[test]
fn below_a_blank_line_a_directive_is_a_comment() {
    let (directives, _) = split(Path::new("Dockerfile"), "\n# escape=`\nFROM a\n").unwrap();
    assert_eq!(directives.escape, '\\');
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_no_matter() {
    assert_eq!(texts("\u{feff}FROM a\r\nRUN b \\\r\nc\r\n"), [(1, "FROM a".to_owned()), (2, "RUN b c".to_owned())]);
}

#[test]
fn heredocs_are_taken_from_the_lines_below() {
    let (_, lines) = split(Path::new("Dockerfile"), "RUN <<-'A' cat <<B\n\tone\n# two\nA\n$x\nB\nUSER z\n").unwrap();
    assert_eq!(lines[0].heredocs.len(), 2);
    assert_eq!(lines[0].heredocs[0].content, "one\n# two\n");
    assert!(!lines[0].heredocs[0].expand);
    assert_eq!(lines[0].heredocs[1].content, "$x\n");
    assert_eq!(lines[1].number, 7);
}

#[test]
fn a_shift_is_no_heredoc() {
    assert_eq!(texts("RUN echo $((1 << 2))\n"), [(1, "RUN echo $((1 << 2))".to_owned())]);
}

#[test]
fn mistakes_name_their_line() {
    assert!(refusal("# escape=x\nFROM a").starts_with("Dockerfile:1: invalid escape"));
    assert!(refusal("# escape=`\n# escape=`\nFROM a").starts_with("Dockerfile:2: "));
    assert!(refusal("FROM a\nRUN <<EOF\nx\n").starts_with("Dockerfile:2: the here-document \"EOF\" has no end"));
    assert!(refusal("# syntax=evil/frontend\nFROM a").contains("not supported"));
    assert!(refusal("# nothing\n").contains("no instruction"));
}
