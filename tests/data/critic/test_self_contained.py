"""Questions that stand alone and questions that do not, in several languages; the sample questions all do."""

from pathlib import Path

import pytest

from data.critic.self_contained import outside_reference
from data.questions.question_files import read_questions

SAMPLES = Path(__file__).parents[3] / "data" / "samples"

POINTING = """
According to the passage above, when was the mill built?
According to the passage, who built the mill?
According to the text, how many goats are there?
According to this document, what is the fee?
According to the document, what is the fee?
Based on the article, who may enter?
What does the author say about goats?
What did the author mean?
Who is mentioned in the text?
In the text, who feeds the goats?
In this excerpt, who is the miller?
What is the main idea of the passage?
What is the topic of this section?
What does the passage say about tides?
What is described in the following paragraph?
Which of the following is a mill?
Which of these is true?
What are the aforementioned rules?
Which rules are mentioned above?
What does Table 2 show?
How does the given context explain tides?
What did he do?
Where was it built?
Why did they leave?
When was he elected by Nixon?
What year did she die?
And where did they go?
Did he win?
Is it open on Sundays?
What is this?
Why did this happen?
Who is his wife?
When did her mother die?
Where did this leader teach?
He was born in which year?
Laut dem Text, wann wurde die Mühle gebaut?
Was steht im Text über Ziegen?
Selon le texte, quand le moulin a-t-il été construit ?
D'après ce document, qui est le meunier ?
Según el texto, ¿cuándo se construyó el molino?
根据上文，磨坊是什么时候建成的？
文中谁喂山羊？
この文章によると、水車はいつ建てられましたか？
"""

STANDING = """
How does the document loader detect encodings?
What does the text encoder output?
Which rows in the text column are empty?
英文中最常用的字母是什么？
天文中心在哪里？
When was the tidal mill on Ousel built?
Who was the author of the Ninety-five Theses?
What did the author of The Time Machine study?
What is the text of the First Amendment about?
Which article of the treaty bans state aid?
What does Article 102 of the treaty forbid?
According to the document that Luther nailed to the door, what is a penance?
According to the article of faith, who is saved?
According to the Report on Tides, how high is a spring tide?
Which section of the railway opened first?
In which chapter of the Koran is Noah named?
How long does it take to grind a sack of corn?
Is it true that goats may not enter the mill?
Why is it important to oil the winch?
What does it mean when the red flag is up?
What is it called when the tide turns twice?
Who did Kublai Khan defeat and what did he found?
What did Tesla do when he left Edison?
Which team did Manning play for when he was young?
Which school has its origins in a guild?
What do they call the machine that makes flake ice in Brannoch?
How many of the goats of Ousel are white?
What is the context switch of an operating system?
How long is a line in the text editor Ed?
How much does the context switch of an operating system cost?
What are the contexts of a neural network's attention?
Who wrote the passage of arms?
Wie hoch ist der Mast des Senders?
Wer schrieb den Text der Nationalhymne?
¿Quién construyó el molino de marea?
Qui a construit le moulin à marée ?
磨坊是什么时候建成的？
水車はいつ建てられましたか？
متى بنيت الطاحونة؟
Когда была построена мельница?
"""


@pytest.mark.parametrize("question", POINTING.strip().splitlines())
def test_words_that_point_outside(question):
    assert outside_reference(question)


@pytest.mark.parametrize("question", STANDING.strip().splitlines())
def test_a_question_that_stands_alone(question):
    assert outside_reference(question) is None


def test_the_sample_questions_all_stand_alone():
    questions = [item.question for item in read_questions(SAMPLES / "questions.jsonl")]
    assert [question for question in questions if outside_reference(question)] == []
