//! The text of contexts and participants: the classes of those that take part, and the packed state of them.
//!
//! Invariant: equal texts are of equal values. A value that the packed form would not keep whole has no text.

use std::{cell::RefCell, hash::Hash, rc::Rc};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::view::{Abstraction, Class, Context, NoRoom, Participant};
use crate::world::Packed;

/// The texts of values, each made once.
pub(super) struct Texts<T>(RefCell<HashMap<T, Rc<str>, FixedState>>);

impl<T> Default for Texts<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Clone + Eq + Hash> Texts<T> {
    /// The text of `value`, which `make` makes.
    pub(super) fn of(
        &self,
        value: &T,
        make: impl FnOnce(&T) -> Result<String, NoRoom>,
    ) -> Result<Rc<str>, NoRoom> {
        if let Some(known) = self.0.borrow().get(value) {
            return Ok(Rc::clone(known));
        }
        let text: Rc<str> = make(value)?.into();
        self.0.borrow_mut().insert(value.clone(), Rc::clone(&text));
        Ok(text)
    }
}

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

    /// As [`text_of_context`](Self::text_of_context), made once.
    pub(super) fn known_text_of_context(&self, context: &Context) -> Result<Rc<str>, NoRoom> {
        self.texts.0.of(context, |context| self.text_of_context(context))
    }

    /// As [`text_of_participant`](Self::text_of_participant), made once.
    pub(super) fn known_text_of_participant(&self, one: &Participant) -> Result<Rc<str>, NoRoom> {
        self.texts.1.of(one, |one| self.text_of_participant(one))
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
