"""The report page's template and style (jinja2). A module and no file of its own, so that the cache's key covers it."""

TEMPLATE = """{% macro marked(pieces) %}
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
:root { color-scheme: light dark; --page: #ffffff; --text: #1c2127; --quiet: #5c6670; --line: #dde1e6; --soft: #f4f6f8;
  --s0: #2f6fb7; --s1: #d9782d; --s2: #3d9a6b; --oracle: #e8f2e9; --mark: #ffe79a; --bad: #b3261e; --good: #2e7d46; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181d; --text: #e4e8ec; --quiet: #98a3ae; --line: #2f3740; --soft: #1c2229; --s0: #6ea8e6;
    --s1: #f0a163; --s2: #6cc497; --oracle: #1b3325; --mark: #6b5600; --bad: #f2867c; --good: #7fcf98; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 54rem; padding: 1.2rem 1rem 3rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; } p { margin: .4rem 0; } .quiet { color: var(--quiet); font-size: .9rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; }
.tile { flex: 1 1 7.5rem; background: var(--soft); border-radius: .5rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: .85rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; } th { white-space: nowrap; } td:first-child { min-width: 8rem; }
svg { width: 100%; max-width: 36rem; height: auto; display: block; margin: .4rem 0; }
svg text { fill: currentColor; font-size: 14px; }
svg text.small { font-size: 13px; fill: var(--quiet); } .axis { stroke: var(--line); } .track { fill: var(--line); }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); }
details { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .8rem; margin: .6rem 0; }
summary { cursor: pointer; } .chunk { border-left: 3px solid var(--line); margin: .5rem 0; padding: .2rem .7rem;
  white-space: pre-wrap; font-size: .9rem; } .chunk.oracle { border-color: var(--good); background: var(--oracle); }
.chunk b { display: block; } mark { background: var(--mark); color: inherit; }
.output { background: var(--soft); padding: .5rem .7rem; border-radius: .4rem; white-space: pre-wrap; }
.tag { font-size: .75rem; border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; color: var(--quiet);
  white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
</style>
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
