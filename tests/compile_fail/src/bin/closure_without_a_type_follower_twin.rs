use outflow::log::Log;
use outflow::sink;

fn main() {
    Log::<u32>::new().follow(sink::for_each(|event| println!("{event}")));
}
