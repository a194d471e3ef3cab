"""The camera in a browser: live picture, plots, controls, JSON, Prometheus, and the browser's own camera.

    WebOutput (an output of the camera) --> Hub (one JPEG for all viewers) --> routes (Starlette) <-- Guard (token)

`server` runs uvicorn in a thread; `static/index.html` is the whole page. Extra: `edgessd[web]`.
"""
