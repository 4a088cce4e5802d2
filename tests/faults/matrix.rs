//! The fault matrix of an upstream, row by row: what breaks, what has to follow, which test shows it.
//!
//! FB: the next target answers, unseen, as long as no content was sent. BRK: counts as a failure of the provider. LED: the
//! usage ledger has a row with this outcome; it holds for every row and is checked with each of them.
//!
//! | # | fault | what follows | tests |
//! |---|---|---|---|
//! | 1 | refused | FB at once; BRK; alone: 502 | `faults/matrix/connection::a_refused_connection_costs_next_to_nothing_and_counts` |
//! | 2 | SYN into a black hole | connect timeout (3 s), not the total; FB; BRK | `faults/matrix/connection::a_black_hole_costs_the_connect_timeout_and_counts` `faults/deadlines::a_connection_that_cannot_be_made_is_given_up_at_its_own_limit` |
//! | 3 | accepts, never answers | first-content deadline; FB; BRK; 504. Without `stream` the answer's head comes with its end, so the total is the deadline | `faults/matrix/answers::silence_is_a_504_in_time_and_counts` `faults/deadlines::the_total_ends_a_whole_answer_that_does_not_come` |
//! | 4 | FIN before any byte | fresh connection: FB, BRK; pooled: once more at once, blames nobody | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `faults/matrix/connection::a_pooled_connection_that_dies_under_a_request_is_replaced_and_blames_nobody` `src/upstream/tests/faults::a_connection_closed_or_reset_before_any_byte_is_a_reset_that_may_have_been_accepted` |
//! | 5 | RST before any byte | as 4 | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `faults/matrix/connection::a_pooled_connection_that_dies_under_a_request_is_replaced_and_blames_nobody` |
//! | 6 | name not resolved, or slowly | an old address serves on for 5 min; else FB; BRK; no worker waits | `src/upstream/resolver::an_old_answer_serves_while_the_name_server_is_down` `src/upstream/resolver::an_unknown_name_is_a_dns_failure_and_not_a_refusal` `src/upstream/tests/faults::a_name_server_that_hangs_costs_the_connect_timeout_and_not_the_deadline` `faults/matrix/connection::a_name_that_nobody_knows_moves_on_and_counts` |
//! | 7 | a name that points inside | refused at connect, nothing sent, blames nobody; audit row | `src/upstream/tests/faults::a_name_that_resolves_to_this_machine_is_refused_and_nothing_is_sent` `src/upstream/policy/tests::a_public_name_that_resolves_inside_is_refused_at_connect` `src/upstream/resolver::private_addresses_are_filtered_and_alone_they_are_a_refusal` `src/infra/refused_addresses::a_name_that_points_inside_is_in_the_audit_log_once` |
//! | 8 | TLS: expired, wrong name, unknown authority, stalling handshake | FB; 502 `tls`; BRK; never without verification | `faults/matrix/tls::a_certificate_of_nobody_and_a_handshake_that_stalls_move_on_and_count` `src/upstream/tests/tls::a_wrong_name_an_unknown_authority_and_an_expired_certificate_are_tls_errors` `src/upstream/tests/tls::a_handshake_that_stalls_meets_its_own_timeout` |
//! | 9 | HTTP/2 GOAWAY, REFUSED_STREAM | cannot happen: HTTP/1.1 is all that is offered | `src/upstream/tests/tls::a_server_that_prefers_http_2_is_spoken_to_in_http_1_1` |
//! | 10 | a pooled connection died idle | invisible | `faults/failover::an_idle_connection_that_the_upstream_closed_is_no_failure` `src/upstream/tests/pool::a_pooled_connection_that_was_closed_while_idle_is_invisible` |
//! | 11 | head byte by byte | the deadline counts the whole head; 504 | `faults/matrix/answers::silence_is_a_504_in_time_and_counts` `src/upstream/tests/faults::a_head_that_drips_meets_the_same_deadline` |
//! | 12 | 5,000 headers, one of 1 MB | 502; the connection is dropped | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `faults/matrix/answers::an_upstream_with_a_bomb_for_a_head_is_hung_up_on` |
//! | 13 | storm of 1xx | bounded, then 502; none reaches the client | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `src/upstream/tests/faults::a_storm_of_1xx_is_an_error_at_once` |
//! | 14 | redirect | 502 `unexpected_redirect`; the credential goes nowhere | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `faults/broken_answers::a_redirect_is_not_followed_and_the_key_goes_nowhere` |
//! | 15 | Content-Length beyond the body | 502; FB; BRK; a stream that said `[DONE]` is whole all the same | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `faults/broken_answers::a_stream_that_said_done_is_whole_although_more_was_announced` |
//! | 16 | chunked, cut by FIN | before content: FB; after: error event; BRK | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `faults/matrix/answers::what_breaks_after_content_ends_in_an_error_event_and_counts` |
//! | 17 | RST after n chunks | as 16 | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `faults/matrix/answers::what_breaks_after_content_ends_in_an_error_event_and_counts` |
//! | 18 | clean end without its mark | as 16; providers that never send it are known by a quirk | `faults/matrix/answers::what_breaks_after_content_ends_in_an_error_event_and_counts` `src/wire/openai_chat_stream/tests::the_ending_follows_from_what_came` |
//! | 19 | empty 200, empty stream | FB; BRK; alone: 502 `empty_response` | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` |
//! | 20 | an error inside a 200 | by its code, as if it were the status; FB | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `faults/broken_answers::an_error_inside_a_good_status_counts_by_its_code` |
//! | 21 | an error event mid-stream | an error event, never `[DONE]`; BRK | `faults/matrix/answers::what_breaks_after_content_ends_in_an_error_event_and_counts` `faults/broken_answers::a_stream_that_broke_after_content_keeps_what_came_and_is_not_spliced` |
//! | 22 | a body that is no JSON | FB; 502 `not_json` | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` |
//! | 23 | an event that is no JSON | after content: error event, never skipped | `faults/matrix/answers::what_breaks_after_content_ends_in_an_error_event_and_counts` `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` |
//! | 24 | a login page with 200 | FB; BRK; 502 `not_json`; the connection is marked `needsAttention` until it answers as an API | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `faults/matrix/answers::a_web_page_calls_for_attention_until_an_api_answers` |
//! | 25 | text in pieces, odd line ends, no UTF-8 | pieces are joined; what is no text is an error or U+FFFD, no panic | `faults/broken_answers::odd_but_whole_answers_pass` `faults/matrix/answers::bytes_that_are_no_text_never_reach_a_client_as_they_are` |
//! | 26 | endless body, endless line | capped; memory stays | `faults/broken_answers::a_huge_answer_does_not_become_a_huge_process` `faults/matrix/answers::an_endless_line_does_not_become_a_huge_process` |
//! | 27 | gzip bomb | identity is asked for; anything else is refused unread | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` `src/upstream/tests/faults::a_compressed_answer_is_refused_with_its_status` |
//! | 28 | stall between tokens | idle deadline, error event; BRK | `faults/matrix/answers::a_stall_after_content_ends_in_an_error_event_and_counts` `faults/deadlines::a_stream_that_stalls_ends_with_an_error_event` |
//! | 29 | comments for ever | no content: as silence | `faults/matrix/answers::silence_is_a_504_in_time_and_counts` `faults/deadlines::comments_are_no_content_and_do_not_keep_a_stream_alive` |
//! | 30 | usage missing, negative, beyond all bounds, no number | estimated and marked, or clamped; never negative | `faults/matrix/limits::absurd_usage_is_clamped_or_estimated_and_the_answer_passes` `src/wire/usage::any_number_at_all_stays_within_bounds` |
//! | 31 | 429 with any hint | exactly that connection rests, 1 s to 1 h; no call before; FB | `faults/breaker::a_retry_after_is_obeyed_to_the_second_and_no_call_comes_before` `faults/breaker::a_hint_in_milliseconds_a_date_and_garbage_are_understood` `faults/matrix/limits::a_hint_of_nothing_rests_a_second_and_only_that_account` |
//! | 32 | 429 storm without a hint | the ladder climbs to 60 s, its growth jittered in full; amplification stays. Its first step is 3 s and not 1 s: that number is the public default of `baseCooldownMs`, and operators set it | `faults/matrix/limits::limits_without_a_hint_climb_the_ladder` `faults/amplification::limits_without_a_hint_are_not_amplified` |
//! | 33 | 401, 403 | that account rests, confirmed it is out; no BRK; our key is redacted | `faults/matrix/limits::a_refused_account_rests_and_is_no_failure_of_the_provider` `faults/breaker::a_refused_key_is_terminal_after_the_second_refusal_and_only_the_other_account_serves` `faults/broken_answers::an_upstream_that_echoes_our_key_does_not_tell_it_to_the_client` |
//! | 34 | 400, 413, 422; 404 | passed on once, nobody else is asked; a missing model is looked for elsewhere; no BRK | `faults/matrix/limits::what_the_client_got_wrong_is_said_once_and_a_missing_model_is_looked_for_elsewhere` `faults/breaker::what_is_the_clients_fault_never_cools_a_connection` |
//! | 35 | 500, 502, 503, 504, 529 | FB; BRK | `faults/matrix/answers::what_breaks_before_content_moves_on_unseen_and_counts` |
//! | 36 | flapping | open times grow and are kept; nearly all requests succeed elsewhere | `faults/matrix/patterns::a_provider_that_flaps_is_left_alone_for_longer_each_time` |
//! | 37 | ten times slower, all 200 | its share of the traffic falls before anything queues | `faults/matrix/patterns::an_account_that_became_slow_gets_little_of_the_traffic` |
//! | 38 | brown-out: 30 % 503 | the share in the window opens it, though no run ever would | `faults/breaker::a_brown_out_that_never_makes_a_run_opens_the_breaker_by_its_share` |

