use proptest::prelude::*;

use super::*;

const CAP: usize = 64;

/// The events of a stream fed in pieces, the remainder, and the largest tail held meanwhile.
fn read(pieces: &[&[u8]], cap: usize) -> (Vec<SseEvent>, Result<Remainder, SseError>, usize) {
    let mut scanner = SseScanner::new(cap);
    let mut events = Vec::new();
    let mut held = 0;
    for piece in pieces {
        scanner.push(Bytes::copy_from_slice(piece));
        loop {
            match scanner.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error), held),
            }
        }
        held = held.max(scanner.bytes.tail.len() + scanner.bytes.chunk.len());
    }
    let rest = scanner.finish();
    (events, rest, held)
}

fn data_of(stream: &str) -> Vec<String> {
    let (events, rest, _) = read(&[stream.as_bytes()], 4096);
    assert_eq!(rest, Ok(Remainder::Nothing), "{stream:?}");
    events.iter().map(|event| String::from_utf8_lossy(&event.data).into_owned()).collect()
}

#[rstest::rstest]
#[case::lf("data: a\n\ndata: b\n\n")]
#[case::crlf("data: a\r\n\r\ndata: b\r\n\r\n")]
#[case::cr_then_more("data: a\r\rdata: b\n\n")]
#[case::no_space("data:a\n\ndata:b\n\n")]
#[case::byte_order_mark("\u{feff}data: a\n\ndata: b\n\n")]
#[case::blank_lines("\n\r\n\ndata: a\n\n\n\n\ndata: b\n\n\n")]
#[case::comment_inside(": hi\ndata: a\nid: 7\nretry: 5\n\ndata: b\n\n")]
fn line_ends_marks_and_spaces_do_not_change_the_data(#[case] stream: &str) {
    assert_eq!(data_of(stream), ["a", "b"]);
}

#[test]
fn data_lines_are_joined_and_only_one_space_is_taken() {
    assert_eq!(data_of("data:  a\ndata\ndata: b\u{2028}c\n\n"), [" a\n\nb\u{2028}c"]);
}

#[rstest::rstest]
#[case("\n")]
#[case("\r\n")]
#[case("\r")]
fn the_lines_of_one_event_stay_together_in_its_exact_bytes(#[case] end: &str) {
    let stream = ["event: e", "data: a", "data: b", "", "data: c", "", ""].join(end);

    let (events, ..) = read(&[stream.as_bytes(), b": next"], CAP);

    let raw: Vec<&[u8]> = events.iter().map(|event| &event.raw[..]).collect();
    let (first, second) = stream.as_bytes().split_at(22 + 4 * end.len());
    assert_eq!(raw, [first, second]);
    assert_eq!((&events[0].data[..], events[0].event.as_deref()), (&b"a\nb"[..], Some(&b"e"[..])));
}

#[test]
fn a_field_whose_name_only_begins_like_data_is_no_data() {
    assert_eq!(data_of("database: x\ndata: y\n\n"), ["y"]);
}

#[test]
fn event_names_and_comments_are_told_apart() {
    let (events, ..) = read(&[b"event: error\ndata: {}\n\n: ping\n\nevent: ping\n\nid: 5\n\n"], CAP);

    let told: Vec<_> = events.iter().map(|e| (e.event.as_deref(), e.is_comment)).collect();
    assert_eq!(told, [(Some(&b"error"[..]), false), (None, true), (Some(&b"ping"[..]), false), (None, true)]);
}

#[test]
fn an_event_inside_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: first\n\ndata: second\n\n");
    let mut scanner = SseScanner::new(CAP);
    scanner.push(chunk.clone());

    let first = scanner.next_event().unwrap().unwrap();
    let second = scanner.next_event().unwrap().unwrap();

    assert_eq!(first.raw.as_ptr(), chunk.as_ptr());
    assert_eq!(second.raw.as_ptr(), chunk[13..].as_ptr());
    assert_eq!(second.data.as_ptr(), chunk[19..].as_ptr());
}

