"""Pictures, videos and files: everything that comes in and goes out. numpy and OpenCV only."""
