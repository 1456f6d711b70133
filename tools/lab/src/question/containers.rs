//! Chapter 11: what travels between a container and whoever is attached to it.

use super::Ask;
use crate::scene::{Ran, Scene};
use crate::verdict::{Asked, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("frames-are-taken-apart", frames_are_taken_apart),
    ("keys-are-filtered", keys_are_filtered),
    ("key-names-are-read", key_names_are_read),
];

fn shown(ran: &Ran) -> String {
    if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() }
}

/// Two outputs in one stream, in pieces of any size.
fn frames_are_taken_apart(scene: &Scene) -> Asked {
    let words: Vec<String> = (0..6).map(|_| scene.name()).collect();
    let mut stream = String::new();
    let mut outputs = [String::new(), String::new()];
    for word in &words {
        let which = scene.number(0, 1) as usize;
        outputs[which].push_str(word);
        stream.push_str(&frame(which as u8 + 1, word));
        // An empty piece in between is a piece, too.
        stream.push_str(&frame(1, ""));
    }
    let expected = format!("{}|{}", outputs[0], outputs[1]);
    for size in [1, 3, scene.number(5, 15), 4096] {
        let ran = scene.run_with(scene.program().args(["frames", &size.to_string()]), &stream)?;
        if ran.line() != expected {
            let because = "a socket cuts where it likes: in a header, in a piece, or never (chapter 11)";
            return Err(wrong(
                "your reader mixes up what the two outputs said",
                format!("in pieces of {size} bytes: {expected}"),
                shown(&ran),
                because,
            ));
        }
    }
    let ran = scene.run_with(scene.program().args(["frames", "7"]), &frame(9, "x"))?;
    if !ran.line().starts_with("refused:") {
        let because = "there are two outputs: another number means that both sides have lost each other (chapter 11)";
        return Err(wrong("your reader takes any number for an output", "stream 9 is refused", shown(&ran), because));
    }
    Ok(())
}

fn frame(stream: u8, text: &str) -> String {
    let header = [stream, 0, 0, 0, 0, 0, 0, text.len() as u8];
    header.into_iter().map(char::from).collect::<String>() + text
}

/// The keys that detach are held back until it is clear what they were, also across two reads.
fn keys_are_filtered(scene: &Scene) -> Asked {
    let [a, b] = [scene.name(), scene.name()];
    for (typed, size, expected) in [
        (format!("{a}\u{10}\u{11}{b}"), 4096, format!("{a} true")),
        (format!("{a}\u{10}\u{11}{b}"), 1, format!("{a} true")),
        (format!("{a}\u{10}{b}\u{11}"), 3, format!("{a}\\x10{b}\\x11 false")),
        (format!("\u{10}\u{10}\u{11}{b}"), 2, "\\x10 true".to_owned()),
        (format!("{a}{b}"), 4, format!("{a}{b} false")),
    ] {
        let ran = scene.run_with(scene.program().args(["keys", "", &size.to_string()]), &typed)?;
        if ran.line() != expected {
            let because =
                "the first key of the sequence may be meant for the program: only the next one tells (chapter 11)";
            let asked = format!("{:?} in pieces of {size}: {expected}", typed);
            return Err(wrong("your terminal loses keys, or does not let go", asked, shown(&ran), because));
        }
    }
    Ok(())
}

/// `--detach-keys`: letters and control keys, by name.
fn key_names_are_read(scene: &Scene) -> Asked {
    let letter = char::from(b'a' + scene.number(0, 25) as u8);
    let control = char::from(letter as u8 & 0x1f);
    for (sequence, typed, expected) in [
        (format!("ctrl-{letter},x"), format!("one{control}x"), "one true"),
        ("ctrl-@".to_owned(), "one\0".to_owned(), "one true"),
        ("ctrl-_,ctrl-^".to_owned(), "one\u{1f}\u{1e}".to_owned(), "one true"),
        ("x,y".to_owned(), "onexy".to_owned(), "one true"),
    ] {
        let ran = scene.run_with(scene.program().args(["keys", &sequence, "16"]), &typed)?;
        if ran.line() != expected {
            let because = "a control key is a letter's number without its upper three bits (chapter 11)";
            return Err(wrong(
                "your terminal waits for other keys",
                format!("--detach-keys {sequence}, typed {typed:?}: {expected}"),
                shown(&ran),
                because,
            ));
        }
    }
    for sequence in ["ctrl-1", "ctrl-", "xy", "ctrl-ab", "alt-x"] {
        let ran = scene.run_with(scene.program().args(["keys", sequence, "16"]), "")?;
        if !ran.line().starts_with("refused:") {
            let because = "keys that nobody can press hold a terminal for ever (chapter 11)";
            return Err(wrong(
                "your program takes keys that there are not",
                format!("--detach-keys {sequence} is refused"),
                shown(&ran),
                because,
            ));
        }
    }
    Ok(())
}
