pub mod stub;
pub mod vault;
