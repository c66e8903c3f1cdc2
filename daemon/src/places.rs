//! Places for connections at a door.
//!
//! Whoever connects is a stranger until a request of theirs has been authorized. Strangers and those who are known have
//! places of their own, so that strangers cannot take those of the known. A door never waits to accept: where all places of
//! strangers are taken, a new one takes that of another, the oldest of those whose address has the most. One more of that
//! address stays outside instead where even its oldest has only just come, so that each has the time for a handshake, and a
//! flood costs little more than its accepts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Age below which a stranger makes no room for one more of the same crowd.
const YOUNG: Duration = Duration::from_secs(1);
/// How often the log says that strangers are turned out.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The places of one door.
#[derive(Clone, Debug)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most_strangers: usize,
    most_known: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the order in which they came.
    strangers: BTreeMap<u64, Stranger>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
    known: usize,
    next: u64,
    told: Option<Instant>,
}

#[derive(Debug)]
struct Stranger {
    address: IpAddr,
    since: Instant,
    leave: CancellationToken,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub struct Place {
    pass: Pass,
    leave: CancellationToken,
}

/// Knows one connection's place: what its requests carry in their extensions.
#[derive(Clone, Debug)]
pub struct Pass {
    shared: Arc<Shared>,
    id: u64,
    address: IpAddr,
    known: Arc<Mutex<bool>>,
}

impl Places {
    /// Places for so many strangers and as many who are known.
    pub fn new(strangers: usize, known: usize) -> Self {
        Self(Arc::new(Shared {
            most_strangers: strangers.max(1),
            most_known: known.max(1),
            state: Mutex::default(),
        }))
    }

    /// A place for a stranger, if need be that of another; none where those who would have to leave have only just come and
    /// are no larger a crowd.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let leave = CancellationToken::new();
        let now = Instant::now();
        let mut state = self.0.state();
        if state.strangers.len() >= self.0.most_strangers && !state.make_room(group(address), now) {
            return None;
        }
        let id = state.next;
        state.next += 1;
        let stranger = Stranger {
            address: group(address),
            since: now,
            leave: leave.clone(),
        };
        let same = state.by_address.entry(stranger.address).or_default();
        same.insert(id);
        state.strangers.insert(id, stranger);
        drop(state);
        let pass = Pass {
            shared: self.0.clone(),
            id,
            address: address.to_canonical(),
            known: Arc::default(),
        };
        Some(Place { pass, leave })
    }

    /// Turns out a stranger, as where the process may open no more files; whether there was one.
    pub fn turn_out(&self) -> bool {
        self.0.state().turn_out()
    }
}

impl Place {
    /// What the connection's requests carry.
    pub fn pass(&self) -> Pass {
        self.pass.clone()
    }

    /// Waits until the connection has to leave for another.
    pub fn turned_out(&self) -> WaitForCancellationFutureOwned {
        self.leave.clone().cancelled_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let known = self.pass.is_known();
        let mut state = self.pass.shared.state();
        match *known {
            true => state.known -= 1,
            false => drop(state.remove(self.pass.id)),
        }
    }
}

impl Pass {
    /// Where the connection comes from.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The connection is that of somebody known from now on. Where all places for these are taken, it stays with the
    /// strangers until its next request.
    pub fn known(&self) {
        let mut known = self.is_known();
        if *known {
            return;
        }
        let mut state = self.shared.state();
        if state.known < self.shared.most_known && state.remove(self.id).is_some() {
            state.known += 1;
            *known = true;
        }
    }

    /// Taken before the state, always.
    fn is_known(&self) -> MutexGuard<'_, bool> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The oldest of those whose address has the most, and how many these are.
    fn crowd(&self) -> Option<(u64, usize)> {
        let crowds = self.by_address.values();
        let crowd = crowds.max_by_key(|ids| (ids.len(), std::cmp::Reverse(ids.first())))?;
        Some((*crowd.first()?, crowd.len()))
    }

    /// Whether there is a place for one more of this address.
    fn make_room(&mut self, address: IpAddr, now: Instant) -> bool {
        self.tell(now);
        let Some((oldest, crowd)) = self.crowd() else {
            return true;
        };
        let own = self.by_address.get(&address).map_or(0, BTreeSet::len);
        let since = self.strangers.get(&oldest).map(|oldest| oldest.since);
        let young = since.is_some_and(|since| now.duration_since(since) < YOUNG);
        (crowd > own + 1 || !young) && self.turn_out()
    }

