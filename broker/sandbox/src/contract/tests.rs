//! The package as `wit/v1` has it, against every version that was published (`wit/frozen`) and against what the host knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use wit_parser::{
    Docs, Function, Handle, Interface, Resolve, Stability, Type, TypeDefKind, World, WorldItem,
};

use super::{EXPORTS, IMPORTS, VERSION, parse};

#[test]
fn interfaces_are_taken_apart() {
    assert_eq!(parse("hilum:plugin/keys@1.2.3"), Some(("keys", (1, 2))));
    assert_eq!(parse("wasi:cli/exit@0.2.6"), None);
    assert_eq!(parse("hilum:plugin/keys"), None);
}

/// Everything of a package, by its path in it (`keys`, `keys/seal`, `world observe/import state`): what it is exactly, and since when.
struct Package {
    version: (u64, u64),
    items: BTreeMap<String, Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    shape: String,
    since: Option<(u64, u64)>,
    documented: bool,
}

fn wit(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit").join(directory)
}

impl Package {
    fn read(directory: &Path) -> Self {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(directory).unwrap();
        let version = resolve.packages[package].name.version.as_ref().unwrap();
        let mut read = Self { version: (version.major, version.minor), items: BTreeMap::new() };
        for (name, id) in &resolve.packages[package].interfaces {
            read.interface(&resolve, name, &resolve.interfaces[*id]);
        }
        for (name, id) in &resolve.packages[package].worlds {
            read.world(&resolve, name, &resolve.worlds[*id]);
        }
        read
    }

    fn add(&mut self, path: String, shape: String, since: &Stability, docs: &Docs) {
        let since = match since {
            Stability::Stable { since, .. } => Some((since.major, since.minor)),
            Stability::Unknown | Stability::Unstable { .. } => None,
        };
        self.items.insert(path, Item { shape, since, documented: docs.contents.is_some() });
    }

    fn interface(&mut self, resolve: &Resolve, name: &str, of: &Interface) {
        self.add(name.to_owned(), "interface".into(), &of.stability, &of.docs);
        for (ty, id) in &of.types {
            let definition = &resolve.types[*id];
            let taken = matches!(definition.kind, TypeDefKind::Type(Type::Id(_)));
            let (shape, undocumented) = kind(resolve, &definition.kind);
            self.add(format!("{name}/{ty}"), shape, &definition.stability, &definition.docs);
            let item = self.items.get_mut(&format!("{name}/{ty}")).unwrap();
            // What `use` brings is documented where it comes from.
            item.documented = taken || (item.documented && undocumented.is_empty());
        }
        for (function, of) in &of.functions {
            self.add(format!("{name}/{function}"), signature(resolve, of), &of.stability, &of.docs);
        }
    }

    fn world(&mut self, resolve: &Resolve, name: &str, of: &World) {
        self.add(format!("world {name}"), "world".into(), &of.stability, &of.docs);
        for (does, items) in [("import", &of.imports), ("export", &of.exports)] {
            for item in items.values() {
                let WorldItem::Interface { id, stability, .. } = item else {
                    panic!("{name} has a function or type")
                };
                let interface = resolve.interfaces[*id].name.as_deref().unwrap();
                let documented = Docs { contents: Some(String::new()) };
                self.add(format!("world {name}/{does} {interface}"), does.into(), stability, &documented);
            }
        }
    }

