"""What people say they have noticed leads to the kind of bug that a person would look for."""

import pytest

from memory_demo.reviewer.symptoms import kinds_in

RACE, SQL, SHARED = "race-condition", "sql-injection", "shared-mutable-state"

# Written down before the table of stems, and not chosen by what it knows.
PARAPHRASES = [
    ("totals are too low", RACE),
    ("The sum comes out different every time we run it", RACE),
    ("Some records go missing when many workers run", RACE),
    ("We lose about one update in a thousand under load", RACE),
    ("This test is flaky on CI", RACE),
    ("The counter ends up below the number of requests served", RACE),
    ("Two customers were given the same seat", RACE),
    ("The same invoice was sent twice", RACE),
    ("Figures don't add up when the job runs in parallel", RACE),
    ("Occasionally a page is not stored", RACE),
    ("The dashboard shows fewer orders than there are in the shop", RACE),
    ("Results vary from run to run", RACE),
    ("It works with one thread and breaks with eight", RACE),
    ("Is this thread-safe?", RACE),
    ("Under load one voucher sometimes pays for two orders", RACE),
    ("A voucher was paid out to both of them", RACE),
    ("A customer named O'Brien cannot be found and the page crashes", SQL),
    ("Searching for a phrase with an apostrophe gives a syntax error", SQL),
    ("One search returned rows of other customers", SQL),
    ("Somebody typed a quote into the form and saw everyone's orders", SQL),
    ('near "s": syntax error in the log, from sqlite', SQL),
    ("A tester managed to drop the table from the search box", SQL),
    ("Can user input end up in the query text?", SQL),
    ("Users can see accounts that are not theirs", SQL),
    ("An attacker could change the WHERE clause", SQL),
    ("A new cache already holds entries of another cache", SHARED),
    ("Calling it a second time gives back results of the first call", SHARED),
    ("Roles granted to one user show up for everybody", SHARED),
    ("Tests pass alone but fail together", SHARED),
    ("Every instance seems to share one list", SHARED),
    ("An empty basket starts with yesterday's items", SHARED),
    ("Settings of one tenant leak into another", SHARED),
    ("The list keeps growing between calls", SHARED),
]

NO_SYMPTOMS = [
    "Please review this.",
    "Review this file for bugs and give line numbers.",
    "Does this module follow our conventions? Check error handling.",
    "It is too slow.",
    "Please tidy up the naming.",
    "The docstrings are out of date.",
    "Users want a dark mode.",
    "Explain what this class is for.",
    "Two files are missing. Here are the results.",
    "Look at the new module of the other team.",
]


@pytest.mark.parametrize(("words", "kind"), PARAPHRASES)
def test_a_symptom_leads_to_its_kind_of_bug_and_at_most_one_other(words, kind):
    found = kinds_in(words)
    assert kind in found and len(found) <= 2


@pytest.mark.parametrize("words", NO_SYMPTOMS)
def test_a_request_without_a_symptom_leads_nowhere(words):
    assert kinds_in(words) == {}


def test_the_words_that_led_there_are_quoted():
    assert kinds_in("Hello. Totals are too low, as far as we see.") == {RACE: "Totals low"}
    assert kinds_in("There must be a data race.") == {RACE: "race"}
