"""The official Python client against a running gateway.

usage: openai_python.py BASE_URL KEY checks | load SECONDS

Prints one JSON object per line. `run` prepares the models that are used here.
"""

import json
import sys
import threading
import time

import openai

BASE_URL, KEY = sys.argv[1:3]
HELLO = [{"role": "user", "content": "hello"}]
WEATHER = [{"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}]
TEXT = "tok0 tok1 tok2 tok3"


def client(**options):
    # The client's own retries would hide what the gateway did.
    return openai.OpenAI(**{"base_url": BASE_URL, "api_key": KEY, "max_retries": 0, "timeout": 20, **options})


def chat(model, messages=HELLO, at=None, **options):
    return (at or client()).chat.completions.create(model=model, messages=messages, **options)


def raised(kind, action):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def models_are_listed_and_found():
    ids = [model.id for model in client().models.list()]
    assert "team" in ids, ids
    assert client().models.retrieve("team").id == "team"


def an_answer_has_its_text_and_usage():
    answer = chat("good/mock-model")
    assert answer.choices[0].message.content == TEXT, answer
    assert answer.choices[0].finish_reason == "stop" and answer.usage.completion_tokens == 4, answer


def a_stream_has_the_same_text_and_ends():
    chunks = list(chat("good/mock-model", stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT, chunks
    assert chunks[-1].choices[0].finish_reason == "stop", chunks[-1]
    assert all(chunk.usage is None for chunk in chunks), "usage that nobody asked for"


def a_stream_reports_usage_when_asked():
    last = list(chat("good/mock-model", stream=True, stream_options={"include_usage": True}))[-1]
    assert last.choices == [] and last.usage.completion_tokens == 4, last


def a_tool_is_called():
    call = chat("tools/mock-model", tools=WEATHER).choices[0].message.tool_calls[0].function
    assert call.name == "get_weather" and json.loads(call.arguments) == {"city": "Bern"}, call


def a_tool_is_called_in_a_stream():
    deltas = [chunk.choices[0].delta for chunk in chat("tools/mock-model", tools=WEATHER, stream=True) if chunk.choices]
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert calls[0].function.name == "get_weather", calls
    assert json.loads("".join(call.function.arguments or "" for call in calls)) == {"city": "Bern"}, calls


def a_wrong_key_is_an_authentication_error():
    error = raised(openai.AuthenticationError, lambda: chat("good/mock-model", at=client(api_key="sk-wrong")))
    assert error.status_code == 401 and error.code, error


def an_unknown_model_is_not_found():
    error = raised(openai.NotFoundError, lambda: chat("good-but-unknown/model"))
    assert error.code == "model_not_found", error.body


def a_malformed_request_is_a_bad_request():
    raised(openai.BadRequestError, lambda: chat("good/mock-model", messages="no list"))


def a_bad_request_of_the_provider_stays_one():
    error = raised(openai.BadRequestError, lambda: chat("bad/mock-model"))
    assert error.request_id, "no x-request-id"


def a_rate_limit_tells_when_to_come_back():
    error = raised(openai.RateLimitError, lambda: chat("limited/mock-model"))
    wait = int(error.response.headers["retry-after"])
    assert 55 <= wait <= 61, wait


def a_broken_provider_is_a_server_error():
    error = raised(openai.InternalServerError, lambda: chat("broken/mock-model"))
    assert error.status_code in (502, 503), error


def a_silent_provider_is_a_timeout_of_the_gateway():
    # By the deadline of the whole answer, and by the one of the first content.
    for stream in (False, True):
        error = raised(openai.InternalServerError, lambda stream=stream: chat("silent/mock-model", stream=stream))
        assert error.status_code == 504, error


def a_timeout_of_the_client_is_raised():
    raised(openai.APITimeoutError, lambda: chat("patient/mock-model", at=client(timeout=0.4)))


def a_stream_that_is_cut_raises_after_its_content():
    seen = []
    error = raised(openai.APIError, lambda: seen.extend(chat("cut/mock-model", stream=True)))
    assert any(chunk.choices and chunk.choices[0].delta.content for chunk in seen), "no content before the error"
    assert not isinstance(error, openai.APIConnectionError), "the connection broke instead of an error event"


def made(model, at=None):
    """An answer from the background, once it is over."""
    answer = (at or client()).responses.create(model=model, input="hello", background=True)
    assert answer.status in ("queued", "in_progress") and answer.background, answer
    until = time.monotonic() + 10
    while answer.status in ("queued", "in_progress"):
        assert time.monotonic() < until, answer
        time.sleep(0.05)
        answer = client().responses.retrieve(answer.id)
    return answer


def an_answer_is_made_in_the_background():
    answer = made("patient/mock-model")
    assert answer.status == "completed" and answer.output_text and answer.usage.output_tokens > 0, answer
    following = client().responses.create(model="good/mock-model", input="and?", previous_response_id=answer.id)
    assert following.status == "completed", following
    assert client().responses.input_items.list(answer.id).data, "no input items"


def an_answer_in_the_background_can_be_cancelled():
    running = client().responses.create(model="silent/mock-model", input="hello", background=True)
    for _ in range(2):
        assert client().responses.cancel(running.id).status == "cancelled"
    assert client().responses.retrieve(running.id).status == "cancelled"
    client().responses.delete(running.id)
    raised(openai.NotFoundError, lambda: client().responses.retrieve(running.id))


def a_failure_in_the_background_is_told():
    answer = made("bad/mock-model")
    assert answer.status == "failed" and answer.error.message, answer
    raised(openai.BadRequestError, lambda: client().responses.cancel(answer.id))


CHECKS = [
    models_are_listed_and_found, an_answer_has_its_text_and_usage, a_stream_has_the_same_text_and_ends,
    a_stream_reports_usage_when_asked, a_tool_is_called, a_tool_is_called_in_a_stream,
    a_wrong_key_is_an_authentication_error, an_unknown_model_is_not_found, a_malformed_request_is_a_bad_request,
    a_bad_request_of_the_provider_stays_one, a_rate_limit_tells_when_to_come_back, a_broken_provider_is_a_server_error,
    a_silent_provider_is_a_timeout_of_the_gateway, a_timeout_of_the_client_is_raised,
    a_stream_that_is_cut_raises_after_its_content, an_answer_is_made_in_the_background,
    an_answer_in_the_background_can_be_cancelled, a_failure_in_the_background_is_told,
]


def checks():
    for check in CHECKS:
        try:
            check()
            report = {"ok": True}
        except Exception as error:  # whatever it is, it belongs into the table
            report = {"ok": False, "detail": f"{type(error).__name__}: {error}"[:400]}
        print(json.dumps({"check": check.__name__.replace("_", " "), **report}), flush=True)


class Load:
    """Callers that ask for `team` until the time is over; half of them for streams."""

    def __init__(self, seconds):
        self.until = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.counts = {"answered": 0, "streamed": 0, "cutWithError": 0, "failed": 0, "silentlyCut": 0}
        self.failures = []

    def count(self, name, failure=None):
        with self.lock:
            self.counts[name] += 1
            if failure is not None and len(self.failures) < 5:
                self.failures.append(f"{type(failure).__name__}: {failure}"[:300])

    def whole(self, at):
        try:
            answer = chat("team", at=at)
            self.count("answered" if answer.choices[0].finish_reason == "stop" else "silentlyCut")
        except openai.OpenAIError as error:
            self.count("failed", error)

    def stream(self, at):
        content, finished = False, False
        try:
            for chunk in chat("team", at=at, stream=True):
                for choice in chunk.choices:
                    content = content or bool(choice.delta.content)
                    finished = finished or choice.finish_reason == "stop"
            self.count("streamed" if finished else "silentlyCut")
        except openai.OpenAIError as error:
            # Only an error event is a proper end: a connection that just breaks is none.
            proper = content and not isinstance(error, openai.APIConnectionError)
            self.count(*(("cutWithError",) if proper else ("failed", error)))

    def caller(self, ask):
        at = client()
        while time.monotonic() < self.until:
            ask(at)

    def run(self):
        callers = [threading.Thread(target=self.caller, args=(ask,)) for ask in [self.whole, self.stream] * 3]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        print(json.dumps({"load": self.counts, "failures": self.failures}), flush=True)


if sys.argv[3] == "checks":
    checks()
else:
    Load(float(sys.argv[4])).run()
