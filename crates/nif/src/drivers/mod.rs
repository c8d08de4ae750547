//! Linked-in drivers: the older C interface (`erl_driver.h`), on the driver interface of ports.
//!
//! `registry` says which drivers are loaded, and `known` what is to become of each; `loaded` is its
//! code, `port` an open port. The other files are the functions that drivers call.

mod built_ins;
mod entry;
mod errors;
mod known;
mod loaded;
mod messages;
mod port;
mod ports;
mod queues;
mod registry;
mod select;
mod work;

pub use select::watched;
