//! What is left of an image when the process is killed, the disk is full or the power goes: all of it, or nothing.

#[path = "../../../04-layers/tests/power/disk.rs"]
mod disk;
mod full;
mod kill;
mod operations;
mod power;
mod spare;
mod world;
