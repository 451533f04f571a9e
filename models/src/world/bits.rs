//! Small numbers in a few words, first in first out.

/// The words of a packed state.
pub(super) type Words = [u64; super::layout::WORDS];

/// A place in the words.
pub(super) struct Bits {
    pub(super) words: Words,
    used: u32,
}

impl Bits {
    pub(super) fn new(words: Words) -> Self {
        Self { words, used: 0 }
    }

    pub(super) fn used(&self) -> u32 {
        self.used
    }

    #[inline]
    pub(super) fn push(&mut self, value: u64, width: u32) {
        debug_assert!(width == 64 || value < 1 << width, "{value} in {width} bits");
        if width == 0 {
            return;
        }
        let (word, shift) = ((self.used / 64) as usize, self.used % 64);
        self.words[word] |= value << shift;
        if shift + width > 64 {
            self.words[word + 1] |= value >> (64 - shift);
        }
        self.used += width;
    }

    #[inline]
    pub(super) fn pull(&mut self, width: u32) -> u64 {
        if width == 0 {
            return 0;
        }
        let (word, shift) = ((self.used / 64) as usize, self.used % 64);
        let mut value = self.words[word] >> shift;
        if shift + width > 64 {
            value |= self.words[word + 1] << (64 - shift);
        }
        self.used += width;
        if width == 64 { value } else { value & ((1 << width) - 1) }
    }
}

/// One description of the fields for both ways: the order of pushes is that of pulls.
pub(super) trait Field: Sized {
    fn visit(&mut self, value: &mut u64, width: u32);

    fn small(&mut self, value: &mut u8, width: u32) {
        let mut wide = u64::from(*value);
        self.visit(&mut wide, width);
        *value = wide as u8;
    }

    fn flag(&mut self, value: &mut bool, is_used: bool) {
        let mut wide = u64::from(*value);
        self.visit(&mut wide, u32::from(is_used));
        *value = wide != 0;
    }

    /// An index below 15, none as 0.
    fn place(&mut self, value: &mut Option<u8>, is_used: bool) {
        let mut wide = value.map_or(0, |place| u64::from(place) + 1);
        self.visit(&mut wide, if is_used { 4 } else { 0 });
        *value = (wide as u8).checked_sub(1);
    }

    fn of_list<T: Copy + PartialEq>(&mut self, value: &mut T, all: &[T], width: u32) {
        let index = all.iter().position(|one| one == value).unwrap_or(0);
        let mut wide = index as u64;
        self.visit(&mut wide, width);
        *value = all[wide as usize];
    }
}

/// Writes fields.
pub(super) struct Push(pub(super) Bits);
/// Reads fields.
pub(super) struct Pull(pub(super) Bits);

impl Field for Push {
    #[inline]
    fn visit(&mut self, value: &mut u64, width: u32) {
        self.0.push(if width == 0 { 0 } else { *value }, width);
    }
}

impl Field for Pull {
    #[inline]
    fn visit(&mut self, value: &mut u64, width: u32) {
        if width > 0 {
            *value = self.0.pull(width);
        }
    }
}
