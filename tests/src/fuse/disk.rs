//! A disk that forgets what was not synced when its power is cut. No FUSE in here: `super` gives it to the kernel.
//!
//! The model, after POSIX and what journalling file systems add to it:
//!
//! - The octets and the length of a file are safe after `fsync` or `fdatasync` of that file, as they were when it was called.
//!   `close` and `sync_file_range` make nothing safe.
//! - A name (made, removed, renamed) is safe after `fsync` of its directory; syncing a file does not make its name safe.
//!   ext4 does more here; nobody may rely on that.
//! - A rename is whole or not at all, over two directories also. Changes of one directory become safe in their order, together
//!   with those of other directories that they build on.
//! - After a cut there is what was safe, and what [`Survival`] leaves: of a file's writes any sectors, in any order, so that a
//!   file may have holes of zeros; of the changes of names those up to some moment.
//! - Modes and owners go with the file. Times are not kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};

use fuser::Errno;

use super::file::File;
use super::survival::{Dice, Survival};

/// Names a file or directory for as long as the disk is not cut.
pub(super) type Number = u64;
/// The top directory.
pub(super) const ROOT: Number = 1;

/// A file or a directory.
pub(super) struct Node {
    pub(super) mode: u16,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    File(File),
    Directory(Directory),
}

/// The names of a directory, as programs see them and as they would be found after a cut.
#[derive(Default)]
pub(super) struct Directory {
    pub(super) live: BTreeMap<OsString, Number>,
    stable: BTreeMap<OsString, Number>,
}

/// A change of one or two names that was not synced.
struct Renaming {
    at: u64,
    /// What is where afterwards; nothing where a name is gone.
    names: Vec<(Number, OsString, Option<Number>)>,
}

impl Renaming {
    fn touches(&self, directories: &BTreeSet<Number>) -> bool {
        self.names.iter().any(|(directory, _, _)| directories.contains(directory))
    }
}

/// Files and directories, twice.
pub(super) struct Disk {
    nodes: HashMap<Number, Node>,
    journal: Vec<Renaming>,
    last_number: Number,
    now: u64,
    is_cut: bool,
}

impl Disk {
    pub(super) fn new() -> Self {
        let root = Node { mode: 0o700, kind: Kind::Directory(Directory::default()) };
        Self {
            nodes: HashMap::from([(ROOT, root)]),
            journal: Vec::new(),
            last_number: ROOT,
            now: 0,
            is_cut: false,
        }
    }

