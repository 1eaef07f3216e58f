//! One Jupyter message: its routing identities, four JSON parts and binary buffers, to and from ZeroMQ frames.

use bytes::Bytes;
use serde::Serialize;

use crate::{Header, Signer, WireError};

/// Bounds on what is accepted from outside.
pub mod limits {
    /// Routing identities (or the iopub topic) before the delimiter.
    pub const IDENTS: usize = 16;
    /// Binary buffers after the content.
    pub const BUFFERS: usize = 1024;
    /// Bytes of a header or parent header.
    pub const HEADER: usize = 64 * 1024;
    /// Bytes of one whole message, all parts together.
    pub const MESSAGE: usize = 255 * 1024 * 1024;
}

const DELIMITER: &[u8] = b"<IDS|MSG>";
const EMPTY: Bytes = Bytes::from_static(b"{}");

/// A message as it travels. JSON parts are the bytes that came or were first written; they are never re-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Routing identities of a ROUTER socket, or the topic on iopub.
    pub idents: Vec<Bytes>,
    /// JSON object, see [`Header`].
    pub header: Bytes,
    /// JSON object: the header of the request that this answers, or `{}`.
    pub parent_header: Bytes,
    /// JSON object.
    pub metadata: Bytes,
    /// JSON object, its shape given by the header's `msg_type`.
    pub content: Bytes,
    /// Raw binary attachments.
    pub buffers: Vec<Bytes>,
}

impl Message {
    /// A new message without identities, metadata or buffers. The parent's header is taken over as its bytes stand.
    ///
    /// # Errors
    /// When the content does not serialise to JSON.
    pub fn new<C: Serialize + ?Sized>(
        header: &Header,
        parent: Option<&Message>,
        content: &C,
    ) -> Result<Message, WireError> {
        let content =
            serde_json::to_vec(content).map_err(|source| WireError::Json { part: "content", source })?;
        Ok(Message::from_parts(header.to_bytes(), parent, content.into()))
    }

    /// As [`Message::new`], from parts that are JSON already.
    #[must_use]
    pub fn from_parts(header: Bytes, parent: Option<&Message>, content: Bytes) -> Message {
        Message {
            idents: Vec::new(),
            header,
            parent_header: parent.map_or(EMPTY, |parent| parent.header.clone()),
            metadata: EMPTY,
            content,
            buffers: Vec::new(),
        }
    }

    /// A reply to `request`: as [`Message::new`] with it as the parent, addressed to whoever sent it.
    ///
    /// # Errors
    /// When the content does not serialise to JSON.
    pub fn reply<C: Serialize + ?Sized>(
        header: &Header,
        request: &Message,
        content: &C,
    ) -> Result<Message, WireError> {
        Ok(Message { idents: request.idents.clone(), ..Message::new(header, Some(request), content)? })
    }