mod answers;
mod connection;
mod limits;
mod patterns;
mod tls;

use omniroute_testkit::http::{Request, Response};

use super::table;
use crate::common::{Site, chat, eventually};

#[test]
fn every_row_of_the_matrix_has_its_test() {
    let rows = table::rows(include_str!("matrix.rs"));

    let numbers: Vec<_> = rows.iter().map(|row| row.label.clone()).collect();
    assert_eq!(numbers, (1..=38).map(|n| n.to_string()).collect::<Vec<_>>());
    table::check(&rows);
}

/// What has to follow from a fault when nobody else is there.
struct Fate {
    status: u16,
    code: &'static str,
    outcome: &'static str,
    /// Whether it counts as a failure of the provider.
    counts: bool,
}

const fn broken(code: &'static str) -> Fate {
    Fate { status: 502, code, outcome: "broken_answer", counts: true }
}

/// A chat request that the ledger knows by this id.
fn named(model: &str, stream: bool, id: &str) -> Request {
    chat(model, stream).header("x-request-id", id)
}

/// How `a` and its connection look after a single failed request.
async fn assert_fate(site: &Site, answer: &Response, fate: &Fate, fault: &str, id: &str) {
    let code = answer.json()["error"]["code"].clone();
    assert_eq!((answer.status(), code.as_str()), (fate.status, Some(fate.code)), "{fault}: {}", answer.text());
    let record = site.record(id).await;
    assert_eq!(record.outcome, fate.outcome, "{fault}: {record:?}");
    assert!(!record.attempts.is_empty() && record.connection_id.is_none(), "{fault}: {record:?}");
    assert_blame(site, fate, fault).await;
}

/// What the connection was blamed for.
async fn assert_blame(site: &Site, fate: &Fate, fault: &str) {
    let failures = u64::from(fate.counts);
    let blamed = eventually(crate::common::PATIENCE, async || {
        let now = site.state_of_a().await;
        let heard = now["lastError"]["outcome"] == fate.outcome && now["counts"]["windowFailures"] == failures;
        heard.then_some(now)
    });
    if blamed.await.is_none() {
        panic!("{fault}: {}", site.state_of_a().await);
    }
}

/// Forget what the fault before did.
async fn forget(site: &Site) {
    site.a.control.reset();
    site.b.control.reset();
    site.admin.reset(&serde_json::json!({"scope": "all"})).await;
}
