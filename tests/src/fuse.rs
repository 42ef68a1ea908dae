//! A file system whose power can be cut: it gives the kernel a [`disk::Disk`] over FUSE, so that a broker process can run on it.
//!
//! It needs `/dev/fuse` and the right to mount: root's, or a `fusermount3` on the path. Nothing is passed on to another file
//! system: files live in the memory of this process, twice, as programs see them and as they would be found after a cut.

mod disk;
mod file;
mod survival;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use self::disk::{Directory, Disk, Kind, Number};
use self::file::File;
pub use self::survival::Survival;

/// Nobody changes the files but through the kernel, so it may remember what it saw.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// One waits for a sync while others go on.
const THREADS: usize = 3;
const BLOCK_OCTETS: u32 = 4096;
/// What the disk says of its size; no more than a test may use.
const BLOCKS: u64 = (4 << 30) / BLOCK_OCTETS as u64;
/// How long a file system is in use after the last process that used it has ended.
const UNMOUNT_TIME: Duration = Duration::from_secs(10);

/// How a sync behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// As a disk does: what was written before is safe after so long.
    Honest(Duration),
    /// It says yes and does nothing.
    Lying,
}

/// A disk in memory that can be mounted, and loses what was not synced when its power is cut.
pub struct FragileDisk {
    disk: Arc<Mutex<Disk>>,
    stall: Arc<Stall>,
    sync: Sync,
    mounted: Option<Mounted>,
}

/// The directory whose files are not synced now.
#[derive(Default)]
struct Stall {
    directory: Mutex<Option<Number>>,
    changed: Condvar,
}

/// A directory stalls until this is dropped.
pub struct Stalled(Arc<Stall>);

impl Drop for Stalled {
    fn drop(&mut self) {
        // A test that panics holds no lock of this.
        *self.0.directory.lock().unwrap() = None;
        self.0.changed.notify_all();
    }
}

struct Mounted {
    session: BackgroundSession,
    at: PathBuf,
}

impl FragileDisk {
    /// An empty disk, mounted at a directory.
    pub fn mount(at: &Path, sync: Sync) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let (files, stall) = (Arc::new(Mutex::new(Disk::new())), Arc::default());
        let mut disk = Self { disk: files, stall, sync, mounted: None };
        disk.mount_at(at);
        disk
    }

    /// Syncs of the files in a directory do not come back until this is dropped.
    pub fn stall(&self, directory: &str) -> Stalled {
        let disk = self.disk.lock().unwrap();
        let number = Path::new(directory)
            .iter()
            .try_fold(disk::ROOT, |parent, name| disk.find(parent, name))
            .unwrap_or_else(|_| panic!("there is no {directory}"));
        *self.stall.directory.lock().unwrap() = Some(number);
        Stalled(self.stall.clone())
    }

    /// Cuts the power: everything fails from now on, and what was not synced is gone but for what `survival` leaves.
    pub fn cut(&self, survival: Survival) {
        self.disk.lock().unwrap().cut(survival);
    }

    /// Mounts the disk anew after a cut, as a machine does that starts again. The processes that used it must have ended.
    pub fn restore(&mut self) {
        let Mounted { session, at } = self.mounted.take().expect("it is mounted but in this function");
        unmount(session, &at);
        self.disk.lock().unwrap().restore();
        self.mount_at(&at);
    }

    fn mount_at(&mut self, at: &Path) {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("hilum-fragile".into()), MountOption::NoAtime];
        config.n_threads = Some(THREADS);
        let mount = Mount { disk: self.disk.clone(), stall: self.stall.clone(), sync: self.sync };
        let session = fuser::spawn_mount(mount, at, &config).unwrap_or_else(|error| {
            panic!(
                "no FUSE file system could be mounted at {}: {error}. This test needs /dev/fuse, and to be root or to find fusermount3",
                at.display()
            )
        });
        self.mounted = Some(Mounted { session, at: at.to_owned() });
    }
}

