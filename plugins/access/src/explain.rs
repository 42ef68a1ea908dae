//! Why no policy permits: the policies that came nearest, and what of each does not hold.
//!
//! Cedar says which policies decided, and nothing of those that did not. So each policy that permits is taken apart, at every `&&` outside of
//! other operators, into conditions, and each condition is asked by itself.

use std::fmt::Write as _;
use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Clause, Expr};
use cedar_policy::{Decision, Effect, Entities, Policy, PolicySet, Request};

use crate::clip;
use crate::policies::Policies;

/// Policies that an explanation names.
const POLICIES_SHOWN_MAX: usize = 3;
/// Characters of one condition.
const CONDITION_CHARS_MAX: usize = 96;

/// Policies that permit, taken apart.
#[derive(Debug)]
pub(crate) struct Explainer(Vec<Permit>);

#[derive(Debug)]
struct Permit {
    name: String,
    conditions: Vec<Condition>,
}

/// Something that has to hold, as text and as a policy that permits if it does.
#[derive(Debug)]
struct Condition {
    shown: String,
    asks: PolicySet,
}

impl Explainer {
    pub(crate) fn new(policies: &PolicySet) -> Self {
        let permits = policies.policies().filter(|policy| policy.effect() == Effect::Permit);
        let whole = |policy: &Policy| Permit { name: policy.id().to_string(), conditions: Vec::new() };
        let mut permits: Vec<_> =
            permits.map(|policy| Permit::of(policy).unwrap_or_else(|| whole(policy))).collect();
        permits.sort_by(|a, b| a.name.cmp(&b.name));
        Self(permits)
    }

    /// The policies of which the least does not hold, with what that is. Holds no value of a record.
    pub(crate) fn explain(&self, policies: &Policies, request: &Request, entities: &Entities) -> String {
        let mut missing: Vec<(&str, Vec<&str>)> = Vec::new();
        for permit in &self.0 {
            let fails = |condition: &&Condition| {
                policies.asked_with(&condition.asks, request, entities) == Decision::Deny
            };
            let failing = permit.conditions.iter().filter(fails).map(|condition| condition.shown.as_str());
            missing.push((&permit.name, failing.collect()));
        }
        missing.sort_by_key(|(_, failing)| failing.len());
        let mut told = String::new();
        for (name, failing) in missing.iter().take(POLICIES_SHOWN_MAX) {
            let separator = if told.is_empty() { "" } else { "; " };
            let needs = if failing.is_empty() {
                "what cannot be shown by itself".to_owned()
            } else {
                failing.join(" and ")
            };
            let _ = write!(told, "{separator}`{name}` needs {needs}");
        }
        told
    }
}

impl Permit {
    /// None if the policy cannot be taken apart.
    fn of(policy: &Policy) -> Option<Self> {
        let taken = policy.to_pst().ok()?;
        let body = taken.body();
        let mut conditions = Vec::new();
        let scopes = [body.principal.to_string(), body.action.to_string(), body.resource.to_string()];
        for (at, scope) in scopes.iter().enumerate().filter(|(_, scope)| !scope.is_empty()) {
            let mut asked = ["principal", "action", "resource"].map(str::to_owned);
            asked[at] = format!("{} {scope}", asked[at]);
            let asks = format!("permit({});", asked.join(", ")).parse().ok()?;
            conditions.push(Condition { shown: clip(asked[at].clone(), CONDITION_CHARS_MAX), asks });
        }
        for clause in body.clauses() {
            match clause {
                Clause::When(body) => {
                    let mut parts = Vec::new();
                    split(body, &mut parts);
                    for part in parts {
                        conditions.push(Condition::of(&Clause::When(part))?);
                    }
                }
                Clause::Unless(_) => conditions.push(Condition::of(clause)?),
            }
        }
        Some(Self { name: policy.id().to_string(), conditions })
    }
}

impl Condition {
    fn of(clause: &Clause) -> Option<Self> {
        let shown = match clause {
            Clause::When(body) => shown(body),
            Clause::Unless(body) => format!("not {}", shown(body)),
        };
        let asks = format!("permit(principal, action, resource) {clause};");
        Some(Self { shown: clip(shown, CONDITION_CHARS_MAX), asks: asks.parse().ok()? })
    }
}

fn split(body: &Arc<Expr>, parts: &mut Vec<Arc<Expr>>) {
    match &**body {
        Expr::BinaryOp { op: BinaryOp::And, left, right } => {
            split(left, parts);
            split(right, parts);
        }
        _ => parts.push(body.clone()),
    }
}

/// A condition as text. What an attribute is compared with may be what a patient is known by, so it is left out.
fn shown(of: &Arc<Expr>) -> String {
    let text = of.to_string();
    if !text.contains(".getTag(") {
        return text;
    }
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some((before, quoted)) = rest.split_once('"') {
        shown.push_str(before);
        let end = end_of_text(quoted);
        let is_name = before.ends_with("Tag(") || before.ends_with("::");
        let _ = write!(shown, "\"{}\"", if is_name { &quoted[..end] } else { "..." });
        rest = quoted.get(end + 1..).unwrap_or_default();
    }
    shown.push_str(rest);
    shown
}

/// Where the closing quotation mark is.
fn end_of_text(quoted: &str) -> usize {
    let mut escaped = false;
    for (at, next) in quoted.char_indices() {
        match next {
            '"' if !escaped => return at,
            _ => escaped = next == '\\' && !escaped,
        }
    }
    quoted.len()
}
