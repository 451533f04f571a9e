//! The text of contexts and participants: the classes of those that take part, and the packed state of them.
//!
//! Invariant: equal texts are of equal values. A value that the packed form would not keep whole has no text.

use super::view::{Abstraction, Class, Context, NoRoom, Participant};
use crate::world::Packed;

impl Class {
    fn letter(self) -> char {
        match self {
            Self::Caller => 'c',
            Self::Foreign => 'f',
            Self::OtherTenant => 's',
            Self::Scanner => 'l',
            Self::Done => 'd',
        }
    }
}

impl Abstraction {
    /// `c 0 1f.4`: the classes of the named participants, the successes, and the state.
    pub(super) fn text_of_context(&self, context: &Context) -> Result<String, NoRoom> {
        let classes: String = context.named.iter().map(|one| one.class.letter()).collect();
        let classes = if classes.is_empty() { "-" } else { &classes };
        Ok(format!("{classes} {} {}", context.successes, self.packed(context, &[])?))
    }

    /// `c 1f.4`: the class, and the state in which it is the only participant.
    pub(super) fn text_of_participant(&self, one: &Participant) -> Result<String, NoRoom> {
        Ok(format!("{} {}", one.class.letter(), self.packed(&self.initial(), std::slice::from_ref(one))?))
    }

    fn packed(&self, context: &Context, others: &[Participant]) -> Result<String, NoRoom> {
        let (seating, state) = self.state(context, others)?;
        let layout = seating.model.layout();
        if !layout.fits() {
            return Err(NoRoom);
        }
        let packed: Packed = layout.pack(&state);
        if layout.unpack(&packed) != state {
            return Err(NoRoom);
        }
        let used = packed.iter().rposition(|word| *word != 0).map_or(1, |last| last + 1);
        Ok(packed[..used].iter().map(|word| format!("{word:x}")).collect::<Vec<_>>().join("."))
    }
}
