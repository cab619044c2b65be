"""New ids are random UUIDs of version 4, no two alike, in a forked process neither."""

import os
from uuid import RFC_4122, UUID

import msgspec

from app.log.ids import DRAWN_IDS, new_id


def test_new_ids_are_random_uuids_as_the_standard_has_them() -> None:
    ids = [new_id() for _ in range(4 * DRAWN_IDS)]
    assert {(id.version, id.variant) for id in ids} == {(4, RFC_4122)}
    assert len(set(ids)) == len(ids)
    assert all(isinstance(id, UUID) and UUID(str(id)) == id and hash(UUID(str(id))) == hash(id) for id in ids)
    ever = always = ids[0].int
    for id in ids:
        ever, always = ever | id.int, always & id.int
    # The version is 0100, the variant begins with 10: two bits are always set, four never, all others drawn.
    assert (always.bit_count(), ever.bit_count()) == (2, 128 - 4)


def test_a_new_id_goes_through_json_and_back() -> None:
    found = new_id()
    assert msgspec.json.decode(msgspec.json.encode(found), type=UUID) == found
    assert msgspec.convert(found, UUID) == found


def test_a_forked_process_does_not_hand_out_the_same_ids() -> None:
    new_id()  # so that some are drawn already
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id().bytes)
        os._exit(0)
    os.waitpid(child, 0)
    theirs = UUID(bytes=os.read(reading, 16))
    os.close(reading)
    os.close(writing)
    assert theirs not in {new_id() for _ in range(2 * DRAWN_IDS)}
