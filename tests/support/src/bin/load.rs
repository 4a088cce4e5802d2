//! The load generator as a program.

use std::process::ExitCode;

use omniroute_testkit::load;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match load::parse(std::env::args().skip(1)) {
        Ok(options) => {
            let report = load::run(options).await;
            println!("{report}");
            let failed =
                report.get("errors").and_then(|errors| errors.as_object()).is_some_and(|errors| !errors.is_empty());
            ExitCode::from(u8::from(failed))
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(64)
        }
    }
}
