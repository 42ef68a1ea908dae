//! What a patient's consents say of one request. Where they do not agree, or cannot be understood, they deny.

use std::collections::BTreeSet;

use hilum_formats::care::{Provision, Tag};
use hilum_formats::purpose;

use crate::marking;
use crate::settings::Confidentiality;

/// What patients say, as the model has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// It is allowed.
    Permit,
    /// It is forbidden, or it is not clear what was said.
    Deny,
    /// Nothing was said of it.
    None,
}

impl Consent {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::None => "none",
        }
    }

    /// Of several: one that denies is enough.
    fn of_all(said: impl Iterator<Item = Self>) -> Self {
        said.fold(Self::None, |all, one| match (all, one) {
            (Self::Deny, _) | (_, Self::Deny) => Self::Deny,
            (Self::Permit, _) | (_, Self::Permit) => Self::Permit,
            _ => Self::None,
        })
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    pub(crate) now: u64,
    pub(crate) action: &'static str,
    pub(crate) purpose: &'a str,
    /// Whom consents call who asks.
    pub(crate) actors: &'a [Tag],
    /// Whom they call anybody of whom the hospital says it.
    pub(crate) described: &'a BTreeSet<Tag>,
    pub(crate) confidentiality: Confidentiality,
    pub(crate) sensitivity: &'a [&'static str],
    /// Whether anything says what is sensitive in the record, or that nothing is.
    pub(crate) is_marked: bool,
    /// The media type, and the type of resource where that is known.
    pub(crate) media_type: &'a str,
    pub(crate) resource_type: Option<&'a str>,
}

/// What these consents say.
pub(crate) fn said<'p>(consents: impl Iterator<Item = &'p Provision>, asked: &Asked<'_>) -> Consent {
    Consent::of_all(consents.map(|consent| of(consent, asked)))
}

fn of(provision: &Provision, asked: &Asked<'_>) -> Consent {
    let fits = fits(provision, asked);
    if fits == Fits::No {
        return Consent::None;
    }
    if provision.is_unclear {
        return Consent::Deny;
    }
    let own = match provision.permits {
        Some(true) => Consent::Permit,
        Some(false) => Consent::Deny,
        None => Consent::None,
    };
    let says = match said(provision.except.iter(), asked) {
        Consent::None => own,
        exception => exception,
    };
    match says {
        Consent::Permit if fits == Fits::Perhaps => Consent::None,
        says => says,
    }
}

/// Whether a provision is about what is asked. What perhaps is denies, and does not permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fits {
    No,
    /// It cannot be told.
    Perhaps,
    Yes,
}

impl From<bool> for Fits {
    fn from(fits: bool) -> Self {
        if fits { Self::Yes } else { Self::No }
    }
}

impl Fits {
    /// No if that can be told.
    fn not_if(is_told: bool) -> Self {
        if is_told { Self::No } else { Self::Perhaps }
    }
}

