//! Chapter 10: ports, subnets and addresses.

use super::Ask;
use crate::scene::{Ran, Scene};
use crate::verdict::{Asked, wrong};

pub(super) const ALL: &[(&str, Ask)] = &[
    ("ports-are-read", ports_are_read),
    ("subnets-are-checked", subnets_are_checked),
    ("addresses-are-chosen", addresses_are_chosen),
];

/// Whether a line is what was expected; `refused` stands for any refusal.
fn is(ran: &Ran, expected: &str) -> bool {
    if expected == "refused" { ran.line().starts_with("refused:") } else { ran.line() == expected }
}

fn shown(ran: &Ran) -> String {
    if ran.line().is_empty() { ran.told() } else { ran.line().to_owned() }
}

/// What stands behind `-p`.
fn ports_are_read(scene: &Scene) -> Asked {
    let (host, inside) = (scene.number(1024, 60_000), scene.number(1, 60_000));
    let (host1, inside1) = (host + 1, inside + 1);
    for (text, expected) in [
        (format!("{inside}"), format!("0.0.0.0:0->{inside}/tcp")),
        (format!("{host}:{inside}/udp"), format!("0.0.0.0:{host}->{inside}/udp")),
        (format!("127.0.0.1:{host}:{inside}"), format!("127.0.0.1:{host}->{inside}/tcp")),
        (format!("127.0.0.1::{inside}"), format!("127.0.0.1:0->{inside}/tcp")),
        (
            format!("{host}-{host1}:{inside}-{inside1}"),
            format!("0.0.0.0:{host}->{inside}/tcp 0.0.0.0:{host1}->{inside1}/tcp"),
        ),
        (format!("{host}-{host1}:{inside}"), "refused".to_owned()),
        (format!("{host}:0"), "refused".to_owned()),
        (format!("[{host}]:{host}:{inside}"), "refused".to_owned()),
        (format!("{host}:{inside}/sctp"), "refused".to_owned()),
        ("+80:80".to_owned(), "refused".to_owned()),
    ] {
        let ran = scene.run(scene.program().args(["ports", &text]))?;
        if !is(&ran, &expected) {
            let because = "from the right: the container's port, the host's, the host's address; two ranges map one to one (chapter 10)";
            return Err(wrong(
                "your container is published elsewhere",
                format!("-p {text}: {expected}"),
                shown(&ran),
                because,
            ));
        }
    }
    Ok(())
}

/// A subnet that somebody asked for.
fn subnets_are_checked(scene: &Scene) -> Asked {
    let (a, b) = (scene.number(1, 200), scene.number(1, 254));
    let net = format!("10.{a}.{b}.0/24");
    for (subnet, gateway, taken, expected) in [
        (net.clone(), "-".to_owned(), vec![], format!("{net} 10.{a}.{b}.1")),
        (net.clone(), format!("10.{a}.{b}.77"), vec!["0.0.0.0/0".to_owned()], format!("{net} 10.{a}.{b}.77")),
        (net.clone(), format!("10.{a}.{b}.255"), vec![], "refused".to_owned()),
        (net.clone(), format!("10.{}.{b}.1", a + 1), vec![], "refused".to_owned()),
        (net.clone(), "-".to_owned(), vec![format!("10.{a}.0.0/16")], "refused".to_owned()),
        (net, "-".to_owned(), vec![format!("10.{a}.{b}.64/28")], "refused".to_owned()),
        (format!("10.{a}.{b}.5/24"), "-".to_owned(), vec![], "refused".to_owned()),
        (format!("10.{a}.{b}.0/30"), "-".to_owned(), vec![], "refused".to_owned()),
        ("127.5.0.0/16".to_owned(), "-".to_owned(), vec![], "refused".to_owned()),
    ] {
        let ran = scene.run(scene.program().args(["subnet", &subnet, &gateway]).args(&taken))?;
        if !is(&ran, &expected) {
            let because = "a network that overlaps another one on this machine takes its packets away (chapter 10)";
            let asked = format!("{subnet}, gateway {gateway}, taken {taken:?}: {expected}");
            return Err(wrong("your network lies where it must not, or not where it may", asked, shown(&ran), because));
        }
    }
    Ok(())
}

/// The lowest free address, or the one that was asked for, if it can be had.
fn addresses_are_chosen(scene: &Scene) -> Asked {
    let (a, b) = (scene.number(1, 200), scene.number(1, 254));
    let at = |last: u64| format!("10.{a}.{b}.{last}");
    let net = format!("10.{a}.{b}.0/28");
    let full: Vec<String> = (1..=14).map(at).collect();
    let upper = format!("10.{a}.{b}.8/30");
    for (range, wanted, leased, expected) in [
        (&net, "-".to_owned(), vec![], at(2)),
        (&net, "-".to_owned(), vec![at(2), at(3), at(5)], at(4)),
        (&net, at(9), vec![at(2)], at(9)),
        (&net, at(9), vec![at(9)], "refused".to_owned()),
        (&net, at(1), vec![], "refused".to_owned()),
        (&net, at(15), vec![], "refused".to_owned()),
        (&net, at(0), vec![], "refused".to_owned()),
        (&net, "-".to_owned(), full, "refused".to_owned()),
        (&upper, "-".to_owned(), vec![at(8)], at(9)),
    ] {
        let ran = scene.run(scene.program().args(["address", &net, &at(1), range, &wanted]).args(&leased))?;
        if !is(&ran, &expected) {
            let because = "the gateway, the network and everybody have an address each, and two containers never the same (chapter 10)";
            let asked = format!("{net}, from {range}, wanted {wanted}, leased {leased:?}: {expected}");
            return Err(wrong("your container has an address that it cannot have", asked, shown(&ran), because));
        }
    }
    Ok(())
}