/// A process that was killed may hold files for a moment longer.
fn unmount(session: BackgroundSession, at: &Path) {
    let deadline = Instant::now() + UNMOUNT_TIME;
    loop {
        match rustix::mount::unmount(at, rustix::mount::UnmountFlags::empty()) {
            Ok(()) => return session.join().unwrap(),
            // Who is not root mounted it with fusermount3, and must ask that again.
            Err(rustix::io::Errno::PERM) => return session.umount_and_join().unwrap(),
            Err(error) => assert!(Instant::now() < deadline, "{} is still in use: {error}", at.display()),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What the kernel talks to.
struct Mount {
    disk: Arc<Mutex<Disk>>,
    stall: Arc<Stall>,
    sync: Sync,
}

impl Mount {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no request panics with the disk in its hands")
    }

    fn sync(&self, number: INodeNo) -> Result<(), Errno> {
        self.wait_while_stalled(number.0);
        let until = self.disk().now()?;
        match self.sync {
            Sync::Honest(time) => {
                std::thread::sleep(time);
                self.disk().sync(number.0, until)
            }
            Sync::Lying => Ok(()),
        }
    }

    fn wait_while_stalled(&self, number: Number) {
        let directory = self.stall.directory.lock().expect("no request panics while it looks at this");
        let stalls = |directory: &mut Option<Number>| {
            directory.is_some_and(|directory| {
                self.disk().names(directory).is_ok_and(|names| names.values().any(|of| *of == number))
            })
        };
        drop(self.stall.changed.wait_while(directory, stalls).expect("no request panics while it waits"));
    }

    fn make(&self, parent: INodeNo, name: &OsStr, mode: u32, kind: Kind) -> Result<FileAttr, Errno> {
        let mut disk = self.disk();
        let number = disk.make(parent.0, name, permissions(mode), kind)?;
        attributes(&disk, number)
    }
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("twelve bits")
}

fn attributes(disk: &Disk, number: Number) -> Result<FileAttr, Errno> {
    let node = disk.node(number)?;
    let (kind, size, nlink) = match &node.kind {
        Kind::File(file) => (FileType::RegularFile, file.size() as u64, 1),
        Kind::Directory(_) => (FileType::Directory, u64::from(BLOCK_OCTETS), 2),
    };
    let epoch = SystemTime::UNIX_EPOCH;
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        crtime: epoch,
        kind,
        perm: node.mode,
        nlink,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        rdev: 0,
        blksize: BLOCK_OCTETS,
        flags: 0,
    })
}

/// Octets and positions of the protocol have 64 bits, and so have ours.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("64 bits")
}

macro_rules! answer {
    ($reply:ident, $result:expr, $with:expr) => {
        match $result {
            Ok(found) => $with($reply, found),
            Err(error) => $reply.error(error),
        }
    };
}

fn entry(reply: ReplyEntry, attributes: FileAttr) {
    reply.entry(&FOR_EVER, &attributes, Generation(0));
}

fn done(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

impl Filesystem for Mount {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let disk = self.disk();
        answer!(reply, disk.find(parent.0, name).and_then(|number| attributes(&disk, number)), entry);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = attributes(&self.disk(), number.0);
        answer!(reply, found, |reply: ReplyAttr, found| reply.attr(&FOR_EVER, &found));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.disk();
        let changed = (|| {
            if let Some(size) = size {
                disk.resize(number.0, index(size))?;
            }
            if let Some(mode) = mode {
                disk.node_mut(number.0)?.mode = permissions(mode);
            }
            attributes(&disk, number.0)
        })();
        answer!(reply, changed, |reply: ReplyAttr, found| reply.attr(&FOR_EVER, &found));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = self.make(parent, name, mode & !umask, Kind::Directory(Directory::default()));
        answer!(reply, made, entry);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.disk().remove(parent.0, name, false), done);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.disk().remove(parent.0, name, true), done);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            reply.error(Errno::EINVAL);
            return;
        }
        answer!(reply, self.disk().rename((parent.0, name), (new_parent.0, new_name)), done);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = self.disk();
        let file = disk.file(number.0);
        answer!(reply, file, |reply: ReplyData, file: &File| reply
            .data(file.read(index(offset), size as usize)));
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let size = u32::try_from(data.len()).expect("the kernel writes less at once");
        let written = self.disk().write(number.0, index(offset), data);
        answer!(reply, written, |reply: ReplyWrite, ()| reply.written(size));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, self.sync(number), done);
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, self.sync(number), done);
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let disk = self.disk();
        answer!(reply, disk.file(number.0), |reply: ReplyOpen, _| reply
            .opened(FileHandle(0), FopenFlags::empty()));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.make(parent, name, mode & !umask, Kind::File(File::default()));
        answer!(reply, made, |reply: ReplyCreate, made| reply.created(
            &FOR_EVER,
            &made,
            Generation(0),
            FileHandle(0),
            FopenFlags::empty()
        ));
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let disk = self.disk();
        let names = match disk.names(number.0) {
            Ok(names) => names,
            Err(error) => return reply.error(error),
        };
        let kind = |number| match disk.node(number).map(|node| &node.kind) {
            Ok(Kind::Directory(_)) => FileType::Directory,
            _ => FileType::RegularFile,
        };
        let own = [(OsStr::new("."), number.0), (OsStr::new(".."), number.0)];
        let all = own.into_iter().chain(names.iter().map(|(name, number)| (name.as_os_str(), *number)));
        for (next, (name, number)) in (1..).zip(all).skip(index(offset)) {
            if reply.add(INodeNo(number), next, kind(number), name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK_OCTETS, 255, BLOCK_OCTETS);
    }
}