/// About all that is asked; of several that a provision names one is enough.
fn fits(of: &Provision, asked: &Asked<'_>) -> Fits {
    let denies = of.is_unclear || of.permits != Some(true);
    let any = |all: &[String], fits: &dyn Fn(&str) -> Fits| {
        all.iter().map(|one| fits(one)).max().unwrap_or(Fits::Yes)
    };
    let is_in_time =
        of.from.is_none_or(|from| from <= asked.now) && of.until.is_none_or(|until| asked.now < until);
    let actor = |actor: &Tag| {
        let is_somebody_else = asked.described.contains(actor);
        if asked.actors.contains(actor) { Fits::Yes } else { Fits::not_if(is_somebody_else) }
    };
    let actors = of.actors.iter().map(actor);
    let is_stated = asked.purpose != purpose::UNSTATED;
    let purpose = if of.is_for(asked.purpose) { Fits::Yes } else { Fits::not_if(is_stated) };
    // Who lets see what is restricted lets see what is normal; who forbids what is normal forbids what is restricted.
    let label = any(&of.labels, &|label| match Confidentiality::of_code(label) {
        Some(code) if denies => (asked.confidentiality >= code).into(),
        Some(code) => (asked.confidentiality <= code).into(),
        None => match marking::sensitivity(label) {
            Some(code) if asked.sensitivity.contains(&code) => Fits::Yes,
            Some(_) if asked.is_marked => Fits::No,
            _ => Fits::Perhaps,
        },
    });
    let class = any(&of.classes, &|class| match asked.resource_type {
        _ if class.contains('/') => (class == asked.media_type).into(),
        Some(known) => (class == known).into(),
        None => Fits::Perhaps,
    });
    let action = any(&of.actions, &|action| (action == asked.action).into());
    let all = [is_in_time.into(), actors.max().unwrap_or(Fits::Yes), purpose, label, class, action];
    all.into_iter().min().unwrap_or(Fits::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    static NOBODY: BTreeSet<Tag> = BTreeSet::new();

    fn asked() -> Asked<'static> {
        Asked {
            now: 1_000,
            action: "read",
            purpose: "HRESCH",
            actors: &[],
            described: &NOBODY,
            confidentiality: Confidentiality::N,
            sensitivity: &["PSY"],
            is_marked: true,
            media_type: "application/dicom",
            resource_type: Some("ImagingStudy"),
        }
    }

    fn permit() -> Provision {
        Provision { permits: Some(true), ..Provision::default() }
    }

    fn deny() -> Provision {
        Provision { permits: Some(false), ..Provision::default() }
    }

    fn says(provision: &Provision, asked: &Asked<'_>) -> &'static str {
        of(provision, asked).name()
    }

    #[test]
    fn each_part_of_a_provision_narrows_it() {
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let tag = || Tag::of(&[1; 32]);
        let (yes, no): (Vec<Provision>, Vec<Provision>) = [
            (Provision { from: Some(1_000), ..permit() }, Provision { from: Some(1_001), ..permit() }),
            (Provision { until: Some(1_001), ..permit() }, Provision { until: Some(1_000), ..permit() }),
            (
                Provision { purposes: texts(&["TREAT", "HRESCH"]), ..permit() },
                Provision { purposes: texts(&["CLINTRCH"]), ..permit() },
            ),
            (
                Provision { actions: texts(&["read"]), ..permit() },
                Provision { actions: texts(&["store"]), ..permit() },
            ),
            (
                Provision { labels: texts(&["R"]), ..permit() },
                Provision { labels: texts(&["L"]), ..permit() },
            ),
            (
                Provision { labels: texts(&["PSY"]), ..permit() },
                Provision { labels: texts(&["HIV"]), ..permit() },
            ),
            (
                Provision { classes: texts(&["ImagingStudy"]), ..permit() },
                Provision { classes: texts(&["Observation"]), ..permit() },
            ),
            (
                Provision { classes: texts(&["application/dicom"]), ..permit() },
                Provision { classes: texts(&["text/plain"]), ..permit() },
            ),
            (permit(), Provision { actors: vec![tag()], ..permit() }),
        ]
        .into_iter()
        .unzip();
        assert!(yes.iter().all(|provision| says(provision, &asked()) == "permit"), "{yes:?}");
        assert!(no.iter().all(|provision| says(provision, &asked()) == "none"), "{no:?}");
        let of_actor = Asked { actors: &[tag()], ..asked() };
        assert_eq!(says(&Provision { actors: vec![tag()], ..permit() }, &of_actor), "permit");
    }

    #[test]
    fn what_cannot_be_told_denies_and_does_not_permit() {
        let unstated = Asked { purpose: purpose::UNSTATED, ..asked() };
        let research = |of: Provision| Provision { purposes: vec!["HRESCH".into()], ..of };
        assert_eq!(says(&research(permit()), &unstated), "none");
        assert_eq!(says(&research(deny()), &unstated), "deny");
        let unknown = Asked { resource_type: None, ..asked() };
        let images = |of: Provision| Provision { classes: vec!["ImagingStudy".into()], ..of };
        assert_eq!(says(&images(permit()), &unknown), "none");
        assert_eq!(says(&images(deny()), &unknown), "deny");
        assert_eq!(says(&Provision { is_unclear: true, ..permit() }, &asked()), "deny");
        let normal = |of: Provision| Provision { labels: vec!["N".into()], ..of };
        let restricted = Asked { confidentiality: Confidentiality::R, ..asked() };
        assert_eq!(
            (says(&normal(permit()), &restricted), says(&normal(deny()), &restricted)),
            ("none", "deny")
        );
    }

    #[test]
    fn a_denial_is_not_for_purposes_that_somebody_is_back_in_for() {
        let denial = |purposes: &[&str], not: &[&str]| Provision {
            purposes: purposes.iter().map(|code| (*code).to_owned()).collect(),
            not_purposes: not.iter().map(|code| (*code).to_owned()).collect(),
            ..deny()
        };
        let spared = denial(&["HRESCH"], &["CLINTRCH"]);
        for (purpose, expected) in [("HRESCH", "deny"), ("CLINTRCH", "none"), (purpose::UNSTATED, "deny")] {
            assert_eq!(says(&spared, &Asked { purpose, ..asked() }), expected, "{purpose}");
        }
        assert_eq!(says(&denial(&["HRESCH"], &["HRESCH"]), &asked()), "none");
    }

    #[test]
    fn an_actor_of_whom_nobody_says_who_it_is_may_be_who_asks() {
        let (research, pharma) = (Tag::of(&[1; 32]), Tag::of(&[2; 32]));
        let described = BTreeSet::from([research.clone()]);
        let of = |actor: &Tag, of: Provision| Provision { actors: vec![actor.clone()], ..of };
        let told = |provision: Provision, actors: &[Tag]| {
            says(&provision, &Asked { actors, described: &described, ..asked() })
        };
        assert_eq!(told(of(&research, deny()), &[]), "none", "somebody else");
        assert_eq!(told(of(&research, deny()), std::slice::from_ref(&research)), "deny");
        for actors in [&[][..], std::slice::from_ref(&research)] {
            assert_eq!(told(of(&pharma, deny()), actors), "deny");
            assert_eq!(told(of(&pharma, permit()), actors), "none");
            let both = Provision { actors: vec![research.clone(), pharma.clone()], ..deny() };
            assert_eq!(told(both, actors), "deny");
        }
        // What is excepted from what may not be meant is not permitted, and what is denied in it is denied.
        let excepting = |rule: Provision, except: Provision| Provision { except: vec![except], ..rule };
        assert_eq!(told(of(&pharma, excepting(deny(), permit())), &[]), "none");
        assert_eq!(told(of(&pharma, excepting(permit(), deny())), &[]), "deny");
        assert_eq!(told(of(&pharma, excepting(Provision::default(), permit())), &[]), "none");
    }

    #[test]
    fn a_denial_about_a_label_is_about_what_nobody_marked() {
        let labelled = |label: &str, of: Provision| Provision { labels: vec![label.into()], ..of };
        let unmarked = Asked { sensitivity: &[], is_marked: false, ..asked() };
        let normal = Asked { sensitivity: &[], ..asked() };
        for (label, of_psychiatry, of_unmarked, of_normal) in [
            ("PSY", "deny", "deny", "none"),
            ("psy", "deny", "deny", "none"),
            ("HIV", "none", "deny", "none"),
        ] {
            let denial = labelled(label, deny());
            assert_eq!(says(&denial, &asked()), of_psychiatry, "{label}");
            assert_eq!(says(&denial, &unmarked), of_unmarked, "{label}");
            assert_eq!(says(&denial, &normal), of_normal, "{label}");
            assert_eq!(says(&labelled(label, permit()), &unmarked), "none", "{label}");
        }
        for asked in [&asked(), &unmarked, &normal] {
            assert_eq!(says(&labelled("THING", deny()), asked), "deny", "nobody knows what it is");
            assert_eq!(says(&labelled("THING", permit()), asked), "none");
        }
    }

    #[test]
    fn exceptions_come_before_the_rule_and_denials_before_permissions() {
        let research = Provision { purposes: vec!["HRESCH".into()], ..permit() };
        let rule = Provision { except: vec![research.clone()], ..deny() };
        assert_eq!(says(&rule, &asked()), "permit");
        assert_eq!(says(&rule, &Asked { purpose: "TREAT", ..asked() }), "deny");
        let both = Provision { except: vec![research, deny()], ..permit() };
        assert_eq!(says(&both, &asked()), "deny");
        assert_eq!(said([&permit(), &deny()].into_iter(), &asked()), Consent::Deny);
        assert_eq!(said(std::iter::empty(), &asked()), Consent::None);
    }
}
