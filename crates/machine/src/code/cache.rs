//! The code cache, a folder of the user's that is kept from run to run: which files were verified,
//! the numbers of atoms, and the machine code of modules.
//!
//! The contents are trusted when they are read, so only a folder that no other user can write to is
//! used, and each file ends with a hash of its contents. All of it belongs to one build of the
//! machine; another build has a folder of its own beside it. Modules are found by a hash of their
//! file's bytes, never by their names.
//!
//! Machine code holds atoms by their numbers. The list of atoms only ever grows, and a machine that
//! starts with it gives its names the same numbers ([`Atom::reserve`]); code of a machine that
//! numbers them otherwise is not used. So when two machines have both numbered new atoms, only the
//! one that ends first can add to the cache.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use swarmrt_beam::specialise::Layout;
use swarmrt_term::Atom;

/// The hash by which a file is found.
pub type Digest = [u8; blake3::OUT_LEN];

/// Bytes of layouts of verified files that are kept. Every start reads them.
const LAYOUT_BYTES_MAX: usize = 1 << 20;
/// Newly verified files that are remembered.
const NEW_MAX: usize = 1024;
/// Code that refers to atoms with higher numbers is not kept.
const ATOMS_MAX: u32 = 1 << 16;
/// Bytes of all modules together above which the oldest are removed until half is left.
const BYTES_MAX: u64 = 128 << 20;
/// Bytes of newly verified files from which on the index is written again.
const NEW_BYTES_MIN: usize = 64 << 10;
/// Folders of other builds are removed when they were not written to for this long.
const OTHER_BUILDS: Duration = Duration::from_hours(168);

const INDEX: &str = "index";
const LOCK: &str = "lock";
const EXTENSION: &str = "kept";

/// The index, on which the other files build.
#[derive(Serialize, Deserialize)]
struct Index<'a> {
    /// A random number, made with the first list of atoms and kept by all lists that continue it.
    lineage: u64,
    /// The names that follow the listed atoms.
    #[serde(borrow)]
    atoms: Vec<&'a str>,
    /// Files that were verified, and how they were laid out when they were specialised.
    #[serde(borrow)]
    verified: Vec<(Digest, &'a [u8])>,
}

/// What is kept of a module.
#[derive(Serialize, Deserialize)]
struct Module<'a> {
    lineage: u64,
    atoms_end: u32,
    digest: Digest,
    #[serde(borrow)]
    bytes: &'a [u8],
}

