//! `HostConfig.Mounts`: what the client makes of `--mount`.

use std::collections::BTreeMap;

use containers::{MountRequest, VolumeWishes};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::create::refuse_others;
use crate::error::ApiError;

/// One mount.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct MountBody {
    #[serde(rename = "Type")]
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    bind_options: Option<BindOptions>,
    volume_options: Option<VolumeOptions>,
    tmpfs_options: Option<TmpfsOptions>,
    /// Any value says what `local` does in any case.
    #[serde(rename = "Consistency")]
    _consistency: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct BindOptions {
    propagation: String,
    create_mountpoint: bool,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VolumeOptions {
    no_copy: bool,
    subpath: String,
    labels: Option<BTreeMap<String, String>>,
    driver_config: Option<DriverConfig>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DriverConfig {
    name: String,
    options: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TmpfsOptions {
    size_bytes: u64,
    mode: u32,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl MountBody {
    /// What is asked for: by way of the text of `--mount`, so that there is one reader of it.
    pub(crate) fn request(&self) -> Result<MountRequest, ApiError> {
        refuse_others("HostConfig.Mounts.", &self.others)?;
        let (bind, volume, tmpfs) = (&self.bind_options, &self.volume_options, &self.tmpfs_options);
        let others = [
            bind.as_ref().map(|it| &it.others),
            volume.as_ref().map(|it| &it.others),
            tmpfs.as_ref().map(|it| &it.others),
        ];
        others.into_iter().flatten().try_for_each(|others| refuse_others("HostConfig.Mounts.", others))?;
        if [&self.kind, &self.source, &self.target].iter().any(|text| text.contains(',')) {
            return Err(ApiError::bad_request("a mount's paths cannot hold a comma"));
        }
        let mut text = format!("type={},target={}", self.kind, self.target);
        if !self.source.is_empty() {
            text.push_str(&format!(",source={}", self.source));
        }
        if let Some(tmpfs) = tmpfs {
            let (size, mode) = (tmpfs.size_bytes, tmpfs.mode);
            text.push_str(&if size > 0 { format!(",tmpfs-size={size}") } else { String::new() });
            text.push_str(&if mode > 0 { format!(",tmpfs-mode={mode:o}") } else { String::new() });
        }
        if let Some(path) = volume.as_ref().map(|volume| &volume.subpath).filter(|path| !path.is_empty()) {
            text.push_str(&format!(",volume-subpath={path}"));
        }
        let mut request = MountRequest::mount(&text).map_err(|e| ApiError::bad_request(e.to_string()))?;
        request.read_only = self.read_only;
        if let Some(bind) = bind {
            request.propagation = Some(bind.propagation.clone()).filter(|propagation| !propagation.is_empty());
            if let containers::Source::Bind { create, .. } = &mut request.source {
                *create = bind.create_mountpoint;
            }
        }
        if let Some(volume) = volume {
            let config = volume.driver_config.as_ref();
            request.volume = VolumeWishes {
                no_copy: volume.no_copy,
                labels: volume.labels.clone().unwrap_or_default(),
                driver: config.map(|config| config.name.clone()).filter(|name| !name.is_empty()),
                options: config.and_then(|config| config.options.clone()).unwrap_or_default(),
                ..request.volume
            };
        }
        Ok(request)
    }
}
