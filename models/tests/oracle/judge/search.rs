//! The oracle's search: every world, level by level, and the fair ways to avoid what should come about.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, hash_map::Entry};

use super::*;

struct Space {
    worlds: Vec<World>,
    level: Vec<u16>,
    id: HashMap<World, u32, FixedState>,
}

/// The verdicts; none when there are more worlds than allowed.
pub(crate) fn judge(flow_toml: &str, bounds: Bounds, max_states: usize) -> Option<Verdicts> {
    assert!(bounds.consumers as usize <= MAX, "at most {MAX} consumers");
    let judge = Judge { flow: parse(flow_toml), bounds };
    let mut verdicts: Verdicts = PROPERTIES.iter().map(|&name| (name, None)).collect();
    // Levels only grow, so the first time is the shortest.
    let mut note = |name: &'static str, n: usize| {
        verdicts.get_mut(name).unwrap().get_or_insert(n);
    };

    let first = judge.initial();
    let mut space = Space { worlds: vec![first], level: vec![0], id: HashMap::from_iter([(first, 0u32)]) };
    let mut next = 0;
    while next < space.worlds.len() {
        let (w, level) = (space.worlds[next], space.level[next]);
        next += 1;
        for name in judge.broken_in(&w) {
            note(name, level as usize);
        }
        for m in judge.moves(&w, true) {
            for (name, bit) in ON_TRANSITIONS {
                if m.broke & bit != 0 {
                    note(name, level as usize + 1);
                }
            }
            if let Entry::Vacant(v) = space.id.entry(m.to) {
                v.insert(space.worlds.len() as u32);
                space.worlds.push(m.to);
                space.level.push(level + 1);
            }
        }
        if space.worlds.len() > max_states {
            return None;
        }
    }

    let unlaunched = |w: &World| w.status == Status::Executed && w.launches == 0;
    let unsettled = |w: &World| w.building.contains(&true);
    verdicts.insert("L1", avoidable(&judge, &space, &unlaunched));
    verdicts.insert("L2", avoidable(&judge, &space, &unsettled));
    Some(verdicts)
}

/// The level of the first state from which some weakly fair path without harm stays bad for
/// ever: one that, inside the bad states, reaches a strongly connected component in which
/// everybody to whom fairness is owed either moves or is somewhere not able to. (ApprovalState still is
/// a path as well: a lone state is such a component if nobody owed can move there.)
fn avoidable(judge: &Judge, space: &Space, bad: &dyn Fn(&World) -> bool) -> Option<usize> {
    const NEW: u32 = u32::MAX;
    let n = space.worlds.len();
    let mut index = vec![NEW; n];
    let mut low = vec![NEW; n];
    let mut on_stack = vec![false; n];
    let mut avoids = vec![false; n];
    let (mut stack, mut counter, mut best) = (Vec::<u32>::new(), 0u32, None::<usize>);
    let moves = |v: u32| -> Vec<(u32, u32, bool)> {
        let all = judge.moves(&space.worlds[v as usize], false).into_iter();
        all.map(|m| (space.id[&m.to], m.who, bad(&m.to))).collect()
    };
    let within =
        |v: u32| -> Vec<u32> { moves(v).into_iter().filter(|&(_, _, b)| b).map(|(t, _, _)| t).collect() };

    for root in 0..n as u32 {
        if index[root as usize] != NEW || !bad(&space.worlds[root as usize]) {
            continue;
        }
        let mut frames: Vec<(u32, Vec<u32>)> = Vec::new();
        let mut enter = Some(root);
        loop {
            if let Some(v) = enter.take() {
                (index[v as usize], low[v as usize]) = (counter, counter);
                counter += 1;
                stack.push(v);
                on_stack[v as usize] = true;
                frames.push((v, within(v)));
            }
            let Some((v, rest)) = frames.last_mut() else { break };
            let v = *v;
            if let Some(t) = rest.pop() {
                if index[t as usize] == NEW {
                    enter = Some(t);
                } else if on_stack[t as usize] {
                    low[v as usize] = low[v as usize].min(index[t as usize]);
                }
                continue;
            }
            frames.pop();
            if let Some((parent, _)) = frames.last() {
                low[*parent as usize] = low[*parent as usize].min(low[v as usize]);
            }
            if low[v as usize] != index[v as usize] {
                continue;
            }
            // v is the root of a component: everything above it on the stack.
            let from = stack.iter().rposition(|&x| x == v).unwrap();
            let component: Vec<u32> = stack.split_off(from);
            let (mut always_able, mut moved, mut leads_on) = (u32::MAX, 0, false);
            for &x in &component {
                let mut able = 0;
                for (t, who, is_bad) in moves(x) {
                    able |= who;
                    if is_bad && component.contains(&t) {
                        moved |= who;
                    } else if is_bad {
                        leads_on |= avoids[t as usize];
                    }
                }
                always_able &= able;
            }
            let avoid = leads_on || always_able & !moved == 0;
            for &x in &component {
                on_stack[x as usize] = false;
                avoids[x as usize] = avoid;
                if avoid {
                    let level = space.level[x as usize] as usize;
                    best = Some(best.map_or(level, |b| b.min(level)));
                }
            }
        }
    }
    best
}
