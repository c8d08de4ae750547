//! Which build of the program this is: machine code and whatever else names places in it is of use
//! to the same build only.

/// The address of a fixed place in this program's image: other addresses in it are kept as
/// distances from there.
pub(super) fn here() -> u64 {
    // A static has one address; a function has one in each crate that it is inlined into.
    static HERE: u8 = 0;
    &raw const HERE as u64
}

/// The build id that the linker gave this program, which differs from that of every other build.
/// `None` where it gave none (`--build-id`).
pub fn build_id() -> Option<Vec<u8>> {
    let mut found: Option<Vec<u8>> = None;
    // SAFETY: the callback is called before this returns, with the pointer to `found`.
    unsafe { libc::dl_iterate_phdr(Some(note_build_id), (&raw mut found).cast()) };
    found
}

/// Notes the build's name when the object is the one that this is in.
unsafe extern "C" fn note_build_id(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    found: *mut libc::c_void,
) -> libc::c_int {
    const GNU: &[u8] = b"GNU\0";
    const NT_GNU_BUILD_ID: u32 = 3;
    // SAFETY: the loader's description of an object, and what `build_id` handed in.
    let (object, found) = unsafe { (&*object, &mut *found.cast::<Option<Vec<u8>>>()) };
    // SAFETY: so many headers lie there.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    let part = |header: &libc::Elf64_Phdr| {
        object.dlpi_addr + header.p_vaddr..object.dlpi_addr + header.p_vaddr + header.p_memsz
    };
    if !headers
        .iter()
        .any(|header| header.p_type == libc::PT_LOAD && part(header).contains(&here()))
    {
        return 0;
    }
    for header in headers.iter().filter(|header| header.p_type == libc::PT_NOTE) {
        let part = part(header);
        // SAFETY: a part of the program that is mapped.
        let mut notes = unsafe {
            std::slice::from_raw_parts(part.start as *const u8, (part.end - part.start) as usize)
        };
        // Sizes of name and description, kind; then both, each filled up to four bytes.
        while let Some((head, rest)) = notes.split_first_chunk::<12>() {
            let [name, description, kind] = [0, 4, 8]
                .map(|at| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")));
            let name_end = (name as usize).next_multiple_of(4);
            let end = name_end + (description as usize).next_multiple_of(4);
            if rest.len() < end {
                break;
            }
            if kind == NT_GNU_BUILD_ID && rest[..name as usize] == *GNU {
                *found = Some(rest[name_end..name_end + description as usize].to_vec());
                return 1;
            }
            notes = &rest[end..];
        }
    }
    1
}
