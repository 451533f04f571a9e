//! A violation run again, from the file that it left.

use super::{Gathered, Options, close, kills, open, races, runtime, statements, unless_interrupted};
use crate::{
    clock::Clock,
    proxy::Proxy,
    report::Report,
    reproduction::{Reproduction, Scenario},
    safety::Stop,
    schedule::{SearchSettings, replay},
    session::Session,
    target::Target,
};

/// Runs a reproduction against the service. The report has the verdicts on its properties only.
///
/// # Errors
/// [`Stop::BadInput`]: the service cannot be attacked, or no longer does what the reproduction needs.
pub fn again(target: &Target, options: &Options, reproduction: &Reproduction) -> Result<Report, Stop> {
    runtime()?.block_on(async {
        let clock = Clock::start();
        let (mut session, mut proxy) = unless_interrupted(options, open(target, options, clock)).await?;
        let mut gathered = Gathered::new(options.keep_history, target);
        let again = run(&mut session, &mut proxy, &mut gathered, options, &reproduction.scenario);
        let done = unless_interrupted(options, again).await;
        gathered.notes.extend(session.notes());
        let secrets = session.secrets.clone();
        let cut_off = match done {
            Ok(()) => None,
            Err(Stop::CutOff(why)) => Some(why),
            Err(bad) => {
                close(session).await;
                return Err(bad);
            }
        };
        gathered.history.insert(0, super::promise(target));
        let mut report = Report::new(target, &session.budget, secrets, gathered, None, cut_off, clock);
        report.verdicts.retain(|line| reproduction.properties.iter().any(|id| id == line.id));
        report.behaves_like.clear();
        // A scenario without races has none that could fail to race.
        report.raced |= report.races == 0;
        close(session).await;
        Ok(report)
    })
}

async fn run(
    session: &mut Session<'_>,
    proxy: &mut Option<Proxy>,
    gathered: &mut Gathered,
    options: &Options,
    scenario: &Scenario,
) -> Result<(), Stop> {
    const ALL: f64 = 1.0;
    let payload = races::control(session, proxy, gathered).await?;
    gathered.scenario = scenario.clone();
    match scenario {
        Scenario::Sequence => races::sequences(session, gathered, payload.as_ref()).await,
        Scenario::Races => races::concurrent(session, gathered, options, ALL).await,
        Scenario::Pairs => races::pairs(session, gathered, ALL).await,
        Scenario::Changes => races::against_changes(session, gathered, payload.as_ref()).await,
        Scenario::Kills => kills::under_load(session, gathered).await,
        Scenario::Interleaving { other, order } => {
            let proxy = required(proxy)?;
            let mut pairs =
                statements::Other::all(session.target).into_iter().chain([statements::Other::Uses]);
            let pair = pairs.find(|pair| pair.name() == *other);
            let Some(pair) = pair else {
                return Err(Stop::BadInput(format!(
                    "the target file has no role `{other}` that consists of requests"
                )));
            };
            let mut pair = statements::Pair::new(session, gathered, payload.as_ref(), pair);
            let left_out = replay::replay(proxy, &mut pair, order, &SearchSettings::default()).await;
            let left_out = left_out.map_err(statements::stop)?;
            left_out.map_or(Ok(()), |why| Err(Stop::CutOff(format!("the order could not be kept: {why}"))))
        }
        Scenario::Crash { place, moment, fault } => {
            let point = crate::schedule::CrashPoint { place: place.clone(), moment: *moment, fault: *fault };
            statements::crash_again(session, required(proxy)?, gathered, point).await
        }
        Scenario::Stall { .. } => {
            statements::stall(session, required(proxy)?, gathered, options, payload.as_ref()).await
        }
    }
}

fn required(proxy: &mut Option<Proxy>) -> Result<&mut Proxy, Stop> {
    proxy.as_mut().ok_or_else(|| Stop::BadInput("needs the roles `[service]` and `[database]`".into()))
}
