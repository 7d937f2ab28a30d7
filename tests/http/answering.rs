// An expression that the examples in the documentation include: a closure that starts an endpoint and returns its URL.
// The endpoint gives these answers in turn, each on a new connection, and then closes.
|statuses: &'static [&'static str]| -> String {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request).to_lowercase();
                let (head, body) = text.split_once("\r\n\r\n")?;
                let length: usize = head.split_once("content-length: ")?.1.lines().next()?.parse().ok()?;
                (body.len() >= length).then_some(())
            };
            while whole(&request).is_none() {
                let mut buffer = [0; 4096];
                match stream.read(&mut buffer).unwrap() {
                    0 => break,
                    read => request.extend(&buffer[..read]),
                }
            }
            write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    url
}
