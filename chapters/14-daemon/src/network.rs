//! Networks: listed, made, inspected, removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use containers::{Connection, Engine};
use network::{Driver, Network, NetworkName, NetworkSpec, Networks};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::Api;
use crate::error::ApiError;
use crate::query::{Filters, Query};

/// The two that are no networks of ours: the host's own, and none. Clients list them beside the others.
const PSEUDO: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

/// The filters that a listing of networks understands.
pub const FILTERS: [&str; 7] = ["name", "id", "driver", "type", "label", "scope", "dangling"];

/// `GET /networks`.
pub async fn list(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Vec<Value>>, ApiError> {
    let filters = Filters::parse(&query, &FILTERS)?;
    let networks = api.call(documents).await?;
    Ok(Json(networks.into_iter().filter(|network| passes(network, &filters)).collect()))
}

/// Whether a listing shows a network, given in the API's shape.
pub fn passes(network: &Value, filters: &Filters) -> bool {
    let text = |key: &str| network[key].as_str().unwrap_or_default();
    let builtin = matches!(text("Name"), "bridge" | "host" | "none");
    filters.pass("name", |part| text("Name").contains(part))
        && filters.pass("id", |id| text("Id").starts_with(id))
        && filters.pass("driver", |driver| text("Driver") == driver)
        && filters.pass("scope", |scope| text("Scope") == scope)
        && filters.pass("dangling", |asked| {
            let used = network["Containers"].as_object().is_some_and(|containers| !containers.is_empty());
            (asked == "true" || asked == "1") != (used || builtin)
        })
        && filters.pass("type", |kind| (kind == "builtin") == builtin)
        && filters.pass_labels(&serde_json::from_value(network["Labels"].clone()).unwrap_or_default())
}

/// All networks in the API's shape, by name; the default one is there though nothing has used it yet.
///
/// # Errors
/// Files that cannot be read.
pub fn documents(engine: &Engine) -> Result<Vec<Value>, ApiError> {
    let networks = engine.networks();
    networks.inspect(&NetworkName::default_bridge())?;
    let mut all: Vec<Value> = networks.list()?.iter().map(|network| document(networks, network)).collect();
    all.extend(PSEUDO.iter().map(|(name, driver)| pseudo(name, driver)));
    all.sort_by_key(|network| network["Name"].as_str().unwrap_or_default().to_owned());
    Ok(all)
}

/// The network of a name, an id, or the beginning of an id, in the API's shape.
///
/// # Errors
/// 404.
pub fn find(engine: &Engine, name: &str) -> Result<Value, ApiError> {
    let all = documents(engine)?;
    let text = |network: &Value, key: &str| network[key].as_str().unwrap_or_default().to_owned();
    let by_name = all.iter().find(|network| text(network, "Name") == name);
    let by_id = || all.iter().find(|network| !name.is_empty() && text(network, "Id").starts_with(name));
    by_name.or_else(by_id).cloned().ok_or_else(|| ApiError::not_found(format!("network {name} not found")))
}

fn document(networks: &Networks, network: &Network) -> Value {
    // Leases come and go while this is read; what cannot be read now is shown as nobody.
    let leases = networks.leases(&network.name).all().unwrap_or_default();
    let containers: BTreeMap<_, _> = leases
        .into_iter()
        .map(|lease| {
            let six = lease.endpoint.ipv6.map(|six| format!("{}/{}", six.address, six.prefix_length));
            let endpoint = json!({
                "Name": lease.names.first(),
                "EndpointID": lease.endpoint.id(),
                "MacAddress": lease.endpoint.mac.to_string(),
                "IPv4Address": format!("{}/{}", lease.endpoint.address, lease.endpoint.prefix_length),
                "IPv6Address": six.unwrap_or_default(),
            });
            (lease.endpoint.container_id, endpoint)
        })
        .collect();
    let mut pool = json!({ "Subnet": network.subnet, "Gateway": network.gateway });
    if let Some(range) = network.ip_range {
        pool["IPRange"] = json!(range);
    }
    let six = network.ipv6.map(|pool| json!({ "Subnet": pool.subnet, "Gateway": pool.gateway }));
    let pools: Vec<Value> = [pool].into_iter().chain(six).collect();
    let mut options = network.options.clone();
    if network.driver == Driver::Bridge {
        options.insert("com.docker.network.bridge.name".to_owned(), network.bridge.to_string());
    }
    json!({
        "Name": network.name.as_str(),
        "Id": network.id,
        "Created": network.created.to_string(),
        "Scope": "local",
        "Driver": network.driver.to_string(),
        "EnableIPv6": network.ipv6.is_some(),
        "IPAM": { "Driver": "default", "Options": null, "Config": pools },
        "Internal": network.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": options,
        "Labels": network.labels,
    })
}

fn pseudo(name: &str, driver: &str) -> Value {
    // Not random: there is nothing to tell apart.
    let id = layers::Digest::of(name.as_bytes()).hex();
    json!({
        "Name": name, "Id": id, "Created": "1970-01-01T00:00:00Z", "Scope": "local", "Driver": driver,
        "EnableIPv6": false, "IPAM": { "Driver": "default", "Options": null, "Config": [] },
        "Internal": false, "Attachable": false, "Ingress": false, "ConfigFrom": { "Network": "" },
        "ConfigOnly": false, "Containers": {}, "Options": {}, "Labels": {},
    })
}

/// What a client asks for.
///
/// # References
/// Docker Engine API v1.41, `NetworkCreate`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Body {
    name: String,
    driver: String,
    internal: bool,
    #[serde(rename = "EnableIPv6")]
    ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    options: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    driver: String,
    config: Option<Vec<Pool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pool {
    subnet: String,
    gateway: String,
    #[serde(rename = "IPRange")]
    ip_range: String,
    auxiliary_addresses: Option<BTreeMap<String, String>>,
}

/// `POST /networks/create`.
pub async fn create(State(api): State<Arc<Api>>, Json(body): Json<Body>) -> Result<Response, ApiError> {
    let spec = body.spec()?;
    let network = api.call(move |engine| Ok(engine.networks().create(spec)?)).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": network.id, "Warning": "" }))).into_response())
}

impl Body {
    fn spec(self) -> Result<NetworkSpec, ApiError> {
        if !matches!(self.ipam.driver.as_str(), "" | "default") {
            let message = format!("IPAM driver {:?} is not supported", self.ipam.driver);
            return Err(ApiError::not_implemented(message));
        }
        let mut spec = NetworkSpec::named(name(&self.name)?);
        spec.driver = self.driver.parse()?;
        spec.options = self.options.unwrap_or_default();
        // What the client says of itself, and the engine has no use for.
        spec.options.remove("com.docker.network.enable_ipv4");
        for pool in self.ipam.config.unwrap_or_default() {
            pool.add_to(&mut spec)?;
        }
        spec.ipv6 = self.ipv6.unwrap_or_default();
        spec.internal = self.internal;
        spec.labels = self.labels.unwrap_or_default();
        Ok(spec)
    }
}

impl Pool {
    fn add_to(self, spec: &mut NetworkSpec) -> Result<(), ApiError> {
        if self.auxiliary_addresses.is_some_and(|addresses| !addresses.is_empty()) {
            return Err(ApiError::not_implemented("IPAM: auxiliary addresses are not supported"));
        }
        if self.subnet.is_empty() {
            return match self.gateway.is_empty() && self.ip_range.is_empty() {
                true => Ok(()),
                false => Err(ApiError::bad_request("a gateway or range needs its subnet")),
            };
        }
        let bad = |what: &str, text: &str| ApiError::bad_request(format!("invalid {what} {text:?}"));
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let subnet = self.subnet.parse().map_err(|_| bad("subnet", &self.subnet))?;
        let gateway = filled(&self.gateway).map(|text| text.parse().map_err(|_| bad("gateway", &text))).transpose()?;
        let range = filled(&self.ip_range).map(|text| text.parse().map_err(|_| bad("range", &text))).transpose()?;
        Ok(spec.add_subnet(subnet, gateway, range)?)
    }
}

/// What a client says about a container's place in a network, at `create` and at `connect`.
///
/// # References
/// Docker Engine API, `EndpointSettings`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Endpoint {
    aliases: Option<Vec<String>>,
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<EndpointIpam>,
    mac_address: String,
    links: Option<Vec<String>>,
    driver_opts: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointIpam {
    #[serde(rename = "IPv4Address")]
    address: String,
    #[serde(rename = "IPv6Address")]
    address6: String,
}

impl Endpoint {
    /// The same in the engine's words.
    ///
    /// # Errors
    /// 400 for what is no address, 501 for links and driver options.
    pub(crate) fn connection(self, network: &str) -> Result<Connection, ApiError> {
        if self.links.is_some_and(|links| !links.is_empty()) {
            return Err(ApiError::not_implemented(
                "links are not supported: containers of a network find each other by name",
            ));
        }
        if self.driver_opts.is_some_and(|options| !options.is_empty()) {
            return Err(ApiError::not_implemented("driver options of an endpoint are not supported"));
        }
        let bad = |text: &str| ApiError::bad_request(format!("invalid address {text:?}"));
        let ipam = self.ipam_config.unwrap_or_default();
        let four = (!ipam.address.is_empty()).then(|| ipam.address.parse().map_err(|_| bad(&ipam.address)));
        let six = (!ipam.address6.is_empty()).then(|| ipam.address6.parse().map_err(|_| bad(&ipam.address6)));
        Ok(Connection {
            network: network.to_owned(),
            aliases: self.aliases.unwrap_or_default(),
            ip: four.transpose()?,
            ip6: six.transpose()?,
            mac: (!self.mac_address.is_empty()).then_some(self.mac_address),
        })
    }
}

/// The body of `connect` and `disconnect`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Membership {
    container: String,
    #[serde(default)]
    endpoint_config: Option<Endpoint>,
}

