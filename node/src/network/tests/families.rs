//! IPv4 and IPv6. These nodes listen on all interfaces, but nobody is looked for and nothing is
//! dialled beyond this machine.

use std::net::TcpListener;

use klatch_core::query::Family;
use libp2p::Multiaddr;

use super::super::{address, families, six};
use super::{NetCommand, NetEvent, NetworkConfig, Node, Status, config};

/// As people run it, only that it looks for nobody.
fn open() -> NetworkConfig {
    NetworkConfig { mdns: false, ..NetworkConfig::default() }
}

fn listening(node: &Node) -> Vec<String> {
    node.net.status().unwrap().listening.iter().map(ToString::to_string).collect()
}

/// The ports over TCP of the loopback addresses of a family.
fn tcp_ports(status: &Status, six: bool) -> Vec<u16> {
    let of =
        |a: &&Multiaddr| address::ip(a).is_some_and(|ip| ip.is_loopback() && ip.is_ipv6() == six);
    status.listening.iter().filter(of).filter_map(address::tcp_port).collect()
}

#[test]
fn a_node_listens_on_both_families_at_one_port_where_the_system_has_both() {
    let node = Node::start(open(), 1_000);
    let status = node.net.status().unwrap();
    let said: Vec<String> = status.listening.iter().map(ToString::to_string).collect();
    let ports = tcp_ports(&status, false);
    let [port] = ports[..] else { panic!("{said:?}") };
    assert!(!status.stays_here);
    if !six::is_there() {
        assert!(!said.iter().any(|a| a.starts_with("/ip6/")), "{said:?}");
        return node.stop();
    }
    for there in [format!("/ip6/::1/tcp/{port}"), format!("/ip6/::1/udp/{port}/quic-v1")] {
        assert!(said.contains(&there), "{there} of {said:?}");
        let other = Node::new();
        other.send(NetCommand::Dial(there.parse().unwrap()));
        assert_eq!(other.linked(), node.peer());
        other.stop();
    }
    node.stop();
}

#[test]
fn a_port_that_somebody_has_over_ipv6_is_no_reason_not_to_start() {
    let Ok(taken) = TcpListener::bind("[::1]:0") else { return };
    let port = taken.local_addr().unwrap().port();
    let node = Node::start(NetworkConfig { listen: vec![address::any_tcp(port)], ..open() }, 1_000);
    let status = node.net.status().unwrap();
    assert_eq!(tcp_ports(&status, false), [port]);
    let six = tcp_ports(&status, true);
    assert!(six.len() == 1 && six[0] != port, "{six:?}");
    node.stop();
}

#[test]
fn who_names_addresses_or_stays_on_this_machine_gets_nothing_else() {
    let here = Node::new();
    let status = here.net.status().unwrap();
    assert!(status.stays_here && families(&status.listening).is_empty());
    assert!(listening(&here).iter().all(|a| a.starts_with("/ip4/127.0.0.1/")));
    here.stop();
    for (named, other, stays) in [
        ("/ip4/127.0.0.1/tcp/0", "/ip6/", true),
        ("/ip4/0.0.0.0/tcp/0", "/ip6/", false),
        ("/ip6/::1/tcp/0", "/ip4/", true),
    ] {
        if named.starts_with("/ip6/") && !six::is_there() {
            continue;
        }
        let listen = vec![named.parse().unwrap()];
        let node = Node::start(NetworkConfig { listen, ipv6: false, ..open() }, 1_000);
        let said = listening(&node);
        assert!(!said.is_empty() && !said.iter().any(|a| a.starts_with(other)), "{said:?}");
        assert_eq!(node.net.status().unwrap().stays_here, stays, "{named}");
        node.stop();
    }
}

#[test]
fn two_families_are_two_addresses_of_one_peer() {
    if !six::is_there() {
        return;
    }
    let listen = ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"].map(|a| a.parse().unwrap()).to_vec();
    let alice = Node::start(NetworkConfig { listen, ..open() }, 1_000);
    let bob = Node::new();
    let status = alice.net.status().unwrap();
    for port in tcp_ports(&status, false).into_iter().zip(tcp_ports(&status, true)) {
        bob.send(NetCommand::Dial(format!("/ip4/127.0.0.1/tcp/{}", port.0).parse().unwrap()));
        bob.send(NetCommand::Dial(format!("/ip6/::1/tcp/{}", port.1).parse().unwrap()));
    }
    assert_eq!(bob.linked(), alice.peer());
    let settled = bob.status_until(|s| {
        let both = s.wanted.len() == 2 && s.wanted.iter().all(|w| w.linked);
        both && s.peers.len() == 1 && s.peers[0].connections == 1
    });
    assert_eq!(settled.counters.dials, 2);
    bob.net.status().unwrap();
    while let Ok(event) = bob.events.try_recv() {
        let one = !matches!(event, NetEvent::LinkUp { .. } | NetEvent::LinkDown { .. });
        assert!(one, "one link, whatever it runs over: {event:?}");
    }
    alice.stop();
    bob.stop();
}

#[test]
fn over_ipv6_is_looked_for_neighbours_by_whom_they_could_reach_that_way() {
    let with = |listen: &str, ipv6| NetworkConfig {
        listen: vec![listen.parse().unwrap()],
        ipv6,
        ..config()
    };
    assert!(with("/ip4/0.0.0.0/tcp/0", true).six());
    assert!(with("/ip6/::/tcp/0", false).six(), "asked for by hand");
    assert!(!with("/ip4/0.0.0.0/tcp/0", false).six());
    let both =
        ["/ip6/::1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1"];
    assert_eq!(families(&both.map(|a| a.parse().unwrap())), [Family::Ipv4, Family::Ipv6]);
    assert!(families(&["/ip6/::1/tcp/1".parse().unwrap()]).is_empty());
}
