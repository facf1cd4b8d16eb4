"""Whether a language has spaces between words, and where its texts are cut."""

from dataclasses import replace

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from prune_env.inversion import writing
from prune_env.inversion.frames import Frame, with_comma
from prune_env.inversion.phrases import candidates
from prune_env.inversion.writing import SPACED, beginnings, writing_of
from prune_env.models import LoadedModel
from tests.inversion.support import data
from tests.models.tiny import tiny_classifier

CHINESE = "这部电影真的很好看。"


def written(*texts: str, loaded: LoadedModel | None = None) -> bool:
    """Return whether such texts count as written with spaces."""
    rows = [(text, label) for text in texts for label in (0, 1)]
    return writing_of(data(*rows), loaded or tiny_classifier("bert")).spaced


@pytest.mark.parametrize(
    "text",
    [
        "很好",
        CHINESE,
        "这部电影真的很好看 我还想再看一次。",
        "用iPhone看的电影。",
        "とても良い映画でした。",
        "カメラがいい",
        "หนังดีมาก",
        "หนังเรื่องนี้ดีมาก แต่ยาวเกินไป",
        "ຮູບເງົາດີ",
        "ខ្សែភាពយន្តល្អ",
        "ရုပ်ရှင်ကောင်းတယ်",
    ],
)
def test_short_texts_of_a_script_without_spaces_are_known_by_it(text: str) -> None:
    assert not written(text)


@pytest.mark.parametrize(
    "text",
    [
        "a warm film .",
        "ok",
        "फिल्म बहुत अच्छी है।",
        "아주 좋은 영화였다.",
        "фильм хороший",
        "فيلم جيد جدا",
        "这 部 电影 真 的 很 好看 。",  # whose words were put apart
        "the film 好 is a film .",
    ],
)
def test_what_has_spaces_is_cut_at_them(text: str) -> None:
    assert written(text)


@pytest.fixture(scope="module")
def of_bytes() -> LoadedModel:
    """A model whose tokenizer makes three tokens of a Chinese letter."""
    alphabet = {letter: row for row, letter in enumerate(sorted(ByteLevel.alphabet()))}
    backend = Tokenizer(BPE(alphabet, []))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return replace(
        tiny_classifier("bert"), tokenizer=PreTrainedTokenizerFast(tokenizer_object=backend)
    )


def test_phrases_of_short_comments_are_found(of_bytes: LoadedModel) -> None:
    rows = [(f"{word}这部电影", label) for label, word in enumerate("坏好")] * 20
    train = data(*rows)
    writing = writing_of(train, of_bytes)
    assert writing.split(CHINESE) == list(CHINESE)
    found = {str(frame) for frame in candidates(train, writing=writing)}
    assert {"这 ...", "... 电 影"} <= found
    assert not any("好" in frame or "坏" in frame for frame in found)


def test_the_beginning_of_a_text_without_spaces_is_as_it_is_written(of_bytes: LoadedModel) -> None:
    text = "电影很好看 我喜欢。好"
    writing = writing_of(data((text, 0), (text, 1)), of_bytes)
    assert writing.beginning(text, 9) == "电影很好看 我喜欢。"
    assert writing.beginning(text, 7) == "电影很好看 我喜"
    assert SPACED.beginning("यह  अच्छा है। यह", 3) == "यह अच्छा है।"


def test_words_are_set_off_by_the_comma_that_the_texts_have() -> None:
    loaded = tiny_classifier("bert")
    arabic = writing_of(data(("فيلم جميل، دافئ.", 1), ("فيلم سيئ، بارد.", 0)), loaded)
    (frame,) = with_comma([Frame("في الواقع")], arabic.comma)
    assert frame("فيلم جميل.") == "في الواقع، فيلم جميل."
    hindi = writing_of(data(("यह, अच्छा है।", 1), ("यह बुरा है।", 0)), loaded)
    (frame,) = with_comma([Frame("सच में")], hindi.comma)
    assert frame("यह अच्छा है।") == "सच में, यह अच्छा है।"


@pytest.mark.parametrize("max_length", [16, 32, 64, 128])
@pytest.mark.parametrize("word", ["film", "\u6f22", "\u6f22\u5b57\u6f22"])  # 1, 3, 9 tokens
def test_what_is_put_behind_a_beginning_is_read(
    of_bytes: LoadedModel, word: str, max_length: int
) -> None:
    loaded = of_bytes if word != "film" else tiny_classifier("bert")
    loaded.tokenizer.model_max_length = 512
    (short,) = beginnings([f"{word} " * 200], SPACED, loaded, most=64, max_length=max_length)
    assert 1 <= len(short.split()) <= 64
    end = loaded.tokenizer("it", add_special_tokens=False)["input_ids"]
    row = loaded.tokenizer(f"{short} it", truncation=True, max_length=max_length)["input_ids"]
    assert end[0] in row


def test_short_texts_are_left_alone() -> None:
    texts = ["a film", "good " * 40]
    assert beginnings(texts, SPACED, tiny_classifier("bert"), most=64, max_length=128) == texts


def test_a_tokenizer_meets_texts_without_spaces_in_a_child_first(
    of_bytes: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(writing, "try_texts", lambda _, texts: tried.extend(texts))
    text = "电影The End很长。我喜欢这部电影。"
    writing_of(data((text, 0), (text, 1)), of_bytes)
    assert {text, text.lower()} <= set(tried)
