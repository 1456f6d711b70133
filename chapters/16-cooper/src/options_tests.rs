#![allow(clippy::unwrap_used)]
use clap::Parser;
use containers::{NetworkMode, Protocol, Source};

use super::*;

#[derive(Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn options(words: &[&str]) -> anyhow::Result<CreateOptions> {
    let line = Line::try_parse_from(std::iter::once("run").chain(words.iter().copied()))?;
    line.flags.options("image", &["true".to_owned()])
}

fn refused(words: &[&str]) -> String {
    options(words).unwrap_err().to_string()
}

#[test]
fn no_flags_mean_what_docker_run_image_means() {
    let expected = CreateOptions { image: "image".into(), command: vec!["true".into()], ..CreateOptions::default() };
    assert_eq!(options(&[]).unwrap(), expected);
}

#[test]
fn limits_arrive_in_the_engine_s_units() {
    let resources =
        options(&["-m", "256m", "--cpus", "0.5", "--pids-limit", "-1", "--memory-swap=-1"]).unwrap().resources;
    assert_eq!(resources.memory, Some(256 << 20));
    assert_eq!(resources.nano_cpus, Some(500_000_000));
    assert_eq!(resources.pids_limit, Some(-1));
    assert_eq!(resources.memory_swap, Some(-1));
    assert!(refused(&["--cpus", "1", "--cpu-quota", "5"]).contains("say the same thing"));
    assert!(refused(&["--memory-swap", "1g"]).contains("--memory"));
    assert!(refused(&["-m", "much"]).contains("256m"));
}

#[test]
fn ports_are_published_one_by_one() {
    let ports = options(&["-p", "127.0.0.1:8000-8001:80-81/udp", "-p", "9000:90"]).unwrap().network.publish;
    let seen: Vec<_> =
        ports.iter().map(|p| (p.host_ip.to_string(), p.host_port, p.container_port, p.protocol)).collect();
    assert_eq!(
        seen,
        [
            ("127.0.0.1".to_owned(), 8000, 80, Protocol::Udp),
            ("127.0.0.1".to_owned(), 8001, 81, Protocol::Udp),
            ("0.0.0.0".to_owned(), 9000, 90, Protocol::Tcp),
        ]
    );
    for wrong in ["x:80", "80:", "70000:80", "80/sctp"] {
        assert!(refused(&["-p", wrong]).contains(wrong), "{wrong:?}");
    }
}

#[test]
fn a_volume_is_a_host_path_a_name_or_relative() {
    let mounts = options(&["-v", "/srv:/data:ro", "-v", "cache:/c", "-v", ".:/here"]).unwrap().mounts;
    assert!(matches!(&mounts[0].source, Source::Bind { path, .. } if path == std::path::Path::new("/srv")));
    assert!(mounts[0].read_only);
    assert!(matches!(&mounts[1].source, Source::Volume { name: Some(name) } if name == "cache"));
    let here = std::env::current_dir().unwrap();
    assert!(matches!(&mounts[2].source, Source::Bind { path, .. } if *path == here));
    assert!(refused(&["-v", "a:b:c:d"]).contains("a:b:c:d"));
}

#[test]
fn variables_come_from_files_first_and_then_from_flags() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "A=file\nB=file\n").unwrap();
    let path = file.path().to_str().unwrap();
    let env = options(&["-e", "A=flag", "--env-file", path]).unwrap().env;
    assert_eq!(env, ["A=file", "B=file", "A=flag"]);
    assert!(refused(&["-e", "=x"]).contains("needs a name"));
}

#[test]
fn networks_hosts_and_privileges_are_checked() {
    assert_eq!(options(&["--network", "none"]).unwrap().network.mode, NetworkMode::None);
    assert_eq!(options(&["--net", "mine"]).unwrap().network.mode, NetworkMode::Named("mine".into()));
    let hosts = options(&["--add-host", "db:10.0.0.5"]).unwrap().network.extra_hosts;
    assert_eq!(hosts, [("db".to_owned(), "10.0.0.5".parse().unwrap())]);
    let hosts = options(&["--add-host", "me:host-gateway"]).unwrap().network.extra_hosts;
    assert_eq!(hosts, [("me".to_owned(), containers::HostAddress::Gateway)]);
    assert!(refused(&["--add-host", "db:nowhere"]).contains("no IP address"));
    let security = options(&["--security-opt", "no-new-privileges", "--cap-drop", "ALL"]).unwrap().security;
    assert!(security.no_new_privileges);
    assert_eq!(security.cap_drop, ["ALL"]);
    assert!(refused(&["--security-opt", "aparmor=x"]).contains("no such option"));
    assert!(refused(&["--security-opt", "seccomp=/nowhere.json"]).contains("/nowhere.json"));
}

#[test]
fn an_empty_entrypoint_clears_the_image_s() {
    assert_eq!(options(&["--entrypoint", ""]).unwrap().entrypoint, Some(vec![]));
    assert_eq!(options(&["--entrypoint", "sh"]).unwrap().entrypoint, Some(vec!["sh".to_owned()]));
}

#[test]
fn health_flags_are_laid_over_the_image_s_check_or_switch_it_off() {
    let health = |words: &[&str]| options(words).unwrap().health;
    assert_eq!(health(&[]), None);
    let asked = health(&["--health-cmd", "curl x", "--health-interval", "1m30s", "--health-retries", "2"]).unwrap();
    assert_eq!((asked.test.join(" ").as_str(), asked.interval, asked.retries), ("CMD-SHELL curl x", 90_000_000_000, 2));
    assert_eq!(health(&["--no-healthcheck"]).unwrap().test, ["NONE"]);
    assert!(refused(&["--no-healthcheck", "--health-cmd", "x"]).contains("conflicts"));
    assert!(refused(&["--health-interval", "soon"]).contains("soon"));
    assert_eq!(options(&["--restart", "on-failure:4"]).unwrap().restart.to_string(), "on-failure:4");
    assert!(refused(&["--restart", "sometimes"]).contains("unless-stopped"));
}
