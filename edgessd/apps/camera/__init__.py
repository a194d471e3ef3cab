"""Detection on a camera, a video or a stream.

    sources (reconnect) --> Capture (thread) --> Pipeline: detect, track, count (thread) --> run_camera: draw (main)
        --> outputs: window, video, logs, events, clips, web view, Home Assistant (threads with short queues)

`settings` are the options of the command (`edgessd.cli.camera`), `session` puts everything together. `engine` holds
the detector that can be changed while it runs, `control` takes the wishes of keys and web view, `view` draws,
`recorder` counts and times. `mqtt` is the connection to a broker, `presence` says which classes
are there, `home_assistant` words it.
"""
