//! The recipients of a link: a team's operators, without the requester where self-approval is forbidden.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The operators of all teams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// Operators of every team without a list.
    pub everywhere: Vec<String>,
    /// A team's own.
    pub of_team: BTreeMap<Uuid, Vec<String>>,
    /// Never send an approval link to the requester.
    pub forbid_self_approval: bool,
}

impl Operators {
    /// The recipients of the link of what `requester` requests. None: the request must be refused, since it could not be
    /// approved.
    pub fn recipients(&self, team: Uuid, requester: &str) -> Vec<String> {
        let operators = self.of_team.get(&team).unwrap_or(&self.everywhere);
        let may = |operator: &&String| !self.forbid_self_approval || !same_mailbox(operator, requester);
        operators.iter().filter(may).cloned().collect()
    }

    /// True if this person may decide about what `requester` requests.
    pub fn may_decide(&self, team: Uuid, requester: &str, person: &str) -> bool {
        self.recipients(team, requester).iter().any(|operator| same_mailbox(operator, person))
    }

    /// True if an approver exists for `requester`'s requests.
    pub fn has_approver(&self, team: Uuid, requester: &str) -> bool {
        !self.recipients(team, requester).is_empty()
    }
}

/// The token of an approver's own link, derived from the approval's: 32 bytes, URL-safe. The hash is nested, so that it cannot
/// be extended.
pub fn link_token(approval_token: &str, approver: &str) -> String {
    let inner =
        Sha256::new().chain_update(approval_token).chain_update("\n").chain_update(approver).finalize();
    let outer = Sha256::new().chain_update(approval_token).chain_update(inner).finalize();
    BASE64_URL_SAFE_NO_PAD.encode(outer)
}

/// True if two addresses name the same mailbox: case and `+tags` are ignored.
pub(crate) fn same_mailbox(one: &str, other: &str) -> bool {
    mailbox(one) == mailbox(other)
}

fn mailbox(address: &str) -> (String, String) {
    let address = address.trim().to_lowercase();
    let (user, domain) = address.rsplit_once('@').unwrap_or((&address, ""));
    let user = user.split('+').next().unwrap_or(user);
    (user.to_owned(), domain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEAM: Uuid = Uuid::from_u128(1);

    fn operators(addresses: &[&str]) -> Operators {
        let everywhere = addresses.iter().map(|&address| address.to_owned()).collect();
        Operators { everywhere, of_team: BTreeMap::new(), forbid_self_approval: true }
    }

    #[test]
    fn the_requester_is_never_among_the_recipients_where_that_is_forbidden() {
        let two = operators(&["dev@example.com", "ops@example.com"]);
        for requester in ["dev@example.com", "DEV@Example.com", " dev+approvals@example.com"] {
            assert_eq!(two.recipients(TEAM, requester), ["ops@example.com"], "{requester}");
        }
        assert_eq!(two.recipients(TEAM, "other@example.com").len(), 2);
    }

    #[test]
    fn a_request_of_the_only_operator_has_no_approver() {
        let one = operators(&["dev@example.com"]);
        assert!(!one.has_approver(TEAM, "dev@example.com"));
        assert!(one.has_approver(TEAM, "dev@example.org"));
        let allowed = Operators { forbid_self_approval: false, ..one };
        assert!(allowed.has_approver(TEAM, "dev@example.com"));
    }

    #[test]
    fn a_teams_operators_replace_the_global_ones() {
        let mut operators = operators(&["ops@example.com"]);
        operators.of_team.insert(TEAM, vec!["own@example.com".to_owned()]);
        assert_eq!(operators.recipients(TEAM, "dev@example.com"), ["own@example.com"]);
        assert_eq!(operators.recipients(Uuid::nil(), "dev@example.com"), ["ops@example.com"]);
    }
}
