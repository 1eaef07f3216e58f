"""What is a parameter and what is not, and where statements end."""

import pytest
from carrel.parameters import names, statements


@pytest.mark.parametrize(
    "query",
    [
        "SELECT ':a', \":a\", a::b -- :a\n, x[1:a], {'k':a} /* :a ; */, $$ :a; $$, $t$ ? $t$",
        "SELECT 'it''s :a'",
    ],
)
def test_signs_in_strings_comments_casts_and_slices_are_none(query):
    assert names(query) == set()
    (one,) = statements(query, {"a": 1})
    assert (one.text, one.values) == (query, [])


def test_a_name_that_comes_twice_is_one_value():
    (one,) = statements("SELECT :a, :b, :a", {"a": 1, "b": 2})
    assert (one.text, one.values) == ("SELECT $1, $2, $1", [1, 2])


def test_without_parameters_nothing_is_touched():
    assert [one.text for one in statements("SELECT ? ; SELECT :a")] == ["SELECT ? ", " SELECT :a"]


def test_statements_end_at_semicolons_and_empty_ones_are_none():
    cut = statements("SELECT ';' ; -- ;\n;;SELECT ?;", [1])
    assert [(one.text, one.values) for one in cut] == [("SELECT ';' ", []), ("SELECT $1", [1])]


def test_places_lead_back_to_the_whole_query():
    query = "SELECT 'é'; SELECT :first, :second, x"
    one = statements(query, {"first": 1, "second": 2})[1]
    original, sent = query.encode(), one.text.encode()
    for word, there in [(b"SELECT", b"SELECT :f"), (b"$1", b":first"), (b"$2", b":second"), (b"x", b"x")]:
        assert one.moved(sent.index(word)) == original.index(there, 11)
