//! What sections of `ltsp.conf` are chosen by: the address, device and name of this machine (F19).
//!
//! Unlike the original, which refuses to run without them (F20), a fact that is not known is empty: sections
//! that cannot be selected do not apply.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::variables::{Origin, Variables};

/// The address that a server has in a network of its own; what leads there leads to the clients.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 67, 1);
/// Asked when this machine is [`SERVER`] itself, and the way there does not leave it.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 67, 2);

/// ARPHRD_ETHER of linux/if_arp.h.
const ETHERNET: &str = "1";

/// Flags of a route, of linux/route.h.
const UP: u32 = 0x1;
const REJECTS: u32 = 0x200;

/// Where the facts are looked up.
#[derive(Debug, Clone, Copy)]
pub struct System<'a> {
    /// `/proc/net/route`, outside tests.
    pub routes: &'a Path,
    /// `/sys/class/net`, outside tests.
    pub interfaces: &'a Path,
    /// The address that packets to an address would come from.
    pub source: fn(Ipv4Addr) -> Option<Ipv4Addr>,
}

impl System<'_> {
    /// This machine.
    pub fn this() -> Self {
        Self { routes: Path::new("/proc/net/route"), interfaces: Path::new("/sys/class/net"), source }
    }
}

/// Sets DEVICE, IP_ADDRESS, MAC_ADDRESS, GATEWAY and HOSTNAME, which are empty where they are not known;
/// of the host name, the variable is then not set.
///
/// If the first three are there already, nothing is looked up, not even the host name (F19).
pub fn facts(system: System<'_>, variables: &mut Variables) {
    if ["DEVICE", "IP_ADDRESS", "MAC_ADDRESS"].iter().all(|name| variables.non_empty(name).is_some()) {
        return;
    }
    let way = way_to_clients(system);
    let address = way.as_ref().map(|way| way.source.to_string());
    let gateway = way.as_ref().map(|way| way.gateway.to_string());
    let device = match way {
        Some(way) => Some(way.device),
        // A cable that is not plugged in.
        None => first_hardware(system.interfaces),
    };
    let mac = device.as_deref().and_then(|device| ethernet_address(system.interfaces, device));
    for (name, value) in [
        ("DEVICE", device),
        ("IP_ADDRESS", address.map(OsString::from)),
        ("MAC_ADDRESS", mac.map(OsString::from)),
        ("GATEWAY", gateway.map(OsString::from)),
    ] {
        variables.assign(name, value.unwrap_or_default(), Origin::Network);
    }
    if variables.non_empty("HOSTNAME").is_none() {
        let name = rustix::system::uname().nodename().to_bytes().to_vec();
        variables.assign("HOSTNAME", OsString::from_vec(name), Origin::Network);
    }
    if variables.get("HOSTNAME") == Some(OsStr::new("(none)")) {
        variables.unset("HOSTNAME");
    }
}

/// The way that packets to the clients take.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    device: OsString,
    source: Ipv4Addr,
    /// The next machine on the way; the target itself if there is none between.
    gateway: Ipv4Addr,
}

fn way_to_clients(system: System<'_>) -> Option<Way> {
    let mut last = None;
    for target in [SERVER, NEIGHBOUR] {
        last = way_to(system, target);
        match &mut last {
            Some(way) if way.device == "lo" => {}
            Some(way) if way.source == SERVER => way.gateway = SERVER,
            Some(_) => break,
            None => {}
        }
    }
    last
}

fn way_to(system: System<'_>, target: Ipv4Addr) -> Option<Way> {
    let source = (system.source)(target)?;
    if source == target {
        return Some(Way { device: "lo".into(), source, gateway: target });
    }
    let route = best_route(&std::fs::read(system.routes).ok()?, target)?;
    let gateway = if route.gateway.is_unspecified() { target } else { route.gateway };
    Some(Way { device: route.device, source, gateway })
}

