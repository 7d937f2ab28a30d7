use outflow::log::Log;

fn main() {
    //~ E0277: `{closure
    Log::new().follow(|event: u32| println!("{event}"));
}
