//! Who is at the other end of the connection, for the limit by address. `X-Forwarded-For` is anybody's word: it counts
//! only as far as trusted proxies wrote it.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::HeaderMap;

/// A network: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: u128,
    bits: u8,
}

/// Why a word is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an address or a network such as 10.0.0.0/8")]
pub struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(word: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match word.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| NetworkError)?)),
            None => (word.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(longest);
        if bits > longest {
            return Err(NetworkError);
        }
        Ok(Network { address: number(address), bits: 128 - longest + bits })
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let different = self.address ^ number(address);
        self.bits == 0 || different >> (128 - u32::from(self.bits)) == 0
    }
}

/// IPv4 stands where IPv6 maps it, so that `::ffff:10.0.0.1` is `10.0.0.1`.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Is it one of the proxies?
pub(crate) fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// The address to count: the peer's, or, behind trusted proxies, the last that they did not write themselves.
pub(crate) fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| is_trusted(address, trusted);
    if !is_trusted(peer) {
        return peer;
    }
    let mut last = peer;
    let said: Vec<_> = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    for hop in said.iter().flat_map(|value| value.split(',')).rev() {
        let Some(address) = address_of(hop.trim()) else { return last };
        last = address;
        if !is_trusted(address) {
            return last;
        }
    }
    last
}

fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|with_port| with_port.ip()))
}

/// What a limit is kept by: whoever has one IPv6 address has 2^64 of them.
pub(crate) fn bucket(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller_of(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let headers = forwarded.iter().map(|v| ("x-forwarded-for".parse().unwrap(), v.parse().unwrap())).collect();
        let trusted: Vec<_> = trusted.iter().map(|t| t.parse().unwrap()).collect();
        caller(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_forwarded_address_is_ignored_unless_a_trusted_proxy_says_it() {
        assert_eq!(caller_of("192.0.2.1", &["1.2.3.4"], &[]), "192.0.2.1");
        assert_eq!(caller_of("192.0.2.1", &["1.2.3.4"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(caller_of("10.1.1.1", &["1.2.3.4"], &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(caller_of("::ffff:10.1.1.1", &["1.2.3.4"], &["10.0.0.0/8"]), "1.2.3.4");
    }

    #[test]
    fn what_the_caller_wrote_before_the_proxies_is_ignored() {
        assert_eq!(caller_of("10.1.1.1", &["9.9.9.9, 1.2.3.4, 10.2.2.2"], &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(caller_of("10.1.1.1", &["9.9.9.9", "1.2.3.4"], &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(caller_of("10.1.1.1", &["nonsense"], &["10.0.0.0/8"]), "10.1.1.1");
        assert_eq!(caller_of("10.1.1.1", &["[2001:db8::1]:443"], &["10.0.0.0/8"]), "2001:db8::1");
    }

    #[test]
    fn networks_are_read_and_bad_ones_refused() {
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x"] {
            assert_eq!(bad.parse::<Network>(), Err(NetworkError), "{bad}");
        }
        let everything: Network = "::/0".parse().unwrap();
        assert!(everything.contains("192.0.2.1".parse().unwrap()));
        let one: Network = "192.0.2.1".parse().unwrap();
        assert!(one.contains("192.0.2.1".parse().unwrap()) && !one.contains("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn a_whole_ipv6_subnet_is_one_caller() {
        let of = |word: &str| bucket(word.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
