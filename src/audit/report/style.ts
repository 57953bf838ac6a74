/** The report's style sheet: light and dark by the reader's own setting, from 320 pixels up. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --line: #dfe3e8; --text: #1c2430; --soft: #5b6675;
  --current: #1f7a6c; --left: #a8d8cf; --life: #e6e9ee; --bad: #c2291f; --warn: #8f5400; --idle: #5f6a79; --mark: #1c2430; --leaf: #6941c6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11151b; --card: #1a2029; --line: #303947; --text: #e6eaf0; --soft: #9aa6b6;
    --current: #3fb8a3; --left: #1f5a50; --life: #2a323e; --bad: #ff7b6e; --warn: #f0b04a; --idle: #8b97a8; --mark: #e6eaf0; --leaf: #b79cff;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 22px; margin: 0 0 2px; }
h2 { font-size: 16px; margin: 0 0 10px; }
p { margin: 0; }
code, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .92em; }
.soft { color: var(--soft); }
.small { font-size: 13px; }
.verdict { font-weight: 650; }
.verdict.bad { color: var(--bad); }
.verdict.good { color: var(--current); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; margin-top: 16px; min-width: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: 12px; margin-top: 18px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; min-width: 0; }
.tile b { display: block; font-size: 22px; font-weight: 650; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tile.bad b { color: var(--bad); }
.resources { display: grid; gap: 0; }
.resource { display: grid; grid-template-columns: minmax(0, 2fr) repeat(3, minmax(0, .8fr)) minmax(0, 2.4fr); gap: 4px 16px; padding: 8px 0; border-top: 1px solid var(--line); }
.resource.head { border: 0; padding-top: 0; color: var(--soft); font-size: 13px; }
.resource > * { min-width: 0; overflow-wrap: anywhere; }
.number { font-variant-numeric: tabular-nums; }
.bad-text { color: var(--bad); font-weight: 600; }
.label { display: none; color: var(--soft); font-size: 13px; }
canvas { display: block; width: 100%; touch-action: pan-y; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; margin-top: 10px; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 18px; height: 10px; border-radius: 2px; margin-right: 6px; vertical-align: -1px; }
.k-life { background: var(--life); border: 1px solid var(--line); } .k-current { background: var(--current); } .k-left { background: var(--left); } .k-bad { background: var(--bad); }
.legend .k-mark { width: 2px; background: var(--mark); } .legend .k-now { width: 2px; background: var(--soft); } .legend .k-leaf { width: 0; border-left: 2px dashed var(--leaf); border-radius: 0; }
#scale { margin-top: 8px; }
#under { min-height: 20px; margin-top: 4px; overflow-wrap: anywhere; }
.tools { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-bottom: 10px; }
input[type=search] { flex: 1 1 220px; min-width: 0; font: inherit; padding: 6px 10px; border: 1px solid var(--line); border-radius: 8px; background: var(--page); color: var(--text); }
button { font: inherit; font-size: 13px; color: var(--text); background: var(--page); border: 1px solid var(--line); border-radius: 999px; padding: 4px 11px; cursor: pointer; }
button[aria-pressed=true] { background: var(--text); color: var(--page); border-color: var(--text); }
button:focus-visible, input:focus-visible, .scroll:focus-visible { outline: 2px solid var(--leaf); outline-offset: 1px; }
.row { display: grid; grid-template-columns: 110px minmax(0, 1.5fr) minmax(0, 1fr) minmax(0, 2.2fr) 126px; gap: 0 14px; align-items: center; }
.row.head button { border: 0; background: none; padding: 4px 0; text-align: left; color: var(--soft); border-radius: 4px; }
.row.head button[aria-pressed=true] { color: var(--text); font-weight: 600; background: none; }
.scroll { height: 520px; overflow-y: auto; overflow-x: hidden; scrollbar-gutter: stable; border-top: 1px solid var(--line); }
#list { position: relative; }
#scale:empty { display: none; }
.scroll .row { position: absolute; left: 0; right: 6px; height: 34px; border-bottom: 1px solid var(--line); }
.scroll .row.head { position: sticky; top: 0; height: auto; z-index: 1; background: var(--card); padding: 4px 0; margin-right: 6px; border-bottom: 1px solid var(--line); }
.row > * { min-width: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.state { font-weight: 600; font-size: 13px; }
.state.bad { color: var(--bad); } .state.warn { color: var(--warn); } .state.good { color: var(--current); } .state.idle { color: var(--idle); }
.bar { position: relative; height: 14px; background: none; }
.bar i { position: absolute; top: 2px; bottom: 2px; border-radius: 2px; }
.bar .tick { top: 0; bottom: 0; width: 2px; background: var(--mark); border-radius: 0; }
.bar .now { top: -10px; bottom: -10px; width: 1px; background: var(--soft); border-radius: 0; opacity: .6; }
#detail { margin-top: 12px; padding: 10px 12px; border: 1px solid var(--line); border-radius: 8px; overflow-wrap: anywhere; }
#detail:empty { display: none; }
#detail dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 14px; margin: 6px 0 0; }
#detail dt { color: var(--soft); } #detail dd { margin: 0; }
@media (max-width: 720px) {
  main { padding: 16px 12px 40px; }
  .card { padding: 14px 12px; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
  .resource.head { display: none; }
  .resource { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  .resource > :first-child, .resource > :last-child { grid-column: 1 / -1; }
  .label { display: inline; }
  .scroll .row { height: 64px; grid-template-columns: minmax(0, 1fr) auto; grid-template-rows: auto auto auto; gap: 0 10px; align-content: center; }
  .scroll .row.head { display: flex; gap: 0 16px; flex-wrap: wrap; height: auto; }
  .scroll .row > :nth-child(1) { grid-column: 2; grid-row: 1; }
  .scroll .row > :nth-child(2) { grid-column: 1; grid-row: 1; }
  .scroll .row > :nth-child(3) { grid-column: 1; grid-row: 2; }
  .scroll .row > :nth-child(5) { grid-column: 2; grid-row: 2; text-align: right; }
  .scroll .row > :nth-child(4) { grid-column: 1 / -1; grid-row: 3; }
  .bar .now { top: -2px; bottom: -2px; }
}
`;
