//! The head of an answer, read as leniently as its meaning allows: whoever has said 2xx has the event, and does
//! not get it again for a space before a colon.
//!
//! What the client reads in its place is written anew, and has only the lines that are of use here.

use std::ops::Range;

/// How many bytes a head may have, those of interim answers before it included.
pub(super) const LONGEST_HEAD: usize = 16 * 1024;

/// How many bytes a head may have when it is written anew: two more for each line, and those that close a connection.
pub(super) const LONGEST_REWRITTEN: usize = LONGEST_HEAD + 256;

/// The headers that are read: those that frame the answer, and those that the sink itself looks at.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];
const TOLD: [&str; 3] = ["retry-after", "date", "location"];

/// More lines than that with a name of these are not an answer's.
const MOST_LINES: usize = 32;

/// What stands at the beginning of what came so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Part of a head. Its status, if that is in it and no interim answer's.
    Part(Option<u16>),
    /// An interim answer (1xx) of so many bytes.
    Interim(usize),
    /// The head of the answer.
    Answer(Head),
    /// Something else.
    NotHttp,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How many bytes it has.
    pub(super) length: usize,
    pub(super) status: u16,
    /// The headers that the sink itself looks at, each once.
    pub(super) told: Vec<(&'static str, String)>,
    /// The same as every client can read it, without the lines that are of no use here. If a line of it is not as
    /// HTTP/1.1 has it, where the answer ends cannot be relied on: then it says that the connection is closed, and
    /// has no body.
    pub(super) rewritten: Vec<u8>,
}

impl Head {
    /// That of an answer of which only the status can be read, in the first `length` bytes.
    pub(super) fn of_status(status: u16, length: usize) -> Self {
        Self::new(length, 1, status, Vec::new(), false)
    }
}

impl Head {
    fn new(length: usize, minor: u8, status: u16, fields: Vec<Field>, well_formed: bool) -> Self {
        let mut rewritten = format!("HTTP/1.{} {status} \r\n", minor.min(1));
        let mut told: Vec<(&'static str, String)> = Vec::new();
        for Field { name, value } in fields {
            match name {
                // Of several the first counts.
                Some(name) if TOLD.contains(&name) && told.iter().all(|(other, _)| *other != name) => {
                    rewritten += &format!("{name}: {value}\r\n");
                    told.push((name, value));
                }
                Some(name) if FRAMING.contains(&name) && well_formed => {
                    rewritten += &format!("{name}: {value}\r\n");
                }
                _ => {}
            }
        }
        if !well_formed {
            rewritten += "connection: close\r\ncontent-length: 0\r\n";
        }
        rewritten += "\r\n";
        Self { length, status, told, rewritten: rewritten.into_bytes() }
    }
}

/// Looks at what has come of an answer.
pub(super) fn read(input: &[u8]) -> Beginning {
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
    // The line after the status line begins after its line feed.
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
    Beginning::Answer(Head::new(rest, minor, status, fields, well_formed))
}

struct NotHttp;

struct StatusLine {
    minor: u8,
    status: u16,
    /// From where it begins to behind the status.
    range: Range<usize>,
}

/// `HTTP/1.x`, in whatever case, and a status of three digits. `None` if more has to come.
fn status_line(input: &[u8]) -> Result<Option<StatusLine>, NotHttp> {
    const VERSION: &[u8] = b"HTTP/1.";
    // Empty lines before it are what is left of a body that somebody ended with one too many.
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

/// The line that begins at `start`, without its end, and where the next one begins. `None` if it has no end yet.
fn line(input: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let rest = &input[start..];
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let text = &rest[..end];
    Some((text.strip_suffix(b"\r").unwrap_or(text), start + end + 1))
}

struct Field {
    /// `None` for one that is of no use, which a folded line may follow.
    name: Option<&'static str>,
    value: String,
}

/// Adds a line of the head. Whether it is as HTTP/1.1 has it.
fn add(fields: &mut Vec<Field>, text: &[u8]) -> bool {
    if text.starts_with(b" ") || text.starts_with(b"\t") {
        // A folded line goes on with the value before it (RFC 9112, 5.2).
        if let (Some(Field { name: Some(_), value }), true) = (fields.last_mut(), is_readable(text)) {
            value.push(' ');
            value.push_str(String::from_utf8_lossy(text).trim());
        }
        return false;
    }
    let Some(colon) = text.iter().position(|byte| *byte == b':') else { return false };
    let (written, value) = (&text[..colon], &text[colon + 1..]);
    let name = written.trim_ascii();
    let known = FRAMING.into_iter().chain(TOLD).find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    let readable = is_readable(value);
    if known.is_some() || fields.is_empty() || fields.last().is_some_and(|field| field.name.is_some()) {
        let value = if readable { String::from_utf8_lossy(value).trim().to_string() } else { String::new() };
        fields.push(Field { name: known, value });
    }
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    // What a line says that is of no use does not matter, as long as it cannot be taken for several.
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
            Beginning::Answer(Head { length, rewritten, .. }) => {
                (length, String::from_utf8(rewritten).unwrap())
            }
            other => panic!("{input:?}: {other:?}"),
        }
    }

    const CLOSED: &str = "connection: close\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn a_head_as_it_should_be_keeps_what_frames_it_and_what_is_told() {
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
        for (sloppy, told) in [
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
            assert_eq!((length, rewritten), (sloppy.len(), format!("HTTP/1.1 200 \r\n{told}{CLOSED}")));
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "connection: close\r\n".repeat(33));
        assert_eq!(head(&many).1, format!("HTTP/1.1 200 \r\n{CLOSED}"));
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
