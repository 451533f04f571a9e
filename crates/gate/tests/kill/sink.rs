//! The deploy sink: counts what is really launched.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

/// Prefix of the images whose first launch is slow.
pub(crate) const SLOW: &str = "slow-";

/// The script of the command deployer. A launch under a repeated key is the same launch: its folder can be created only
/// once.
pub(crate) fn script(sink: &Path) -> String {
    let sink = sink.display();
    format!(
        r#"#!/bin/sh
document=$(cat)
# Whoever started it died before it had said what to launch.
case "$document" in *'}}') ;; *) exit 1 ;; esac
case "$document" in
    *'"key":null'*) launch=$(mktemp -d "{sink}/$COUNTERSIGN_APPROVAL_ID.unkeyed.XXXXXX") ;;
    *)
        launch="{sink}/$COUNTERSIGN_APPROVAL_ID.keyed"
        if mkdir "$launch" 2>/dev/null; then
            case "$document" in *'"image_ref":"{SLOW}'*) sleep 0.4 ;; esac
        fi
        ;;
esac
printf '%s' "$document" > "$launch/$$.tmp" && mv "$launch/$$.tmp" "$launch/$$.json"
echo launched
"#
    )
}

/// True if something was launched for it under its key.
pub(crate) fn has_begun(sink: &Path, approval: &str) -> bool {
    sink.join(format!("{approval}.keyed")).exists()
}

/// The launches that took effect for one approval.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launches {
    /// Number of launches; all under one key count as one.
    pub(crate) count: usize,
    /// The launched payloads, one for each completed command.
    pub(crate) documents: Vec<Value>,
}

/// All launches, by approval.
pub(crate) fn launches(sink: &Path) -> BTreeMap<String, Launches> {
    let mut all: BTreeMap<String, Launches> = BTreeMap::new();
    for launch in std::fs::read_dir(sink).expect("the sink is there").flatten() {
        let name = launch.file_name().to_string_lossy().into_owned();
        let approval = name.split('.').next().unwrap_or_default().to_owned();
        let launches = all.entry(approval).or_default();
        launches.count += 1;
        for file in std::fs::read_dir(launch.path()).expect("a launch is a folder").flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read_to_string(&path).expect("a document can be read");
                launches.documents.push(serde_json::from_str(&text).expect("a document is JSON"));
            }
        }
    }
    all
}
