//! Memory for C libraries, from the machine's allocator.

use std::alloc::Layout;
use std::ffi::c_void;
use swarmrt_term::refusal::handled;

/// Bytes in front of a library's memory that say how large it is.
const SIZE_BYTES: usize = 16;

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_add(SIZE_BYTES)?, SIZE_BYTES).ok()
}

/// So many bytes, or null.
pub fn allocate(bytes: usize) -> *mut c_void {
    let Some(layout) = layout(bytes) else { return std::ptr::null_mut() };
    // SAFETY: the layout has bytes; the first of them hold the size, and what follows is the
    // library's.
    unsafe {
        let memory = handled(|| std::alloc::alloc(layout));
        if memory.is_null() {
            return std::ptr::null_mut();
        }
        memory.cast::<usize>().write(bytes);
        memory.add(SIZE_BYTES).cast()
    }
}

/// Gives back what [`allocate`] gave, or nothing for null.
pub fn release(memory: *mut c_void) {
    if memory.is_null() {
        return;
    }
    // SAFETY: a library gives back what `allocate` gave it, with the size in front.
    unsafe {
        let memory = memory.cast::<u8>().sub(SIZE_BYTES);
        let layout =
            layout(memory.cast::<usize>().read()).expect("it had one when it was allocated");
        std::alloc::dealloc(memory, layout);
    }
}
