"""Chat templates that nobody means well with: no way out of the sandbox, no endless work, no huge text."""

import pytest

from mlx_ollama.api.messages import Message
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.jinja_template import JinjaTemplate

LONG = Conversation(messages=[Message(role="user", content="x" * 2_000_000)])
SHORT = Conversation(messages=[Message(role="user", content="x")])
_NESTED = "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}"
_LIST = "{% set l = range(100000)|list %}{% for i in range(99999) %}"
ENDLESS = {
    "repeated text": "{{ ('a' * 3000000000)|length }}",
    "center": "{{ 'a'|center(3000000000) }}",
    "ljust": "{{ 'a'.ljust(3000000000) }}",
    "zfill": "{{ 'a'.zfill(3000000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(3000000000) }}",
    "format": "{{ '%3000000000d'|format(1) }}",
    "percent": "{{ '%3000000000d' % 1 }}",
    "str.format": "{{ '{:3000000000}'.format(1) }}",
    "a width from a value": "{{ '{:{}}'.format(1, 3000000000) }}",
    "batch": "{{ [1]|batch(3000000000, 1)|list|length }}",
    "indent": "{{ 'a\nb'|indent(3000000000) }}",
    "replace": "{{ ('a'*100000)|replace('a','b'*100000) }}",
    "str.replace": "{{ ('a'*100000).replace('a','b'*100000) }}",
    "str.join": "{{ ('a'*100000).join('b'*100000) }}",
    "join": "{{ (range(100000)|list)|join('b'*100000) }}",
    "json indent": "{{ {'a':[1,2]}|tojson(indent=1000000000) }}",
    "loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "recursive loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "doubled by ~": "{% set ns = namespace(x='aaaa') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "doubled by +": "{% set ns = namespace(x='aaaa') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "doubled list": "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "nested json": _NESTED + "{{ ns.x|tojson }}",
    "nested text": _NESTED + "{{ ns.x }}",
    "nested comparison": _NESTED + "{{ ns.x == ns.y }}",
    "nested test": _NESTED + "{{ ns.x is eq(ns.y) }}",
    "nested key": "{% set ns = namespace(x=(1,1)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "endless macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "power": "{{ 10 ** 100000000 }}",
    "squares": "{% set ns = namespace(x=10) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "lists": "{% for i in range(99999) %}{% set x = range(100000)|list %}{% endfor %}",
    "sums": "{% for i in range(99999) %}{% set x = range(100000)|sum %}{% endfor %}",
    "searches": "{% for i in range(99999) %}{{ 'z' in messages[0].content }}{% endfor %}",
    "counts": "{% for i in range(99999) %}{{ messages[0].content.count('z') }}{% endfor %}",
    "slices": _LIST + "{% set x = l[::-1] %}{% endfor %}",
    "sorts": _LIST + "{% set x = l|sort %}{% endfor %}",
    "filters": _LIST + "{% set x = l|map('string')|list %}{% endfor %}",
    "a long sum": "{{ " + "1+" * 200_000 + "1 }}",
    "parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "ifs": "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "fors": "{% for x in [1] %}" * 60 + "{% endfor %}" * 60,
    "a long number": "{{ " + "9" * 100_000 + " }}",
}  # fmt: skip
ESCAPES = (
    "{{ ''.__class__ }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ ''|attr('__class__') }}",
    "{{ '{0.__class__}'.format('') }}", "{{ ['']|map(attribute='__class__')|list }}", "{{ cycler.__init__.__globals__ }}",
    "{{ cycler }}", "{{ lipsum.__globals__['os'].popen('id').read() }}", "{{ self }}", "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}", "{% for x in [1] %}{{ loop }}{% endfor %}", "{{ namespace }}",
    "{% for x in [1] %}{{ loop._iterable }}{% endfor %}", "{{ namespace.__init__.__globals__ }}", "{{ range }}",
    "{{ raise_exception.__globals__ }}", "{{ raise_exception }}", "{% include '/etc/passwd' %}", "{{ dict }}",
    "{% import 'os' as os %}{{ os }}", "{% extends '/etc/passwd' %}", "{{ 'x'|attr('format') }}", "{{ [range] }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}", "{% macro f() %}{% endmacro %}{{ f }}", "{{ '%s' % range }}",
    "{% macro f() %}{% endmacro %}{{ f._func }}{{ f.__globals__ }}", "{{ strftime_now.__globals__ }}",
    "{{ [['a']]|groupby('__class__') }}", "{{ ['a']|sort(attribute='__class__') }}", "{% debug %}",
    "{{ ['a']|map('attr', '__class__')|list }}", "{% set x = [] %}{{ x.append(1) }}", "{{ [1]|map('string') }}",
)  # fmt: skip


@pytest.mark.timeout(8)
@pytest.mark.parametrize("name", ENDLESS)
def test_work_without_end_is_stopped(name: str) -> None:
    with pytest.raises(TemplateError) as caught:
        JinjaTemplate(ENDLESS[name]).render(LONG)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("source", ESCAPES)
def test_nothing_of_python_can_be_reached(source: str) -> None:
    try:
        text = JinjaTemplate(source).render(SHORT)
    except TemplateError as error:
        text = str(error)
    for word in ("<class", "<function", "object at 0x", "root:", "uid="):
        assert word not in text


def test_a_thousand_turns_that_each_look_at_all_others_are_fine() -> None:
    source = "{% for m in messages %}{{ (messages|selectattr('role', 'equalto', 'user')|list)|length }} {% endfor %}"
    turns = [Message(role="user", content="x") for _ in range(500)]
    assert JinjaTemplate(source).render(Conversation(messages=turns)) == "500 " * 500
