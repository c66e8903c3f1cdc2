//! Slots for the connections of a listener.
//!
//! A connection is anonymous until one of its requests is authenticated. Anonymous and authenticated connections have
//! slots of their own, so that anonymous ones cannot take those of the others. A listener never waits to accept: when
//! all anonymous slots are taken, a new connection evicts the oldest one of the address that has most. A new connection
//! from that same address is refused instead while its oldest is only just open. So each connection has time for a
//! handshake, and a flood costs little more than its accepts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Age below which a connection is not evicted for another one of the same address.
const YOUNG: Duration = Duration::from_secs(1);
/// How often evictions are logged.
const LOG_PERIOD: Duration = Duration::from_secs(60);

/// The slots of one listener.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_anonymous: usize,
    max_authenticated: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Anonymous connections, in the order in which they came.
    anonymous: BTreeMap<u64, Anonymous>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
    authenticated: HashSet<u64>,
    next_id: u64,
    logged: Option<Instant>,
}

#[derive(Debug)]
struct Anonymous {
    address: IpAddr,
    since: Instant,
    evict: CancellationToken,
}

/// The slot of one connection, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    peer: Peer,
    evict: CancellationToken,
}

/// The other side of a connection; in the extensions of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    shared: Arc<Shared>,
    id: u64,
    address: IpAddr,
}

impl Slots {
    /// Slots for so many anonymous and so many authenticated connections.
    pub fn new(anonymous: usize, authenticated: usize) -> Self {
        Self(Arc::new(Shared {
            max_anonymous: anonymous.max(1),
            max_authenticated: authenticated.max(1),
            state: Mutex::default(),
        }))
    }

    /// A slot for a new connection, if need be that of another. `None` where the connections that could be evicted are
    /// only just open and are not from an address with more of them.
    pub fn enter(&self, address: IpAddr) -> Option<Slot> {
        let (evict, now) = (CancellationToken::new(), Instant::now());
        let mut state = self.0.state();
        if state.anonymous.len() >= self.0.max_anonymous && !state.make_room(group(address), now) {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        let anonymous = Anonymous {
            address: group(address),
            since: now,
            evict: evict.clone(),
        };
        let same = state.by_address.entry(anonymous.address).or_default();
        same.insert(id);
        state.anonymous.insert(id, anonymous);
        drop(state);
        let peer = Peer {
            shared: self.0.clone(),
            id,
            address: address.to_canonical(),
        };
        Some(Slot { peer, evict })
    }

    /// Evicts an anonymous connection, for example when the process may open no more files. Returns whether there was
    /// one.
    pub fn evict(&self) -> bool {
        self.0.state().evict()
    }
}

impl Slot {
    /// The other side of the connection.
    pub fn peer(&self) -> Peer {
        self.peer.clone()
    }

