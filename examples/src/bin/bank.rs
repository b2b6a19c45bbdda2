//! Deposits, a withdrawal beyond the limit, which is refused, and the balance that is left.

use warpring::block_on;
use warpring::prelude::*;
use warpring_examples::bank::{Account, BEYOND_LIMIT, Deposit, Query};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    block_on(async {
        let runtime = Runtime::builder().module(&warpring_examples::MODULE).workers(1).build()?;
        let account = runtime.launch(Account::new(500), LaunchOptions::default()).await?;
        for cents in [100, 250, -800, -100, i64::MIN] {
            match account.ask(Deposit { cents }).await {
                Ok(balance) => println!("{cents:+}: the balance is {}", balance.cents),
                Err(AskError::Handler(KernelError::Rejected { code: BEYOND_LIMIT })) => {
                    println!("{cents:+}: refused, beyond the limit")
                }
                Err(error) => return Err(error.into()),
            }
        }
        println!("left: {}", account.ask(Query).await?.cents);
        runtime.shutdown().await?;
        Ok(())
    })
}
