//! Counts in columns.

use std::fmt;

/// One row for each endpoint.
pub(crate) struct Table<const N: usize> {
    columns: [&'static str; N],
    rows: Vec<(String, [u64; N])>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(columns: [&'static str; N], rows: impl Iterator<Item = (String, [u64; N])>) -> Self {
        Self { columns, rows: rows.collect() }
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { columns, rows } = self;
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("endpoint".len());

        write!(f, "{:width$}", "endpoint")?;
        columns.iter().try_for_each(|column| write!(f, "  {column}"))?;
        writeln!(f)?;
        for (name, counts) in rows {
            write!(f, "{name:width$}")?;
            for (column, count) in columns.iter().zip(counts) {
                write!(f, "  {count:>width$}", width = column.len())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
