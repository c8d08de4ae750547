//! `prim_file`: files and folders, on the dirty I/O schedulers.

use crate::posix::{done, error, io_error, ok};
use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::binary::SharedBytes;
use swarmrt_term::{Alloc, Atom, Term, am, atom};

struct Open {
    file: File,
    /// Whose handle it is: nobody else may use it.
    append: bool,
}

fn files(p: &Process) -> &'static Resources<Open> {
    p.vm.extension::<Resources<Open>>()
}

/// The descriptor of an open file, a copy of it that is the caller's. `None` when the reference
/// stands for none.
pub fn descriptor_of(p: &Process, reference: Term) -> Option<std::os::fd::OwnedFd> {
    files(p).get(reference)?.file.try_clone().ok().map(Into::into)
}

/// Closes the files that a process has opened, as it ends.
pub fn close_files_of(p: &mut Process) {
    files(p).remove_owned_by(p.id());
}

/// The open file that a reference stands for; of one that was closed, `{error, einval}` is what its
/// operation yields.
macro_rules! open_file {
    ($p:expr, $reference:expr) => {
        match files($p).get($reference) {
            Some(open) => open,
            None if $reference.is_reference() => return error($p, "einval"),
            None => return Err(BifExit::BADARG),
        }
    };
}

/// A path as `encode_path` gives it: a binary that ends in a zero byte and has no other.
fn path_bytes(term: Term) -> Result<Vec<u8>, BifExit> {
    let bits = term.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
    let mut bytes = bits.to_bytes().into_owned();
    if bytes.pop() != Some(0) || bytes.contains(&0) {
        return Err(BifExit::BADARG);
    }
    Ok(bytes)
}
fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
fn c_path(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("checked to hold no zero byte")
}
/// A size or offset of an operation, which yields `{error, einval}` for what is none.
macro_rules! size {
    ($p:expr, $term:expr) => {
        match $term.as_small().and_then(|size| usize::try_from(size).ok()) {
            Some(size) => size,
            None => return error($p, "einval"),
        }
    };
}
fn check(result: libc::c_int) -> std::io::Result<()> {
    if result == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// A buffer of `size` bytes filled by `read` (which says how many it filled), as a binary.
fn read_binary(
    p: &mut Process,
    size: usize,
    read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>,
) -> std::io::Result<Option<Term>> {
    let Some(shared) = SharedBytes::try_with_capacity(size, size) else {
        return Err(std::io::Error::from_raw_os_error(libc::ENOMEM));
    };
    // SAFETY: the buffer has that many bytes; they are zeroed before they are lent out.
    let slice = unsafe {
        shared.data().write_bytes(0, size);
        std::slice::from_raw_parts_mut(shared.data(), size)
    };
    let count = read(slice)?;
    if count == 0 && size > 0 {
        return Ok(None);
    }
    if count <= swarmrt_term::binary::HEAP_BIN_BYTES_MAX || count < size / 2 {
        return Ok(Some(p.binary(&slice[..count])));
    }
    Ok(Some(p.heap.shared_bin(shared, 0, count * 8)))
}

fn eof_or(p: &mut Process, result: std::io::Result<Option<Term>>) -> BifResult {
    match result {
        Ok(Some(data)) => ok(p, data),
        Ok(None) => Ok(Term::atom(am::EOF)),
        Err(problem) => io_error(p, &problem),
    }
}

#[bif("prim_file:open_nif/2", brief_io)]
fn open_nif(p: &mut Process, name: Term, modes: Term) -> BifResult {
    let name = path_bytes(name)?;
    let (mut read, mut write, mut append, mut exclusive, mut sync, mut directory) =
        (false, false, false, false, false, false);
    for mode in modes.list_to_vec().ok_or(BifExit::BADARG)? {
        match mode.as_atom().map(Atom::name) {
            Some("read") => read = true,
            Some("write") => write = true,
            Some("append") => append = true,
            Some("exclusive") => exclusive = true,
            Some("sync") => sync = true,
            Some("directory") => directory = true,
            _ => {}
        }
    }
    write |= append || exclusive;
    if !read && !write {
        read = true;
    }
    let mut options = OpenOptions::new();
    options.read(read).write(write);
    if write {
        options.create(true).append(append);
        if !read && !append && !exclusive {
            options.truncate(true);
        }
        if exclusive {
            options.create_new(true);
        }
    }
    let mut flags = libc::O_CLOEXEC;
    if sync {
        flags |= libc::O_SYNC;
    }
    options.custom_flags(flags).mode(0o666);
    let opened = options
        .open(as_path(&name))
        .and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    match opened {
        Ok((file, metadata)) => {
            if directory != metadata.is_dir() {
                return error(p, if directory { "enotdir" } else { "eisdir" });
            }
            let reference = files(p).add_owned(p, Arc::new(Open { file, append }));
            ok(p, reference)
        }
        Err(problem) => io_error(p, &problem),
    }
}

#[bif("prim_file:file_desc_to_ref_nif/1")]
fn file_desc_to_ref_nif(p: &mut Process, descriptor: Term) -> BifResult {
    let descriptor =
        descriptor.as_small().and_then(|fd| i32::try_from(fd).ok()).ok_or(BifExit::BADARG)?;
    // SAFETY: `fcntl` with F_GETFD only asks; the descriptor is taken over when it is open.
    if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } == -1 {
        return error(p, "ebadf");
    }
    // SAFETY: just found open; the caller hands it over.
    let file = unsafe { File::from_raw_fd(descriptor) };
    let reference = files(p).add_owned(p, Arc::new(Open { file, append: false }));
    ok(p, reference)
}

