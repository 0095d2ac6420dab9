"""A live run: questions to the API that the stand-in has an answer to, and conversations recorded and replayed.

`python -m memory_demo.live` does all of it. `probes` are the questions, `recordings` what is kept of an exchange,
`transports` record and replay below the SDK, `budget` ends a run before it costs too much.
"""
