//! Reads the head of an answer, leniently: an endpoint that answered 2xx has the event, and must not get it again
//! because of a space before a colon.
//!
//! The client gets a rewritten head in its place, with only the lines that are needed.

use std::ops::Range;

/// The longest head, in bytes, with the interim answers before it.
pub(super) const LONGEST_HEAD: usize = 16 * 1024;

/// The longest rewritten head, in bytes: two more for each line, and the lines that close the connection.
pub(super) const LONGEST_REWRITTEN: usize = LONGEST_HEAD + 256;

/// The headers that are read: those that frame the answer, and those that the sink itself looks at.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];
const KEPT: [&str; 3] = ["retry-after", "date", "location"];

/// The most lines with one of these names that a well-formed head may have.
const MOST_LINES: usize = 32;

const NOT_HTTP: &str = "it is not HTTP/1.1";
const LONG_HEAD: &str = "its head is longer than 16 KiB, interim answers (1xx) included";

/// Finds the head of an answer in what arrives, after those of interim answers.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// How many bytes of interim answers have come.
    interim: usize,
}

/// What is to be done with the bytes that have come.
pub(super) enum Step {
    /// Wait for more.
    More,
    /// Take this many from the front, which are an interim answer, and look again.
    Skip(usize),
    /// Take the head from the front.
    Head(Head),
    /// No answer can be read, for this reason.
    Unreadable(&'static str),
}

impl HeadReader {
    pub(super) fn look(&mut self, input: &[u8]) -> Step {
        let (length, room) = (input.len(), LONGEST_HEAD - self.interim);
        match read(&input[..length.min(room)]) {
            Beginning::Answer(head) => Step::Head(head),
            Beginning::Interim(length) => {
                self.interim += length;
                Step::Skip(length)
            }
            Beginning::NotHttp => Step::Unreadable(NOT_HTTP),
            Beginning::Part(Some(status)) if length > room => Step::Head(Head::of_status(status, length)),
            Beginning::Part(None) if length > room => Step::Unreadable(LONG_HEAD),
            Beginning::Part(_) => Step::More,
        }
    }

