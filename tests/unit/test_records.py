from pathlib import Path

from blemish.records import Record, by_label


def test_records_of_a_label_keep_their_order_and_labels_are_sorted():
    names = ["stain", "crack", "good", "crack", "stain"]
    records = [Record(Path(f"{n}.png"), label) for n, label in enumerate(names)]
    found = by_label(iter(records))
    assert list(found.items()) == [
        ("crack", [records[1], records[3]]),
        ("good", [records[2]]),
        ("stain", [records[0], records[4]]),
    ]
    assert by_label([]) == {}
