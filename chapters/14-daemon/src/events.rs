//! `events`: the engine's journal, as a stream.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use containers::{Event, EventOptions, events::Next};
use serde_json::Value;

use crate::engine::Api;
use crate::error::ApiError;
use crate::logs::moment;
use crate::pieces;
use crate::query::{Filters, Query, text};

/// The filters of a stream of events.
pub const FILTERS: [&str; 9] = ["container", "event", "image", "label", "type", "network", "volume", "daemon", "scope"];

/// How often it is looked whether the client is still there, when nothing happens.
const TICK: Duration = Duration::from_secs(1);

/// `GET /events`: one JSON object a line, until `until` or until the client leaves.
pub async fn events(State(api): State<Arc<Api>>, query: Query) -> Result<Response, ApiError> {
    let filters = Filters::parse(&query, &FILTERS)?;
    let since = moment(text(&query, "since"), "since")?;
    let until = moment(text(&query, "until"), "until")?;
    let options = EventOptions { since, until };
    let mut events =
        api.call(move |engine| Ok(engine.events().follow(options).map_err(containers::Error::from)?)).await?;
    let (sender, body) = pieces::channel();
    // A thread of its own: a stream may be followed for days.
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match events.within(TICK) {
                Ok(Next::Event(event)) if passes(&event, &filters) => {
                    if sender.send(format!("{}\n", document(&event))).is_err() {
                        return;
                    }
                }
                Ok(Next::Event(_) | Next::Quiet) => {}
                Ok(Next::End) | Err(_) => return,
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// An event as Docker sends it. Of containers and images it says some things twice, for clients of long ago.
pub fn document(event: &Event) -> Value {
    let mut document = serde_json::to_value(event).unwrap_or_default();
    if event.kind == "container" || event.kind == "image" {
        document["status"] = event.action.clone().into();
        document["id"] = event.actor.id.clone().into();
    }
    if event.kind == "container" {
        document["from"] = event.actor.attributes.get("image").cloned().unwrap_or_default().into();
    }
    document
}

/// Whether an event is one of those asked for.
pub fn passes(event: &Event, filters: &Filters) -> bool {
    let (id, attributes) = (&event.actor.id, &event.actor.attributes);
    let named = |kind: &'static str| {
        let name = attributes.get("name");
        move |wanted: &str| event.kind == kind && (id.starts_with(wanted) || name.is_some_and(|name| name == wanted))
    };
    let image = |wanted: &str| match event.kind.as_str() {
        "image" => is_image(id, wanted) || attributes.get("name").is_some_and(|name| is_image(name, wanted)),
        _ => attributes.get("image").is_some_and(|name| is_image(name, wanted)),
    };
    // `health_status` means each of `health_status: healthy` and its like; so do `exec_start` and the others.
    let action = |wanted: &str| event.action == wanted || event.action.split(':').next() == Some(wanted);
    filters.pass("container", named("container"))
        && filters.pass("network", named("network"))
        && filters.pass("volume", named("volume"))
        && filters.pass("daemon", named("daemon"))
        && filters.pass("image", image)
        && filters.pass("event", action)
        && filters.pass("type", |kind| event.kind == kind)
        && filters.pass("scope", |scope| event.scope == scope)
        && filters.pass_labels(attributes)
}

fn is_image(name: &str, wanted: &str) -> bool {
    name == wanted || name.rsplit_once(':').is_some_and(|(repository, tag)| !tag.contains('/') && repository == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_know_names_actions_and_labels() {
        let event = Event::now("container", "health_status: healthy", "4f0c")
            .with("name", "web")
            .with("image", "site:1")
            .with("tier", "front");
        let pass = |key: &str, value: &str| {
            let mut filters = Filters::default();
            filters.add(key, value);
            passes(&event, &filters)
        };
        assert!(pass("container", "web") && pass("container", "4f") && !pass("container", "we"));
        assert!(pass("event", "health_status") && pass("event", "health_status: healthy") && !pass("event", "health"));
        assert!(pass("image", "site") && pass("image", "site:1") && !pass("image", "site:2"));
        assert!(pass("label", "tier=front") && !pass("label", "tier=back"));
        assert!(pass("type", "container") && !pass("network", "web"));
        assert_eq!(document(&event)["from"], "site:1");
    }
}
