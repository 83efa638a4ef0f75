"""Whatever is searched for, a process stays as large as it was after the first searches."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Sqlite

ROOT = Path(__file__).parents[2]

SEARCHES = """
import gc, random, sys
from pathlib import Path
from urllib.parse import urlencode
from db.engine import Database
from qido.parse.bounds import PATTERNS
from tests.qido.archive import SAMPLE, client, write

KEYS = ("PatientName", "PatientID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "StudyID")
RETURNED = ("PatientComments", "StudyDescription", "StudyID", "ModalitiesInStudy", "Manufacturer", "StationName")
chance = random.Random(1)

def word():
    return "".join(chance.choices("abcdefgh", k=3))

def search(number):
    wanted = {key: word() + "*" for key in chance.sample(KEYS, 2)} if number < 100 else {}
    wanted[chance.choice(KEYS)] = "\\\\".join(f"*{word()}*" for _ in range(number))
    if chance.random() < 0.2:
        wanted = {"StudyInstanceUID": ",".join(f"1.2.{chance.randrange(10**9)}" for _ in range(1000))}
    page = {"limit": chance.randrange(1, 100), "offset": chance.randrange(9)}
    returned = {"includefield": ",".join(chance.sample(RETURNED, chance.randrange(6)))}
    level = chance.choice(("patients", "studies", "series", "instances"))
    return f"/aetitle/{level}?" + urlencode({"multiplevaluematching": "true", **wanted, **page, **returned})

def size():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

write(sys.argv[1], SAMPLE)
searching = client(Database(sys.argv[1]))
for number in [*range(1, 8), PATTERNS.most] * 2:
    assert searching.get(search(number)).status_code == 200
before = size()
for _ in range(400):
    number = min(chance.choice((1, 2, 3, 4, 7, 20, 50, PATTERNS.most)), PATTERNS.most - 2)
    assert searching.get(search(number)).status_code == 200
print(size() - before)
"""


@pytest.mark.slow
def test_hundreds_of_searches_of_different_shapes_leave_a_process_as_it_was(sqlite: Sqlite) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEARCHES, sqlite.new_index()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(done.stderr[-2000:])
    assert int(done.stdout) < 64 * 2**20
