//! Python exceptions worth a name of their own. Owns how they are told apart: by the nearest known
//! type among the exception's own and its bases, and by message where libraries raise builtin types
//! for what has a meaning of its own.

use super::PythonException;

/// What kind of exception Python code raised.
///
/// Subclasses are of their nearest known base's kind: `ModuleNotFoundError` is an `ImportError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PythonKind {
    /// `ValueError`: the right type, a wrong value.
    ValueError,
    /// `KeyError`: no such key.
    KeyError,
    /// `IndexError`: no such position.
    IndexError,
    /// `TypeError`: a wrong type.
    TypeError,
    /// `AttributeError`: no such attribute.
    AttributeError,
    /// `ImportError`: a module or a name in it is missing.
    ImportError,
    /// `RuntimeError`: anything else that a library noticed.
    RuntimeError,
    /// `NotImplementedError`: left for later.
    NotImplementedError,
    /// `FileNotFoundError`: no such file.
    FileNotFoundError,
    /// `PermissionError`: not allowed.
    PermissionError,
    /// `ZeroDivisionError`: divided by zero.
    ZeroDivisionError,
    /// `MemoryError`: the machine's memory is used up.
    MemoryError,
    /// An accelerator's memory is used up (torch, cupy, jax, tensorflow).
    AcceleratorOutOfMemory,
    /// Arrays or tensors whose shapes do not fit together.
    ShapeMismatch,
    /// Arrays or tensors whose element types do not fit together.
    DtypeMismatch,
    /// Any other; [`PythonException::type_name`] has its name.
    Other,
}

/// Types by name. A subclass is found by its bases, nearest first.
const TYPES: [(&str, PythonKind); 13] = [
    ("ValueError", PythonKind::ValueError),
    ("KeyError", PythonKind::KeyError),
    ("IndexError", PythonKind::IndexError),
    ("TypeError", PythonKind::TypeError),
    ("AttributeError", PythonKind::AttributeError),
    ("ImportError", PythonKind::ImportError),
    ("RuntimeError", PythonKind::RuntimeError),
    ("NotImplementedError", PythonKind::NotImplementedError),
    ("FileNotFoundError", PythonKind::FileNotFoundError),
    ("PermissionError", PythonKind::PermissionError),
    ("ZeroDivisionError", PythonKind::ZeroDivisionError),
    ("MemoryError", PythonKind::MemoryError),
    // numpy's own, below `TypeError`.
    ("UFuncTypeError", PythonKind::DtypeMismatch),
];

/// Where accelerators' exceptions for used-up memory come from: the module's first part and the
/// type.
const OUT_OF_MEMORY: [(&str, &str); 4] = [
    ("torch", "OutOfMemoryError"),
    ("cupy", "OutOfMemoryError"),
    ("cupy_backends", "OutOfMemoryError"),
    ("tensorflow", "ResourceExhaustedError"),
];

/// Texts of messages, in lower case, that say that an accelerator's memory is used up.
const OUT_OF_MEMORY_TEXTS: [&str; 5] = [
    "cuda out of memory",
    "cuda error: out of memory",
    "hip out of memory",
    "mps backend out of memory",
    // XLA, for jax.
    "resource_exhausted: out of memory",
];

/// Texts of messages, in lower case, about shapes (numpy, torch, jax, tensorflow).
const SHAPE_TEXTS: [&str; 13] = [
    "could not be broadcast together",
    "could not broadcast input array",
    "mismatch in its core dimension",
    "not aligned:",
    "cannot reshape array of size",
    "array dimensions except for the concatenation axis must match",
    "input arrays must have same number of dimensions",
    "inhomogeneous shape",
    "shapes cannot be multiplied",
    "must match the size of tensor",
    "is invalid for input of size",
    "incompatible shapes",
    "shape mismatch",
];

/// Texts of messages, in lower case, about element types.
const DTYPE_TEXTS: [&str; 8] = [
    "expected scalar type",
    "to have the same dtype",
    "must have the same dtype",
    "cannot cast array data from dtype",
    "cannot cast ufunc",
    "did not contain a loop with signature matching types",
    "dtype mismatch",
    "can't be cast to the desired output type",
];

impl PythonKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::ValueError,
        Self::KeyError,
        Self::IndexError,
        Self::TypeError,
        Self::AttributeError,
        Self::ImportError,
        Self::RuntimeError,
        Self::NotImplementedError,
        Self::FileNotFoundError,
        Self::PermissionError,
        Self::ZeroDivisionError,
        Self::MemoryError,
        Self::AcceleratorOutOfMemory,
        Self::ShapeMismatch,
        Self::DtypeMismatch,
        Self::Other,
    ];

    /// The kind's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ValueError => "value_error",
            Self::KeyError => "key_error",
            Self::IndexError => "index_error",
            Self::TypeError => "type_error",
            Self::AttributeError => "attribute_error",
            Self::ImportError => "import_error",
            Self::RuntimeError => "runtime_error",
            Self::NotImplementedError => "not_implemented_error",
            Self::FileNotFoundError => "file_not_found_error",
            Self::PermissionError => "permission_error",
            Self::ZeroDivisionError => "zero_division_error",
            Self::MemoryError => "memory_error",
            Self::AcceleratorOutOfMemory => "accelerator_out_of_memory",
            Self::ShapeMismatch => "shape_mismatch",
            Self::DtypeMismatch => "dtype_mismatch",
            Self::Other => "other",
        }
    }

    /// Whether memory is used up, the machine's or an accelerator's.
    pub fn is_out_of_memory(self) -> bool {
        matches!(self, Self::MemoryError | Self::AcceleratorOutOfMemory)
    }

    pub(super) fn of(exception: &PythonException) -> Self {
        let module = exception.module.split('.').next().unwrap_or_default();
        if OUT_OF_MEMORY.contains(&(module, &exception.type_name)) {
            return Self::AcceleratorOutOfMemory;
        }
        let kind = std::iter::once(&exception.type_name)
            .chain(&exception.bases)
            .find_map(|name| TYPES.iter().find(|(known, _)| known == name))
            .map_or(Self::Other, |(_, kind)| *kind);
        // What libraries raise builtin types for.
        let builtin = matches!(kind, Self::ValueError | Self::TypeError | Self::RuntimeError);
        if builtin { Self::by_text(&exception.message).unwrap_or(kind) } else { kind }
    }

    fn by_text(message: &str) -> Option<Self> {
        let message = message.to_ascii_lowercase();
        let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
        if says(&OUT_OF_MEMORY_TEXTS) {
            Some(Self::AcceleratorOutOfMemory)
        } else if says(&SHAPE_TEXTS) {
            Some(Self::ShapeMismatch)
        } else if says(&DTYPE_TEXTS) {
            Some(Self::DtypeMismatch)
        } else {
            None
        }
    }
}
