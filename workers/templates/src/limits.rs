//! How far a template may go. Each is large for an honest mail and small for a server.

/// Most bytes of a subject's source.
pub const SUBJECT_SOURCE: usize = 2_000;
/// Most bytes of a text's source.
pub const TEXT_SOURCE: usize = 128 * 1024;
/// Most bytes of an HTML source.
pub const HTML_SOURCE: usize = 256 * 1024;
/// Most characters of a finished subject.
pub const SUBJECT: usize = 500;
/// Most bytes of a finished text or HTML.
pub const OUTPUT: usize = 512 * 1024;
/// Blocks inside blocks.
pub const DEPTH: usize = 6;
/// Loops inside loops.
pub const LOOPS: usize = 2;
/// Things done for one part: texts copied, values put in, conditions looked at. A loop counts for each of its rounds.
pub const STEPS: u64 = 200_000;
/// Variables of a template.
pub const VARIABLES: usize = 100;
/// Characters of a text that says no other limit.
pub const TEXT_VALUE: u32 = 1_000;
/// Rows of a list that says no other limit.
pub const ROWS: u32 = 100;
/// Rows of any list.
pub const MOST_ROWS: u32 = 1_000;
/// Bytes of an address of a page.
pub const URL: usize = 2_048;
