//! Who is trusted to sign what: the hospital's decision about a package, made from its [`Policy`] and the time alone.
//!
//! [`Policy::examine`] looks at a package by itself: whether its signatures verify, whether something of it is revoked, whether its
//! support has ended. [`Policy::permits`] looks at where it is to run: the first rule that fits the world and the zone says who must
//! have signed, and where no rule fits nobody can. A signature that does not count — of a stranger, of a revoked key, of a key
//! whose time is over — is as if it were not there, but the refusal names it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use hilum_core::chain::World;
use hilum_core::{Digest, Timestamp, ZoneName};

use crate::package::{Date, Package, PublicKey};

/// Days before the end of a key or of support in which it is announced.
pub const NOTICE_DAYS: u32 = 60;

/// A key that the hospital knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// How rules name it.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// The last day on which its signatures count.
    pub not_after: Option<Date>,
    /// Whether it was lost or stolen: then its signatures never count.
    pub revoked: bool,
}

/// Who must have signed what runs where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// The worlds that it is about; all of them where empty.
    pub worlds: Vec<World>,
    /// The zones that it is about; all of them where empty.
    pub zones: Vec<ZoneName>,
    /// Keys that must all have signed.
    pub all_of: Vec<String>,
    /// Keys of which at least [`Rule::minimum`] must have signed.
    pub any_of: Vec<String>,
    /// How many of [`Rule::any_of`]; nought where that is empty.
    pub minimum: usize,
}

impl Rule {
    /// Whether it is about this.
    #[must_use]
    pub fn fits(&self, world: World, zone: &ZoneName) -> bool {
        (self.worlds.is_empty() || self.worlds.contains(&world))
            && (self.zones.is_empty() || self.zones.contains(zone))
    }

    /// Whether there is nothing left for a later rule that is about less.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        fn within<T: PartialEq>(all: &[T], some: &[T]) -> bool {
            all.is_empty() || (!some.is_empty() && some.iter().all(|one| all.contains(one)))
        }
        within(&self.worlds, &other.worlds) && within(&self.zones, &other.zones)
    }

    /// What it asks for, for people.
    #[must_use]
    pub fn needs(&self) -> String {
        let all = (!self.all_of.is_empty()).then(|| format!("all of {}", list(&self.all_of)));
        let any = (!self.any_of.is_empty()).then(|| format!("{} of {}", self.minimum, list(&self.any_of)));
        [all, any].into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }
}

/// What becomes of a plugin whose support has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EndOfSupport {
    /// It runs, and a warning is given.
    #[default]
    Warn,
    /// It is not loaded any more, so many days after the end.
    Refuse {
        /// Days in which it still runs, with a warning.
        grace_days: u32,
    },
}

/// What becomes of a plugin that nobody signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unsigned {
    /// It is not loaded.
    #[default]
    Refuse,
    /// It runs, and a warning is given: for development.
    Allow,
}

/// What a hospital says about signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The keys that it knows.
    pub keys: Vec<TrustedKey>,
    /// The rules, of which the first that fits decides.
    pub rules: Vec<Rule>,
    /// Digests of packages or components that must not run.
    pub revoked: BTreeSet<Digest>,
    /// What nobody signed.
    pub unsigned: Unsigned,
    /// What has no support any more.
    pub end_of_support: EndOfSupport,
}

/// What a signature is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts.
    Counts,
    /// The hospital does not know its key; whether it verifies is not known either.
    Unknown,
    /// Its key is revoked.
    Revoked,
    /// Its key's last day is over.
    Expired(Date),
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The hospital's name for the key; none where it does not know it.
    pub name: Option<String>,
    /// What names the key.
    pub key: Digest,
    /// What that is worth.
    pub standing: Standing,
}

impl Signer {
    /// Whether it is of any use.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.standing == Standing::Counts
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or_default();
        match self.standing {
            Standing::Counts => write!(f, "`{name}`"),
            Standing::Unknown => write!(f, "a key that is not known here, {}", self.key),
            Standing::Revoked => write!(f, "`{name}`, which is revoked"),
            Standing::Expired(day) => write!(f, "`{name}`, which counted until {day}"),
        }
    }
}

