"""The template of a run's page (jinja2). A module and no file of its own, like that of the dataset's page."""

from data.report.page_style import STYLE

# Beyond what the dataset's page has: plots that grow with the page, answers side by side, a table of contents.
_MORE = """
:root { --s3: #8a5cc2; --s4: #b0862b; --s5: #6b7680; --proof: #b9d7f5; }
@media (prefers-color-scheme: dark) {
  :root { --s3: #b794e6; --s4: #d8b45a; --s5: #a0abb6; --proof: #1f4468; } }
body { max-width: 62rem; } h2 { scroll-margin-top: 1rem; } h4 { font-size: .85rem; margin: 0 0 .3rem; }
a { color: var(--s0); } code, pre { font: .85rem/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .6rem .8rem; border-radius: .4rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .2rem .9rem; font-size: .9rem; margin: .8rem 0; }
.headline { font-size: 1.1rem; } .tile { flex: 1 1 8.5rem; } .tile b { font-size: 1.25rem; }
.pairs { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; }
figure { margin: .8rem 0; min-width: 0; } figcaption { font-weight: 600; }
figure p { margin: .1rem 0; } figure p.x { text-align: center; }
.c0 { --c: var(--s0); } .c1 { --c: var(--s1); } .c2 { --c: var(--s2); } .c3 { --c: var(--s3); }
.c4 { --c: var(--s4); } .c5 { --c: var(--s5); }
svg { max-width: none; margin: 0; } circle { fill: var(--c); } .grid { stroke: var(--line); stroke-width: 1; }
.zero { stroke: var(--quiet); stroke-width: 1; } .whisker { stroke: var(--c); stroke-width: 3; }
.dot-row { display: grid; grid-template-columns: 8.5rem 1fr 8.4rem; gap: 0 .7rem; align-items: center; }
.dot-row svg { height: 1.7rem; overflow: visible; } .dot-name { font-size: .85rem; line-height: 1.2; }
.dot-value { font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.ticks { position: relative; height: 1.3rem; font-size: .75rem; color: var(--quiet); }
.ticks span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
body > .dots .dot-row { grid-template-columns: 19rem 1fr 9rem; }
.frame { margin-top: .7rem; display: grid; grid-template-columns: 3rem 1fr; gap: 0 .4rem; }
.frame svg { height: 12rem; overflow: visible; } .frame .ticks { grid-column: 2; }
.frame .y { position: relative; font-size: .75rem; color: var(--quiet); }
.frame .y span { position: absolute; right: 0; transform: translateY(-50%); }
.frame path { vector-effect: non-scaling-stroke; } .line { stroke: var(--c); stroke-width: 2; fill: none; }
.dot { stroke: var(--c); stroke-width: 8; stroke-linecap: round; } .band { fill: var(--c); opacity: .16; }
.d1 { stroke-dasharray: 7 4; } .d2 { stroke-dasharray: 2 4; } .d3 { stroke-dasharray: 9 3 2 3; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; } .legend span { white-space: nowrap; }
svg.key { display: inline-block; width: 1.8rem; height: .8rem; margin-right: .4rem; }
svg.share { display: inline-block; width: 6rem; height: .6rem; } .share rect { fill: var(--s0); }
.qa { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem; margin: .8rem 0; }
.qa h3 { margin: 0 0 .2rem; } .side { display: grid; grid-template-columns: 1fr 1fr 1.3fr; gap: .8rem;
  margin-top: .5rem; } .side > div { min-width: 0; } .side.two { grid-template-columns: 1fr 1.3fr; }
.said { white-space: pre-wrap; } .quote { border-left: 3px solid var(--mark); padding-left: .6rem; margin: .4rem 0;
  font-size: .9rem; } .chunk { margin: 0 0 .5rem; } mark.proof { background: var(--proof); }
.wide.first td:first-child { min-width: 9.5rem; }
.wide.first td:first-child, .wide.first th:first-child { position: sticky; left: 0; background: var(--page); }
.state { border-radius: 1rem; padding: .1rem .7rem; font-size: .9rem; border: 1px solid var(--line); }
td { font-variant-numeric: tabular-nums; }
td.w { white-space: normal; overflow-wrap: anywhere; min-width: 5.5rem; }
@media (max-width: 44rem) { .pairs, .side, .side.two { grid-template-columns: 1fr; }
  .dot-row, body > .dots .dot-row { grid-template-columns: 1fr auto; }
  .dot-row svg, .dot-row .ticks { grid-column: 1 / 3; order: 3; }
  .bar { display: none; }
  .dot-row .ticks { margin: 0; } .dot-row svg { height: 1.1rem; } .dot-row { margin-bottom: .35rem; } }
@media print { details { break-inside: avoid; } nav { display: none; } }
"""

