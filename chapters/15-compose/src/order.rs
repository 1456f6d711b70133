//! In which order services start.
//!
//! `depends_on` draws arrows; an order in which every arrow points backwards exists unless they
//! form a circle. The order is found by walking the arrows depth first, and a circle is found on the
//! way: it is the path walked when a service is met that is still being walked.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::model::{Project, Service};

/// The services that `wanted` needs (all if it is empty), each after those it depends on; otherwise
/// in the file's order.
///
/// # Errors
/// A service that is not there, and a circle, which is spelled out.
pub fn start_order<'p>(project: &'p Project, wanted: &[String]) -> Result<Vec<&'p Service>, Error> {
    let mut walk = Walk { project, path: Vec::new(), done: Vec::new() };
    for name in wanted {
        if !project.services.contains_key(name) {
            return Err(Error::Asked(format!("no such service: {name}")));
        }
        walk.visit(name)?;
    }
    if wanted.is_empty() {
        project.services.keys().try_for_each(|name| walk.visit(name))?;
    }
    Ok(walk.done)
}

/// How many services, one after the other, a service waits for before it starts: 0 for one that depends on nothing.
/// Services of the same depth do not depend on each other. `started` is in [`start_order`].
pub fn depths<'p>(started: &[&'p Service]) -> BTreeMap<&'p str, usize> {
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    for service in started {
        let below = service.depends_on.iter().filter_map(|name| depths.get(name.as_str()));
        let depth = below.max().map_or(0, |deepest| deepest + 1);
        depths.insert(&service.name, depth);
    }
    depths
}

struct Walk<'p> {
    project: &'p Project,
    /// From the first service to the one being looked at.
    path: Vec<String>,
    done: Vec<&'p Service>,
}

impl<'p> Walk<'p> {
    fn visit(&mut self, name: &str) -> Result<(), Error> {
        if self.done.iter().any(|service| service.name == name) {
            return Ok(());
        }
        if let Some(at) = self.path.iter().position(|above| above == name) {
            let circle = [&self.path[at..], &[name.to_owned()]].concat().join(" -> ");
            return Err(self.wrong(name, format!("dependency cycle detected: {circle}")));
        }
        let Some(service) = self.project.services.get(name) else {
            let by = self.path.last().cloned().unwrap_or_default();
            return Err(self.wrong(&by, format!("depends on undefined service {name:?}")));
        };
        self.path.push(name.to_owned());
        service.depends_on.iter().try_for_each(|name| self.visit(name))?;
        self.path.pop();
        self.done.push(service);
        Ok(())
    }

    fn wrong(&self, service: &str, message: String) -> Error {
        Error::File { file: self.project.file.clone(), path: format!("services.{service}.depends_on"), message }
    }
}
