"""Column names of motion logs in other languages, as English ones."""

from __future__ import annotations

import codecs
import re
import unicodedata

TERMS = {
    "acceleration without gravity": "重力除去加速度 重力を除いた加速度",
    "linear acceleration": (
        "lineare_beschleunigung linearbeschleunigung acceleration_lineaire aceleracion_lineal accelerazione_lineare "
        "aceleracao_linear lineaire_versnelling 線形加速度 線加速度 线性加速度 线加速度 선형_가속도 선형가속도 "
        "линейное_ускорение"
    ),
    "acceleration": (
        "beschleunigung beschleunigungen beschleunigungssensor beschleunigungsmesser beschl accelerometre "
        "accelerometres aceleracion aceleraciones acelerometro accelerazione accelerazioni accelerometro aceleracao "
        "versnelling versnellingsmeter przyspieszenie akcelerometr ivmeolcer ivme acceleratie "
        "加速度センサー 加速度センサ 加速度計 加速度计 加速度计数据 加速度 가속도계 가속도_센서 가속도센서 가속도 "
        "акселерометр ускорение"
    ),
    "angular velocity": (
        "winkelgeschwindigkeit winkelgeschwindigkeiten drehrate drehraten drehgeschwindigkeit vitesse_angulaire "
        "vitesse_de_rotation velocidad_angular velocidad_de_rotacion velocita_angolare velocidade_angular "
        "hoeksnelheid predkosc_katowa 角速度 각속도 угловая_скорость"
    ),
    "gyroscope": (
        "gyroskop kreisel giroscopio giroscopo giroscop zyroskop jiroskop gyroscoop "
        "ジャイロスコープ ジャイロセンサー ジャイロセンサ ジャイロ ｼﾞｬｲﾛ 陀螺仪 陀螺儀 자이로스코프 자이로_센서 "
        "자이로센서 자이로 гироскоп"
    ),
    "gravity": "gravitation schwerkraft gravite gravedad gravita gravidade zwaartekracht 重力 중력 гравитация",
    "timestamp": (
        "zeitstempel horodatage marca_de_tiempo marca_temporal carimbo_de_tempo tijdstempel タイムスタンプ 时间戳 "
        "時間戳 타임스탬프"
    ),
    "time": (
        "zeit uhrzeit temps temps_ecoule heure tiempo tiempo_transcurrido hora tempo tijd czas zaman "
        "経過時間 計測時間 時間 時刻 时间 시간 время"
    ),
    "x axis": "x軸 x轴 x축 ось_x",
    "y axis": "y軸 y轴 y축 ось_y",
    "z axis": "z軸 z轴 z축 ось_z",
}
"""English names, and what stands for them in German, French, Spanish, Italian, Portuguese, Dutch, Polish, Turkish,
Japanese, Chinese, Korean and Russian, without accents; ``_`` is a space, an underscore or nothing."""


ENCODINGS = ("cp932", "gb18030", "big5", "cp949", "cp1251")
"""What spreadsheets write in these countries where it is not UTF-8."""


def _pattern() -> tuple[re.Pattern[str], dict[str, str]]:
    """One expression for all terms, the longest first, and the English name of each."""
    english = {
        term.replace("_", ""): name for name, terms in TERMS.items() for term in terms.casefold().split()
    }
    terms = sorted(
        {term for terms in TERMS.values() for term in terms.casefold().split()}, key=len, reverse=True
    )
    parts = []
    for term in terms:
        spaced = re.escape(term).replace("_", "[ _-]?")
        is_latin = term.isascii()
        # a word ends at a capital too: AceleracionX
        parts.append(rf"(?<![A-Za-z])(?i:{spaced})(?![a-z])" if is_latin else f"(?i:{spaced})")
    return re.compile("|".join(parts)), english


_TERM, _ENGLISH = _pattern()


def encoding_of(sample: bytes) -> str | None:
    """The encoding of Japan, China, Korea or Russia in which ``sample`` has terms of motion logs; None if in none."""
    for encoding in ENCODINGS:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(sample)
        except UnicodeDecodeError:
            continue
        if any(not match.group().isascii() for match in _TERM.finditer(text)):
            return encoding
    return None


def in_english(name: str) -> str:
    """``name`` with the terms of other languages in English, accents and full-width letters made plain."""
    plain = "".join(map(_plain, name))
    return _TERM.sub(_replacement, plain)


def _replacement(match: re.Match[str]) -> str:
    term = re.sub(r"[ _-]", "", match.group()).casefold()
    return f" {_ENGLISH[term]} "


def _plain(character: str) -> str:
    """A letter without its accent, a full-width sign as ASCII; ``²`` and ``°`` stay."""
    if character.isascii():
        return character
    parts = unicodedata.decomposition(character).split()
    if parts[:1] == ["<wide>"]:
        return chr(int(parts[1], 16))
    if parts and not parts[0].startswith("<"):
        base = chr(int(parts[0], 16))
        return base if base.isascii() and base.isalpha() else character
    return character
