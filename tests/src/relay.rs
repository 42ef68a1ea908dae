//! A network between clients and a broker that can be made worse: it loses, delays and cuts, and counts what it carries.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often threads look whether they are to end.
const PATIENCE: Duration = Duration::from_millis(20);
/// Octets of a UDP datagram.
const DATAGRAM_OCTETS_MAX: usize = 65_536;

/// Which way octets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From clients to the broker.
    Up,
    /// From the broker to clients.
    Down,
}

/// A UDP relay before a broker. Clients connect to its address.
pub struct Relay {
    network: Arc<Network>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

struct Network {
    broker: SocketAddr,
    front: UdpSocket,
    is_over: AtomicBool,
    /// New clients get nothing through.
    is_closed: AtomicBool,
    /// Octets that were carried up, and down.
    carried: [AtomicU64; 2],
    /// Where `carried` makes the next cut; `u64::MAX` for nowhere.
    cut_at: [AtomicU64; 2],
    cuts: AtomicU32,
    /// Of a hundred datagrams, how many are lost.
    lost: AtomicU32,
    delay_ms: AtomicU64,
    dice: AtomicU64,
    flows: Mutex<HashMap<SocketAddr, Arc<Flow>>>,
}

/// One client's datagrams.
struct Flow {
    back: UdpSocket,
    /// Up, and down.
    is_cut: [AtomicBool; 2],
}

impl Flow {
    fn is_cut(&self, way: Way) -> bool {
        self.is_cut[way as usize].load(Ordering::SeqCst)
    }
}

impl Relay {
    /// Begins to carry datagrams between whoever sends to it and the broker at this address.
    pub fn before(broker: &str) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        front.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = front.local_addr().unwrap();
        let nowhere = || AtomicU64::new(u64::MAX);
        let network = Arc::new(Network {
            broker: broker.parse().unwrap(),
            front,
            is_over: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            carried: Default::default(),
            cut_at: [nowhere(), nowhere()],
            cuts: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            delay_ms: AtomicU64::new(0),
            dice: AtomicU64::new(0x9e37_79b9_7f4a_7c15),
            flows: Mutex::default(),
        });
        let thread = std::thread::spawn({
            let network = network.clone();
            move || network.carry_up()
        });
        Self { network, address, thread: Some(thread) }
    }

    /// Where clients find the broker.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Octets of datagrams that went that way, lost ones not counted.
    pub fn carried(&self, way: Way) -> u64 {
        self.network.carried[way as usize].load(Ordering::SeqCst)
    }

    /// How often it was cut.
    pub fn cuts(&self) -> u32 {
        self.network.cuts.load(Ordering::SeqCst)
    }

    /// From now on nothing is carried between the broker and the clients that there are. Both hear nothing. A client that comes from
    /// another port gets through.
    pub fn cut(&self) {
        self.network.cut();
    }

    /// From now on nothing is carried that way between the broker and the clients that there are, what is delayed included.
    pub fn cut_way(&self, way: Way) {
        self.network.cuts.fetch_add(1, Ordering::SeqCst);
        for flow in self.network.flows.lock().unwrap().values() {
            flow.is_cut[way as usize].store(true, Ordering::SeqCst);
        }
    }

    /// From now on new clients get nothing through.
    pub fn close(&self) {
        self.network.is_closed.store(true, Ordering::SeqCst);
    }

    /// Cuts when so many more octets have gone that way.
    pub fn cut_after(&self, way: Way, octets: u64) {
        self.network.cut_at[way as usize].store(self.carried(way) + octets, Ordering::SeqCst);
    }

    /// Loses so many of a hundred datagrams, both ways.
    pub fn lose(&self, of_hundred: u32) {
        self.network.lost.store(of_hundred, Ordering::SeqCst);
    }

    /// Carries each datagram so much later, both ways.
    pub fn delay(&self, by: Duration) {
        let milliseconds = u64::try_from(by.as_millis()).unwrap();
        self.network.delay_ms.store(milliseconds, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.network.is_over.store(true, Ordering::SeqCst);
        let thread = self.thread.take().unwrap();
        // A test that failed has its own message.
        let _ = thread.join();
    }
}

impl Network {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        for flow in self.flows.lock().unwrap().values() {
            flow.is_cut.iter().for_each(|way| way.store(true, Ordering::SeqCst));
        }
    }

