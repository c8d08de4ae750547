//! Native libraries: the C interface (`erl_nif.h`), so that libraries that were built for OTP load
//! as they are.
//!
//! Invariants: every function of the interface is here, exported from the program by its name, and
//! nobody else knows the interface. A library's code is trusted; what it says of itself when it is
//! loaded is not. Its own code runs in calls of its functions and in callbacks, never while a lock
//! of ours is held. The process that loads a library has the permission to change code
//! ([`Process::change_code`](swarmrt_machine::Process::change_code)), so that libraries are loaded
//! one after the other.
//!
//! What a term's word is to a library is what it is to us ([`Term`](swarmrt_term::Term)); 0 is
//! none.

mod abi;
mod binaries;
mod calls;
mod drivers;
mod env;
mod epoll;
mod io_queues;
mod library;
mod load;
mod maps;
mod messages;
mod resource_types;
mod resources;
mod select;
mod system;
mod terms;
mod threads;
mod time;

pub use system::libraries;

/// The newest version of the interface that a library may be built for.
pub const VERSION: (i32, i32) = (abi::MAJOR, abi::MINOR);

unsafe extern "C" {
    // In `variadic.c`.
    fn enif_make_tuple();
    fn enif_make_list();
    fn enif_set_option();
    fn enif_snprintf();
    fn enif_vsnprintf();
    fn enif_fprintf();
    fn enif_vfprintf();
    // In `drivers/names.c`, whose functions are linked together.
    fn null_func();
}

/// The functions in C: nothing here calls them, and the linker would leave them out.
#[used]
static IN_C: [unsafe extern "C" fn(); 8] = [
    enif_make_tuple,
    enif_make_list,
    enif_set_option,
    enif_snprintf,
    enif_vsnprintf,
    enif_fprintf,
    enif_vfprintf,
    null_func,
];

use swarmrt_machine::vm::halting::Halting;
use swarmrt_machine::vm::watched::WatchedDescriptors;

/// Readies the interface for the libraries of a machine.
pub fn register(vm: &'static swarmrt_machine::Vm, erts_version: &str) {
    vm.extension::<Halting>().set(|_| system::halt());
    vm.extension::<WatchedDescriptors>().set(|| (drivers::watched(), select::watched()));
    system::set_versions(erts_version, &vm.release().number().to_string());
}
