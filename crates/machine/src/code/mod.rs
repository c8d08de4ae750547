//! Loaded code: exports and fun entries, modules in up to two versions, and from an address to the
//! function and line that it belongs to.

pub mod breakpoints;
pub mod cache;
pub mod debug;
mod export;
mod located;
mod module;
pub mod natives;
mod permission;
pub mod retire;
mod server;

pub use export::{Export, FunEntry};
pub use located::Located;
pub use module::{LoadError, Location, ModuleCode, Prepared, RecordEntry};
pub use permission::ChangingCode;
pub use server::{CodeServer, HasOldVersion, ModuleSlot, Purge, PurgeWait};
