use countersign_models::{flows::BuiltIn, simulation::*, properties::Property};
use std::{sync::Arc, ops::ControlFlow};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let b = BuiltIn::find(&a[1]).unwrap();
    let n: u64 = a[2].parse().unwrap();
    let mutant = a.get(3).and_then(|m| Mutant::find(m));
    let c = Campaign { flow: Arc::new(b.subject().flow), name: a[1].clone(), flow_file: b.source.into(), mutant };
    let t = std::time::Instant::now();
    let r = c.run(Seeds{from:0,to:n,shard:0,shards:1}, &mut |_| ControlFlow::Continue(()));
    let s = t.elapsed().as_secs_f64();
    println!("{} schedules {:.0}/s {:.0} actions/s longest {} modelled {} {}", r.schedules, r.schedules as f64/s, r.actions as f64/s, r.longest, r.modelled, r.modelled_steps);
    println!("{:?}", r.coverage);
    for d in r.divergences.iter().take(2) { println!("DIV {} {}", d.0, d.1); }
    for p in Property::ALL { if let Some(f) = r.finding(*p) {
        let t = std::time::Instant::now();
        let f2 = c.shrunk(&r, *p).unwrap();
        let fm=c.shrunk_modelled(&r,*p).map(|f|f.actions.len());
        println!("{p} (modelled {fm:?}) {} med {} p99 {} len {} ({:.1}s)", f.seeds, f.seeds_to_detection(n,0.5), f.seeds_to_detection(n,0.99), f2.actions.len(), t.elapsed().as_secs_f64());
        if a.len()>4 { let rp = f2.replay().unwrap(); println!("{:?} {:?}", f2.scenario, rp.is_broken); for s in rp.scenes { println!("   {s}"); } println!("  --"); for s in rp.aftermath { println!("   {s}"); } }
    }}
    let t = std::time::Instant::now();
    let cp = crash_points(&c.flow);
    println!("crash points {}/{} broken {:?} {:.1}s", cp.covered, cp.total, cp.found.broken().map(|p|p.id()).collect::<Vec<_>>(), t.elapsed().as_secs_f64());
}