    /// Waits until the connection is evicted.
    pub fn evicted(&self) -> WaitForCancellationFutureOwned {
        self.evict.clone().cancelled_owned()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.peer.shared.state();
        if !state.authenticated.remove(&self.peer.id) {
            state.remove(self.peer.id);
        }
    }
}

impl Peer {
    /// Address that the connection comes from.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Notes that a request was authenticated. Where all slots for authenticated connections are taken, the connection
    /// keeps its anonymous slot until its next request.
    pub fn authenticated(&self) {
        let mut state = self.shared.state();
        let is_free = state.authenticated.len() < self.shared.max_authenticated;
        if is_free && state.remove(self.id).is_some() {
            state.authenticated.insert(self.id);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The oldest connection of the address that has most, and how many these are.
    fn largest_group(&self) -> Option<(u64, usize)> {
        let groups = self.by_address.values();
        let largest = groups.max_by_key(|ids| (ids.len(), std::cmp::Reverse(ids.first())))?;
        Some((*largest.first()?, largest.len()))
    }

    /// Frees a slot for one more connection of this address, if it may have one.
    fn make_room(&mut self, address: IpAddr, now: Instant) -> bool {
        self.log(now);
        let Some((oldest, size)) = self.largest_group() else {
            return true;
        };
        let own = self.by_address.get(&address).map_or(0, BTreeSet::len);
        let since = self.anonymous.get(&oldest).map(|oldest| oldest.since);
        let young = since.is_some_and(|since| now.duration_since(since) < YOUNG);
        (size > own + 1 || !young) && self.evict()
    }

    fn evict(&mut self) -> bool {
        let oldest = self.largest_group();
        let evicted = oldest.and_then(|(oldest, _)| self.remove(oldest));
        if let Some(connection) = &evicted {
            connection.evict.cancel();
        }
        evicted.is_some()
    }

    fn log(&mut self, now: Instant) {
        let logged = self.logged;
        if logged.is_none_or(|logged| now.duration_since(logged) >= LOG_PERIOD) {
            self.logged = Some(now);
            tracing::warn!(
                anonymous = self.anonymous.len(),
                authenticated = self.authenticated.len(),
                "all slots for connections without a valid token are taken: the oldest are closed for new ones"
            );
        }
    }

    fn remove(&mut self, id: u64) -> Option<Anonymous> {
        let connection = self.anonymous.remove(&id)?;
        if let Some(same) = self.by_address.get_mut(&connection.address) {
            same.remove(&id);
            if same.is_empty() {
                self.by_address.remove(&connection.address);
            }
        }
        Some(connection)
    }
}

/// The addresses that count together: an IPv4 address, or the IPv6 network that one customer gets at least.
pub fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(slot: &Slot) -> bool {
        slot.evict.is_cancelled()
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Makes all connections older.
    fn later(slots: &Slots) {
        for connection in slots.0.state().anonymous.values_mut() {
            connection.since -= YOUNG;
        }
    }

    fn enter(slots: &Slots, last: u8) -> Slot {
        slots.enter(address(last)).expect("a slot")
    }

    #[test]
    fn an_address_with_many_connections_evicts_its_own() {
        let slots = Slots::new(4, 4);
        let alone = enter(&slots, 1);
        let group = (0..9).map(|_| {
            later(&slots);
            enter(&slots, 2)
        });
        let group: Vec<_> = group.collect();
        assert!(!out(&alone), "the only one of its address was evicted");
        let left: Vec<_> = group.iter().map(|slot| !out(slot)).collect();
        let mut newest = [false; 9];
        newest[6..].fill(true);
        assert_eq!(left, newest, "others than the oldest were evicted");
    }

    #[test]
    fn a_new_group_makes_room_for_other_addresses_and_not_for_itself() {
        let slots = Slots::new(4, 4);
        let group: Vec<_> = (0..4).map(|_| enter(&slots, 2)).collect();
        assert!(slots.enter(address(2)).is_none(), "one more of the group");
        let [first, second] = [1, 3].map(|last| enter(&slots, last));
        let gone = group.iter().filter(|slot| out(slot)).count();
        assert_eq!((gone, out(&first), out(&second)), (2, false, false));
        assert!(slots.enter(address(1)).is_none(), "as many as the group");
    }

    #[test]
    fn addresses_with_equally_many_lose_the_oldest() {
        let slots = Slots::new(2, 4);
        let [first, second] = [1, 2].map(|last| enter(&slots, last));
        assert!(slots.enter(address(3)).is_none(), "no time for a handshake");
        later(&slots);
        let third = enter(&slots, 3);
        assert_eq!([&first, &second, &third].map(out), [true, false, false]);
    }

    #[test]
    fn authenticated_connections_stay_and_free_anonymous_slots() {
        let slots = Slots::new(1, 2);
        let authenticated = (0..2).map(|_| {
            let slot = enter(&slots, 1);
            slot.peer().authenticated();
            slot.peer().authenticated();
            slot
        });
        let authenticated: Vec<_> = authenticated.collect();
        let third = enter(&slots, 1);
        third.peer().authenticated();
        later(&slots);
        let anonymous = enter(&slots, 1);
        assert!(
            authenticated.iter().all(|slot| !out(slot)),
            "an authenticated one was evicted"
        );
        assert!(out(&third), "there are only two authenticated slots");
        drop(authenticated);
        anonymous.peer().authenticated();
        let next = enter(&slots, 1);
        assert!(!out(&anonymous), "a place of the known was free again");
        drop((anonymous, third, next));
        let state = slots.0.state();
        assert_eq!((state.authenticated.len(), state.anonymous.len()), (0, 0));
        assert!(state.by_address.is_empty());
    }

    #[test]
    fn one_ipv6_network_counts_together() {
        let [one, other, mapped] =
            ["2001:db8::1", "2001:db8::ffff:1", "::ffff:192.0.2.1"].map(|text| {
                let address: IpAddr = text.parse().expect("address");
                group(address)
            });
        assert_eq!(one, other);
        assert_eq!(mapped, address(1));
    }
}