    /// The typed view of the header.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn header(&self) -> Result<Header, WireError> {
        Header::parse(&self.header)
    }

    /// The typed view of the parent header; `None` when the message answers nothing (`{}`, or unreadable).
    #[must_use]
    pub fn parent(&self) -> Option<Header> {
        Header::parse(&self.parent_header).ok().filter(|parent| !parent.msg_id.is_empty())
    }

    /// The content as a type.
    ///
    /// # Errors
    /// When it is not JSON of that shape.
    pub fn content<'a, C: serde::Deserialize<'a>>(&'a self) -> Result<C, WireError> {
        serde_json::from_slice(&self.content).map_err(|source| WireError::Json { part: "content", source })
    }

    /// Bytes of all parts together.
    #[must_use]
    pub fn size(&self) -> usize {
        let lists = self.idents.iter().chain(&self.buffers).map(Bytes::len).sum::<usize>();
        lists + self.json_parts().iter().map(|part| part.len()).sum::<usize>()
    }

    /// The parts for a ZeroMQ socket: identities, delimiter, signature, four JSON parts, buffers.
    #[must_use]
    pub fn to_zmq(&self, signer: &Signer) -> Vec<Bytes> {
        let mut parts = Vec::with_capacity(self.idents.len() + 6 + self.buffers.len());
        parts.extend_from_slice(&self.idents);
        parts.push(Bytes::from_static(DELIMITER));
        parts.push(signer.sign(self.json_parts()));
        parts.extend([&self.header, &self.parent_header, &self.metadata, &self.content].map(Bytes::clone));
        parts.extend_from_slice(&self.buffers);
        parts
    }

    /// Reads the parts of one multipart ZeroMQ message and checks bounds and signature.
    ///
    /// # Errors
    /// When a part is missing, a bound is passed, or the signature is wrong.
    pub fn from_zmq(parts: Vec<Bytes>, signer: &Signer) -> Result<Message, WireError> {
        let size = parts.iter().map(Bytes::len).sum();
        within("bytes", size, limits::MESSAGE)?;
        let Some(at) = parts.iter().take(limits::IDENTS + 1).position(|part| part == DELIMITER) else {
            return Err(WireError::NoDelimiter { looked_at: parts.len().min(limits::IDENTS + 1) });
        };
        within("buffers", parts.len().saturating_sub(at + 6), limits::BUFFERS)?;
        let mut parts = parts.into_iter();
        let idents = parts.by_ref().take(at).collect();
        parts.next();
        let mut next = |missing| parts.next().ok_or(WireError::Truncated { missing });
        let signature = next("signature")?;
        let (header, parent_header) = (next("header")?, next("parent header")?);
        let (metadata, content) = (next("metadata")?, next("content")?);
        let message = Message { idents, header, parent_header, metadata, content, buffers: parts.collect() };
        if !signer.check(&signature, message.json_parts()) {
            return Err(WireError::BadSignature);
        }
        message.check_headers()?;
        Ok(message)
    }

    /// Refuses headers that are larger than any real one.
    pub(crate) fn check_headers(&self) -> Result<(), WireError> {
        within("bytes of header", self.header.len(), limits::HEADER)?;
        within("bytes of parent header", self.parent_header.len(), limits::HEADER)
    }

    fn json_parts(&self) -> [&[u8]; 4] {
        [&self.header, &self.parent_header, &self.metadata, &self.content]
    }
}

pub(crate) fn within(what: &'static str, got: usize, limit: usize) -> Result<(), WireError> {
    if got > limit { Err(WireError::TooLarge { what, got, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn request() -> Message {
        let header = Header::new("m1", "execute_request", "s", "ada", UNIX_EPOCH);
        let mut message = Message::new(&header, None, &serde_json::json!({"code": "1"})).unwrap();
        message.idents = vec![Bytes::from_static(b"who")];
        message.buffers = vec![Bytes::from_static(b"\x00\xff")];
        message
    }

    #[test]
    fn a_reply_goes_back_to_the_asker_with_its_header_untouched() {
        let request = request();
        let header = Header::new("m2", "execute_reply", "k", "kernel", UNIX_EPOCH);
        let reply = Message::reply(&header, &request, &serde_json::json!({"status": "ok"})).unwrap();
        assert_eq!(reply.idents, request.idents);
        assert_eq!(reply.parent_header, request.header);
        assert_eq!(reply.parent().unwrap().msg_id, "m1");
        assert_eq!(request.parent(), None);
        assert_eq!(reply.content::<serde_json::Value>().unwrap()["status"], "ok");
    }

    #[test]
    fn refuses_what_is_not_a_message() {
        let signer = Signer::new("k");
        let good = request().to_zmq(&signer);
        let refused = |parts: &[Bytes]| Message::from_zmq(parts.to_vec(), &signer).unwrap_err();
        assert!(matches!(refused(&[]), WireError::NoDelimiter { looked_at: 0 }));
        assert!(matches!(refused(&good[2..]), WireError::NoDelimiter { .. }));
        for (parts, part) in
            [(2, "signature"), (3, "header"), (4, "parent header"), (5, "metadata"), (6, "content")]
        {
            assert!(matches!(refused(&good[..parts]), WireError::Truncated { missing } if missing == part));
        }
        let mut forged = good.clone();
        forged[6] = Bytes::from_static(b"{\"code\": \"2\"}");
        assert!(matches!(refused(&forged), WireError::BadSignature));
        let mut many = good.clone();
        many.resize(good.len() + limits::BUFFERS, Bytes::new());
        assert!(matches!(refused(&many), WireError::TooLarge { what: "buffers", .. }));
        let wide = Message { header: vec![b' '; limits::HEADER + 1].into(), ..request() };
        assert!(matches!(refused(&wide.to_zmq(&signer)), WireError::TooLarge { .. }));
        let far = Message { idents: vec![Bytes::new(); limits::IDENTS + 1], ..request() };
        assert!(matches!(refused(&far.to_zmq(&signer)), WireError::NoDelimiter { looked_at: 17 }));
    }
}
