//! The law: which crate may use which, read from ARCHITECTURE.md and from the manifests.

use std::collections::{BTreeMap, BTreeSet};

/// One crate of the law table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// 0 is the ground.
    pub floor: usize,
    /// The crates it may use, by short name.
    pub may_use: BTreeSet<String>,
}

/// From the ground up; the garden is outside.
const FLOORS: [&str; 9] =
    ["ground", "words", "cores", "engines", "drivers", "services", "front", "roof", "garden"];

/// The law table of ARCHITECTURE.md: rows `| floor | crate | one line | may use |`.
///
/// # Errors
/// A row names an unknown floor, or a crate twice.
pub fn table(architecture: &str) -> Result<BTreeMap<String, Room>, String> {
    let mut rooms = BTreeMap::new();
    let rows = architecture.lines().skip_while(|line| !line.contains("<!-- law -->"));
    for row in rows.take_while(|line| !line.contains("<!-- /law -->")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [floor, name, _, may_use] = cells[..] else { continue };
        if floor == "floor" || floor.starts_with('-') {
            continue;
        }
        let known = FLOORS.iter().position(|known| *known == floor);
        let floor = known.ok_or(format!("{name}: there is no floor {floor:?}"))?;
        let may_use = may_use.split_whitespace().filter(|word| *word != "-");
        let room = Room { floor, may_use: may_use.map(str::to_owned).collect() };
        if rooms.insert(name.to_owned(), room).is_some() {
            return Err(format!("{name} stands twice in the law table"));
        }
    }
    Ok(rooms)
}

/// Where the table itself points up or sideways.
#[must_use]
pub fn arrows_that_do_not_run_down(rooms: &BTreeMap<String, Room>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, room) in rooms {
        for used in &room.may_use {
            match rooms.get(used) {
                None => wrong.push(format!("{name} uses {used}, which is not in the table")),
                Some(below) if below.floor >= room.floor => {
                    wrong.push(format!("{name} -> {used} does not run down"));
                }
                Some(_) => {}
            }
        }
    }
    wrong
}

/// The short names of the `ottla-*` crates in `[dependencies]` of a manifest.
#[must_use]
pub fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = matches!(line, "[dependencies]" | "[build-dependencies]");
        } else if inside && let Some(rest) = line.strip_prefix("ottla-") {
            let name = rest.split(['.', ' ', '=']).next().unwrap_or(rest);
            used.insert(name.to_owned());
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "<!-- law -->\n| floor | crate | one line | may use |\n|---|---|---|---|\n\
        | ground | types | nouns | - |\n| words | records | batches | types |\n\
        | words | wire | sideways | records |\n<!-- /law -->";

    #[test]
    fn a_sideways_arrow_is_found() {
        let rooms = table(TABLE).expect("a table");
        assert_eq!(rooms.len(), 3);
        assert_eq!(arrows_that_do_not_run_down(&rooms), ["wire -> records does not run down"]);
    }

    #[test]
    fn only_real_dependencies_count() {
        let manifest = "[package]\nname = \"ottla-x\"\n[dependencies]\nottla-types.workspace = true\n\
            ottla-net = { path = \"..\" }\n[dev-dependencies]\nottla-sim.workspace = true\n";
        let used: Vec<String> = dependencies(manifest).into_iter().collect();
        assert_eq!(used, ["net", "types"]);
    }
}
