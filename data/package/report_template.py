"""The report page's template (jinja2). A module and no file of its own, so that the cache's key covers it."""

from data.report.page_style import STYLE

TEMPLATE = (
    """{% macro marked(pieces) %}
{% for text, quoted in pieces %}
{% if quoted %}<mark>{{ text }}</mark>{% else %}{{ text }}{% endif %}
{% endfor %}
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>RAFT dataset</title>
<style>
"""
    + STYLE
    + """</style>
</head>
<body>
<h1>RAFT dataset</h1>
<p class="quiet">Questions over contexts of documents, with answers that quote them (arXiv 2403.10131).</p>
<div class="tiles">
{% for name, number in report.totals.items() %}
<div class="tile"><b>{{ "{:,}".format(number) }}</b><span>{{ name }}</span></div>
{% endfor %}
</div>

<h2>What became of the questions</h2>
<div class="wide"><table>
<tr><th>step</th><th class="n">came</th><th>removed, and why</th><th class="n">left</th></tr>
{% for step in report.filters %}
<tr><td>{{ step.name }}</td><td class="n">{{ "{:,}".format(step.came) }}</td>
<td>{% for reason, number in step.removed.items() if number %}{{ reason }}: {{ "{:,}".format(number) }}<br>
{% else %}none{% endfor %}</td><td class="n">{{ "{:,}".format(step.left) }}</td></tr>
{% endfor %}
</table></div>

<h2>Leaks from what is held out</h2>
{% for part in report.leaks %}
<h3>{{ part.part }}</h3>
<p>{% if part.leaks %}<span class="bad">{{ part.leaks | length }} leak{{ "s" if part.leaks | length > 1 }}</span>
{% else %}<span class="good">No leak</span>
{% endif %} among {% for what, number in part.compared.items() %}{{ "{:,}".format(number) }} {{ what }}
{{- ", " if not loop.last else "." }} {% endfor %}</p>
<div class="wide"><table>
<tr><th>kind</th><th class="n">leaks</th><th>counted from</th><th class="n">highest left</th></tr>
<tr><td>oracle of a held-out question</td><td class="n">{{ part.found.oracle }}</td><td>shown at all</td>
<td></td></tr>
<tr><td>other chunk of a held-out document</td><td class="n">{{ part.found.document }}</td><td>shown at all</td>
<td></td></tr>
<tr><td>chunk that nearly repeats one of these</td><td class="n">{{ part.found.chunk }}</td>
<td>cosine {{ part.limits.chunk_cosine }}, or {{ part.limits.chunk_words }} of the runs of words</td>
<td class="n">{{ part.highest.chunk_cosine }}</td></tr>
<tr><td>question that nearly repeats a held-out one</td><td class="n">{{ part.found.question }}</td>
<td>cosine {{ part.limits.question_cosine }}</td><td class="n">{{ part.highest.question_cosine }}</td></tr>
</table></div>
<p class="quiet">{{ part.kept_out | length }} chunks were kept out because they nearly repeat held-out ones.</p>
{% endfor %}

<h2>Contexts that hold their oracles</h2>
{{ charts.oracles }}

<h2>How long the examples are</h2>
{{ charts.prompts }}
{{ charts.answers }}

<h2>How near distractors come to oracles</h2>
<p class="quiet">Hard distractors lie where the oracles lie; those that would answer the question were kept out.</p>
{{ charts.cosines }}

{% if report.retriever %}
<h2>The retriever</h2>
<div class="wide"><table>
{% for row in report.retriever %}
{% set tag = "th" if loop.first else "td" %}
<tr>{% for cell in row %}<{{ tag }}{{ ' class=n' if not loop.first }}>{{ cell }}</{{ tag }}>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endif %}

<h2>Examples to read</h2>
<p class="quiet">Green: the chunk that proves the answer. Marked: what the answer quotes.</p>
{% for example in report.examples %}
<details{% if loop.first %} open{% endif %}>
<summary>{{ example.question }} <span class="tag">{{ "oracle shown" if example.oracle_shown else example.source if
example.source != "documents" else "oracle not shown" }}</span></summary>
{% for chunk in example.chunks %}
<div class="chunk{{ " oracle" if chunk.oracle }}"><b>[{{ loop.index }}] {{ chunk.title }}
{#- #} <span class="tag">{{ chunk.path }}</span></b>{{ marked(chunk.pieces) }}</div>
{% endfor %}
<div class="output">{{ marked(example.output) }}</div>
<p class="quiet">{{ example.id }}</p>
</details>
{% endfor %}

<h2>Counts and settings</h2>
{% for part, numbers in report.counts.items() %}
<details><summary>{{ part }}</summary><div class="wide"><table>
{% for name, number in numbers.items() %}
<tr><td>{{ name }}</td><td class="n">{{ "{:,}".format(number) }}</td></tr>
{% endfor %}
</table></div></details>
{% endfor %}
<details><summary>settings</summary><div class="wide"><table>
{% for name, value in report.settings.items() %}
<tr><td>{{ name }}</td><td class="n">{{ value }}</td></tr>
{% endfor %}
</table></div></details>
</body>
</html>
"""
)
