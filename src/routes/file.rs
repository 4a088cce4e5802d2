//! Files on their way in and out of management calls: whole, within a limit, and never in memory.

use std::io::SeekFrom;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_multipart::Multipart;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::Refusal;
use super::body::{encoded, is_encoded, late};

const PIECE: usize = 64 * 1024;

/// What a download is called, and what it is.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The name that is offered.
    pub name: &'a str,
    /// Its media type.
    pub kind: &'static str,
}

/// Send a file. It may be removed as soon as this returns.
///
/// # Errors
/// When it cannot be opened.
pub async fn send(path: &Path, named: Named<'_>) -> Result<HttpResponse, Refusal> {
    let file = File::open(path).await.map_err(|error| failed(&error))?;
    let size = file.metadata().await.map_err(|error| failed(&error))?.len();
    let disposition = format!("attachment; filename=\"{}\"", named.name);
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, named.kind)).insert_header((CONTENT_DISPOSITION, disposition));
    response.insert_header((CACHE_CONTROL, "no-store")).no_chunking(size);
    Ok(response.streaming(pieces(file)))
}

fn pieces(file: File) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::unfold(Some(file), |file| async {
        let mut file = file?;
        let mut piece = BytesMut::with_capacity(PIECE);
        match file.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.freeze()), Some(file))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// What is taken of an upload.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest file, in bytes.
    pub most: usize,
    /// The longest wait for its next piece: a large file may take its time, a sender who stands still may not.
    pub patience: Duration,
}

/// What a form has around the file in it, at most.
const AROUND: usize = 64 * 1024;

/// Keep the uploaded file at a path where nothing is yet: the field `file` of a form, or the whole body. Answers with
/// its name.
///
/// # Errors
/// What is wrong with the upload; nothing is left at the path then.
pub async fn receive(
    request: &HttpRequest,
    payload: web::Payload,
    to: &Path,
    limits: Limits,
) -> Result<String, Refusal> {
    let kept = match check(request, limits) {
        Ok(()) => keep(request, payload, to, limits).await,
        Err(refusal) => Err(refusal),
    };
    if kept.is_err() {
        let _ = tokio::fs::remove_file(to).await;
    }
    // The rest of an upload that was refused is not read: the connection cannot go on.
    kept.map_err(Refusal::closing)
}

/// What the head of an upload says before a byte of it is read.
fn check(request: &HttpRequest, limits: Limits) -> Result<(), Refusal> {
    if is_encoded(request.headers()) {
        return Err(encoded());
    }
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let fits = declared.is_none_or(|length| length <= limits.most.saturating_add(AROUND));
    if fits { Ok(()) } else { Err(too_large(limits)) }
}

async fn keep(request: &HttpRequest, payload: web::Payload, to: &Path, limits: Limits) -> Result<String, Refusal> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("multipart/form-data") {
        write(payload, to, limits).await?;
        let query = web::Query::<Raw>::from_query(request.query_string());
        return Ok(query.ok().and_then(|query| query.into_inner().filename).unwrap_or_default());
    }
    let mut form = Multipart::from_request(request, &mut payload.into_inner()).await.map_err(|_| broken())?;
    while let Some(field) = soon(limits, form.next()).await? {
        let field = field.map_err(|_| broken())?;
        if field.name() == Some("file") {
            let name = field.content_disposition().and_then(|said| said.get_filename()).unwrap_or_default().to_owned();
            write(field, to, limits).await?;
            return Ok(name);
        }
    }
    Err(Refusal::bad_request("The form has no field 'file'"))
}

#[derive(Debug, serde::Deserialize)]
struct Raw {
    filename: Option<String>,
}

async fn write<E>(
    mut content: impl Stream<Item = Result<Bytes, E>> + Unpin,
    to: &Path,
    limits: Limits,
) -> Result<(), Refusal> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = tokio::fs::OpenOptions::from(options).open(to).await.map_err(|error| failed(&error))?;
    let mut size = 0;
    while let Some(piece) = soon(limits, content.next()).await? {
        let piece = piece.map_err(|_| broken())?;
        size += piece.len();
        if size > limits.most {
            return Err(too_large(limits));
        }
        file.write_all(&piece).await.map_err(|error| failed(&error))?;
    }
    // What is written in the background would otherwise fail unheard.
    file.flush().await.map_err(|error| failed(&error))?;
    file.seek(SeekFrom::Start(0)).await.map(drop).map_err(|error| failed(&error))
}

/// What comes next, if it comes in time.
async fn soon<T>(limits: Limits, next: impl Future<Output = T>) -> Result<T, Refusal> {
    tokio::time::timeout(limits.patience, next).await.map_err(|_| late())
}

fn too_large(limits: Limits) -> Refusal {
    let message = format!("The file is larger than the {} bytes that are taken", limits.most);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
}

fn broken() -> Refusal {
    Refusal::bad_request("The upload could not be read")
}

fn failed(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "a file of the gateway's own cannot be read or written");
    Refusal::unavailable("The file cannot be read or written at the moment")
}

/// A file that is removed when this is dropped.
#[derive(Debug)]
pub struct Fleeting(pub PathBuf);

impl Drop for Fleeting {
    fn drop(&mut self) {
        // One system call on a path of our own; there is nobody left who could wait for it.
        let _ = std::fs::remove_file(&self.0);
    }
}