#[test]
fn a_missing_last_blank_line_is_supplied() {
    let (_, rest, _) = read(&[b"data: [DONE]\n"], CAP);

    let Ok(Remainder::Event(event)) = rest else { panic!("{rest:?}") };
    assert_eq!((&event.raw[..], &event.data[..]), (&b"data: [DONE]\n\n"[..], &b"[DONE]"[..]));
}

#[rstest::rstest]
#[case("data: x\r\n", "data: x\r\n\r\n")]
#[case("data: x\r", "data: x\r\r")]
fn the_supplied_blank_line_is_of_the_stream_s_own_kind(#[case] stream: &str, #[case] expected: &str) {
    let (_, rest, _) = read(&[stream.as_bytes()], CAP);

    assert!(matches!(rest, Ok(Remainder::Event(event)) if event.raw == expected && event.data == "x"));
}

#[test]
fn an_event_that_stops_inside_a_line_is_reported_as_cut() {
    let (_, rest, _) = read(&[b"data: {\"a\":"], CAP);

    let Ok(Remainder::Cut(event)) = rest else { panic!("{rest:?}") };
    assert_eq!((&event.raw[..], &event.data[..]), (&b"data: {\"a\":\n\n"[..], &b"{\"a\":"[..]));
}

#[test]
fn a_closing_bare_cr_is_taken_at_the_end() {
    let (events, rest, _) = read(&[b"data: a\r\r"], CAP);

    assert!(events.is_empty());
    assert!(matches!(rest, Ok(Remainder::Event(event)) if &event.raw[..] == b"data: a\r\r"));
}

#[test]
fn half_a_byte_order_mark_is_not_lost() {
    let (_, rest, _) = read(&[b"\xEF", b"\xBB"], CAP);

    assert!(matches!(rest, Ok(Remainder::Cut(event)) if event.raw.starts_with(b"\xEF\xBB")));
}

#[test]
fn an_endless_line_and_an_endless_event_are_refused_and_freed() {
    let line = [b'x'; CAP + 1];
    let many_lines = "data: x\n".repeat(CAP);

    for stream in [&line[..], many_lines.as_bytes()] {
        let mut scanner = SseScanner::new(CAP);
        scanner.push(Bytes::copy_from_slice(stream));

        assert_eq!(scanner.next_event(), Err(SseError::EventTooLarge(CAP)));
        assert_eq!(scanner.next_event(), Err(SseError::EventTooLarge(CAP)));
        assert_eq!(scanner.finish(), Err(SseError::EventTooLarge(CAP)));
        assert_eq!(scanner.bytes.tail.capacity() + scanner.bytes.chunk.len(), 0);
    }
}

#[test]
fn an_event_of_exactly_the_cap_passes() {
    let stream = format!("data: {}\n\n", "x".repeat(CAP - 8));

    let (events, rest, _) = read(&[stream.as_bytes()], CAP);

    assert_eq!((events.len(), rest), (1, Ok(Remainder::Nothing)));
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"data: ".to_vec()),
        Just(b"data:".to_vec()),
        Just(b"event: e".to_vec()),
        Just(b": c".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(BOM.to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_cutting_gives_the_same_events_in_bounded_memory(
        bytes in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        cap in 4usize..80,
    ) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();

        let whole = read(&[&bytes], cap);
        let cut = read(&pieces, cap);
        let bytewise = read(&single, cap);

        prop_assert_eq!((&whole.0, &whole.1), (&cut.0, &cut.1));
        prop_assert_eq!((&whole.0, &whole.1), (&bytewise.0, &bytewise.1));
        prop_assert!(cut.2 <= cap.max(2));
    }

    #[test]
    fn no_byte_of_a_message_is_lost(bytes in stream()) {
        let (events, rest, _) = read(&[&bytes], usize::MAX);
        let blank = |byte: &u8| !matches!(byte, b'\r' | b'\n');
        let content = |all: &[u8]| all.iter().copied().filter(blank).collect::<Vec<u8>>();

        let mut seen: Vec<u8> = events.iter().flat_map(|event| content(&event.raw)).collect();
        if let Ok(Remainder::Event(event) | Remainder::Cut(event)) = rest {
            seen.extend(content(&event.raw));
        }

        prop_assert_eq!(seen, content(bytes.strip_prefix(BOM).unwrap_or(&bytes)));
    }
}
