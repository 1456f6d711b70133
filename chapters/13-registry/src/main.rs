//! A private registry: push to it with any tool, and look at its files with `ls`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Serve a registry and show each request that clients make.
///
/// Every line on standard error is one step of a push or a pull, as the distribution
/// specification has it. Try, in another terminal:
///
///   skopeo copy --dest-tls-verify=false oci:DIR:TAG docker://127.0.0.1:5000/app:1
///   curl http://127.0.0.1:5000/v2/_catalog
///   find ROOT -type f
///
/// SIGTERM or ctrl-C ends it after the requests that are under way.
#[derive(Parser)]
#[command(name = "ch13-registry", verbatim_doc_comment)]
struct Arguments {
    /// Address to listen on (port 0: any free one).
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// File of accounts, each line written by `htpasswd -Bn NAME`.
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Directory that holds the blobs, manifests and tags.
    #[arg(value_name = "ROOT")]
    root: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { listen, htpasswd, root } = Arguments::parse();
    match registry::run(registry::Config { listen, root, htpasswd }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ch13-registry: {error}");
            ExitCode::from(125)
        }
    }
}
