//! What is there, at a daemon: its documents become the rows and lines that the same commands print of this machine's engine.

use anyhow::{Context as _, bail};
use containers::{Event, PortMapping};
use daemon::words;
use distribution::address::percent_encoded;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::client::{Client, Refusal};
use super::containers::path;
use crate::image::{self, ImageRow};
use crate::look::{ContainerRow, Diff, Inspect, Kind, Port, Ps, Top, print_documents};
use crate::stats::Events;
use crate::stdout::{print, say};
use crate::system::{Info, Version, own_version, version_lines};
use crate::table::{Format, Table};

/// A text of a document; nothing where it has none.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A moment in seconds.
fn second(value: &Value) -> Timestamp {
    Timestamp::from_second(value.as_i64().unwrap_or_default()).unwrap_or_default()
}

/// `filters=JSON`, if there are any.
pub(super) fn filters(filters: &daemon::Filters) -> Vec<(&'static str, String)> {
    let json = filters.json();
    json.as_object().is_some_and(|map| !map.is_empty()).then(|| ("filters", json.to_string())).into_iter().collect()
}

/// `since` and `until`, as far as they were given: seconds and, behind a point, nanoseconds.
pub(super) fn span(since: Option<Timestamp>, until: Option<Timestamp>) -> impl Iterator<Item = (&'static str, String)> {
    let moment = |time: Timestamp| format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
    let bounds = [("since", since), ("until", until)];
    bounds.into_iter().filter_map(move |(name, time)| Some((name, moment(time?))))
}

impl Ps {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { all, last, latest, size, listing } = self;
        let mut query = filters(&listing.filters(&daemon::summary::FILTERS)?);
        query.push(("all", all.to_string()));
        query.push(("size", size.to_string()));
        query.extend(last.or(latest.then_some(1)).map(|limit| ("limit", limit.to_string())));
        let found = far.get("/containers/json", &query)?;
        let rows: Vec<_> = list(&found).iter().map(|document| container(document, *size)).collect();
        print(format_args!("{}", self.render(&rows, Timestamp::now())?));
        Ok(0)
    }
}

fn container(document: &Value, size: bool) -> ContainerRow {
    let of_volume = |mount: &&Value| mount["Type"] == "volume";
    let mounts = list(&document["Mounts"]);
    let name = |mount: &Value| text(&mount[if mount["Type"] == "volume" { "Name" } else { "Source" }]);
    let bytes = |key: &str| document[key].as_u64().unwrap_or_default();
    let sizes = || daemon::summary::size_words(bytes("SizeRw"), bytes("SizeRootFs"));
    let names = list(&document["Names"]).iter().map(|name| text(name).trim_start_matches('/').to_owned());
    let networks = document["NetworkSettings"]["Networks"].as_object();
    ContainerRow {
        id: text(&document["Id"]),
        image: text(&document["Image"]),
        command: text(&document["Command"]),
        created: second(&document["Created"]),
        labels: serde_json::from_value(document["Labels"].clone()).unwrap_or_default(),
        volumes: mounts.iter().filter(of_volume).count(),
        mounts: mounts.iter().map(name).filter(|name| !name.is_empty()).collect(),
        names: names.collect::<Vec<_>>().join(","),
        networks: networks.map(|map| map.keys().cloned().collect::<Vec<_>>().join(",")).unwrap_or_default(),
        ports: list(&document["Ports"]).iter().map(port).collect::<Vec<_>>().join(", "),
        state: text(&document["State"]),
        status: text(&document["Status"]),
        size: size.then(sizes),
    }
}

/// `0.0.0.0:8000->80/tcp` of a port that is published, `80/tcp` of one that is not.
fn port(document: &Value) -> String {
    let number = |key: &str| document[key].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
    let (inside, outside, protocol) = (number("PrivatePort"), number("PublicPort"), text(&document["Type"]));
    let address = document["IP"].as_str().unwrap_or("0.0.0.0").parse();
    match (outside, address, protocol.parse()) {
        (1.., Ok(host_ip), Ok(protocol)) => {
            PortMapping { host_ip, host_port: outside, container_port: inside, protocol }.to_string()
        }
        _ => format!("{inside}/{protocol}"),
    }
}