/// `POST /networks/{id}/connect`.
pub async fn connect(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Json(body): Json<Membership>,
) -> Result<StatusCode, ApiError> {
    api.call(move |engine| {
        let network = name_of(engine, &id)?;
        let connection = body.endpoint_config.unwrap_or_default().connection(&network)?;
        engine.connect_network(engine.find(&body.container)?.id(), connection)?;
        Ok(StatusCode::OK)
    })
    .await
}

/// `POST /networks/{id}/disconnect`.
pub async fn disconnect(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Json(body): Json<Membership>,
) -> Result<StatusCode, ApiError> {
    api.call(move |engine| {
        let network = name_of(engine, &id)?;
        engine.disconnect_network(engine.find(&body.container)?.id(), &network)?;
        Ok(StatusCode::OK)
    })
    .await
}

/// `POST /networks/prune`.
pub async fn prune(State(api): State<Arc<Api>>, query: Query) -> Result<Json<Value>, ApiError> {
    let filters = Filters::parse(&query, &["label"])?;
    let removed = api.call(move |engine| prune_networks(engine, &filters)).await?;
    Ok(Json(json!({ "NetworksDeleted": if removed.is_empty() { Value::Null } else { json!(removed) } })))
}

/// Removes every network that no container uses, running or not, and that passes the filters; their names.
///
/// # Errors
/// The first that cannot be removed.
pub fn prune_networks(engine: &Engine, filters: &Filters) -> Result<Vec<String>, ApiError> {
    let used: Vec<String> = engine
        .list(containers::All::Yes)?
        .iter()
        .flat_map(|container| container.record().options.network.connections())
        .map(|connection| connection.network)
        .collect();
    let mut removed = Vec::new();
    for network in engine.networks().list()? {
        let name = network.name.to_string();
        if used.contains(&name) || !filters.pass_labels(&network.labels) {
            continue;
        }
        match engine.networks().remove(&network.name) {
            Err(
                network::Error::BuiltIn(_) | network::Error::NetworkInUse { .. } | network::Error::NoSuchNetwork(_),
            ) => {}
            gone => gone.map(|()| removed.push(name))?,
        }
    }
    Ok(removed)
}