    /// What of an earlier version is not as it was, or is new and does not say since when.
    fn breaks(&self, earlier: &Self) -> Vec<String> {
        let mut breaks = Vec::new();
        for (path, was) in &earlier.items {
            match self.items.get(path) {
                None => breaks.push(format!("`{path}` is gone")),
                Some(is) if is.shape != was.shape => {
                    breaks.push(format!("`{path}` was {} and is {}", was.shape, is.shape));
                }
                Some(_) => {}
            }
        }
        for (path, is) in &self.items {
            let is_new = !earlier.items.contains_key(path);
            if is_new && is.since.is_none_or(|since| since <= earlier.version || since > self.version) {
                breaks.push(format!("`{path}` is new and says `{:?}`", is.since));
            }
            // What a plugin exports does not grow: an older plugin lacks it.
            let of_exported = EXPORTS.iter().any(|(name, _)| path.starts_with(&format!("{name}/")));
            if is_new
                && (of_exported || path.contains("/export "))
                && earlier.items.contains_key(parent(path))
            {
                breaks.push(format!("`{path}` has to be exported by plugins that do not know it"));
            }
        }
        breaks
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(parent, _)| parent)
}

fn signature(resolve: &Resolve, of: &Function) -> String {
    let params: Vec<String> =
        of.params.iter().map(|param| format!("{}: {}", param.name, shape(resolve, &param.ty))).collect();
    let result =
        of.result.as_ref().map_or_else(String::new, |result| format!(" -> {}", shape(resolve, result)));
    format!("func({}){result}", params.join(", "))
}

/// A type where it is used: by its name where it has one.
fn shape(resolve: &Resolve, of: &Type) -> String {
    let Type::Id(id) = of else { return format!("{of:?}").to_lowercase() };
    let definition = &resolve.types[*id];
    definition.name.clone().unwrap_or_else(|| kind(resolve, &definition.kind).0)
}

/// What a type is, and which of its parts have no documentation.
fn kind(resolve: &Resolve, of: &TypeDefKind) -> (String, Vec<String>) {
    let one = |ty: &Type| shape(resolve, ty);
    let maybe = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), one);
    let mut undocumented = Vec::new();
    let mut part = |name: &str, docs: &Docs, text: String| {
        if docs.contents.is_none() {
            undocumented.push(name.to_owned());
        }
        text
    };
    let text = match of {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter();
            let fields: Vec<String> = fields
                .map(|field| part(&field.name, &field.docs, format!("{}: {}", field.name, one(&field.ty))))
                .collect();
            format!("record {{ {} }}", fields.join(", "))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter();
            let cases: Vec<String> = cases
                .map(|case| part(&case.name, &case.docs, format!("{}({})", case.name, maybe(&case.ty))))
                .collect();
            format!("variant {{ {} }}", cases.join(", "))
        }
        TypeDefKind::Enum(cases) => {
            let cases = cases.cases.iter();
            let cases: Vec<String> =
                cases.map(|case| part(&case.name, &case.docs, case.name.clone())).collect();
            format!("enum {{ {} }}", cases.join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id)) => format!("own {}", one(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow {}", one(&Type::Id(*id))),
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Option(ty) => format!("option<{}>", one(ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err)),
        TypeDefKind::List(ty) => format!("list<{}>", one(ty)),
        TypeDefKind::Type(ty) => format!("type {}", one(ty)),
        TypeDefKind::Resource => "resource".to_owned(),
        other => panic!("the package has a {}, which this test cannot compare yet", other.as_str()),
    };
    (text, undocumented)
}

