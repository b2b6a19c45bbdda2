//! Counts the letters of a sentence with a group of 26 actors, spread over two workers and addressed by index.

use warpring::block_on;
use warpring::prelude::*;
use warpring_examples::letters::{Letter, Tally};

const TEXT: &str = "the quick brown fox jumps over the lazy dog";

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    block_on(async {
        let runtime = Runtime::builder().module(&warpring_examples::MODULE).workers(2).build()?;
        let tallies = runtime.launch_many(26, LaunchOptions::default(), |_| Tally::new()).await?;
        let mut seen = [0; 26];
        for letter in TEXT.bytes().filter(u8::is_ascii_lowercase) {
            let index = u32::from(letter - b'a');
            let tally = tallies.get(index).ok_or("26 tallies, and no more letters")?;
            seen[index as usize] = tally.ask(Letter).await?;
        }
        for (letter, seen) in ('a'..='z').zip(seen).filter(|(_, seen)| *seen > 1) {
            println!("{letter}: {seen}");
        }
        println!("others: {} letters, once each", seen.iter().filter(|seen| **seen == 1).count());
        runtime.shutdown().await?;
        Ok(())
    })
}
