//! Datagrams in memory: lost, doubled, delayed and out of order as the seed wants it. QUIC above it is the real one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, TokioRuntime, UdpPoller};

use super::history::History;
use super::random::Random;

/// Where the broker listens.
pub(super) const BROKER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4433);
/// Datagrams that wait at a socket; further ones are lost, as a kernel would lose them.
const WAITING_MAX: usize = 4096;

/// How the network is at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weather {
    /// Of a hundred.
    pub(super) lost: u64,
    /// Of a hundred.
    pub(super) doubled: u64,
    /// Each datagram takes at least this long.
    pub(super) delay_ms: u64,
    /// And up to this much longer, each by its own, so that later ones overtake it.
    pub(super) jitter_ms: u64,
}

impl Weather {
    pub(super) const FINE: Self = Self { lost: 0, doubled: 0, delay_ms: 1, jitter_ms: 0 };
}

/// The network.
#[derive(Clone)]
pub(super) struct Network {
    state: Arc<Mutex<State>>,
    history: History,
}

struct State {
    random: Random,
    weather: Weather,
    /// Clients that nothing reaches and nothing comes from.
    cut_off: BTreeSet<IpAddr>,
    inboxes: BTreeMap<SocketAddr, Inbox>,
    /// The socket that answered last, by where the answer went.
    answered: BTreeMap<SocketAddr, u64>,
    sockets_made: u64,
}

struct Inbox {
    socket: u64,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    waker: Option<Waker>,
}

impl Network {
    pub(super) fn new(random: Random, history: History) -> Self {
        let state = State {
            random,
            weather: Weather::FINE,
            cut_off: BTreeSet::new(),
            inboxes: BTreeMap::new(),
            answered: BTreeMap::new(),
            sockets_made: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), history }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the network")
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    pub(super) fn cut_off(&self, client: IpAddr, is_cut_off: bool) {
        let mut state = self.state();
        if is_cut_off {
            state.cut_off.insert(client)
        } else {
            state.cut_off.remove(&client)
        };
    }

    /// Takes an address from whoever has it: a process that died neither sends nor hears.
    pub(super) fn unplug(&self, address: SocketAddr) {
        self.state().inboxes.remove(&address);
    }

    /// A socket at an address. Whoever had the address before is unplugged.
    pub(super) fn bind(&self, address: SocketAddr) -> Arc<Socket> {
        let mut state = self.state();
        state.sockets_made += 1;
        let id = state.sockets_made;
        state.inboxes.insert(address, Inbox { socket: id, waiting: VecDeque::new(), waker: None });
        Arc::new(Socket { network: self.clone(), address, id })
    }

    /// An endpoint of a client, with a port of its own.
    pub(super) fn client(&self, address: IpAddr) -> io::Result<Endpoint> {
        let port = 1024 + u16::try_from(self.state().sockets_made % 60_000).expect("it is below 65536");
        let socket = self.bind(SocketAddr::new(address, port));
        Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
    }

    fn send(&self, from: &Socket, to: SocketAddr, octets: &[u8]) {
        let mut state = self.state();
        let is_plugged = state.inboxes.get(&from.address).is_some_and(|inbox| inbox.socket == from.id);
        let is_cut_off = [from.address.ip(), to.ip()].iter().any(|end| state.cut_off.contains(end));
        if !is_plugged || is_cut_off {
            return;
        }
        state.answered.insert(to, from.id);
        let Weather { lost, doubled, delay_ms, jitter_ms } = state.weather;
        let copies =
            if state.random.percent(lost) { 0 } else { 1 + u32::from(state.random.percent(doubled)) };
        for _ in 0..copies {
            let delay = Duration::from_millis(delay_ms + state.random.within(0..=jitter_ms));
            let (network, from, octets) = (self.clone(), from.address, octets.to_vec());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                network.arrive(from, to, octets);
            });
        }
        self.history.packet(from.address, to, octets.len(), copies);
    }

    fn arrive(&self, from: SocketAddr, to: SocketAddr, octets: Vec<u8>) {
        let mut state = self.state();
        let answered = state.answered.get(&from).copied();
        let Some(inbox) = state.inboxes.get_mut(&to) else { return };
        // Under keys that only a process had that is gone. Another one looks at octets that are random for it, of which the seed
        // does not decide: some look like a packet, others do not.
        if is_initial(&octets) && answered.is_some_and(|socket| socket != inbox.socket) {
            return;
        }
        if inbox.waiting.len() < WAITING_MAX {
            inbox.waiting.push_back((from, octets));
        }
        if let Some(waker) = inbox.waker.take() {
            drop(state);
            waker.wake();
        }
    }
}

/// Whether a datagram begins with an Initial packet of QUIC (RFC 9000, section 17.2.2).
fn is_initial(octets: &[u8]) -> bool {
    octets.first().is_some_and(|first| first & 0xf0 == 0xc0)
}

/// One end of the network.
pub(super) struct Socket {
    network: Network,
    address: SocketAddr,
    id: u64,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.address)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.network.state();
        if state.inboxes.get(&self.address).is_some_and(|inbox| inbox.socket == self.id) {
            state.inboxes.remove(&self.address);
        }
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.network.send(self, transmit.destination, transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.network.state();
        let inbox = state.inboxes.get_mut(&self.address).filter(|inbox| inbox.socket == self.id);
        // Nothing comes to a socket that is unplugged.
        let Some(inbox) = inbox else { return Poll::Pending };
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some((from, octets)) = inbox.waiting.pop_front() else { break };
            buffer[..octets.len()].copy_from_slice(&octets);
            *meta = RecvMeta { addr: from, len: octets.len(), stride: octets.len(), ecn: None, dst_ip: None };
            count += 1;
        }
        if count == 0 {
            inbox.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
