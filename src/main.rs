/// Indexing takes and gives back hundreds of megabytes by the segment; the
/// system's allocator keeps what the threads gave back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    afteraction::cli::run(std::env::args_os())
}
