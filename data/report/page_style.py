"""The style sheet that our pages share: light and dark, readable on a phone, no fonts or pictures from elsewhere."""

STYLE = """
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
"""