#[bif("prim_file:close_nif/1", brief_io)]
fn close_nif(p: &mut Process, file: Term) -> BifResult {
    if !file.is_reference() {
        return Err(BifExit::BADARG);
    }
    match files(p).remove(file) {
        Some(_) => Ok(Term::atom(am::OK)),
        None => error(p, "einval"),
    }
}
#[bif("prim_file:delayed_close_nif/1", brief_io)]
fn delayed_close_nif(p: &mut Process, file: Term) -> BifResult {
    close_nif(p, file)
}

#[bif("prim_file:read_nif/2", brief_io)]
fn read_nif(p: &mut Process, file: Term, size: Term) -> BifResult {
    let open = open_file!(p, file);
    let size = size!(p, size);
    let result = read_binary(p, size, |buffer| {
        let mut file = &open.file;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(problem) if problem.kind() == std::io::ErrorKind::Interrupted => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(filled)
    });
    eof_or(p, result)
}

fn vector_bytes(vector: Term) -> Result<Vec<u8>, BifExit> {
    let mut bytes = Vec::new();
    for item in vector.list_to_vec().ok_or(BifExit::BADARG)? {
        let bits = item.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
        bytes.extend_from_slice(&bits.to_bytes());
    }
    Ok(bytes)
}

#[bif("prim_file:write_nif/2", brief_io)]
fn write_nif(p: &mut Process, file: Term, vector: Term) -> BifResult {
    let open = open_file!(p, file);
    let bytes = vector_bytes(vector)?;
    debug_assert!(!open.append || !bytes.is_empty() || vector.is_list());
    let result = (&open.file).write_all(&bytes);
    done(p, result)
}