/// Something that does not stop a plugin, and that somebody should do something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Nobody signed it.
    Unsigned,
    /// Its support has ended.
    SupportEnded(Date),
    /// Its support ends soon.
    SupportEnds(Date),
    /// A key's last day comes soon: then its signature counts no longer.
    KeyExpires {
        /// Which.
        name: String,
        /// When.
        day: Date,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str(
                "nobody signed it, and `unsigned = \"allow\"` lets it run: this is for development",
            ),
            Self::SupportEnded(day) => {
                write!(f, "its support ended on {day}: ask its vendor for a newer version")
            }
            Self::SupportEnds(day) => {
                write!(f, "its support ends on {day}: ask its vendor for a newer version")
            }
            Self::KeyExpires { name, day } => {
                write!(f, "the signature of key `{name}` counts until {day}: have it signed with a newer key")
            }
        }
    }
}

/// What was found out about a package by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// Who signed.
    pub signers: Vec<Signer>,
    /// What somebody should do something about.
    pub warnings: Vec<Warning>,
}

/// Why a plugin does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody signed it.
    #[error("nobody signed it")]
    Unsigned,
    /// A known key did not make the signature that bears its name.
    #[error("the signature of key `{0}` does not verify")]
    Forged(String),
    /// It is revoked.
    #[error("its digest {0} is revoked")]
    Revoked(Digest),
    /// Its support is over, and so is the grace.
    #[error("its support ended on {ended}, and it was let run until {until}")]
    EndOfSupport {
        /// The last day.
        ended: Date,
        /// The last day of grace.
        until: Date,
    },
    /// No rule is about it.
    #[error("no rule says who may sign what is of world `{world}` in zone `{zone}`", world = world.as_str())]
    NoRule {
        /// Its world.
        world: World,
        /// Where it is to run.
        zone: ZoneName,
    },
    /// Those who signed are not those who must.
    #[error(
        "for world `{world}` in zone `{zone}` `trust.rules[{rule}]` wants signatures of {needs}, and it is signed by {signers}",
        world = world.as_str()
    )]
    Rule {
        /// Which, from 0.
        rule: usize,
        /// What it asks for.
        needs: String,
        /// Who signed.
        signers: String,
        /// Its world.
        world: World,
        /// Where it is to run.
        zone: ZoneName,
    },
}

impl Refusal {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unsigned => {
                "get it from its vendor as a signed package, or make one with `hilum plugin pack` and `hilum plugin sign`; \
                 for development, say `unsigned = \"allow\"` in `[trust]` of hilum.toml"
            }
            Self::Forged(_) => {
                "it was changed after it was signed: get the package again, and ask how that came about"
            }
            Self::Revoked(_) => "install a version that is not in `revoked` of `[trust]`",
            Self::EndOfSupport { .. } => {
                "install a version that is supported, or give it longer with `grace` in `[trust]` of hilum.toml"
            }
            Self::NoRule { .. } => {
                "add a `[[trust.rules]]` for it to hilum.toml, after the more special ones"
            }
            Self::Rule { .. } => {
                "have it signed by those who must (`hilum plugin sign`), or change `[[trust.keys]]` and `[[trust.rules]]` in \
                 hilum.toml"
            }
        }
    }
}

