import datetime

import pytest

from meshtwin.models.chat import ChatTemplate
from meshtwin.models.errors import TokenizerError

USER = {"role": "user", "content": "hi"}


def template(source: str) -> ChatTemplate:
    return ChatTemplate(
        source, "a/tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>"}
    )


def test_messages_tokens_and_further_variables_reach_the_template() -> None:
    source = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}{{ mood }}"
    assert template(source).render([USER, USER], mood="!") == "<s>hihi!"


def test_the_system_prompt_of_smollm2_comes_only_where_there_is_none() -> None:
    source = (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ 'SYSTEM\n' }}{% endif %}{{ message['content'] + '\n' }}{% endfor %}"
    )
    assert template(source).render([USER]) == "SYSTEM\nhi\n"
    assert template(source).render([{"role": "system", "content": "be brief"}, USER]) == (
        "be brief\nhi\n"
    )


def test_blocks_are_trimmed_as_transformers_trims_them() -> None:
    assert (
        template("{% if true %}\n  {% if true %}\nx\n{% endif %}\n{% endif %}").render([]) == "x\n"
    )


def test_tojson_leaves_text_as_it_is() -> None:
    assert template("{{ messages | tojson }}").render([{"role": "é<"}]) == '[{"role": "é<"}]'
    assert template("{{ {'a': 1} | tojson(indent=1) }}").render([]) == '{\n "a": 1\n}'


def test_today_is_at_hand() -> None:
    assert template("{{ strftime_now('%Y') }}").render([]) == str(datetime.datetime.now().year)


def test_loops_can_be_left() -> None:
    assert template("{% for m in messages %}{% break %}{% endfor %}x").render([USER]) == "x"


def test_a_template_can_refuse_a_conversation() -> None:
    with pytest.raises(TokenizerError, match="roles must alternate"):
        template("{{ raise_exception('roles must alternate') }}").render([USER])


@pytest.mark.parametrize("message", [{"content": "hi"}, {"role": 3}, "hi", None])
def test_a_message_without_a_role_is_named(message: object) -> None:
    with pytest.raises(TokenizerError, match=r"message 1 .* has no role"):
        template("x").render([USER, message])  # type: ignore[list-item]


def test_a_message_without_its_content_is_the_template_s_error() -> None:
    with pytest.raises(TokenizerError, match="the chat template failed"):
        template("{{ messages[0]['content'] + 'x' }}").render([{"role": "user"}])


def test_a_template_that_is_none_is_refused() -> None:
    with pytest.raises(TokenizerError, match="does not compile"):
        template("{% if %}")


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
    ],
)
def test_a_template_does_not_get_out_of_its_sandbox(source: str) -> None:
    with pytest.raises(TokenizerError, match="the chat template failed"):
        template(source).render([USER])
