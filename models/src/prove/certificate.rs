//! Certificates: the views of a proof as text, with the flow that it is about, and what is wrong with one.
//!
//! docs/proof.md has the format. A certificate is read as text from anywhere: nothing in it is trusted.

use std::{fmt, ops::ControlFlow};

use countersign::{flow_file, protocol::Flow};
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use sha2::{Digest as _, Sha256};

use super::{
    AnyNumber, Proof, checker,
    listing::Listing,
    plain::{Scene, Views},
};
use crate::{
    flows::Subject,
    model::Model,
    properties::{Property, Set},
};

const TITLE: &str = "countersign certificate 2";
/// The version that writes certificates, and checks those that it wrote.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The numbers of a context and of another participant, in the order in which they are listed.
pub(super) type View = (usize, Option<usize>);

/// The most views of a certificate: ten megabytes, and tens of seconds.
const MOST_VIEWS: usize = 800_000;

/// Some properties, and the views that none of them is violated by.
pub(super) struct Claim<'t> {
    /// The line of the certificate, from 1.
    pub(super) line: usize,
    pub(super) proved: Set,
    /// The contexts name users.
    names_users: bool,
    pub(super) contexts: Vec<&'t str>,
    pub(super) participants: Vec<&'t str>,
    /// In the order in which they follow, each with its line.
    pub(super) views: Vec<(usize, View)>,
}

/// Why a certificate is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A line is not what the format says.
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The text of the line.
        found: String,
        /// The text that belongs there.
        expected: &'static str,
    },
    /// Another version wrote it.
    Version(String),
    /// The certificate is about another flow.
    Flow {
        /// The SHA-256 of the flow that it is about.
        certified: String,
        /// That of the flow that it was held against.
        given: String,
    },
    /// A claim does not follow from the views.
    Unsound {
        /// The line of the view, from 1.
        line: usize,
        /// The gap or the violation.
        why: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { line, found, expected } => {
                write!(f, "line {line}: found {found}, expected {expected}")
            }
            Self::Version(version) => write!(f, "written by version {version}, checked by {VERSION}"),
            Self::Flow { certified, given } => {
                write!(f, "about the flow with SHA-256 {certified}, not {given}")
            }
            Self::Unsound { line, why } => write!(f, "line {line}: {why}"),
        }
    }
}

/// The content of a valid certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// For any number of callers, crashes and faults.
    pub properties: Vec<Property>,
    /// The number of views that were checked.
    pub views: usize,
    /// The SHA-256 of the flow file.
    pub flow_sha256: String,
    /// The flow file.
    pub flow_file: String,
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn ids(set: Set) -> String {
    let ids = Property::ALL.iter().filter(|one| set & one.bit() != 0).map(|one| format!(" {}", one.id()));
    ids.collect()
}

/// A certificate, and what it does not say.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its text.
    pub text: String,
    /// The properties that are proved, and that its views do not show.
    pub left_out: Vec<Property>,
}

impl Proof {
    /// The certificate of what is proved of `flow`, whose file is `flow_file`. `watch` may stop it, and is called with the
    /// number of views.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn certificate(
        &self,
        flow: &Flow,
        flow_file: &str,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Written, String> {
        let is_proved = |one: &&Property| self.of(**one) == AnyNumber::Proved;
        let proved: Vec<Property> = Property::ALL.iter().filter(is_proved).copied().collect();
        let proved_set = proved.iter().fold(0, |set, one| set | one.bit());
        let mut reason = "nothing was proved".to_owned();
        for names_users in [true, false].into_iter().filter(|_| proved_set != 0) {
            let views = Views::new(Model::unseated(flow.clone()), names_users);
            let few = &mut |views| if views > MOST_VIEWS { ControlFlow::Break(()) } else { watch(views) };
            let moves = |context: &Scene, other: Option<&Scene>| views.moves(context, other);
            let listing = match Listing::new(&views, &moves, few) {
                Ok(listing) => listing,
                Err(why) => {
                    reason = why;
                    continue;
                }
            };
            let claimed = proved_set & !listing.violated;
            reason = "its views show nothing of what was proved".to_owned();
            if claimed != 0 {
                let mut text = heading(flow_file, claimed, names_users);
                listing.write(&mut text);
                let left_out = proved.iter().filter(|one| claimed & one.bit() == 0).copied().collect();
                return Ok(Written { text, left_out });
            }
        }
        Err(reason)
    }
}

/// The lines above the views.
pub(super) fn heading(flow_file: &str, claimed: Set, names_users: bool) -> String {
    let file: String = flow_file.split('\n').map(|line| format!("| {line}\n")).collect();
    let users = if names_users { "users\n" } else { "" };
    let hash = sha256(flow_file);
    format!("{TITLE}\nversion {VERSION}\nflow {hash}\n{file}proved{}\n{users}", ids(claimed))
}

/// What a certificate says, before any of it is checked.
pub(super) struct Certificate<'t> {
    pub(super) base: Model,
    pub(super) claim: Claim<'t>,
    flow_sha256: String,
    flow_file: String,
}

/// Checks a certificate. `flow_file`: the flow that it has to be about; it has its own all the same.
///
/// # Errors
/// [`Refusal`] says why it proves nothing.
pub fn check(text: &str, flow_file: Option<&str>) -> Result<Certified, Refusal> {
    let Certificate { base, claim, flow_sha256, flow_file } = read(text, flow_file)?;
    checker::check(&Views::new(base, claim.names_users), &claim)?;
    let is_claimed = |one: &&Property| claim.proved & one.bit() != 0;
    let properties = Property::ALL.iter().filter(is_claimed).copied().collect();
    Ok(Certified { properties, views: claim.views.len(), flow_sha256, flow_file })
}

