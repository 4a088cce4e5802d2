//! What the chat codec promises.
