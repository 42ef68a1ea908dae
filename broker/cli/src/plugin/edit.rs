//! Edits of a hospital's files that leave everything else in them as it is, and that can be taken back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hilum_core::Digest;
use hilum_sandbox::package::Package;
use hilum_server::config::Directory;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value, value};

use crate::output::Failure;

/// The folder for components.
const PLUGINS_FOLDER: &str = "plugins";
/// Digits of its digest that a component's file is named after.
const DIGITS: usize = 12;

/// The files of a hospital, as they are and as they shall be.
pub(super) struct Edits {
    directory: PathBuf,
    /// By path within the directory.
    documents: BTreeMap<PathBuf, DocumentMut>,
    /// As they were found; none where there was none.
    before: BTreeMap<PathBuf, Option<Vec<u8>>>,
    components: BTreeMap<PathBuf, Vec<u8>>,
    /// Of packages that are put there.
    folders: Vec<PathBuf>,
    /// Files that nothing needs when the edits are in effect.
    unneeded: Vec<PathBuf>,
}

/// Another version of a plugin.
pub(super) enum Version {
    /// A component that nobody signed.
    Component(Vec<u8>),
    /// A package.
    Package(Box<Package>),
}

/// A plugin that is tried: where it is tried, and what it is called.
pub(super) struct Tried {
    pub(super) candidate: String,
}