    /// Whether an interim answer has come.
    pub(super) fn has_interim(&self) -> bool {
        self.interim > 0
    }
}

/// What the bytes that have come so far begin with.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// A part of a head. With the status, if that has come and is not an interim one.
    Part(Option<u16>),
    /// An interim answer (1xx), with its length in bytes.
    Interim(usize),
    /// The head of the answer.
    Answer(Head),
    /// No head of HTTP/1.x.
    NotHttp,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its length in bytes.
    pub(super) length: usize,
    pub(super) status: u16,
    /// The headers that the sink itself looks at, each once.
    pub(super) kept: Vec<(&'static str, String)>,
    minor: u8,
    /// The headers that frame the answer. `None` if a line is not valid HTTP/1.1, so that its end is uncertain.
    framing: Option<Vec<(&'static str, String)>>,
}

impl Head {
    /// The head of an answer of which only the status can be read, in its first `length` bytes.
    fn of_status(status: u16, length: usize) -> Self {
        Self { length, status, kept: Vec::new(), minor: 1, framing: None }
    }

    /// How many bytes of the body follow the head, if that is certain.
    #[cfg(feature = "http-async")]
    pub(super) fn body_length(&self) -> Option<usize> {
        let framing = self.framing.as_ref().filter(|_| !matches!(self.status, 101 | 204 | 304))?;
        let of = |name| framing.iter().find(move |(other, _)| *other == name);
        if of("transfer-encoding").is_some() { None } else { of("content-length")?.1.parse().ok() }
    }

    /// The same head in a form that every client can read, without the lines that are not needed. Its body is as it was
    /// or, if that was taken off, empty. If the end of the answer is uncertain, the head closes the connection, and has
    /// no body.
    pub(super) fn rewritten(&self, with_body: bool) -> Vec<u8> {
        let mut head = Vec::with_capacity(128);
        head.extend_from_slice(if self.minor == 0 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        head.extend(
            [self.status / 100, self.status / 10 % 10, self.status % 10].map(|digit| b'0' + digit as u8),
        );
        head.extend_from_slice(b" \r\n");
        let mut add = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                head.extend_from_slice(part.as_bytes());
            }
        };
        match &self.framing {
            Some(framing) => {
                for (name, value) in framing {
                    add(name, if *name == "content-length" && !with_body { "0" } else { value });
                }
            }
            None => {
                add("connection", "close");
                add("content-length", "0");
            }
        }
        for (name, value) in &self.kept {
            add(name, value);
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Reads what has come of an answer.
fn read(input: &[u8]) -> Beginning {
    let status_line = match status_line(input) {
        Ok(Some(line)) => line,
        Ok(None) => return Beginning::Part(None),
        Err(NotHttp) => return Beginning::NotHttp,
    };
    let StatusLine { minor, status, range } = status_line;

    let mut well_formed = range.start == 0 && input.starts_with(b"HTTP/1.");
    let mut fields: Vec<Field> = Vec::new();
    let mut rest = range.end;
    let is_interim = (100..200).contains(&status) && status != 101;
    let part = Beginning::Part((!is_interim).then_some(status));
    // The rest of the status line is skipped.
    match line(input, rest) {
        Some((_, next)) => rest = next,
        None => return part,
    }
    loop {
        let Some((text, next)) = line(input, rest) else { return part };
        rest = next;
        if text.is_empty() {
            break;
        }
        well_formed &= add(&mut fields, text);
    }
    if is_interim {
        return Beginning::Interim(rest);
    }
    well_formed &= is_framed(&fields);
    let (mut kept, mut framing) = (Vec::new(), Vec::new());
    for Field { name, value } in fields {
        match name {
            // Of several with one name the first counts.
            Some(name) if KEPT.contains(&name) && kept.iter().all(|(other, _)| *other != name) => {
                kept.push((name, value));
            }
            Some(name) if FRAMING.contains(&name) => framing.push((name, value)),
            _ => {}
        }
    }
    let framing = well_formed.then_some(framing);
    Beginning::Answer(Head { length: rest, status, kept, minor: minor.min(1), framing })
}

struct NotHttp;

struct StatusLine {
    minor: u8,
    status: u16,
    /// From its first byte to the last of the status.
    range: Range<usize>,
}

/// Reads `HTTP/1.x`, in upper or lower case, and a status of three digits. `None` if more bytes are needed.
fn status_line(input: &[u8]) -> Result<Option<StatusLine>, NotHttp> {
    const VERSION: &[u8] = b"HTTP/1.";
    // Empty lines before it may be the rest of a body that ended with one line break too many.
    let start = input.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(input.len());
    let text = &input[start..];
    let common = text.len().min(VERSION.len());
    if !text[..common].eq_ignore_ascii_case(&VERSION[..common]) {
        return Err(NotHttp);
    }
    let Some((minor, rest)) = text[common..].split_first() else { return Ok(None) };
    if !minor.is_ascii_digit() {
        return Err(NotHttp);
    }
    let Some(blanks) = rest.iter().position(|byte| !b" \t".contains(byte)) else { return Ok(None) };
    let code = &rest[blanks..];
    let digits = code.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if blanks == 0 || digits > 3 {
        return Err(NotHttp);
    }
    let Some(after) = code.get(digits) else { return Ok(None) };
    let status = code[..digits].iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    if digits != 3 || status < 100 || !b" \t\r\n".contains(after) {
        return Err(NotHttp);
    }
    let end = start + VERSION.len() + 1 + blanks + digits;
    Ok(Some(StatusLine { minor: minor - b'0', status, range: start..end }))
}

/// The line that begins at `start`, without its line break, and the start of the next one. `None` if it is not complete.
fn line(input: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let rest = &input[start..];
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let text = &rest[..end];
    Some((text.strip_suffix(b"\r").unwrap_or(text), start + end + 1))
}

struct Field {
    /// `None` for a header that is not needed, but that a folded line may continue.
    name: Option<&'static str>,
    value: String,
}

/// Adds a line of the head. Returns whether it is valid HTTP/1.1.
fn add(fields: &mut Vec<Field>, text: &[u8]) -> bool {
    if text.starts_with(b" ") || text.starts_with(b"\t") {
        // A folded line continues the value before it (RFC 9112, 5.2).
        if let (Some(Field { name: Some(_), value }), true) = (fields.last_mut(), is_readable(text)) {
            value.push(' ');
            value.push_str(String::from_utf8_lossy(text).trim());
        }
        return false;
    }
    let Some(colon) = text.iter().position(|byte| *byte == b':') else { return false };
    let (written, value) = (&text[..colon], &text[colon + 1..]);
    let name = written.trim_ascii();
    let known = FRAMING.into_iter().chain(KEPT).find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    let readable = is_readable(value);
    if known.is_some() || fields.is_empty() || fields.last().is_some_and(|field| field.name.is_some()) {
        let value = if readable { String::from_utf8_lossy(value).trim().to_string() } else { String::new() };
        fields.push(Field { name: known, value });
    }
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    // The value of a header that is not needed may be anything that cannot be taken for several lines.
    let harmless = readable || (known.is_none() && !value.contains(&0) && !value.contains(&b'\r'));
    !written.is_empty() && written.iter().all(is_token) && harmless
}

fn is_readable(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || (0x20..0x7f).contains(byte))
}

/// Whether it is certain where the answer ends.
fn is_framed(fields: &[Field]) -> bool {
    let of = |name| fields.iter().filter(move |field| field.name == Some(name));
    let is_length = |field: &Field| {
        !field.value.is_empty()
            && field.value.bytes().all(|byte| byte.is_ascii_digit())
            && field.value.parse::<u64>().is_ok()
    };
    of("content-length").all(is_length)
        && of("content-length").count() <= 1
        && fields.iter().filter(|field| field.name.is_some()).count() <= MOST_LINES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(input: &str) -> (usize, String) {
        match read(input.as_bytes()) {
            Beginning::Answer(head) => (head.length, String::from_utf8(head.rewritten(true)).unwrap()),
            other => panic!("{input:?}: {other:?}"),
        }
    }

    const CLOSED: &str = "connection: close\r\ncontent-length: 0\r\n";

    #[test]
    fn a_well_formed_head_keeps_its_framing_and_the_headers_that_the_sink_reads() {
        let said = "HTTP/1.1 503 Service Unavailable\r\nServer: a\r\nContent-Length: 5\r\nX-A: \u{e4}\r\n\
                    Connection:keep-alive\r\nRETRY-AFTER: 7 \r\nlocation: /a\r\nlocation: /b\r\n\r\n";
        let (length, rewritten) = head(&format!("{said}hello"));
        assert_eq!(length, said.len());
        assert_eq!(
            rewritten,
            "HTTP/1.1 503 \r\ncontent-length: 5\r\nconnection: keep-alive\r\nretry-after: 7\r\nlocation: /a\r\n\r\n"
        );
        assert_eq!(head("HTTP/1.0 200\n\n"), (14, "HTTP/1.0 200 \r\n\r\n".to_string()));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(head(chunked).1, chunked.replace("OK", ""));
    }

    #[test]
    fn a_sloppy_head_is_understood_and_ends_its_connection() {
        for (sloppy, kept) in [
            ("http/1.1 200 OK\r\n\r\n", ""),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nx-a : b\r\ncontent-length: 7\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nretry-after : 7\r\n\r\n", "retry-after: 7\r\n"),
            ("HTTP/1.1 200 OK\r\nlocation: /a\r\n b\r\n\r\n", "location: /a b\r\n"),
            ("HTTP/1.1 200 OK\r\nlocation: /a\r\n b\rc\r\n \0\r\n\r\n", "location: /a\r\n"),
            ("HTTP/1.1 200 OK\r\nlocation: /\u{e4}\r\n\r\n", "location: \r\n"),
            ("HTTP/1.1 200 OK\r\nlocation: /a\r\nx-b: c\r\n d\r\n\r\n", "location: /a\r\n"),
            ("HTTP/1.1 200 OK\r\n folded\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\n: no name\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nx\u{e4}: a\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nx-a: \0\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n", ""),
        ] {
            let (length, rewritten) = head(sloppy);
            assert_eq!((length, rewritten), (sloppy.len(), format!("HTTP/1.1 200 \r\n{CLOSED}{kept}\r\n")));
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "connection: close\r\n".repeat(33));
        assert_eq!(head(&many).1, format!("HTTP/1.1 200 \r\n{CLOSED}\r\n"));
    }

    #[cfg(feature = "http-async")]
    #[test]
    fn a_body_whose_length_is_certain_can_be_taken_off() {
        let head = |lines: &str| match read(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()) {
            Beginning::Answer(head) => head,
            other => panic!("{lines:?}: {other:?}"),
        };
        let sized = head("connection: close\r\ncontent-length: 5\r\nretry-after: 7\r\n");
        assert_eq!(sized.body_length(), Some(5));
        assert_eq!(
            sized.rewritten(false),
            b"HTTP/1.1 200 \r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 7\r\n\r\n"
        );
        for lines in [
            "",
            "transfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "x-a : b\r\ncontent-length: 5\r\n",
            "content-length: 5\r\ncontent-length: 5\r\n",
        ] {
            assert_eq!(head(lines).body_length(), None, "{lines:?}");
        }
        for status in [101, 204, 304] {
            let text = format!("HTTP/1.1 {status} OK\r\ncontent-length: 5\r\n\r\n");
            assert!(matches!(read(text.as_bytes()), Beginning::Answer(head) if head.body_length().is_none()));
        }
    }

    #[test]
    fn a_part_of_a_head_is_waited_for_and_its_status_is_known() {
        let whole = "HTTP/1.1 207 OK\r\nx-a: b\r\n\r\n";
        for end in 0..whole.len() {
            let status = (end > "HTTP/1.1 207".len()).then_some(207);
            assert_eq!(read(&whole.as_bytes()[..end]), Beginning::Part(status), "{:?}", &whole[..end]);
        }
        assert!(matches!(read(whole.as_bytes()), Beginning::Answer(_)));
    }

    #[test]
    fn an_interim_answer_is_no_answer_but_for_101() {
        let interim = "HTTP/1.1 100 Continue\r\nserver: a\r\n\r\n";
        assert_eq!(read(format!("{interim}HTTP").as_bytes()), Beginning::Interim(interim.len()));
        assert!(matches!(read(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), Beginning::Answer(_)));
    }

    #[test]
    fn what_is_not_http_1_is_nothing_else() {
        for garbage in [
            "ICY 200 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/9.9 200 OK\r\n\r\n",
            "HTTP/1.1200 OK\r\n\r\n",
            "HTTP/1.x 200 OK\r\n\r\n",
            "HTTP/1.1 abc OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200OK\r\n\r\n",
            "\0\0\0\0",
            "220 mail.example ESMTP\r\n",
        ] {
            assert_eq!(read(garbage.as_bytes()), Beginning::NotHttp, "{garbage:?}");
        }
    }
}
