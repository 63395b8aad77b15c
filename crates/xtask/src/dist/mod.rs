//! `cargo xtask dist`: what is given to users. A tarball in Apache Kafka's layout, a Debian
//! package, a folder to build a container image in, a bill of materials, and checksums.

mod container;
mod deb;
mod sbom;

use std::error::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

pub type DistResult<T> = Result<T, Box<dyn Error>>;

/// The kind of machine that is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What is asked for.
#[derive(Debug)]
pub struct Dist {
    /// The program; built if it is not given.
    pub binary: Option<PathBuf>,
    /// Are the packages tried on this machine, too?
    pub check: bool,
}

/// The folders and facts that all parts need.
pub struct DistStage {
    /// The project.
    pub root: PathBuf,
    /// Where everything is put.
    pub out: PathBuf,
    /// The tarball's folder.
    pub tree: PathBuf,
    /// The release.
    pub version: String,
    /// The time that files have: that of the commit.
    pub epoch: String,
}

/// Makes everything; tries it, if that is wanted.
///
/// # Errors
/// A tool fails, a file cannot be written, or a check finds something.
pub fn make_distribution(dist: &Dist) -> DistResult<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let binary = match &dist.binary {
        Some(binary) => binary.canonicalize()?,
        None => build_static_binary(&root)?,
    };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let epoch =
        command_output(Command::new("git").current_dir(&root).args(["log", "-1", "--format=%ct"]))?;
    let out = root.join("target/dist");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let tree = out.join(format!("ottla-{version}"));
    let stage = DistStage { root, out, tree, version, epoch: epoch.trim().to_owned() };
    lay_out(&stage, &binary)?;
    let tarball = stage.out.join(format!("ottla-{}-linux-x86_64.tar.gz", stage.version));
    pack_tarball(&stage, &tarball)?;
    let package = deb::package(&stage, &binary)?;
    let context = container::context(&stage, &binary)?;
    let bill = sbom::write(&stage)?;
    container::lint(&context)?;
    write_checksums(&stage, &[&tarball, &package, &bill])?;
    println!("{}", stage.out.display());
    if dist.check {
        check_distribution(&stage, &tarball, &package, &context)?;
    }
    Ok(())
}

/// A program that needs no library of the system: it runs on any Linux, and in an empty container.
fn build_static_binary(root: &Path) -> DistResult<PathBuf> {
    let target = root.join("target/static");
    let mut command = Command::new("cargo");
    command.args(["build", "--profile", "packaged", "--locked"]);
    command.args(["--package", "ottla-app", "--target", TARGET]);
    command.current_dir(root).env("CARGO_TARGET_DIR", &target);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    run_command(&mut command)?;
    Ok(target.join(TARGET).join("packaged/ottla"))
}

/// Apache Kafka's layout: bin/ with every name, config/, and the manual.
fn lay_out(stage: &DistStage, binary: &Path) -> DistResult<()> {
    let bin = stage.tree.join("bin");
    fs::create_dir_all(&bin)?;
    install_file(binary, &bin.join("ottla"), 0o755)?;
    run_command(Command::new(bin.join("ottla")).arg("install-tools").arg(&stage.tree))?;
    make_relocatable(&bin)?;
    for name in ["LICENSE", "README.md", "CHANGELOG.md"] {
        install_file(&stage.root.join(name), &stage.tree.join(name), 0o644)?;
    }
    let service = stage.tree.join("config/systemd/ottla.service");
    install_file(&stage.root.join("packaging/ottla.service"), &service, 0o644)
}

/// Makes links and scripts find the program beside them, wherever the folder is moved to.
pub fn make_relocatable(bin: &Path) -> DistResult<()> {
    let own = bin.join("ottla");
    let absolute = own.to_string_lossy().into_owned();
    for entry in fs::read_dir(bin)? {
        let path = entry?.path();
        if path.is_symlink() {
            fs::remove_file(&path)?;
            symlink("ottla", &path)?;
        } else if path != own {
            let text = fs::read_to_string(&path)?;
            if text.contains(&absolute) {
                fs::write(&path, text.replace(&absolute, "$(dirname -- \"$0\")/ottla"))?;
            }
        }
    }
    Ok(())
}

fn pack_tarball(stage: &DistStage, tarball: &Path) -> DistResult<()> {
    let name = stage.tree.file_name().ok_or("no name")?;
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]);
    command.arg(format!("--mtime=@{}", stage.epoch)).arg("--use-compress-program=gzip -n");
    command.arg("-cf").arg(tarball).arg("-C").arg(&stage.out).arg(name);
    run_command(&mut command)
}

fn write_checksums(stage: &DistStage, files: &[&Path]) -> DistResult<()> {
    let names = files.iter().filter_map(|path| path.file_name());
    let text = command_output(Command::new("sha256sum").current_dir(&stage.out).args(names))?;
    Ok(fs::write(stage.out.join("SHA256SUMS"), text)?)
}

/// Tries all of it: unpacked, installed, in an empty root.
fn check_distribution(
    stage: &DistStage,
    tarball: &Path,
    package: &Path,
    context: &Path,
) -> DistResult<()> {
    let sums = ["--check", "--quiet", "SHA256SUMS"];
    run_command(Command::new("sha256sum").current_dir(&stage.out).args(sums))?;
    let moved = stage.out.join("check/moved");
    fs::create_dir_all(&moved)?;
    run_command(Command::new("tar").arg("-xzf").arg(tarball).arg("-C").arg(&moved))?;
    let bin = moved.join(stage.tree.file_name().ok_or("no name")?).join("bin");
    fs::rename(&stage.tree, stage.out.join("check/away"))?;
    let tried = try_names(&bin);
    fs::rename(stage.out.join("check/away"), &stage.tree)?;
    println!("tarball: {} names work where it was unpacked", tried?);
    let packaging = stage.root.join("packaging");
    let script = packaging.join("check-package");
    run_command(Command::new("unshare").arg("--mount").arg(script).arg(package))?;
    run_command(Command::new(packaging.join("check-container")).arg(context))?;
    Ok(fs::remove_dir_all(stage.out.join("check"))?)
}

/// Each name of the unpacked folder finds the program.
fn try_names(bin: &Path) -> DistResult<usize> {
    let mut count = 0;
    for name in ["ottla", "kafka-topics", "kafka-topics.sh", "kafka-console-consumer.sh"] {
        let path = bin.join(name);
        let out = Command::new(&path).arg("--help").output()?;
        let text = [out.stdout, out.stderr].concat();
        if text.is_empty() {
            return Err(format!("{} says nothing to --help", path.display()).into());
        }
        count += 1;
    }
    for entry in fs::read_dir(bin)? {
        let path = entry?.path();
        if !path.exists() {
            return Err(format!("{} leads nowhere", path.display()).into());
        }
    }
    Ok(count)
}

/// Copies a file, with the folders above it, and sets its mode.
pub fn install_file(from: &Path, to: &Path, mode: u32) -> DistResult<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).map_err(|error| format!("{}: {error}", from.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

/// Runs a command that must go well.
pub fn run_command(command: &mut Command) -> DistResult<()> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// What a command says, which must go well.
pub fn command_output(command: &mut Command) -> DistResult<String> {
    let out = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr).into_owned();
        return Err(format!("{command:?}: {why}").into());
    }
    Ok(String::from_utf8(out.stdout)?)
}
