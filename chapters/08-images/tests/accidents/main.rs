//! What is left of an image when the process is killed, the disk is full or the power goes: all of it, or nothing.

mod full;
mod kill;
mod power;
mod world;