/// Something to be kept of a module.
pub struct Keep {
    pub digest: Digest,
    /// The number after that of the last atom that it refers to.
    pub atoms_end: u32,
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct Verified {
    /// With their layouts.
    known: HashMap<Digest, &'static [u8]>,
    new: Vec<(Digest, Vec<u8>)>,
    new_bytes: usize,
}

/// What is kept, as it was when the machine started, and what came since.
pub struct CodeCache {
    folder: PathBuf,
    /// Whether there was an index.
    lineage: Option<u64>,
    /// The number after that of the last atom in the index.
    atoms_end: u32,
    verified: Mutex<Verified>,
}

fn refused(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

/// Reads a file that ends with a hash of what stands before it. It must be nobody else's.
fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    // Whatever stands there instead of a file is not waited for.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("it is no file"));
    }
    if !is_mine(&metadata) {
        return Err(refused("it belongs to somebody else"));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    file.read_to_end(&mut bytes)?;
    let contents =
        bytes.len().checked_sub(blake3::OUT_LEN).ok_or_else(|| refused("it is too short"))?;
    if *blake3::hash(&bytes[..contents]).as_bytes() != bytes[contents..] {
        return Err(refused("it is damaged"));
    }
    bytes.truncate(contents);
    Ok(bytes)
}

/// Writes such a file in one step.
fn write_whole(folder: &Path, name: &str, mut bytes: Vec<u8>) -> io::Result<()> {
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    // One writes at a time: the caller holds the lock.
    let temporary = folder.join("new");
    // Left by a process that did not finish, or something that is no file.
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(&bytes).and_then(|()| fs::rename(&temporary, folder.join(name)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn is_mine(metadata: &fs::Metadata) -> bool {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & WRITABLE_BY_OTHERS == 0
}

/// Makes the folder if there is none. An error unless it is the user's and only the user can write
/// to it.
fn own_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if is_mine(&fs::symlink_metadata(path)?) {
        Ok(())
    } else {
        Err(refused("others can write to it"))
    }
}

fn file_name(digest: &Digest) -> String {
    format!("{}.{EXTENSION}", &blake3::Hash::from_bytes(*digest).to_hex()[..32])
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain values in memory")
}

impl CodeCache {
    /// Whether the cache can be kept below a folder, which is made if need be.
    ///
    /// # Errors
    /// When the folder cannot be made or is not the user's alone.
    pub fn check(root: &Path) -> io::Result<()> {
        own_folder(root)
    }

    /// What is kept below a folder for the build of this name. Reserves the atoms, so it comes
    /// before everything else.
    ///
    /// # Errors
    /// When the folder cannot be made or is not the user's alone, or atoms have been made already.
    pub fn open(root: &Path, build: &[u8]) -> io::Result<CodeCache> {
        own_folder(root)?;
        let folder = root.join(&blake3::hash(build).to_hex()[..16]);
        own_folder(&folder)?;
        let mut kept =
            CodeCache { folder, lineage: None, atoms_end: 0, verified: Mutex::default() };
        if let Ok(bytes) = read_whole(&kept.folder.join(INDEX)) {
            // The names stay in use for as long as the machine.
            let bytes: &'static [u8] = bytes.leak();
            let index: Index<'static> =
                postcard::from_bytes(bytes).map_err(|_| refused("its index is of another kind"))?;
            if !Atom::reserve(&index.atoms) {
                return Err(refused("there are atoms already"));
            }
            kept.lineage = Some(index.lineage);
            kept.atoms_end = Atom::listed() + index.atoms.len() as u32;
            kept.verified.get_mut().known.extend(index.verified);
        } else if !Atom::reserve(&[]) {
            return Err(refused("there are atoms already"));
        }
        Ok(kept)
    }

    /// The folder of this build within the code cache; other builds have other folders.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The hash by which a file is found in the cache (BLAKE3).
    pub fn digest(bytes: &[u8]) -> Digest {
        *blake3::hash(bytes).as_bytes()
    }
    /// How the file was laid out when it was specialised, if it was verified before, by this build.
    pub fn layout(&self, digest: &Digest) -> Option<Layout> {
        let layout = *self.verified.lock().known.get(digest)?;
        postcard::from_bytes(layout).ok()
    }
    /// The file, of so many bytes, has been verified and specialised.
    pub fn note_verified(&self, digest: Digest, layout: &Layout, bytes: usize) {
        let mut verified = self.verified.lock();
        if verified.new.len() < NEW_MAX
            && !verified.known.contains_key(&digest)
            && !verified.new.iter().any(|(known, _)| *known == digest)
        {
            verified.new.push((digest, encoded(layout)));
            verified.new_bytes += bytes;
        }
    }

    /// What was kept of a module, if that is still of use.
    pub fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = read_whole(&self.folder.join(file_name(digest))).ok()?;
        let module: Module<'_> = postcard::from_bytes(&bytes).ok()?;
        let fits = Some(module.lineage) == self.lineage
            && module.atoms_end <= self.atoms_end
            && module.digest == *digest;
        fits.then(|| module.bytes.to_vec())
    }

    /// Whether there is anything new to be saved, but for what is kept of modules.
    pub fn has_news(&self) -> bool {
        self.verified.lock().new_bytes >= NEW_BYTES_MIN
    }

    /// Saves what is new, and this of modules. Says of how many modules, which is none when another
    /// machine has numbered atoms meanwhile.
    ///
    /// # Errors
    /// What the system says; then nothing that was kept is lost.
    pub fn save(&self, modules: &[Keep]) -> io::Result<usize> {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let lock = options.open(self.folder.join(LOCK))?;
        if lock.try_lock().is_err() {
            return Ok(0);
        }
        let bytes = read_whole(&self.folder.join(INDEX)).unwrap_or_default();
        let there: Option<Index<'_>> =
            postcard::from_bytes(&bytes).ok().filter(|_| !bytes.is_empty());
        let continues = match &there {
            Some(index) => {
                self.lineage == Some(index.lineage)
                    && Atom::listed() + index.atoms.len() as u32 == self.atoms_end
            }
            None => self.lineage.is_none(),
        };
        let fitting = |module: &&Keep| continues && module.atoms_end <= Atom::listed() + ATOMS_MAX;
        let modules: Vec<&Keep> = modules.iter().filter(fitting).collect();
        let index = match there {
            Some(index) if !continues => index,
            there => {
                let end = modules
                    .iter()
                    .map(|module| module.atoms_end)
                    .max()
                    .unwrap_or(0)
                    .max(self.atoms_end);
                let verified = there.map_or(Vec::new(), |index| index.verified);
                let lineage =
                    self.lineage.unwrap_or_else(|| RandomState::new().hash_one(SystemTime::now()));
                Index { lineage, atoms: Atom::names_to(end), verified }
            }
        };
        self.write(index, &modules)?;
        self.make_room()?;
        Ok(modules.len())
    }

    fn write(&self, index: Index<'_>, modules: &[&Keep]) -> io::Result<()> {
        let new = {
            let mut verified = self.verified.lock();
            verified.new_bytes = 0;
            std::mem::take(&mut verified.new)
        };
        let Index { lineage, atoms, mut verified } = index;
        let known: HashSet<Digest> = verified.iter().map(|&(digest, _)| digest).collect();
        verified.extend(
            new.iter()
                .filter(|(digest, _)| !known.contains(digest))
                .map(|(digest, layout)| (*digest, layout.as_slice())),
        );
        // The oldest go.
        let mut bytes: usize = verified.iter().map(|(_, layout)| layout.len()).sum();
        verified.retain(|(_, layout)| {
            let stays = bytes <= LAYOUT_BYTES_MAX;
            bytes -= if stays { 0 } else { layout.len() };
            stays
        });
        // The index first: what refers to atoms that it does not list would be of no use.
        write_whole(&self.folder, INDEX, encoded(&Index { lineage, atoms, verified }))?;
        for module in modules {
            let kept = Module {
                lineage,
                atoms_end: module.atoms_end,
                digest: module.digest,
                bytes: &module.bytes,
            };
            write_whole(&self.folder, &file_name(&module.digest), encoded(&kept))?;
        }
        Ok(())
    }

    /// Removes the oldest when there is too much, and what other builds have left.
    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == EXTENSION) {
                let metadata = entry.metadata()?;
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        let mut bytes: u64 = files.iter().map(|&(_, bytes, _)| bytes).sum();
        if bytes > BYTES_MAX {
            files.sort_unstable();
            for (_, size, path) in files {
                if bytes <= BYTES_MAX / 2 {
                    break;
                }
                fs::remove_file(path)?;
                bytes -= size;
            }
        }
        if self.lineage.is_none() {
            self.remove_other_builds()?;
        }
        Ok(())
    }
    fn remove_other_builds(&self) -> io::Result<()> {
        let Some(root) = self.folder.parent() else { return Ok(()) };
        for entry in fs::read_dir(root)? {
            let folder = entry?.path();
            let written =
                fs::symlink_metadata(folder.join(INDEX)).and_then(|index| index.modified());
            let age = written.ok().and_then(|written| written.elapsed().ok());
            if folder != self.folder && age.is_some_and(|age| age > OTHER_BUILDS) {
                fs::remove_dir_all(folder)?;
            }
        }
        Ok(())
    }
}
