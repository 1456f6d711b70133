//! What to do about an error, where the binary knows.
//!
//! The errors of earlier chapters say what went wrong; they do not know which command of this engine would help.

use std::error::Error;
use std::io;

use crate::failure::{LoginRefused, NoNamespace, NotATerminal};

/// The hint for an error: the first cause in its chain, or held by one of the chain, that has one.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| std::iter::successors(Some(cause), |cause| held(*cause)).find_map(of_cause))
}

/// The cause whose words an error's message holds. Such a cause is no `source`, or it would be printed twice.
fn held<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(containers::Error::Below { reason, .. }) = error.downcast_ref() {
        return Some(&**reason);
    }
    if let Some(::build::Error::Step { reason, .. } | ::build::Error::Engine { reason, .. }) = error.downcast_ref() {
        return Some(&**reason);
    }
    match error.downcast_ref() {
        Some(distribution::Error::Images { reason, .. }) => return Some(&**reason),
        Some(distribution::Error::Layer { reason, .. }) => return Some(&**reason),
        Some(distribution::Error::Io { reason, .. }) => return Some(reason),
        _ => {}
    }
    if let Some(images::Error::Transfer { reason, .. }) = error.downcast_ref() {
        return Some(reason);
    }
    match error.downcast_ref()? {
        layers::Error::Member { reason, .. } => Some(reason),
        layers::Error::Read(reason) | layers::Error::Write(reason) => Some(reason),
        _ => None,
    }
}

fn of_cause(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<containers::Error>() {
        return of_container(error);
    }
    if let Some(error) = cause.downcast_ref::<distribution::Error>() {
        return match error {
            distribution::Error::Mismatch { .. } | distribution::Error::Layer { .. } => Some(
                "nothing was stored; the registry, or something between it and this machine, changed the bytes: try again, \
                 and tell whoever runs it"
                    .to_owned(),
            ),
            error => error.hint(),
        };
    }
    if let Some(error) = cause.downcast_ref::<images::Error>() {
        return of_image(error);
    }
    if let Some(::build::Error::Dockerfile { message, .. }) = cause.downcast_ref() {
        return message.starts_with("unknown instruction").then(|| {
            "the instructions are ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM LABEL MAINTAINER RUN STOPSIGNAL USER VOLUME WORKDIR".to_owned()
        });
    }
    if let Some(error) = cause.downcast_ref::<network::Error>() {
        return of_network(error);
    }
    if let Some(NoNamespace(error)) = cause.downcast_ref() {
        return Some(no_namespace(error));
    }
    if let Some(error) = cause.downcast_ref::<process::CallError>() {
        return of_call(error);
    }
    if cause.is::<LoginRefused>() {
        return Some("check the name and the password; some registries want an access token instead".to_owned());
    }
    if cause.is::<NotATerminal>() {
        return Some("leave -t out when the input is a pipe or a file".to_owned());
    }
    let io = cause.downcast_ref::<io::Error>()?;
    (io.kind() == io::ErrorKind::StorageFull).then(|| "`cooper system prune` gives space back".to_owned())
}

fn of_container(error: &containers::Error) -> Option<String> {
    use containers::Error as E;
    match error {
        E::NoSuchContainer(_) => Some("`cooper ps -a` lists all containers".to_owned()),
        E::NameInUse { name, .. } => {
            Some(format!("`cooper rm -f {name}` removes the other one; or give another --name"))
        }
        E::WrongState { operation: "remove", id, .. } => {
            Some(format!("`cooper rm -f {id}` stops and removes it"))
        }
        E::NoSuchVolume(_) => Some("`cooper volume ls` lists all volumes".to_owned()),
        E::Start { exit_code: 127, .. } => {
            Some("the image has no such program in its PATH; `cooper run --rm -it IMAGE sh` looks around, if it has a shell".to_owned())
        }
        E::Start { exit_code: 126, .. } => Some(
            "the file is there and cannot be executed: is it a directory, is its x bit missing, is it for another machine, \
             does the interpreter in its first line exist?"
                .to_owned(),
        ),
        E::Start { message, .. } if message.contains("no such id in this user namespace") => Some(few_ids()),
        E::Start { message, .. } if message.contains("in use") && message.contains("port") => Some(port_in_use()),
        _ => None,
    }
}

/// In a user namespace an id that is not mapped cannot be given or taken: the kernel calls it invalid.
fn of_call(error: &process::CallError) -> Option<String> {
    let about_ids = error.operation.contains("chown") || error.operation.starts_with("setres");
    let unmapped = about_ids && error.errno == rustix::io::Errno::INVAL.raw_os_error();
    (unmapped && namespaces::rootless::is_rootless()).then(few_ids)
}

fn few_ids() -> String {
    "containers of this user have few ids to give files and processes to; `cooper system doctor` says how more are \
     lent; or run cooper as root"
        .to_owned()
}

fn of_image(error: &images::Error) -> Option<String> {
    use images::Error as E;
    match error {
        E::NoImage(name) => Some(format!(
            "`cooper images` lists what is here, `cooper pull {name}` fetches it; hello and host are built in"
        )),
        E::Blob { .. } => Some("`cooper rmi` and `cooper pull` replace a damaged image".to_owned()),
        _ => None,
    }
}

fn of_network(error: &network::Error) -> Option<String> {
    match error {
        network::Error::NoSuchNetwork(name) => Some(format!("`cooper network create {name}` makes it")),
        error => error.hint(),
    }
}

/// The remedy for this very machine. Looked for only where the kernel refused the namespace: later this process is half
/// inside one, and would see other facts.
fn no_namespace(error: &process::CallError) -> String {
    let looked = "`cooper system doctor` looks at the whole machine; or run cooper as root";
    if error.operation != "unshare" {
        return looked.to_owned();
    }
    let findings = doctor::examine(&doctor::Facts::gather());
    let finding = findings.into_iter().find(|finding| finding.what == "user namespaces");
    match finding.and_then(|finding| Some((finding.found, finding.remedy?))) {
        Some((found, remedy)) => format!("{found}: {remedy}; {looked}"),
        None => looked.to_owned(),
    }
}

fn port_in_use() -> String {
    "`ss -lntup` and `cooper ps` say who has it; -p HOST:CONTAINER takes another host port".to_owned()
}
