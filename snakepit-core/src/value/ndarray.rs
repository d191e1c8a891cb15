//! Arrays as `ndarray` has them. Owns the conversions; feature `ndarray`.

use ndarray::{ArrayViewD, Dimension, IxDyn};

use super::{Array, Element};
use crate::error::{Error, ErrorKind};

impl Array {
    /// The array as `ndarray` sees it, in place.
    ///
    /// # Errors
    /// `DecodeFailed` when the elements are of another type.
    ///
    /// # Examples
    /// ```
    /// use snakepit_core::Array;
    ///
    /// let array = Array::from_vec(vec![1, 2, 3, 4, 5, 6], [2, 3])?;
    /// let view = array.view::<i32>()?;
    /// assert_eq!(view[[1, 2]], 6);
    /// assert_eq!(view.sum_axis(ndarray::Axis(0)).into_raw_vec_and_offset().0, [5, 7, 9]);
    /// # Ok::<(), snakepit_core::Error>(())
    /// ```
    pub fn view<T: Element>(&self) -> Result<ArrayViewD<'_, T>, Error> {
        let items = self.as_slice::<T>()?;
        ArrayViewD::from_shape(IxDyn(self.shape()), items).map_err(|error| {
            let message = format!("`ndarray` has no array of this shape: {error}");
            Error::new(ErrorKind::DecodeFailed, message)
        })
    }
}

/// Takes the memory as it is where the elements lie in C order, else puts them so.
impl<T: Element, D: Dimension> From<ndarray::Array<T, D>> for Array {
    fn from(array: ndarray::Array<T, D>) -> Self {
        let shape = array.shape().to_vec();
        if !array.is_standard_layout() {
            return Self::of_items(array.iter().copied().collect(), shape);
        }
        let len = array.len();
        match array.into_raw_vec_and_offset() {
            (items, None | Some(0)) if items.len() == len => Self::of_items(items, shape),
            (items, start) => {
                let start = start.unwrap_or_default();
                Self::of_items(items[start..start + len].to_vec(), shape)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    #[test]
    fn whatever_its_layout_its_elements_are_in_order() {
        let whole = Array2::from_shape_fn((40, 30), |(row, column)| (row * 30 + column) as f32);
        for array in [
            whole.clone(),
            whole.clone().reversed_axes(),
            whole.slice(s![3..;2, ..;-1]).to_owned(),
            whole.clone().slice_move(s![5.., ..]),
            whole.clone().slice_move(s![.., 7..9]),
            Array2::zeros((0, 3)),
        ] {
            let ours = Array::from(array.clone());
            assert_eq!(ours.shape(), array.shape());
            assert_eq!(ours.view::<f32>().unwrap(), array.view().into_dyn());
        }
        assert!(Array::from(whole).view::<f64>().is_err());
    }

    #[test]
    fn an_array_in_order_is_not_copied() {
        let array = Array2::<f64>::zeros((100, 10));
        let start = array.as_ptr().cast::<u8>();
        assert_eq!(Array::from(array).data().as_ptr(), start);
    }
}
