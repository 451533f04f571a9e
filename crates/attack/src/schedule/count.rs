//! The number of interleavings that a schedule stands for.

use std::collections::BTreeMap;

/// The number of orders of the steps in which each request's steps keep their order, and so does every pair
/// `(earlier, later)` of steps that depend on each other. `None` when it exceeds `u128`.
pub(super) fn linear_extensions(requests: &[usize], dependent: &[(usize, usize)]) -> Option<u128> {
    let count = requests.iter().max().map_or(0, |most| most + 1);
    let mut chains = vec![Vec::new(); count];
    let mut place = Vec::with_capacity(requests.len());
    for (step, request) in requests.iter().enumerate() {
        place.push(chains[*request].len());
        chains[*request].push(step);
    }
    // For each step and request: how many of the request's steps come before it.
    let mut needs = vec![vec![0; count]; requests.len()];
    for (earlier, later) in dependent {
        let need = &mut needs[*later][requests[*earlier]];
        *need = (*need).max(place[*earlier] + 1);
    }
    let mut ways = BTreeMap::from([(vec![0; count], 1u128)]);
    for _ in 0..requests.len() {
        let mut next: BTreeMap<Vec<usize>, u128> = BTreeMap::new();
        for (done, ways) in ways {
            for (request, chain) in chains.iter().enumerate() {
                let Some(step) = chain.get(done[request]) else { continue };
                if needs[*step].iter().zip(&done).all(|(need, done)| need <= done) {
                    let mut done = done.clone();
                    done[request] += 1;
                    let sum = next.entry(done).or_default();
                    *sum = sum.checked_add(ways)?;
                }
            }
        }
        ways = next;
    }
    ways.into_values().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_dependence_it_is_the_multinomial_coefficient() {
        assert_eq!(linear_extensions(&[0, 0, 0, 1, 1, 1], &[]), Some(20));
        assert_eq!(linear_extensions(&[0, 0, 1, 1, 2, 2], &[]), Some(90));
        assert_eq!(linear_extensions(&[], &[]), Some(1));
    }

    #[test]
    fn dependence_leaves_fewer() {
        // The last of the first request before the first of the second: one order.
        assert_eq!(linear_extensions(&[0, 0, 1, 1], &[(1, 2)]), Some(1));
        // The first before the last: all but one.
        assert_eq!(linear_extensions(&[0, 0, 1, 1], &[(0, 3)]), Some(5));
    }

    #[test]
    fn too_many_are_not_counted() {
        let requests: Vec<_> = (0..200).map(|step| step % 2).collect();
        assert_eq!(linear_extensions(&requests, &[]), None);
    }
}
