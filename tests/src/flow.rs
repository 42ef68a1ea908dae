//! Flow files as tests want them: all that a flow must have is there, and a test says only what it is about.

use std::fmt::{self, Display, Formatter};

/// A flow of zone `clinic` with label `phi`, which `scanner` publishes to.
///
/// Made with [`Flow::new`] or [`Flow::plain`], refined by the other methods, turned into its file by `Display`.
#[derive(Clone, Debug)]
pub struct Flow {
    name: String,
    class: &'static str,
    is_published: bool,
    lines: String,
    tables: String,
    ingress: Vec<Stage>,
    subscriptions: Vec<Subscription>,
}

impl Flow {
    /// A flow of class `device`, without chain and subscriptions.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            class: "device",
            is_published: true,
            lines: String::new(),
            tables: String::new(),
            ingress: Vec::new(),
            subscriptions: Vec::new(),
        }
    }

    /// Flow `records` without a chain, with [`Subscription::all`].
    #[must_use]
    pub fn plain() -> Self {
        Self::new("records").subscription(Subscription::all())
    }

    /// Another class.
    #[must_use]
    pub fn class(mut self, class: &'static str) -> Self {
        self.class = class;
        self
    }

    /// Nobody may publish to it; what is in it, plugins emitted.
    #[must_use]
    pub fn unpublished(mut self) -> Self {
        self.is_published = false;
        self
    }

    /// Lines of TOML at the top, such as `ack = "memory"`.
    #[must_use]
    pub fn with(mut self, lines: &str) -> Self {
        self.lines = self.lines + lines + "\n";
        self
    }

    /// A table of TOML with its header, such as `[retention]`.
    #[must_use]
    pub fn table(mut self, table: &str) -> Self {
        self.tables = self.tables + "\n" + table + "\n";
        self
    }

    /// One more stage on the way in.
    #[must_use]
    pub fn ingress(mut self, stage: Stage) -> Self {
        self.ingress.push(stage);
        self
    }

    /// One more subscription.
    #[must_use]
    pub fn subscription(mut self, subscription: Subscription) -> Self {
        self.subscriptions.push(subscription);
        self
    }
}

impl Display for Flow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "name = \"{}\"\nclass = \"{}\"", self.name, self.class)?;
        writeln!(f, "zone = \"clinic\"\nlabels = [\"phi\"]\n{}{}", self.lines, self.tables)?;
        if self.is_published {
            writeln!(f, "[[publish]]\nstakeholder = \"clinic\"\n")?;
        }
        self.ingress.iter().try_for_each(|stage| stage.write(f, "ingress"))?;
        self.subscriptions.iter().try_for_each(|subscription| subscription.fmt(f))
    }
}

/// A subscription of stakeholder `ward`, whose principal is `reader`.
#[derive(Clone, Debug)]
pub struct Subscription {
    name: String,
    purpose: &'static str,
    lines: String,
    egress: Vec<Stage>,
}

impl Subscription {
    /// A subscription for treatment.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), purpose: "TREAT", lines: String::new(), egress: Vec::new() }
    }

    /// Subscription `all`.
    #[must_use]
    pub fn all() -> Self {
        Self::new("all")
    }

    /// Another purpose, a code of HL7 v3 PurposeOfUse.
    #[must_use]
    pub fn purpose(mut self, purpose: &'static str) -> Self {
        self.purpose = purpose;
        self
    }

    /// Lines of TOML, such as `max_deliveries = 3`.
    #[must_use]
    pub fn with(mut self, lines: &str) -> Self {
        self.lines = self.lines + lines + "\n";
        self
    }

    /// One more stage on the way out.
    #[must_use]
    pub fn egress(mut self, stage: Stage) -> Self {
        self.egress.push(stage);
        self
    }
}

impl Display for Subscription {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[subscription]]\nname = \"{}\"\nstakeholder = \"ward\"", self.name)?;
        writeln!(f, "purpose = \"{}\"\n{}", self.purpose, self.lines)?;
        self.egress.iter().try_for_each(|stage| stage.write(f, "subscription.egress"))
    }
}

/// A stage of a chain.
#[derive(Clone, Debug)]
pub struct Stage {
    name: &'static str,
    plugin: &'static str,
    lines: String,
}

impl Stage {
    /// A stage with a bundled plugin.
    #[must_use]
    pub fn new(name: &'static str, plugin: &'static str) -> Self {
        Self { name, plugin, lines: String::new() }
    }

    /// A stage that lets everything pass.
    #[must_use]
    pub fn open(name: &'static str) -> Self {
        Self::access(name, r#"@id("everything") permit(principal, action, resource);"#)
    }

    /// A stage that decides by these Cedar policies.
    #[must_use]
    pub fn access(name: &'static str, policies: &str) -> Self {
        Self::new(name, "access").with(&format!("grants = [\"time\"]\nconfig.policies = '''{policies}'''"))
    }

    /// A stage that denies everything.
    #[must_use]
    pub fn closed(name: &'static str) -> Self {
        Self::access(name, r#"@id("nobody") forbid(principal, action, resource);"#)
    }

    /// A stage that de-identifies.
    #[must_use]
    pub fn clean() -> Self {
        Self::new("clean", "deidentify").with("grants = [\"keys:research\"]\nconfig = { key = \"research\" }")
    }

    /// Lines of TOML, such as `grants = ["log"]`.
    #[must_use]
    pub fn with(mut self, lines: &str) -> Self {
        self.lines = self.lines + lines + "\n";
        self
    }

    fn write(&self, f: &mut Formatter<'_>, chain: &str) -> fmt::Result {
        writeln!(f, "[[{chain}]]\nstage = \"{}\"\nplugin = \"{}\"\n{}", self.name, self.plugin, self.lines)
    }
}
