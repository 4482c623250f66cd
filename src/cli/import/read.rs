//! Opens plain and Zstandard files alike.
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

/// What a Zstandard frame begins with; the name of a file says nothing.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Large enough that system calls do not show in the time of a long import.
const BUFFER_BYTES: usize = 1 << 18;

/// A reader of the file's text.
///
/// # Errors
/// When the file cannot be opened or its first bytes cannot be read.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    if reader.fill_buf()?.starts_with(&ZSTD_MAGIC) {
        Ok(Box::new(zstd::Decoder::with_buffer(reader)?))
    } else {
        Ok(Box::new(reader))
    }
}

/// The numbers of the columns of these names.
///
/// # Errors
/// Names the first column that the header lacks.
pub(crate) fn columns<const N: usize>(
    header: &csv::ByteRecord,
    names: [&'static str; N],
) -> Result<[usize; N], ReadError> {
    let mut columns = [0; N];
    for (column, name) in columns.iter_mut().zip(names) {
        *column = header
            .iter()
            .position(|field| field == name.as_bytes())
            .ok_or(ReadError::NoColumn { name })?;
    }
    Ok(columns)
}

/// The text of one field.
///
/// # Errors
/// When the field is missing or no UTF-8.
pub(crate) fn text<'r>(
    record: &'r csv::ByteRecord,
    column: usize,
    name: &'static str,
) -> Result<&'r str, ReadError> {
    let line = record.position().map_or(0, csv::Position::line);
    let field = record.get(column).ok_or(ReadError::Field { line, name })?;
    std::str::from_utf8(field).map_err(|_| ReadError::Field { line, name })
}

/// The number in one field.
///
/// # Errors
/// When the field is missing or not such a number.
pub(crate) fn number<T: std::str::FromStr>(
    record: &csv::ByteRecord,
    column: usize,
    name: &'static str,
) -> Result<T, ReadError> {
    let line = record.position().map_or(0, csv::Position::line);
    text(record, column, name)?.parse().map_err(|_| ReadError::Field { line, name })
}

/// A file that is not what the command expects.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file cannot be opened or read.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// It is not a table.
    #[error("the file is not a table of comma-separated values")]
    Csv(#[from] csv::Error),
    /// A column is missing.
    #[error("the header has no column `{name}`; is this the right file for this command")]
    NoColumn {
        /// The column.
        name: &'static str,
    },
    /// A column that means nothing.
    #[error("the header has a column `{name}` that no movement has; remove or rename it")]
    UnknownColumn {
        /// The column.
        name: String,
    },
    /// A field cannot be read, in a file whose format is fixed.
    #[error("line {line} has no readable `{name}`; is this the right file for this command")]
    Field {
        /// Line of the file, from 1.
        line: u64,
        /// The column.
        name: &'static str,
    },
    /// The time zone data of the machine is incomplete.
    #[error("the time zone `{name}` is not known on this machine; install tzdata")]
    TimeZone {
        /// IANA name.
        name: &'static str,
    },
}
