use outflow::log::Log;

fn main() {
    //~ E0277: `{closure
    Log::<u32>::new().follow(|event| println!("{event}"));
}
