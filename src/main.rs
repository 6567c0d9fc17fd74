fn main() -> std::process::ExitCode {
    afteraction::cli::run(std::env::args_os())
}