    /// Counts a datagram. Whether it goes on.
    fn lets_through(&self, flow: &Flow, way: Way, octets: usize) -> bool {
        // A linear congruential generator (Knuth, MMIX): chance that is the same in each run.
        let dice = self.dice.load(Ordering::SeqCst).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.dice.store(dice, Ordering::SeqCst);
        if flow.is_cut(way) || (dice >> 33) % 100 < u64::from(self.lost.load(Ordering::SeqCst)) {
            return false;
        }
        let octets = octets as u64;
        let carried = self.carried[way as usize].fetch_add(octets, Ordering::SeqCst) + octets;
        let cut_at = &self.cut_at[way as usize];
        if carried >= cut_at.load(Ordering::SeqCst) {
            cut_at.store(u64::MAX, Ordering::SeqCst);
            self.cut();
        }
        true
    }

    fn carry_up(self: Arc<Self>) {
        let mut threads = Vec::new();
        let mut datagram = vec![0; DATAGRAM_OCTETS_MAX];
        let late = Late::begin(&mut threads);
        while !self.is_over() {
            let Ok((octets, client)) = self.front.recv_from(&mut datagram) else { continue };
            let known = self.flows.lock().unwrap().get(&client).cloned();
            let flow = known.unwrap_or_else(|| self.begin(client, &mut threads));
            if self.lets_through(&flow, Way::Up, octets) {
                let to_broker = flow.clone();
                late.send(&self, &datagram[..octets], move |datagram| {
                    if !to_broker.is_cut(Way::Up) {
                        // The broker may be gone.
                        let _ = to_broker.back.send(datagram);
                    }
                });
            }
        }
        drop(late);
        threads.into_iter().for_each(|thread: JoinHandle<()>| thread.join().unwrap());
    }

    fn begin(self: &Arc<Self>, client: SocketAddr, threads: &mut Vec<JoinHandle<()>>) -> Arc<Flow> {
        let back = UdpSocket::bind("127.0.0.1:0").unwrap();
        back.connect(self.broker).unwrap();
        back.set_read_timeout(Some(PATIENCE)).unwrap();
        let is_closed = self.is_closed.load(Ordering::SeqCst);
        let is_cut = [AtomicBool::new(is_closed), AtomicBool::new(is_closed)];
        let flow = Arc::new(Flow { back, is_cut });
        self.flows.lock().unwrap().insert(client, flow.clone());
        let (network, carried) = (self.clone(), flow.clone());
        threads.push(std::thread::spawn(move || network.carry_down(&carried, client)));
        flow
    }

    fn carry_down(self: Arc<Self>, flow: &Arc<Flow>, client: SocketAddr) {
        let mut threads = Vec::new();
        let mut datagram = vec![0; DATAGRAM_OCTETS_MAX];
        let late = Late::begin(&mut threads);
        while !self.is_over() && !flow.is_cut(Way::Down) {
            let Ok(octets) = flow.back.recv(&mut datagram) else { continue };
            if self.lets_through(flow, Way::Down, octets) {
                let (network, flow) = (self.clone(), flow.clone());
                late.send(&self, &datagram[..octets], move |datagram| {
                    if !flow.is_cut(Way::Down) {
                        // The client may be gone.
                        let _ = network.front.send_to(datagram, client);
                    }
                });
            }
        }
        drop(late);
        threads.into_iter().for_each(|thread: JoinHandle<()>| thread.join().unwrap());
    }
}

type Sending = (Instant, Vec<u8>, Box<dyn FnOnce(&[u8]) + Send>);

/// Datagrams that are sent later, in order.
struct Late(mpsc::Sender<Sending>);

impl Late {
    fn begin(threads: &mut Vec<JoinHandle<()>>) -> Self {
        let (queue, queued) = mpsc::channel::<Sending>();
        threads.push(std::thread::spawn(move || {
            for (due, datagram, send) in queued {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                send(&datagram);
            }
        }));
        Self(queue)
    }

    fn send(&self, network: &Network, datagram: &[u8], send: impl FnOnce(&[u8]) + Send + 'static) {
        match network.delay_ms.load(Ordering::SeqCst) {
            0 => send(datagram),
            delay => {
                let due = Instant::now() + Duration::from_millis(delay);
                self.0.send((due, datagram.to_vec(), Box::new(send))).unwrap();
            }
        }
    }
}
