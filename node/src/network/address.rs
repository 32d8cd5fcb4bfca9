//! Addresses as people write them, and the few questions the network asks about them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use klatch_core::event::Path;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// An address this node cannot use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an address of a node: {why}; write it like /ip4/192.0.2.7/tcp/4100 or 192.0.2.7:4100"
)]
pub struct AddressError {
    /// As given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Parses `/ip4/…/tcp/…`, `/ip4/…/udp/…/quic-v1`, either with `/p2p/…`, or plain `host:port` (TCP,
/// IP address only).
///
/// # Errors
/// When it is neither, or names something other than an IP address.
pub fn parse(text: &str) -> Result<Multiaddr, AddressError> {
    if let Some(socket) = socket(text) {
        return Ok(Multiaddr::from(socket.ip()).with(Protocol::Tcp(socket.port())));
    }
    let fail = |why| AddressError { text: text.chars().take(200).collect(), why };
    let address: Multiaddr = text.parse().map_err(|_| fail("it cannot be read"))?;
    check(&address)?;
    Ok(address)
}

/// `IP:PORT`, also with an interface as other programs want it for link-local addresses
/// (`[fe80::1%eth0]:4100`): here all of them are tried.
fn socket(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| {
        let (ip, rest) = text.strip_prefix('[')?.split_once('%')?;
        let port = rest.split_once("]:")?.1;
        format!("[{ip}]:{port}").parse().ok()
    })
}

/// Whether the transports here can use it.
///
/// # Errors
/// When it is not IP with TCP or QUIC.
pub fn check(address: &Multiaddr) -> Result<(), AddressError> {
    let fail = |why| AddressError { text: address.to_string(), why };
    let mut parts = address.iter();
    match parts.next() {
        Some(Protocol::Ip4(_) | Protocol::Ip6(_)) => {}
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)) => {
            return Err(fail("names are not looked up, an IP address is needed"));
        }
        _ => return Err(fail("it does not begin with /ip4 or /ip6")),
    }
    match parts.next() {
        Some(Protocol::Tcp(_)) => {}
        Some(Protocol::Udp(_)) if parts.next() == Some(Protocol::QuicV1) => {
            if link_local(address).is_some() {
                return Err(fail("QUIC does not reach link-local addresses, TCP does"));
            }
        }
        Some(Protocol::Udp(_)) => return Err(fail("UDP needs /quic-v1 after the port")),
        _ => return Err(fail("a /tcp or /udp port is missing")),
    }
    match (parts.next(), parts.next()) {
        (None, _) | (Some(Protocol::P2p(_)), None) => Ok(()),
        _ => Err(fail("only /p2p may follow")),
    }
}

/// All IPv4 interfaces, TCP.
#[must_use]
pub fn any_tcp(port: u16) -> Multiaddr {
    Multiaddr::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).with(Protocol::Tcp(port))
}

/// All IPv6 interfaces at that port: TCP, and QUIC if wanted.
pub(super) fn any_six(port: u16, quic: bool) -> Vec<Multiaddr> {
    let all = Multiaddr::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let tcp = all.clone().with(Protocol::Tcp(port));
    let quic = quic.then(|| all.with(Protocol::Udp(port)).with(Protocol::QuicV1));
    [Some(tcp), quic].into_iter().flatten().collect()
}

/// Whether it stands for every IPv4 interface.
pub(super) fn is_any_ip4(address: &Multiaddr) -> bool {
    ip(address) == Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// The same at another port.
pub(super) fn with_port(address: &Multiaddr, port: u16) -> Multiaddr {
    let other = |part| match part {
        Protocol::Tcp(_) => Protocol::Tcp(port),
        Protocol::Udp(_) => Protocol::Udp(port),
        part => part,
    };
    address.iter().map(other).collect()
}

/// The IPv6 address, if it holds on one link only.
pub(super) fn link_local(address: &Multiaddr) -> Option<Ipv6Addr> {
    match ip(address) {
        Some(IpAddr::V6(ip)) => Some(ip).filter(Ipv6Addr::is_unicast_link_local),
        _ => None,
    }
}

/// Whether this node can listen there.
///
/// # Errors
/// When the transports cannot use it, or it holds on one link only and does not say on which.
pub fn check_listen(address: &Multiaddr) -> Result<(), AddressError> {
    check(address)?;
    match link_local(address) {
        Some(_) => Err(AddressError {
            text: address.to_string(),
            why: "to be reached by link-local addresses, listen on all (/ip6/::/tcp/0)",
        }),
        None => Ok(()),
    }
}

/// This machine only, TCP.
#[must_use]
pub fn loopback_tcp(port: u16) -> Multiaddr {
    Multiaddr::from(IpAddr::V4(Ipv4Addr::LOCALHOST)).with(Protocol::Tcp(port))
}

/// Splits `/p2p/…` off.
#[must_use]
pub fn split_peer(mut address: Multiaddr) -> (Option<PeerId>, Multiaddr) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (Some(peer), address)
        }
        _ => (None, address),
    }
}

