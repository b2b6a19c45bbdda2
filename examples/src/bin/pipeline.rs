//! A till on one worker asks for rates on another in the middle of a sale; a refusal there comes back through both.

use warpring::block_on;
use warpring::prelude::*;
use warpring_examples::shop::{Currency, Rates, Sale, Till};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    block_on(async {
        let runtime = Runtime::builder().module(&warpring_examples::MODULE).workers(2).build()?;
        let rates = runtime.launch(Rates::new(1_100_000, 6_500), LaunchOptions::default().on_worker(1)).await?;
        let till = runtime.launch(Till::new(rates.address()), LaunchOptions::default().on_worker(0)).await?;
        for (units, currency) in [(20, Currency::Euro), (3_000, Currency::Yen), (7, Currency::Cowrie), (1, Currency::Euro)] {
            match till.ask(Sale { units, currency }).await {
                Ok(receipt) => println!(
                    "{units} {currency:?}: total {}.{:02} dollars (till on worker {}, rates on worker {})",
                    receipt.total_micros / 1_000_000,
                    receipt.total_micros / 10_000 % 100,
                    receipt.till,
                    receipt.rates
                ),
                Err(error) => println!("{units} {currency:?}: {error}"),
            }
        }
        runtime.shutdown().await?;
        Ok(())
    })
}
