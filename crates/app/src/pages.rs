//! The manual and the shells' completions, made of the commands' own help texts.

use std::io::Write;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};
use clap_complete::Shell;
use ottla_tools::{Opt, Takes, Tool, with_common};

use crate::args::Args;

/// The commands that are of our own but have one of Kafka's names, and which of ours they are.
const OTHERS: [(&str, &str); 4] = [
    (
        "kafka-server-start",
        "Start a node: kafka-server-start [-daemon] FILE [--override NAME=VALUE]; see ottla-server(1).",
    ),
    (
        "kafka-server-stop",
        "Stop a node of this machine: kafka-server-stop [--node-id=ID] [--process-role=ROLES] [--all]. Without a name it stops the node that runs; several with data directories of their own only with --all.",
    ),
    (
        "kafka-storage",
        "Prepare data directories (format), show them (info), version-mapping, feature-dependencies, random-uuid; see ottla-format(1).",
    ),
    (
        "kafka-dump-log",
        "Show what is in log, index, snapshot and checkpoint files; see ottla-dump(1).",
    ),
];

/// Writes a page for each command into a folder; how many they are.
///
/// # Errors
/// The folder cannot be written.
pub fn write_man_pages(folder: &Path) -> std::io::Result<usize> {
    std::fs::create_dir_all(folder)?;
    // Not the commit: pages are kept, and stay the same until a command changes.
    let mut all = Args::command().version(env!("CARGO_PKG_VERSION"));
    all.build();
    let mut pages: Vec<(String, Command)> = vec![("ottla".to_owned(), all.clone())];
    for it in all.get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = format!("ottla-{}", it.get_name());
        pages.push((name, it.clone()));
        let is_shown = |it: &&Command| it.get_name() != "help" && !it.is_hide_set();
        for action in it.get_subcommands().filter(is_shown) {
            let name = format!("ottla-{}-{}", it.get_name(), action.get_name());
            pages.push((name, action.clone()));
        }
    }
    pages.extend(
        ottla_tools::all_tools().into_iter().map(|it| (it.name.to_owned(), tool_command(it))),
    );
    pages.extend(OTHERS.map(|(name, about)| (name.to_owned(), Command::new(name).about(about))));
    for (name, command) in &pages {
        let mut text = Vec::new();
        clap_mangen::Man::new(command.clone()).title(name.clone()).render(&mut text)?;
        std::fs::write(folder.join(format!("{name}.1")), text)?;
    }
    Ok(pages.len())
}

/// The manual page of one of Kafka's tools: its options.
fn tool_command(tool: &Tool) -> Command {
    let arg = |option: &Opt| {
        let arg = Arg::new(option.name).long(option.name).help(option.help);
        match option.takes {
            Takes::Nothing => arg.action(ArgAction::SetTrue),
            Takes::Value(shown) => arg.value_name(shown),
            Takes::Values(shown) => arg.value_name(shown).action(ArgAction::Append),
            Takes::Maybe(shown) => arg.value_name(shown).num_args(0..=1),
            Takes::Many(shown) => arg.value_name(shown).num_args(1..),
        }
    };
    Command::new(tool.name)
        .about(tool.about)
        .disable_help_flag(true)
        .args(with_common(tool.options).map(arg))
}

/// Writes what lets a shell complete our commands.
pub fn write_completions(shell: Shell, out: &mut dyn Write) {
    clap_complete::generate(shell, &mut Args::command(), "ottla", out);
}

/// Lays the manual and the completions where a prefix such as `/usr/local` has them.
///
/// # Errors
/// The folder cannot be written.
pub fn install_pages(prefix: &Path) -> std::io::Result<()> {
    write_man_pages(&prefix.join("share/man/man1"))?;
    let places = [
        (Shell::Bash, "bash-completion/completions/ottla"),
        (Shell::Zsh, "zsh/site-functions/_ottla"),
        (Shell::Fish, "fish/vendor_completions.d/ottla.fish"),
    ];
    for (shell, place) in places {
        let file = prefix.join("share").join(place);
        std::fs::create_dir_all(file.parent().unwrap_or(prefix))?;
        let mut text = Vec::new();
        write_completions(shell, &mut text);
        std::fs::write(file, text)?;
    }
    Ok(())
}
