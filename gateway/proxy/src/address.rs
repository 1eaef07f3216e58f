//! Addresses that a name from outside must never lead to: this machine, the networks around it, the services that clouds put there.
//! After the IANA special-purpose registries for IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First address, length of the prefix, what it is.
type V4 = ([u8; 4], u8, &'static str);

const SPECIAL_V4: &[V4] = &[
    ([0, 0, 0, 0], 8, "this machine"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "private (carrier)"),
    ([127, 0, 0, 0], 8, "loopback"),
    // the clouds' metadata services are here
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved"),
    ([192, 0, 2, 0], 24, "reserved"),
    ([192, 88, 99, 0], 24, "reserved"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "private (tests)"),
    ([198, 51, 100, 0], 24, "reserved"),
    ([203, 0, 113, 0], 24, "reserved"),
    // Azure's host agent, at a public address
    ([168, 63, 129, 16], 32, "a metadata service"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// What is special about an address, if anything. IPv4 addresses within IPv6 ones count as what they stand for.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(address);
    SPECIAL_V4
        .iter()
        .find(|(first, length, _)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
            bits & mask == u32::from(Ipv4Addr::from(*first)) & mask
        })
        .map(|(_, _, what)| *what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(address) = address.to_ipv4_mapped() {
        return special_v4(address);
    }
    let parts = address.segments();
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // ::/96, which is also where the unspecified address and IPv4-compatible ones are
        [0, 0, 0, 0, 0, 0, _, _] => Some("reserved"),
        // NAT64: what the gateway behind it reaches is the IPv4 address
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            special_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        // local NAT64, 6to4 and Teredo lead to IPv4 networks that nobody can know
        [0x64, 0xff9b, 1, ..] | [0x2002, ..] | [0x2001, 0, ..] => Some("a tunnel into IPv4"),
        [0x100, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] | [0x5f00, ..] => Some("reserved"),
        // with fd00:ec2::254, a metadata service
        [first, ..] if first & 0xfe00 == 0xfc00 => Some("private"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("link-local"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Some("private"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("multicast"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_near_is_special_and_the_rest_is_not() {
        let of = |text: &str| special(text.parse().unwrap());
        for near in [
            "0.0.0.0",
            "0.1.2.3",
            "10.255.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.19.0.1",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "fd00:ec2::254",
            "fc00::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
        ] {
            assert!(of(near).is_some(), "{near}");
        }
        for far in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "168.63.129.17",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700::1",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2001:4860::1",
        ] {
            assert_eq!(of(far), None, "{far}");
        }
    }

    proptest! {
        /// However an IPv4 address is dressed up, it is judged as what it is.
        #[test]
        fn the_dress_does_not_matter(bits: u32) {
            let plain = Ipv4Addr::from(bits);
            prop_assert_eq!(special(plain.to_ipv6_mapped().into()), special(plain.into()));
            let std_says = plain.is_private() || plain.is_loopback() || plain.is_link_local() || plain.is_multicast()
                || plain.is_broadcast() || plain.is_documentation() || plain.is_unspecified();
            prop_assert!(!std_says || special(plain.into()).is_some());
        }

        #[test]
        fn what_the_standard_library_calls_local_is_special(bits: u128) {
            let address = Ipv6Addr::from(bits);
            let local = address.is_unique_local() || address.is_unicast_link_local() || address.is_multicast() || address.is_loopback();
            prop_assert!(!local || special(address.into()).is_some());
        }
    }
}
