//! Guards: the shortest conditions found that are true of some rows of a table and false of others.
//!
//! Greedy, and exact on the table: a condition begins as one whole row, each variable is left out as long as no row
//! that must be excluded gets in, and the values of those that stay are widened in the same way.

/// A variable is one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) var: usize,
    /// In order.
    pub(super) values: Vec<u8>,
}

/// Every literal is true.
pub(super) type Cube = Vec<Literal>;

/// Rows of numbers, column by column.
pub(super) struct Matrix {
    rows: usize,
    /// For each column its values, each with the rows that have it.
    columns: Vec<Vec<(u8, Bits)>>,
    data: Vec<Vec<u8>>,
}

/// A set of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn empty(rows: usize) -> Self {
        Self(vec![0; rows.div_ceil(64)])
    }

    pub(super) fn insert(&mut self, row: usize) {
        self.0[row / 64] |= 1 << (row % 64);
    }

    pub(super) fn has(&self, row: usize) -> bool {
        self.0[row / 64] >> (row % 64) & 1 == 1
    }

    fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    fn or(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(word, other)| word & other != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

impl Matrix {
    pub(super) fn new(data: Vec<Vec<u8>>) -> Self {
        let rows = data.len();
        let width = data.first().map_or(0, Vec::len);
        let mut columns: Vec<Vec<(u8, Bits)>> = vec![Vec::new(); width];
        for (row, values) in data.iter().enumerate() {
            for (column, value) in columns.iter_mut().zip(values) {
                let place = match column.iter().position(|(known, _)| known == value) {
                    Some(place) => place,
                    None => {
                        column.push((*value, Bits::empty(rows)));
                        column.len() - 1
                    }
                };
                column[place].1.insert(row);
            }
        }
        columns.iter_mut().for_each(|column| column.sort_by_key(|(value, _)| *value));
        Self { rows, columns, data }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn with(&self, literal: &Literal) -> Bits {
        let mut bits = Bits::empty(self.rows);
        for (value, rows) in &self.columns[literal.var] {
            if literal.values.contains(value) {
                bits.or(rows);
            }
        }
        bits
    }

    /// Cubes that are true of every row of `wanted` and of no row of `excluded`. No row may be in both unless the two
    /// are equal in every variable, which the caller has to rule out.
    pub(super) fn cover(&self, wanted: &Bits, excluded: &Bits) -> Vec<Cube> {
        let mut cubes = Vec::new();
        let mut open = wanted.clone();
        for row in 0..self.rows {
            if !open.has(row) {
                continue;
            }
            let cube = self.widen(row, excluded);
            let mut covered = self.all();
            cube.iter().for_each(|literal| covered.and(&self.with(literal)));
            open.0.iter_mut().zip(&covered.0).for_each(|(word, covered)| *word &= !covered);
            cubes.push(cube);
        }
        cubes
    }

    fn all(&self) -> Bits {
        Bits(vec![u64::MAX; self.rows.div_ceil(64)])
    }

    fn widen(&self, row: usize, excluded: &Bits) -> Cube {
        let mut cube: Cube = (0..self.columns.len())
            .filter(|var| self.columns[*var].len() > 1)
            .map(|var| Literal { var, values: vec![self.data[row][var]] })
            .collect();
        let mut bits: Vec<Bits> = cube.iter().map(|literal| self.with(literal)).collect();
        // The rows that the first variables leave; the last variables are left out first.
        let mut before = vec![excluded.clone()];
        for one in &bits {
            let mut next = before.last().cloned().unwrap_or_else(|| excluded.clone());
            next.and(one);
            before.push(next);
        }
        let mut after = self.all();
        for index in (0..cube.len()).rev() {
            if before[index].meets(&after) {
                after.and(&bits[index]);
            } else {
                cube.remove(index);
                bits.remove(index);
            }
        }
        for index in 0..cube.len() {
            let mut others = excluded.clone();
            bits.iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .for_each(|(_, bits)| others.and(bits));
            for (value, rows) in &self.columns[cube[index].var] {
                if !cube[index].values.contains(value) && !others.meets(rows) {
                    cube[index].values.push(*value);
                    bits[index].or(rows);
                }
            }
            cube[index].values.sort_unstable();
        }
        cube
    }
}
