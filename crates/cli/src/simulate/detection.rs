//! `countersign simulate detection`: how soon everything that is known to be bad is found, in one table.

use std::{collections::BTreeMap, ops::ControlFlow};

use countersign_models::{
    flows::Subject,
    properties::Property,
    simulation::{KnownBad, Seeds},
};

use super::{document::Shrunk, lengths::Difference, player::Player, trace::TraceDigest};
use crate::{args::DetectionArgs, judge::pool};
use countersign_terminal::{BadInput, Exit, print_line};

/// Results for everything that is known to be bad.
struct Detection {
    version: &'static str,
    seeds: (u64, u64),
    campaigns: Vec<Detected>,
}

/// One campaign.
struct Detected {
    /// A walk, or the kind of the defect that the driver plays.
    kind: String,
    name: String,
    /// Hash of all of its seeds.
    trace_sha256: String,
    /// Expected violations that were not found.
    not_found: Vec<&'static str>,
    /// Events that were possible and never happened. Flow files exclude impossible ones; controls do not.
    not_covered: Vec<String>,
    broken: BTreeMap<&'static str, Broken>,
}

struct Broken {
    seeds: u64,
    median_seeds: u64,
    p99_seeds: u64,
    shrunk: usize,
    modelled: Option<usize>,
    model_shortest: Option<usize>,
    differs: Option<Difference>,
}

pub(super) fn run(args: &DetectionArgs) -> Result<Exit, BadInput> {
    let pool = pool(args.threads)?;
    let campaigns = pool.install(|| {
        let driven = KnownBad::all().into_iter().map(|KnownBad { bad, name, campaign, breaks }| {
            detect(bad.to_string(), name, &Player::Driver(campaign), &breaks, args.seeds)
        });
        let walked = KnownBad::walked().into_iter().map(|KnownBad { bad, name, campaign, breaks }| {
            // Only the report of one campaign says what the driver lacks.
            let player = Player::Model { walks: Box::new(campaign), lacks: String::new() };
            detect(format!("{bad}, walked"), name, &player, &breaks, args.seeds)
        });
        driven.chain(walked).collect()
    });
    let detection = Detection { version: env!("CARGO_PKG_VERSION"), seeds: args.seeds, campaigns };
    table(&detection);
    let all_found = detection.campaigns.iter().all(|one| one.not_found.is_empty());
    Ok(if all_found { Exit::Expected } else { Exit::Unexpected })
}

fn detect(
    kind: String,
    name: String,
    player: &Player,
    breaks: &[Property],
    (from, to): (u64, u64),
) -> Detected {
    let seeds = Seeds { from, to, shard: 0, shards: 1 };
    let report = player.run(seeds, &mut |_| ControlFlow::Continue(()));
    let mut found = player.shrunk(&report);
    let subject = Subject::read(player.flow_file().as_bytes()).ok();
    if let (Player::Model { .. }, Some(subject)) = (player, &subject) {
        Shrunk::compare(&mut found, &subject.flow);
    }
    let broken = |property: &Property| {
        let Shrunk { failure, modelled, model_shortest, differs, median_seeds, p99_seeds } =
            found.get(property.id())?.clone();
        let seeds = report.finding(*property)?.seeds;
        let shrunk = failure.length();
        let broken = Broken { seeds, median_seeds, p99_seeds, shrunk, modelled, model_shortest, differs };
        Some((property.id(), broken))
    };
    Detected {
        kind,
        name,
        trace_sha256: TraceDigest::of(player, (from, to)).sha256,
        not_found: breaks.iter().filter(|one| report.finding(**one).is_none()).map(|one| one.id()).collect(),
        not_covered: subject.map_or_else(Vec::new, |subject| report.coverage.missing(&subject)),
        broken: Property::ALL.iter().filter_map(broken).collect(),
    }
}

/// In markdown: it is read in a terminal as well.
fn table(Detection { version, seeds: (from, to), campaigns }: &Detection) {
    print_line!("# Seeds to detection\n");
    print_line!(
        "Each campaign has the seeds {from}..{to}, of countersign {version}. Of every property that it broke: by how many of"
    );
    print_line!(
        "them, the median and the 99th percentile of seeds to detection, to how many actions it shrank, and how many the"
    );
    print_line!(
        "model's shortest run has. \"Walked\" are random walks of the model: the driver does not carry that flow out.\n"
    );
    print_line!("| | | property | seeds | median | 99 % | shrunk | the model's | |");
    print_line!("|---|---|---|---:|---:|---:|---:|---:|---|");
    let number = |number: Option<usize>| number.map_or("–".to_owned(), |number| number.to_string());
    let numbered = Property::numbered();
    for Detected { kind, name, broken, .. } in campaigns {
        for (id, one) in numbered.iter().filter_map(|property| broken.get_key_value(property.id())) {
            let Broken { seeds, median_seeds, p99_seeds, shrunk, model_shortest, differs, modelled } = one;
            let model_shortest = number(*model_shortest);
            let differs = match (differs, modelled) {
                (None, _) => "=".to_owned(),
                (Some(Difference::OtherFaults), Some(modelled)) => {
                    format!("{}: {modelled} with the model's", Difference::OtherFaults.label())
                }
                (Some(why), _) => why.label().to_owned(),
            };
            print_line!(
                "| {kind} | {name} | {id} | {seeds} | {median_seeds} | {p99_seeds} | {shrunk} | {model_shortest} | {differs} |"
            );
        }
    }
    print_line!("\nWhere the two lengths differ:\n");
    let differs = |why: Difference| {
        campaigns.iter().flat_map(|one| one.broken.values()).any(|one| one.differs == Some(why))
    };
    for why in Difference::ALL.iter().copied().filter(|why| differs(*why)) {
        print_line!("- **{}**: {}.", why.label(), why.why());
    }
    print_line!("\nThe SHA-256 of what the seeds do, step by step, as `--trace` writes it:\n");
    print_line!("| | | trace | never happened |\n|---|---|---|---|");
    for Detected { kind, name, trace_sha256, not_covered, .. } in campaigns {
        print_line!("| {kind} | {name} | `{trace_sha256}` | {} |", not_covered.join(", "));
    }
    for Detected { kind, name, not_found, .. } in campaigns.iter().filter(|one| !one.not_found.is_empty()) {
        print_line!("\n**Not found**: {} of {kind} {name}.", not_found.join(", "));
    }
}
