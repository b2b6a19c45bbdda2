//! One host thread with many asks under way: its own port, and a window of replies to come.

use std::collections::VecDeque;

use warpring::block_on;
use warpring::prelude::*;
use warpring_examples::squares::Square;

const WINDOW: usize = 64;
const ASKS: u64 = 10_000;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::builder().module(&warpring_examples::MODULE).workers(2).build()?;
    let squares = block_on(runtime.launch_many(2, LaunchOptions::default(), |_| Square))?.address();
    let mut port = runtime.port(WINDOW as u32)?;

    let (mut sum, mut most) = (0, 0);
    let mut under_way = VecDeque::with_capacity(WINDOW);
    for n in 1..=ASKS {
        if under_way.len() == WINDOW
            && let Some(oldest) = under_way.pop_front()
        {
            sum += port.wait(oldest)?;
        }
        let square = squares.get((n % 2) as u32).ok_or("two actors")?;
        under_way.push_back(port.send(square, n)?);
        most = most.max(under_way.len());
    }
    for ticket in under_way {
        sum += port.wait(ticket)?;
    }
    println!("{ASKS} asks, {most} under way at most, sum of the squares {sum}");
    drop(port);
    block_on(runtime.shutdown())?;
    Ok(())
}
