//! Files on disk as arguments. Owns how a file is named as one; who shows it to a worker is the link.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use snakepit_core::{Array, Dtype, Error, ErrorKind, External};
use snakepit_shm::FileRegion;

/// A file on disk, as an argument that Python maps: nothing of it is read before a tool looks at it,
/// and no shared memory is used up.
///
/// It arrives as bytes do (a hint such as `memoryview` leaves it where it is), or as an array where it
/// [is one](Self::array). The file must stay as it is while a worker looks: one that is cut off
/// meanwhile ends the worker that looks beyond its end. Files that are written once and replaced by
/// renaming are safe.
///
/// # Examples
/// ```no_run
/// # async fn example(snakepit: snakepit::Snakepit) -> snakepit::Result<()> {
/// use snakepit::{Dtype, MappedFile};
///
/// let weights = MappedFile::open("weights.f32")?.array(Dtype::F32, [4096, 4096])?;
/// let norm: f64 = snakepit.execute("norm", (&weights,)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MappedFile {
    region: FileRegion,
    layout: Option<(Dtype, Vec<usize>)>,
}

impl MappedFile {
    /// The file at a path.
    ///
    /// # Errors
    /// `System` when it cannot be opened or is no regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let region = FileRegion::open(path).map_err(|error| {
            Error::new(ErrorKind::System, format!("cannot map {}: {error}", path.display()))
        })?;
        Ok(Self { region, layout: None })
    }

    /// A file that is open.
    ///
    /// # Errors
    /// `System` when it is no regular file.
    pub fn new(file: File) -> Result<Self, Error> {
        let region = FileRegion::new(file)
            .map_err(|error| Error::new(ErrorKind::System, format!("cannot map it: {error}")))?;
        Ok(Self { region, layout: None })
    }

    /// A part of it, in bytes from where it begins.
    ///
    /// # Errors
    /// `InvalidArguments` if it is not so long.
    pub fn slice(&self, range: Range<u64>) -> Result<Self, Error> {
        let region = self
            .region
            .slice(range)
            .map_err(|error| Error::new(ErrorKind::InvalidArguments, error.to_string()))?;
        Ok(Self { region, layout: None })
    }

    /// The file as an array, in C order and little endian.
    ///
    /// # Errors
    /// `InvalidArguments` when the shape asks for another number of bytes.
    pub fn array(mut self, dtype: Dtype, shape: impl Into<Vec<usize>>) -> Result<Self, Error> {
        let shape = shape.into();
        let size = Array::size_bytes(dtype, &shape)?;
        if size as u64 != self.region.len() {
            let found = self.region.len();
            let message = format!("the array takes {size} bytes, and the file has {found}");
            return Err(Error::new(ErrorKind::InvalidArguments, message));
        }
        self.layout = Some((dtype, shape));
        Ok(self)
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.region.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.region.is_empty()
    }
}

impl Serialize for MappedFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        External::new(Arc::new(self.region.clone()), self.layout.clone()).serialize(serializer)
    }
}
