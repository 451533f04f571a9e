//! Ports for servers that a test starts: no outgoing connection of this machine is given one of them.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the ports that systems give to sockets without one of their own (from 32,768 on Linux, 49,152 elsewhere), and
/// above those of the services that the tests of this project start with a fixed port.
const FIRST: u16 = 16_384;
const COUNT: u16 = 16_384;
/// The ports of one process follow each other.
const PER_PROCESS: u16 = 32;

/// A port of the loopback address on which nothing listens, different in every call of a process.
///
/// # Panics
/// Every port of the range is taken.
pub fn unused_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let blocks = u32::from(COUNT / PER_PROCESS);
    let block = u16::try_from(process::id() % blocks).unwrap_or(0);
    (0..COUNT)
        .map(|_| NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|number| FIRST + (block * PER_PROCESS).wrapping_add(number) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a port on which nothing listens")
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_port_is_handed_out_once_and_to_nothing_else() {
        let ports: Vec<u16> = (0..100).map(|_| unused_port()).collect();
        for (index, port) in ports.iter().enumerate() {
            assert!(!ports[..index].contains(port), "{port} twice");
            assert!((FIRST..FIRST + COUNT).contains(port), "{port}");
            assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err(), "{port} is taken");
        }
        let given = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        assert!(given >= FIRST + COUNT, "this machine gives {given} to sockets without a port");
        let next = unused_port() + 1;
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, next));
        assert_ne!(unused_port(), next);
    }
}
