//! The socket under awc, with a notebook: what awc does not tell its caller is read from the stream itself.
//!
//! awc neither says whether a request went out on a pooled connection, nor whether a body ended or was cut, nor can it be
//! told that a pooled connection must not be used again. Each [`WireStream`] therefore shares a [`Wire`] with whoever asks,
//! and each request carries a task-local [`Probe`] which the stream fills in while awc works inside that request's future.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, ready},
};

use actix_rt::net::{ActixStream, Ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::interim::Interim;
use super::proxy::Socket;

tokio::task_local! {
    /// The request that is being sent by the current task.
    static PROBE: Rc<Probe>;
}

/// Facts about one connection. It lives exactly as long as its stream: only the stream owns it.
#[derive(Debug, Default)]
pub(super) struct Wire {
    read: Cell<u64>,
    retired: Cell<bool>,
}

impl Wire {
    /// Never serve another request: the pool sees a closed connection.
    pub(super) fn retire(&self) {
        self.retired.set(true);
    }
}

/// What one request has done so far.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// Let the pool believe that its idle connections are closed, so that this request gets a new one.
    avoid_idle: bool,
    dialed: Cell<bool>,
    connected: Cell<bool>,
    sent_at: Cell<Option<Instant>>,
    read_before: Cell<u64>,
    interim: Cell<usize>,
    wire: RefCell<Weak<Wire>>,
}

impl Probe {
    pub(super) fn new(avoid_idle: bool) -> Rc<Self> {
        Rc::new(Self { avoid_idle, ..Self::default() })
    }

    /// Run one request under this probe.
    pub(super) async fn watch<F: Future>(self: Rc<Self>, request: F) -> F::Output {
        PROBE.scope(self, request).await
    }

    /// Whether a new connection was opened (or tried) for this request.
    pub(super) fn dialed(&self) -> bool {
        self.dialed.get()
    }

    /// Whether there is a TCP connection: a pooled one or a new one.
    pub(super) fn has_connection(&self) -> bool {
        self.connected.get() || self.wire.borrow().strong_count() > 0
    }

    /// Whether awc began to write the request.
    pub(super) fn started_sending(&self) -> bool {
        self.sent_at.get().is_some()
    }

    /// When it did.
    pub(super) fn sent_at(&self) -> Option<Instant> {
        self.sent_at.get()
    }

    /// Whether a byte came back on the connection since the request began to use it.
    pub(super) fn heard_anything(&self) -> bool {
        self.wire.borrow().upgrade().is_some_and(|wire| wire.read.get() > self.read_before.get())
    }

    /// Whether interim answers came, of which nothing is left to be seen.
    pub(super) fn heard_interim(&self) -> bool {
        self.interim.get() > 0
    }

    /// The connection in use.
    pub(super) fn wire(&self) -> Weak<Wire> {
        self.wire.borrow().clone()
    }

    pub(super) fn mark_body_taken(&self) {
        if self.sent_at.get().is_none() {
            self.sent_at.set(Some(Instant::now()));
        }
    }

    /// Note the connection in use; whether the request begins to use it now.
    fn claim(&self, wire: &Rc<Wire>) -> bool {
        let mut current = self.wire.borrow_mut();
        let begins = current.as_ptr() != Rc::as_ptr(wire);
        if begins {
            self.read_before.set(wire.read.get());
            *current = Rc::downgrade(wire);
        }
        begins
    }

    fn is_choosing(&self) -> bool {
        self.wire.borrow().as_ptr() == Weak::new().as_ptr()
    }
}

/// Tell the request of this task that a connection is being opened for it.
pub(super) fn note_dialing() {
    let _ = PROBE.try_with(|probe| probe.dialed.set(true));
}

/// Tell the request of this task that its TCP connection stands.
pub(super) fn note_connected() {
    let _ = PROBE.try_with(|probe| probe.connected.set(true));
}

/// A TCP connection that keeps its [`Wire`] up to date.
#[derive(Debug)]
pub struct WireStream {
    tcp: Socket,
    wire: Rc<Wire>,
    /// Under TLS the bytes mean nothing here.
    plain: bool,
    interim: Interim,
}

impl WireStream {
    pub(super) fn new(tcp: Socket, plain: bool) -> Self {
        Self { tcp, wire: Rc::default(), plain, interim: Interim::default() }
    }

    /// Whether to pose as closed: a retired connection for good, an idle one to a request that avoids idle ones.
    fn poses_as_closed(&self) -> bool {
        self.wire.retired.get() || PROBE.try_with(|probe| probe.avoid_idle && probe.is_choosing()).unwrap_or(false)
    }

    fn claim(&mut self) {
        let begins = PROBE.try_with(|probe| probe.claim(&self.wire)).unwrap_or(false);
        if begins && self.plain {
            self.interim.expect();
        }
    }

    fn poll_tcp(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buf);
        let count = buf.filled().len().saturating_sub(before) as u64;
        self.wire.read.set(self.wire.read.get().saturating_add(count));
        polled
    }

    /// Read the beginning of a response without the interim heads before it.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(bytes) = self.interim.take(buf.remaining()) {
                buf.put_slice(&bytes);
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(self.poll_tcp(cx, buf))?;
            let new = buf.filled().get(before..).unwrap_or_default();
            if self.interim.is_passing() || self.interim.passes(new) {
                return Poll::Ready(Ok(()));
            }
            if new.is_empty() {
                // The end. What is held belongs to a head that was cut.
                self.interim.release();
                if let Some(bytes) = self.interim.take(buf.remaining()) {
                    buf.put_slice(&bytes);
                }
                return Poll::Ready(Ok(()));
            }
            let dropped = self.interim.hold(new);
            let _ = PROBE.try_with(|probe| probe.interim.set(probe.interim.get() + dropped));
            buf.set_filled(before);
        }
    }
}

impl AsyncRead for WireStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.poses_as_closed() {
            return Poll::Ready(Ok(()));
        }
        if this.interim.is_passing() { this.poll_tcp(cx, buf) } else { this.poll_head(cx, buf) }
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.claim();
        Pin::new(&mut this.tcp).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.claim();
        Pin::new(&mut this.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

impl ActixStream for WireStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.tcp, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.tcp, cx)
    }
}
