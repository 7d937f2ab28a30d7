use outflow::log::Log;
use outflow::sink;

fn main() {
    Log::new().follow(sink::for_each(|event: u32| println!("{event}")));
}
