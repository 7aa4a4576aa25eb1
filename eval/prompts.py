"""The fixed questions of the sample answers: ours, never a member's, for consent to train on a text is no consent to print it."""

from __future__ import annotations

__all__ = ["PROMPTS"]

PROMPTS: dict[str, tuple[str, ...]] = {
    "ara": ("ما هي الشمس؟", "ما هو الماء؟"),
    "ben": ("সূর্য কী?", "পানি কী?"),
    "cat": ("Què és el sol?", "Què és l'aigua?"),
    "ces": ("Co je Slunce?", "Co je voda?"),
    "dan": ("Hvad er solen?", "Hvad er vand?"),
    "deu": ("Was ist die Sonne?", "Was ist Wasser?"),
    "ell": ("Τι είναι ο ήλιος;", "Τι είναι το νερό;"),
    "eng": ("What is the sun?", "What is water?"),
    "est": ("Mis on päike?", "Mis on vesi?"),
    "fas": ("خورشید چیست؟", "آب چیست؟"),
    "fin": ("Mikä on aurinko?", "Mitä vesi on?"),
    "fra": ("Qu'est-ce que le soleil ?", "Qu'est-ce que l'eau ?"),
    "heb": ("מהי השמש?", "מהם מים?"),
    "hin": ("सूर्य क्या है?", "पानी क्या है?"),
    "hun": ("Mi a Nap?", "Mi a víz?"),
    "ind": ("Apa itu matahari?", "Apa itu air?"),
    "ita": ("Che cos'è il sole?", "Che cos'è l'acqua?"),
    "jpn": ("太陽とは何ですか?", "水とは何ですか?"),
    "kor": ("태양은 무엇인가요?", "물은 무엇인가요?"),
    "mal": ("സൂര്യൻ എന്താണ്?", "വെള്ളം എന്താണ്?"),
    "mar": ("सूर्य म्हणजे काय?", "पाणी म्हणजे काय?"),
    "nep": ("सूर्य के हो?", "पानी के हो?"),
    "nld": ("Wat is de zon?", "Wat is water?"),
    "ori": ("ସୂର୍ଯ୍ୟ କ'ଣ?", "ପାଣି କ'ଣ?"),
    "pol": ("Czym jest słońce?", "Czym jest woda?"),
    "por": ("O que é o sol?", "O que é a água?"),
    "ron": ("Ce este soarele?", "Ce este apa?"),
    "rus": ("Что такое солнце?", "Что такое вода?"),
    "spa": ("¿Qué es el sol?", "¿Qué es el agua?"),
    "swa": ("Jua ni nini?", "Maji ni nini?"),
    "swe": ("Vad är solen?", "Vad är vatten?"),
    "tam": ("சூரியன் என்றால் என்ன?", "நீர் என்றால் என்ன?"),
    "tel": ("సూర్యుడు అంటే ఏమిటి?", "నీరు అంటే ఏమిటి?"),
    "tha": ("ดวงอาทิตย์คืออะไร", "น้ำคืออะไร"),
    "tur": ("Güneş nedir?", "Su nedir?"),
    "ukr": ("Що таке сонце?", "Що таке вода?"),
    "urd": ("سورج کیا ہے؟", "پانی کیا ہے؟"),
    "vie": ("Mặt trời là gì?", "Nước là gì?"),
    "yor": ("Kí ni oòrùn?", "Kí ni omi?"),
    "zho": ("太阳是什么?", "水是什么?"),
}
"""ISO 639-3 code -> neutral questions, the same in every language: "What is the sun?", "What is water?"."""
