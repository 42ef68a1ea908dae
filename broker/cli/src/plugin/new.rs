//! `hilum plugin new`: a project that builds and whose tests pass at once.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::project::{FILE, Language, World, check_name};
use super::sdk;
use crate::output::{Exit, Failure, print, print_json};

mod template;

/// What `hilum plugin new` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The project needs nothing but this binary and the tools of its language: what the SDK and the contract are is written into its \
folder `vendor`. Nothing that exists is ever written over.

Examples:
  hilum plugin new dose-check --world transform
  hilum plugin new ward-gate --world authorize --lang python
  hilum plugin new dose-check --world observe --sdk ../hilum")]
pub(super) struct Args {
    /// The plugin's name, e.g. dose-check: words of a-z and 0-9, joined by `-`
    name: String,
    /// What kind of plugin it is
    #[arg(long, value_enum)]
    world: World,
    /// What it is written in
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// The project's directory, instead of one with the plugin's name here
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Use the SDK of this copy of Hilum's repository instead of carrying one in `vendor`
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Makes the project.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let root = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let files = make(args, &root)?;
    if args.json {
        print_json(&json!({ "project": root, "files": files }))?;
    } else {
        print(format_args!("made {}: {} files", root.display(), files.len()))?;
        print(format_args!("next: cd {} && hilum plugin test", root.display()))?;
    }
    Ok(Exit::Ok.into())
}

/// Makes the project in a directory that is not there or empty; the files, without those of the SDK.
fn make(args: &Args, root: &Path) -> anyhow::Result<Vec<String>> {
    check_name(&args.name)?;
    let sdk = match &args.sdk {
        None => sdk::VENDOR.to_owned(),
        Some(path) => checked_sdk(path)?,
    };
    claim(root)?;
    if args.sdk.is_none() {
        sdk::write(&root.join(sdk::VENDOR), args.lang == Language::Rust)?;
    }
    let files = template::files(args.lang, args.world);
    let version = sdk::carried_version().context("the contract that is carried names its version")?;
    for (path, text) in &files {
        let world = args.world.name();
        let values = [("name", args.name.as_str()), ("world", world), ("sdk", &sdk), ("contract", version)];
        write_new(&root.join(path), &template::filled(text, &values))?;
    }
    let project = project_file(args, &sdk);
    write_new(&root.join(FILE), &project)?;
    Ok(files.into_iter().map(|(path, _)| path).chain([FILE.to_owned()]).collect())
}

fn project_file(args: &Args, sdk: &str) -> String {
    let (name, world, language) = (&args.name, args.world.name(), args.lang.name());
    let sdk = if sdk == sdk::VENDOR { String::new() } else { format!("sdk = {}\n", toml::Value::from(sdk)) };
    let stage = template::filled(template::stage(args.world), &[("name", name)]);
    format!(
        "# What `hilum plugin build` and `hilum plugin test` need to know.\nname = \"{name}\"\nworld = \"{world}\"\n\
         language = \"{language}\"\n{sdk}\n{stage}"
    )
}

/// The absolute path of a copy of Hilum's repository.
fn checked_sdk(path: &Path) -> anyhow::Result<String> {
    if !path.join("sdk/plugin/Cargo.toml").is_file() || !path.join("wit/v1").is_dir() {
        let what = format!("{} has no sdk/plugin and wit/v1", path.display());
        return Err(Failure::new(what, "name a copy of Hilum's repository, or leave out --sdk").into());
    }
    let path = path.canonicalize().with_context(|| path.display().to_string())?;
    path.into_os_string()
        .into_string()
        .map_err(|_| Failure::new("the path of the SDK is no text", "move it").into())
}

/// Makes the directory, if it is not there or is empty.
fn claim(root: &Path) -> anyhow::Result<()> {
    let occupied = || {
        let what = format!("{} is there already, and not empty", root.display());
        Failure::new(what, "give the plugin another name, or say where it goes with --path DIR")
    };
    match fs::read_dir(root) {
        Ok(mut entries) => anyhow::ensure!(entries.next().is_none(), occupied()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(occupied().into()),
        Err(error) => return Err(error).with_context(|| root.display().to_string()),
    }
    Ok(())
}

fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory).with_context(cannot)?;
    }
    let mut created = fs::File::create_new(file).with_context(cannot)?;
    std::io::Write::write_all(&mut created, text.as_bytes()).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::super::project::Project;
    use super::super::trial::records;
    use super::*;

    fn args(world: World, lang: Language) -> Args {
        Args { name: "dose-check".into(), world, lang, path: None, sdk: None, json: false }
    }

    #[test]
    fn every_language_and_world_makes_a_project_that_reads_back() {
        for world in World::value_variants() {
            for lang in Language::value_variants() {
                let root = tempfile::tempdir().unwrap();
                let root = root.path().join("project");
                let files = make(&args(*world, *lang), &root).unwrap();
                let project = Project::read(&root).unwrap();
                assert_eq!((project.world, project.language), (*world, *lang));
                assert!(project.contract().unwrap().join("types.wit").is_file());
                let found = records::read(&root.join("records")).unwrap();
                assert!(found.len() >= 2 && found.iter().all(|record| record.expected.is_some()));
                for file in files {
                    let text = fs::read_to_string(root.join(&file)).unwrap();
                    let left = ["{{name}}", "{{world}}", "{{sdk}}", "{{contract}}"]
                        .iter()
                        .find(|of| text.contains(**of));
                    assert_eq!(left, None, "{file}: {text}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.txt"), "years of work").unwrap();
        let error = make(&args(World::Transform, Language::Rust), root.path()).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        let error =
            make(&args(World::Transform, Language::Rust), &root.path().join("thesis.txt")).unwrap_err();
        assert!(error.downcast_ref::<Failure>().is_some(), "{error}");
    }

    #[test]
    fn an_sdk_that_is_none_is_refused_before_anything_is_made() {
        let root = tempfile::tempdir().unwrap();
        let args = Args { sdk: Some(root.path().into()), ..args(World::Observe, Language::Rust) };
        let error = make(&args, &root.path().join("project")).unwrap_err();
        assert!(error.to_string().contains("sdk/plugin"), "{error}");
        assert!(!root.path().join("project").exists());
    }
}