impl Policy {
    /// Looks at a package by itself.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where it may run nowhere.
    pub fn examine(&self, package: &Package, now: Timestamp) -> Result<Examined, Refusal> {
        let manifest = package.manifest();
        self.not_revoked([package.digest(), manifest.component.sha256])?;
        let mut examined = Examined::default();
        for envelope in package.signatures() {
            let Some(known) = self.keys.iter().find(|known| known.key.id() == envelope.key()) else {
                examined.signers.push(Signer {
                    name: None,
                    key: envelope.key(),
                    standing: Standing::Unknown,
                });
                continue;
            };
            if !envelope.is_by(&known.key, &package.parts().manifest) {
                return Err(Refusal::Forged(known.name.clone()));
            }
            let standing = known.standing(now);
            if let (Standing::Counts, Some(day)) =
                (standing, known.not_after.filter(|day| is_near(*day, now)))
            {
                examined.warnings.push(Warning::KeyExpires { name: known.name.clone(), day });
            }
            examined.signers.push(Signer { name: Some(known.name.clone()), key: envelope.key(), standing });
        }
        if examined.signers.is_empty() {
            examined.warnings.extend(self.unsigned_is_let()?);
        }
        // As the hospital lists them: the order of their keys' digests means nothing to people.
        let place = |signer: &Signer| self.keys.iter().position(|known| known.key.id() == signer.key);
        examined.signers.sort_by_key(|signer| place(signer).unwrap_or(usize::MAX));
        examined.warnings.extend(self.support(manifest.end_of_support, now)?);
        Ok(examined)
    }

    /// Looks at a component that came without a package.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where that is not enough.
    pub fn examine_bare(&self, component: Digest) -> Result<Examined, Refusal> {
        self.not_revoked([component])?;
        Ok(Examined { signers: Vec::new(), warnings: self.unsigned_is_let()?.into_iter().collect() })
    }

    /// Whether those who signed are those who must, for what runs here.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoRule`], [`Refusal::Rule`].
    pub fn permits(&self, examined: &Examined, world: World, zone: &ZoneName) -> Result<(), Refusal> {
        if examined.signers.is_empty() && self.unsigned == Unsigned::Allow {
            return Ok(());
        }
        let found = self.rules.iter().enumerate().find(|(_, rule)| rule.fits(world, zone));
        let Some((index, rule)) = found else { return Err(Refusal::NoRule { world, zone: zone.clone() }) };
        let counts = |name: &&String| {
            let by = |signer: &Signer| signer.counts() && signer.name.as_ref() == Some(*name);
            examined.signers.iter().any(by)
        };
        let any: BTreeSet<_> = rule.any_of.iter().filter(counts).collect();
        let asks = !rule.all_of.is_empty() || rule.minimum > 0;
        if asks && rule.all_of.iter().all(|name| counts(&name)) && any.len() >= rule.minimum {
            return Ok(());
        }
        let signers: Vec<_> = examined.signers.iter().map(ToString::to_string).collect();
        let signers = if signers.is_empty() { "nobody".to_owned() } else { signers.join("; ") };
        Err(Refusal::Rule { rule: index, needs: rule.needs(), signers, world, zone: zone.clone() })
    }

    fn not_revoked(&self, digests: impl IntoIterator<Item = Digest>) -> Result<(), Refusal> {
        match digests.into_iter().find(|digest| self.revoked.contains(digest)) {
            Some(digest) => Err(Refusal::Revoked(digest)),
            None => Ok(()),
        }
    }

    fn unsigned_is_let(&self) -> Result<Option<Warning>, Refusal> {
        match self.unsigned {
            Unsigned::Refuse => Err(Refusal::Unsigned),
            Unsigned::Allow => Ok(Some(Warning::Unsigned)),
        }
    }

    fn support(&self, ends: Date, now: Timestamp) -> Result<Option<Warning>, Refusal> {
        if !ends.is_over(now) {
            return Ok(is_near(ends, now).then_some(Warning::SupportEnds(ends)));
        }
        match self.end_of_support {
            EndOfSupport::Refuse { grace_days } if ends.plus_days(grace_days).is_over(now) => {
                Err(Refusal::EndOfSupport { ended: ends, until: ends.plus_days(grace_days) })
            }
            _ => Ok(Some(Warning::SupportEnded(ends))),
        }
    }
}

impl TrustedKey {
    fn standing(&self, now: Timestamp) -> Standing {
        match self.not_after.filter(|day| day.is_over(now)) {
            _ if self.revoked => Standing::Revoked,
            Some(day) => Standing::Expired(day),
            None => Standing::Counts,
        }
    }
}

fn is_near(day: Date, now: Timestamp) -> bool {
    Date::at(now).plus_days(NOTICE_DAYS) >= day
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
