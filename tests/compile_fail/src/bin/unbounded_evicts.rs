use outflow::Buffer;

fn main() {
    //~ E0599: no method named `drop_oldest` found for struct `Buffer<u32>`
    let _ = Buffer::<u32>::unbounded().drop_oldest();
}
