//! The bill of materials: what the program is made of, as CycloneDX 1.5.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{DistResult, DistStage, command_output};

/// Writes the bill; returns its file.
pub fn write(stage: &DistStage) -> DistResult<PathBuf> {
    let mut command = Command::new("cargo");
    command.current_dir(&stage.root).args(["metadata", "--locked", "--format-version", "1"]);
    command.args(["--filter-platform", super::TARGET]);
    let metadata: Value = serde_json::from_str(&command_output(&mut command)?)?;
    let lock = fs::read_to_string(stage.root.join("Cargo.lock"))?;
    let time = command_output(
        Command::new("date").args(["-u", "-d"]).arg(format!("@{}", stage.epoch)).arg("+%FT%TZ"),
    )?;
    let bill = bill(&metadata, &checksums(&lock), time.trim());
    let file = stage.out.join(format!("ottla-{}.cdx.json", stage.version));
    fs::write(&file, serde_json::to_string_pretty(&bill)? + "\n")?;
    Ok(file)
}

/// The checksums of Cargo.lock, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let of = |block: &str| {
        Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?))
    };
    lock.split("[[package]]").filter_map(of).collect()
}

fn bill(metadata: &Value, sums: &BTreeMap<(String, String), String>, time: &str) -> Value {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|it| (text(&it["id"]), it)).collect();
    let is_normal = |dep: &Value| list(&dep["dep_kinds"]).iter().any(|it| it["kind"].is_null());
    let nodes: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let deps = list(&node["deps"]);
            let deps = deps.iter().filter(|it| is_normal(it)).map(|it| text(&it["pkg"]));
            (text(&node["id"]), deps.collect())
        })
        .collect();
    let app = packages.iter().find(|(_, it)| it["name"] == "ottla-app").map(|(id, _)| id.clone());
    let app = app.unwrap_or_default();
    let mut found = BTreeSet::new();
    let mut open = vec![app.clone()];
    while let Some(id) = open.pop() {
        if found.insert(id.clone()) {
            open.extend(nodes.get(&id).cloned().unwrap_or_default());
        }
    }
    let reference = |id: &String| {
        let package = &packages[id];
        format!("pkg:cargo/{}@{}", text(&package["name"]), text(&package["version"]))
    };
    let component = |id: &String| {
        let package = &packages[id];
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let sum = sums.get(&(name.clone(), version.clone()));
        let hashes: Vec<Value> =
            sum.iter().map(|sum| json!({"alg": "SHA-256", "content": sum})).collect();
        let license = text(&package["license"]).replace('/', " OR ");
        json!({
            "type": "library", "bom-ref": reference(id), "name": name, "version": version,
            "purl": reference(id), "hashes": hashes, "licenses": [{"expression": license}],
        })
    };
    let parts = found.iter().filter(|id| **id != app);
    let depends = |id: &String| {
        let on: Vec<String> = nodes.get(id).into_iter().flatten().map(reference).collect();
        json!({"ref": reference(id), "dependsOn": on})
    };
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {
            "timestamp": time,
            "component": {
                "type": "application", "bom-ref": reference(&app), "name": "ottla",
                "version": text(&packages[&app]["version"]), "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": parts.map(component).collect::<Vec<_>>(),
        "dependencies": found.iter().map(depends).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_program_is_made_of_is_in_the_bill() {
        let package = |name: &str| json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0"});
        let dep = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [package("ottla-app"), package("used"), package("deep"), package("tests")],
            "resolve": {"nodes": [
                {"id": "ottla-app", "deps": [dep("used", Value::Null), dep("tests", json!("dev"))]},
                {"id": "used", "deps": [dep("deep", Value::Null)]},
                {"id": "deep", "deps": []}, {"id": "tests", "deps": []},
            ]},
        });
        let lock = "[[package]]\nname = \"used\"\nversion = \"1.0.0\"\nchecksum = \"abc\"\n";
        let bill = bill(&metadata, &checksums(lock), "2026-01-01T00:00:00Z");
        let names: Vec<&str> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["deep", "used"]);
        assert_eq!(bill["components"][1]["hashes"][0]["content"], "abc");
        assert_eq!(bill["components"][1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bill["dependencies"][1]["dependsOn"][0], "pkg:cargo/used@1.0.0");
    }
}
