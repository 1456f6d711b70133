//! Chapter 8's program: open an image layout, see what is in it, verify it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use images::archive::{self, Saved};
use images::{Image, Reference, Store, builtin, unpack};
use layers::Snapshots;
use process::explain;

/// Look into a directory of images: an OCI image layout, whoever made it.
///
/// Try, without network:
///
///   ch08-images --store DIR builtin hello
///   ch08-images --store DIR list
///   ch08-images --store DIR show hello
///   ch08-images --store DIR verify
///   ch08-images --store DIR save hello > hello.tar && tar -tvf hello.tar
///   skopeo inspect oci:DIR:docker.io/library/hello:latest
#[derive(Parser)]
#[command(name = "ch08-images", version, verbatim_doc_comment)]
struct Arguments {
    /// Tell each kernel call as it happens ("story" or "json").
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "story")]
    explain: Option<explain::Format>,
    /// The directory of the image layout.
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the images and their names.
    List,
    /// Show one image: its documents, how it runs, its layers.
    Show {
        /// A name, an id, or the beginning of an id.
        image: String,
    },
    /// Read every blob and compare it with its digest.
    Verify,
    /// Say what a name means in full.
    Name {
        /// The name as people type it.
        name: Reference,
    },
    /// Make a built-in image: hello or host.
    Builtin {
        /// Which one.
        #[arg(value_parser = [builtin::HELLO, builtin::HOST])]
        name: String,
    },
    /// Extract an image's layers, each into a directory of its own, and print those from the topmost down.
    Unpack {
        /// A name, an id, or the beginning of an id.
        image: String,
        /// The directory for the layers.
        layers: PathBuf,
    },
    /// Write an image as an archive to standard output.
    Save {
        /// A name, an id, or the beginning of an id.
        image: String,
    },
    /// Read an archive of images from standard input, and extract their layers.
    Load {
        /// The directory for the layers.
        layers: PathBuf,
    },
    /// Remove blobs that no name reaches.
    Gc,
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(format) = arguments.explain {
        explain::install(format);
    }
    let code = run(arguments).unwrap_or_else(|error| {
        eprintln!("ch08-images: {error:#}");
        125
    });
    std::process::exit(code);
}

fn run(arguments: Arguments) -> anyhow::Result<i32> {
    let dir = arguments.store;
    // Only what adds to a store may make one: a mistyped name must not leave a directory behind.
    let open = || Store::open_existing(&dir).with_context(|| format!("open {}", dir.display()));
    match arguments.command {
        Command::Name { name } => println!("{name}"),
        Command::Builtin { name } => {
            let name = if name == builtin::HOST { builtin::HOST } else { builtin::HELLO };
            println!("{}", builtin::make(name, &Store::open(&dir)?)?.id);
        }
        Command::List => list(&open()?)?,
        Command::Show { image } => show(&open()?.find(&image)?),
        Command::Verify => return verify(&open()?),
        Command::Unpack { image, layers } => {
            let (store, snapshots) = (open()?, Snapshots::open(layers)?);
            let image = store.find(&image)?;
            unpack(&store, &snapshots, &image)?;
            snapshots.stack(image.diff_ids())?.iter().for_each(|layer| println!("{}", layer.display()));
        }
        Command::Save { image } => {
            let store = open()?;
            let image = store.find(&image)?;
            let named = store.list()?.into_iter().filter(|named| named.target == image.target);
            let names = named.filter_map(|named| named.reference).collect();
            archive::save(&store, &[Saved { image, names }], std::io::stdout().lock())?;
        }
        Command::Load { layers } => {
            let (store, snapshots) = (Store::open(&dir)?, Snapshots::open(layers)?);
            for loaded in archive::load(&store, &snapshots, std::io::stdin().lock())? {
                let names: Vec<String> = loaded.names.iter().map(Reference::familiar).collect();
                println!("{} {}", loaded.image.id.short(), names.join(" "));
            }
        }
        Command::Gc => {
            let collected = open()?.gc()?;
            println!("{} blobs, {} bytes", collected.blobs.len(), collected.bytes);
        }
    }
    Ok(0)
}

fn list(store: &Store) -> anyhow::Result<()> {
    println!("{:<30} {:<14} {:>10}", "NAME", "ID", "BYTES");
    for entry in store.list()? {
        let name = entry.reference.map_or("<none>".to_owned(), |name| name.familiar());
        match store.image(&entry.target) {
            Ok(image) => println!("{name:<30} {:<14} {:>10}", image.id.short(), image.download_size()),
            Err(error) => println!("{name:<30} {error}"),
        }
    }
    Ok(())
}

fn show(image: &Image) {
    let run = &image.config.config;
    println!("manifest  {} ({})", image.manifest_descriptor.digest, image.manifest_descriptor.media_type);
    println!("config    {}", image.id);
    println!("platform  {}/{}", image.config.os, image.config.architecture);
    println!(
        "command   {:?} {:?}",
        run.entrypoint.as_deref().unwrap_or_default(),
        run.cmd.as_deref().unwrap_or_default()
    );
    for variable in &run.env {
        println!("env       {variable}");
    }
    for (layer, diff_id) in image.manifest.layers.iter().zip(image.diff_ids()) {
        println!("layer     {} ({} bytes, {})", layer.digest, layer.size, layer.media_type);
        println!("  diff id {diff_id}");
    }
}

fn verify(store: &Store) -> anyhow::Result<i32> {
    let verified = store.verify()?;
    println!("{} blobs, {} bytes: sound", verified.sound, verified.bytes);
    verified.damaged.iter().for_each(|digest| println!("damaged: {digest}"));
    verified.missing.iter().for_each(|digest| println!("missing: {digest}"));
    Ok(i32::from(!verified.damaged.is_empty() || !verified.missing.is_empty()))
}
