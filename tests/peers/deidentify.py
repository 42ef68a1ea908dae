"""De-identifies DICOM files with engines that others wrote, for `cargo xtask bench deidentify`.

  prepare FILE COUNT TO      copies of a file that differ in what names them (SOP Instance UID, Instance Number)
  run ENGINE FROM TO WORKERS the files of a folder, from file to file; prints how many a second

The workers are processes. What each needs to begin is not counted. Orthanc has its files before the clock starts, as it would from a
scanner, and gets WORKERS requests at a time.
"""

import base64
import json
import multiprocessing
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

ORTHANC_START_S = 30
ORTHANC_USER = "bench"
ORTHANC_PASSWORD = "bench"


def prepare(source, count, to):
    import pydicom

    to = pathlib.Path(to)
    to.mkdir(parents=True, exist_ok=True)
    dataset = pydicom.dcmread(source)
    for number in range(int(count)):
        uid = f"2.25.{10**30 + number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.InstanceNumber = number
        dataset.save_as(to / f"{number:06}.dcm")


def kitware(_):
    """Kitware's dicom-anonymizer as it is by default."""
    from dicomanonymizer import anonymize_dicom_file

    return lambda source, target: anonymize_dicom_file(str(source), str(target))


def dicognito(_):
    import pydicom
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer()

    def one(source, target):
        dataset = pydicom.dcmread(source)
        anonymizer.anonymize(dataset)
        dataset.save_as(target)

    return one


def dcmanon(_):
    from dcmanon import Anonymizer

    anonymizer = Anonymizer()

    def one(source, target):
        target.write_bytes(anonymizer.anonymize(str(source)))

    return one


class Http:
    """HTTP/1.1 on one connection, as much of it as Orthanc's answers need: it gives the length of each body."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = b""
        credentials = base64.b64encode(f"{ORTHANC_USER}:{ORTHANC_PASSWORD}".encode()).decode()
        self.head = f"Host: 127.0.0.1\r\nAuthorization: Basic {credentials}\r\n"

    def more(self):
        octets = self.socket.recv(1 << 18)
        if not octets:
            raise ConnectionError("Orthanc closed the connection")
        return octets

    def post(self, path, body):
        head = f"POST {path} HTTP/1.1\r\n{self.head}Content-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        octets = self.left
        while b"\r\n\r\n" not in octets:
            octets += self.more()
        head, octets = octets.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        parts, have, length = [octets], len(octets), int(fields["content-length"])
        while have < length:
            parts.append(self.more())
            have += len(parts[-1])
        whole = b"".join(parts)
        self.left = whole[length:]
        if " 200 " not in lines[0]:
            raise RuntimeError(f"Orthanc answered {path} with {lines[0]}")
        return whole[:length]


class Orthanc:
    """A server of its own, on ports of its own, with a folder of its own."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="orthanc-", dir=os.environ.get("TMPDIR"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        configuration = pathlib.Path(self.folder.name) / "configuration.json"
        configuration.write_text(
            json.dumps(
                {
                    "StorageDirectory": f"{self.folder.name}/storage",
                    "IndexDirectory": f"{self.folder.name}/storage",
                    "HttpPort": self.port,
                    "DicomServerEnabled": False,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": True,
                    "RegisteredUsers": {ORTHANC_USER: ORTHANC_PASSWORD},
                    "KeepAlive": True,
                    "TcpNoDelay": True,
                    "Plugins": [],
                }
            )
        )
        self.process = subprocess.Popen(
            ["Orthanc", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + ORTHANC_START_S
        while True:
            try:
                return Http(self.port), self
            except ConnectionError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("Orthanc does not start") from None
                time.sleep(0.1)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def orthanc(server):
    port, ids = server
    http = Http(port)

    def one(source, target):
        target.write_bytes(http.post(f"/instances/{ids[source.name]}/anonymize", b"{}"))

    return one


ENGINES = {"kitware": kitware, "dicognito": dicognito, "dcmanon": dcmanon, "orthanc": orthanc}


def work(engine, server, files, to, ready, start):
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    one = ENGINES[engine](server)
    # What is loaded late is loaded now.
    one(files[0], to / files[0].name)
    ready.release()
    start.wait()
    for source in files:
        one(source, to / source.name)


def timed(engine, server, files, to, workers):
    ready, start = multiprocessing.Semaphore(0), multiprocessing.Event()
    to.mkdir(parents=True, exist_ok=True)
    processes = [
        multiprocessing.Process(target=work, args=(engine, server, files[number::workers], to, ready, start))
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    began = time.monotonic()
    start.set()
    for process in processes:
        process.join()
    took = time.monotonic() - began
    if any(process.exitcode != 0 for process in processes):
        sys.exit(f"{engine} failed")
    return len(files) / took


def run(engine, source, to, workers):
    files, to, workers = sorted(pathlib.Path(source).iterdir()), pathlib.Path(to), int(workers)
    if engine != "orthanc":
        print(f"{timed(engine, None, files, to, workers):.0f}")
        return
    with Orthanc() as (http, server):
        ids = {file.name: json.loads(http.post("/instances", file.read_bytes()))["ID"] for file in files}
        print(f"{timed(engine, (server.port, ids), files, to, workers):.0f}")


if __name__ == "__main__":
    {"prepare": prepare, "run": run}[sys.argv[1]](*sys.argv[2:])
