//! A tree of 1,111,111 actors that spawn each other.

use warpring_examples::growth;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let runtime = growth::builder().build()?;
    let start = std::time::Instant::now();
    let (sum, actors) = growth::skynet::run(&runtime, 1_000_000)?;
    println!("{actors} actors, sum {sum}, {:.0?}", start.elapsed());
    warpring::block_on(runtime.shutdown())?;
    Ok(())
}
