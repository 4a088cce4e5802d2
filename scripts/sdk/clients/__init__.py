"""The official Python clients, each in a file of its own, behind one small interface.

A client has `name`, `format`, `without(scenario)` (why it cannot say this, or None), `begin(scenario, model)` -> a request,
`ask(request, stream, seen)` (fills the record `seen` as the answer arrives), `follow(request, seen, results)` (adds what was
answered, as the SDK gave it, and the results of the calls) and `failure(error)` -> what its exception says.
"""