/// The kernel's answer; connecting a UDP socket sends nothing.
fn source(target: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((target, 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(_) => None,
    }
}

#[derive(Debug)]
struct Route {
    device: OsString,
    gateway: Ipv4Addr,
    mask: u32,
    metric: u32,
}

/// Of the routes in the kernel's table that fit, the most special one, and of several such the one of the
/// lowest metric.
fn best_route(table: &[u8], target: Ipv4Addr) -> Option<Route> {
    let lines = table.split(|&byte| byte == b'\n').skip(1);
    let fitting = lines.filter_map(|line| route(line, target));
    fitting.min_by_key(|route| (std::cmp::Reverse(route.mask), route.metric))
}

/// A line of the table: device, destination, gateway, flags, two counters, metric, mask; addresses in
/// hexadecimal digits, as the machine has them in memory.
fn route(line: &[u8], target: Ipv4Addr) -> Option<Route> {
    let fields: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).collect();
    let text = |field: usize| std::str::from_utf8(fields.get(field)?).ok();
    let number = |field: usize| u32::from_str_radix(text(field)?, 16).ok();
    let address = |field: usize| Some(Ipv4Addr::from(number(field)?.to_ne_bytes()));
    let (destination, gateway, flags) = (address(1)?, address(2)?, number(3)?);
    let metric = text(6)?.parse().ok()?;
    let mask = u32::from(address(7)?);
    let fits = u32::from(target) & mask == u32::from(destination);
    if !fits || flags & UP == 0 || flags & REJECTS != 0 {
        return None;
    }
    Some(Route { device: OsStr::from_bytes(fields[0]).to_owned(), gateway, mask, metric })
}

/// The first network interface, by name, that is a device of the machine.
fn first_hardware(interfaces: &Path) -> Option<OsString> {
    let entries = std::fs::read_dir(interfaces).ok()?.flatten();
    entries.filter(|entry| entry.path().join("device").exists()).map(|entry| entry.file_name()).min()
}

