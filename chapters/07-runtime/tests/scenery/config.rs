//! The configuration of a bundle.

use std::path::Path;

use serde_json::Value;

/// Changes the `config.json` below a bundle's home.
pub(crate) fn change(home: &Path, change: impl FnOnce(&mut Value)) {
    let file = home.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(&file, config.to_string()).unwrap();
}
