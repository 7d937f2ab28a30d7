//! What a file looks like after a write that failed.

use std::fs::File;
use std::io::{self, Write};
use std::iter;

/// Lines that each stand in a file whole, or not at all.
pub(crate) struct Lines<F> {
    file: F,
    /// How long it is with its whole lines.
    length: u64,
    /// Whether a line that failed may have left something behind.
    torn: bool,
    /// Whether the last line was there before and has no end, as when the machine stopped in the middle of it.
    unended: bool,
}

impl<F> Lines<F>
where
    F: Cut,
{
    /// `file` is empty, and written to at its end.
    pub(crate) fn new(file: F) -> Self {
        Self::after(file, 0, false)
    }

    /// `file` has so many bytes, and is written to at its end. What is there stays.
    pub(crate) fn after(file: F, length: u64, unended: bool) -> Self {
        Self { file, length, torn: false, unended }
    }

    pub(crate) fn file(&self) -> &F {
        &self.file
    }

    /// Writes a line, given in parts.
    pub(crate) fn write(&mut self, line: &[&[u8]]) -> io::Result<()> {
        self.mend()?;
        let end: &[u8] = if self.unended { b"\n" } else { b"" };
        let mut parts = iter::once(&end).chain(line);
        if let Err(error) = parts.try_for_each(|part| self.file.write_all(part)) {
            self.torn = true;
            // If that fails, too, the next line does not go behind the rest of this one.
            let _ = self.mend();
            return Err(error);
        }
        self.unended = false;
        self.length += line.iter().fold(end.len(), |length, part| length + part.len()) as u64;
        Ok(())
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.cut(self.length)?;
            self.torn = false;
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.mend()?;
        self.file.sync()
    }
}

/// What can be written to and cut off: a file, and something else in tests.
pub(crate) trait Cut: Write {
    fn cut(&mut self, length: u64) -> io::Result<()>;

    fn sync(&mut self) -> io::Result<()>;
}

impl Cut for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
