//! A small generator of random numbers, the same everywhere.

pub(super) struct Rng(pub(super) u64);

impl Rng {
    /// splitmix64
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these, by weight.
    pub(super) fn weighted<'a, T>(&mut self, from: &'a [(T, usize)]) -> &'a T {
        let mut at = self.below(from.iter().map(|(_, weight)| weight).sum());
        for (one, weight) in from {
            if at < *weight {
                return one;
            }
            at -= weight;
        }
        unreachable!("the weights add up")
    }
}
