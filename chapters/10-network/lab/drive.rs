//! What chapter 10's exercises call: ports, subnets and addresses, before any of them is made.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::bail;
use ipnet::Ipv4Net;
use network::address::Pool;
use network::{address, port};

/// `ports TEXT` reads what stands behind `-p`; `subnet SUBNET GATEWAY|- TAKEN...` checks a subnet; `address SUBNET GATEWAY
/// RANGE WANTED|- LEASED...` chooses an address.
fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let told = |outcome: Result<String, network::Error>| match outcome {
        Ok(text) => println!("{text}"),
        Err(error) => println!("refused: {error}"),
    };
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ports", text] => told(port::parse(text).map(|all| {
            let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
            lines.join(" ")
        })),
        ["subnet", subnet, gateway, ref taken @ ..] => {
            let gateway = if gateway == "-" { None } else { Some(gateway.parse::<Ipv4Addr>()?) };
            let taken = taken.iter().map(|net| net.parse::<Ipv4Net>()).collect::<Result<Vec<_>, _>>()?;
            told(
                address::check_subnet(subnet.parse()?, gateway, &taken)
                    .map(|(net, gateway)| format!("{net} {gateway}")),
            );
        }
        ["address", subnet, gateway, range, wanted, ref leased @ ..] => {
            let wanted = if wanted == "-" { None } else { Some(wanted.parse::<Ipv4Addr>()?) };
            let leased =
                leased.iter().map(|address| address.parse::<Ipv4Addr>()).collect::<Result<BTreeSet<_>, _>>()?;
            let pool = Pool { subnet: subnet.parse()?, gateway: gateway.parse()?, range: range.parse()? };
            let chosen = address::choose_address(&"lab".parse()?, pool, &leased, wanted);
            told(chosen.map(|address| address.to_string()));
        }
        _ => bail!("ports, subnet or address"),
    }
    Ok(())
}
