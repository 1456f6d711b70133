//! The published ports of a container, which its monitor holds, and which can change while it runs.

use std::cell::RefCell;
use std::rc::Rc;

use network::{PortMapping, Reservation};

use crate::engine::Engine;
use crate::error::{Error, Result, While as _};
use crate::id::ContainerId;
use crate::paths::Paths;

use super::wiring::reachable;

/// What is held for a container, shared between the wiring, which ends with the run, and the desk, where changes are asked.
#[derive(Clone)]
pub(super) struct Switchboard {
    paths: Paths,
    id: ContainerId,
    held: Rc<RefCell<Held>>,
}

/// Ports as they were asked for, and as they are.
#[derive(Default)]
struct Held {
    asked: Vec<PortMapping>,
    reservation: Option<Reservation>,
}

impl Switchboard {
    pub(super) fn of(engine: &Engine, id: &ContainerId) -> Self {
        Self { paths: engine.paths().clone(), id: id.clone(), held: Rc::default() }
    }

    /// Takes over what was published when the container was connected.
    pub(super) fn hold(&self, asked: &[PortMapping], reservation: Reservation) {
        *self.held.borrow_mut() = Held { asked: asked.to_vec(), reservation: Some(reservation) };
    }

    /// The published ports, as they really are.
    pub(super) fn ports(&self) -> Vec<PortMapping> {
        self.held.borrow().reservation.iter().flat_map(Reservation::mappings).copied().collect()
    }

    /// Lets go of everything: the run is over.
    pub(super) fn clear(&self) {
        *self.held.borrow_mut() = Held::default();
    }

    /// Publishes what the container's record asks for by now: what is new first, so that where that fails nothing has changed.
    pub(super) fn refresh(&self) -> Result<Vec<PortMapping>> {
        let engine = Engine::open(self.paths.clone())?;
        let container = engine.container(&self.id)?;
        let wanted = container.record().options.network.ports(&container.record().settings.exposed_ports)?;
        let held = &mut *self.held.borrow_mut();
        // Where it is now: networks may have been joined and left since.
        let endpoints = engine.networks().endpoints(self.id.as_str()).doing("inspect", container.name())?;
        let family = engine.family(&container.record().options.network.connections())?;
        let (Some(endpoint), Some(reservation)) = (reachable(&endpoints), &mut held.reservation) else {
            return Err(Error::bad(
                "--publish-add",
                container.name(),
                "it has no network of the engine's to publish from",
            ));
        };
        let fresh: Vec<PortMapping> = wanted.iter().filter(|port| !held.asked.contains(port)).copied().collect();
        let more = Reservation::take(&fresh, family).doing("publish", container.name())?;
        engine.networks().publish_reserved(endpoint, &more).doing("publish", container.name())?;
        reservation.absorb(more);
        let gone: Vec<PortMapping> = held.asked.iter().filter(|port| !wanted.contains(port)).copied().collect();
        let is_gone = |port: &PortMapping| gone.iter().any(|asked| is_of(port, asked)) && !wanted.contains(port);
        let elements: Vec<PortMapping> = reservation.mappings().iter().filter(|port| is_gone(port)).copied().collect();
        engine.networks().take_back(endpoint, &elements).doing("take back ports of", container.name())?;
        reservation.let_go(|port| elements.contains(port));
        held.asked = wanted;
        Ok(reservation.mappings().to_vec())
    }
}

/// Whether a port came from that wish: a wish for any port of the machine got one, and one for every IPv4 address got the
/// IPv6 ones with them.
fn is_of(port: &PortMapping, asked: &PortMapping) -> bool {
    let host = asked.host_ip == port.host_ip || (asked.host_ip.is_unspecified() && port.host_ip.is_unspecified());
    let number = asked.host_port == 0 || asked.host_port == port.host_port;
    host && number && (asked.container_port, asked.protocol) == (port.container_port, port.protocol)
}
