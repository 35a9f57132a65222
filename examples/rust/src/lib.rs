//! Blends two images of 8-bit pixels into their average.
//!
//! maturin reads the `extern "C"` functions and writes the Python module `_blend` from them.

/// Writes the average of `x[i]` and `y[i]`, rounded up, to `out[i]`.
///
/// # Safety
///
/// `x`, `y` and `out` point to `n` bytes each, and `out` overlaps neither of the others.
#[no_mangle]
pub unsafe extern "C" fn blend(x: *const u8, y: *const u8, out: *mut u8, n: usize) {
    let x = std::slice::from_raw_parts(x, n);
    let y = std::slice::from_raw_parts(y, n);
    let out = std::slice::from_raw_parts_mut(out, n);
    for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
        *out = (u16::from(*x) + u16::from(*y)).div_ceil(2) as u8;
    }
}