    /// The power is gone: everything fails until [`Disk::restore`].
    pub(super) fn cut(&mut self, survival: Survival) {
        let mut dice = Dice::new(survival);
        let kept = dice.below(self.journal.len() as u64 + 1);
        let journal = std::mem::take(&mut self.journal);
        for (_, renaming) in (0..kept).zip(journal) {
            self.make_stable(renaming);
        }
        let mut numbers: Vec<Number> = self.nodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            match &mut self.nodes.get_mut(&number).expect("it was listed").kind {
                Kind::File(file) => file.cut(&mut dice),
                Kind::Directory(directory) => directory.live.clone_from(&directory.stable),
            }
        }
        self.forget_unnamed();
        self.is_cut = true;
    }

    /// Power again.
    pub(super) fn restore(&mut self) {
        self.is_cut = false;
    }

    pub(super) fn node(&self, number: Number) -> Result<&Node, Errno> {
        self.has_power()?;
        self.nodes.get(&number).ok_or(Errno::ENOENT)
    }

    pub(super) fn node_mut(&mut self, number: Number) -> Result<&mut Node, Errno> {
        self.has_power()?;
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    pub(super) fn file(&self, number: Number) -> Result<&File, Errno> {
        match &self.node(number)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Directory(_) => Err(Errno::EISDIR),
        }
    }

    pub(super) fn names(&self, number: Number) -> Result<&BTreeMap<OsString, Number>, Errno> {
        match &self.node(number)?.kind {
            Kind::Directory(directory) => Ok(&directory.live),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn find(&self, directory: Number, name: &OsStr) -> Result<Number, Errno> {
        self.names(directory)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// A new file or directory.
    pub(super) fn make(
        &mut self,
        directory: Number,
        name: &OsStr,
        mode: u16,
        kind: Kind,
    ) -> Result<Number, Errno> {
        if self.names(directory)?.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.last_number += 1;
        self.nodes.insert(self.last_number, Node { mode, kind });
        self.rename_to(vec![(directory, name.to_owned(), Some(self.last_number))]);
        Ok(self.last_number)
    }

    /// Takes away the name of a file, or of an empty directory. Open files stay until the next cut.
    pub(super) fn remove(
        &mut self,
        directory: Number,
        name: &OsStr,
        is_directory: bool,
    ) -> Result<(), Errno> {
        let found = self.find(directory, name)?;
        match &self.node(found)?.kind {
            Kind::Directory(_) if !is_directory => return Err(Errno::EISDIR),
            Kind::File(_) if is_directory => return Err(Errno::ENOTDIR),
            Kind::Directory(found) if !found.live.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.rename_to(vec![(directory, name.to_owned(), None)]);
        Ok(())
    }

    /// Gives a file or directory another name, whose former holder loses it.
    pub(super) fn rename(&mut self, from: (Number, &OsStr), to: (Number, &OsStr)) -> Result<(), Errno> {
        let moved = self.find(from.0, from.1)?;
        if let Some(replaced) = self.names(to.0)?.get(to.1) {
            match &self.node(*replaced)?.kind {
                Kind::Directory(found) if !found.live.is_empty() => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
        }
        self.rename_to(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(moved))]);
        Ok(())
    }

    fn rename_to(&mut self, names: Vec<(Number, OsString, Option<Number>)>) {
        self.now += 1;
        for (directory, name, number) in &names {
            set(&mut self.directory_mut(*directory).live, name, *number);
        }
        self.journal.push(Renaming { at: self.now, names });
    }

    pub(super) fn write(&mut self, number: Number, position: usize, octets: &[u8]) -> Result<(), Errno> {
        self.now += 1;
        let now = self.now;
        self.file_mut(number)?.write(now, position, octets);
        Ok(())
    }

    pub(super) fn resize(&mut self, number: Number, octets: usize) -> Result<(), Errno> {
        self.now += 1;
        let now = self.now;
        self.file_mut(number)?.resize(now, octets);
        Ok(())
    }

    /// The moment, for [`Disk::sync`].
    pub(super) fn now(&self) -> Result<u64, Errno> {
        self.has_power()?;
        Ok(self.now)
    }

    /// Makes safe what was changed in a file or directory up to a moment.
    pub(super) fn sync(&mut self, number: Number, until: u64) -> Result<(), Errno> {
        if let Kind::File(file) = &mut self.node_mut(number)?.kind {
            file.sync(until);
            return Ok(());
        }
        let mut directories = BTreeSet::from([number]);
        let mut due = Vec::new();
        for (index, renaming) in self.journal.iter().enumerate().rev() {
            if renaming.at <= until && renaming.touches(&directories) {
                directories.extend(renaming.names.iter().map(|(directory, _, _)| *directory));
                due.push(index);
            }
        }
        // From the last on, so that the indices before it stay what they are.
        let mut due: Vec<_> = due.into_iter().map(|index| self.journal.remove(index)).collect();
        due.reverse();
        due.into_iter().for_each(|renaming| self.make_stable(renaming));
        Ok(())
    }

    fn make_stable(&mut self, renaming: Renaming) {
        for (directory, name, number) in renaming.names {
            set(&mut self.directory_mut(directory).stable, &name, number);
        }
    }

    /// What no name leads to is gone.
    fn forget_unnamed(&mut self) {
        let mut named = BTreeSet::from([ROOT]);
        let mut to_visit = vec![ROOT];
        while let Some(number) = to_visit.pop() {
            if let Some(Node { kind: Kind::Directory(directory), .. }) = self.nodes.get(&number) {
                to_visit.extend(directory.stable.values().filter(|number| named.insert(**number)));
            }
        }
        self.nodes.retain(|number, _| named.contains(number));
    }

    fn file_mut(&mut self, number: Number) -> Result<&mut File, Errno> {
        match &mut self.node_mut(number)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Directory(_) => Err(Errno::EISDIR),
        }
    }

    fn directory_mut(&mut self, number: Number) -> &mut Directory {
        match self.nodes.get_mut(&number) {
            Some(Node { kind: Kind::Directory(directory), .. }) => directory,
            _ => unreachable!("its names were looked at before"),
        }
    }

    fn has_power(&self) -> Result<(), Errno> {
        if self.is_cut { Err(Errno::EIO) } else { Ok(()) }
    }
}

fn set(names: &mut BTreeMap<OsString, Number>, name: &OsStr, number: Option<Number>) {
    match number {
        Some(number) => names.insert(name.to_owned(), number),
        None => names.remove(name),
    };
}
