//! What is left of a pull or a push when the process is killed, the disk is full or the power goes: in the store all of the
//! image or nothing, in the registry as well; and the next one heals it. The accidents are those of chapter 8.
#![allow(clippy::unwrap_used)]

#[path = "../behaviour/debian_registry.rs"]
#[allow(dead_code)]
mod debian_registry;
#[path = "../../../04-layers/tests/power/disk.rs"]
mod disk;
#[path = "../../../08-images/tests/accidents/full.rs"]
mod full;
#[path = "../../../08-images/tests/accidents/kill.rs"]
mod kill;
mod operations;
#[path = "../../../08-images/tests/accidents/power.rs"]
mod power;
#[path = "../../../08-images/tests/accidents/world.rs"]
mod world;