fn ethernet_address(interfaces: &Path, device: &OsStr) -> Option<String> {
    let read = |name: &str| std::fs::read_to_string(interfaces.join(device).join(name)).ok();
    let address = read("address")?.trim().to_ascii_lowercase();
    (read("type")?.trim() == ETHERNET && !address.is_empty()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";

    /// Device, destination, gateway, flags, metric, mask.
    type Line = (&'static str, [u8; 4], [u8; 4], u32, u32, [u8; 4]);
    /// Name, type, address, whether it is a device.
    type Interface = (&'static str, &'static str, &'static str, bool);

    /// A machine's files.
    struct World(tempfile::TempDir);

    impl World {
        fn new(routes: &[Line], interfaces: &[Interface]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut table = HEAD.to_owned();
            for (device, destination, gateway, flags, metric, mask) in routes {
                let [destination, gateway, mask] =
                    [destination, gateway, mask].map(|a| u32::from_ne_bytes(*a));
                table.push_str(&format!(
                    "{device}\t{destination:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t{metric}\t{mask:08X}\t0\t0\t0   \n"
                ));
            }
            std::fs::write(dir.path().join("route"), table).unwrap();
            for (name, kind, address, device) in interfaces {
                let interface = dir.path().join("net").join(name);
                std::fs::create_dir_all(&interface).unwrap();
                std::fs::write(interface.join("type"), format!("{kind}\n")).unwrap();
                std::fs::write(interface.join("address"), format!("{address}\n")).unwrap();
                if *device {
                    std::fs::create_dir(interface.join("device")).unwrap();
                }
            }
            Self(dir)
        }

        fn facts(
            &self,
            source: fn(Ipv4Addr) -> Option<Ipv4Addr>,
            environment: &[(&str, &str)],
        ) -> Vec<String> {
            let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
            let mut variables = Variables::from_environment(environment);
            let (routes, interfaces) = (self.0.path().join("route"), self.0.path().join("net"));
            facts(System { routes: &routes, interfaces: &interfaces, source }, &mut variables);
            let names = ["DEVICE", "IP_ADDRESS", "MAC_ADDRESS", "GATEWAY"];
            names
                .map(|name| variables.get(name).map_or("unset".into(), |v| v.to_str().unwrap().to_owned()))
                .into()
        }
    }

    const LOCAL: [u8; 4] = [192, 168, 67, 0];
    const C: [u8; 4] = [255, 255, 255, 0];
    const ANY: [u8; 4] = [0; 4];

    // F19
    #[test]
    fn the_way_to_the_clients_gives_address_and_device() {
        let ether = [("eth0", "1", "02:00:00:00:00:0A", true), ("lo", "772", "00:00:00:00:00:00", false)];
        // A server in a network of its own.
        let world = World::new(&[("eth0", LOCAL, ANY, 1, 0, C)], &ether);
        let own = |target| Some(if target == NEIGHBOUR { SERVER } else { target });
        let expected = ["eth0", "192.168.67.1", "02:00:00:00:00:0a", "192.168.67.1"];
        assert_eq!(world.facts(own, &[]), expected);
        // A machine with a gateway; the first answer counts.
        let world = World::new(
            &[
                ("tun0", [10, 8, 0, 0], ANY, 1, 0, C),
                ("wlan0", ANY, [10, 0, 0, 9], 3, 600, ANY),
                ("eth0", ANY, [10, 0, 0, 1], 3, 100, ANY),
                ("eth0", [192, 168, 67, 1], ANY, 0x201, 0, [255; 4]),
            ],
            &ether,
        );
        let routed = |target| (target == SERVER).then_some(Ipv4Addr::new(10, 0, 0, 7));
        assert_eq!(world.facts(routed, &[]), ["eth0", "10.0.0.7", "02:00:00:00:00:0a", "10.0.0.1"]);
        // The environment is overridden unless it has everything.
        assert_eq!(
            world.facts(routed, &[("DEVICE", "x"), ("IP_ADDRESS", "1.2.3.4"), ("MAC_ADDRESS", "")])[0],
            "eth0"
        );
        assert_eq!(
            world.facts(routed, &[("DEVICE", "x"), ("IP_ADDRESS", "1.2.3.4"), ("MAC_ADDRESS", "m")]),
            ["x", "1.2.3.4", "m", "unset"]
        );
    }

    // F19, F20
    #[test]
    fn without_a_way_or_an_ethernet_address_facts_are_empty() {
        let interfaces = [
            ("b0", "1", "02:00:00:00:00:0b", true),
            ("a0", "1", "02:00:00:00:00:0c", false),
            ("tun0", "65534", "", false),
        ];
        let world = World::new(&[], &interfaces);
        assert_eq!(world.facts(|_| None, &[]), ["b0", "", "02:00:00:00:00:0b", ""]);
        let world = World::new(&[("tun0", ANY, ANY, 1, 0, ANY)], &interfaces);
        let routed = |_| Some(Ipv4Addr::new(10, 8, 0, 2));
        assert_eq!(world.facts(routed, &[]), ["tun0", "10.8.0.2", "", "192.168.67.1"]);
        let world = World::new(&[], &[]);
        assert_eq!(world.facts(|_| None, &[]), ["", "", "", ""]);
    }

    // F19
    #[test]
    fn the_host_name_of_the_environment_goes_before_the_systems() {
        let system =
            System { routes: "/nowhere".as_ref(), interfaces: "/nowhere".as_ref(), source: |_| None };
        let name = |environment: &[(&str, &str)]| {
            let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
            let mut variables = Variables::from_environment(environment);
            facts(system, &mut variables);
            variables.get("HOSTNAME").map(OsStr::to_owned)
        };
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(name(&[]).unwrap(), own.trim_end());
        assert_eq!(name(&[("HOSTNAME", "x")]).unwrap(), "x");
        assert_eq!(name(&[("HOSTNAME", "(none)")]), None);
        let complete = [("DEVICE", "x"), ("IP_ADDRESS", "1"), ("MAC_ADDRESS", "m")];
        assert_eq!(name(&complete), None);
    }
}
