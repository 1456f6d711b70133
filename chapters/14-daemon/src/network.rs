//! Networks: listed, made, inspected, removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use containers::Engine;
use network::{Network, NetworkName, NetworkSpec, Networks};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::Api;
use crate::error::ApiError;
use crate::query::{Filters, Query};

/// The two that are no networks of ours: the host's own, and none. Clients list them beside the others.
const PSEUDO: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

/// The filters that a listing of networks understands.
pub const FILTERS: [&str; 5] = ["name", "id", "driver", "type", "label"];

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
            let endpoint = json!({
                "Name": lease.names.first(),
                "EndpointID": "",
                "MacAddress": lease.endpoint.mac.to_string(),
                "IPv4Address": format!("{}/{}", lease.endpoint.address, lease.endpoint.prefix_length),
                "IPv6Address": "",
            });
            (lease.endpoint.container_id, endpoint)
        })
        .collect();
    json!({
        "Name": network.name.as_str(),
        "Id": network.id,
        "Created": network.created.to_string(),
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv6": false,
        "IPAM": {
            "Driver": "default",
            "Options": null,
            "Config": [{ "Subnet": network.subnet, "Gateway": network.gateway }],
        },
        "Internal": network.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": { "com.docker.network.bridge.name": network.bridge.as_str() },
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
    ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    options: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    config: Option<Vec<Pool>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pool {
    subnet: String,
    gateway: String,
    #[serde(rename = "IPRange")]
    ip_range: String,
}

/// `POST /networks/create`.
pub async fn create(State(api): State<Arc<Api>>, Json(body): Json<Body>) -> Result<Response, ApiError> {
    let spec = body.spec()?;
    let network = api.call(move |engine| Ok(engine.networks().create(spec)?)).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": network.id, "Warning": "" }))).into_response())
}

impl Body {
    fn spec(self) -> Result<NetworkSpec, ApiError> {
        if !matches!(self.driver.as_str(), "" | "default" | "bridge") {
            return Err(ApiError::not_implemented(format!("network driver {:?} is not supported", self.driver)));
        }
        if self.ipv6 {
            return Err(ApiError::not_implemented("EnableIPv6 is not supported"));
        }
        let mut spec = NetworkSpec::named(name(&self.name)?);
        for (key, value) in self.options.iter().flatten() {
            match (key.as_str(), value.parse()) {
                ("com.docker.network.driver.mtu", Ok(mtu)) => spec.mtu = Some(mtu),
                _ => return Err(ApiError::not_implemented(format!("network option {key}={value} is not supported"))),
            }
        }
        let pools = self.ipam.config.unwrap_or_default();
        if pools.len() > 1 || pools.iter().any(|pool| !pool.ip_range.is_empty()) {
            return Err(ApiError::not_implemented("IPAM: one subnet without a range is supported"));
        }
        for pool in pools {
            let bad = |what: &str, text: &str| ApiError::bad_request(format!("invalid {what} {text:?}"));
            if !pool.subnet.is_empty() {
                spec.subnet = Some(pool.subnet.parse().map_err(|_| bad("subnet", &pool.subnet))?);
            }
            if !pool.gateway.is_empty() {
                spec.gateway = Some(pool.gateway.parse().map_err(|_| bad("gateway", &pool.gateway))?);
            }
        }
        spec.internal = self.internal;
        spec.labels = self.labels.unwrap_or_default();
        Ok(spec)
    }
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