#[bif("prim_file:pread_nif/3", brief_io)]
fn pread_nif(p: &mut Process, file: Term, offset: Term, size: Term) -> BifResult {
    let open = open_file!(p, file);
    let size = size!(p, size);
    let offset = size!(p, offset) as u64;
    let result = read_binary(p, size, |buffer| {
        let mut filled = 0;
        while filled < buffer.len() {
            match open.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(problem) if problem.kind() == std::io::ErrorKind::Interrupted => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(filled)
    });
    eof_or(p, result)
}

#[bif("prim_file:pwrite_nif/3", brief_io)]
fn pwrite_nif(p: &mut Process, file: Term, offset: Term, vector: Term) -> BifResult {
    let open = open_file!(p, file);
    let offset = size!(p, offset) as u64;
    let bytes = vector_bytes(vector)?;
    let result = open.file.write_all_at(&bytes, offset);
    done(p, result)
}

#[bif("prim_file:seek_nif/3", brief_io)]
fn seek_nif(p: &mut Process, file: Term, mark: Term, offset: Term) -> BifResult {
    let open = open_file!(p, file);
    let offset = offset.as_small().ok_or(BifExit::BADARG)?;
    let position = match mark.as_atom().map(Atom::name) {
        Some("bof") => match u64::try_from(offset) {
            Ok(offset) => SeekFrom::Start(offset),
            Err(_) => return error(p, "einval"),
        },
        Some("cur") => SeekFrom::Current(offset),
        Some("eof") => SeekFrom::End(offset),
        _ => return Err(BifExit::BADARG),
    };
    match (&open.file).seek(position) {
        Ok(position) => {
            let position = p.uint(position);
            ok(p, position)
        }
        Err(problem) => io_error(p, &problem),
    }
}

#[bif("prim_file:sync_nif/2", dirty_io)]
fn sync_nif(p: &mut Process, file: Term, data_only: Term) -> BifResult {
    let open = open_file!(p, file);
    let result =
        if data_only.as_small() == Some(1) { open.file.sync_data() } else { open.file.sync_all() };
    done(p, result)
}

#[bif("prim_file:truncate_nif/1", brief_io)]
fn truncate_nif(p: &mut Process, file: Term) -> BifResult {
    let open = open_file!(p, file);
    let result = (&open.file).stream_position().and_then(|position| open.file.set_len(position));
    done(p, result)
}

#[bif("prim_file:allocate_nif/3", dirty_io)]
fn allocate_nif(p: &mut Process, file: Term, offset: Term, length: Term) -> BifResult {
    let open = open_file!(p, file);
    let (offset, length) = (size!(p, offset), size!(p, length));
    // SAFETY: the descriptor is open as long as we hold the file.
    let result =
        match unsafe { libc::posix_fallocate(open.file.as_raw_fd(), offset as i64, length as i64) }
        {
            0 => Ok(()),
            problem => Err(std::io::Error::from_raw_os_error(problem)),
        };
    done(p, result)
}

#[bif("prim_file:advise_nif/4", brief_io)]
fn advise_nif(p: &mut Process, file: Term, offset: Term, length: Term, advice: Term) -> BifResult {
    let open = open_file!(p, file);
    let (offset, length) = (size!(p, offset), size!(p, length));
    let advice = match advice.as_atom().map(Atom::name) {
        Some("normal") => libc::POSIX_FADV_NORMAL,
        Some("random") => libc::POSIX_FADV_RANDOM,
        Some("sequential") => libc::POSIX_FADV_SEQUENTIAL,
        Some("will_need") => libc::POSIX_FADV_WILLNEED,
        Some("dont_need") => libc::POSIX_FADV_DONTNEED,
        Some("no_reuse") => libc::POSIX_FADV_NOREUSE,
        _ => return error(p, "einval"),
    };
    // SAFETY: the descriptor is open as long as we hold the file.
    match unsafe {
        libc::posix_fadvise(open.file.as_raw_fd(), offset as i64, length as i64, advice)
    } {
        0 => Ok(Term::atom(am::OK)),
        number => error(p, crate::posix::name(number)),
    }
}

#[bif("prim_file:get_handle_nif/1")]
fn get_handle_nif(p: &mut Process, file: Term) -> BifResult {
    let descriptor = open_file!(p, file).file.as_raw_fd();
    let bytes = descriptor.to_ne_bytes();
    Ok(p.binary(&bytes))
}

/// A header of two big-endian words, size and position, at `offset`; and the data that it points
/// at.
#[bif("prim_file:ipread_s32bu_p32bu_nif/3", brief_io)]
fn ipread_s32bu_p32bu_nif(p: &mut Process, file: Term, offset: Term, size_max: Term) -> BifResult {
    let open = open_file!(p, file);
    let (offset, size_max) = (size!(p, offset) as u64, size!(p, size_max));
    let mut header = [0; 8];
    let read = open.file.read_at(&mut header, offset);
    match read {
        Ok(8) => {}
        Ok(_) => return Ok(Term::atom(am::EOF)),
        Err(problem) => return io_error(p, &problem),
    }
    let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let position = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let (size_term, position_term) =
        (Term::small(i64::from(size)), Term::small(i64::from(position)));
    if size as usize > size_max {
        return Ok(Term::atom(am::EOF));
    }
    let data = if size == 0 {
        Ok(None)
    } else {
        read_binary(p, size as usize, |buffer| open.file.read_at(buffer, u64::from(position)))
    };
    let data = match data {
        Ok(data) => data.unwrap_or(Term::atom(am::EOF)),
        Err(problem) => return io_error(p, &problem),
    };
    let result = p.tuple(&[size_term, position_term, data]);
    ok(p, result)
}

#[bif("prim_file:read_file_nif/1", brief_io)]
fn read_file_nif(p: &mut Process, name: Term) -> BifResult {
    let name = path_bytes(name)?;
    match std::fs::read(as_path(&name)) {
        Ok(bytes) => {
            let data = p.binary(&bytes);
            ok(p, data)
        }
        Err(problem) => io_error(p, &problem),
    }
}

fn file_info(p: &mut Process, metadata: &std::fs::Metadata, path: Option<&[u8]>) -> Term {
    let kind = metadata.file_type();
    let mode = metadata.mode();
    let type_name = match mode & libc::S_IFMT {
        libc::S_IFREG => "regular",
        libc::S_IFDIR => "directory",
        libc::S_IFLNK => "symlink",
        libc::S_IFCHR | libc::S_IFBLK => "device",
        _ => "other",
    };
    debug_assert!(kind.is_file() == (type_name == "regular"));
    let can = |mode: libc::c_int| match path {
        // SAFETY: the path is a C string.
        Some(path) => unsafe { libc::access(c_path(path).as_ptr(), mode) == 0 },
        None => metadata.mode() & (if mode == libc::R_OK { 0o400 } else { 0o200 }) != 0,
    };
    let access = match (can(libc::R_OK), can(libc::W_OK)) {
        (true, true) => "read_write",
        (true, false) => "read",
        (false, true) => "write",
        (false, false) => "none",
    };
    let fields = [
        Term::atom(atom!("file_info")),
        p.uint(metadata.size()),
        Term::atom(Atom::new(type_name)),
        Term::atom(Atom::new(access)),
        p.int(metadata.atime()),
        p.int(metadata.mtime()),
        p.int(metadata.ctime()),
        Term::small(i64::from(mode)),
        p.uint(metadata.nlink()),
        p.uint(metadata.dev()),
        p.uint(metadata.rdev()),
        p.uint(metadata.ino()),
        Term::small(i64::from(metadata.uid())),
        Term::small(i64::from(metadata.gid())),
    ];
    p.tuple(&fields)
}

#[bif("prim_file:read_info_nif/2", brief_io)]
fn read_info_nif(p: &mut Process, name: Term, follow: Term) -> BifResult {
    let name = path_bytes(name)?;
    let metadata = if follow.as_small() == Some(0) {
        std::fs::symlink_metadata(as_path(&name))
    } else {
        std::fs::metadata(as_path(&name))
    };
    match metadata {
        Ok(metadata) => Ok(file_info(p, &metadata, Some(&name))),
        Err(problem) => io_error(p, &problem),
    }
}

#[bif("prim_file:read_handle_info_nif/1", brief_io)]
fn read_handle_info_nif(p: &mut Process, file: Term) -> BifResult {
    let open = open_file!(p, file);
    match open.file.metadata() {
        Ok(metadata) => Ok(file_info(p, &metadata, None)),
        Err(problem) => io_error(p, &problem),
    }
}

#[bif("prim_file:list_dir_nif/1", brief_io)]
fn list_dir_nif(p: &mut Process, name: Term) -> BifResult {
    let name = path_bytes(name)?;
    let entries = std::fs::read_dir(as_path(&name)).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
    });
    match entries {
        Ok(entries) => {
            // The last one that was read comes first, as in OTP.
            let names: Vec<Term> =
                entries.iter().rev().map(|entry| p.binary(entry.as_bytes())).collect();
            let names = p.list(&names);
            ok(p, names)
        }
        Err(problem) => io_error(p, &problem),
    }
}