impl Edits {
    /// Reads the files.
    pub(super) fn open(directory: &Path) -> anyhow::Result<Self> {
        let mut edits = Self {
            directory: directory.to_owned(),
            documents: BTreeMap::new(),
            before: BTreeMap::new(),
            components: BTreeMap::new(),
            folders: Vec::new(),
            unneeded: Vec::new(),
        };
        edits.read(Directory::MAIN_FILE.into())?;
        let flows = directory.join(Directory::FLOWS_FOLDER);
        let entries =
            std::fs::read_dir(&flows).with_context(|| format!("cannot read {}", flows.display()))?;
        for entry in entries {
            let name = entry?.file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "toml") {
                edits.read(Path::new(Directory::FLOWS_FOLDER).join(name))?;
            }
        }
        Ok(edits)
    }

    fn read(&mut self, file: PathBuf) -> anyhow::Result<()> {
        let path = self.directory.join(&file);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let document = text.parse().with_context(|| format!("{} is not TOML", path.display()))?;
        self.before.insert(file.clone(), Some(text.into_bytes()));
        self.documents.insert(file, document);
        Ok(())
    }

    /// Lets `name` be this version, which is put beside what is there.
    pub(super) fn upgrade(&mut self, name: &str, version: Version) -> anyhow::Result<()> {
        let (file, digest) = self.put(name, version);
        let plugin = self.plugin(name)?;
        set(plugin, "path", file.into());
        set(plugin, "sha256", digest.into());
        Ok(())
    }

    /// Lets this version be tried wherever `name` is used, and on this stage of this flow alone where they are named.
    pub(super) fn canary(
        &mut self,
        name: &str,
        version: Version,
        trial: &Trial,
        only: &Only,
    ) -> anyhow::Result<()> {
        let candidate = format!("{name}-next");
        if self.plugins()?.contains_key(&candidate) {
            let what = format!("`{candidate}` is there already: something is being tried");
            let help = format!(
                "end that first: `hilum plugin promote DIR {name}` or `hilum plugin rollback DIR {name}`"
            );
            return Err(Failure::new(what, help).into());
        }
        let entry = as_table(self.plugin(name)?);
        let (file, digest) = self.put(name, version);
        self.plugins()?.insert(&candidate, Item::Table(entry));
        let plugin = self.plugin(&candidate)?;
        set(plugin, "path", file.into());
        set(plugin, "sha256", digest.into());
        let mut stages = 0;
        self.each_stage(|flow, stage| {
            if text(stage, "plugin") == Some(name) && only.means(flow, text(stage, "stage")) {
                let mut canary = toml_edit::InlineTable::new();
                canary.insert("plugin", candidate.as_str().into());
                canary.insert("share", trial.share.into());
                canary.insert("max_error_rate", trial.error_rate_max.into());
                canary.insert("min_records", trial.records_min.into());
                stage.insert("canary", value(canary));
                stages += 1;
            }
        });
        if stages == 0 {
            let help = "name a plugin that a stage of flows/ uses, or upgrade it: nothing would be tried";
            return Err(Failure::new(format!("no such stage uses plugin `{name}`"), help).into());
        }
        Ok(())
    }

    /// What is tried in the place of `name`.
    pub(super) fn tried(&mut self, name: &str) -> anyhow::Result<Tried> {
        let mut candidates = Vec::new();
        self.each_stage(|_, stage| {
            let canary = stage.get("canary").and_then(Item::as_table_like);
            if let (Some(plugin), Some(canary)) = (text(stage, "plugin"), canary)
                && plugin == name
                && let Some(candidate) = text(canary, "plugin")
            {
                candidates.push(candidate.to_owned());
            }
        });
        candidates.sort();
        candidates.dedup();
        match candidates.as_slice() {
            [candidate] => Ok(Tried { candidate: candidate.clone() }),
            [] => {
                let help = format!("try something: `hilum plugin canary DIR {name} --to FILE --share 10%`");
                Err(Failure::new(format!("nothing is tried in the place of plugin `{name}`"), help).into())
            }
            several => {
                let what =
                    format!("several plugins are tried in the place of `{name}`: {}", several.join(", "));
                Err(Failure::new(what, "edit `canary` in flows/ and run `hilum reload`").into())
            }
        }
    }

    /// What was tried takes the place of `name`.
    pub(super) fn promote(&mut self, name: &str) -> anyhow::Result<()> {
        let Tried { candidate } = self.tried(name)?;
        let entry = as_table(self.plugin(&candidate)?);
        let plugin = self.plugin(name)?;
        plugin.remove("sha256");
        for (key, item) in entry.iter() {
            if let Some(new) = item.as_value() {
                set(plugin, key, new.clone().decorated(" ", ""));
            }
        }
        self.each_stage(|_, stage| {
            let Some(canary) = ended(stage, name) else { return };
            if let Some(config) = canary.as_table_like().and_then(|canary| canary.get("config")) {
                stage.insert("config", config.clone());
            }
        });
        self.remove_unused(&candidate, false)
    }

    /// What was tried goes.
    pub(super) fn roll_back(&mut self, name: &str) -> anyhow::Result<()> {
        let Tried { candidate } = self.tried(name)?;
        self.each_stage(|_, stage| drop(ended(stage, name)));
        self.remove_unused(&candidate, true)
    }

    /// Takes a plugin out that no stage uses.
    pub(super) fn retire(&mut self, name: &str) -> anyhow::Result<()> {
        self.plugin(name)?;
        let users = self.users(name);
        if !users.is_empty() {
            let what = format!("plugin `{name}` is used by {}", users.join(", "));
            return Err(
                Failure::new(what, "let these stages use another plugin, or remove them, first").into()
            );
        }
        self.remove_unused(name, true)
    }

    fn users(&mut self, name: &str) -> Vec<String> {
        let mut users = Vec::new();
        self.each_stage(|flow, stage| {
            let canary = stage.get("canary").and_then(Item::as_table_like);
            let tried = canary.and_then(|canary| text(canary, "plugin"));
            if [text(stage, "plugin"), tried].contains(&Some(name)) {
                users.push(format!("stage `{}` of flow `{flow}`", text(stage, "stage").unwrap_or_default()));
            }
        });
        users
    }

    /// Takes an entry out that no stage uses; its file too where `with_file` says so and nobody else names it.
    fn remove_unused(&mut self, name: &str, with_file: bool) -> anyhow::Result<()> {
        if !self.users(name).is_empty() {
            return Ok(());
        }
        let file = text(self.plugin(name)?, "path").map(str::to_owned);
        let plugins = self.plugins()?;
        plugins.remove(name);
        let is_named = |(_, plugin): (&str, &Item)| {
            plugin.as_table_like().and_then(|plugin| text(plugin, "path")) == file.as_deref()
        };
        let is_needed = plugins.iter().any(is_named);
        if let (true, false, Some(file)) = (with_file, is_needed, file) {
            self.unneeded.push(file.into());
        }
        Ok(())
    }

    /// Writes everything. Where that fails, it is taken back. What was taken back may be written again.
    pub(super) fn write(&mut self) -> anyhow::Result<()> {
        let components = self.components.iter().map(|(file, octets)| (file.clone(), octets.clone()));
        let texts =
            self.documents.iter().map(|(file, document)| (file.clone(), document.to_string().into_bytes()));
        let all: Vec<(PathBuf, Vec<u8>)> = components.chain(texts).collect();
        for (file, octets) in all {
            let path = self.directory.join(&file);
            let found = self.before.entry(file).or_insert_with(|| std::fs::read(&path).ok());
            if found.as_deref() == Some(&octets) {
                continue;
            }
            if let Err(error) = replace(&path, &octets) {
                self.restore();
                return Err(error).with_context(|| format!("cannot write {}", path.display()));
            }
        }
        Ok(())
    }

    /// Puts everything back as it was found.
    pub(super) fn restore(&self) {
        for (file, before) in &self.before {
            let path = self.directory.join(file);
            let is_same = || std::fs::read(&path).ok() == *before;
            let restored = match before {
                _ if is_same() => Ok(()),
                Some(octets) => replace(&path, octets),
                None => std::fs::remove_file(&path),
            };
            if let Err(error) = restored {
                tracing::error!(path = %path.display(), %error, "a file could not be put back as it was");
            }
        }
        for folder in &self.folders {
            // One that was there before has more in it, and stays.
            let _ = std::fs::remove_dir(self.directory.join(folder).join(Package::SIGNATURES));
            let _ = std::fs::remove_dir(self.directory.join(folder));
        }
    }

    /// Deletes what nothing needs any more.
    pub(super) fn tidy(&self) -> anyhow::Result<()> {
        for file in &self.unneeded {
            let path = self.directory.join(file);
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot delete {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Plans to put a version into the folder: its path there and its digest.
    fn put(&mut self, name: &str, version: Version) -> (String, String) {
        let package = match version {
            Version::Component(component) => {
                let digest = Digest::of(&component).to_string();
                let file = format!("{PLUGINS_FOLDER}/{name}-{}.wasm", &digest[..DIGITS]);
                self.components.insert(file.clone().into(), component);
                return (file, digest);
            }
            Version::Package(package) => package,
        };
        let digest = package.digest().to_string();
        let folder = format!("{PLUGINS_FOLDER}/{name}-{}", &digest[..DIGITS]);
        let parts = package.parts();
        let files = [
            (Package::MANIFEST.to_owned(), &parts.manifest),
            (Package::COMPONENT.to_owned(), &parts.component),
            (Package::SBOM.to_owned(), &parts.sbom),
        ];
        let signatures =
            parts.signatures.iter().map(|(file, octets)| (format!("{}/{file}", Package::SIGNATURES), octets));
        for (file, octets) in files.into_iter().chain(signatures) {
            self.components.insert(Path::new(&folder).join(file), octets.clone());
        }
        self.folders.push(folder.clone().into());
        (folder, digest)
    }

    fn plugins(&mut self) -> anyhow::Result<&mut dyn TableLike> {
        let main = self.documents.get_mut(Path::new(Directory::MAIN_FILE));
        let plugins = main.and_then(|main| main.get_mut("plugins")).and_then(Item::as_table_like_mut);
        plugins.context("hilum.toml has no [plugins]")
    }

    fn plugin(&mut self, name: &str) -> anyhow::Result<&mut dyn TableLike> {
        let plugins = self.plugins()?;
        let names = plugins.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>().join(", ");
        plugins.get_mut(name).and_then(Item::as_table_like_mut).ok_or_else(|| {
            let what = format!("hilum.toml has no plugin `{name}`");
            Failure::new(what, format!("name one of {names}")).into()
        })
    }

    /// Every stage, with the name of its flow.
    fn each_stage(&mut self, mut each: impl FnMut(&str, &mut dyn TableLike)) {
        for (file, document) in &mut self.documents {
            if *file == Path::new(Directory::MAIN_FILE) {
                continue;
            }
            let flow = text(document.as_table(), "name").unwrap_or_default().to_owned();
            let table = document.as_table_mut();
            tables(table, "ingress").into_iter().for_each(|stage| each(&flow, stage));
            for subscription in tables(table, "subscription") {
                tables(subscription, "egress").into_iter().for_each(|stage| each(&flow, stage));
            }
        }
    }
}

/// How something is tried.
pub(super) struct Trial {
    pub(super) share: f64,
    pub(super) error_rate_max: f64,
    pub(super) records_min: i64,
}

/// Where something is tried; everywhere where nothing is said.
pub(super) struct Only {
    pub(super) flow: Option<String>,
    pub(super) stage: Option<String>,
}

impl Only {
    fn means(&self, flow: &str, stage: Option<&str>) -> bool {
        self.flow.as_deref().is_none_or(|only| only == flow)
            && self.stage.as_deref().is_none_or(|only| Some(only) == stage)
    }
}

/// Takes the trial out of a stage that runs `name`, if it has one.
fn ended(stage: &mut dyn TableLike, name: &str) -> Option<Item> {
    if text(stage, "plugin") != Some(name) {
        return None;
    }
    stage.remove("canary")
}

fn text<'t>(table: &'t (impl TableLike + ?Sized), key: &str) -> Option<&'t str> {
    table.get(key).and_then(Item::as_str)
}