/// The IP address it begins with.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// Whether it is on this machine.
pub(crate) fn is_here(address: &Multiaddr) -> bool {
    ip(address).is_some_and(|ip| ip.is_loopback())
}

/// What kind of way an address is. What is not an IP address can only be a name, somewhere else.
pub(super) fn path(address: &Multiaddr) -> Path {
    if address.iter().any(|p| matches!(p, Protocol::P2pCircuit)) {
        return Path::Relay;
    }
    match ip(address) {
        Some(ip) if ip.is_loopback() => Path::Loopback,
        Some(IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() => Path::Lan,
        Some(IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => Path::Lan,
        _ => Path::Direct,
    }
}

/// Its TCP port, if it is a plain TCP address.
pub(super) fn tcp_port(address: &Multiaddr) -> Option<u16> {
    match address.iter().nth(1)? {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    }
}

/// The QUIC address on the same IP address, at `port`.
pub(super) fn quic_twin(address: &Multiaddr, port: u16) -> Option<Multiaddr> {
    Some(Multiaddr::from(ip(address)?).with(Protocol::Udp(port)).with(Protocol::QuicV1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_port_is_listened_on_over_ipv6() {
        let six: Vec<String> = any_six(4_100, true).iter().map(ToString::to_string).collect();
        assert_eq!(six, ["/ip6/::/tcp/4100", "/ip6/::/udp/4100/quic-v1"]);
        assert_eq!(any_six(1, false).len(), 1);
        assert!(is_any_ip4(&any_tcp(1)) && !is_any_ip4(&loopback_tcp(1)));
        let other: Vec<String> =
            any_six(1, true).iter().map(|a| with_port(a, 2).to_string()).collect();
        assert_eq!(other, ["/ip6/::/tcp/2", "/ip6/::/udp/2/quic-v1"]);
    }

    #[test]
    fn link_local_addresses_are_dialled_over_tcp_and_are_no_place_to_listen() {
        let near = parse("[fe80::1]:1").unwrap();
        assert!(
            link_local(&near).is_some() && link_local(&parse("[fd00::1]:1").unwrap()).is_none()
        );
        assert!(parse("/ip6/fe80::1/udp/1/quic-v1").unwrap_err().to_string().contains("TCP does"));
        for also in ["[fe80::1%eth0]:1", "[fe80::1%2]:1", "/ip6/fe80::1/tcp/1"] {
            assert_eq!(parse(also).as_ref(), Ok(&near), "{also}");
        }
        assert!(parse("[fe80::1%eth0]").is_err() && parse("[%]:1").is_err());
        assert!(check_listen(&near).unwrap_err().to_string().contains("/ip6/::/tcp/0"));
        assert!(check_listen(&parse("[fd00::1]:1").unwrap()).is_ok());
    }

    #[test]
    fn addresses_people_write_are_understood_and_others_say_what_is_wrong() {
        assert_eq!(parse("192.0.2.7:4100").unwrap().to_string(), "/ip4/192.0.2.7/tcp/4100");
        assert_eq!(parse("[::1]:4100").unwrap().to_string(), "/ip6/::1/tcp/4100");
        let peer = PeerId::random();
        let full = format!("/ip4/192.0.2.7/udp/4100/quic-v1/p2p/{peer}");
        let (id, bare) = split_peer(parse(&full).unwrap());
        assert_eq!(
            (id, bare.to_string().as_str()),
            (Some(peer), "/ip4/192.0.2.7/udp/4100/quic-v1")
        );
        for bad in [
            "",
            "garden",
            "192.0.2.7",
            "/ip4/192.0.2.7",
            "/ip4/192.0.2.7/udp/1",
            "/dns4/example.org/tcp/1",
            "/ip4/192.0.2.7/tcp/1/ws",
            "/unix/x",
            "/ip4/300.0.0.1/tcp/1",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.to_string().contains("write it like"), "{error}");
        }
    }
}
