//! Waits until the batches have ended that began on the chains which a reload replaced.

use std::time::{Duration, Instant};

use hilum_client::admin::{Admin, AdminError};
use hilum_core::wire::admin::Standing;
use serde_json::{Value, json};

/// Places that are named to people.
const NAMED_MAX: usize = 5;

/// What became of the chains that were replaced, when the waiting is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drained(Standing);

impl Drained {
    /// Asks until nothing is under way, and no longer than so long.
    pub(super) async fn wait(admin: &mut Admin, no_longer_than: Duration) -> Result<Self, AdminError> {
        let began = Instant::now();
        loop {
            let left = no_longer_than.saturating_sub(began.elapsed());
            let standing = admin.standing(left).await?;
            if standing.under_way_count == 0 || left.is_zero() {
                return Ok(Self(standing));
            }
        }
    }

    /// For scripts.
    pub(super) fn as_json(&self) -> Value {
        let Standing { replaced, under_way, under_way_count, milliseconds, .. } = &self.0;
        let place = |place: &hilum_core::wire::admin::ChainPlace| json!({"flow": place.flow, "subscription": place.subscription});
        json!({
            "drained": *under_way_count == 0,
            "replaced_chains": replaced,
            "under_way": under_way.iter().map(place).collect::<Vec<_>>(),
            "under_way_chains": under_way_count,
            "milliseconds": milliseconds,
        })
    }

    /// For people; none where no chain was replaced.
    pub(super) fn line(&self) -> Option<String> {
        let Standing { replaced, under_way, under_way_count, milliseconds, .. } = &self.0;
        if *under_way_count > 0 {
            let named: Vec<_> = under_way.iter().take(NAMED_MAX).map(ToString::to_string).collect();
            let more = if *under_way_count > named.len() as u64 { ", .." } else { "" };
            return Some(format!(
                "not drained: after {milliseconds} ms batches are under way that began on another chain, of {}{more}; they end on it, and \
                 `hilum audit --action drained` has it then",
                named.join(", ")
            ));
        }
        let chains = if *replaced == 1 { "chain that was" } else { "chains that were" };
        (*replaced > 0).then(|| {
            format!(
                "drained: the last batch on the {replaced} {chains} replaced ended after {milliseconds} ms"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use hilum_core::Digest;
    use hilum_core::wire::admin::ChainPlace;

    use super::*;

    #[test]
    fn what_is_under_way_is_named() {
        let place = |flow: &str| ChainPlace { flow: flow.parse().unwrap(), subscription: None };
        let of = |replaced, under_way: Vec<ChainPlace>| {
            let under_way_count = under_way.len() as u64;
            let digest = Digest([1; 32]);
            Drained(Standing { digest, replaced, under_way, under_way_count, milliseconds: 12 })
        };
        assert_eq!(of(0, Vec::new()).line(), None);
        let over = "drained: the last batch on the 1 chain that was replaced ended after 12 ms";
        assert_eq!(of(1, Vec::new()).line().unwrap(), over);
        let late = of(2, vec![place("imaging")]);
        let line = late.line().unwrap();
        assert!(
            line.starts_with("not drained: after 12 ms") && line.contains(", of flow `imaging`;"),
            "{line}"
        );
        assert_eq!(late.as_json()["drained"], false);
        assert_eq!(late.as_json()["under_way"][0]["flow"], "imaging");
    }
}