/// Reads a certificate, and its flow.
pub(super) fn read<'t>(text: &'t str, flow_file: Option<&str>) -> Result<Certificate<'t>, Refusal> {
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    let mut reader = Reader { lines, at: 0 };
    if reader.next_line() != Some(TITLE) {
        return Err(reader.malformed("`countersign certificate 2`"));
    }
    let version = reader.field("version ").ok_or_else(|| reader.malformed("`version`"))?;
    if version != VERSION {
        return Err(Refusal::Version(version.chars().take(40).collect()));
    }
    let certified = reader.field("flow ").ok_or_else(|| reader.malformed("`flow` and a SHA-256"))?.to_owned();
    let mut file_lines = Vec::new();
    while let Some(line) = reader.peek().and_then(|line| line.strip_prefix("| ")) {
        file_lines.push(line);
        reader.at += 1;
    }
    let file = file_lines.join("\n");
    for given in [Some(file.as_str()), flow_file].into_iter().flatten().map(sha256) {
        if given != certified {
            let certified = certified.chars().take(given.len()).collect();
            return Err(Refusal::Flow { certified, given });
        }
    }
    let flow = Subject::read(file.as_bytes()).map_err(|problem| Refusal::Malformed {
        line: 3 + flow_file::position(file.as_bytes(), problem.span.start).0,
        found: problem.found(),
        expected: "a flow file of this version",
    })?;
    let base = Model::unseated(flow.flow);
    let claim = reader.claim(&base)?;
    Ok(Certificate { base, claim, flow_sha256: certified, flow_file: file })
}

/// Reads a certificate line by line.
struct Reader<'t> {
    lines: Vec<&'t str>,
    /// The lines that were read.
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.lines.get(self.at).copied()
    }

    fn next_line(&mut self) -> Option<&'t str> {
        self.at += 1;
        self.lines.get(self.at - 1).copied()
    }

    /// The rest of the next line after `name`.
    fn field(&mut self, name: &str) -> Option<&'t str> {
        self.next_line()?.strip_prefix(name)
    }

    /// The line that was read last is not what it should be.
    fn malformed(&self, expected: &'static str) -> Refusal {
        let line = self.lines.get(self.at.saturating_sub(1));
        let shown = |line: &&str| format!("`{}`", line.chars().take(60).collect::<String>().escape_debug());
        Refusal::Malformed {
            line: self.at.clamp(1, self.lines.len().max(1)),
            found: line.map_or_else(|| "the end".to_owned(), shown),
            expected,
        }
    }

    fn properties(&self, base: &Model, ids: &str) -> Result<Set, Refusal> {
        let applies = |id: &str| {
            let modelled = Property::from_id(id).filter(|one| Property::MODELLED.contains(one));
            modelled.filter(|one| base.applies(*one)).map(|one| one.bit())
        };
        let set = ids.split(' ').try_fold(0, |set, id| Some(set | applies(id)?));
        set.ok_or_else(|| self.malformed("properties that apply to the flow"))
    }

    fn claim(&mut self, base: &Model) -> Result<Claim<'t>, Refusal> {
        let proved = self.field("proved ").ok_or_else(|| self.malformed("`proved` and properties"))?;
        let proved = self.properties(base, proved)?;
        let mut claim = Claim {
            line: self.at,
            proved,
            names_users: false,
            contexts: vec![],
            participants: vec![],
            views: vec![],
        };
        if self.peek() == Some("users") {
            self.at += 1;
            claim.names_users = true;
        }
        let (mut texts, mut listed) =
            (HashSet::with_hasher(FixedState::default()), HashSet::with_hasher(FixedState::default()));
        while let Some(line) = self.peek() {
            self.at += 1;
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let is_new = match word {
                "context" => {
                    claim.views.push((self.at, (claim.contexts.len(), None)));
                    claim.contexts.push(rest);
                    texts.insert(line)
                }
                "participant" => {
                    // It is there for the view after it.
                    let number = format!(" {}", claim.participants.len());
                    let is_of = |view: &str| view.starts_with("view ") && view.ends_with(&number);
                    if !self.peek().is_some_and(is_of) {
                        self.at += 1;
                        return Err(self.malformed("a view of the participant above"));
                    }
                    claim.participants.push(rest);
                    texts.insert(line)
                }
                "view" => {
                    let number = |text: &str, most: usize| {
                        text.parse()
                            .ok()
                            .filter(|number: &usize| *number < most && number.to_string() == text)
                    };
                    let view = rest.split_once(' ').and_then(|(context, one)| {
                        let context: usize = number(context, claim.contexts.len())?;
                        Some((context, Some(number(one, claim.participants.len())?)))
                    });
                    let view = view
                        .ok_or_else(|| self.malformed("the numbers of a context and a participant above"))?;
                    claim.views.push((self.at, view));
                    listed.insert(view)
                }
                _ => return Err(self.malformed("`context`, `participant` or `view`")),
            };
            if !is_new {
                return Err(self.malformed("a line that was not there before"));
            }
            if claim.views.len() > MOST_VIEWS {
                return Err(self.malformed("no more views than a certificate may have"));
            }
        }
        Ok(claim)
    }
}
