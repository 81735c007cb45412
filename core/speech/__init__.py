"""Speech requests and the jobs that they become.

`requests` has the payloads of splitter and synthesizer, `checks` what a request may ask for. `inference` and `batches`
are the services for speech in the background, made of the jobs in `inference_jobs`; `result_uploads` sends results.
"""
