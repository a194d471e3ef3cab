"""Detection on a camera, a video or a stream.

    sources --> Capture (a thread) --> run_camera: detect, draw --> outputs (file, window), Recorder

`sources` opens what the user names, `capture` reads it in a thread of its own, `loop` detects and
draws, `outputs` show and keep the result, `recorder` counts and times; `app` is the command.
"""