TEMPLATE = (
    """{% macro grid(table, first=True) %}
<div class="wide{{ " first" if first }}"><table>
{% for row in table.rows %}
{% set tag = "th" if loop.first else "td" %}
<tr>{% for cell in row %}
<{{ tag }}{{ ' class=n' if loop.index > table.words }} dir="auto">{{ cell }}</{{ tag }}>
{% endfor %}</tr>
{% endfor %}
</table></div>
{% if table.note %}<p class="quiet">{{ table.note }}</p>{% endif %}
{% endmacro %}
{% macro words(rows) %}
<div class="wide"><table>
{% for name, text in rows %}
<tr><td>{{ name }}</td><td class="w" dir="auto">{{ text }}</td></tr>
{% endfor %}
</table></div>
{% endmacro %}
{% macro costs(stages) %}
<div class="wide"><table>
<tr><th>stage</th><th class="n">time</th><th class="bar"></th><th class="n">peak memory</th></tr>
{% for stage in stages %}
<tr><td>{{ stage.stage }}{% if stage.calls > 1 %} <span class="quiet">×{{ stage.calls }}</span>{% endif %}</td>
{% if stage.cached == stage.calls %}<td class="n quiet">cached</td><td class="bar"></td><td></td>
{% else %}<td class="n">{{ seconds(stage.seconds) }}</td>
<td class="bar"><svg class="share" aria-hidden="true"><rect width="
{{- "%.1f" | format(100 * stage.seconds / longest) }}%" height="100%"/></svg></td><td class="n">
{{- bytes(stage.peak_bytes) if stage.peak_bytes else "-" }}</td>{% endif %}</tr>
{% endfor %}
</table></div>
{% endmacro %}
{% macro answer(said) %}
<div><h4>{{ said.rung }}
{% if said.right %}<span class="good">✓ right</span>{% else %}<span class="bad">✗ not right</span>
{% endif %}</h4>
<div class="output said" dir="auto">{{ said.text or "(nothing)" }}</div>
{% for quote in said.quotes %}
<div class="quote" dir="auto">“{{ quote.text }}”</div>
<p class="quiet">{% if quote.place %}word for word in <bdi>{{ quote.place }}</bdi>{% else %}
<span class="bad">stands in no document that was shown</span>{% endif %}</p>
{% endfor %}</div>
{% endmacro %}
{% macro passages(shown) %}
<div>{% for passage in shown %}
<h4><bdi>{{ passage.place }}</bdi> <span class="tag">{{ "oracle" if passage.oracle else "distractor" }}
{{- "" if passage.retrieved else ", not retrieved" }}</span></h4>
<div class="chunk{{ " oracle" if passage.oracle }}" dir="auto">{% for text, kind in passage.pieces -%}
{% if kind %}<mark{{ " class=proof" if kind == "proof" }}>{{ text }}</mark>{% else %}{{ text }}{% endif %}
{%- endfor %}</div>
{% endfor %}</div>
{% endmacro %}
{% macro shown(item) %}
<h3 dir="auto">{{ item.question }}</h3>
<p class="quiet">expected: <b><bdi>{{ item.expected }}</bdi></b>{% if item.kind %} · {{ item.kind }}{% endif %}</p>
<div class="side{{ " two" if item.answers | length == 1 }}">
{% for said in item.answers %}{{ answer(said) }}{% endfor %}
{{ passages(item.passages) }}
</div>
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ run.name }}</title>
<style>
"""
    + STYLE
    + _MORE
    + """</style>
</head>
<body>
<h1>{{ run.name }}</h1>
<p class="quiet"><span class="state {{ "good" if run.state == "completed" else "bad" if run.state in
("failed", "crashed") else "" }}">{{ run.state }}</span> {{ run.about }}</p>
{% if run.error %}<p class="bad">{{ run.error }}</p>{% endif %}
{% if run.repeats %}
<p class="headline">Nothing was to do: this run would have given what
<a href="../{{ run.repeats | urlencode }}/report.html">{{ run.repeats }}</a> gave, which has the report.</p>
{% endif %}
{% if run.headline %}<p class="headline">{{ run.headline }}</p>{% endif %}
{% if run.decision %}<p class="headline">{% if run.decision.promoted %}<span class="good">✓</span>{% else %}
<span class="bad">✗</span>{% endif %} {{ run.decision.told }}</p>
{% endif %}
{% for line in run.missing %}<p class="quiet">{{ line }}</p>
{% endfor %}
{% if run.tiles %}
<div class="tiles">
{% for name, number in run.tiles.items() %}
<div class="tile"><b>{{ number }}</b><span>{{ name }}</span></div>
{% endfor %}
</div>
{% endif %}
{% if parts | length > 2 %}
<nav>{% for key, title in parts.items() %}<a href="#{{ key }}">{{ title }}</a>{% endfor %}</nav>
{% endif %}

{% if "asked" in parts %}
<h2 id="asked">{{ parts.asked }}</h2>
{{ words(run.asked) }}
{% if run.changed %}
<details><summary>{{ run.changed | length }} settings that are not the defaults</summary>
{{ words(run.changed) }}</details>
{% endif %}
{% endif %}

{% if "data" in parts %}
<h2 id="data">{{ parts.data }}</h2>
{% if run.data %}{{ words(run.data) }}{% endif %}

{% if run.filters %}{{ grid(run.filters, False) }}{% endif %}
{% endif %}

{% if "ladder" in parts %}
<h2 id="ladder">{{ parts.ladder }}</h2>
<p>{{ "{:,}".format(run.rungs[0].questions) }} questions about documents that training never saw, asked on each rung
of a ladder.</p>
<div class="pairs">{% for plot in plots.ladder %}{{ plot }}{% endfor %}</div>
{{ grid(run.ladder()) }}
{% if run.paired %}
<h3>Rungs against each other, on the same questions</h3>
<p class="quiet">Differences in points, with 95% intervals of a paired bootstrap.</p>
{{ plots.leading }}
{{ grid(leading) }}
{% for metric in run.compared_metrics() %}
<details><summary>every pair of rungs: {{ run.label(metric) }}</summary>{{ grid(tables[metric]) }}</details>
{% endfor %}
{% endif %}
{% if run.judge %}
<h3>What a judge says of the answers</h3>
{{ grid(run.judge) }}
{% endif %}
{% for table in run.breakdown %}
<details><summary>{{ table.title }}</summary>{{ grid(table) }}</details>
{% endfor %}
{% endif %}

{% if "sweep" in parts %}
<h2 id="sweep">{{ parts.sweep }}</h2>
{{ grid(run.sweep) }}
{% endif %}

{% if "training" in parts %}
<h2 id="training">{{ parts.training }}</h2>
{% if run.curves_note %}<p>{{ run.curves_note }}</p>{% endif %}
<div class="pairs">{% for plot in plots.curves %}{{ plot }}{% endfor %}</div>
{% endif %}

{% if "robustness" in parts %}
<h2 id="robustness">{{ parts.robustness }}</h2>
<div class="pairs">{% for plot in plots.robustness %}{{ plot }}{% endfor %}</div>
{% if plots.more %}
<details><summary>the same in other metrics</summary>
<div class="pairs">{% for plot in plots.more %}{{ plot }}{% endfor %}</div></details>
{% endif %}
{% endif %}

{% if "retriever" in parts %}
<h2 id="retriever">{{ parts.retriever }}</h2>
{{ grid(run.retriever, False) }}
{% endif %}

{% if "examples" in parts %}
<h2 id="examples">{{ parts.examples }}</h2>
<p class="quiet">{{ run.examples_note }} Right: the same words as expected. Green: the chunk that
proves the answer. <mark>Marked</mark>: what the answer
quotes; <mark class="proof">marked so</mark>: what it should have quoted.</p>
{% for item in run.examples %}
<article class="qa">{{ shown(item) }}</article>
{% endfor %}
{% endif %}

{% if "failures" in parts %}
<h2 id="failures">{{ parts.failures }}</h2>
<p class="quiet">{{ run.failures_note }}</p>
{% for group in run.failures %}
<details><summary><svg class="share" aria-hidden="true"><rect width="
{{- "%.1f" | format(100 * group.count / commonest) }}%" height="100%"/></svg> <b>{{ group.count }}</b> {{ group.cause }}
{% if group.cause in causes %}<span class="quiet">{{ causes[group.cause] }}</span>{% endif %}</summary>
{{ shown(group.example) }}</details>
{% endfor %}
{% endif %}

{% if "champion" in parts %}
<h2 id="champion">{{ parts.champion }}</h2>
<p>{{ run.decision.told }}</p>
{% if run.decision.table %}{{ grid(run.decision.table) }}{% endif %}
{% endif %}

{% if "cost" in parts %}
<h2 id="cost">{{ parts.cost }}</h2>
{{ costs(costly) }}
{% if cheap %}
<details><summary>{{ cheap | length }} more stages, cached or of less than a hundredth of the time</summary>
{{ costs(cheap) }}</details>
{% endif %}
{% if run.tokens %}{{ words(run.tokens) }}{% endif %}
{% endif %}

{% if "again" in parts %}
<h2 id="again">{{ parts.again }}</h2>
{% if run.command %}<pre>{{ run.command }}</pre>{% endif %}
{% if run.links %}<p>{% for name, path in run.links.items() %}<a href="{{ path }}">{{ name }}</a>
{{- " · " if not loop.last }}{% endfor %} <span class="quiet">(links lead into the work directory)</span></p>{% endif %}
{% if run.digests %}<details><summary>digests of {{ run.digests | length }} results</summary>{{ words(run.digests) }}
</details>{% endif %}
{% if run.versions %}<details><summary>versions</summary>{{ words(run.versions.items()) }}</details>{% endif %}
{% endif %}
</body>
</html>
"""
)