    fn turn_out(&mut self) -> bool {
        let oldest = self.crowd().and_then(|(oldest, _)| self.remove(oldest));
        let turned_out = oldest.is_some();
        if let Some(stranger) = oldest {
            stranger.leave.cancel();
        }
        turned_out
    }

    fn tell(&mut self, now: Instant) {
        let told = self.told;
        if told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            self.told = Some(now);
            tracing::warn!(
                strangers = self.strangers.len(),
                known = self.known,
                "all places for connections without a valid token are taken: the oldest are closed for new ones"
            );
        }
    }

    fn remove(&mut self, id: u64) -> Option<Stranger> {
        let stranger = self.strangers.remove(&id)?;
        if let Some(same) = self.by_address.get_mut(&stranger.address) {
            same.remove(&id);
            if same.is_empty() {
                self.by_address.remove(&stranger.address);
            }
        }
        Some(stranger)
    }
}

/// Whose connections count together: an address, or of IPv6 the network that one customer gets at least.
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

    fn out(place: &Place) -> bool {
        place.leave.is_cancelled()
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Everybody in there has been there for a while.
    fn later(places: &Places) {
        for stranger in places.0.state().strangers.values_mut() {
            stranger.since -= YOUNG;
        }
    }

    fn enter(places: &Places, last: u8) -> Place {
        places.enter(address(last)).expect("a place")
    }

    #[test]
    fn a_crowd_of_strangers_turns_out_its_own() {
        let places = Places::new(4, 4);
        let alone = enter(&places, 1);
        let crowd = (0..9).map(|_| {
            later(&places);
            enter(&places, 2)
        });
        let crowd: Vec<_> = crowd.collect();
        assert!(!out(&alone), "the only one of its address went");
        let left: Vec<_> = crowd.iter().map(|place| !out(place)).collect();
        let mut newest = [false; 9];
        newest[6..].fill(true);
        assert_eq!(left, newest, "not the oldest ones went");
    }

    #[test]
    fn a_crowd_that_has_just_come_makes_room_for_others_and_not_for_more_of_it() {
        let places = Places::new(4, 4);
        let crowd: Vec<_> = (0..4).map(|_| enter(&places, 2)).collect();
        assert!(places.enter(address(2)).is_none(), "one more of the crowd");
        let [first, second] = [1, 3].map(|last| enter(&places, last));
        let gone = crowd.iter().filter(|place| out(place)).count();
        assert_eq!((gone, out(&first), out(&second)), (2, false, false));
        assert!(places.enter(address(1)).is_none(), "as many as the crowd");
    }

    #[test]
    fn addresses_that_have_as_many_lose_the_oldest() {
        let places = Places::new(2, 4);
        let [first, second] = [1, 2].map(|last| enter(&places, last));
        assert!(
            places.enter(address(3)).is_none(),
            "no time for a handshake"
        );
        later(&places);
        let third = enter(&places, 3);
        assert_eq!([&first, &second, &third].map(out), [true, false, false]);
    }

    #[test]
    fn the_known_stay_and_free_the_places_of_strangers() {
        let places = Places::new(1, 2);
        let known = (0..2).map(|_| {
            let place = enter(&places, 1);
            place.pass().known();
            place.pass().known();
            place
        });
        let known: Vec<_> = known.collect();
        let third = enter(&places, 1);
        third.pass().known();
        later(&places);
        let stranger = enter(&places, 1);
        assert!(known.iter().all(|place| !out(place)), "a known one went");
        assert!(out(&third), "there are only two places for the known");
        drop(known);
        stranger.pass().known();
        let next = enter(&places, 1);
        assert!(!out(&stranger), "a place of the known was free again");
        drop((stranger, third, next));
        let state = places.0.state();
        assert_eq!((state.known, state.strangers.len()), (0, 0));
        assert!(state.by_address.is_empty());
    }

    #[test]
    fn one_network_of_ipv6_counts_together() {
        let [one, other, mapped] =
            ["2001:db8::1", "2001:db8::ffff:1", "::ffff:192.0.2.1"].map(|text| {
                let address: IpAddr = text.parse().expect("address");
                group(address)
            });
        assert_eq!(one, other);
        assert_eq!(mapped, address(1));
    }
}
