//! What policies look at. What none of them looks at cannot change a decision, so it need not be told to Cedar, and records that do not
//! differ in the rest get the same decision.

use std::collections::BTreeSet;

use cedar_policy::PolicySet;
use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, Var};

/// Names of attributes of records and of circumstances, and of tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mentions {
    /// Everything, because it cannot be told what.
    everything: bool,
    attributes: BTreeSet<String>,
    /// All tags, because the name of one is not written out.
    all_tags: bool,
    tags: BTreeSet<String>,
    /// Texts that the codes of what is sensitive are compared with.
    pub(crate) sensitivities: BTreeSet<String>,
}

impl Mentions {
    pub(crate) fn of(policies: &PolicySet) -> Self {
        let mut mentions = Self::default();
        for policy in policies.policies() {
            let Ok(policy) = policy.to_pst() else {
                return Self { everything: true, ..Self::default() };
            };
            for clause in policy.body().clauses() {
                let (Clause::When(body) | Clause::Unless(body)) = clause;
                mentions.look(body);
            }
        }
        mentions
    }

    /// Whether an attribute of a record, or of the circumstances, is looked at.
    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.everything || self.attributes.contains(attribute)
    }

    /// Whether an attribute is named, and not only a part of everything.
    pub(crate) fn names(&self, attribute: &str) -> bool {
        self.attributes.contains(attribute)
    }

    /// Whether a tag is.
    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.everything || self.all_tags || self.tags.contains(tag)
    }

    /// The names of tags that are written out.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(String::as_str)
    }

    /// Names are taken wherever they are used, whatever they are names of.
    fn look(&mut self, at: &Expr) {
        match at {
            Expr::Literal(_) | Expr::Slot(_) | Expr::Var(Var::Principal | Var::Action | Var::Resource) => {}
            // The whole context at once.
            Expr::Var(Var::Context) => self.everything = true,
            Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => self.look(expr),
            Expr::BinaryOp { op, left, right } => {
                if matches!(op, BinaryOp::HasTag | BinaryOp::GetTag) {
                    match &**right {
                        Expr::Literal(Literal::String(tag)) => {
                            self.tags.insert(tag.to_string());
                        }
                        _ => self.all_tags = true,
                    }
                }
                for (of, with) in [(left, right), (right, left)] {
                    if matches!(&**of, Expr::GetAttr { attr, .. } if attr.as_str() == "sensitivity") {
                        texts(with, &mut self.sensitivities);
                    }
                }
                self.look(left);
                self.look(right);
            }
            Expr::GetAttr { expr, attr } => {
                self.attributes.insert(attr.to_string());
                self.look_inside(expr);
            }
            Expr::HasAttr { expr, attrs } => {
                self.attributes.extend(attrs.iter().map(ToString::to_string));
                self.look_inside(expr);
            }
            Expr::Is { expr, in_expr, .. } => {
                self.look(expr);
                in_expr.iter().for_each(|within| self.look(within));
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                [cond, then_expr, else_expr].into_iter().for_each(|part| self.look(part));
            }
            Expr::Set(parts) => parts.iter().for_each(|part| self.look(part)),
            Expr::Record(parts) => parts.values().for_each(|part| self.look(part)),
            _ => self.everything = true,
        }
    }

    fn look_inside(&mut self, of: &Expr) {
        if !matches!(of, Expr::Var(_)) {
            self.look(of);
        }
    }
}

/// The texts of a literal, or of a set of them.
fn texts(of: &Expr, into: &mut BTreeSet<String>) {
    match of {
        Expr::Literal(Literal::String(text)) => {
            into.insert(text.to_string());
        }
        Expr::Set(parts) => parts.iter().for_each(|part| texts(part, into)),
        Expr::IfThenElse { then_expr, else_expr, .. } => {
            [then_expr, else_expr].into_iter().for_each(|part| texts(part, into));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(condition: &str) -> Mentions {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        Mentions::of(&text.parse().unwrap())
    }

    #[test]
    fn names_are_found_wherever_they_are() {
        let mentions = of(
            r#"(if context.hour > 8 then resource.hasTag("a") && resource.getTag("b") == "x" else resource.labels.contains("phi")) || [context.minute].contains(1)"#,
        );
        assert!(["hour", "labels", "minute"].iter().all(|name| mentions.has(name)), "{mentions:?}");
        assert!(mentions.has_tag("a") && mentions.has_tag("b"));
        assert!(!mentions.has("now") && !mentions.has_tag("c"));
    }

    #[test]
    fn what_is_not_written_out_is_everything() {
        assert!(of("resource.hasTag(resource.contentType)").has_tag("any"));
        assert!(of("[context].contains(context)").has("now"));
        assert!(!of("context.hour == 1").has("now"));
    }
}
