//! The house as it stands must be the house of the picture.

mod licences;

use std::collections::BTreeSet;
use std::fs;

use ottla_xtask::{chance, counts, doors, law, names, paths, reexports, sizes, tree};

fn architecture() -> String {
    fs::read_to_string(tree::tree_root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md")
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_arrow_of_the_law_table_runs_down() {
    none(&law::arrows_that_do_not_run_down(&law::table(&architecture()).expect("a table")));
}

#[test]
fn every_crate_uses_exactly_what_the_law_table_says() {
    let rooms = law::table(&architecture()).expect("a table");
    let mut wrong = Vec::new();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(tree::tree_root().join("crates")).expect("crates") {
        let folder = entry.expect("an entry").path();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let used = law::dependencies(&manifest);
        match rooms.get(&name) {
            None => wrong.push(format!("{name} has no row in the law table")),
            Some(room) if room.may_use != used => {
                wrong.push(format!(
                    "{name}: the table says {:?}, the manifest {used:?}",
                    room.may_use
                ));
            }
            Some(_) => {}
        }
        found.insert(name);
    }
    wrong.extend(
        rooms
            .keys()
            .filter(|name| !found.contains(*name))
            .map(|name| format!("{name} stands in the law table but not in crates/")),
    );
    none(&wrong);
}

#[test]
fn cores_cannot_name_a_file_a_socket_or_a_clock() {
    let cores = ["types", "machine", "replication", "raft", "coordinator", "metadata"];
    let wrong: Vec<String> = cores
        .iter()
        .filter(|name| {
            let lib = tree::tree_root().join("crates").join(name).join("src/lib.rs");
            !fs::read_to_string(lib).expect("a lib.rs").contains("#![no_std]")
        })
        .map(|name| format!("{name} is a core without #![no_std]"))
        .collect();
    none(&wrong);
}

#[test]
fn nothing_is_too_long() {
    none(&sizes::breaches(&tree::rust_sources().expect("sources")));
}

#[test]
fn files_and_sockets_are_opened_behind_their_doors() {
    let rows = fs::read_to_string(tree::tree_root().join("crates/xtask/doors.txt"));
    let rows = doors::read_rows(&rows.expect("doors.txt")).expect("rows");
    none(&doors::unlisted_doors(&tree::rust_sources().expect("sources"), &rows));
}

#[test]
fn nothing_is_reached_by_two_paths() {
    let rooms = law::table(&architecture()).expect("a table");
    let may_use = rooms.into_iter().map(|(name, room)| (name, room.may_use)).collect();
    none(&reexports::second_paths(&tree::rust_sources().expect("sources"), &may_use));
}

#[test]
fn no_crate_allows_itself_unsafe_code() {
    let manifest = fs::read_to_string(tree::tree_root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    let folders = fs::read_dir(tree::tree_root().join("crates")).expect("crates");
    let manifests = folders.map(|entry| entry.expect("an entry").path().join("Cargo.toml"));
    let wrong = manifests.filter(|path| {
        let text = fs::read_to_string(path).expect("a manifest");
        !text.contains("[lints]\nworkspace = true\n")
    });
    none(&wrong.map(|path| format!("{} has lints of its own", path.display())).collect::<Vec<_>>());
}

#[test]
fn no_counted_habit_grows() {
    let agreed = fs::read_to_string(tree::tree_root().join("crates/xtask/counts.txt"));
    let agreed = counts::read_agreed(&agreed.expect("counts.txt")).expect("a table");
    none(&counts::risen_counts(
        &counts::count_habits(&tree::rust_sources().expect("sources")),
        &agreed,
    ));
}

#[test]
fn names_say_what_a_thing_is_for() {
    none(&names::name_breaches(&tree::rust_sources().expect("sources")));
}

#[test]
fn nothing_happens_by_chance_that_no_seed_reaches() {
    none(&chance::chance_breaches(&tree::rust_sources().expect("sources")));
}

#[test]
fn no_host_names_what_stands_above_it() {
    none(&names::hosts_that_look_up(&tree::rust_sources().expect("sources")));
}

#[test]
fn nothing_but_the_seams_knows_the_simulator() {
    none(&names::code_that_knows_the_simulator(&tree::rust_sources().expect("sources")));
}

#[test]
fn no_command_speaks_the_protocols_messages() {
    none(&names::commands_that_speak_messages(&tree::rust_sources().expect("sources")));
}

#[test]
fn no_handler_names_another_handler() {
    none(&names::handlers_that_name_handlers(&tree::rust_sources().expect("sources")));
}

#[test]
fn every_path_that_is_named_is_there() {
    let root = tree::tree_root();
    let folders: Vec<String> = fs::read_dir(&root)
        .expect("the root")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let mut sources = tree::markdown_documents().expect("documents");
    sources.extend(tree::rust_sources().expect("sources"));
    let dead: Vec<_> =
        sources.iter().flat_map(|source| paths::dead(&root, &folders, source)).collect();
    none(&dead);
}

#[test]
fn the_documents_keep_their_measure() {
    for (file, lines_max) in [("ARCHITECTURE.md", 300), ("STYLE.md", 200)] {
        let text = fs::read_to_string(tree::tree_root().join(file)).expect(file);
        assert!(text.lines().count() <= lines_max, "{file} is longer than {lines_max} lines");
    }
}