/// The name of the network of a name or id.
///
/// # Errors
/// 404.
pub fn name_of(engine: &Engine, id: &str) -> Result<String, ApiError> {
    Ok(find(engine, id)?["Name"].as_str().unwrap_or_default().to_owned())
}

/// The rules that the kernel has for a network, as `nft` shows them; those that it would load, while none are needed.
///
/// # Errors
/// 404; where `nft` is missing.
pub fn firewall(engine: &Engine, id: &str) -> Result<String, ApiError> {
    let networks = engine.networks();
    let network = networks.inspect(&name(&name_of(engine, id)?)?)?;
    let table = networks.table(&network.name);
    Ok(match table.list()? {
        Some(rules) => rules,
        None => format!("# not loaded: no container is connected\n{}", table.text(&network)),
    })
}

/// `GET /networks/{id}`.
pub async fn inspect(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(api.call(move |engine| find(engine, &id)).await?))
}

/// `DELETE /networks/{id}`.
pub async fn remove(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    api.call(move |engine| remove_network(engine, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes the network of a name or id.
///
/// # Errors
/// 404; 403 for one that is built in or in use, as dockerd has it.
pub fn remove_network(engine: &Engine, id: &str) -> Result<(), ApiError> {
    let network = find(engine, id)?;
    let found = network["Name"].as_str().unwrap_or_default();
    if PSEUDO.iter().any(|(name, _)| *name == found) {
        let message = format!("{found} is a pre-defined network and cannot be removed");
        return Err(ApiError { status: StatusCode::FORBIDDEN, message });
    }
    Ok(engine.networks().remove(&name(found)?)?)
}

fn name(text: &str) -> Result<NetworkName, ApiError> {
    text.parse().map_err(|e: network::Error| ApiError::bad_request(e.to_string()))
}
