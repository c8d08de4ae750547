//! What is known before a function is translated: its instructions and their flow, which functions
//! are inlined, and what kinds of values registers hold.

pub mod analysis;
pub mod facts;
pub mod inlining;
pub mod span;