fn frozen() -> Vec<Package> {
    let directories = fs::read_dir(wit("frozen")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<Package> = directories.map(|directory| Package::read(&directory)).collect();
    all.sort_by_key(|package| package.version);
    all
}

#[test]
fn within_the_major_version_the_package_only_grows() {
    let (now, frozen) = (Package::read(&wit("v1")), frozen());
    assert_eq!(now.version, VERSION, "the host says which version it has");
    let versions: Vec<_> = frozen.iter().map(|package| package.version).collect();
    let before: Vec<_> = (0..VERSION.1).map(|minor| (VERSION.0, minor)).collect();
    assert_eq!(versions, before, "every minor version before this one is kept as it was published");
    for earlier in &frozen {
        assert_eq!(now.breaks(earlier), Vec::<String>::new(), "against {:?}", earlier.version);
    }
}

/// The comparison finds what it is there to find.
#[test]
fn changes_that_break_are_found() {
    let published = Package::read(&wit("frozen/1.0.0"));
    let with = |file: &str, from: &str, to: &str| {
        let directory = tempfile::tempdir().unwrap();
        for name in ["host.wit", "types.wit", "worlds.wit"] {
            let mut text = fs::read_to_string(wit("v1").join(name)).unwrap();
            if name == file {
                assert_eq!(text.matches(from).count(), 1, "{from}");
                text = text.replace(from, to);
            }
            fs::write(directory.path().join(name), text).unwrap();
        }
        Package::read(directory.path()).breaks(&published).join("\n")
    };
    let since = "@since(version = 1.1.0)";
    let put = "put: func(key: string, value: list<u8>, expected: u64)";
    for (file, from, to, found) in [
        ("host.wit", put, "put: func(key: string, value: list<u8>)", "`state/put` was func"),
        ("host.wit", put, "set: func(key: string, value: list<u8>, expected: u64)", "`state/put` is gone"),
        (
            "host.wit",
            "malformed,\n        /// Anything else, in words that",
            "malformed, expired,\n        /// Anything else, in words that",
            "`keys/key-error` was variant",
        ),
        ("host.wit", "enum level {", "enum level { trace,", "`log/level` was enum"),
        ("types.wit", "zone: string,", "zone: string, ward: string,", "`types/party` was record"),
        (
            "types.wit",
            "type timestamp-ms = u64",
            "type timestamp-ms = s64",
            "`types/timestamp-ms` was type u64",
        ),
        (
            "worlds.wit",
            "    @since(version = 1.0.0)\n    import emit;\n",
            "",
            "`world observe/import emit` is gone",
        ),
        (
            "worlds.wit",
            "tick: func(now: timestamp-ms);",
            &format!("tick: func(now: timestamp-ms); {since} tock: func();"),
            "`observer/tock` has to be exported",
        ),
        (
            "worlds.wit",
            "export observer;",
            &format!("export observer; {since} export transformer;"),
            "`world observe/export transformer` has to be exported",
        ),
        (
            "host.wit",
            &format!("{since}\n    mac:"),
            "@since(version = 1.0.0)\n    mac:",
            "`keys/mac` is new and says `Some((1, 0))`",
        ),
        ("host.wit", &format!("{since}\n    mac:"), "mac:", "`keys/mac` is new and says `None`"),
    ] {
        let breaks = with(file, from, to);
        assert!(breaks.contains(found), "{from}: {breaks}");
    }
}

#[test]
fn everything_says_what_it_is_and_since_when() {
    let now = Package::read(&wit("v1"));
    let lacking = |what: fn(&Item) -> bool| -> Vec<&String> {
        now.items.iter().filter(|(_, item)| !what(item)).map(|(path, _)| path).collect()
    };
    assert_eq!(
        lacking(|item| item.documented),
        Vec::<&String>::new(),
        "not documented, or a part of it is not"
    );
    assert_eq!(lacking(|item| item.since.is_some()), Vec::<&String>::new(), "no `@since`");
}

#[test]
fn the_host_knows_what_the_package_has() {
    let now = Package::read(&wit("v1"));
    let functions = |interface: &str| -> BTreeSet<String> {
        let prefix = format!("{interface}/");
        let functions = now.items.iter().filter(|(_, item)| item.shape.starts_with("func("));
        functions.filter_map(|(path, _)| path.strip_prefix(&prefix).map(str::to_owned)).collect()
    };
    for interface in &IMPORTS {
        let known: BTreeSet<String> = interface.functions.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(known, functions(interface.name), "{}", interface.name);
    }
    let all: BTreeSet<&str> = now
        .items
        .iter()
        .filter(|(_, item)| item.shape == "interface")
        .map(|(path, _)| path.as_str())
        .collect();
    let known = IMPORTS.iter().map(|interface| interface.name).chain(EXPORTS.iter().map(|(name, _)| *name));
    assert_eq!(all, known.collect());
}
