//! Callbacks that may fail, passed to interfaces whose callbacks can only
//! continue or stop.

use std::ops::ControlFlow;

/// Calls `run` with a callback that stops it at the first error of `each`, and
/// returns that error.
///
/// `Ok` contains the result of `run`, also if `each` stopped it without an
/// error.
pub(super) fn until_error<T, R, E>(
    run: impl FnOnce(&mut dyn FnMut(T) -> ControlFlow<()>) -> R,
    mut each: impl FnMut(T) -> Result<ControlFlow<()>, E>,
) -> Result<R, E> {
    let mut error = None;
    let ran = run(&mut |item| {
        each(item).unwrap_or_else(|e| {
            error = Some(e);
            ControlFlow::Break(())
        })
    });
    error.map_or(Ok(ran), Err)
}
