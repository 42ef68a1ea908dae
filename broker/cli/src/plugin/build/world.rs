//! The world of one project, for compilers that import everything that a world has: just what the stage is granted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::project::Project;
use super::super::sdk;

/// The name of the world that compilers are given.
pub(super) const WORLD: &str = "component";

/// Writes a WIT package with the project's world, and the contract that it depends on; where it is.
pub(super) fn write(project: &Project) -> anyhow::Result<PathBuf> {
    let contract = project.contract()?;
    let to = project.work().join("wit");
    let dependency = to.join("deps").join("hilum-plugin");
    if dependency.exists() {
        fs::remove_dir_all(&dependency).with_context(|| dependency.display().to_string())?;
    }
    fs::create_dir_all(&dependency).with_context(|| format!("cannot make {}", dependency.display()))?;
    for entry in fs::read_dir(&contract).with_context(|| contract.display().to_string())? {
        let file = entry?.path();
        if let (true, Some(name)) = (file.extension().is_some_and(|of| of == "wit"), file.file_name()) {
            fs::copy(&file, dependency.join(name)).with_context(|| file.display().to_string())?;
        }
    }
    let text = text(&version(&contract)?, project.world.interface(), &project.stage.interfaces()?);
    let file = to.join("world.wit");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    absolute(&to)
}

/// The absolute path of what exists.
pub(super) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| path.display().to_string())
}

/// Which version of the contract is in a directory: a world names it exactly.
pub(super) fn version(contract: &Path) -> anyhow::Result<String> {
    let file = contract.join("types.wit");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let version = sdk::contract_version(&text);
    version.map(str::to_owned).with_context(|| format!("{} names no version of hilum:plugin", file.display()))
}

fn text(version: &str, exported: &str, imported: &[String]) -> String {
    let imports = imported.iter().map(|name| format!("    import hilum:plugin/{name}@{version};\n"));
    format!(
        "package local:project;\n\nworld {WORLD} {{\n{}    export hilum:plugin/plugin@{version};\n    \
         export hilum:plugin/{exported}@{version};\n}}\n",
        imports.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_has_what_was_granted_and_nothing_else() {
        let text = text("1.0.0", "authorizer", &["keys".into(), "log".into()]);
        assert!(
            text.contains("import hilum:plugin/keys@1.0.0;\n    import hilum:plugin/log@1.0.0;\n"),
            "{text}"
        );
        assert!(text.contains("export hilum:plugin/authorizer@1.0.0;") && !text.contains("state"), "{text}");
    }
}