#[bif("prim_file:read_link_nif/1", brief_io)]
fn read_link_nif(p: &mut Process, name: Term) -> BifResult {
    let name = path_bytes(name)?;
    match std::fs::read_link(as_path(&name)) {
        Ok(target) => {
            let target = p.binary(target.as_os_str().as_bytes());
            ok(p, target)
        }
        Err(problem) => io_error(p, &problem),
    }
}

#[bif("prim_file:make_hard_link_nif/2", brief_io)]
fn make_hard_link_nif(p: &mut Process, existing: Term, new: Term) -> BifResult {
    let (existing, new) = (path_bytes(existing)?, path_bytes(new)?);
    done(p, std::fs::hard_link(as_path(&existing), as_path(&new)))
}
#[bif("prim_file:make_soft_link_nif/2", brief_io)]
fn make_soft_link_nif(p: &mut Process, existing: Term, new: Term) -> BifResult {
    let (existing, new) = (path_bytes(existing)?, path_bytes(new)?);
    done(p, std::os::unix::fs::symlink(as_path(&existing), as_path(&new)))
}
#[bif("prim_file:rename_nif/2", brief_io)]
fn rename_nif(p: &mut Process, from: Term, to: Term) -> BifResult {
    let (from, to) = (path_bytes(from)?, path_bytes(to)?);
    match std::fs::rename(as_path(&from), as_path(&to)) {
        // A folder that is not empty stands in the way.
        Err(problem) if problem.raw_os_error() == Some(libc::ENOTEMPTY) => error(p, "eexist"),
        result => done(p, result),
    }
}
#[bif("prim_file:make_dir_nif/1", brief_io)]
fn make_dir_nif(p: &mut Process, name: Term) -> BifResult {
    let name = path_bytes(name)?;
    done(p, std::fs::create_dir(as_path(&name)))
}
#[bif("prim_file:del_file_nif/1", brief_io)]
fn del_file_nif(p: &mut Process, name: Term) -> BifResult {
    let name = path_bytes(name)?;
    // A folder is no file to be deleted: POSIX says EPERM.
    if std::fs::symlink_metadata(as_path(&name)).is_ok_and(|metadata| metadata.is_dir()) {
        return error(p, "eperm");
    }
    done(p, std::fs::remove_file(as_path(&name)))
}
#[bif("prim_file:del_dir_nif/1", brief_io)]
fn del_dir_nif(p: &mut Process, name: Term) -> BifResult {
    let name = path_bytes(name)?;
    match std::fs::remove_dir(as_path(&name)) {
        Err(problem) if problem.raw_os_error() == Some(libc::ENOTEMPTY) => error(p, "eexist"),
        result => done(p, result),
    }
}
#[bif("prim_file:get_cwd_nif/0", brief_io)]
fn get_cwd_nif(p: &mut Process) -> BifResult {
    match std::env::current_dir() {
        Ok(path) => {
            let path = p.binary(path.as_os_str().as_bytes());
            ok(p, path)
        }
        Err(problem) => io_error(p, &problem),
    }
}
#[bif("prim_file:get_device_cwd_nif/1")]
fn get_device_cwd_nif(p: &mut Process, _device: Term) -> BifResult {
    error(p, "enotsup")
}
#[bif("prim_file:altname_nif/1")]
fn altname_nif(p: &mut Process, _name: Term) -> BifResult {
    error(p, "enotsup")
}
#[bif("prim_file:set_cwd_nif/1", brief_io)]
fn set_cwd_nif(p: &mut Process, name: Term) -> BifResult {
    let name = path_bytes(name)?;
    done(p, std::env::set_current_dir(as_path(&name)))
}
#[bif("prim_file:set_permissions_nif/2", brief_io)]
fn set_permissions_nif(p: &mut Process, name: Term, mode: Term) -> BifResult {
    let name = path_bytes(name)?;
    let mode = mode.as_small().and_then(|mode| u32::try_from(mode).ok()).ok_or(BifExit::BADARG)?;
    // SAFETY: the path is a C string.
    let result =
        check(unsafe { libc::chmod(c_path(&name).as_ptr(), mode as libc::mode_t & 0o7777) });
    done(p, result)
}
#[bif("prim_file:set_owner_nif/3", brief_io)]
fn set_owner_nif(p: &mut Process, name: Term, user: Term, group: Term) -> BifResult {
    let name = path_bytes(name)?;
    let id = |term: Term| term.as_small().map(|id| id as libc::uid_t).ok_or(BifExit::BADARG);
    let (user, group) = (id(user)?, id(group)?);
    // SAFETY: the path is a C string.
    let result = check(unsafe { libc::chown(c_path(&name).as_ptr(), user, group) });
    done(p, result)
}
#[bif("prim_file:set_time_nif/4", brief_io)]
fn set_time_nif(
    p: &mut Process,
    name: Term,
    access: Term,
    modification: Term,
    _creation: Term,
) -> BifResult {
    let name = path_bytes(name)?;
    let (access, modification) = (
        access.as_small().ok_or(BifExit::BADARG)?,
        modification.as_small().ok_or(BifExit::BADARG)?,
    );
    let times = [
        libc::timespec { tv_sec: access, tv_nsec: 0 },
        libc::timespec { tv_sec: modification, tv_nsec: 0 },
    ];
    // SAFETY: the path is a C string, and two times are given.
    let result = check(unsafe {
        libc::utimensat(libc::AT_FDCWD, c_path(&name).as_ptr(), times.as_ptr(), 0)
    });
    done(p, result)
}
