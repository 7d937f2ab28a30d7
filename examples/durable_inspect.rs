//! What a durable queue has on disk.
//!
//! ```text
//! cargo run --release --example durable_inspect --features durable -- /var/lib/relay/pushes
//! ```
//!
//! Changes nothing, and needs neither the type of the events nor that no process works with them. Without an argument it makes
//! a store in a temporary directory first, leaves events there as a process does that is ended, and checks what it prints.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use outflow::durable::{DurableOptions, Inspection, inspect};
use outflow::retry::Constant;
use outflow::{Sink, SinkExt, sink};

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(path) = std::env::args_os().nth(1) {
        print(&inspect(path)?);
        return Ok(());
    }
    let directory = std::env::temp_dir().join(format!("durable-inspect-{}", std::process::id()));
    let outcome = demonstrate(&directory);
    let removed = std::fs::remove_dir_all(&directory);
    outcome?;
    Ok(removed?)
}

fn demonstrate(path: &Path) -> Result<(), Box<dyn Error>> {
    let options = || DurableOptions::new(path).schema("push/1");
    let dead = sink::from_fn(|_: &String| Err("no route to host"));
    let queue = dead.retry(Constant::new(Duration::from_secs(3600))).durable_with(options())?;
    for tag in 0..10 {
        queue.write(format!("push alpine:{tag}"))?;
    }
    // Beside the queue that has it open.
    let found = inspect(path)?;
    print(&found);
    assert_eq!((found.pending, found.next, found.schema.as_str()), (10, 10, "push/1"));
    assert_eq!(found.oldest.map(|(number, _)| number), Some(0));

    // Nothing is delivered within that time; it stays on disk.
    queue.close().within(Duration::from_millis(50))?;
    assert_eq!(queue.left_on_disk(), 10);

    let delivered = sink::collector();
    let queue = delivered.clone().durable_with(options())?;
    queue.close().wait()?;
    assert_eq!(delivered.len(), 10);
    let found = inspect(path)?;
    print(&found);
    assert_eq!((found.pending, found.next), (0, 10));
    Ok(())
}

fn print(found: &Inspection) {
    println!("schema    {:?}", found.schema);
    println!("pending   {}", found.pending);
    println!("next      {}", found.next);
    if let Some((number, age)) = found.oldest {
        println!("oldest    {number}, {age:?} old");
    }
    if let Some(age) = found.newest {
        println!("newest    {age:?} old");
    }
    println!("on disk   {} bytes in {} segments", found.bytes, found.segments);
    println!("lost      {} by damage that was repaired", found.lost);
    for damage in &found.damage {
        println!(
            "damage    {} at {}: {} bytes, events {:?}",
            damage.file, damage.offset, damage.bytes, damage.events
        );
    }
    for name in &found.aside {
        println!("aside     {name}");
    }
    for (number, attempts) in &found.attempts {
        println!("attempts  {number}: {attempts}");
    }
    println!();
}
