//! A disk whose power can be cut: what was not synced is then forgotten, wholly or in part, as a file system and a disk may.
//!
//! What is written goes to real files too, so that readers see it. [`PowerDisk::image`] makes the directory that is found
//! when the power is back: of each file what was synced and some of what was not, each sector as it was at some moment; of
//! each directory what was synced and the first few of the changes that were not.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::embedded::disk::{Disk, DiskFile, RealDisk};

const SECTOR: usize = 512;

/// Numbers from a seed (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn length(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }
}

enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// A file, whatever it is called.
#[derive(Default)]
struct Inode {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

impl Inode {
    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write(at, octets) => put(&mut self.synced, at, &octets),
                Change::Truncate(octets) => self.synced.truncate(octets),
            }
        }
    }

    /// What is found after the cut.
    fn found(&self, random: &mut Random) -> Vec<u8> {
        let mut found = self.synced.clone();
        let all = self.unsynced.len();
        let mode = random.below(4);
        let kept = random.length(all + 1);
        // A sector reaches the disk as it was at some moment: never a later write to it without the earlier ones.
        let mut kept_of_sectors: HashMap<usize, usize> = HashMap::new();
        let mut kept_of = |sector: usize| match mode {
            0 => 0,
            1 => all,
            2 => kept,
            _ => *kept_of_sectors.entry(sector).or_insert_with(|| random.length(all + 1)),
        };
        for (number, change) in self.unsynced.iter().enumerate() {
            match change {
                Change::Truncate(octets) if number < kept => found.truncate(*octets),
                Change::Truncate(_) => {}
                Change::Write(at, octets) => {
                    let mut from = 0;
                    while from < octets.len() {
                        let sector = (at + from) / SECTOR;
                        let to = octets.len().min((sector + 1) * SECTOR - at);
                        if number < kept_of(sector) {
                            put(&mut found, at + from, &octets[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
        // The new length may be lost though the octets are there.
        if found.len() > self.synced.len() && random.below(3) == 0 {
            found.truncate(self.synced.len() + random.length(found.len() - self.synced.len()));
        }
        found
    }
}

fn put(file: &mut Vec<u8>, at: usize, octets: &[u8]) {
    if file.len() < at + octets.len() {
        file.resize(at + octets.len(), 0);
    }
    file[at..at + octets.len()].copy_from_slice(octets);
}

enum Naming {
    Link(PathBuf, usize),
    Unlink(PathBuf),
}

#[derive(Default)]
struct Directory {
    synced: BTreeMap<PathBuf, usize>,
    unsynced: Vec<Naming>,
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
    match naming {
        Naming::Link(path, inode) => drop(names.insert(path.clone(), *inode)),
        Naming::Unlink(path) => drop(names.remove(path)),
    }
}

#[derive(Default)]
struct World {
    inodes: Vec<Inode>,
    names: HashMap<PathBuf, usize>,
    directories: BTreeMap<PathBuf, Directory>,
    /// Operations so far.
    operations: u64,
    /// The power goes off with this one.
    cut_at: Option<u64>,
}

impl World {
    fn load(&mut self, dir: &Path) {
        self.directories.entry(dir.to_owned()).or_default();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // sled does not write through this disk.
                if path.file_name().is_some_and(|name| name != "meta") {
                    self.load(&path);
                }
                continue;
            }
            let inode = self.inodes.len();
            self.inodes.push(Inode { synced: std::fs::read(&path).unwrap(), unsynced: Vec::new() });
            self.names.insert(path.clone(), inode);
            self.directories.get_mut(dir).unwrap().synced.insert(path, inode);
        }
    }

    fn name(&mut self, naming: Naming) {
        let path = match &naming {
            Naming::Link(path, _) | Naming::Unlink(path) => path.clone(),
        };
        match &naming {
            Naming::Link(path, inode) => drop(self.names.insert(path.clone(), *inode)),
            Naming::Unlink(path) => drop(self.names.remove(path)),
        }
        self.directories.entry(path.parent().unwrap().to_owned()).or_default().unsynced.push(naming);
    }

    /// Counts an operation: an error when the power is off.
    fn tick(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.is_off() { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn is_off(&self) -> bool {
        self.cut_at.is_some_and(|at| self.operations >= at)
    }
}

#[derive(Clone)]
pub(super) struct PowerDisk {
    world: Arc<Mutex<World>>,
    root: PathBuf,
}

impl PowerDisk {
    /// What is in the directory now is durable.
    pub(super) fn new(root: &Path) -> Self {
        let mut world = World::default();
        world.load(root);
        Self { world: Arc::new(Mutex::new(world)), root: root.to_owned() }
    }

    /// The power goes off with the nth operation from now.
    pub(super) fn cut_at(&self, nth: u64) {
        let mut world = self.world.lock();
        world.cut_at = Some(world.operations + nth);
    }

    pub(super) fn is_off(&self) -> bool {
        self.world.lock().is_off()
    }

    pub(super) fn operations(&self) -> u64 {
        self.world.lock().operations
    }

    /// Puts what is found when the power is back into an empty directory.
    pub(super) fn image(&self, to: &Path, random: &mut Random) {
        let world = self.world.lock();
        for (dir, directory) in &world.directories {
            let new_dir = to.join(dir.strip_prefix(&self.root).unwrap());
            std::fs::create_dir_all(&new_dir).unwrap();
            let mut names = directory.synced.clone();
            let kept = random.length(directory.unsynced.len() + 1);
            directory.unsynced[..kept].iter().for_each(|naming| apply(&mut names, naming));
            for (path, inode) in names {
                let content = world.inodes[inode].found(random);
                std::fs::write(to.join(path.strip_prefix(&self.root).unwrap()), content).unwrap();
            }
        }
    }

    fn file(&self, inode: usize, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(PowerFile { world: self.world.clone(), inode, file })
    }
}

struct PowerFile {
    world: Arc<Mutex<World>>,
    inode: usize,
    file: Box<dyn DiskFile>,
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world.lock();
        world.tick()?;
        let file = RealDisk.create(path)?;
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.name(Naming::Link(path.to_owned(), inode));
        Ok(self.file(inode, file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world.lock();
        world.tick()?;
        Ok(self.file(world.names[path], RealDisk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        world.tick()?;
        RealDisk.rename(from, to)?;
        let inode = world.names[from];
        // Within a directory a journal makes both halves one; between two the body may be in both or in neither, and the
        // order here is the one in which it is never in neither.
        world.name(Naming::Link(to.to_owned(), inode));
        world.name(Naming::Unlink(from.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        world.tick()?;
        RealDisk.remove(path)?;
        world.name(Naming::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        world.tick()?;
        let Directory { synced, unsynced } = world.directories.entry(path.to_owned()).or_default();
        unsynced.drain(..).for_each(|naming| apply(synced, &naming));
        Ok(())
    }
}

impl DiskFile for PowerFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut world = self.world.lock();
        let was_off = world.is_off();
        let ticked = world.tick();
        if !was_off {
            // The write during which the power goes off may still be done in part.
            let octets = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let at = usize::try_from(position).unwrap();
            world.inodes[self.inode].unsynced.push(Change::Write(at, octets));
        }
        ticked?;
        self.file.write_at(slices, position)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.world.lock();
        world.tick()?;
        world.inodes[self.inode].sync();
        Ok(())
    }

    fn truncate(&mut self, octets: u64) -> io::Result<()> {
        let mut world = self.world.lock();
        world.tick()?;
        world.inodes[self.inode].unsynced.push(Change::Truncate(usize::try_from(octets).unwrap()));
        self.file.truncate(octets)
    }

    fn duplicate(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(PowerFile { world: self.world.clone(), inode: self.inode, file: self.file.duplicate()? }))
    }
}

#[test]
fn a_sector_holds_no_later_write_without_the_earlier_ones() {
    // The second write begins in the sector in which the first one lies, and ends in the next.
    let changes = || vec![Change::Write(438, vec![1; 57]), Change::Write(495, vec![2; 57])];
    let mut seen = [false; 2];
    for seed in 0..500 {
        let file = Inode { synced: vec![9; 438], unsynced: changes() };
        let found = file.found(&mut Random(seed));
        let is_there = |at: usize, octet: u8| found.get(at) == Some(&octet);
        assert!(is_there(438, 1) || !is_there(495, 2), "seed {seed}");
        // What lies in different sectors is found in any combination.
        seen[0] |= is_there(495, 2) && !is_there(512, 2);
        seen[1] |= !is_there(495, 2) && is_there(512, 2);
    }
    assert_eq!(seen, [true; 2]);
}
