//! The files of a new project: what each language needs, and for each world the same plugin in all of them.

use super::super::project::{Language, World};

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $path))
    };
}

/// What is generated or installed is not kept.
const IGNORED: &str = "/.hilum/\n/dist/\n/target/\n__pycache__/\n";
/// Bodies are octets: no line end of theirs may change.
const ATTRIBUTES: &str = "/records/*.body -text\n";

/// Paths and texts, without `hilum-plugin.toml`. Placeholders are not filled in.
pub(super) fn files(language: Language, world: World) -> Vec<(String, &'static str)> {
    let mut files = vec![(".gitignore", IGNORED), (".gitattributes", ATTRIBUTES)];
    files.extend(match language {
        Language::Rust => rust(world),
        Language::Python => python(world),
        Language::Javascript => javascript(world),
    });
    files.extend(records(world));
    files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect()
}

/// The tables `stage` and `test` of `hilum-plugin.toml`.
pub(super) fn stage(world: World) -> &'static str {
    match world {
        World::Transform => template!("records/transform/stage.toml"),
        World::Authorize => template!("records/authorize/stage.toml"),
        World::Observe => template!("records/observe/stage.toml"),
    }
}

/// A text with values in place of `{{name}}` and the like.
pub(super) fn filled(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

type Files = Vec<(&'static str, &'static str)>;

fn rust(world: World) -> Files {
    let source = match world {
        World::Transform => template!("rust/transform.rs"),
        World::Authorize => template!("rust/authorize.rs"),
        World::Observe => template!("rust/observe.rs"),
    };
    vec![
        ("Cargo.toml", template!("rust/Cargo.toml.template")),
        ("README.md", template!("rust/README.md")),
        ("src/lib.rs", source),
    ]
}

fn python(world: World) -> Files {
    let (source, test) = match world {
        World::Transform => (template!("python/transform.py"), template!("python/transform_test.py")),
        World::Authorize => (template!("python/authorize.py"), template!("python/authorize_test.py")),
        World::Observe => (template!("python/observe.py"), template!("python/observe_test.py")),
    };
    vec![
        ("README.md", template!("python/README.md")),
        ("app.py", source),
        ("failures.py", template!("python/failures.py")),
        ("tests/test_app.py", test),
    ]
}

fn javascript(world: World) -> Files {
    let (source, test) = match world {
        World::Transform => (template!("javascript/transform.js"), template!("javascript/transform_test.js")),
        World::Authorize => (template!("javascript/authorize.js"), template!("javascript/authorize_test.js")),
        World::Observe => (template!("javascript/observe.js"), template!("javascript/observe_test.js")),
    };
    let mut files = vec![
        ("README.md", template!("javascript/README.md")),
        ("package.json", template!("javascript/package.json")),
        ("plugin.js", source),
        ("tests/plugin.test.js", test),
    ];
    if world == World::Observe {
        files.push(("watch.js", template!("javascript/observe_watch.js")));
    }
    files
}

fn records(world: World) -> Files {
    match world {
        World::Transform => vec![
            ("records/note.toml", template!("records/transform/note.toml")),
            ("records/note.body", template!("records/transform/note.body")),
            ("records/note.expected.toml", template!("records/transform/note.expected.toml")),
            ("records/empty.toml", template!("records/transform/empty.toml")),
            ("records/empty.body", template!("records/transform/empty.body")),
            ("records/empty.expected.toml", template!("records/transform/empty.expected.toml")),
        ],
        World::Authorize => vec![
            ("records/reading.toml", template!("records/authorize/reading.toml")),
            ("records/reading.body", template!("records/authorize/reading.body")),
            ("records/reading.expected.toml", template!("records/authorize/reading.expected.toml")),
            ("records/note.toml", template!("records/authorize/note.toml")),
            ("records/note.body", template!("records/authorize/note.body")),
            ("records/note.expected.toml", template!("records/authorize/note.expected.toml")),
        ],
        World::Observe => vec![
            ("records/1-small.toml", template!("records/observe/1-small.toml")),
            ("records/1-small.body", template!("records/observe/1-small.body")),
            ("records/1-small.expected.toml", template!("records/observe/1-small.expected.toml")),
            ("records/2-large.toml", template!("records/observe/2-large.toml")),
            ("records/2-large.body", template!("records/observe/2-large.body")),
            ("records/2-large.expected.toml", template!("records/observe/2-large.expected.toml")),
            ("records/2-large.emitted.1.body", template!("records/observe/2-large.emitted.1.body")),
        ],
    }
}
