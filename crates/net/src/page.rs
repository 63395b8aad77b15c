//! One page of text over HTTP/1.1, for programs that watch this one.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// Reads one request, and answers a GET of `path` with the text, anything else with an error; then
/// the connection is over.
///
/// # Errors
/// The connection breaks.
pub async fn serve_page<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    path: &str,
    text: impl FnOnce() -> String,
) -> io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&part[..read]);
        if request.len() > REQUEST_BYTES_MAX {
            return answer(&mut stream, "431 Request Header Fields Too Large", "").await;
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["GET", asked, _] if asked.split('?').next() == Some(path) => {
            answer(&mut stream, "200 OK", &text()).await
        }
        ["GET", _, _] => answer(&mut stream, "404 Not Found", &format!("see {path}\n")).await,
        [_, _, _] => answer(&mut stream, "405 Method Not Allowed", "").await,
        _ => answer(&mut stream, "400 Bad Request", "").await,
    }
}

async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, status: &str, text: &str) -> io::Result<()> {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
            Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is answered to a request that comes in these parts.
    async fn asked(parts: &[&str]) -> String {
        let (mut near, far) = tokio::io::duplex(64 << 10);
        let serve = serve_page(far, "/metrics", || "a 1\n".to_owned());
        let ask = async {
            for part in parts {
                near.write_all(part.as_bytes()).await.expect("written");
            }
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.expect("read");
            answer
        };
        let (served, answer) = tokio::join!(biased; serve, ask);
        served.expect("served");
        answer
    }

    #[tokio::test]
    async fn a_page_is_given_to_those_who_ask_for_it() {
        let answer = asked(&["GET /metrics HT", "TP/1.1\r\nHost: x\r\n\r\n"]).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\nContent-Length: 4\r\n"));
        assert!(answer.ends_with("\r\n\r\na 1\n"));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(9 << 10));
        let cases = [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("nonsense\r\n\r\n", "400"),
            (&long, "431"),
        ];
        for (request, status) in cases {
            let answer = asked(&[request]).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        }
    }
}
