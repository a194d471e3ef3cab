"""A camera in the network: MJPEG over HTTP, frames that carry their number, and a plug that can be pulled."""

import contextlib
import socket
import threading
import time

import numpy as np

from edgessd._cv2 import cv2

BITS, SIDE = 16, 20


def numbered(number, size=(320, 240)):
    """A grey picture with its number as a row of black and white squares, and a line that moves."""
    image = np.full((size[1], size[0], 3), 110, np.uint8)
    for bit in range(BITS):
        image[:SIDE, bit * SIDE : (bit + 1) * SIDE] = 255 if number >> bit & 1 else 0
    image[60:, number % size[0]] = (0, 200, 255)
    return image


def number_of(image):
    """The number in a picture of `numbered`."""
    centres = image[SIDE // 2, SIDE // 2 : BITS * SIDE : SIDE].mean(-1)
    return sum(1 << bit for bit, value in enumerate(centres) if value > 127)


class MjpegServer:
    """Serves frames 0, 1, 2, ... at `fps` to whoever connects; `sent[n]` is the perf_counter when n was due."""

    def __init__(self, fps=30.0, port=0, size=(320, 240)):
        self.fps, self.size = fps, size
        self.sent = {}
        self.number = 0
        self.connections = 0
        self.port = port
        self._clients = []
        self._listener = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/stream"

    def start(self):
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(8)
        self.port = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept, args=(self._listener, self._stop), daemon=True)]
        self._threads.append(threading.Thread(target=self._send, args=(self._stop,), daemon=True))
        for thread in self._threads:
            thread.start()

    def _accept(self, listener, stop):
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.recv(4096)
                client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
                client.settimeout(2)
                self.connections += 1
                self._clients.append(client)

    def _send(self, stop):
        due = time.perf_counter()
        while not stop.is_set():
            data = cv2.imencode(".jpg", numbered(self.number % (1 << BITS), self.size))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            due = max(due + 1 / self.fps, time.perf_counter() - 0.5)
            stop.wait(max(0.0, due - time.perf_counter()))
            self.sent[self.number] = time.perf_counter()
            self.sent.pop(self.number - 3000, None)
            for client in list(self._clients):
                try:
                    client.sendall(head + data + b"\r\n")
                except OSError:
                    with contextlib.suppress(ValueError):
                        self._clients.remove(client)
                    client.close()
            self.number += 1

    def kill(self):
        """Pull the plug: no listener, all connections cut."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        self._clients.clear()
        for thread in self._threads:
            thread.join(3)
