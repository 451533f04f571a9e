//! The people: approvers who press the button, a scanner that follows its link, an administrator.
//!
//! There are `approvers + 1` people other than the requester, and the requester is one of them unless `separate`. Each
//! may press at any time, in any status, any number of times; only `decision.guards` stop a press. People are
//! interchangeable, so that only their numbers are stored.

use countersign::protocol::{Event, Method, Status, Validity};

use serde::{Deserialize, Serialize};

use super::Model;
use crate::world::{Presses, World};

/// The person who presses the button.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Press {
    /// A person who has not approved it.
    Another,
    /// A person who has approved it already.
    Again,
    /// The requester, where it matters who that is.
    Requester,
    /// The scanner of a decision's link: as a person who has not pressed, and no yes.
    Scanner,
}

impl Press {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Another, Self::Again, Self::Requester, Self::Scanner];
}

impl Model {
    /// True if the requester is distinguished from the approvers.
    fn has_requester(&self) -> bool {
        self.flow.object().separate || self.flow.decision().guards.not_requester
    }

    /// One press; `None` when it changes nothing.
    pub(super) fn press(&self, world: &mut World, press: Press) -> Option<()> {
        let object = self.flow.object();
        let guards = self.flow.decision().guards;
        let before = *world;
        if guards.expiry && world.window_passed {
            return None;
        }
        let Presses { people, requester, scanner, .. } = world.presses;
        let all = object.approvers + 1 + u8::from(!self.has_requester());
        // The person whose link was scanned counts as an approver.
        let pressed = people + u8::from(guards.distinct && scanner);
        match press {
            Press::Another if pressed < all => world.presses.people += 1,
            Press::Again if !guards.distinct && people > 0 => {}
            Press::Requester if self.has_requester() && !guards.not_requester => {
                if requester && guards.distinct {
                    return None;
                }
                world.presses.requester = true;
            }
            Press::Scanner if self.flow.decision().method == Method::Get && !scanner && people < all => {
                world.presses.scanner = true;
            }
            Press::Another | Press::Again | Press::Requester | Press::Scanner => return None,
        }
        // A press is a compare-and-swap: the table allows it, or its status is not compared.
        let validity = if guards.expiry && world.window_passed { Validity::Expired } else { Validity::Valid };
        if guards.status && (self.transitions)(world.status, Event::Approve, validity).is_err() {
            return None;
        }
        let counted = (world.presses.counted + 1).min(object.approvers);
        world.presses.counted = counted;
        world.violated.scanner |= press == Press::Scanner;
        if counted == object.approvers {
            let Presses { people, requester, .. } = world.presses;
            let yes = people + u8::from(requester && !object.separate);
            world.violated.too_few |= yes < object.approvers;
            world.violated.requester |= object.separate && requester;
            // Approving a used or revoked object leaves a final status, and is no second decision.
            if matches!(world.status, Status::Pending | Status::Rejected | Status::Expired) {
                world.decide(Event::Approve);
            }
            world.move_to(Status::Approved);
            world.approved = true;
            if guards.status {
                self.forget_presses(world);
            }
        }
        (*world != before).then_some(())
    }

    /// Clears presses that are no longer read. The scanner's is not repeated.
    fn forget_presses(&self, world: &mut World) {
        world.presses = Presses::default();
    }

    /// An administrator, or a visitor who opens the link too late, decides by compare-and-swap.
    pub(super) fn decide(&self, world: &mut World, event: Event) -> Option<()> {
        let validity = if world.window_passed { Validity::Expired } else { Validity::Valid };
        let status = (self.transitions)(world.status, event, validity).ok()?;
        if status == world.status {
            return None;
        }
        world.move_to(status);
        world.clean = false;
        if event != Event::Revoke {
            world.decide(event);
        }
        if self.flow.decision().guards.status {
            self.forget_presses(world);
        }
        Some(())
    }
}