impl image::Ls {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        // There are no hidden images here, and `-a` is the same as without it; a daemon may have some.
        let Self { all, digests: _, listing, repository } = self;
        let mut wanted = listing.filters(&["reference", "dangling", "label"])?;
        if let Some(repository) = repository {
            wanted.add("reference", repository);
        }
        let mut query = filters(&wanted);
        query.push(("all", all.to_string()));
        query.push(("digests", "true".to_owned()));
        let found = far.get("/images/json", &query)?;
        let rows: Vec<_> = list(&found).iter().map(image).collect();
        print(format_args!("{}", self.render(&rows, Timestamp::now())?));
        Ok(0)
    }
}

fn image(document: &Value) -> ImageRow {
    const NONE: &str = "<none>";
    let pair = |text: String, between: char| {
        let (repository, rest) = text.rsplit_once(between).unwrap_or((&text, NONE));
        (repository.to_owned(), rest.to_owned())
    };
    let digests: Vec<_> = list(&document["RepoDigests"]).iter().map(|digest| pair(text(digest), '@')).collect();
    let mut names: Vec<_> = list(&document["RepoTags"]).iter().map(|name| pair(text(name), ':')).collect();
    if names.is_empty() {
        names = digests.iter().map(|(repository, _)| (repository.clone(), NONE.to_owned())).collect();
    }
    if names.is_empty() {
        names.push((NONE.to_owned(), NONE.to_owned()));
    }
    ImageRow {
        id: text(&document["Id"]),
        created: second(&document["Created"]),
        size: document["Size"].as_u64().unwrap_or_default(),
        digest: digests.into_iter().next().map_or(NONE.to_owned(), |(_, digest)| digest),
        names,
    }
}

/// A document of one of these kinds, whichever has it: a path with the name in its middle.
fn find(far: &Client, name: &str, kinds: &[Kind]) -> anyhow::Result<Value> {
    for kind in kinds {
        let place = match kind {
            Kind::Container => path(name, "json"),
            Kind::Image => format!("/images/{}/json", percent_encoded(name)),
            Kind::Network => format!("/networks/{}", percent_encoded(name)),
            Kind::Volume => format!("/volumes/{}", percent_encoded(name)),
        };
        match far.get(&place, &[]) {
            Err(error) if error.downcast_ref().is_some_and(|refusal: &Refusal| refusal.status == 404) => {}
            found => return found,
        }
    }
    bail!("no such object: {name}")
}

/// `inspect` of things of these kinds.
pub(super) fn inspect(far: &Client, names: &[String], format: Option<&Format>, kinds: &[Kind]) -> anyhow::Result<u8> {
    print_documents(names, format, |name| find(far, name, kinds))
}

impl Inspect {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { kind, format, names } = self;
        let all = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];
        inspect(far, names, format.as_ref(), &kind.map_or(all.to_vec(), |kind| vec![kind]))
    }
}

impl Port {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let found = far.get(&path(&self.container, "json"), &[])?;
        let mut ports = Vec::new();
        for (target, places) in found["NetworkSettings"]["Ports"].as_object().into_iter().flatten() {
            for place in list(places) {
                let (ip, port) = (text(&place["HostIp"]), text(&place["HostPort"]));
                let host = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
                ports.push((target.clone(), host));
            }
        }
        self.print(&ports, found["State"]["Running"] == true)
    }
}

impl Top {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { container } = self;
        let found = far.get(&path(container, "top"), &[])?;
        let titles: Vec<String> = list(&found["Titles"]).iter().map(text).collect();
        let mut table = Table::new(&titles.iter().map(String::as_str).collect::<Vec<_>>());
        for row in list(&found["Processes"]) {
            table.row(list(row).iter().map(text));
        }
        print(format_args!("{table}"));
        Ok(0)
    }
}

impl Diff {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { container } = self;
        for change in list(&far.get(&path(container, "changes"), &[])?) {
            let kind = match change["Kind"].as_u64() {
                Some(0) => "C",
                Some(1) => "A",
                _ => "D",
            };
            say!("{kind} {}", text(&change["Path"]));
        }
        Ok(0)
    }
}

