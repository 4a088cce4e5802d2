"""The seven provider formats, each in a file of its own, as their services speak and check them.

A format has: `read(body, headers, play)` -> Seen, or Refused as the real service would; `whole(answer, play)` -> the JSON of an
answer; `frames(answer, play)` -> (frames with content, frames that end it); `error(status, message, wait)` -> (headers, body);
`stream_error(message, play)` -> a frame; `CONTENT_TYPE` of its streams and `SILENT`, how many of their
frames come before any content.
"""
