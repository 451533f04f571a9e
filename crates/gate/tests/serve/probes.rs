//! Probes and metrics on an address of their own.

use rustix::process::Signal;

use crate::process::{Workplace, agent, bearer};

#[test]
fn probes_and_metrics_move_to_their_own_address_and_have_descriptors_there() {
    let workplace = Workplace::new();
    let config = workplace.write("gate.toml", "probe_listen = \"127.0.0.1:0\"\n");
    let mut server = workplace.serve(&["--store", "memory", "--config", &config]);
    let second = server.line();
    let probes = second.strip_prefix("probes on ").expect("the address of the probes").to_owned();
    let bearer = bearer(&[]);
    let status = |url: &str, path: &str| {
        let request = agent().get(format!("{url}{path}")).header("authorization", format!("Bearer {bearer}"));
        request.call().expect("an answer").status().as_u16()
    };
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!((status(&server.url, path), status(&probes, path)), (404, 200), "{path}");
    }
    for (path, answer) in [("/openapi.json", 200), ("/api/v1/admin/promotions", 403)] {
        assert_eq!((status(&server.url, path), status(&probes, path)), (answer, 404), "{path}");
    }
    let (exit, log) = server.stopped(Signal::TERM);
    assert_eq!(exit, Some(0), "{log}");
    // 64 in any case, 8 for each of 4 workers, 16 for the database, 64 for the probes.
    assert!(log.contains("reserved=176"), "{log}");
}
