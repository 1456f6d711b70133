//! Builds the companion book, and keeps it true.
//!
//! A tutorial rots in two places: the code that was pasted into it, and the output that once was printed. So nothing is
//! pasted here: code is included by the *name* of an item, which either exists or fails the build; and every console block
//! is executed, and its text is what came out.
//!
//! In reading order:
//!
//! 1. [`pages`]: the book's pages, and the links between them.
//! 2. [`item`]: `{{#item FILE NAME}}`, the source of one function or type, found by syntax tree.
//! 3. [`generated`]: tables of exercises, and of what is not executed.
//! 4. [`console`]: blocks of commands and their output; running them and accepting what they print.
//! 5. [`placeholder`]: `[PID]` and its like: values that vary, by name.
//! 6. [`spelling`]: the words, held against a dictionary.
//! 7. [`check`]: everything at once.
//! 8. [`render`]: mdbook as a library.
//! 9. [`look`]: what came out, in a browser.

pub mod check;
pub mod console;
pub mod generated;
pub mod item;
pub mod look;
pub mod pages;
pub mod placeholder;
pub mod render;
pub mod spelling;
