//! A feed publishes prices on a topic. Two strategies have subscribed, each on a worker of its own, and find the book by its name.

use warpring::block_on;
use warpring::prelude::*;
use warpring_examples::desk::{Book, Bought, Feed, Holdings, Price, Strategy, Trade};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    block_on(async {
        let runtime = Runtime::builder().module(&warpring_examples::MODULE).workers(2).build()?;
        let prices = runtime.topic::<Price>("prices").await?;
        for (worker, limit) in [(0, 102), (1, 100)] {
            let strategy = runtime.launch(Strategy::new(limit), LaunchOptions::default().on_worker(worker)).await?;
            prices.subscribe(&strategy).await?;
        }
        let book = runtime.launch(Book::new(), LaunchOptions::default()).await?;
        runtime.register("book", &book).await?;
        let feed = runtime.launch(Feed, LaunchOptions::default()).await?;
        runtime.register("feed", &feed).await?;
        for listed in runtime.names() {
            println!("`{}` is a {}", listed.name, listed.kernel);
        }

        let mut expected = Holdings { orders: 0, cents: 0 };
        for cents in [103, 101, 99, 100] {
            let audience = feed.ask(Trade { cents }).await?;
            println!("{cents}: sent to {}, lost by {}", audience.sent, audience.lost);
            let buyers = [102, 100].into_iter().filter(|limit| cents < *limit).count() as u32;
            expected.orders += buyers;
            expected.cents += buyers * cents;
        }
        // A publication is a tell: what comes of it comes later.
        let by_name = runtime.lookup::<Book>("book")?;
        let mut holdings = by_name.ask(Bought).await?;
        while holdings.orders < expected.orders {
            holdings = by_name.ask(Bought).await?;
        }
        println!("bought {} for {} cents, expected {} for {}", holdings.orders, holdings.cents, expected.orders, expected.cents);
        for topic in runtime.topics().await? {
            println!("`{}`: {} subscribers, {} published, {} lost", topic.name, topic.subscribers, topic.published, topic.lost);
        }
        runtime.shutdown().await?;
        Ok(())
    })
}
