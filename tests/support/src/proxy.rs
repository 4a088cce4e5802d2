//! A forward proxy that notes what it is asked: `CONNECT` or SOCKS5, with or without a login. Names that end in `.test`
//! or `.invalid` are this machine to it, as they are to nobody else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

#[expect(clippy::disallowed_types, reason = "a note that test and server share is no actor")]
type Lock<T> = std::sync::Mutex<T>;

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `CONNECT`.
    Http,
    /// SOCKS version 5.
    Socks5,
}

/// One tunnel that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The host as it was named, and the port.
    pub goal: String,
    /// The login that came along, as `name:password` (for `CONNECT`, in base64).
    pub login: Option<String>,
}

/// The proxy; it ends with the test's runtime.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it listens.
    pub addr: SocketAddr,
    kind: Kind,
    /// The login it wants, written as it comes.
    wants: Option<String>,
    /// What it answers instead of opening a tunnel: a status, or a reply code of SOCKS.
    refuses: Arc<Lock<Option<u16>>>,
    asked: Arc<Lock<Vec<Asked>>>,
}

impl Proxy {
    /// One that serves everybody, or whoever has this login.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(kind: Kind, wants: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let wants = wants.map(str::to_owned);
        let proxy = Self { addr, kind, wants, refuses: Arc::default(), asked: Arc::default() };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let proxy = serving.clone();
                tokio::spawn(async move { drop(proxy.serve(stream).await) });
            }
        });
        proxy
    }

    /// What it was asked for so far.
    ///
    /// # Panics
    /// When another test thread has panicked with it.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic before").clone()
    }

    /// Refuse every tunnel from now on with this status or reply code.
    ///
    /// # Panics
    /// When another test thread has panicked with it.
    pub fn refuse_with(&self, code: u16) {
        *self.refuses.lock().expect("no panic before") = Some(code);
    }

    fn note(&self, goal: &str, login: Option<String>) -> bool {
        let welcome = self.wants.is_none() || self.wants == login;
        self.asked.lock().expect("no panic before").push(Asked { goal: goal.to_owned(), login });
        welcome
    }

    fn refusal(&self) -> Option<u16> {
        *self.refuses.lock().expect("no panic before")
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        match self.kind {
            Kind::Http => self.connect(stream).await,
            Kind::Socks5 => self.socks(stream).await,
        }
    }

    async fn connect(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let goal = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let login = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: Basic ")).map(str::to_owned);
        let status = if self.note(goal, login) { self.refusal().unwrap_or(200) } else { 407 };
        stream.write_all(format!("HTTP/1.1 {status} X\r\n\r\n").as_bytes()).await?;
        if status == 200 { tunnel(stream, goal).await } else { Ok(()) }
    }

    async fn socks(&self, mut stream: TcpStream) -> io::Result<()> {
        let (_version, methods) = (stream.read_u8().await?, stream.read_u8().await?);
        let mut offered = vec![0; usize::from(methods)];
        stream.read_exact(&mut offered).await?;
        let method = if self.wants.is_some() { 2 } else { 0 };
        if !offered.contains(&method) {
            return stream.write_all(&[5, 0xff]).await;
        }
        stream.write_all(&[5, method]).await?;
        let login = if method == 2 { Some(read_login(&mut stream).await?) } else { None };
        if method == 2 {
            let right = self.wants == login;
            stream.write_all(&[1, u8::from(!right)]).await?;
            if !right {
                return Ok(());
            }
        }
        let goal = read_goal(&mut stream).await?;
        self.note(&goal, login);
        let code = self.refusal().map_or(0, |code| code.to_be_bytes()[1]);
        stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        if code == 0 { tunnel(stream, &goal).await } else { Ok(()) }
    }
}

async fn read_text(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn read_login(stream: &mut TcpStream) -> io::Result<String> {
    stream.read_u8().await?;
    let name = read_text(stream).await?;
    Ok(format!("{name}:{}", read_text(stream).await?))
}

async fn read_goal(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => std::net::Ipv4Addr::from(stream.read_u32().await?).to_string(),
        3 => read_text(stream).await?,
        _ => format!("[{}]", std::net::Ipv6Addr::from(stream.read_u128().await?)),
    };
    Ok(format!("{host}:{}", stream.read_u16().await?))
}

async fn tunnel(mut stream: TcpStream, goal: &str) -> io::Result<()> {
    let (host, port) = goal.rsplit_once(':').unwrap_or((goal, "0"));
    let here = host.ends_with(".test") || host.ends_with(".invalid");
    let goal = if here { format!("127.0.0.1:{port}") } else { goal.to_owned() };
    let mut provider = TcpStream::connect(goal).await?;
    copy_bidirectional(&mut stream, &mut provider).await.map(drop)
}