/// Sets a value and keeps the remarks around the old one.
fn set(table: &mut dyn TableLike, key: &str, mut new: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => drop(table.insert(key, Item::Value(new))),
    }
}

/// A table of its own with the same values.
fn as_table(of: &mut dyn TableLike) -> Table {
    let mut table = Table::new();
    for (key, item) in of.iter() {
        table.insert(key, item.clone());
    }
    table
}

/// The tables of an array, however it is written.
fn tables<'t>(of: &'t mut dyn TableLike, key: &str) -> Vec<&'t mut dyn TableLike> {
    match of.get_mut(key) {
        Some(Item::ArrayOfTables(array)) => {
            array.iter_mut().map(|table| table as &mut dyn TableLike).collect()
        }
        Some(Item::Value(Value::Array(array))) => {
            let tables = array.iter_mut().filter_map(Value::as_inline_table_mut);
            tables.map(|table| table as &mut dyn TableLike).collect()
        }
        _ => Vec::new(),
    }
}

/// Whoever reads meanwhile finds the old file or the new one.
fn replace(path: &Path, octets: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, octets)?;
    if let Ok(metadata) = path.metadata() {
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = r#"# The hospital.
[plugins.clean] # comes with Hilum
path = "plugins/clean.wasm" # the component

[plugins.spare]
path = "plugins/spare.wasm"
"#;
    const FLOW: &str = r#"name = "imaging"

[[ingress]]
stage = "clean" # takes names away
plugin = "clean"
config = { key = "research" }

[[subscription]]
name = "reading"

[[subscription.egress]]
stage = "again"
plugin = "clean"
"#;

    fn hospital() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in [("hilum.toml", MAIN), ("flows/imaging.toml", FLOW), ("plugins/spare.wasm", "x")]
        {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    fn read(directory: &tempfile::TempDir, file: &str) -> String {
        std::fs::read_to_string(directory.path().join(file)).unwrap()
    }

    /// Edits, and gives what the two files are then.
    fn edited(directory: &tempfile::TempDir, edit: impl FnOnce(&mut Edits)) -> (String, String) {
        let mut edits = Edits::open(directory.path()).unwrap();
        edit(&mut edits);
        edits.write().unwrap();
        edits.tidy().unwrap();
        (read(directory, "hilum.toml"), read(directory, "flows/imaging.toml"))
    }

    fn bare(component: &[u8]) -> Version {
        Version::Component(component.to_vec())
    }

    fn trial() -> Trial {
        Trial { share: 0.1, error_rate_max: 0.01, records_min: 200 }
    }

    fn everywhere() -> Only {
        Only { flow: None, stage: None }
    }

    #[test]
    fn an_upgrade_keeps_remarks_and_the_old_component() {
        let directory = hospital();
        let (main, flow) = edited(&directory, |edits| edits.upgrade("clean", bare(b"new")).unwrap());
        let digest = Digest::of(b"new").to_string();
        let line =
            format!("path = \"plugins/clean-{}.wasm\" # the component\nsha256 = \"{digest}\"", &digest[..12]);
        assert!(
            main.contains(&line) && main.starts_with("# The hospital.\n[plugins.clean] # comes"),
            "{main}"
        );
        assert_eq!(flow, FLOW);
        assert_eq!(read(&directory, &format!("plugins/clean-{}.wasm", &digest[..12])), "new");
    }

    #[test]
    fn what_is_tried_is_promoted_or_rolled_back() {
        let directory = hospital();
        let (main, flow) = edited(&directory, |edits| {
            edits.canary("clean", bare(b"new"), &trial(), &everywhere()).unwrap();
        });
        assert!(main.contains("[plugins.clean-next]"), "{main}");
        let canary =
            r#"canary = { plugin = "clean-next", share = 0.1, max_error_rate = 0.01, min_records = 200 }"#;
        assert_eq!(flow.matches(canary).count(), 2, "{flow}");
        let again =
            Edits::open(directory.path()).unwrap().canary("clean", bare(b"x"), &trial(), &everywhere());
        assert!(again.unwrap_err().to_string().contains("something is being tried"));
        let tried = read(&directory, "hilum.toml");

        let (main, flow) = edited(&directory, |edits| edits.roll_back("clean").unwrap());
        assert_eq!((main.trim_end(), flow.as_str()), (MAIN.trim_end(), FLOW));
        let component = format!("plugins/clean-{}.wasm", &Digest::of(b"new").to_string()[..12]);
        assert!(!directory.path().join(&component).exists());

        edited(&directory, |edits| edits.canary("clean", bare(b"new"), &trial(), &everywhere()).unwrap());
        assert_eq!(read(&directory, "hilum.toml"), tried);
        let (main, flow) = edited(&directory, |edits| edits.promote("clean").unwrap());
        assert!(main.contains(&component) && !main.contains("clean-next"), "{main}");
        assert_eq!(flow, FLOW);
        assert!(directory.path().join(&component).exists());
    }

    #[test]
    fn a_trial_may_be_of_one_stage_and_its_own_configuration_stays() {
        let directory = hospital();
        let only = Only { flow: Some("imaging".into()), stage: Some("clean".into()) };
        let (_, flow) =
            edited(&directory, |edits| edits.canary("clean", bare(b"new"), &trial(), &only).unwrap());
        assert_eq!(flow.matches("canary").count(), 1, "{flow}");
        let with = flow.replace("min_records = 200", "min_records = 200, config = { key = \"other\" }");
        std::fs::write(directory.path().join("flows/imaging.toml"), with).unwrap();
        let (_, flow) = edited(&directory, |edits| edits.promote("clean").unwrap());
        assert!(flow.contains("key = \"other\"") && !flow.contains("research"), "{flow}");
        let nowhere = Only { flow: Some("billing".into()), stage: None };
        let mut edits = Edits::open(directory.path()).unwrap();
        let error = edits.canary("clean", bare(b"new"), &trial(), &nowhere).unwrap_err();
        assert!(error.to_string().contains("no such stage"), "{error}");
    }

    #[test]
    fn only_what_no_stage_uses_is_retired() {
        let directory = hospital();
        let error = Edits::open(directory.path()).unwrap().retire("clean").unwrap_err();
        assert!(error.to_string().contains("stage `clean` of flow `imaging`"), "{error}");
        let (main, _) = edited(&directory, |edits| edits.retire("spare").unwrap());
        assert!(!main.contains("spare") && !directory.path().join("plugins/spare.wasm").exists());
        assert!(Edits::open(directory.path()).unwrap().retire("spare").is_err());
    }

    #[test]
    fn what_was_written_is_taken_back() {
        let directory = hospital();
        let mut edits = Edits::open(directory.path()).unwrap();
        edits.canary("clean", bare(b"new"), &trial(), &everywhere()).unwrap();
        edits.write().unwrap();
        assert_ne!(read(&directory, "hilum.toml"), MAIN);
        edits.restore();
        assert_eq!(
            (read(&directory, "hilum.toml"), read(&directory, "flows/imaging.toml")),
            (MAIN.into(), FLOW.into())
        );
        assert_eq!(std::fs::read_dir(directory.path().join("plugins")).unwrap().count(), 1);
        // And written once more, where it took effect after all.
        edits.write().unwrap();
        assert!(read(&directory, "hilum.toml").contains("clean-next"));
        assert_eq!(std::fs::read_dir(directory.path().join("plugins")).unwrap().count(), 2);
    }

    #[test]
    fn a_package_is_put_there_whole_and_taken_back_whole() {
        let other = tempfile::tempdir().unwrap();
        let packed = crate::bundled::PACKED;
        hilum_server::provision::init(other.path(), None, packed, std::time::SystemTime::now()).unwrap();
        let package = hilum_server::package::read(&other.path().join("plugins/encrypt")).unwrap();
        let directory = hospital();
        let mut edits = Edits::open(directory.path()).unwrap();
        edits.upgrade("clean", Version::Package(Box::new(package.clone()))).unwrap();
        edits.write().unwrap();
        let digest = package.digest().to_string();
        let folder = format!("plugins/clean-{}", &digest[..12]);
        let main = read(&directory, "hilum.toml");
        assert!(main.contains(&folder) && main.contains(&digest), "{main}");
        let found = hilum_server::package::read(&directory.path().join(&folder)).unwrap();
        assert_eq!(found.parts().signatures, package.parts().signatures);
        assert_eq!(found.digest(), package.digest());
        edits.restore();
        assert!(!directory.path().join(&folder).exists());
        assert_eq!(read(&directory, "hilum.toml"), MAIN);
    }
}