impl Events {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let options = self.options()?;
        let mut query = filters(&self.filter.filters(&daemon::events::FILTERS)?);
        query.extend(span(options.since, options.until));
        let answer = far.ask("GET", "/events", &query, None)?;
        far.lines(answer, |document| {
            let event: Event = serde_json::from_value(document).context("the daemon's event is none")?;
            self.print(&event)
        })?;
        Ok(0)
    }
}

impl Version {
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let Self { format } = self;
        let theirs = far.get("/version", &[])?;
        let server = json!({
            "Version": theirs["Version"], "ApiVersion": theirs["ApiVersion"], "KernelVersion": theirs["KernelVersion"],
            "Os/Arch": format!("{}/{}", text(&theirs["Os"]), text(&theirs["Arch"])),
        });
        match format {
            Some(format) => say!("{}", format.document(&json!({ "Client": own_version(), "Server": server }))?),
            None => {
                let name = theirs["Platform"]["Name"].as_str().filter(|name| !name.is_empty()).unwrap_or("Engine");
                let (ours, theirs) = (version_lines(&own_version()), version_lines(&server));
                say!("Cooper:\n{ours}\n\n{name} at {}:\n{theirs}", far.address());
            }
        }
        Ok(0)
    }
}

impl Info {
    /// What a daemon says under the names that this engine's facts have; what it does not say is left out.
    pub(super) fn send(&self, far: &Client) -> anyhow::Result<u8> {
        let theirs = far.get("/info", &[])?;
        let (security, total) = (&theirs["SecurityOptions"], theirs["MemTotal"].as_u64().unwrap_or_default());
        let security: Vec<String> = list(security).iter().map(|it| text(it).replace("name=", "")).collect();
        let facts: [(&str, Value); 14] = [
            ("Host", json!(far.address())),
            ("Containers", theirs["Containers"].clone()),
            ("Running", theirs["ContainersRunning"].clone()),
            ("Stopped", theirs["ContainersStopped"].clone()),
            ("Images", theirs["Images"].clone()),
            ("Storage Driver", theirs["Driver"].clone()),
            ("Version", theirs["ServerVersion"].clone()),
            ("Data", theirs["DockerRootDir"].clone()),
            ("Security Options", json!(security.join(", "))),
            ("Cgroup Version", theirs["CgroupVersion"].clone()),
            ("Kernel Version", theirs["KernelVersion"].clone()),
            ("Operating System", theirs["OperatingSystem"].clone()),
            ("Architecture", theirs["Architecture"].clone()),
            ("CPUs", theirs["NCPU"].clone()),
        ];
        let said = facts.into_iter().filter(|(_, value)| !value.is_null());
        let mut facts: Map<String, Value> = said.map(|(name, value)| (name.to_owned(), value)).collect();
        facts.insert("Total Memory".to_owned(), json!(words::size(total)));
        self.print(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_at_home() {
        let published = json!({ "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8000, "Type": "tcp" });
        assert_eq!(port(&published), "0.0.0.0:8000->80/tcp");
        assert_eq!(port(&json!({ "PrivatePort": 53, "Type": "udp" })), "53/udp");
    }

    #[test]
    fn an_image_has_a_line_for_each_name_and_one_without_any() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let named = json!({ "RepoTags": ["localhost:5000/web:1", "web:2"], "RepoDigests": [format!("web@{digest}")] });
        let row = image(&named);
        let names = [("localhost:5000/web", "1"), ("web", "2")].map(|(name, tag)| (name.to_owned(), tag.to_owned()));
        assert_eq!((row.names, row.digest), (names.to_vec(), digest.clone()));
        let bare = image(&json!({ "RepoTags": null, "RepoDigests": [format!("web@{digest}")] }));
        assert_eq!(bare.names, [("web".to_owned(), "<none>".to_owned())]);
        assert_eq!(image(&json!({})).names, [("<none>".to_owned(), "<none>".to_owned())]);
    }
}
