//! The first words of a connection: the only part of the relayed bytes that is looked at.
//!
//! Under TLS a server offers SCRAM with channel binding, and a client that believes it has no TLS takes that offer
//! for an attack and leaves. The offer is therefore struck from the list. The binding would have tied the password
//! exchange to the certificate; here the certificate is checked by ourselves.

use std::io::Error;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MAX_MESSAGE: usize = 16 * 1024;
const AUTHENTICATION: u8 = b'R';
const NEGOTIATE_VERSION: u8 = b'v';
const SASL: [u8; 4] = [0, 0, 0, 10];
const CHANNEL_BOUND: &[u8] = b"SCRAM-SHA-256-PLUS";

/// Relay the client's start-up packet and the server's messages up to its first word on authentication.
pub(super) async fn relay_opening<C, S>(client: &mut C, server: &mut S) -> std::io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (length, startup) = read_counted(client).await?;
    server.write_all(&[length.as_slice(), &startup].concat()).await?;
    server.flush().await?;
    loop {
        let kind = server.read_u8().await?;
        let (length, body) = read_counted(server).await?;
        let message = match body.strip_prefix(&SASL) {
            Some(mechanisms) if kind == AUTHENTICATION => sasl_offer(mechanisms),
            _ => [&[kind], length.as_slice(), &body].concat(),
        };
        client.write_all(&message).await?;
        if kind != NEGOTIATE_VERSION {
            return Ok(());
        }
    }
}

/// A length that counts itself, and what follows it.
pub(super) async fn read_counted(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<([u8; 4], Vec<u8>)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let size = usize::try_from(u32::from_be_bytes(length)).ok().and_then(|size| size.checked_sub(length.len()));
    let size =
        size.filter(|size| *size <= MAX_MESSAGE).ok_or_else(|| Error::other("a message of impossible length"))?;
    let mut body = vec![0; size];
    stream.read_exact(&mut body).await?;
    Ok((length, body))
}

/// The same offer without the mechanism libpq cannot use here.
fn sasl_offer(mechanisms: &[u8]) -> Vec<u8> {
    let names = mechanisms.split_inclusive(|byte| *byte == 0);
    let kept: Vec<u8> =
        names.filter(|name| name.strip_suffix(&[0]) != Some(CHANNEL_BOUND)).flatten().copied().collect();
    let length = u32::try_from(kept.len() + 8).unwrap_or(u32::MAX).to_be_bytes();
    [[AUTHENTICATION].as_slice(), &length, &SASL, &kept].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTUP: &[u8] = &[0, 0, 0, 9, 0, 3, 0, 0, 0];

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [[kind].as_slice(), &length, body].concat()
    }

    /// What the client and the server get to see when the server says `said`.
    async fn relayed(said: &[u8]) -> (std::io::Result<()>, Vec<u8>, Vec<u8>) {
        let (mut client, mut client_side) = tokio::io::duplex(64 * 1024);
        let (mut server_side, mut server) = tokio::io::duplex(64 * 1024);
        client.write_all(STARTUP).await.unwrap();
        server.write_all(said).await.unwrap();
        server.shutdown().await.unwrap();

        let result = relay_opening(&mut client_side, &mut server_side).await;
        drop((client_side, server_side));
        let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
        client.read_to_end(&mut to_client).await.unwrap();
        server.read_to_end(&mut to_server).await.unwrap();
        (result, to_client, to_server)
    }

    #[tokio::test]
    async fn only_channel_binding_is_struck_from_the_offer() {
        let offer = [&SASL[..], b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0OAUTHBEARER\0\0"].concat();

        let (result, to_client, to_server) = relayed(&message(b'R', &offer)).await;

        let struck = [&SASL[..], b"SCRAM-SHA-256\0OAUTHBEARER\0\0"].concat();
        assert!(result.is_ok());
        assert_eq!((to_client, to_server), (message(b'R', &struck), STARTUP.to_vec()));
    }

    #[tokio::test]
    async fn other_openings_pass_unchanged() {
        let version = message(b'v', &[0, 3, 0, 0, 0, 0, 0, 0]);
        for said in
            [message(b'R', &[0, 0, 0, 0]), message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]), message(b'E', b"SFATAL\0\0")]
        {
            for said in [said.clone(), [version.clone(), said].concat()] {
                let (result, to_client, _) = relayed(&said).await;
                assert!(result.is_ok());
                assert_eq!(to_client, said);
            }
        }
    }

    #[tokio::test]
    async fn impossible_lengths_and_cut_messages_are_refused() {
        for said in [&[b'R', 0, 0, 0, 3][..], &[b'R', 0x7f, 0, 0, 0], &[b'R', 0, 0, 0, 9, 1], &[]] {
            let (result, to_client, _) = relayed(said).await;
            assert!(result.is_err());
            assert!(to_client.is_empty());
        }
    }
}
