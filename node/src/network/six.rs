//! IPv6 beside IPv4: the same port on both, and neighbours whose addresses hold on one link only.
//!
//! A LAN without a router that gives out prefixes has nothing but link-local addresses (`fe80::`).
//! They mean nothing without the interface they are on, which is this machine's own number for it:
//! no peer can tell it, and no libp2p address carries it. So [`Tcp`] dials such an address on every
//! interface that has one itself; whoever answers has to prove by its key who it is. QUIC in libp2p
//! drops answers from an address with an interface, so there it is TCP alone.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, select_ok};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, Transport, tcp};
use tokio::net::TcpStream;

use super::address;
use super::settings::LINKS_MAX;
use super::task::{Task, root_cause};

/// The kernel's list of IPv6 addresses. Missing where there is no IPv6, and on other systems: there
/// link-local addresses are not dialled.
const TABLE: &str = "/proc/net/if_inet6";

impl Task {
    /// Listens over IPv6 as well, on the same port if nobody has it. A system without does without.
    pub(super) fn listen_six(&mut self, port: u16) {
        let there = is_there();
        for wanted in address::any_six(port, self.quic) {
            let any = address::with_port(&wanted, 0);
            let listener = self.swarm.listen_on(wanted).or_else(|_| self.swarm.listen_on(any));
            match listener {
                // Without any address it says nothing, and nobody has to wait for that.
                Ok(listener) if there => drop(self.opening.insert(listener)),
                Ok(_) => {}
                Err(error) => {
                    tracing::info!(cause = root_cause(&error), "this system has no IPv6");
                }
            }
        }
    }
}

/// Whether this machine has any IPv6 address, be it that of the loopback.
pub(super) fn is_there() -> bool {
    fs::read_to_string(TABLE).is_ok_and(|table| !table.trim().is_empty())
}

/// The interfaces with a link-local address, by their numbers: the oldest first, as those that
/// containers bring come later.
fn links(table: &str) -> Vec<u32> {
    let mut links: Vec<u32> = table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let ip = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
            let number = u32::from_str_radix(fields.next()?, 16).ok()?;
            ip.is_unicast_link_local().then_some(number)
        })
        .collect();
    links.sort_unstable();
    links.dedup();
    links.truncate(LINKS_MAX);
    links
}

/// TCP as libp2p has it, and link-local addresses besides.
pub(super) struct Tcp(pub(super) tcp::tokio::Transport);

impl Transport for Tcp {
    type Output = <tcp::tokio::Transport as Transport>::Output;
    type Error = io::Error;
    type ListenerUpgrade = <tcp::tokio::Transport as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        match address::link_local(&address).zip(address::tcp_port(&address)) {
            Some((ip, port)) => Ok(dial_links(ip, port).boxed()),
            None => self.0.dial(address, opts),
        }
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.get_mut().0).poll(cx)
    }
}

/// The first connection to that address on any interface.
async fn dial_links(ip: Ipv6Addr, port: u16) -> io::Result<tcp::tokio::TcpStream> {
    let links = links(&fs::read_to_string(TABLE).unwrap_or_default());
    if links.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "no interface has a link-local IPv6 address",
        ));
    }
    let dials = links
        .into_iter()
        .map(|link| TcpStream::connect(SocketAddrV6::new(ip, port, 0, link)).boxed());
    let (stream, _) = select_ok(dials).await?;
    stream.set_nodelay(true)?;
    Ok(tcp::tokio::TcpStream(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_looked_for_on_every_link_that_has_one_and_not_on_a_hundred() {
        let table = "\
            00000000000000000000000000000001 01 80 10 80       lo\n\
            fe8000000000000000fc00fffe000001 1f 40 20 80     wlan0\n\
            fd000000000000000000000000000002 04 40 00 82     eth0\n\
            fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
            fe8000000000000000fc00fffe000002 04 40 20 80     eth0\n\
            rubbish\n";
        assert_eq!(links(table), [4, 31]);
        assert!(links("").is_empty());
        let many: String = (1..200)
            .map(|n| format!("fe8000000000000000fc00fffe000001 {n:02x} 40 20 80 veth{n}\n"))
            .collect();
        assert_eq!(links(&many).len(), LINKS_MAX);
    }
}
