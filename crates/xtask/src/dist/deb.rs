//! The Debian package: program, settings, unit, manual and completions.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{DistResult, DistStage, install_file, run_command};

/// Makes the package; returns its file.
pub fn package(stage: &DistStage, binary: &Path) -> DistResult<PathBuf> {
    let tree = stage.out.join("deb");
    let packaging = stage.root.join("packaging");
    install_file(binary, &tree.join("usr/bin/ottla"), 0o755)?;
    for (from, to) in [
        ("ottla.service", "usr/lib/systemd/system/ottla.service"),
        ("server.properties", "etc/ottla/server.properties"),
        ("default", "etc/default/ottla"),
    ] {
        install_file(&packaging.join(from), &tree.join(to), 0o644)?;
    }
    install_file(&stage.root.join("LICENSE"), &tree.join("usr/share/doc/ottla/copyright"), 0o644)?;
    let log = tree.join("usr/share/doc/ottla/changelog");
    install_file(&stage.root.join("CHANGELOG.md"), &log, 0o644)?;
    pages(stage, &tree)?;
    names(stage, &tree)?;
    control(stage, &tree, &packaging)?;
    let file = stage.out.join(format!("ottla_{}_amd64.deb", stage.version));
    let mut command = Command::new("dpkg-deb");
    // Every Debian of today reads xz.
    command.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree).arg(&file);
    command.env("SOURCE_DATE_EPOCH", &stage.epoch).stdout(std::process::Stdio::null());
    run_command(&mut command)?;
    fs::remove_dir_all(&tree)?;
    Ok(file)
}

/// The manual, compressed as Debian wants it, and the completions.
fn pages(stage: &DistStage, tree: &Path) -> DistResult<()> {
    let share = tree.join("usr/share");
    fs::create_dir_all(share.join("man/man1"))?;
    for entry in fs::read_dir(stage.root.join("docs/man"))? {
        let page = entry?.path();
        let to = share.join("man/man1").join(page.file_name().ok_or("no name")?);
        install_file(&page, &to, 0o644)?;
        run_command(Command::new("gzip").args(["-9n"]).arg(&to))?;
    }
    run_command(Command::new("gzip").args(["-9n"]).arg(share.join("doc/ottla/changelog")))?;
    let completions = stage.root.join("docs/completions");
    for (from, to) in [
        ("ottla.bash", "bash-completion/completions/ottla"),
        ("_ottla", "zsh/vendor-completions/_ottla"),
        ("ottla.fish", "fish/vendor_completions.d/ottla.fish"),
    ] {
        install_file(&completions.join(from), &share.join(to), 0o644)?;
    }
    Ok(())
}

/// Kafka's names, apart from the system's own programs: another package may have them.
fn names(stage: &DistStage, tree: &Path) -> DistResult<()> {
    let bin = tree.join("usr/lib/ottla/bin");
    fs::create_dir_all(&bin)?;
    for entry in fs::read_dir(stage.tree.join("bin"))? {
        let path = entry?.path();
        let to = bin.join(path.file_name().ok_or("no name")?);
        if path.is_symlink() || path.ends_with("ottla") {
            symlink("../../../bin/ottla", to)?;
        } else {
            install_file(&path, &to, 0o755)?;
        }
    }
    Ok(())
}

fn control(stage: &DistStage, tree: &Path, packaging: &Path) -> DistResult<()> {
    let folder = tree.join("DEBIAN");
    for name in ["postinst", "prerm", "postrm"] {
        install_file(&packaging.join("debian").join(name), &folder.join(name), 0o755)?;
    }
    fs::write(folder.join("conffiles"), "/etc/ottla/server.properties\n/etc/default/ottla\n")?;
    let text = format!(
        "Package: ottla\nVersion: {}\nArchitecture: amd64\nSection: net\nPriority: optional\n\
         Maintainer: The Ottla developers <ottla@localhost>\n\
         Depends: passwd, util-linux\n\
         Description: Apache Kafka's system in one native binary\n \
         The same wire protocol, the same files on disk, the same tools: a broker and its\n \
         controller without a Java machine.\n",
        stage.version
    );
    Ok(fs::write(folder.join("control"), text)?)
}
