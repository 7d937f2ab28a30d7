use outflow::Buffer;

fn main() {
    let _ = Buffer::<u32, _>::bounded(8).drop_oldest();
}
