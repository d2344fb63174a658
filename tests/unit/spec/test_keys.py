import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undo.spec.keys import content_key, derive_seed

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abé", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abé", max_size=2), inner, max_size=3),
    max_leaves=4,
)


def test_a_key_is_the_same_forever():
    """A change here would throw away every artifact that users keep."""
    assert content_key({"b": [1, 2.5, None], "a": "x"}) == "ce74053d7a99"


@given(json_values)
def test_a_key_is_twelve_hexadecimal_digits(content):
    assert re.fullmatch(r"[0-9a-f]{12}", content_key(content))


@given(st.dictionaries(st.text("abc", max_size=3), json_values, max_size=4))
def test_the_order_of_keys_does_not_matter(content):
    assert content_key(dict(reversed(content.items()))) == content_key(content)


@pytest.mark.parametrize(
    "other", [{"a": 2, "b": [1, 2]}, {"a": 1, "b": [2, 1]}, {"a": 1}, {"a": "1", "b": [1, 2]}, {"a": 1, "c": [1, 2]}]
)
def test_every_change_of_content_changes_the_key(other):
    assert content_key(other) != content_key({"a": 1, "b": [1, 2]})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_have_no_key(value):
    with pytest.raises(ValueError):
        content_key([value])


def test_a_seed_is_the_same_forever():
    assert derive_seed(1, "attack", "forget") == 6865517886445906063


@given(st.lists(st.tuples(st.integers(), st.text("ab", max_size=4)), min_size=2, max_size=6, unique=True))
def test_every_use_has_a_seed_of_its_own(uses):
    seeds = [derive_seed(*use) for use in uses]
    assert len(set(seeds)) == len(uses)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_parts_are_not_run_together():
    assert (
        len({derive_seed(1, 23), derive_seed(12, 3), derive_seed("1", 23), derive_seed(123), derive_seed([1, 23])}) == 5
    )


def test_keys_and_seeds_do_not_depend_on_the_process():
    code = "from undo.spec.keys import *; print(content_key({'b': 1, 'a': 2}), derive_seed(1, 'x'))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [content_key({"b": 1, "a": 2}), str(derive_seed(1, "x"))]
