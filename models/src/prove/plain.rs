//! A view as certificates have it: a context, and at most one other participant, of which nothing is forgotten. See docs/proof.md.

use std::{cell::RefCell, rc::Rc};

use countersign::protocol::{Method, Retry};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    model::{Cast, Model, Role},
    world::{Attempt, Lease, MAX_ATTEMPTS, State, World},
};

/// Participants in a world, from seat 1 on: a letter for the class of each, and the state. Seat 0 has the fresh attempts of L3 and
/// L4, which never begin. A context is a scene, and so is another participant, in the initial world.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) classes: String,
    pub(super) state: State,
}

/// A participant's class, its first attempt, and the one after its last.
type Seat = (char, usize, usize);

/// A move: true unless it is a crash, and the views after it.
pub(super) type Move = (bool, (Scene, Vec<Scene>));

/// States as views.
pub(super) struct Views {
    pub(super) model: Model,
    /// A context has every participant that has used the object, acted or succeeded.
    pub(super) names_users: bool,
    models: RefCell<HashMap<String, Rc<Model>, FixedState>>,
}

/// The attempts that the world refers to.
pub(super) fn references(world: &mut World) -> impl Iterator<Item = &mut u8> {
    let by = if let Lease::Held { by, .. } = &mut world.lease { Some(by) } else { None };
    let last = [&mut world.lease_last, &mut world.vault_writer, &mut world.last_user];
    by.into_iter().chain(world.writers.iter_mut().chain(last).flatten())
}

impl Views {
    pub(super) fn new(model: Model, names_users: bool) -> Self {
        Self { model, names_users, models: RefCell::default() }
    }

    /// The initial context, and a participant of each class that has not begun.
    pub(super) fn initial(&self) -> (Scene, Vec<Scene>) {
        let (object, scans) =
            (self.model.flow().object(), self.model.flow().endpoint().method == Method::Get);
        let classes = [('c', true), ('f', object.bound), ('s', object.owner), ('l', scans)];
        let scene = |class: &str| Scene { classes: class.to_owned(), state: self.model.initial() };
        let others = classes.iter().filter(|(_, is)| *is).map(|(class, _)| scene(&class.to_string()));
        (scene(""), others.collect())
    }

    /// The seats of a caller who never begins, and of these participants.
    pub(super) fn seats(&self, classes: &str) -> Vec<Seat> {
        let retries = self.model.flow().endpoint().retry != Retry::None;
        let mut end = 0;
        let seat = |class| {
            let first = end;
            end += 1 + usize::from(retries && matches!(class, 'c' | 'f'));
            (class, first, end)
        };
        std::iter::once('c').chain(classes.chars()).map(seat).collect()
    }

    /// The model with these participants.
    pub(super) fn model(&self, classes: &str) -> Result<Rc<Model>, String> {
        if let Some(known) = self.models.borrow().get(classes) {
            return Ok(Rc::clone(known));
        }
        let cast = self.seats(classes).into_iter().flat_map(|(class, first, end)| {
            let role = match class {
                's' => Role::OtherTenant,
                'l' => Role::Scanner,
                class => Role::Caller { index: 0, foreign: class == 'f' },
            };
            (first..end).map(move |at| Cast { role, retry_of: (at > first).then_some(first as u8) })
        });
        let model = self.model.seated(cast.take(MAX_ATTEMPTS + 1).collect());
        let fits = model.cast().len() <= MAX_ATTEMPTS && model.layout().fits();
        fits.then_some(()).ok_or("a view takes more room than a state has")?;
        Ok(Rc::clone(self.models.borrow_mut().entry_ref(classes).or_insert(Rc::new(model))))
    }

    /// The classes and the packed state. Equal texts are of equal scenes.
    pub(super) fn text(&self, scene: &Scene) -> Result<String, String> {
        let model = self.model(&scene.classes)?;
        let packed = model.layout().pack(&scene.state);
        (model.layout().unpack(&packed) == scene.state).then_some(()).ok_or("a packed form is not whole")?;
        Ok(packed.iter().fold(format!("-{}", scene.classes), |text, word| format!("{text} {word:x}")))
    }

    /// These participants, each of some scene, in the world of the first one's.
    fn gather(&self, world: World, from: &[(&Scene, Seat)]) -> Result<Scene, String> {
        let classes: String = from.iter().map(|(_, (class, ..))| class).collect();
        let mut scene = Scene { classes, state: State { world, ..self.model.initial() } };
        let own_keys = self.model.flow().object().uses > 1;
        if own_keys {
            (scene.state.world.keyed, scene.state.world.jobs) = Default::default();
        }
        let mut moved = [None; MAX_ATTEMPTS];
        self.model(&scene.classes)?;
        for ((from, (_, first, end)), seat) in from.iter().zip(&self.seats(&scene.classes)[1..]) {
            for (at, to) in (*first..*end).zip(seat.1..) {
                moved[at] = moved[at].or(Some(to as u8));
                scene.state.attempts[to] = from.state.attempts[at];
                for act in (0..world.keyed.len()).filter(|_| own_keys) {
                    scene.state.world.keyed[act] |= (from.state.world.keyed[act] >> at & 1) << to;
                    scene.state.world.jobs[act][to] = from.state.world.jobs[act][at];
                }
            }
        }
        references(&mut scene.state.world).for_each(|by| *by = moved[usize::from(*by)].unwrap_or(*by));
        Ok(scene)
    }

    /// The state of a view.
    pub(super) fn join(&self, context: &Scene, other: Option<&Scene>) -> Result<Scene, String> {
        let seats = [Some(context), other].into_iter().flatten();
        let all = seats
            .flat_map(|scene| self.seats(&scene.classes).into_iter().skip(1).map(move |seat| (scene, seat)));
        self.gather(context.state.world, &Vec::from_iter(all))
    }

    /// The views of a state: its context, and each other participant. One crash and one fault may always happen.
    pub(super) fn split(&self, all: &Scene) -> Result<(Scene, Vec<Scene>), String> {
        let mut world = World { crashes_left: 1, faults_left: 1, ..all.state.world };
        let referred: Vec<usize> = references(&mut world).map(|by| usize::from(*by)).collect();
        let (mut named, mut others) = (Vec::new(), Vec::new());
        for seat @ (_, first, end) in self.seats(&all.classes).into_iter().skip(1) {
            let alone = self.gather(self.model.initial().world, &[(all, seat)])?;
            let uses = |one: &Attempt| self.names_users && (one.has_effect() || one.stage.is_success());
            // A refund under a key may change each participant that has acted.
            let refunds = self.model.layout().undone != 0 && self.model.layout().keyed.contains(&true);
            let is_named = |one: &Attempt| uses(one) || (refunds && one.has_acted());
            let roles: Vec<_> = referred.iter().map(|by| (first..end).position(|at| at == *by)).collect();
            match all.state.attempts[first..end].iter().any(is_named) || roles.iter().any(Option::is_some) {
                true => named.push((self.text(&alone)?, roles, seat)),
                false => others.push(alone),
            }
        }
        named.sort_unstable();
        let named: Vec<_> = named.into_iter().map(|(.., seat)| (all, seat)).collect();
        Ok((self.gather(world, &named)?, others))
    }
}
