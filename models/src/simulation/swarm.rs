//! The parameters that a seed draws first: participants, enabled kinds of fault, and their frequencies.
//!
//! The generator's numbers are the same on every machine and in every version.

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{
    faults::{CallOutcome, Fault, MOST_CRASHES, MOST_FAULTS, OF_EFFECTS, SKEW_MS},
    scenario::{Client, Permission, Scenario, Wants},
};

/// Draws, all from one seed.
pub(super) struct Dice(Xoshiro256PlusPlus);

impl Dice {
    pub(super) fn of(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        // The high half of a product: no division, and a bias of less than one in a billion.
        ((u64::from(end) * (self.0.next_u64() >> 32)) >> 32) as u32
    }

    pub(super) fn one_in(&mut self, odds: u32) -> bool {
        self.below(odds) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let count = u32::try_from(from.len()).ok().filter(|count| *count > 0)?;
        Some(from[self.below(count) as usize])
    }
}

/// Size of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// In the model's own world, and with the model's faults: each step is compared with the model.
    Modelled,
    /// A few approvals, tens of actions.
    Short,
    /// Many approvals, thousands of actions.
    Long,
}

/// Parameters of one seed.
pub struct Swarm {
    /// Size of the schedule.
    pub size: Size,
    /// The participants.
    pub scenario: Scenario,
    /// The most actions.
    pub actions: u32,
    pub(super) faults: u16,
    pub(super) most_faults: u32,
    pub(super) most_crashes: u32,
    /// The faults that may replace an effect.
    pub(super) outcomes: Vec<CallOutcome>,
    pub(super) fault_odds: u32,
    pub(super) refusal_odds: u32,
    pub(super) rare_odds: u32,
    pub(super) failed_deploy_odds: u32,
    pub(super) dice: Dice,
}

impl Swarm {
    /// Draws.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::of(seed);
        let size = match dice.below(1024) {
            0 => Size::Long,
            1..=255 => Size::Modelled,
            _ => Size::Short,
        };
        let mut faults = Fault::ALL.iter().filter(|_| dice.one_in(2)).fold(0, |bits, one| bits | one.bit());
        let (scenario, actions): (Scenario, u32) = match size {
            Size::Modelled => {
                let known = [Fault::FailedBefore, Fault::AnswerLost, Fault::Crash];
                faults &= known.iter().fold(0, |bits, one| bits | one.bit());
                (Scenario::of_model(1 + dice.below(3) as u8), 48)
            }
            Size::Short => (draw_short(&mut dice, faults), 64),
            Size::Long => (draw_long(&mut dice, faults), 4096),
        };
        let on = |fault: Fault| faults & fault.bit() != 0;
        let outcomes =
            OF_EFFECTS.iter().filter(|(fault, _)| on(*fault)).map(|(_, outcome)| *outcome).collect();
        let stretch = actions.div_ceil(64);
        Self {
            size,
            scenario,
            actions,
            faults,
            most_faults: MOST_FAULTS * stretch,
            most_crashes: MOST_CRASHES * stretch,
            outcomes,
            fault_odds: 4 << dice.below(4),
            refusal_odds: 8 << dice.below(4),
            rare_odds: 4 << dice.below(3),
            failed_deploy_odds: 8,
            dice,
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults & fault.bit() != 0
    }
}

fn skews(dice: &mut Dice, faults: u16, instances: u32) -> Vec<i64> {
    let on = faults & Fault::Skew.bit() != 0;
    let width = SKEW_MS.unsigned_abs() as u32 * 2;
    (0..instances).map(|_| if on { i64::from(dice.below(width)) - SKEW_MS } else { 0 }).collect()
}

fn draw_short(dice: &mut Dice, faults: u16) -> Scenario {
    let instances = 1 + dice.below(3);
    let count = 1 + dice.below(4) / 2;
    let approvals: Vec<_> = (0..count)
        .map(|_| Permission { team: (dice.below(4) / 3) as u8, family: (dice.below(4) / 3) as u8 })
        .collect();
    let mut clients = Vec::new();
    for approval in 0..count as u8 {
        let instance = |dice: &mut Dice| dice.below(instances) as u8;
        for _ in 0..1 + dice.below(3) {
            let instance = instance(dice);
            clients.push(Client { approval, wants: Wants::Approved, instance });
        }
        for (odds, wants) in [(3, Wants::OtherStack), (6, Wants::OtherTeam)] {
            if dice.one_in(odds) {
                let instance = instance(dice);
                clients.push(Client { approval, wants, instance });
            }
        }
    }
    let room = dice.one_in(6).then(|| dice.below(2) as u8);
    let keys = dice.one_in(2);
    Scenario { skews_ms: skews(dice, faults, instances), approvals, clients, keys, room }
}

fn draw_long(dice: &mut Dice, faults: u16) -> Scenario {
    let instances = 4;
    let approvals: Vec<_> =
        (0..32).map(|_| Permission { team: dice.below(4) as u8, family: dice.below(8) as u8 }).collect();
    let clients = (0..128)
        .map(|index| {
            let wants = match index % 16 {
                14 => Wants::OtherStack,
                15 => Wants::OtherTeam,
                _ => Wants::Approved,
            };
            Client { approval: (index / 4) as u8, wants, instance: dice.below(instances) as u8 }
        })
        .collect();
    let room = dice.one_in(2).then(|| dice.below(8) as u8);
    let keys = dice.one_in(2);
    Scenario { skews_ms: skews(dice, faults, instances), approvals, clients, keys, room }
}
